from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from defaults import default

from etude.config.plugin_files import options
from etude.config.schema.experiment import ExperimentConfig
from etude.data.corpus import prepare
from etude.data.record_file import texts_of
from etude.errors import ConfigError
from etude.objective.loader import Ranks
from etude.training.assemble import assemble
from etude.training.length import DEFAULT_STEPS


def planned(config: ExperimentConfig, **trainer: Any) -> Any:  # Plan, whose nulls are filled
    return tiny.training_parts(replace(config, trainer=replace(config.trainer, **trainer))).plan


def test_run_lengths_become_steps_and_the_shortest_applies(tmp_path: Path) -> None:
    config = tiny.experiment("clm", tmp_path, trainer={"max_steps": None})
    corpus = prepare(config)
    rows, tokens = len(corpus.train), corpus.card.train.tokens
    assert tokens is not None
    assert planned(config).steps == DEFAULT_STEPS
    assert planned(config, max_epochs=2).steps == -(-2 * rows // 8)
    assert planned(config, max_tokens=3 * tokens).steps == -(-3 * rows // 8)
    assert planned(config, max_epochs=2, max_steps=3).steps == 3


@pytest.mark.parametrize("pack", [True, False])
@pytest.mark.parametrize(
    "name", ["clm", "mlm", "electra", "sop", "fim", "prefix_lm", "seq2seq", "seq2seq/bart"]
)
def test_max_tokens_are_the_tokens_shown_within_one_step(
    name: str, pack: bool, tmp_path: Path
) -> None:
    name, _, corruption = name.partition("/")
    given: dict[str, Any] = {"trainer": {"max_steps": None, "max_tokens": 1000}}
    if corruption:
        given["corruption"] = default(f"objective/corruption/{corruption}")
    config = tiny.experiment(name, tmp_path, **given)
    config = replace(config, data=replace(config.data, pack=pack))  # type: ignore[call-arg]
    lines = tiny.fit(config, tiny.training_parts(config), tmp_path / "run")
    shown = [line["tokens"] for line in lines]
    assert abs(shown[-1] - 1000) < max(np.diff(shown, prepend=0))


def test_documents_cut_into_rows_are_in_the_account(tmp_path: Path) -> None:
    file = tmp_path / "lines.txt"
    file.write_text("".join(f"{'x' * (10 + i % 3)}{i}\n" for i in range(60)))
    config = tiny.experiment("clm", tmp_path)
    data = replace(config.data, path=str(file), seq_len=12)
    cut = replace(config, data=replace(data, pack=False))  # type: ignore[call-arg]
    lost = tiny.training_parts(cut).objective.lost
    lengths = [len(t) + 2 for record in prepare(cut).train_records for t in texts_of(record)]
    n = sum(length > 13 for length in lengths)
    assert 0 < n < len(lengths)
    assert lost == {
        "documents cut at data.seq_len by data.pack=false": n,
        "tokens cut at data.seq_len by data.pack=false": sum(max(0, m - 13) for m in lengths),
    }
    assert not tiny.training_parts(replace(config, data=data)).objective.lost


@pytest.mark.parametrize("schedule", options("schedule"))
def test_a_warmup_longer_than_the_run_is_refused(schedule: str, tmp_path: Path) -> None:
    config = tiny.experiment("clm", tmp_path, trainer={"max_steps": 6})
    made = {n: tiny.part("schedule", schedule, warmup_steps=n) for n in (6, 7, 50)}
    assert planned(replace(config, schedule=made[6])).steps == 6
    for n, reached in ((7, "0.000857, 86%"), (50, "0.00012, 12%")):
        wanted = rf"warmup_steps={n}: in this run of 6 steps.*reaches {reached} of optimizer.lr=0.0"
        with pytest.raises(ConfigError, match=wanted):
            planned(replace(config, schedule=made[n]))


def test_an_epoch_of_an_on_policy_run_is_a_pass_over_the_prompts(tmp_path: Path) -> None:
    reward = {"exact_answer": tiny.part("reward", "exact_answer")}
    trainer = {"max_steps": None, "max_epochs": 1}
    config = tiny.experiment("grpo", tmp_path, reward=reward, epochs=2, trainer=trainer)
    n_prompts = len(prepare(config).train)
    assert planned(config).steps == -(-n_prompts * 4 * 2 // 8)


def test_null_settings_get_values(tmp_path: Path) -> None:
    config = tiny.experiment("clm", tmp_path)
    plan = planned(config, max_steps=95, micro_batch=None)
    assert (plan.intervals.validate, plan.intervals.save, plan.micro_batch) == (10, 10, 8)
    plan = planned(config, max_steps=95, micro_batch=2, val_every=3, save_every=4, val_samples=2)
    assert (plan.intervals.validate, plan.intervals.save, plan.micro_batch, plan.n_val) == (
        3,
        4,
        2,
        2,
    )
    assert planned(config, val_samples=10**6).n_val == len(prepare(config).val)


def test_the_largest_micro_batch_divides_the_batch_and_fits(tmp_path: Path) -> None:
    config = tiny.experiment("clm", tmp_path)
    long = replace(config, data=replace(config.data, seq_len=3000))
    assert planned(long, global_batch=9).micro_batch == 1  # 2 fit, and do not divide 9
    assert planned(long, global_batch=8).micro_batch == 2


def test_the_seed_determines_the_weights(tmp_path: Path) -> None:
    config = tiny.experiment("clm", tmp_path)
    same, again, other = (
        tiny.training_parts(replace(config, seed=seed)).objective.state_dict() for seed in (1, 1, 2)
    )
    assert all(torch.equal(same[name], again[name]) for name in same)
    assert not torch.equal(same["network.embedding.weight"], other["network.embedding.weight"])


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"position": "rope", "n_heads": 16}, "architecture: rope needs an even head_dim"),
        (
            {"mixer": tiny.part("architecture/mixer", "attention", queries_per_kv=3)},
            "architecture: queries_per_kv must divide n_heads",
        ),
    ],
)
def test_a_value_error_of_a_plugin_becomes_a_config_error(
    parts: dict[str, Any], message: str, tmp_path: Path
) -> None:
    config = tiny.experiment("clm", tmp_path, architecture=tiny.stack(**parts))
    with pytest.raises(ConfigError, match=message):
        assemble(config, prepare(config), Ranks())
