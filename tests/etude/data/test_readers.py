from pathlib import Path

import pytest
from row_files import rows_of

from etude.config.registry import build
from etude.data import readers
from etude.data.documents import Document
from etude.data.readers import lines, pieces
from etude.plugins.data.text import TextConfig
from etude.records import BadRow, Text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (bytes(range(256)) * 40, "does not look like UTF-8 text"),
        ("你好，世界".encode("gbk") * 100, "does not look like UTF-8 text"),
        ("hello".encode("utf-16"), "UTF-16"),
        (b"%PDF-1.7\n" + b"text " * 500, "pdftotext"),
        (b"PK\3\4" + b"text " * 500, "unzip"),
        (b"PAR1" + b"text " * 500, "to_json"),
        (b"name.txt".ljust(257, b"\0") + b"ustar" + b"text\n" * 5000, "tar -x"),
    ],
)
def test_a_file_that_is_not_text_is_one_bad_row(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    file = tmp_path / "rows.txt"
    file.write_bytes(content)
    (bad,) = lines(file)
    assert isinstance(bad, BadRow)
    assert bad.place == str(file)
    assert reason in bad.reason


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_may_end_as_on_any_system(end: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(end.join(("one", "two", "", "three")).encode())
    config = TextConfig(path=str(tmp_path), document=Document.line)
    assert rows_of(config) == [Text("one"), Text("two"), Text("three")]


def test_a_long_line_comes_in_pieces_and_is_one_document_with_document_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "PIECE_CHARS", 1000)
    text = "".join(f"word{i} " for i in range(2000))
    (tmp_path / "a.txt").write_text(f"{text}\nlast")
    found = [piece for piece in pieces(tmp_path / "a.txt") if not isinstance(piece, BadRow)]
    assert "".join(piece for _, piece in found) == f"{text}\nlast"
    assert max(len(piece) for _, piece in found) == 1000
    assert {place for place, _ in found} == {f"{tmp_path / 'a.txt'}:{n}" for n in (1, 2)}
    config = TextConfig(path=str(tmp_path), document=Document.line)
    assert rows_of(config) == [Text(text), Text("last")]


def test_a_line_over_the_limit_is_one_bad_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "MAX_LINE_CHARS", 1000)
    (tmp_path / "a.txt").write_text("first\n" + "x" * 5000 + "\n" + "y" * 999 + "\nlast")
    place = tmp_path / "a.txt"
    assert list(lines(place)) == [
        (f"{place}:1", "first\n"),
        BadRow(f"{place}:2", "longer than 1,000 characters; split it"),
        (f"{place}:3", "y" * 999 + "\n"),
        (f"{place}:4", "last"),
    ]


def test_seventeen_mebibytes_on_one_line_are_cut_between_words(tmp_path: Path) -> None:
    """Like text8: Wikipedia without punctuation or line breaks."""
    text = "anarchism originated as a term of abuse first used against early radicals " * 242_000
    (tmp_path / "text8").write_text(text)
    documents = rows_of(TextConfig(path=str(tmp_path / "text8")))
    assert len(text) > 17 * 2**20
    assert "".join(document.text for document in documents) == text
    assert all(document.text.endswith(" ") for document in documents)


def test_the_fingerprint_depends_only_on_the_bytes(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    source = build(TextConfig(path=str(file)))
    file.write_text("one")
    before = source.fingerprint()
    file.write_text("two")
    assert source.fingerprint() != before
    file.write_text("one")
    assert source.fingerprint() == before
