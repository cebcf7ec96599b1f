"""The small experiment of `etude check` has what the tested plugin needs."""

import json
from pathlib import Path

import pytest

from etude.config.config_file import node_of, to_experiment
from etude.config.registry import plugin_of
from etude.config.schema.experiment import ExperimentConfig
from etude.errors import ConfigError
from etude.laws import fitting
from etude.laws.fitting import Selection


def fitted(group: str, name: str, *overrides: str) -> ExperimentConfig:
    """The experiment in which a plugin is tested."""
    selected = fitting.fit(Selection(group, name, overrides), checks=True)
    return to_experiment(fitting.compose(*selected.overrides).config)


def names(config: ExperimentConfig) -> tuple[str, str]:
    """The objective and the architecture of an experiment."""
    plugins = (plugin_of(node) for node in (config.objective, config.architecture))
    objective, architecture = (plugin.address.rpartition("/")[2] for plugin in plugins)
    return objective, architecture


@pytest.mark.parametrize(
    ("group", "name", "expected"),
    [
        ("objective", "clm", ("clm", "decoder_only")),
        ("objective", "electra", ("electra", "encoder_only")),
        ("objective", "seq2seq", ("seq2seq", "encoder_decoder")),
        ("objective", "mlm_bert", ("mlm", "encoder_only")),
        ("objective/masking", "span", ("electra", "encoder_only")),
        ("objective/corruption", "span", ("seq2seq", "encoder_decoder")),
        ("architecture", "encoder_only", ("electra", "encoder_only")),
        ("architecture", "bert", ("electra", "encoder_only")),
        ("architecture/position", "relative", ("clm", "decoder_only")),
    ],
)
def test_what_the_command_line_leaves_open_is_chosen_to_fit(
    group: str, name: str, expected: tuple[str, str]
) -> None:
    assert names(fitted(group, name)) == expected


def test_the_choices_of_the_command_line_are_kept() -> None:
    chosen = fitted("objective/masking", "span", "objective=mlm", "architecture=bert")
    assert names(chosen) == ("mlm", "encoder_only")
    with pytest.raises(ConfigError, match="objective=mlm cannot train architecture=gpt2"):
        fitted("objective", "mlm", "architecture=gpt2")


@pytest.mark.parametrize(
    ("group", "name", "knob", "value"),
    [
        ("objective", "dpo", "beta", 0.3),
        ("objective", "clm", "z_loss", 1e-4),
        ("architecture/mlp", "swiglu", "multiple_of", 8),
    ],
)
def test_knobs_of_the_tested_plugin_do_not_reach_the_plugin_it_is_timed_against(
    group: str, name: str, knob: str, value: float
) -> None:
    overrides = f"{group.replace('/', '.')}.{knob}={value}", "trainer.max_steps=3"
    assert vars(node_of(fitted(group, name, *overrides), group))[knob] == value
    peer = fitting.peer(Selection(group, name, overrides))
    assert peer is not None
    assert peer.trainer.max_steps == 3
    assert plugin_of(node_of(peer, group)).address != f"{group}/{name}"


@pytest.mark.parametrize("name", ["grpo", "dapo"])
def test_an_objective_that_uses_a_reward_has_short_completions_and_a_reward_that_varies(
    name: str,
) -> None:
    config = fitted("objective", name)
    assert list(config.reward) == ["length"]
    assert vars(config.objective)["max_new_tokens"] == 16 < config.data.seq_len
    assert list(fitted("objective", name, "reward=numeric").reward) == ["numeric"]
    own = fitted("objective", name, "objective.max_new_tokens=8")
    assert vars(own.objective)["max_new_tokens"] == 8


def test_examples_fill_in_what_a_plugin_needs_and_the_user_does_not_give(tmp_path: Path) -> None:
    selected = fitting.with_examples(Selection("data", "jsonl_chats", ()), tmp_path)
    file = Path(selected.rest[0].partition("=")[2].strip("'"))
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert (
        len(rows) == fitting.N_EXAMPLE_LINES == len({row["messages"][0]["content"] for row in rows})
    )
    given = fitting.with_examples(Selection("data", "jsonl_chats", ("data.path=x",)), tmp_path)
    assert given.rest == ("data.path=x",)
    both = fitting.with_examples(Selection("reward", "[format,length]", ()), tmp_path)
    assert both.rest == ("reward.length.target='9'",)
    other = fitting.with_examples(Selection("callback", "completions", ()), tmp_path)
    assert names(fitted("callback", "completions", *other.rest))[0] == "grpo"
