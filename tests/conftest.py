"""What every test shares: its own cache, one thread, and shapes that are checked as they run."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: digests depend on it
SHAPED = (
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
install_import_hook([f"etude.{name}" for name in SHAPED], "beartype.beartype")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache of prepared data, one for all tests (and all pytest-xdist workers)."""
    base = tmp_path_factory.getbasetemp()
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ETUDE_CACHE", str(place))
        yield place
