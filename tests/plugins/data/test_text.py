from pathlib import Path

import pytest
from row_files import rows_of

from etude.config.registry import build
from etude.data import documents
from etude.data.documents import Document
from etude.plugins.data.text import TextConfig
from etude.records import BadRow, Place, Text


def test_a_folder_is_read_in_order_and_bad_lines_are_reported_and_skipped(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("# Title\n\nLast.\n")
    (tmp_path / "a.txt").write_bytes(b"first\nbr\xffken\nsecond\n")
    (tmp_path / "c.txt").write_bytes(b"")
    assert rows_of(TextConfig(path=str(tmp_path))) == [
        Text("first\nsecond\n"),
        BadRow(f"{tmp_path / 'a.txt'}:2", "not UTF-8 at byte 3: invalid start byte"),
        Text("# Title\n\nLast.\n"),
        BadRow(str(tmp_path / "c.txt"), "the file is empty"),
    ]


@pytest.mark.parametrize(("document", "count"), [("blocks", 1), ("line", 3), ("file", 1)])
def test_the_document_knob_selects_the_unit(tmp_path: Path, document: str, count: int) -> None:
    (tmp_path / "a.txt").write_text("一。\n\n二。\n三。\n", encoding="utf-8")
    config = TextConfig(path=str(tmp_path), document=Document[document])
    assert len(rows_of(config)) == count


def test_white_space_is_not_a_document(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(" \n\n \n")
    assert rows_of(TextConfig(path=str(tmp_path))) == []


def test_a_file_that_is_too_long_for_a_document_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "MAX_CHARS", 100)
    (tmp_path / "a.txt").write_text("a\n" * 40)
    (tmp_path / "b.txt").write_text("b\n" * 60)
    read = rows_of(TextConfig(path=str(tmp_path), document=Document.file))
    assert read[0] == Text("a\n" * 40)
    [bad] = read[1:]
    assert isinstance(bad, BadRow)
    assert bad.place == str(tmp_path / "b.txt")
    assert "more than 100 characters" in bad.reason


@pytest.mark.parametrize("document", Document)
def test_the_place_of_a_document_is_its_first_line(tmp_path: Path, document: Document) -> None:
    file = tmp_path / "a.txt"
    parts = [b"first\r\n\n", b"br\xffken\n", "二。".encode() * 340, b"\n\nthird\n \nfourth"]
    file.write_bytes(b"".join(parts))
    rows = [*build(TextConfig(path=str(file), document=document)).records()]
    found = [row.place.removeprefix(str(file)) for row in rows if isinstance(row, Place)]
    assert (
        found
        == {"blocks": [":1", ":4", ":6"], "line": [":1", ":4", ":6", ":8"], "file": [""]}[
            document.name
        ]
    )
