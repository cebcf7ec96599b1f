"""Logged data is read back by TensorBoard; a missing package is reported."""

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


def read(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return events


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_metrics_config_and_texts_are_read_back(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    logger = build(default("logger/tensorboard"), tmp_path)
    logger.log_hyperparams({"optimizer.lr": 0.5})
    for step in (1, 2, 3):
        logger.log_metrics({"step": step, "loss": step / 4}, step)
    logger.log_table("samples", [{"number": 0, "text": "once upon"}], 3)
    logger.log_picture("map", np.full((2, 5, 3), 200, np.uint8), 3)
    logger.finalize("success")
    events = read(tmp_path)
    (image,) = events.Images("map")
    assert (image.step, image.height, image.width) == (3, 2, 5)
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(1, 0.25), (2, 0.5), (3, 0.75)]
    assert (
        "optimizer.lr: 0.5"
        in events.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    )
    text = events.Tensors("samples/0/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "once upon" in text


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_resuming_hides_the_events_of_lost_steps(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    for steps, factor in (((1, 2, 3), 1), ((2, 3), 10)):
        logger = build(default("logger/tensorboard"), tmp_path)
        for step in steps:
            logger.log_metrics({"loss": float(step * factor)}, step)
        logger.finalize("success")
    found = [(e.step, e.value) for e in read(tmp_path).Scalars("loss")]
    assert found == [(1, 1.0), (2, 20.0), (3, 30.0)]


def test_a_missing_package_is_reported_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(
        tiny.experiment("clm", tmp_path), logger={"tensorboard": default("logger/tensorboard")}
    )
    monkeypatch.setattr(compatibility, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"logger=tensorboard needs .*\n.*etude\[tensorb"):
        compatibility.check(config)
