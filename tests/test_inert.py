"""Every knob has an effect: another valid value changes the result of a few training steps.

A knob that has an effect only under a condition is tested where the condition holds, and refused
where it does not.
"""

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import fields, replace
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from defaults import default
from effects import conditional, config_classes, instance, with_effect, without_effect
from omegaconf import OmegaConf
from rooms import ROOT, core_files

from etude.config.config_file import build_config
from etude.config.plugin_files import groups, options
from etude.config.registry import build
from etude.config.schema.effect import as_typed, terms, unmet_condition
from etude.config.schema.on_policy import OnPolicyConfig
from etude.config.schema.parameter_group import ParameterGroup
from etude.config.schema.plugins import PluginConfig
from etude.config.schema.preferences import Reduction
from etude.errors import ConfigError
from etude.plugins.objective._output_head import Transform
from etude.plugins.objective._pooling import Pooling
from etude.plugins.objective._sft.conversations import TrainOn
from etude.plugins.objective.distill import Divergence
from etude.plugins.objective.embed import Similarity
from etude.plugins.objective.grpo import Average, Ratio, Scale, Surrogate, Truncated
from etude.plugins.objective.mtp import Heads
from etude.plugins.objective.reinforce import Baseline
from etude.plugins.objective.tag import Subword

OTHER_VALUES: dict[str, Any] = {
    "ids": ["a"],
    "beta1": 0.5, "beta2": 0.5, "eps": 0.1, "final": 0.7, "warmup_steps": 3, "dropout": 0.5,
    "max_positions": 64, "queries_per_kv": 2, "weight_decay": 0.9, "momentum": 0.1,
    "noise_density": 0.5, "mean_span": 1.0, "mask_ratio": 0.5, "mask_share": 0.3,
    "random_share": 0.2, "ratio": 2.0, "multiple_of": 7, "theta": 7.0, "scale": 0.5,
    "z_loss": 0.1, "label_smoothing": 0.3, "beta": 0.5, "lr": 0.05, "std": 0.5,
    "n_heads": 2, "n_layers": 2, "dim": 32, "adamw_lr": 0.05, "decay_power": 0.3,
    "min_scale": 0.5, "clip": 1.01, "decay_fraction": 0.9, "groups": [ParameterGroup("*", lr=0.5)],
    "head_dim": 8, "p": 0.9, "max_words": 1, "rotate_share": 0.5, "softcap": 0.5, "window": 3,
    "global_layer_every": 2, "local_theta": 5.0, "max_distance": 5, "embedding_dim": 8,
    "n_segments": 2, "n_groups": 1, "attention_factor": 0.5, "n_shared": 1, "balance_loss": 0.5,
    "targets": ["*.0.*"], "frozen": ["*.0.*"], "trained": ["*.mixer.q.*"],
    "reward_mean": 0.5, "min_new_tokens": 3, "delta": 4.0, "unfinished_score": -3.0,
    "measures": [], "replay_share": 0.5, "spm_rate": 1.0, "epsilon": 0.1,
    "outputs": ["*.q"], "inputs": ["*.mixer.out"], "other_every": 3, "q_rank": 8, "gate_dim": 4,
    "rotary_fraction": 0.5, "n_first": 2, "base_head_dim": 3,
    "labels": ["a", "b"], "row_beta": 0.5, "basis_every": 1, "max_basis_dim": 8,
}  # fmt: skip
"""Another valid value by name, where doubling the default is not suitable."""
REQUIRES: dict[str, dict[str, Any]] = {
    "trained": {"frozen": ["*.mixer.*"]},
    "max_distance": {"n_buckets": 4},
    "n_groups": {"n_layers": 2},
    "architecture/mlp/moe.ratio": {"multiple_of": 1},
    "schedule/wsd.shape": {"decay_fraction": 0.9},
    "schedule/wsd.final": {"decay_fraction": 0.9},
}
"""Other values that a knob needs to have an effect, by name or by address and name."""
LIMITS = {"max_positions"}
"""Knobs that only limit what is accepted, except in learned positions."""
PART_OF = {"objective/corruption": "seq2seq", "objective/masking": "mlm"}
"""Groups below the objectives, each with an objective that uses it."""
LARGE: dict[str, dict[str, Any]] = {"mlm": {"mask_ratio": 0.5}}
"""Values with which a row of 16 tokens is long enough for every knob to have an effect."""
DEEP = {"hybrid", "interleaved"}
"""Parts that need several layers."""
BASE = {"encoder_only": "mlm", "encoder_decoder": "seq2seq", "decoder_only": "clm"}


def other_value(name: str, value: Any) -> Any:
    """Another valid value of a knob."""
    if name in OTHER_VALUES:
        return OTHER_VALUES[name]
    if isinstance(value, bool):
        return not value
    if isinstance(value, Enum):
        return next(member for member in type(value) if member is not value)
    return value * 2


