"""KTO: a reference point for each global batch, and losses of single completions."""

import math
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pairs
import pytest
import tiny
import torch

from etude.errors import DataError
from etude.objective.randomness import TRAIN, rng
from etude.plugins.objective._kto.labelled_completions import (
    LabelledCompletion,
    LabelledCompletions,
)
from etude.plugins.objective.kto import kto_loss
from etude.records import Feedback, Preference

YES, NO = torch.tensor([True]), torch.tensor([False])
RECORDS = [
    Feedback("one", "good", 1.0),
    Feedback("one", "bad", 0.0),
    Feedback("two", "fair", 0.5),
    Feedback("three", "great", 0.9),
]


def test_golden_values() -> None:
    chosen, rejected = (torch.tensor([x], dtype=torch.float64) for x in (1.0, -1.0))
    assert float(kto_loss(chosen, YES, 0.5, 0.1)) == pytest.approx(0.487503, abs=1e-6)
    assert float(kto_loss(rejected, NO, 0.5, 0.1)) == pytest.approx(0.462570, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_thousand_random_cases_agree_with_trl(dtype: torch.dtype) -> None:
    """Loss and gradient, with z as TRL takes it from mismatched pairs."""
    from trl.trainer.kto_trainer import KTOTrainer

    policy, reference, lengths = pairs.cases(dtype)
    other, other_reference, _ = pairs.cases(dtype, seed=1)
    other_reference = 1.1 * other_reference  # so that z is above 0
    labels = torch.arange(pairs.N_CASES) % 3 > 0
    log_probs = policy[0].clone().requires_grad_()
    inside = torch.arange(24) < lengths[0, :, None]
    mask = torch.nn.functional.pad(inside, (1, 0)).long()
    spare = torch.zeros(pairs.N_CASES, 24)
    outputs = SimpleNamespace(log_probs=log_probs, entropy=spare, mean_logits=spare)
    weights = {"desirable_weight": 1.25, "undesirable_weight": 0.75, "beta": 0.2}
    trainer = SimpleNamespace(
        model=SimpleNamespace(training=True),
        accelerator=pairs.SingleProcess(),
        calculate_KL=True,
        precompute_ref_logps=True,
        aux_loss_enabled=False,
        loss_type="kto",
        _compute_kl_logps=lambda model, batch: other[0].sum(-1),
        _metrics={"train": defaultdict(list)},
        _total_train_tokens=0,
        _tp_size=1,
        **weights,
    )
    batch = {"input_ids": mask, "attention_mask": mask, "completion_mask": mask, "label": labels}
    batch |= {"ref_logps": reference[0].sum(-1), "ref_KL_logps": other_reference[0].sum(-1)}
    wanted = KTOTrainer._compute_loss(trainer, lambda **_: outputs, batch, False)  # type: ignore[arg-type]
    wanted.backward()

    ours = policy[0].clone().requires_grad_()
    z = max(0.0, float((other[0] - other_reference[0]).sum(-1).mean()))
    assert z > 0
    losses = kto_loss(ours.sum(-1) - reference[0].sum(-1), labels, z, 0.2)
    losses = torch.where(labels, 1.25 * losses, 0.75 * losses)
    losses.mean().backward()
    torch.testing.assert_close(losses.mean(), wanted, **pairs.tolerance(dtype))
    torch.testing.assert_close(ours.grad, log_probs.grad, **pairs.tolerance(dtype))


def test_a_thousand_random_cases_agree_with_the_formula() -> None:
    policy, reference, _ = pairs.cases(torch.float64)
    u = (policy - reference).sum(-1)[0]
    labels = torch.arange(pairs.N_CASES) % 2 == 0
    wanted = [
        1 - 1 / (1 + math.exp(-0.1 * (x - 0.5) * (1 if good else -1)))
        for x, good in zip(u.tolist(), labels.tolist(), strict=True)
    ]
    found = kto_loss(u, labels, 0.5, 0.1)
    torch.testing.assert_close(
        found, torch.tensor(wanted, dtype=torch.float64), **pairs.tolerance(torch.float64)
    )


def batch_of(made: Any, records: list[Any]) -> Any:
    samples = made.select_samples(records)
    examples = [made.example(samples[i], rng(0, TRAIN)) for i in range(len(samples))]
    return made.collate(examples)


def test_the_loss_of_an_untrained_policy_is_half_of_each_weight() -> None:
    made = tiny.objective("kto", desirable_weight=1.5, undesirable_weight=0.5)
    batch = batch_of(made, RECORDS)
    loss = made.loss(batch)
    assert float(loss.total.detach()) == pytest.approx(0.5 * (2 * 1.5 + 2 * 0.5), abs=1e-12)
    assert loss.metrics["accuracy"] == 0
    assert made.count(batch) == 4
    assert made.batch_statistic(batch) == 0


def test_completions_above_the_threshold_are_desirable_and_mismatched_with_the_next_prompt() -> (
    None
):
    found = [LabelledCompletions(RECORDS, 0.5)[i] for i in range(4)]
    assert [judged.desirable for judged in found] == [True, False, False, True]
    assert [judged.mismatched for judged in found] == ["fair", "fair", "great", "good"]
    assert LabelledCompletions(RECORDS, 0.4)[2].desirable


def test_a_preference_is_a_desirable_and_an_undesirable_completion() -> None:
    records = [Preference("a", "b", "c"), Preference("d", "e", "f")]
    judged = LabelledCompletions(records, 0.5)
    assert [judged[i] for i in range(len(judged))] == [
        LabelledCompletion("a", "b", True, "e"),
        LabelledCompletion("a", "c", False, "f"),
        LabelledCompletion("d", "e", True, "b"),
        LabelledCompletion("d", "f", False, "c"),
    ]
    with pytest.raises(IndexError):
        judged[4]


def test_z_is_the_mean_over_the_global_batch(tmp_path: Path) -> None:
    """Every step's z is that of one forward pass over all mismatched pairs of its global batch."""
    trainer = {"micro_batch": 2, "max_steps": 6}
    config = tiny.experiment("kto", tmp_path, undesirable_weight=0.0, trainer=trainer)
    config = replace(config, optimizer=tiny.part("optimizer", "adamw", lr=0.02))
    made = tiny.training_parts(config)
    objective, wanted = made.objective, []
    take = type(objective).measure_batches

    def and_measure(batches: Any) -> None:
        batches = list(batches)
        take(objective, batches)
        ratios = []
        with torch.no_grad():
            for batch, _ in batches:
                networks = objective.network, objective.reference
                policy, reference = (log_probs_of(n, batch.mismatched) for n in networks)
                ratios.append(policy - reference)
        wanted.append(max(0.0, float(torch.cat(ratios).mean())))

    objective.measure_batches = and_measure  # type: ignore[method-assign] -- wraps it
    lines = tiny.fit(config, made, tmp_path / "run")
    trained = [line["kl"] for line in lines]
    held_out = [line["val/kl"] for line in lines if "val/kl" in line]
    assert sorted([*trained, *held_out]) == pytest.approx(sorted(wanted), abs=1e-12)
    assert max(trained) > 0


def log_probs_of(network: Any, targets: Any) -> torch.Tensor:
    from etude.objective.log_probs import sequence_log_prob
    from etude.objective.reference import Reference

    return (
        network(targets) if isinstance(network, Reference) else sequence_log_prob(network, targets)
    )


def test_identical_completions_are_dropped_and_empty_ones_refused() -> None:
    made = tiny.objective("kto")
    assert len(made.select_samples([Preference("a", "b", "b"), Preference("a", "b", "c")])) == 2
    assert made.lost == {"both completions have the same tokens": 1}
    with pytest.raises(DataError, match="prompt 'why' is empty"):
        made.select_samples([Feedback("why", "", 1.0)])


@pytest.mark.parametrize(
    ("key", "value"),
    [("beta", 0.0), ("desirable_weight", -1.0), ("undesirable_weight", -1.0)],
)
def test_values_outside_their_range_are_refused(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=key):
        tiny.part("objective", "kto", **{key: value})
