"""Tests a plugin against the laws of its group and prints a report.

    etude check objective=apo                     sums, gradients, micro-batches, resume, 2 ranks
    etude check architecture/mixer=conv           a block, in every architecture that can use it
    etude check reward=numeric reward.numeric.tolerance=0.5       a verifier, on its benchmark
    etude check judge=rule reward=numeric         a judge: both orders, ties, batch neighbours

The first plugin on the command line is tested; the other arguments configure the experiment it is
tested in. Each law is held, broken (with the numbers) or not applicable; the exit code is 2 if any
is broken. Trains runs of a few steps in a temporary folder: half a minute for an objective, longer
for a block of many architectures.
"""

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from etude.config import compatibility, composition
from etude.config.command_line import CommandLine, prepare
from etude.config.config_file import build_config, node_of, to_experiment
from etude.config.hydra_errors import listing
from etude.config.plugin_files import groups, options
from etude.config.registry import plugin_of
from etude.config.schema.curation import LabelConfig
from etude.config.schema.experiment import ExperimentConfig
from etude.config.schema.plugins import ArchitectureConfig, PluginConfig
from etude.errors import ConfigError

if TYPE_CHECKING:
    from etude.laws.trial import Trial

VERB = "check"
SMALL = (
    "architecture.dim=32", "architecture.n_layers=2", "architecture.n_heads=4",
    "data.seq_len=64", "trainer.precision=64", "trainer.accelerator=cpu", "trainer.max_steps=4",
    "trainer.global_batch=8", "trainer.micro_batch=4", "trainer.val_samples=4",
    "trainer.save_every=2",
)  # fmt: skip
"""The small experiment a plugin is tested in; the user's overrides come later and win."""
TESTABLE = (
    "objective", "architecture", "optimizer", "schedule", "adapter", "data", "tokenizer",
    "decoding", "reward", "judge", "template", "strategy", "callback", "logger",
)  # fmt: skip
"""Groups with laws; the subgroups of `architecture` use the laws of an architecture."""
TIMED = ("objective", "architecture")
"""Groups whose plugins are timed against another plugin of the group."""
TRAINED = (*TIMED, "optimizer", "strategy", "callback", "logger")
"""Groups whose laws train runs, so the whole experiment must be compatible."""
JUDGE = "judge"
"""Only `etude label` uses this group; a judge is tested with the rewards of the experiment."""


@dataclass(frozen=True)
class Selection:
    """The plugin to test and the other overrides, from the command line."""

    group: str
    name: str
    override: str
    rest: Sequence[str]


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code: 2 if a law is broken."""
    line = prepare(arguments)
    if composition.print_if_requested(VERB, line):
        return 0
    selected = _parse(line)
    root = selected.group.partition("/")[0]
    rest = selected.rest
    used = _without_judge(rest) if root == JUDGE else (selected.override, *rest)
    composed = composition.compose(VERB, (*SMALL, *used))
    config = to_experiment(composed.config)
    if root in TRAINED:
        compatibility.check(config, composed.choices.get("architecture"))
    compatibility.check_extras(config)
    peer = _peer(selected) if root in TIMED else None
    stacks = _stacks(selected, config)
    from etude.laws.trial import Trial  # imports torch: only after all checks

    n_broken = 0
    for plugin in [_judge(selected)] if root == JUDGE else _plugins(config, selected.group):
        with tempfile.TemporaryDirectory(prefix="etude-check-") as folder:
            n_broken += _report(selected.group, Trial(plugin, config, Path(folder), peer, stacks))
    return 2 if n_broken else 0


def _report(group: str, trial: "Trial") -> int:
    """Tests every law and prints the findings; returns the number of broken laws."""
    from etude.laws.suites import suite, title
    from etude.laws.verdict import Verdict, try_law

    laws = suite(group)
    width = max(len(title(law)) for law in laws)
    n_broken = 0
    print(f"{'='.join(trial.plugin.address.rsplit('/', 1))}  {trial.plugin.file}")
    for law in laws:
        result = try_law(lambda law=law: law(trial))
        n_broken += result.verdict is Verdict.BROKEN
        print(
            f"  {result.verdict:<14}  {title(law):<{width}}  {result.evidence}".rstrip(), flush=True
        )
    print("every law holds" if not n_broken else f"{n_broken} of {len(laws)} laws are broken")
    return n_broken


def _parse(line: CommandLine) -> Selection:
    """Returns the first plugin of a group that has laws. Raises ConfigError if there is none."""
    composition.refuse_hydra_overrides(line)
    for index, override in enumerate(line.overrides):
        group, separator, name = override.partition("=")
        if separator and group in groups() and group.partition("/")[0] in TESTABLE:
            rest = (*line.overrides[:index], *line.overrides[index + 1 :])
            return Selection(group, name, override, rest)
    raise ConfigError(
        "etude check needs a plugin of a group with laws, such as etude check objective=dpo."
        + listing("Groups with laws", [g for g in groups() if g.partition("/")[0] in TESTABLE])
    )


def _compose(overrides: Sequence[str]) -> ExperimentConfig:
    return to_experiment(composition.compose(VERB, (*SMALL, *overrides)).config)


def _plugins(config: ExperimentConfig, group: str) -> list[PluginConfig]:
    """Returns the plugins of a group to test: one, or all if the group allows several."""
    node = node_of(config, group)
    return list(node.values()) if isinstance(node, dict) else [node]


def _judge(selected: Selection) -> PluginConfig:
    own = [item for item in selected.rest if item.startswith(f"{JUDGE}.")]
    overrides = ("run=none", "out=none", selected.override, *own)
    return build_config(composition.compose("label", overrides).config, LabelConfig).judge


def _without_judge(overrides: Sequence[str]) -> list[str]:
    return [item for item in overrides if not item.startswith(f"{JUDGE}.")]


def _peer(selected: Selection) -> ExperimentConfig | None:
    """Returns the same experiment with the group's default, or the first other compatible plugin.

    For an objective, one that reads the same records.
    """
    own = _compose((selected.override, *selected.rest))
    default = composition.compose(VERB, (*SMALL, *selected.rest)).choices.get(selected.group)
    reads = plugin_of(node_of(own, selected.group)).declaration.reads
    for name in dict.fromkeys((default, *options(selected.group))):
        if name in (None, selected.name):
            continue
        with suppress(ConfigError):
            peer = _compose((f"{selected.group}={name}", *selected.rest))
            compatibility.check(peer)
            if plugin_of(node_of(peer, selected.group)).declaration.reads == reads:
                return replace(peer, data=own.data)
    return None


def _stacks(selected: Selection, config: ExperimentConfig) -> Mapping[str, ArchitectureConfig]:
    """Returns every architecture that can contain the plugin, or the chosen architecture itself."""
    root = "architecture"
    if selected.group.partition("/")[0] != root:
        return {}
    if selected.group == root:
        return {selected.name: config.architecture}
    rest = [item for item in selected.rest if not item.startswith(f"{root}=")]
    stacks: dict[str, ArchitectureConfig] = {}
    for name in options(root):
        with suppress(ConfigError):
            stack = _compose((f"{root}={name}", selected.override, *rest)).architecture
            compatibility.check_mixer(stack, name)
            stacks[name] = stack
    return stacks