def leaves(config: PluginConfig) -> Iterator[str]:
    for item in fields(config):
        if not isinstance(getattr(config, item.name), PluginConfig):
            yield item.name


def run_digest(config: Any, folder: Path) -> str:
    """A digest of the step record and the final weights of a run of four steps."""
    made = tiny.training_parts(config)
    lines = tiny.fit(config, made, folder)
    digest = hashlib.sha256(repr(lines).encode())
    for name, tensor in made.objective.network.state_dict().items():
        digest.update(name.encode() + tensor.double().numpy().tobytes())
    return digest.hexdigest()


def experiment(folder: Path, objective: str = "clm", **changes: Any) -> Any:
    values = LARGE.get(objective, {})
    config = tiny.experiment(objective, folder, trainer={"max_steps": 4}, **values)
    return replace(config, **({"schedule": default("schedule/cosine", warmup_steps=1)} | changes))


def cases() -> list[tuple[str, str]]:
    tested = [group for group in groups() if group.startswith("architecture")]
    tested += ["adapter", "optimizer", "schedule", *PART_OF]
    return [
        (f"{group}/{name}", leaf)
        for group in tested
        for name in options(group)
        for leaf in leaves(default(f"{group}/{name}"))
        if leaf not in LIMITS or name == "learned"
    ]


def with_plugin(address: str, plugin: Any, folder: Path) -> Any:
    """A tiny experiment that uses a plugin."""
    group, _, name = address.rpartition("/")
    if group == "architecture":
        init = default("architecture/init/scaled", std=0.1)
        return experiment(folder, BASE[name], architecture=replace(plugin, init=init))
    if group == "architecture/position/scaling":
        rope = default("architecture/position/rope", scaling=plugin)
        return experiment(folder, architecture=tiny.stack(n_layers=1, n_heads=1, position=rope))
    if group.startswith("architecture/"):
        local = default("architecture/mixer/attention", window=8)  # some knobs need a window
        parts = {"mixer": local, group.rpartition("/")[2]: plugin}
        n_layers = 4 if name in DEEP or group.endswith("stream") else 1
        return experiment(folder, architecture=tiny.stack(n_layers=n_layers, **parts))
    if group == "adapter":
        return experiment(folder, architecture=tiny.stack(), adapter={name: plugin})
    if group in PART_OF:
        made = experiment(folder, PART_OF[group])
        words = folder / "words.txt"  # several words per row
        words.write_text("\n".join(f"a {i} in. The {i % 7}! b c" for i in range(60)) + "\n")
        slot = {group.rpartition("/")[2]: plugin}
        return replace(
            made,
            data=replace(made.data, path=str(words)),
            objective=replace(made.objective, **slot),
        )
    return experiment(folder, **{group: plugin})


def small(address: str) -> Any:
    """The config of a plugin, with small sizes."""
    if address.rpartition("/")[0] == "architecture":
        return default(address, dim=16, n_layers=1, n_heads=4)
    return default(address)


CONDITIONS = [(kind, name) for kind in config_classes() for name in conditional(kind)]
EACH_CONDITION = pytest.mark.parametrize(
    ("kind", "name"), CONDITIONS, ids=lambda one: getattr(one, "__name__", one)
)


