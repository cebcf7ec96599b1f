import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from defaults import default

from etude.cli.main import main
from etude.config.compatibility import check
from etude.config.registry import build
from etude.config.schema.experiment import ExperimentConfig
from etude.data.token_rows import TokenRow
from etude.errors import CheckpointError, CompositionError, ConfigError
from etude.files.manifest import write_manifest
from etude.formats.model import read_model
from etude.objective.randomness import TRAIN, rng
from etude.plugins.objective.distill import DistillConfig, Divergence, divergence
from etude.training.run import start

FAMILY = {
    "clm": "decoder_only",
    "mlm": "encoder_only",
    "seq2seq": "encoder_decoder",
    "prefix_lm": "decoder_only",
    "fim": "decoder_only",
}
"""The tasks that can be distilled, each with an architecture."""
WRITTEN = TokenRow(torch.arange(200, 216).numpy(), torch.ones(16).long().numpy(), 16.0)


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Returns the folder of a two-step run of an objective, trained once."""
    folders: dict[str, Path] = {}

    def made(objective: str) -> Path:
        if objective not in folders:
            folder = tmp_path_factory.mktemp(objective)
            config = tiny.experiment(objective, folder, trainer={"max_steps": 2})
            folders[objective] = start(replace(config, run=str(folder / "run")), "tiny", [])
        return folders[objective]

    return made


def student(task: str, run: Path, folder: Path, **given: Any) -> ExperimentConfig:
    """The config of a student with half the teacher's width."""
    trainer = given.pop("trainer", {})
    config = tiny.experiment("distill", folder, run=str(run), trainer=trainer, **given)
    return replace(config, architecture=tiny.stack(FAMILY[task], n_layers=1, dim=8, n_heads=2))


def objective(task: str, run: Path, network: Any = None, **given: Any) -> Any:  # the plugin's class
    config = tiny.stack(FAMILY[task], n_layers=1)
    made = network or tiny.network(config, tiny.BYTES.vocab)
    return tiny.objective(
        "distill", made, run=str(run), tools=tiny.tools(architecture=config), **given
    )


def batch_of(made: Any) -> Any:
    return made.collate([made.example(WRITTEN, rng(0, TRAIN, i)) for i in range(3)])


@pytest.mark.parametrize("task", ["seq2seq", "fim"])
def test_samples_and_the_account_of_losses_are_those_of_the_task(
    task: str, teacher: Callable[[str], Path], tmp_path: Path
) -> None:
    own = tiny.training_parts(tiny.experiment(task, tmp_path))
    made = tiny.training_parts(student(task, teacher(task), tmp_path))
    assert len(made.train) == len(own.train)
    assert made.train[0].tokens.tolist() == own.train[0].tokens.tolist()
    assert made.objective.lost == own.objective.lost
    assert bool(made.objective.lost) is (task == "fim")


@pytest.mark.parametrize("kind", Divergence)
def test_the_divergence_follows_its_definition(kind: Divergence) -> None:
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, 11, generator=draw, dtype=torch.float64)
    p, q = (logits / 3).exp() / (logits / 3).exp().sum(-1, keepdim=True)
    p, q = (p, q) if kind is Divergence.forward else (q, p)
    tiny.assert_close(divergence(*logits, 3.0, kind), (p * (p / q).log()).sum(-1))


@pytest.mark.parametrize("task", FAMILY)
@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_the_loss_is_the_weighted_sum_of_task_and_divergence(
    task: str, alpha: float, teacher: Callable[[str], Path]
) -> None:
    made = objective(task, teacher(task), alpha=alpha, temperature=3.0)
    batch = batch_of(made)
    where, ids = batch.targets.where, batch.targets.ids[batch.targets.where]
    with torch.no_grad():
        log_prob = made.network(batch.targets.inputs)[where].log_softmax(-1)
        reference = read_model(teacher(task)).network().eval().double()
        read_model(teacher(task)).load_weights(reference)
        q = (made.network(batch.targets.inputs)[where] / 3).softmax(-1)
        p = (reference(batch.targets.inputs)[where] / 3).softmax(-1)
        loss = made.loss(batch)
    nll = -log_prob.gather(-1, ids[:, None]).sum()
    wanted = (1 - alpha) * nll + alpha * 9 * (p * (p / q).log()).sum()
    torch.testing.assert_close(loss.total, wanted, rtol=1e-10, atol=0.0)
    means = {name: float(value) for name, value in loss.metrics.items()}
    report = made.report({**means, "loss": loss.total.item(), "bytes": 1.0})
    assert report["task_loss"] == pytest.approx(nll.item())
    assert report["loss"] == pytest.approx(wanted.item())
    assert made.count(batch) == len(ids)


