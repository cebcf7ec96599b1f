import lzma

import pytest

from etude.data import data_card
from etude.data.data_card import xz_bits_per_byte


def test_the_baseline_is_what_xz_writes_of_the_first_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"The number {i} and its square {i * i}: 数字.\n" for i in range(3000)]
    whole = "".join(texts).encode()
    for n_bytes in (10**6, 50_000):
        monkeypatch.setattr(data_card, "XZ_BYTES", n_bytes)
        start = whole[:n_bytes]
        size = len(lzma.compress(start, preset=9 | lzma.PRESET_EXTREME))
        assert xz_bits_per_byte(iter(texts)) == 8 * size / len(start)
