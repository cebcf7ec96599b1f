import numpy as np
import pytest
import tiny

from etude.plugins.objective.corruption._noise import infill, permute, rotate
from etude.plugins.objective.corruption.bart import Bart, BartConfig

TEXT = "One is here. Two is there! 三是。 Four\n"
TOKENS = tiny.BYTES.encode(TEXT)


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_sentences_are_permuted_before_words_are_masked() -> None:
    config = BartConfig()
    for seed in range(20):
        draw = rng(seed)
        wanted = infill(permute(TOKENS, tiny.BYTES, draw), tiny.BYTES, config, draw)
        source, target = Bart(config, tiny.BYTES)(TOKENS, rng(seed))
        assert np.array_equal(source, wanted)
        assert np.array_equal(target, tiny.BYTES.encode(TEXT))


def test_a_rotation_comes_last() -> None:
    config = BartConfig(rotate_share=1.0)
    draw = rng(3)
    infilled = infill(permute(TOKENS, tiny.BYTES, draw), tiny.BYTES, config, draw)
    draw.random()
    source, _ = Bart(config, tiny.BYTES)(TOKENS, rng(3))
    assert np.array_equal(source, rotate(infilled, draw))
    plain = [Bart(BartConfig(), tiny.BYTES)(TOKENS, rng(i))[0] for i in range(200)]
    some = [Bart(BartConfig(rotate_share=0.5), tiny.BYTES)(TOKENS, rng(i))[0] for i in range(200)]
    n_rotated = sum(not np.array_equal(a, b) for a, b in zip(plain, some, strict=True))
    assert 70 < n_rotated < 130


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_the_shortest_texts_are_handled(n: int) -> None:
    source, target = Bart(BartConfig(rotate_share=1.0), tiny.BYTES)(TOKENS[:n], rng(0))
    assert np.array_equal(target, TOKENS[:n])
    assert len(source) == min(n, 1)  # one word: one mask, or a random token


def test_rotate_share_must_be_in_its_range() -> None:
    with pytest.raises(ValueError, match=r"rotate_share must be in \[0, 1\], got 1\.5"):
        BartConfig(rotate_share=1.5)