@pytest.mark.parametrize("kind", Divergence)
def test_a_student_equal_to_its_teacher_has_no_loss_and_no_gradient(
    kind: Divergence, teacher: Callable[[str], Path]
) -> None:
    run = teacher("clm")
    network = tiny.network(tiny.stack(FAMILY["clm"], n_layers=1), tiny.BYTES.vocab)
    read_model(run).load_weights(network)
    made = objective("clm", run, network, alpha=1.0, divergence=kind)
    loss = made.loss(batch_of(made))
    loss.total.backward()
    tiny.assert_close(loss.total, torch.zeros((), dtype=torch.float64))
    for parameter in network.parameters():
        assert parameter.grad is not None
        tiny.assert_close(parameter.grad, torch.zeros_like(parameter))


def test_the_gradient_scale_does_not_depend_on_a_high_temperature(
    teacher: Callable[[str], Path],
) -> None:
    """For a high temperature, the gradient is that of half a squared error."""
    norms: list[float] = []
    for temperature in (1e3, 1e4):
        made = objective("clm", teacher("clm"), alpha=1.0, temperature=temperature)
        made.loss(batch_of(made)).total.backward()
        norms.append(float(torch.nn.utils.get_total_norm([p.grad for p in made.parameters()])))
    assert norms[0] == pytest.approx(norms[1], rel=1e-2)
    assert norms[0] > 1e-6


def test_the_teacher_is_in_no_checkpoint_and_draws_no_random_numbers(
    teacher: Callable[[str], Path],
) -> None:
    made = objective("clm", teacher("clm")).train()
    names = {name.removeprefix("task.") for name in made.state_dict()}
    assert names == {f"network.{name}" for name in made.network.state_dict()}
    before = torch.get_rng_state()
    objective("clm", teacher("clm"), made.network)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
@pytest.mark.parametrize("task", FAMILY)
def test_every_task_can_be_distilled_into_a_smaller_network(
    task: str, teacher: Callable[[str], Path], tmp_path: Path
) -> None:
    config = student(task, teacher(task), tmp_path, trainer={"precision": "32"})
    check(config)
    run = start(replace(config, run=str(tmp_path / "run")), "tiny", [])
    lines = tiny.untimed_steps(run)
    assert "val/loss" in lines[-1]
    assert lines[-1]["divergence"] >= 0
    made = objective(task, teacher(task))
    made.loss(batch_of(made)).total.backward()
    assert all(p.grad is not None for p in made.parameters())
    taught = default(f"objective/{task}")
    assert type(read_model(run).objective.task) is type(taught)  # type: ignore[union-attr]
    assert read_model(run).whole_prompt == (task == "prefix_lm")


@pytest.mark.parametrize("task", ["electra", "sop", "dpo"])
def test_a_teacher_that_does_not_predict_text_is_refused(
    task: str, teacher: Callable[[str], Path], tmp_path: Path
) -> None:
    config = student("mlm", teacher(task), tmp_path)
    with pytest.raises(ConfigError, match=rf"objective/{task}.*(?s:.)*clm, mlm, seq2seq"):
        check(config)


def test_a_student_of_another_family_is_refused_before_data_is_read(
    teacher: Callable[[str], Path], tmp_path: Path
) -> None:
    for task, run, message in (
        ("mlm", "clm", "cannot train architecture=encoder_only"),
        ("clm", "mlm", "It needs BOTH_SIDES"),
        ("seq2seq", "prefix_lm", "(?s)has architecture/decoder_only.*must read a source"),
    ):
        with pytest.raises(CompositionError, match=message):
            check(student(task, teacher(run), tmp_path))
    with pytest.raises(ConfigError, match=r"objective\.run=nowhere cannot be used"):
        check(student("clm", Path("nowhere"), tmp_path))


