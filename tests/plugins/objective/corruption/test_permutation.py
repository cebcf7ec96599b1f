import numpy as np
import pytest
import tiny

from etude.plugins.objective.corruption.permutation import Permutation, PermutationConfig

TEXT = "One is. Two is! 三是。 Four\n"


@pytest.mark.parametrize("n", [0, 1, 2, 3, 31])
def test_the_target_is_the_text_and_the_source_has_all_its_tokens(n: int) -> None:
    tokens = tiny.BYTES.encode(TEXT)[:n]
    permute = Permutation(PermutationConfig(), tiny.BYTES)
    source, target = permute(tokens, np.random.default_rng(0))
    assert np.array_equal(target, tiny.BYTES.encode(TEXT)[:n])
    assert sorted(source.tolist()) == sorted(target.tolist())


def test_all_orders_of_the_sentences_occur() -> None:
    permute, tokens = Permutation(PermutationConfig(), tiny.BYTES), tiny.BYTES.encode(TEXT)
    sources = {tiny.BYTES.decode(permute(tokens, np.random.default_rng(i))[0]) for i in range(300)}
    assert len(sources) == 24
    assert " Two is! Four\nOne is. 三是。" in sources
