import numpy as np
import pytest
import tiny

from etude.plugins.objective.corruption._noise import infill
from etude.plugins.objective.corruption.infilling import Infilling, InfillingConfig

TEXT = "one two three four five six seven eight nine ten"


@pytest.mark.parametrize("n", [0, 1, 2, 3, 48])
def test_the_text_is_the_target_and_spans_of_it_are_masked(n: int) -> None:
    tokens, config = tiny.BYTES.encode(TEXT)[:n], InfillingConfig()
    source, target = Infilling(config, tiny.BYTES)(tokens, np.random.default_rng(0))
    assert target.tolist() == tiny.BYTES.encode(TEXT)[:n].tolist()
    assert np.array_equal(source, infill(tokens, tiny.BYTES, config, np.random.default_rng(0)))
    assert len(source) <= n


def test_seven_of_ten_words_remain() -> None:
    config = InfillingConfig(mask_ratio=0.3, random_share=0.0)
    for seed in range(50):
        source, _ = Infilling(config, tiny.BYTES)(
            tiny.BYTES.encode(TEXT), np.random.default_rng(seed)
        )
        read = tiny.BYTES.decode(np.where(source == tiny.BYTES.vocab.mask, ord(" ") + 109, source))
        assert len(read.split()) == 7
        assert set(read.split()) <= set(TEXT.split())
