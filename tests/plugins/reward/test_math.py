import math
from pathlib import Path

import pytest
import tiny

from etude.config import compatibility
from etude.config.registry import build
from etude.errors import MissingExtraError


def test_mathematically_equal_answers_are_rewarded() -> None:
    pytest.importorskip("math_verify")
    reward = build(tiny.part("reward", "math"))
    completions = ["$0.25$", r"thus \boxed{\frac{2}{8}}", "1/4", "$1/3$", "a quarter"]
    assert reward(["?"] * 5, completions, ["1/4"] * 5) == [1.0, 1.0, 1.0, 0.0, 0.0]
    assert math.isnan(reward(["?"], ["1"], ["$"])[0])
    with pytest.raises(ValueError, match="timeout_s must be at least 1"):
        tiny.part("reward", "math", timeout_s=0)


def test_without_math_verify_the_error_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny.experiment("grpo", tmp_path, reward={"math": tiny.part("reward", "math")})
    monkeypatch.setattr(compatibility, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'etude\[math_verify\]'"):
        compatibility.check(config)
