import json
from pathlib import Path

import pytest
from row_files import reader, rows_of

from etude.data import json_rows
from etude.records import BadRow, Pair, Record, Text, Unused


def read(tmp_path: Path, content: bytes) -> list[Record | BadRow | Unused]:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(content)
    return rows_of(reader("text", file))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b'{"text": "caf\xe9"}', "not UTF-8 at byte 14"),
        (b'{"text": "a\0b"}', "NUL"),
        (b'{"text": "a\\u0000b"}', "NUL"),
        (b'{"text": "\\ud83d"}', "surrogate"),
        (b'{"text": "a"', "invalid JSON: Expecting ',' delimiter at character 13"),
        (b"plain words", "invalid JSON"),
        (b"[1, 2]", "must be a JSON object, not a list"),
        (b"3", "must be a JSON object, not a number"),
        (b'{"body": "a"}', "no field 'text' (fields: body)"),
        (b"{}", "no field 'text' (fields: none)"),
        (b'{"text": null}', "no field 'text'"),
        (b'{"text": 7}', "field 'text' must be text, not a number"),
        (b'{"text": ["a"]}', "field 'text' must be text, not a list"),
        (b'{"text": ""}', "field 'text' is empty"),
        (b'{"text": " \\n"}', "field 'text' is empty"),
        (b'{"text": ' + b"[" * 100_000, "unreadable JSON"),
        (b'{"text": ' + b"9" * 5_000 + b"}", "unreadable JSON"),
    ],
    ids=lambda value: value[:24] if isinstance(value, bytes) else "",
)
def test_a_bad_row_is_reported_by_file_and_line_and_good_rows_are_kept(
    tmp_path: Path, row: bytes, reason: str
) -> None:
    first, bad, last = read(tmp_path, b'{"text": "first"}\n' + row + b'\n{"text": "last"}')
    assert (first, last) == (Text("first"), Text("last"))
    assert isinstance(bad, BadRow)
    assert bad.place == f"{tmp_path / 'rows.jsonl'}:2"
    assert reason in bad.reason


def test_blank_lines_crlf_and_a_byte_order_mark_are_accepted(tmp_path: Path) -> None:
    content = b'\xef\xbb\xbf{"text": "a"}\r\n\r\n  \n{"text": "\xe4\xbd\xa0"}\n\n'
    assert read(tmp_path, content) == [Text("a"), Text("你")]


ROWS = [{"text": f"[{i}], é", "n": {"a": [i]}} for i in range(50)]
EXPECTED = [Text(f"[{i}], é") for i in range(50)]


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(ROWS),
        json.dumps(ROWS, indent=2),
        f"\n\n {json.dumps(ROWS)}\n",
        "\n".join(json.dumps(row, indent=1) for row in ROWS),
        "\r".join(json.dumps(row) for row in ROWS),
        "[" + ",\n".join(json.dumps(row) for row in ROWS) + "]",
    ],
    ids=["array", "indented", "padded", "indented rows", "CR", "row per line"],
)
@pytest.mark.parametrize("piece", [7, 64, 2**20])
def test_an_array_and_indented_rows_are_read_like_lines(
    content: str, piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_rows, "PIECE_CHARS", piece)
    found = read(tmp_path, content.encode())
    assert [row for row in found if not isinstance(row, Unused)] == EXPECTED


def test_a_bad_item_of_an_array_is_reported_by_line_and_number(tmp_path: Path) -> None:
    content = (
        b'[{"text": "a"},\n 3, {"text": ""},\n{"text": "caf\xe9"},\n{"text": "b"},\n{"text": oh]'
    )
    a, three, empty, latin, b, broken = read(tmp_path, content)
    assert [a, b] == [Text("a"), Text("b")]
    file = tmp_path / "rows.jsonl"
    assert three == BadRow(f"{file}:2, item 2", "must be a JSON object, not a number")
    assert empty == BadRow(f"{file}:2, item 3", "field 'text' is empty")
    assert isinstance(latin, BadRow)
    assert "not UTF-8" in latin.reason
    assert isinstance(broken, BadRow)
    assert broken.place == f"{file}:5, item 6"
    assert "nothing after it is read" in broken.reason


def test_a_column_may_be_nested_and_what_is_beside_it_is_counted(tmp_path: Path) -> None:
    row = {
        "meta": {"body": "b", "url": "u", "none": None},
        "answers": {"text": ["first", "second"], "start": [3]},
        "id": 1,
    }
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(row))
    columns = {"source": "meta.body", "target": "answers.text.0"}
    pair, *unused = rows_of(reader("pair", file, **columns))
    assert pair == Pair("b", "first")
    assert [one.part for one in unused] == [
        "field 'meta.url'",
        "field 'answers.start'",
        "field 'id'",
    ]


def test_a_field_whose_name_contains_a_dot_comes_before_a_nested_one(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"a.b": "flat", "a": {"b": "nested"}}')
    first, *_ = rows_of(reader("text", file, text="a.b"))
    assert first == Text("flat")


@pytest.mark.parametrize("column", ["body", "meta.text", "meta.body.x", "meta.tags.5", "id.x"])
def test_a_missing_column_is_refused_with_the_nested_ones_that_exist(
    column: str, tmp_path: Path
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"id": 1, "meta": {"body": "b", "tags": ["t"]}}')
    (bad,) = rows_of(reader("text", file, text=column))
    reason = f"no field '{column}' (fields: id, meta.body, meta.tags)"
    assert bad == BadRow(f"{file}:1", reason)


def test_a_row_of_seventeen_mebibytes_is_read(tmp_path: Path) -> None:
    text = "x" * 17 * 2**20
    assert read(tmp_path, f'{{"text": "{text}"}}\n'.encode()) == [Text(text)]


def test_a_row_that_is_nested_too_deeply_is_bad(tmp_path: Path) -> None:
    file = tmp_path / "deep.jsonl"
    depths = (99, 100, 900, 100_000)
    file.write_text("".join(f'{{"text": "a", "b": {"[" * n}{"]" * n}}}\n' for n in depths))
    good, unused, *bad = rows_of(reader("text", file))
    assert (good, unused) == (Text("a"), Unused("field 'b'"))
    assert len(bad) == 3
    assert all(isinstance(row, BadRow) for row in bad)


def test_repeated_names_and_constants_outside_json_are_bad_rows_at_any_depth(
    tmp_path: Path,
) -> None:
    rows = [
        '{"text": "a", "x": {"b": 1, "b": 2}}',
        '{"text": "a", "x": [NaN]}',
        '{"text": "a", "text": "a"}',
        '{"text": -Infinity}',
        '{"text": "good", "x": {"text": 1}}',
    ]
    expected = [
        "the field 'b' appears more than once in an object",
        "NaN is not valid JSON",
        "the field 'text' appears more than once in an object",
        "-Infinity is not valid JSON",
    ]
    for name, text in (("a.jsonl", "\n".join(rows)), ("a.json", f"\ufeff[{','.join(rows)}]")):
        (tmp_path / name).write_text(text, encoding="utf-8")
        found = rows_of(reader("text", tmp_path / name))
        assert [row.reason for row in found if isinstance(row, BadRow)] == expected
        assert [row for row in found if isinstance(row, Text)] == [Text("good")]
