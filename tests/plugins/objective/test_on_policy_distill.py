from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from etude.errors import CompositionError, ConfigError
from etude.plugins.objective.on_policy_distill import OnPolicyDistillConfig, jensen_shannon
from etude.training.run import start


@pytest.mark.parametrize("beta", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_the_divergence_and_its_gradient_agree_with_trl(
    beta: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    from trl.experimental.gkd import GKDTrainer

    torch.manual_seed(0)
    teacher = torch.randn(200, 11, dtype=torch.float64)
    students = [
        torch.randn(200, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        for _ in range(2)
    ]
    for student in students:
        student.requires_grad_()
    ours = jensen_shannon(students[0], teacher, beta).sum()
    wanted = GKDTrainer.generalized_jsd_loss(
        students[1][None], teacher[None], beta=beta, reduction="sum"
    )
    ours.backward()
    wanted.backward()
    torch.testing.assert_close(ours, wanted, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(students[0].grad, students[1].grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("temperature", [1.0, 1.7])
def test_the_loss_is_the_divergence_at_the_students_own_tokens(
    temperature: float, tmp_path: Path
) -> None:
    """Recomputed row by row, without padding, from the networks' full outputs."""
    made = tiny.training_parts(config(tmp_path, temperature=temperature))
    objective: Any = made.objective
    samples = sampled(made, tmp_path)
    batch = objective.collate(samples)
    loss = objective.loss(batch)
    total, n = 0.0, 0
    for sample in samples:
        row = torch.tensor([[*sample.prompt, *sample.completion]])
        where = slice(len(sample.prompt) - 1, row.shape[1] - 1)
        with torch.no_grad():
            q, p = (
                (net(tiny.Inputs(row))[0, where] / temperature).softmax(-1)
                for net in (objective.network, objective.teacher)
            )
        total += float((q * (q.log() - p.log())).sum())
        n += len(sample.completion)
    assert float(loss.total.detach()) == pytest.approx(total, rel=1e-9)
    assert float(loss.metrics["kl"]) == pytest.approx(total, rel=1e-9)
    assert objective.count(batch) == n
    report = objective.report({k: float(v) for k, v in loss.metrics.items()})
    assert report["kl"] == pytest.approx(total / n)
    assert report["response_length"] == pytest.approx(n / len(samples))


def config(folder: Path, **given: Any) -> Any:
    return tiny.experiment("on_policy_distill", folder, **given)


def sampled(made: Any, folder: Path) -> list[Any]:
    tiny.quiet()
    made.objective.trainer = tiny.trainer_of(
        tiny.experiment("on_policy_distill", folder), made.plan, folder, []
    )
    return made.loader.source.next_step_batch().examples


def test_the_student_learns_what_the_teacher_would_write(tmp_path: Path) -> None:
    chosen = config(tmp_path, trainer={"max_steps": 40, "global_batch": 16})
    chosen = replace(chosen, optimizer=tiny.part("optimizer", "adamw", lr=0.03))
    made = tiny.training_parts(chosen)
    lines = tiny.fit(chosen, made, tmp_path / "run")
    assert lines[-1]["kl"] < 0.3 * lines[0]["kl"]
    assert lines[0]["loss"] == pytest.approx(lines[0]["kl"])
    assert "reward" not in lines[0]


def test_a_teacher_with_another_tokenizer_is_refused(tmp_path: Path) -> None:
    chosen = config(tmp_path)
    other = replace(chosen, tokenizer=tiny.part("tokenizer", "bpe", vocab_size=400))
    with pytest.raises(ConfigError, match="has a different tokenizer"):
        tiny.training_parts(other)


def test_a_teacher_that_reads_a_source_is_refused_for_a_decoder(tmp_path: Path) -> None:
    teacher = tiny.experiment("seq2seq", tmp_path, trainer={"max_steps": 1})
    start(replace(teacher, run=str(tmp_path / "t5")), "tiny", [])
    chosen = config(tmp_path, run=str(tmp_path / "t5"))
    from etude.config.compatibility import check

    with pytest.raises(CompositionError, match="Both networks must read a source, or neither"):
        check(chosen)


@pytest.mark.parametrize("beta", [-0.1, 1.1])
def test_values_outside_their_range_are_refused(beta: float) -> None:
    with pytest.raises(ValueError, match="beta"):
        OnPolicyDistillConfig(run="x", beta=beta)
