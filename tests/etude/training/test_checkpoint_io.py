from pathlib import Path

import pytest
import torch

from etude.errors import CheckpointError
from etude.files.manifest import MANIFEST
from etude.training.checkpoint_io import TreeCheckpointIO

TREE = {"a": torch.arange(3.0), 1: "text"}


def test_lightning_saves_and_loads_checkpoints(tmp_path: Path) -> None:
    io, folder = TreeCheckpointIO(), tmp_path / "step-7"
    io.save_checkpoint({"global_step": 7, "state": TREE}, folder)
    assert io.load_checkpoint(folder)["state"][1] == "text"
    assert '"step": 7' in (folder / MANIFEST).read_text()
    (folder / "tree.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"tree\.json "):
        io.load_checkpoint(folder)
    io.remove_checkpoint(folder)
    assert list(tmp_path.iterdir()) == []
