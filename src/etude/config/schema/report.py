"""Config of `etude report`."""

from dataclasses import dataclass

from etude.config.schema.plugins import require
from etude.config.schema.trainer import Best


@dataclass
class ReportConfig:
    """Config of `etude report`."""

    out: str = "report.html"
    """The HTML file to write."""
    png: str | None = None
    """PNG screenshot of the page to write; needs an installed Chromium. null = none."""
    watch: float | None = None
    """Seconds between updates of the page, which reloads itself; null = write once. Minimum: 1."""
    metric: str = "val/loss"
    """The metric by which runs are ranked and compared."""
    best: Best = Best.lowest
    """Which value of the metric is best: lowest or highest."""

    def __post_init__(self) -> None:
        require(self.out != "", "out must be a file, got an empty string")
        require(
            self.watch is None or self.watch >= 1, f"watch must be at least 1, got {self.watch}"
        )
