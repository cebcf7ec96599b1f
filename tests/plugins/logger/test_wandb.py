"""W&B needs no account: without credentials a run is kept in its folder, and ends with its run."""

from pathlib import Path

import pytest
import wandb as service
from defaults import default

from etude.registry import build


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without credentials."""
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no_netrc"))
    return tmp_path


def test_the_same_folder_is_the_same_run(offline: Path) -> None:
    first, again, other = (build(default("logger/wandb"), offline / x) for x in ("a", "a", "b"))
    assert first.version == again.version != other.version


def test_a_run_is_grouped_under_its_parent_folder_unless_named(offline: Path) -> None:
    logger = build(default("logger/wandb"), offline / "sweep" / "0")
    assert logger._wandb_init["group"] == "sweep"
    assert build(default("logger/wandb", group="mine"), offline)._wandb_init["group"] == "mine"


def test_without_credentials_it_is_offline_and_with_a_key_it_is_not(
    offline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert build(default("logger/wandb"), offline)._offline
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    assert not build(default("logger/wandb"), offline)._offline
    monkeypatch.delenv("WANDB_API_KEY")
    (offline / "no_netrc").write_text("machine api.wandb.ai login user password " + "k" * 40)
    assert not build(default("logger/wandb"), offline)._offline


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_an_offline_run_stands_in_its_folder_and_is_over_when_finalised(offline: Path) -> None:
    logger = build(default("logger/wandb"), offline)
    logger.log_metrics({"loss": 1.0}, 1)
    logger.finalize("success")
    assert service.run is None
    assert list((offline / "wandb").glob("offline-run-*"))
