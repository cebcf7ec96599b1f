"""Logged data is read back from MLflow's store; a missing package is reported."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from defaults import default

from etude.config import compatibility
from etude.config.registry import build
from etude.errors import MissingExtraError
from etude.training.run import start

OURS = pytest.mark.filterwarnings("ignore")
"""MLflow's dependencies emit warnings."""


def run(folder: Path, steps: int) -> Path:
    trainer = {"max_steps": steps, "log_every": 1, "val_samples": 2}
    config = tiny.experiment("clm", folder, trainer=trainer)
    logger = {"mlflow": default("logger/mlflow")}
    config = replace(
        config, logger=logger, tags=["long"], callback={"samples": default("callback/samples")}
    )
    place = folder / "sweep" / "0"
    start(replace(config, run=str(place)), "tiny", [f"trainer.max_steps={steps}"])
    return place


def client(place: Path) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(f"sqlite:///{place / 'mlflow.db'}")


@pytest.mark.slow
@OURS
def test_metrics_config_and_texts_are_read_back_and_a_resumed_run_is_the_same_run(
    tmp_path: Path,
) -> None:
    pytest.importorskip("mlflow")
    place = run(tmp_path, 2)
    assert run(tmp_path, 4) == place
    store = client(place)
    (experiment,) = [e for e in store.search_experiments() if e.name == "etude"]
    (found,) = store.search_runs([experiment.experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.tags["etude.group"] == "sweep"
    assert "long" in found.data.tags
    assert found.data.params["optimizer.lr"] == "0.001"
    assert found.data.params["objective"] == "objective/clm"
    history = [(m.step, m.value) for m in store.get_metric_history(found.info.run_id, "loss")]
    assert history == [(line["step"], line["loss"]) for line in tiny.untimed_steps(place)]
    shown = [json.loads(line) for line in (place / "samples.jsonl").read_text().splitlines()]
    files = [read(file)["rows"] for file in place.rglob("samples/*.json")]
    tables = {rows[0]["step"]: [row["text"] for row in rows] for rows in files}
    assert tables == {row["step"]: row["texts"] for row in shown}


@pytest.mark.slow
@OURS
def test_a_picture_is_an_artifact_of_its_step(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    logger = build(default("logger/mlflow"), tmp_path)
    logger.log_picture("map", np.full((2, 5, 3), 200, np.uint8), 3)
    logger.finalize("success")
    (file,) = tmp_path.rglob("map/step-000000003.png")
    assert file.read_bytes().startswith(b"\x89PNG")


def read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8"))


def test_a_missing_package_is_reported_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(tiny.experiment("clm", tmp_path), logger={"mlflow": default("logger/mlflow")})
    monkeypatch.setattr(compatibility, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"logger=mlflow needs .*\n.*etude\[mlflow"):
        compatibility.check(config)


def test_an_empty_uri_is_refused() -> None:
    with pytest.raises(ValueError, match="uri must not be empty"):
        default("logger/mlflow", uri="")
