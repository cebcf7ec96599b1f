"""Input and output of a report section: the runs, and a part of the page."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from etude.cli.pages.report.groups import Group, groups_of, labels
from etude.cli.pages.report.markup import Markup
from etude.cli.pages.report.runs import Run
from etude.config.schema.trainer import Best

LOSS = "val/loss"
NOT_COMPARABLE = (
    "val/loss is a different quantity for different objectives. "
    "Choose a metric that they share with metric=<name>."
)


@dataclass(frozen=True)
class Section:
    """A part of the page: its HTML, and the data of its charts."""

    body: Markup
    data: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class View:
    """The runs, and the metric that ranks them."""

    runs: Sequence[Run]
    metric: str
    best: Best

    @cached_property
    def groups(self) -> list[Group]:
        """The groups of runs that differ only by seed."""
        return groups_of(self.runs)

    @cached_property
    def labels(self) -> list[str]:
        """The name of each run."""
        return labels(self.runs, self.groups)

    def is_comparable(self, *members: int) -> bool:
        """Returns whether the metric is comparable between runs; losses depend on objectives."""
        objectives = {str(self.runs[i].config.get("objective")) for i in members}
        return self.metric != LOSS or len(objectives) == 1

    def ranked_runs(self) -> list[int]:
        """The runs that have the metric, sorted by its last value, best first."""
        last = {i: run.last(self.metric) for i, run in enumerate(self.runs)}
        known = {i: value for i, value in last.items() if value is not None}
        sign = 1 if self.best is Best.lowest else -1
        return sorted(known, key=lambda i: sign * known[i])
