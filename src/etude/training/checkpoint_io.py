"""Lightning's interface to the checkpoints of a run."""

import shutil
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO

from etude.files.manifest import require_intact
from etude.formats.checkpoint import write_sealed_folder
from etude.formats.state_tree import read_tree, write_tree


class TreeCheckpointIO(CheckpointIO):
    """Reads and writes them as state trees in sealed folders."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        facts = {
            "step": checkpoint["global_step"],
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
        }
        write_sealed_folder(Path(path), lambda folder: write_tree(checkpoint, folder), facts)

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        require_intact(Path(path))
        return read_tree(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        shutil.rmtree(path)
