import gzip
from pathlib import Path

import pytest

from etude.config.registry import build
from etude.data.readers import MAX_LINE_BYTES, files, fingerprint, lines
from etude.errors import DataError
from etude.plugins.data.jsonl import JsonlConfig
from etude.records import BadRow, Record, Text


def read(tmp_path: Path, content: bytes) -> list[Record | BadRow]:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(content)
    return list(build(JsonlConfig(path=str(file))).records())


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b'{"text": "caf\xe9"}', "not UTF-8 at byte 14"),
        (b'{"text": "a\0b"}', "NUL"),
        (b'{"text": "a\\u0000b"}', "NUL"),
        (b'{"text": "\\ud83d"}', "surrogate"),
        (b'{"text": "a"', "broken JSON: Expecting ',' delimiter at character 13"),
        (b"plain words", "broken JSON"),
        (b"[1, 2]", "must be a JSON object, not a list"),
        (b"3", "must be a JSON object, not a number"),
        (b'{"body": "a"}', "no field 'text' (fields there: body)"),
        (b"{}", "no field 'text' (fields there: none)"),
        (b'{"text": null}', "no field 'text'"),
        (b'{"text": 7}', "field 'text' must be text, not a number"),
        (b'{"text": ["a"]}', "field 'text' must be text, not a list"),
        (b'{"text": ""}', "field 'text' is empty"),
        (b'{"text": " \\n"}', "field 'text' is empty"),
        (b'{"text": ' + b"[" * 100_000, "JSON that cannot be read"),
        (b'{"text": ' + b"9" * 5_000 + b"}", "JSON that cannot be read"),
        (b'{"text": "' + b"x" * MAX_LINE_BYTES + b'"}', "a line of more than 16 MiB"),
    ],
    ids=lambda value: value[:24] if isinstance(value, bytes) else "",
)
def test_a_bad_row_is_named_by_file_and_line_and_the_good_ones_are_kept(
    tmp_path: Path, row: bytes, reason: str
) -> None:
    first, bad, last = read(tmp_path, b'{"text": "first"}\n' + row + b'\n{"text": "last"}')
    assert (first, last) == (Text("first"), Text("last"))
    assert isinstance(bad, BadRow)
    assert bad.place == f"{tmp_path / 'rows.jsonl'}:2"
    assert reason in bad.reason


def test_blank_lines_windows_line_breaks_and_a_byte_order_mark_are_no_fault(tmp_path: Path) -> None:
    content = b'\xef\xbb\xbf{"text": "a"}\r\n\r\n  \n{"text": "\xe4\xbd\xa0"}\n\n'
    assert read(tmp_path, content) == [Text("a"), Text("你")]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (bytes(range(256)) * 40, "does not look like UTF-8 text"),
        ("你好，世界".encode("gbk") * 100, "does not look like UTF-8 text"),
        ("hello".encode("utf-16"), "UTF-16"),
        (b"%PDF-1.7\n" + b"text " * 500, "does not look like UTF-8 text"),
    ],
)
def test_a_file_that_is_no_text_is_one_bad_row(tmp_path: Path, content: bytes, reason: str) -> None:
    (bad,) = read(tmp_path, content)
    assert isinstance(bad, BadRow)
    assert bad.place == str(tmp_path / "rows.jsonl")
    assert reason in bad.reason


def test_gzipped_lines_are_read_and_a_truncated_archive_is_named(tmp_path: Path) -> None:
    file = tmp_path / "words.txt.gz"
    packed = gzip.compress(b"".join(b"%d\n" % i for i in range(20_000)))
    file.write_bytes(packed)
    assert len(list(lines(file))) == 20_000
    file.write_bytes(packed[:-2000])
    *good, bad = lines(file)
    assert isinstance(bad, BadRow)
    assert "cannot be read to its end" in bad.reason
    assert good[0] == (f"{file}:1", "0\n")


def test_a_path_may_be_a_file_a_folder_or_a_pattern(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "c.bin", "deep/d.txt.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)

    def found(path: Path) -> list[str]:
        return [str(file.relative_to(tmp_path)) for file in files(str(path), (".txt",))]

    assert found(tmp_path) == ["a.txt", "b.txt", "deep/d.txt.gz"]
    assert found(tmp_path / "c.bin") == ["c.bin"]
    assert found(tmp_path / "*.txt") == ["a.txt", "b.txt"]
    assert found(tmp_path / "**" / "d*") == ["deep/d.txt.gz"]


def test_a_path_with_nothing_behind_it_is_refused_by_name(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.txt", tmp_path / "*.md"):
        with pytest.raises(DataError, match=r"data\.path=") as refused:
            files(str(path), (".txt",))
        assert str(path) in str(refused.value)


def test_the_fingerprint_follows_the_bytes(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("one")
    before = fingerprint([file])
    file.write_text("two")
    assert fingerprint([file]) != before
    file.write_text("one")
    assert fingerprint([file]) == before
