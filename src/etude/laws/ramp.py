"""Laws of ramps: sizes that depend on the step only, are possible, and end at the full size."""

from etude.config.registry import build
from etude.laws.trial import Trial
from etude.laws.verdict import Finding, broken, held, holds
from etude.objective.step_size import Ramp, StepSize

STEPS = 200
LARGE = StepSize(samples=64, length=512)


def sizes_depend_only_on_the_step(trial: Trial) -> Finding:
    """A step has the same size in any order of calls, so a run can resume at any step."""
    ramp = _ramp(trial)
    forwards = [ramp(step, LARGE) for step in range(STEPS)]
    backwards = [ramp(step, LARGE) for step in reversed(range(STEPS))][::-1]
    same = forwards == backwards == [_ramp(trial)(step, LARGE) for step in range(STEPS)]
    return holds(same, "forwards, backwards and built again")


def no_size_is_above_the_full_one(trial: Trial) -> Finding:
    """Every step has samples, a length and a span, none larger than without the ramp."""
    ramp = _ramp(trial)
    for step in range(STEPS):
        size = ramp(step, LARGE)
        if not (
            1 <= size.samples <= LARGE.samples
            and 2 <= size.length <= LARGE.length
            and (size.span is None or size.span >= 1)
        ):
            return broken(f"step {step} has {size}")
    return held(f"{ramp(0, LARGE)} to {LARGE}")


def it_ends_at_the_full_size(trial: Trial) -> Finding:
    """Some steps are smaller, and those after the ramp are not."""
    ramp = _ramp(trial)
    n_smaller = sum(ramp(step, LARGE) != LARGE for step in range(STEPS))
    return holds(
        n_smaller > 0 and ramp(10**9, LARGE) == LARGE, f"{n_smaller} of {STEPS} steps are smaller"
    )


def _ramp(trial: Trial) -> Ramp:
    return build(trial.tested)
