import bz2
import gzip
import lzma
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from backports import zstd

from etude.config.registry import build
from etude.data import readers
from etude.data.documents import Document
from etude.data.readers import lines, pieces
from etude.errors import DataError
from etude.plugins.data.text import TextConfig
from etude.records import BadRow, Text

WORDS = b"".join(b"%d\n" % i for i in range(20_000))
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstd.compress,
}


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


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_compressed_file_is_read_whatever_its_name_and_a_truncated_one_is_reported(
    suffix: str, tmp_path: Path
) -> None:
    packed = COMPRESS[suffix](WORDS)
    for name in (f"words.txt{suffix}", f"words.TXT{suffix.upper()}", "words.txt"):
        file = tmp_path / name
        file.write_bytes(packed + packed)
        assert len(list(lines(file))) == 40_000
    file.write_bytes(packed[:-2000])
    *_good, bad = lines(file)
    assert isinstance(bad, BadRow)
    assert "cannot be read to the end" in bad.reason


def test_without_its_library_a_zstandard_file_is_refused_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "words.txt.zst").write_bytes(zstd.compress(WORDS))
    monkeypatch.setitem(sys.modules, "backports.zstd", None)
    with pytest.raises(DataError, match=r"pip install 'etude\[zstd\]', or decompress"):
        list(lines(tmp_path / "words.txt.zst"))


def test_a_plain_file_named_like_a_compressed_one_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt.gz").write_text("plain")
    assert list(lines(tmp_path / "a.txt.gz")) == [(f"{tmp_path / 'a.txt.gz'}:1", "plain")]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_may_end_as_on_any_system(end: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(end.join(("one", "two", "", "three")).encode())
    config = TextConfig(path=str(tmp_path), document=Document.line)
    assert list(build(config).records()) == [Text("one"), Text("two"), Text("three")]


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
    assert list(build(config).records()) == [Text(text), Text("last")]


def test_a_line_over_the_limit_is_one_bad_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "MAX_LINE_CHARS", 1000)
    (tmp_path / "a.txt").write_text("first\n" + "x" * 5000 + "\n" + "y" * 999 + "\nlast")
    first, bad, at_limit, last = lines(tmp_path / "a.txt")
    assert isinstance(bad, BadRow)
    assert (bad.place, bad.reason[:11]) == (f"{tmp_path / 'a.txt'}:2", "longer than")
    assert [first[1], at_limit[1], last[1]] == ["first\n", "y" * 999 + "\n", "last"]


def test_seventeen_mebibytes_on_one_line_are_cut_between_words(tmp_path: Path) -> None:
    """Like text8: Wikipedia without punctuation or line breaks."""
    text = "anarchism originated as a term of abuse first used against early radicals " * 242_000
    (tmp_path / "text8").write_text(text)
    documents = list(build(TextConfig(path=str(tmp_path / "text8"))).records())
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
