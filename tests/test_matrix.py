"""Every objective x architecture x kind of record trains a step or is refused at composition."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from defaults import default

from etude.config.compatibility import check
from etude.config.composition import compose
from etude.config.config_file import to_experiment
from etude.config.plugin_files import options
from etude.config.plugin_source import presets
from etude.config.record_kind import kind_of
from etude.config.registry import load
from etude.config.schema.experiment import ExperimentConfig
from etude.config.schema.trainer import TrainerConfig
from etude.data.corpus import prepare
from etude.errors import CompositionError
from etude.objective.loader import Ranks
from etude.records import Chat, Record
from etude.training.assemble import assemble, trainer_of
from etude.training.run import quiet

WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]
ROWS: dict[str, dict[str, Any]] = {
    "jsonl": {"text": "{0} {1} {0}"},
    "jsonl_pairs": {"source": "{0} {1}", "target": "{1}"},
    "jsonl_chats": {
        "messages": [
            {"role": "user", "content": "{0}?"},
            {"role": "assistant", "content": "{1}."},
        ]
    },
    "jsonl_preferences": {"prompt": "{0}", "chosen": "{1}", "rejected": "not {1}"},
    "jsonl_rankings": {"prompt": "{0}", "completions": ["{1}", "not {1}", "?"]},
    "jsonl_feedback": {"prompt": "{0}", "completion": "{1}", "label": True},
    "jsonl_prompts": {"prompt": "{0}", "answer": "{1}"},
    "jsonl_questions": {
        "question": "{1}?",
        "context": "{0} {1}",
        "answers": {"text": ["{0}"], "answer_start": [0]},
    },
    "jsonl_labels": {"text": "{0}", "label": "{1}"},
    "jsonl_choices": {"prompt": "{0}", "choices": ["{1}", "not {1}"], "answer": 0},
}
"""A data plugin for each kind of record, with the row it reads."""
TAGS: dict[str, Any] = {"tokens": ["{0}", "{1}"], "tags": ["{1}", "O"]}
"""The row of a labelled list of words, which objective=tag reads instead of a labelled text."""
TINY = {"dim": 16, "n_layers": 1, "n_heads": 2}
SHORT = {"group_size": 2, "max_new_tokens": 4}
DEPTHS = {"qwen3_next": 4, "deepseek_v3": 2}
"""Layers of the architectures whose kinds of layer need more than one."""
ARCHITECTURES = [*options("architecture"), *presets("architecture")]
NEED_A_TEACHER = {"distill", "on_policy_distill"}
"""Objectives that need the run of a teacher; their own tests cover every task and family."""
OBJECTIVES = [name for name in options("objective") if name not in NEED_A_TEACHER]


@cache
def architecture(name: str) -> Any:  # the config of a stack
    """The config of an architecture, from its dataclass, or composed if it is a preset."""
    if name in options("architecture"):
        return default(f"architecture/{name}", **TINY)
    sizes = {**TINY, "n_layers": DEPTHS.get(name, 1)}
    tiny = [f"architecture.{key}={value}" for key, value in sizes.items()]
    return to_experiment(compose("train", [f"architecture={name}", *tiny]).config).architecture


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of twenty records of each kind."""
    folder = tmp_path_factory.mktemp("rows")
    for name, row in {**ROWS, "tags": TAGS}.items():
        written = json.dumps(row).replace("{0}", "%0").replace("{1}", "%1")
        pairs = [(a, b) for a in WORDS for b in WORDS[:2]]
        lines = [written.replace("%0", a).replace("%1", b) for a, b in pairs]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def experiment(objective: str, stack: str, data: str, rows: Path) -> ExperimentConfig:
    names = load(f"objective/{objective}").config.__dataclass_fields__
    declared = load(f"objective/{objective}").declaration
    reward, seq_len = declared.reward, 48 if Chat in declared.reads else 16  # chats are longer
    source = default(f"data/{data}", path=str(rows / f"{data}.jsonl"), seq_len=seq_len)
    if (objective, data) == ("tag", "jsonl_labels"):
        path, record = str(rows / "tags.jsonl"), default("data/record/tags")
        source = replace(source, path=path, record=record)
    return ExperimentConfig(
        objective=default(
            f"objective/{objective}", **{k: v for k, v in SHORT.items() if k in names}
        ),
        architecture=architecture(stack),
        tokenizer=default("tokenizer/byte"),
        data=source,
        optimizer=default("optimizer/adamw"),
        schedule=default("schedule/cosine"),
        strategy=default("strategy/single"),
        decoding=default("decoding/sample"),
        reward={reward: default(f"reward/{reward}")} if reward else {},
        trainer=TrainerConfig(max_steps=1, global_batch=4, accelerator="cpu"),
    )


def fits(config: ExperimentConfig, stack: str) -> bool:
    """Whether the parts are compatible; an error must say which are not."""
    try:
        check(config, stack)
    except CompositionError as error:
        if " cannot " not in str(error):
            raise
        return False
    return True


class Gradients(pl.Callback):
    """Checks that every trainable tensor has a finite gradient."""

    def __init__(self) -> None:
        self.n_checked = 0

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        for name, parameter in pl_module.named_parameters():
            if not parameter.requires_grad:
                continue
            assert parameter.grad is not None, f"no gradient reaches {name}"
            assert parameter.grad.isfinite().all(), name
            self.n_checked += 1


def train(config: ExperimentConfig, folder: Path) -> None:
    quiet()
    made, gradients = assemble(config, prepare(config), Ranks()), Gradients()
    trainer_of(config, made.plan, folder, [gradients]).fit(made.objective, made.loader)
    assert gradients.n_checked > 0
    assert torch.isfinite(made.objective.batch_sums.sums["loss"])
    measured = made.validation.measure(made.objective)
    assert all(torch.isfinite(torch.tensor(value)) for value in measured.values())
    with torch.no_grad():
        made.objective.eval().show([made.validation.samples[0]])


def kinds() -> Sequence[type[Record]]:
    """The kinds of record that the data plugins yield."""
    found = [kind_of(default(f"data/{name}")) for name in ROWS]
    return [kind for kind in found if kind is not None]


def test_the_rows_cover_every_kind_of_record() -> None:
    assert set(kinds()) == set(Record.__args__)


@pytest.mark.parametrize("data", ROWS)
@pytest.mark.parametrize("stack", ARCHITECTURES)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_combination_trains_a_step_or_is_refused(
    objective: str, stack: str, data: str, rows: Path, tmp_path: Path
) -> None:
    config = experiment(objective, stack, data, rows)
    if fits(config, stack):
        train(config, tmp_path)


@pytest.mark.parametrize("adapter", options("adapter"))
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_trains_a_step_with_every_adapter(
    objective: str, adapter: str, rows: Path, tmp_path: Path
) -> None:
    stacks = ["decoder_only", "encoder_only", "encoder_decoder", *ARCHITECTURES]
    config, _ = next(
        (config, stack)
        for stack in stacks
        for data in ROWS
        if fits(config := experiment(objective, stack, data, rows), stack)
    )
    train(replace(config, adapter={adapter: default(f"adapter/{adapter}")}), tmp_path)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_trains_on_some_architecture_and_some_data(
    objective: str, rows: Path
) -> None:
    pairs = [(stack, data) for stack in ARCHITECTURES for data in ROWS]
    assert any(fits(experiment(objective, stack, data, rows), stack) for stack, data in pairs)
