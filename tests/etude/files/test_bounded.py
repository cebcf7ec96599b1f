from pathlib import Path

import pytest

from etude.files.bounded import read_bounded


def test_a_file_is_read_up_to_a_limit_without_reading_more(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"12345")
    assert read_bounded(file, 5) == b"12345"
    with file.open("wb") as opened:
        opened.truncate(10**12)  # it needs no space on the disk
    with pytest.raises(ValueError, match="more than 5 bytes"):
        read_bounded(file, 5)
