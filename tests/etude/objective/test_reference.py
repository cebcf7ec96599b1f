"""A precomputed reference gives the same results as one that is run at every step."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from etude.config.schema.experiment import ExperimentConfig
from etude.files import cache
from etude.objective.reference import Reference

WITH_REFERENCE = ["dpo", "rdpo", "ipo", "hinge", "kto"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ETUDE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def cached_names(cache_folder: Path) -> set[str]:
    return {p.name for p in (cache_folder / "reference").iterdir() if p.is_dir()}


def run(config: ExperimentConfig, folder: Path) -> tuple[list[dict[str, Any]], Any]:
    made = tiny.training_parts(config)
    return tiny.fit(config, made, folder), made.objective


def config_of(name: str, folder: Path, **values: Any) -> ExperimentConfig:
    return tiny.experiment(name, folder, trainer={"micro_batch": 4, "max_steps": 3}, **values)


@pytest.mark.parametrize("name", WITH_REFERENCE)
def test_precomputing_the_reference_changes_no_metric(name: str, tmp_path: Path) -> None:
    lines, fresh = run(config_of(name, tmp_path), tmp_path / "fresh")
    again, made = run(config_of(name, tmp_path, precompute=True), tmp_path / "before")
    for line, wanted in zip(again, lines, strict=True):
        assert line["samples"] == wanted["samples"]
        skipped = {
            "samples",
            "accuracy",
            "val/accuracy",
        }  # margins are 0 up to rounding at the start
        numbers = {key: x for key, x in wanted.items() if key not in skipped}
        assert {k: line[k] for k in numbers} == pytest.approx(numbers, rel=1e-9, abs=1e-12)
    assert fresh.reference.network is not None
    assert made.reference.network is None  # its memory was freed
    assert {id(p) for p in made.parameters()} == {id(p) for p in made.network.parameters()}


def test_the_cache_key_covers_weights_and_ids(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of("dpo", tmp_path, precompute=True)
    first, _ = run(config, tmp_path / "a")
    (name,) = cached_names(own_cache)
    calls: list[int] = []
    compute = Reference._compute
    monkeypatch.setattr(
        Reference, "_compute", lambda self, *args: (calls.append(1), compute(self, *args))[1]
    )
    assert run(config, tmp_path / "b")[0] == first
    assert cached_names(own_cache) == {name}
    assert not calls
    run(replace(config, seed=1), tmp_path / "c")  # other weights
    assert len(cached_names(own_cache)) == 2
    shorter = replace(config, data=replace(config.data, seq_len=8))  # other ids of the same texts
    run(shorter, tmp_path / "d")
    assert len(cached_names(own_cache)) == 3
    assert len(calls) == 2


def test_the_key_of_a_row_includes_the_length_of_its_prompt() -> None:
    made = tiny.objective("dpo", precompute=True).reference
    assert made.lookup([([1, 2], [3]), ([1], [2, 3])]) is None
    from etude.objective.reference import _key

    made.precomputed = {_key(([1, 2], [3])): -1.0, _key(([1], [2, 3])): -2.0}
    values = made.lookup([([1, 2], [3]), ([1], [2, 3])])
    assert values.tolist() == [[-1.0], [-2.0]]
    assert cache.root().name == "cache"


def test_the_reference_is_constant_while_the_policy_changes() -> None:
    made = tiny.objective("dpo")
    targets = made.network.answer([([2, 200], [201, 3])])
    before = made.reference(targets)
    with torch.no_grad():
        for parameter in made.network.parameters():
            parameter.add_(0.1)
    assert torch.equal(made.reference(targets), before)
    assert not before.requires_grad
