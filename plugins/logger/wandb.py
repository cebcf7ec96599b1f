"""Weights & Biases: online with credentials, offline without, and never in the way of a run.

https://docs.wandb.ai. An offline run stands in the run folder; `wandb sync` sends it later.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import wandb as service
from lightning.pytorch.loggers import WandbLogger

from etude import plugin
from etude.schema import LoggerConfig


@dataclass
class WandbConfig(LoggerConfig):
    project: str = "etude"
    """Project the runs are filed under."""
    group: str | None = None
    """Name that ties runs together; null = the folder the run stands in."""
    timeout_s: int = 10
    """Seconds to wait for the server before the run goes on offline."""


class Wandb(WandbLogger):
    """Lightning's logger, which also ends its run: the next job of a sweep must start its own."""

    def finalize(self, status: str) -> None:
        super().finalize(status)
        service.finish(exit_code=0 if status == "success" else 1)


@plugin(WandbConfig)
def wandb(config: WandbConfig, folder: Path) -> Wandb:
    """A run whose id is made of its folder, so that a resumed run goes on in the same place."""
    identity = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
    settings = service.Settings(init_timeout=config.timeout_s, silent=True, console="off")
    return Wandb(
        project=config.project,
        name=folder.name,
        id=identity,
        group=config.group or folder.parent.name,
        save_dir=folder,
        offline=not _has_credentials(),
        resume="allow",
        settings=settings,
    )


def _has_credentials() -> bool:
    netrc = Path(os.environ.get("NETRC", Path.home() / ".netrc"))
    return bool(os.environ.get("WANDB_API_KEY")) or (
        netrc.is_file() and "wandb" in netrc.read_text(encoding="utf-8")
    )
