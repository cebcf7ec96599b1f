from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etude.data import file_parts
from etude.data.file_parts import whole
from etude.data.readers import line_parts, lines

PIECES = (b"\n", b"\r", b"\r\n", b"a", "\ufeff文".encode(), b"\xff", b"long " * 9)
CONTENT = st.lists(st.sampled_from(PIECES)).map(b"".join)


@given(start=st.sampled_from([b"a", b"\xef\xbb\xbf"]), content=CONTENT, size=st.integers(1, 20))
def test_the_lines_of_the_parts_are_those_of_the_file(
    start: bytes, content: bytes, size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("parts") / "text"
    file.write_bytes(start + content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_parts, "PART_BYTES", size)
        parts = list(line_parts(file))
    assert [line for part in parts for line in lines(part)] == list(lines(file))
    assert sum(part.n_bytes or 0 for part in parts) == file.stat().st_size


def test_a_file_is_cut_where_lines_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_parts, "PART_BYTES", 4)
    (tmp_path / "text").write_bytes(b"a\nb\nlong line\r\nc")
    parts = [(part.start, part.end, part.number) for part in line_parts(tmp_path / "text")]
    assert parts == [(0, 4, 1), (4, 15, 3), (15, None, 4)]


@pytest.mark.parametrize("content", [b"\x1f\x8b\x08\n\n\n", b"%PDF-1.7\n\n\n", b""])
def test_what_is_no_plain_text_is_not_cut(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_parts, "PART_BYTES", 1)
    file = tmp_path / "file"
    file.write_bytes(content)
    assert list(line_parts(file)) == [whole(file)]


def test_the_size_of_compressed_content_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(b"\x1f\x8b\x08")
    assert whole(tmp_path / "a.gz").n_bytes is None
    (tmp_path / "a").write_bytes(b"abc")
    assert whole(tmp_path / "a").n_bytes == 3
    assert whole(tmp_path / "missing").n_bytes is None
