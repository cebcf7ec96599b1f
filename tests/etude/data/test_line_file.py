import gzip
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from etude.data.line_file import BLOCK_BYTES, LineFile, LineWriter


def lines() -> list[bytes]:
    """Lines of every size around that of a block, some with other line breaks."""
    random = Random(0)
    sizes = [
        0,
        1,
        BLOCK_BYTES - 1,
        3,
        BLOCK_BYTES,
        2 * BLOCK_BYTES,
        *random.choices(range(300), k=999),
    ]
    breaks = b"\r\x0b\x0c\x1c\x85"
    return [bytes(random.choices(b"abc" + breaks, k=size)) for size in sizes]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    with closing(LineWriter(tmp_path / "lines.gz")) as writer:
        for line in lines():
            writer.write(line + b"\n")
    return tmp_path / "lines.gz"


def test_every_line_is_read_back_in_any_order(file: Path) -> None:
    written, read = lines(), LineFile(file)
    assert list(read) == written
    order = Random(1).sample(range(len(written)), len(written))
    assert [read[number] for number in order] == [written[number] for number in order]


def test_gzip_reads_the_whole_file(file: Path) -> None:
    assert gzip.decompress(file.read_bytes()) == b"".join(line + b"\n" for line in lines())


def test_one_line_is_read_without_reading_the_others(file: Path) -> None:
    written, read = lines(), LineFile(file)
    damaged = bytearray(file.read_bytes())
    damaged[-20:] = bytes(20)
    file.write_bytes(damaged)
    assert read[5] == written[5]


def test_a_file_without_lines_is_empty(tmp_path: Path) -> None:
    LineWriter(tmp_path / "lines.gz").close()
    assert list(LineFile(tmp_path / "lines.gz")) == []
