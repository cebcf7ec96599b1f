"""Set-up of every test: a separate cache, one thread, and tensor shapes checked at run time."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported, because digests depend on it
SHAPE_CHECKED = (
    "network.generation",
    "network.inputs",
    "network.network",
    "network.stack",
    "objective.batches",
    "objective.log_probs",
    "objective.loss",
    "plugins",
    "rl.on_policy",
)
install_import_hook([f"etude.{name}" for name in SHAPE_CHECKED], "beartype.beartype")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache of prepared data, one for all tests (and all pytest-xdist workers)."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ETUDE_CACHE", str(folder))
        yield folder