def test_a_teacher_with_another_tokenizer_is_refused_with_the_fix(
    teacher: Callable[[str], Path], tmp_path: Path
) -> None:
    other = build(default("tokenizer/bpe", vocab_size=400)).build(lambda: iter(["abc"] * 9))
    with pytest.raises(ConfigError, match=r"tokenizer=pretrained tokenizer\.path=.*tokenizer\.$"):
        tiny.objective(
            "distill",
            tiny.network(vocab=other.vocab),
            run=str(teacher("clm")),
            tools=tiny.tools(other),
        )
    way = default("tokenizer/pretrained", path=str(teacher("clm") / "tokenizer"))
    assert build(way).build(lambda: iter([])).digest == tiny.BYTES.digest


def test_a_distilled_run_can_be_a_teacher_of_the_same_task(
    teacher: Callable[[str], Path], tmp_path: Path
) -> None:
    config = student("clm", teacher("clm"), tmp_path, trainer={"max_steps": 1})
    run = start(replace(config, run=str(tmp_path / "run")), "tiny", [])
    assert type(DistillConfig(run=str(run)).task) is type(default("objective/clm"))


def test_a_run_cannot_be_resumed_with_a_changed_teacher(
    teacher: Callable[[str], Path], tmp_path: Path
) -> None:
    mine = tmp_path / "teacher"
    shutil.copytree(teacher("clm"), mine)
    config = student("clm", mine, tmp_path, trainer={"max_steps": 1})
    config = replace(config, run=str(tmp_path / "run"))
    start(config, "tiny", [])
    write_manifest(mine / "model", {"of": "another run"})
    longer = replace(config, trainer=replace(config.trainer, max_steps=2))
    with pytest.raises(CheckpointError, match=r"objective\.run=.*: was \w{12}, is \w{12}"):
        start(longer, "tiny", ["trainer.max_steps=2"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature": 0.0}, r"temperature must be positive, got 0\.0"),
        ({"alpha": 0.0}, r"alpha must be in \(0, 1\], got 0\.0"),
        ({"alpha": 1.1}, r"alpha must be in \(0, 1\], got 1\.1"),
    ],
)
def test_values_outside_their_range_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DistillConfig(run="a", **values)


@pytest.mark.slow
def test_the_command_reports_a_missing_or_unknown_teacher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "objective=distill"]) == ConfigError.exit_code
    assert "objective.run has no value" in capsys.readouterr().err
    assert main(["train", "objective=distill", "objective.run=no, where"]) == ConfigError.exit_code
    assert "objective.run=no, where cannot be used" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def write_chain(file: Path, n: int = 300) -> None:
    """Lines over eight letters, each sampled given the two before it."""
    draw = np.random.default_rng(0)
    shares = draw.dirichlet(np.full(8, 0.3), (8, 8))
    lines: list[str] = []
    for _ in range(n):
        line = [0, 0]
        while len(line) < 30:
            line.append(draw.choice(8, p=shares[line[-2], line[-1]]))
        lines.append("".join(chr(97 + int(letter)) for letter in line))
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def trained(config: ExperimentConfig, folder: Path, width: int, **trainer: Any) -> float:
    """Trains on lines of the chain; returns the lowest held-out loss of the task on the way."""
    file = folder.parent / "chain.txt"
    given = {"precision": "32", "global_batch": 16, "val_every": 25}
    config = replace(
        config,
        run=str(folder),
        architecture=tiny.stack(dim=width, init=tiny.part("architecture/init", "scaled")),
        data=replace(config.data, path=str(file), seq_len=32),
        optimizer=tiny.part("optimizer", "adamw", lr=1e-2),
        trainer=replace(config.trainer, **(given | trainer)),
    )
    lines = tiny.untimed_steps(start(config, "tiny", []))
    measured = [line for line in lines if "val/loss" in line]
    return min(line.get("val/task_loss", line["val/loss"]) for line in measured)


@pytest.mark.slow
def test_a_student_of_few_texts_improves_with_a_teacher_of_many(tmp_path: Path) -> None:
    """At the best of its steps, before it has memorised the few."""
    write_chain(tmp_path / "chain.txt")
    clm, run = tiny.experiment("clm", tmp_path), tmp_path / "teacher"
    taught = tiny.experiment("distill", tmp_path, run=str(run), alpha=0.9)
    trained(clm, run, 32, max_steps=400)
    for seed in range(2):
        few: dict[str, Any] = {"max_steps": 300, "train_samples": 16}
        alone = trained(replace(clm, seed=seed), tmp_path / f"alone{seed}", 16, **few)
        helped = trained(replace(taught, seed=seed), tmp_path / f"taught{seed}", 16, **few)
        assert helped < alone - 0.03
