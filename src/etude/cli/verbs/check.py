"""Holds a plugin to the laws of its group, and prints a report card.

    etude check objective=apo                     a loss: sums, gradients, cuts, resumption, 2 ranks
    etude check architecture/mixer=conv           a part, in every architecture that it can be in
    etude check reward=numeric reward.numeric.tolerance=0.5       a verifier, on its bench
    etude check judge=rule reward=numeric         a judge: both orders, ties, neighbours

The first plugin named is tried; what is named behind it is what it is tried in. Each law is held,
broken (with the numbers) or not applicable; exit 2 if any is broken. Trains runs of a few steps in
a folder that is deleted; half a minute for an objective, longer for what many architectures have.
"""

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from etude.config import compatibility, composition
from etude.config.command_line import CommandLine, prepare
from etude.config.config_file import built, node_of, typed
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
"""What a plugin is tried in; what the user gives comes behind it, and holds."""
TRIED = (
    "objective", "architecture", "optimizer", "schedule", "adapter", "data", "tokenizer",
    "decoding", "reward", "judge", "template", "strategy", "callback", "logger",
)  # fmt: skip
"""The groups that have laws; the parts of `architecture` are held to those of a whole one."""
TIMED = ("objective", "architecture")
"""Those that are timed beside another of their group."""
TRAINED = (*TIMED, "optimizer", "strategy", "callback", "logger")
"""Those whose laws take runs, so that what they are tried in must fit together."""
JUDGE = "judge"
"""The group that no run has a plugin of, but labelling; a judge is tried with the run's rewards."""


@dataclass(frozen=True)
class Asked:
    """What the command line puts on trial."""

    group: str
    name: str
    override: str
    rest: Sequence[str]


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code: 2 if a law is broken."""
    line = prepare(arguments)
    if composition.inquire(VERB, line):
        return 0
    asked = _asked(line)
    root = asked.group.partition("/")[0]
    given = _beside_judge(asked) if root == JUDGE else (asked.override, *asked.rest)
    composed = composition.compose(VERB, (*SMALL, *given))
    config = typed(composed.config)
    if root in TRAINED:
        compatibility.check(config, composed.choices.get("architecture"))
    compatibility.check_extras(config)
    peer = _peer(asked) if root in TIMED else None
    stacks = _stacks(asked, config)
    from etude.laws.trial import Trial  # torch: only once nothing can be refused any more

    n_broken = 0
    for chosen in [_judge(asked)] if root == JUDGE else _chosen(config, asked.group):
        with tempfile.TemporaryDirectory(prefix="etude-check-") as folder:
            n_broken += _report(asked.group, Trial(chosen, config, Path(folder), peer, stacks))
    return 2 if n_broken else 0


def _report(group: str, trial: "Trial") -> int:
    """Tries every law and says what it finds; returns how many are broken."""
    from etude.laws.suites import suite, title
    from etude.laws.verdict import Verdict, tried

    laws = suite(group)
    width = max(len(title(law)) for law in laws)
    n_broken = 0
    print(f"{'='.join(trial.plugin.address.rsplit('/', 1))}  {trial.plugin.file}")
    for law in laws:
        found = tried(lambda law=law: law(trial))
        n_broken += found.verdict is Verdict.BROKEN
        print(f"  {found.verdict:<14}  {title(law):<{width}}  {found.said}".rstrip(), flush=True)
    print("every law holds" if not n_broken else f"{n_broken} of {len(laws)} laws are broken")
    return n_broken


def _asked(line: CommandLine) -> Asked:
    """The first choice of a group that has laws. Raises ConfigError where there is none."""
    composition.refuse_inert(line)
    for place, override in enumerate(line.overrides):
        group, found, name = override.partition("=")
        if found and group in groups() and group.partition("/")[0] in TRIED:
            rest = (*line.overrides[:place], *line.overrides[place + 1 :])
            return Asked(group, name, override, rest)
    raise ConfigError(
        "etude check tries a plugin, and none is chosen that has laws: etude check objective=dpo\n"
        + listing("Groups with laws", [g for g in groups() if g.partition("/")[0] in TRIED])
    )


def _composed(overrides: Sequence[str]) -> ExperimentConfig:
    return typed(composition.compose(VERB, (*SMALL, *overrides)).config)


def _chosen(config: ExperimentConfig, group: str) -> list[PluginConfig]:
    """What is tried: the plugin of a group, or each of those that an experiment has several of."""
    node = node_of(config, group)
    return list(node.values()) if isinstance(node, dict) else [node]


def _judge(asked: Asked) -> PluginConfig:
    own = [item for item in asked.rest if item.startswith(f"{JUDGE}.")]
    given = ("run=none", "out=none", asked.override, *own)
    return built(composition.compose("label", given).config, LabelConfig).judge


def _beside_judge(asked: Asked) -> list[str]:
    return [item for item in asked.rest if not item.startswith(f"{JUDGE}.")]


def _peer(asked: Asked) -> ExperimentConfig | None:
    """The same experiment with the group's default in it, or with the first that can stand there.

    An objective's is one that reads the same records.
    """
    own = _composed((asked.override, *asked.rest))
    plain = composition.compose(VERB, (*SMALL, *asked.rest)).choices.get(asked.group)
    reads = plugin_of(node_of(own, asked.group)).declaration.reads
    for name in dict.fromkeys((plain, *options(asked.group))):
        if name in (None, asked.name):
            continue
        with suppress(ConfigError):
            peer = _composed((f"{asked.group}={name}", *asked.rest))
            compatibility.check(peer)
            if plugin_of(node_of(peer, asked.group)).declaration.reads == reads:
                return replace(peer, data=own.data)
    return None


def _stacks(asked: Asked, config: ExperimentConfig) -> Mapping[str, ArchitectureConfig]:
    """Every architecture that the plugin can be part of, and the one that was chosen."""
    root = "architecture"
    if asked.group.partition("/")[0] != root:
        return {}
    if asked.group == root:
        return {asked.name: config.architecture}
    rest = [item for item in asked.rest if not item.startswith(f"{root}=")]
    found: dict[str, ArchitectureConfig] = {}
    for name in options(root):
        with suppress(ConfigError):
            made = _composed((f"{root}={name}", asked.override, *rest)).architecture
            compatibility.check_mixer(made, name)
            found[name] = made
    return found
