"""CSV is read as the standard library, pandas and `datasets` read it."""

from pathlib import Path

import pandas
import pytest
from row_files import reader, rows_of

from etude.records import BadRow, Feedback, Labelled, Pair, Text, Unused

HOSTILE = (
    '\ufefftext,target,id\r\n"a, b",x,1\r\n"two\r\nlines","say ""hi""",2\r\n\r\n'
    '中文，逗号,"引号「」",3\r\nplain,NULL,4\r\n'
)


def records(config: object) -> list[object]:
    return [one for one in rows_of(config) if not isinstance(one, Unused)]  # pyright: ignore[reportArgumentType]


def test_quotes_line_breaks_a_byte_order_mark_and_chinese_are_read_as_pandas_reads_them(
    tmp_path: Path,
) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(HOSTILE.encode())
    frame = pandas.read_csv(file, keep_default_na=False)
    expected = [
        Pair(text.replace("\r\n", "\n"), target)
        for text, target in zip(frame["text"], frame["target"], strict=True)
    ]
    assert records(reader("pair", file, "csv", source="text")) == expected
    assert expected[1] == Pair("two\nlines", 'say "hi"')


@pytest.mark.parametrize(
    ("name", "knobs", "content"),
    [
        ("rows.tsv", {}, "text\tid\na, b\t1\n"),
        ("rows.csv", {"delimiter": ";"}, "text;id\na, b;1\n"),
        ("rows.csv", {"delimiter": "|", "names": ["id", "text"]}, "1|a, b\n"),
    ],
)
def test_the_delimiter_and_the_names_can_be_given(
    name: str, knobs: dict[str, object], content: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    config = reader("text", tmp_path / name, "csv")
    for knob, value in knobs.items():
        setattr(config, knob, value)
    assert records(config) == [Text("a, b")]


def test_a_bad_line_is_reported_by_its_first_line_and_the_others_are_read(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text('text,label\n"two\nlines",a\nb\n"c"d,e\n,f\ng,h\n"open,i\n')
    found = records(reader("label", file, "csv"))
    assert found == [
        Labelled("two\nlines", "a"),
        BadRow(f"{file}:4", "1 cells, but 2 names"),
        BadRow(f"{file}:5", "invalid CSV: ',' expected after '\"'"),
        BadRow(f"{file}:6", "no field 'text' (fields: label)"),
        Labelled("g", "h"),
        BadRow(f"{file}:8", "invalid CSV: unexpected end of data"),
    ]


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("text,text\na,b\n")
    assert records(reader("text", file, "csv")) == [
        BadRow(f"{file}:1", "the name 'text' appears more than once")
    ]


@pytest.mark.parametrize(
    ("cell", "score"), [("4.5", 4.5), ("True", 1.0), ("false", 0.0), ("-2", -2.0), ("1e3", 1000.0)]
)
def test_a_number_is_read_from_its_text(cell: str, score: float, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(f"prompt,completion,label,text\np,c,{cell},t\n")
    assert records(reader("feedback", file, "csv")) == [Feedback("p", "c", score)]
    assert records(reader("rating", file, "csv", rating="label")) == [Labelled("t", score)]


@pytest.mark.parametrize("cell", ["four", "nan", "inf", "1;2"])
def test_text_that_is_no_number_is_a_bad_row(cell: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(f"text,rating\nt,{cell}\n")
    (bad,) = records(reader("rating", file, "csv"))
    assert isinstance(bad, BadRow)
    assert "number" in bad.reason


def test_a_document_longer_than_the_limit_of_the_standard_library_is_read(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("text\n" + "x" * 200_000 + "\n")
    assert records(reader("text", file, "csv")) == [Text("x" * 200_000)]
