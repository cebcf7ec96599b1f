"""Evaluation during training: the numbers of `etude evaluate`, and training is not affected."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
from defaults import default

from etude.cli.main import main
from etude.config.compatibility import check
from etude.errors import ConfigError
from etude.evaluation.result import read_result
from etude.training.run import start


def run(folder: Path, place: Path, devices: int = 1, **callback: Any) -> list[dict[str, Any]]:
    trainer = {"max_steps": 4, "val_every": 2, "val_samples": 2, "devices": devices}
    config = tiny.experiment("clm", folder, trainer=trainer, dropout=0.1)
    if devices > 1:
        config = replace(config, strategy=default("strategy/ddp"))
    callbacks = {"evaluate": default("callback/evaluate", **callback)} if callback else {}
    start(replace(config, run=str(place), callback=callbacks), "tiny", [])
    return tiny.untimed_steps(place)


def test_the_last_result_is_that_of_etude_evaluate_and_training_is_unchanged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "with"
    steps = run(tmp_path, place, task="sums", n_items=3, batch_size=2)
    plain = [{k: v for k, v in line.items() if not k.startswith("val/sums/")} for line in steps]
    assert plain == run(tmp_path, tmp_path / "without")
    assert "val/sums/accuracy" in steps[1]
    found = read_result(place / "evaluations/sums/4.json")
    assert main(["evaluate", f"run={place}", "task=sums", "n_items=3"]) == 0
    alone = read_result(place / "evaluations/sums.json")
    assert found.parts == alone.parts
    differing = {k for k in alone.asked if alone.asked[k] != found.asked[k]}
    assert differing == {"model"}
    assert "accuracy" in capsys.readouterr().out


def test_it_evaluates_only_at_multiples_of_every_and_at_the_end(tmp_path: Path) -> None:
    steps = run(tmp_path, tmp_path / "run", task="sums", n_items=2, every=3)
    assert [line["step"] for line in steps if "val/sums/accuracy" in line] == [4]


@pytest.mark.slow
def test_two_ranks_give_the_result_of_one(tmp_path: Path) -> None:
    for devices in (1, 2):
        run(tmp_path, tmp_path / f"{devices}", devices, task="sums", n_items=3)
    one, two = (read_result(tmp_path / f"{n}/evaluations/sums/2.json") for n in (1, 2))
    assert [item.id for item in one.parts["generation"].items] == [
        item.id for item in two.parts["generation"].items
    ]
    assert [item.prompt for item in one.parts["generation"].items] == [
        item.prompt for item in two.parts["generation"].items
    ]


def test_an_unknown_task_and_a_strategy_that_shards_are_refused(tmp_path: Path) -> None:
    config = tiny.experiment("clm", tmp_path)
    unknown = replace(config, callback={"evaluate": default("callback/evaluate", task="sumz")})
    with pytest.raises(ConfigError, match="sumz"):
        check(unknown)
    known = {"evaluate": default("callback/evaluate", task="sums")}
    trainer, strategy = replace(config.trainer, precision="32"), default("strategy/fsdp")
    sharded = replace(config, callback=known, strategy=strategy, trainer=trainer)
    with pytest.raises(ConfigError, match="shards"):
        check(sharded)
