import bz2
import gzip
import lzma
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from backports import zstd

from etude.data import compression
from etude.data.compression import open_bytes
from etude.data.readers import lines, pieces
from etude.errors import DataError
from etude.records import BadRow

WORDS = b"".join(b"%d\n" % i for i in range(20_000))
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": partial(zstd.compress, options={zstd.CompressionParameter.checksum_flag: 1}),
}


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


def test_damage_is_an_os_error(tmp_path: Path) -> None:
    for compress in COMPRESS.values():
        packed = compress(WORDS)
        (tmp_path / "words").write_bytes(packed[:100] + b"x" * 100 + packed[200:])
        with pytest.raises(OSError), open_bytes(tmp_path / "words") as opened:  # noqa: PT011
            opened.read()


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


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_file_that_expands_too_much_is_refused_by_name(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / f"bomb.txt{suffix}"
    file.write_bytes(COMPRESS[suffix](b"a" * 2_000_000))
    whole = [one for one in pieces(file) if not isinstance(one, BadRow)]
    assert sum(len(text) for _, text in whole) == 2_000_000, "it is small enough"
    monkeypatch.setattr(compression, "FREE_BYTES", 1_000_000)
    for read in (lines, pieces):
        with pytest.raises(DataError, match=r"bomb\.txt\..*expands to more than 1,000,000 bytes"):
            list(read(file))
    usual = b"".join(b"%d is a number.\n" % i for i in range(100_000))
    file.write_bytes(COMPRESS[suffix](usual))
    assert sum(1 for _ in lines(file)) == 100_000
