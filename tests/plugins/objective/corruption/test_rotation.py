import numpy as np
import pytest
import tiny

from etude.plugins.objective.corruption.rotation import Rotation, RotationConfig


@pytest.mark.parametrize("n", [0, 1, 2, 3, 40])
def test_all_rotations_of_the_text_occur_and_the_target_is_the_text(n: int) -> None:
    tokens = np.arange(200, 200 + n)
    rotation = Rotation(RotationConfig(), tiny.BYTES)
    sources = [rotation(tokens, np.random.default_rng(seed)) for seed in range(300)]
    turns = {tuple(np.roll(tokens, -i).tolist()) for i in range(n)} or {()}
    assert {tuple(source.tolist()) for source, _ in sources} == turns
    assert all(np.array_equal(target, np.arange(200, 200 + n)) for _, target in sources)
