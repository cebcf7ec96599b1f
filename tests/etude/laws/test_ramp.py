"""The laws of ramps find sizes that no run could have."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny

from etude.config.plugin_files import options
from etude.laws import ramp
from etude.laws.trial import Trial
from etude.laws.verdict import Verdict
from etude.objective.step_size import Ramp, StepSize

LAWS = (
    ramp.sizes_depend_only_on_the_step,
    ramp.no_size_is_above_the_full_one,
    ramp.it_ends_at_the_full_size,
)


def trial(name: str, folder: Path) -> Trial:
    return Trial(tiny.part("ramp", name, start=2, steps=9), tiny.experiment("clm", folder), folder)


@pytest.mark.parametrize("name", options("ramp"))
def test_every_ramp_keeps_them(name: str, tmp_path: Path) -> None:
    made = trial(name, tmp_path)
    assert [law(made).verdict for law in LAWS] == [Verdict.HELD] * 3


def forgetful() -> Ramp:
    seen: list[int] = []

    def size_at(step: int, size: StepSize) -> StepSize:
        seen.append(step)
        return replace(size, samples=min(size.samples, len(seen)))

    return size_at


BROKEN: list[tuple[Any, Any]] = [
    (ramp.sizes_depend_only_on_the_step, forgetful()),
    (ramp.no_size_is_above_the_full_one, lambda step, size: replace(size, samples=step)),
    (ramp.no_size_is_above_the_full_one, lambda step, size: replace(size, length=1024)),
    (ramp.it_ends_at_the_full_size, lambda step, size: size),
    (ramp.it_ends_at_the_full_size, lambda step, size: replace(size, span=5)),
]


@pytest.mark.parametrize(("law", "made"), BROKEN)
def test_a_ramp_that_breaks_one_is_found(
    law: Any, made: Ramp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ramp, "build", lambda config: made)
    assert law(trial("batch", tmp_path)).verdict is Verdict.BROKEN
