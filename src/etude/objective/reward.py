"""The contract of the group `reward`."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable


@runtime_checkable
class Reward(Protocol):
    """The group `reward`: scores completions; references are None where a prompt has none.

    A score is a finite number, or NaN for no verdict, for example if a reference cannot be parsed
    or a prompt is of another kind. A completion without a verdict is excluded from the loss, the
    statistics of its group and every mean; it does not count as 0 and is not an error.
    """

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], references: Sequence[str | None]
    ) -> Sequence[float]:
        """Returns one score per completion."""
        ...
