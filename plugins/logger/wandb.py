"""Weights & Biases: online with credentials, offline otherwise; it never blocks a run.

https://docs.wandb.ai. If the server does not answer in time, the run continues offline in the run
folder, and `wandb sync` uploads it later. The id is derived from the folder, so a resumed run
continues in the same W&B run. Parent runs are recorded as used artifacts, named by the digests of
their weights, so that runs with the same parent are linked.
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
from etude.data import find_files
from etude.files import CARD, CHECKPOINTS, PARENTS, read_json
from etude.formats import checkpoints
from etude.training import Tracker

Mode = Literal["online", "offline", "disabled"]
GRACE_S = 1.0
FINISH_S = 60.0
"""Maximum upload time at the end, in seconds; the rest stays in the run folder."""


@dataclass
class WandbConfig(LoggerConfig):
    project: str = "etude"
    """Name of the W&B project."""
    group: str | None = None
    """Group of related runs; null = name of the parent folder, such as a sweep's."""
    timeout_s: int = 10
    """Maximum delay of the first step by the server, in seconds; at least 5."""
    checkpoints: bool = False
    """Upload the newest checkpoint as an artifact when the run ends."""
    data: bool = False
    """Upload the data card and the files of data.path as an artifact."""

    def __post_init__(self) -> None:
        require(self.timeout_s >= 5, f"timeout_s must be at least 5, got {self.timeout_s}")


@plugin(WandbConfig)
class Wandb(Tracker):
    """Opens its run when something is first logged; a resumed run continues where it was."""

    def __init__(self, config: WandbConfig, folder: Path) -> None:
        super().__init__(folder)
        self.config = config
        self.run: service.Run | None = None
        self.config_values: Mapping[str, Any] = {}  # by full keys

    @property
    def version(self) -> str:
        """Id of the run: the same for the same folder."""
        return hashlib.sha256(str(self.folder.absolute()).encode()).hexdigest()[:12]

    @property
    def group(self) -> str:
        """The W&B group of the run."""
        return self.config.group or self.folder.absolute().parent.name

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.config_values = params
        run = self._current_run()
        run.config.update(params, allow_val_change=True)
        for artifact in self._parents():
            # `use_artifact` raises offline, and waits for the server online
            run._log_artifact(  # pyright: ignore[reportPrivateUsage]
                artifact, is_user_created=True, use_after_commit=True
            )
        if self.config.data:
            run.log_artifact(self._data())

    def log_metrics(self, metrics: Mapping[str, int | float], step: int | None = None) -> None:
        self._current_run().log({**metrics, "step": step})

    def log_table(self, name: str, rows: Sequence[Mapping[str, Any]], step: int) -> None:
        values: list[Any] = [[step, *row.values()] for row in rows]
        table = service.Table(columns=["step", *rows[0]], data=values)
        self._current_run().log({name: table, "step": step})

    def log_picture(self, name: str, picture: Any, step: int) -> None:
        self._current_run().log({name: service.Image(picture), "step": step})

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
            except Exception:  # otherwise the next job of a sweep would continue this run
                restart_service()
                raise

    def _parents(self) -> Iterator[service.Artifact]:
        """Artifacts of this run's parents, by the recorded digests."""
        file = self.folder / PARENTS
        digests = read_json(file) if file.exists() else {}
        for key, digest in digests.items():
            facts = {"digest": digest, "run": str(self.config_values.get(key))}
            artifact = service.Artifact(
                f"run-{digest[:12]}", "model", metadata={"key": key, **facts}
            )
            with artifact.new_file("run.json") as opened:
                json.dump({"digest": digest}, opened)
            yield artifact

    def _data(self) -> service.Artifact:
        """An artifact of the data card, and of the data files if there are any."""
        card = self.folder / CARD
        facts = read_json(card)
        artifact = service.Artifact(f"data-{facts['digest'][:12]}", "dataset", metadata=facts)
        artifact.add_file(str(card))
        named = self.config_values.get("data.path")
        paths = find_files(named, ("",)).paths if named else ()  # never hidden files or runs
        root = os.path.commonpath([path.parent for path in paths]) if paths else ""
        for path in paths:
            artifact.add_file(str(path), name=f"files/{path.relative_to(root)}")
        return artifact

    def _current_run(self) -> service.Run:
        if self.run is None:
            self.run = self._open(mode())
            self.run.define_metric("*", step_metric="step", step_sync=True)
        return self.run

    def _open(self, mode: Mode) -> service.Run:
        """Starts the run; if the server or the helper process fails, starts it again offline."""
        try:
            return self._start(mode)
        except (service.Error, OSError) as error:
            reason = str(error).partition("\n")[0]
            warnings.warn(f"wandb continues offline: {reason}", stacklevel=2)
            restart_service()
            return self._start("offline")

    def _start(self, mode: Mode) -> service.Run:
        patience = self.config.timeout_s - 3 * GRACE_S  # the offline fallback takes time as well
        return service.init(
            project=self.config.project,
            name=self.name,
            id=self.version,
            group=self.group,
            tags=self.config_values.get("tags"),
            dir=self.folder,
            mode=mode,
            resume="allow" if mode == "online" else None,  # offline, the id alone is enough
            reinit="finish_previous",
            settings=service.Settings(
                silent=True,
                console="off",
                init_timeout=patience,
                login_timeout=patience,
                finish_timeout=FINISH_S,
            ),
        )


def restart_service() -> None:
    """Ends W&B's helper process: a stuck one would keep the id in use, a dead one the run."""

    def end() -> None:
        with suppress(Exception):  # it may be dead
            service.teardown(exit_code=1)

    ending = Thread(target=end, daemon=True)
    ending.start()
    ending.join(GRACE_S)  # do not wait for a stuck one


def mode() -> Mode:
    """$WANDB_MODE if it is offline or disabled; else online, if there are credentials."""
    if (requested := os.environ.get("WANDB_MODE")) in ("offline", "disabled"):
        return requested
    if os.environ.get("WANDB_API_KEY"):
        return "online"
    base_url = os.environ.get("WANDB_BASE_URL") or service.setup().settings.base_url
    server = urlsplit(base_url).hostname or ""
    try:
        kept = netrc.netrc(os.environ.get("NETRC", Path.home() / ".netrc")).authenticators(server)
    except (OSError, netrc.NetrcParseError):
        kept = None
    return "online" if kept else "offline"
