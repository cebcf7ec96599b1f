"""The contract of the group `reward`."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable


@runtime_checkable
class Reward(Protocol):
    """The group `reward`: scores completions; references are None where a prompt has none.

    A score is a finite number, or NaN for no verdict: a reference that cannot be read, a prompt
    of another kind. A completion without a verdict is left out of the loss, the statistics of its
    group and every mean; it is neither 0 nor an error.
    """

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], references: Sequence[str | None]
    ) -> Sequence[float]:
        """Returns one score per completion."""
        ...
