"""Tokens and FLOPs are counted exactly, and the loss curve does not depend on it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import torch.nn.functional as F
import two_processes as two
from defaults import default

from etude.network.network import ROWS
from etude.training.flops import counter
from etude.training.run import start


def run(folder: Path, place: Path, every: int = 0, **trainer: Any) -> list[dict[str, Any]]:
    values = {"max_steps": 5, "val_every": 5, "val_samples": 2} | trainer
    config = tiny.experiment("clm", folder, trainer=values, dropout=0.1)
    chosen = {"throughput": default("callback/throughput", every=every)} if every else {}
    start(replace(config, run=str(place), callback=chosen), "tiny", [])
    return tiny.untimed_steps(place)


def lines(place: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (place / "perf.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("micro_batch", [8, 2])
def test_the_curve_does_not_depend_on_it(micro_batch: int, tmp_path: Path) -> None:
    with_it = run(tmp_path, tmp_path / "with", 2, micro_batch=micro_batch)
    assert with_it == run(tmp_path, tmp_path / "without", micro_batch=micro_batch)
    model = "model/model.safetensors"
    assert (tmp_path / "with" / model).read_bytes() == (tmp_path / "without" / model).read_bytes()
    assert not any(name.startswith("perf/") for line in with_it for name in line)


def test_tokens_per_second_exclude_padding(tmp_path: Path) -> None:
    steps = run(tmp_path, tmp_path / "run", 2)
    found = lines(tmp_path / "run")
    assert [line["step"] for line in found] == [3, 5]
    for line in found:
        tokens = steps[line["step"] - 1]["tokens"] - steps[line["step"] - 3]["tokens"]
        each = line["perf/tokens_per_s"] / line["perf/steps_per_s"] * 2
        assert each == pytest.approx(tokens)
        assert 0 < line["perf/mfu"] < 1
        assert 0 <= line["perf/data_wait"] < 1


def test_the_flops_of_a_step_equal_those_of_its_matrix_products(tmp_path: Path) -> None:
    config = tiny.experiment("clm", tmp_path, trainer={"micro_batch": 2})
    throughput = tiny.build(default("callback/throughput"))
    tiny.fit(config, tiny.training_parts(config), tmp_path / "run", [throughput])
    dim, seq, vocab = 16, 16, tiny.BYTES.vocab.size
    layer, head = 12 * dim**2, vocab * dim  # weights: a product a token, or a row that is scored
    least = 3 * 2 * (layer * 2 * (seq - 1) + head * ROWS)
    assert least <= throughput.flops <= 1.3 * least


def test_flops_per_token_are_those_of_a_micro_batch_over_its_tokens(tmp_path: Path) -> None:
    config = tiny.experiment("clm", tmp_path, trainer={"micro_batch": 2, "max_steps": 5})
    throughput = tiny.build(default("callback/throughput", every=2))
    tiny.fit(config, tiny.training_parts(config), tmp_path / "run", [throughput])
    steps = tiny.untimed_steps(tmp_path / "run")
    for line in lines(tmp_path / "run"):
        tokens = steps[line["step"] - 1]["tokens"] - steps[line["step"] - 3]["tokens"]
        a_token = line["perf/flops_per_s"] / line["perf/tokens_per_s"]
        micro_batches = 2 * config.trainer.global_batch / 2
        assert a_token == pytest.approx(throughput.flops * micro_batches / tokens)


@pytest.mark.slow
def test_a_compiled_network_is_measured_and_trains_as_without_the_callback(tmp_path: Path) -> None:
    """In separate processes: the shape checks that the tests install cannot be compiled."""
    given = ("trainer.compile=true", "trainer.micro_batch=4", "trainer.max_steps=5")
    measured = ("callback=[throughput]", "callback.throughput.every=2")
    for place, more in (("with", measured), ("without", ())):
        ended = two.train(tmp_path / place, *given, *more)
        assert ended.returncode == 0, ended.stderr
    two.assert_equal(tmp_path / "with", tmp_path / "without")
    found = lines(tmp_path / "with")
    assert [line["step"] for line in found] == [3, 5]
    assert all(line["perf/mfu"] > 0 for line in found)


def test_every_must_be_positive() -> None:
    with pytest.raises(ValueError, match="every must be at least 1, got 0"):
        default("callback/throughput", every=0)


def test_attention_is_counted_on_every_kernel() -> None:
    """Two matrix products forward, and five backward, which recompute the scores."""
    q, k, v = (torch.randn(2, 4, 8, 16, requires_grad=True) for _ in range(3))
    product = 2 * 2 * 4 * 8 * 8 * 16
    with counter() as counted:
        F.scaled_dot_product_attention(q, k, v).sum().backward()
    assert counted.get_total_flops() == (2 + 5) * product
