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
from etude.cli.pages.report.runs import FoundRuns, RunState, find
from etude.cli.pages.report.view import View
from etude.config import composition
from etude.config.command_line import prepare
from etude.config.config_file import build_config
from etude.config.schema.report import ReportConfig
from etude.errors import ConfigError, DataError
from etude.files.atomic import write_atomic
from etude.files.disk import disk_full_error

VERB = "report"
IDLE_CHECKS = 3
"""Number of consecutive checks without a running run after which watching stops."""


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code."""
    folders = [argument for argument in arguments if _is_folder(argument)]
    overrides = [argument for argument in arguments if not _is_folder(argument)]
    composed = composition.compose_one(VERB, prepare(overrides))
    if composed is None:
        return 0
    if not folders:
        raise ConfigError(
            "etude report needs at least one folder.\n"
            "  Give run folders, or folders of runs: etude report outputs/a outputs/b"
        )
    config = build_config(composed.config, ReportConfig)
    if config.png is not None:
        browser()  # fails before anything is written
    printed = set[str]()
    if config.watch is not None:
        _watch(folders, config, config.watch, printed)
    found = _find(folders, printed)
    if not found.runs and config.watch is None:
        raise DataError(f"No run found in {', '.join(folders)}: no page was written.")
    _write(found, config, None)
    print(Path(config.out).resolve())
    return 0


def _is_folder(argument: str) -> bool:
    """Returns whether an argument is a folder: neither a flag nor key=value, or it exists."""
    return not argument.startswith("-") and ("=" not in argument or Path(argument).is_dir())


def _watch(folders: list[str], config: ReportConfig, every: float, printed: set[str]) -> None:
    n_idle = 0
    while n_idle < IDLE_CHECKS:
        found = _find(folders, printed)
        _write(found, config, every)
        n_idle = 0 if any(run.state is RunState.running for run in found.runs) else n_idle + 1
        time.sleep(every)


def _find(folders: list[str], printed: set[str]) -> FoundRuns:
    """Returns the runs; prints problems that were not printed before."""
    found = find(folders)
    for problem in found.problems:
        if problem not in printed:
            print(problem, file=sys.stderr)
    printed.update(found.problems)
    return found


def _write(found: FoundRuns, config: ReportConfig, watch: float | None) -> None:
    """Writes the page, and its screenshot if `png` is set."""
    view = View(found.runs, config.metric, config.best)
    out = Path(config.out)
    try:
        with disk_full_error(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(out, page(view, found.problems, watch))
    except OSError as error:
        raise ConfigError(f"out={out} cannot be written: {error.strerror}.") from error
    if config.png is not None:
        take(out, Path(config.png))
