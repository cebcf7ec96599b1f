"""Weights & Biases: online with credentials, offline without, and never in the way of a run.

https://docs.wandb.ai. A server that does not answer in time makes the run an offline one: it stands
in the run folder, and `wandb sync` sends it later. The id is made of the folder, so that a resumed
run goes on in the same place. What it stands on are artifacts that it uses, named by the digests of
their weights, so that runs which stand on the same weights meet there.
"""

import hashlib
import json
import netrc
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any, Literal
from urllib.parse import urlsplit

import wandb as service

from etude import plugin, require
from etude.config import LoggerConfig
from etude.files import CARD, CHECKPOINTS, PARENTS
from etude.formats import checkpoints
from etude.training import Tracker

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
    checkpoints: bool = False
    """Upload the newest checkpoint when the run ends, as an artifact."""
    data: bool = False
    """Upload the data card, and the files of data.path, as an artifact."""

    def __post_init__(self) -> None:
        require(self.timeout_s >= 5, f"timeout_s must be at least 5, got {self.timeout_s}")


@plugin(WandbConfig)
class Wandb(Tracker):
    """Opens its run when first told something; a resumed run goes on where it was."""

    def __init__(self, config: WandbConfig, folder: Path) -> None:
        super().__init__(folder)
        self.config = config
        self.run: service.Run | None = None
        self.told: Mapping[str, Any] = {}
        """The config of the run, by full keys."""

    @property
    def version(self) -> str:
        """The id of the run: the same for the same folder."""
        return hashlib.sha256(str(self.folder.absolute()).encode()).hexdigest()[:12]

    @property
    def group(self) -> str:
        """What the run is filed under, beside its project."""
        return self.config.group or self.folder.absolute().parent.name

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.told = params
        run = self._opened()
        run.config.update(params, allow_val_change=True)
        for artifact in self._parents():
            # `use_artifact` refuses to be used offline, and waits for the server online
            run._log_artifact(  # pyright: ignore[reportPrivateUsage]
                artifact, is_user_created=True, use_after_commit=True
            )
        if self.config.data:
            run.log_artifact(self._data())

    def log_metrics(self, metrics: Mapping[str, int | float], step: int | None = None) -> None:
        self._opened().log({**metrics, "step": step})

    def log_table(self, name: str, rows: Sequence[Mapping[str, Any]], step: int) -> None:
        table = service.Table(columns=["step", *rows[0]])
        for row in rows:
            table.add_data(step, *row.values())
        self._opened().log({name: table, "step": step})

    def close(self, succeeded: bool) -> None:
        run = self.run
        self.run = None
        if run is not None:
            try:
                kept = checkpoints(self.folder / CHECKPOINTS) if self.config.checkpoints else []
                for newest in kept[:1]:
                    artifact = service.Artifact(f"checkpoint-{self.version}", "checkpoint")
                    artifact.add_dir(str(newest), name=newest.name)
                    run.log_artifact(artifact)
                run.finish(exit_code=0 if succeeded else 1)
            except Exception:  # or the next job of a sweep would go on in this run
                start_afresh()
                raise

    def _parents(self) -> Iterator[service.Artifact]:
        """The runs that this one stands on, by the digests it remembers."""
        file = self.folder / PARENTS
        digests = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        for key, digest in digests.items():
            about = {"digest": digest, "run": str(self.told.get(key))}
            artifact = service.Artifact(
                f"run-{digest[:12]}", "model", metadata={"key": key, **about}
            )
            with artifact.new_file("run.json") as opened:
                json.dump({"digest": digest}, opened)
            yield artifact

    def _data(self) -> service.Artifact:
        """The card of the data, and its files where there are any."""
        card = self.folder / CARD
        about = json.loads(card.read_text(encoding="utf-8"))
        artifact = service.Artifact(f"data-{about['digest'][:12]}", "dataset", metadata=about)
        artifact.add_file(str(card))
        named = self.told.get("data.path")
        if named and Path(named).is_file():
            artifact.add_file(named, name=f"files/{Path(named).name}")
        elif named and Path(named).is_dir():
            artifact.add_dir(named, name="files")
        return artifact

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