def test_every_declared_condition_is_tested() -> None:
    """A condition of a private class is tested in the plugins that derive from it."""
    tested = {base.__name__ for kind, _ in CONDITIONS for base in kind.__mro__}
    for file in (*core_files(), *(ROOT / "plugins").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and "= only_with(" in ast.unparse(node):
                assert node.name in tested, f"{file}: {node.name}"


def test_a_redeclared_knob_keeps_its_condition() -> None:
    for kind in config_classes():
        for base in kind.__mro__[1:]:
            if "__dataclass_fields__" in vars(base):
                assert conditional(base).items() <= conditional(kind).items(), (kind, base)


@EACH_CONDITION
def test_a_condition_contains_knobs_and_valid_values(kind: type, name: str) -> None:
    config = instance(kind)
    for term in terms(conditional(kind)[name]):
        assert term.name != name
        before = vars(config)[term.name]
        if isinstance(before, Enum):
            assert set(term.value.split("|")) <= set(type(before).__members__)
        if term.sign == ">":
            assert isinstance(before, int | float)
            float(term.value)
    assert unmet_condition(with_effect(config, name), name) is None
    assert all(unmet_condition(one, name) is not None for one in without_effect(config, name))


@EACH_CONDITION
def test_a_knob_is_refused_only_where_it_has_no_effect(kind: type, name: str) -> None:
    def rebuild(config: Any) -> Any:
        return build_config(OmegaConf.structured(config), kind)

    config = instance(kind)
    value = other_value(name, vars(config)[name])
    effective = replace(with_effect(config, name), **{name: value})
    assert rebuild(effective) == effective
    for one in without_effect(config, name):
        assert rebuild(one) == one
        with pytest.raises(ConfigError) as error:
            rebuild(replace(one, **{name: value}))
        condition = " or ".join(map(str, terms(str(unmet_condition(one, name)))))
        problem = f"{name}={as_typed(value)} has no effect"
        assert f"{problem}: it is used only with {condition} (here" in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize(("address", "leaf"), cases(), ids=str)
def test_another_value_of_a_knob_changes_the_run(address: str, leaf: str, tmp_path: Path) -> None:
    required = REQUIRES.get(leaf, {}) | REQUIRES.get(f"{address}.{leaf}", {})
    plugin = with_effect(replace(small(address), **required), leaf)
    changed = replace(plugin, **{leaf: other_value(leaf, getattr(plugin, leaf))})
    first = run_digest(with_plugin(address, plugin, tmp_path), tmp_path / "a")
    assert run_digest(with_plugin(address, changed, tmp_path), tmp_path / "b") != first


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (f"decoding/{name}", leaf)
        for name in options("decoding")
        if name != "grammar"  # its own tests have texts, and its inner decoding is one of these
        for leaf in leaves(default(f"decoding/{name}"))
    ],
)
def test_every_knob_of_a_decoding_changes_the_chosen_tokens(address: str, name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(256, 16, generator=generator)
    draw = torch.rand(256, generator=generator)
    history = tiny.history(*torch.randint(16, (256, 12), generator=generator).tolist())
    values: dict[str, Any] = {"temperature": 2.0, "top_k": 2, "top_p": 0.3, "min_p": 0.3}
    values |= {"repetition_penalty": 2.0, "no_repeat_ngram": 1, "mass": 0.2}
    first, second = (
        made.choose(made.scores(logits, history), draw)
        for made in (
            build(default(address), tiny.BYTES),
            build(default(address, **{name: values[name]}), tiny.BYTES),
        )
    )
    assert (first != second).any()


OFF_POLICY = {"epsilon", "epsilon_high", "delta", "ratio", "surrogate"}
"""Knobs that have an effect once the policy differs from the sampling policy."""
LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"
SAMPLING = (*(name for name in tiny.ON_POLICY if name != "grpo"), "on_policy_distill")
UNTESTED = {
    "precompute": "changes memory and time, but no metric",
    "generation_batch": "changes memory and time, but no metric",
    "distill.run": "its own test trains a teacher",
    "on_policy_distill.run": "its own test trains a teacher",
    "grpo.max_draws": "its own test has prompts with zero variance",
    "extract.max_answer_tokens": "its own test has scores",
    "classify.problem": "its own test has data of each type",
    "kto.threshold": "its own test has scores",
    "reinforce.epochs": "1 is its only valid value",
    "reinforce.batches_per_rollout": "1 is its only valid value",
    "seq2seq.max_new_tokens": "its own test has pairs",
    "seq2seq.measures": "its own test has pairs",
    "sft.replay": "its own test trains a base",
    "sft.replay_share": "its own test trains a base",
}
"""Knobs of objectives that are not tested below, with the reason; ppo has its own test."""
OBJECTIVES: list[tuple[str, str, Any]] = [
    ("clm", "z_loss", 0.5),
    ("mlm", "mask_ratio", 0.5),
    ("mdlm", "val_levels", 1),
    ("mtp", "n_future", 2),
    ("mtp", "weight", 1.0),
    ("mtp", "heads", Heads.parallel),
    ("seq2seq", "label_smoothing", 0.3),
    ("fim", "fim_rate", 1.0),
    ("fim", "spm_rate", 1.0),
    ("mlm", "mask_share", 0.2),
    ("mlm", "random_share", 0.0),
    ("electra", "mask_ratio", 0.5),
    ("electra", "mask_share", 0.2),
    ("electra", "random_share", 0.5),
    ("electra", "generator_ratio", 0.5),
    ("electra", "discriminator_weight", 5.0),
    ("sop", "mask_ratio", 0.5),
    ("sop", "mask_share", 0.2),
    ("sop", "random_share", 0.0),
    ("sop", "order_weight", 2.0),
    ("distill", "temperature", 4.0),
    ("distill", "alpha", 1.0),
    ("distill", "divergence", Divergence.reverse),
    ("sft", "train_on", TrainOn.last),
    ("sft", "pack", True),
    ("sft", "neftune_alpha", 5.0),
    ("sft", "max_new_tokens", 0),
    ("dpo", "beta", 0.5),
    ("dpo", "label_smoothing", 0.3),
    *((name, "nll_weight", 0.5) for name in tiny.PREFERENCES if name != "kto"),
    *((name, "log_prob", Reduction.mean) for name in ("dpo", "rdpo", "ipo", "hinge")),
    *((name, "beta", 0.7) for name in ("rdpo", "ipo", "hinge", "kto", "simpo", "cpo")),
    ("rdpo", "flip_rate", 0.3),
    ("simpo", "gamma", 0.3),
    ("orpo", "odds_weight", 0.5),
    ("kto", "desirable_weight", 1.3),
    ("kto", "undesirable_weight", 1.3),
    ("reward", "margin", 0.5),
    ("reward", "eta", 0.5),
    ("reward", "dropout", 0.5),
    ("embed", "temperature", 0.5),
    ("embed", "similarity", Similarity.dot),
    ("embed", "pooling", Pooling.last),
    ("embed", "symmetric", True),
    ("embed", "matryoshka", [8]),
    ("extract", "overlap_tokens", 2),
    ("extract", "no_answer_threshold", None),
    ("classify", "labels", list("cba")),
    ("classify", "balanced", True),
    ("classify", "label_smoothing", 0.3),
    ("classify", "pooling", Pooling.mean),
    ("classify", "transform", Transform.gelu),
    ("tag", "labels", ["O", "B-a"]),
    ("tag", "subword", Subword.last),
    ("tag", "transform", Transform.tanh),
    ("sft", "measures", []),
    *((name, "dropout", 0.5) for name in (*tiny.PREFERENCES, *SAMPLING)),
    *((name, "group_size", 2) for name in SAMPLING),
    *((name, "max_new_tokens", 3) for name in SAMPLING),
    *((name, "temperature", 2.0) for name in SAMPLING),
    *((name, "stop", list(LETTERS)) for name in SAMPLING),
    *((name, "batches_per_rollout", 2) for name in SAMPLING if name != "reinforce"),
    *((name, "epochs", 2) for name in SAMPLING if name != "reinforce"),
    ("grpo", "average", Average.token),
    ("grpo", "beta", 0.5),
    ("grpo", "epsilon", 0.01),
    ("grpo", "group_size", 2),
    ("grpo", "batches_per_rollout", 2),
    ("grpo", "epochs", 2),
    ("grpo", "max_new_tokens", 3),
    ("grpo", "temperature", 2.0),
    ("grpo", "stop", list(LETTERS)),
    ("grpo", "epsilon_high", 0.01),
    ("grpo", "delta", 1.0201),
    ("grpo", "ratio", Ratio.sequence),
    ("grpo", "surrogate", Surrogate.cispo),
    ("grpo", "scale", Scale.none),
    ("grpo", "truncated", Truncated.mask),
    ("grpo", "dropout", 0.5),
    ("gdpo", "beta", 0.5),
    ("gdpo", "epsilon", 0.01),
    ("gdpo", "epsilon_high", 0.01),
    ("on_policy_distill", "beta", 0.5),
    ("rloo", "beta", 0.5),
    ("rloo", "epsilon", 0.01),
    ("reinforce", "beta", 0.5),
    ("reinforce", "baseline", Baseline.none),
    ("online_dpo", "beta", 0.5),
]


def test_every_knob_of_an_objective_is_tested() -> None:
    tested = {(name, leaf) for name, leaf, _ in OBJECTIVES}
    shared = {item.name for item in fields(OnPolicyConfig)}
    for name in options("objective"):
        for leaf in leaves(default(f"objective/{name}")):
            if not {leaf, f"{name}.{leaf}"} & UNTESTED.keys() and (name != "ppo" or leaf in shared):
                assert (name, leaf) in tested


@pytest.mark.slow
@pytest.mark.parametrize(("name", "leaf", "value"), OBJECTIVES, ids=str)
def test_another_value_of_an_objectives_knob_changes_the_run(
    name: str, leaf: str, value: Any, tmp_path: Path
) -> None:
    both: dict[str, Any] = {"trainer": {"max_steps": 4}}
    if name in tiny.ON_POLICY and leaf in OFF_POLICY:
        both |= {"epochs": 4, "temperature": 0.2}  # the first pass has a ratio of 1
    both |= {"epsilon": 0.02} if leaf == "delta" else {}
    both |= {"stop": list(LETTERS)} if leaf == "average" else {}  # or all lengths are equal
    both |= {"mask_share": 0.0} if (name, leaf) == ("electra", "random_share") else {}
    first = tiny.experiment(name, tmp_path, **both)
    first = replace(first, objective=with_effect(first.objective, leaf))
    second = replace(first, objective=replace(first.objective, **{leaf: value}))
    reward = tiny.remainder if name in tiny.ON_POLICY else None
    lines = [
        tiny.fit(config, tiny.training_parts(config, reward), tmp_path / str(number))
        for number, config in enumerate((first, second))
    ]
    assert lines[0] != lines[1]
