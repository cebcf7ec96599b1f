"""Writes a one-page report on any number of runs: curves, comparisons, samples, costs.

    etude report outputs/a outputs/b             two runs
    etude report outputs/sweep out=sweep.html    every run in a folder
    etude report outputs/sweep watch=10          rewritten every 10 seconds while runs train
    etude report outputs/sweep png=page.png      also a screenshot, by an installed Chromium

The page is report.html, or the file of out=; it needs no network. Runs may be running, failed or
damaged: the report shows what can be read and lists what cannot. Runs are ranked by
metric=val/loss, best=lowest. The last line on stdout is the path of the page.
"""

import sys
import time
from pathlib import Path

from etude.cli.pages.report.page import page
from etude.cli.pages.report.picture import browser, take
from etude.cli.pages.report.runs import Found, State, find
from etude.cli.pages.report.view import View
from etude.config import composition
from etude.config.command_line import prepare
from etude.config.config_file import build_config
from etude.config.schema.report import ReportConfig
from etude.errors import ConfigError, DataError
from etude.files.atomic import write_whole

VERB = "report"
QUIET = 3
"""Number of consecutive checks without a running run after which watching stops."""


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code."""
    places = [given for given in arguments if _is_place(given)]
    given = [given for given in arguments if not _is_place(given)]
    composed = composition.compose_one(VERB, prepare(given))
    if composed is None:
        return 0
    if not places:
        raise ConfigError(
            "etude report looks at runs, and no folder is given.\n"
            "  Give run folders, or folders of runs: etude report outputs/a outputs/b"
        )
    config = build_config(composed.config, ReportConfig)
    if config.png is not None:
        browser()  # fails before anything is written
    told = set[str]()
    if config.watch is not None:
        _watch(places, config, config.watch, told)
    found = _found(places, told)
    if not found.runs and config.watch is None:
        raise DataError(f"There is no run in {', '.join(places)}: no page was written.")
    _write(found, config, None)
    print(Path(config.out).resolve())
    return 0


def _is_place(argument: str) -> bool:
    """Returns whether an argument is a folder: neither a flag nor key=value, or it exists."""
    return not argument.startswith("-") and ("=" not in argument or Path(argument).is_dir())


def _watch(places: list[str], config: ReportConfig, every: float, told: set[str]) -> None:
    quiet = 0
    while quiet < QUIET:
        found = _found(places, told)
        _write(found, config, every)
        quiet = 0 if any(run.state is State.running for run in found.runs) else quiet + 1
        time.sleep(every)


def _found(places: list[str], told: set[str]) -> Found:
    """Returns the runs; prints problems that were not printed before."""
    found = find(places)
    for problem in found.problems:
        if problem not in told:
            print(problem, file=sys.stderr)
    told.update(found.problems)
    return found


def _write(found: Found, config: ReportConfig, watch: float | None) -> None:
    """Writes the page, and its screenshot if `png` is set."""
    view = View(found.runs, config.metric, config.best)
    out = Path(config.out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, page(view, found.problems, watch))
    except OSError as error:
        raise ConfigError(f"out={out} cannot be written: {error.strerror}.") from error
    if config.png is not None:
        take(out, Path(config.png))
