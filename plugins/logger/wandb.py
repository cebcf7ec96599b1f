"""Weights & Biases: online with credentials, offline without, and never in the way of a run.

https://docs.wandb.ai. A server that does not answer in time makes the run an offline one: it stands
in the run folder, and `wandb sync` sends it later. The id is made of the folder, so that a resumed
run goes on in the same place.
"""

import hashlib
import netrc
import os
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any, Literal
from urllib.parse import urlsplit

import wandb as service

from etude import plugin
from etude.schema import LoggerConfig, require
from etude.trackers import Tracker

Mode = Literal["online", "offline", "disabled"]
GRACE_S = 1.0
FINISH_S = 60.0
"""Longest upload at the end; what is left stands in the run folder."""


@dataclass
class WandbConfig(LoggerConfig):
    project: str = "etude"
    """Project the runs are filed under."""
    group: str | None = None
    """Name that ties runs together; null = the folder the run stands in, such as a sweep's."""
    timeout_s: int = 10
    """Longest time, in seconds, by which the server can delay the first step."""

    def __post_init__(self) -> None:
        require(self.timeout_s >= 5, f"timeout_s must be at least 5, got {self.timeout_s}")


@plugin(WandbConfig)
class Wandb(Tracker):
    """Opens its run when first told something; a resumed run goes on where it was."""

    def __init__(self, config: WandbConfig, folder: Path) -> None:
        super().__init__(folder)
        self.config = config
        self.run: service.Run | None = None

    @property
    def version(self) -> str:
        """The id of the run: the same for the same folder."""
        return hashlib.sha256(str(self.folder.absolute()).encode()).hexdigest()[:12]

    @property
    def group(self) -> str:
        """What the run is filed under, beside its project."""
        return self.config.group or self.folder.absolute().parent.name

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self._opened().config.update(params, allow_val_change=True)

    def log_metrics(self, metrics: Mapping[str, int | float], step: int | None = None) -> None:
        self._opened().log({**metrics, "step": step})

    def log_texts(self, texts: Sequence[str], step: int) -> None:
        shown = service.Html("<hr>".join(f"<pre>{_escaped(text)}</pre>" for text in texts))
        self._opened().log({"samples": shown, "step": step})

    def close(self, succeeded: bool) -> None:
        run, self.run = self.run, None
        if run is not None:
            try:
                run.finish(exit_code=0 if succeeded else 1)
            except Exception:  # or the next job of a sweep would go on in this run
                start_afresh()
                raise

    def _opened(self) -> service.Run:
        if self.run is None:
            self.run = self._open(mode())
            self.run.define_metric("*", step_metric="step", step_sync=True)
        return self.run

    def _open(self, mode: Mode) -> service.Run:
        """Starts the run; where the server or the helper process fails, once more, offline."""
        try:
            return self._start(mode)
        except (service.Error, OSError) as error:
            said = str(error).partition("\n")[0]
            warnings.warn(f"wandb goes on offline: {said}", stacklevel=2)
            start_afresh()
            return self._start("offline")

    def _start(self, mode: Mode) -> service.Run:
        patience = self.config.timeout_s - 3 * GRACE_S  # going on offline takes time as well
        return service.init(
            project=self.config.project,
            name=self.name,
            id=self.version,
            group=self.group,
            dir=self.folder,
            mode=mode,
            resume="allow" if mode == "online" else None,  # offline, the id alone says it
            reinit="finish_previous",
            settings=service.Settings(
                silent=True,
                console="off",
                init_timeout=patience,
                login_timeout=patience,
                finish_timeout=FINISH_S,
            ),
        )


def start_afresh() -> None:
    """Leaves W&B's helper process: one that is stuck holds on to the id, a dead one to the run."""

    def end() -> None:
        with suppress(Exception):  # it may be dead
            service.teardown(exit_code=1)

    ending = Thread(target=end, daemon=True)
    ending.start()
    ending.join(GRACE_S)  # a stuck one ends in its own time


def mode() -> Mode:
    """What $WANDB_MODE says; else online, if there are credentials for the server."""
    if (asked := os.environ.get("WANDB_MODE")) in ("offline", "disabled"):
        return asked
    if os.environ.get("WANDB_API_KEY"):
        return "online"
    server = (
        urlsplit(os.environ.get("WANDB_BASE_URL") or service.setup().settings.base_url).hostname
        or ""
    )
    try:
        kept = netrc.netrc(os.environ.get("NETRC", Path.home() / ".netrc")).authenticators(server)
    except (OSError, netrc.NetrcParseError):
        kept = None
    return "online" if kept else "offline"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
