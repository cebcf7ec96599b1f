"""Composes the small experiment in which a plugin is tested, with the parts that it needs.

What the command line leaves open is chosen: an objective that has the slot of a tested part, an
architecture that the objective can train, and the values that plugins declare as their `example`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, cast

from etude.capability import Capability
from etude.config import capabilities, compatibility, composition
from etude.config.composition import Composition
from etude.config.config_file import node_of, to_experiment
from etude.config.hydra_source import declared_default, multi_choice_groups
from etude.config.plugin_files import options
from etude.config.plugin_source import (
    base_plugin,
    describe,
    descriptions,
    preset_parts,
    presets,
)
from etude.config.registry import plugin_of
from etude.config.schema.experiment import ExperimentConfig
from etude.config.schema.plugins import ArchitectureConfig
from etude.errors import CompositionError, ConfigError
from etude.files.atomic import write_atomic

VERB = "check"
OBJECTIVE, ARCHITECTURE = "objective", "architecture"
JUDGE = "judge"
"""Only `etude label` uses this group; a judge is tested with the rewards of the experiment."""
SMALL = (
    "architecture.dim=32", "architecture.n_layers=2", "architecture.n_heads=4",
    "data.seq_len=64", "trainer.precision=64", "trainer.accelerator=cpu", "trainer.max_steps=4",
    "trainer.global_batch=8", "trainer.micro_batch=4", "trainer.val_samples=4",
    "trainer.save_every=2",
)  # fmt: skip
"""The small experiment a plugin is tested in; the user's overrides come later and win."""
ROLLOUTS = "debug=rollouts"
"""For objectives that use a reward: one that differs within a group, from an untrained policy."""
FILE = "{file}"
RUN = re.compile(r"{run:?([^}]*)}")
"""Forms of example values; see `Declaration.example`."""
SHORT = "objective.group_size=4", "objective.max_new_tokens=16"
N_EXAMPLE_LINES = 100


@dataclass(frozen=True)
class Selection:
    """The plugin to test and the other overrides, from the command line."""

    group: str
    name: str
    rest: Sequence[str]

    @property
    def override(self) -> str:
        """What selects it on the command line."""
        return f"{self.group}={self.name}"

    @property
    def root(self) -> str:
        """The group, or the group that contains it."""
        return self.group.partition("/")[0]

    @property
    def overrides(self) -> Sequence[str]:
        """The overrides of the experiment in which it is tested."""
        return self.others if self.root == JUDGE else (self.override, *self.rest)

    @property
    def others(self) -> Sequence[str]:
        """The overrides that are neither knobs nor parts of the plugin."""
        own = f"{self.group.replace('/', '.')}.", f"{self.group}/"
        return [item for item in self.rest if not item.startswith(own)]


def with_examples(selected: Selection, folder: Path) -> Selection:
    """Returns the selection with the examples of its plugins, where the user gives no value.

    A value is written as in `Declaration.example`; files and runs are made in `folder`.
    """
    given = {item.partition("=")[0] for item in selected.overrides}
    added: list[str] = []
    for address in _with_examples(selected):
        plugin = describe(address)
        group, _, name = address.rpartition("/")
        several = f".{name}" if group in multi_choice_groups() else ""
        for key, value in cast("dict[str, Any]", plugin.declared.get("example") or {}).items():
            is_own = key in {knob.name for knob in plugin.knobs}
            path = f"{group.replace('/', '.')}{several}.{key}" if is_own else key
            if path not in given:
                given.add(path)
                text = str(value).replace("\\", "\\\\").replace("'", "\\'")
                is_choice = "." not in path
                added.append(f"{path}={value}" if is_choice else f"{path}='{_made(text, folder)}'")
    return replace(selected, rest=(*added, *selected.rest))


def _with_examples(selected: Selection) -> Iterator[str]:
    """Yields the addresses of the selected plugins, the parts that were chosen for them first."""
    for item in selected.rest:
        slot, _, name = item.partition("=")
        if slot.startswith(f"{selected.group}/"):
            yield f"{slot}/{name}"
    for name in selected.name.strip("[]").split(","):
        for slot, part in preset_parts(selected.group, name).items():
            yield f"{selected.group}/{slot}/{part}"
        yield f"{selected.group}/{base_plugin(selected.group, name)}"


def _made(value: str, folder: Path) -> str:
    """Returns a value with the file or the run that it needs."""
    if value.startswith(FILE):
        file = folder / "example.txt"
        line = value.removeprefix(FILE)
        lines = [line.replace("#", str(i)) + "\n" for i in range(N_EXAMPLE_LINES)]
        write_atomic(file, "".join(lines))
        return str(file)
    return RUN.sub(lambda match: str(_run(match[1].split(), folder / "example")), value)


def _run(overrides: Sequence[str], folder: Path) -> Path:
    """Trains a small run and returns its folder."""
    from etude.laws.trial import silent  # imports torch
    from etude.training.run import start

    composed = compose(*overrides, "trainer.max_steps=1", f"run={folder}")
    with silent(folder.with_suffix(".log")):
        start(to_experiment(composed.config), VERB, [])
    return folder


def fit(selected: Selection, checks: bool) -> Selection:
    """Returns the selection with the overrides it needs in addition to those of the user.

    `checks` requires a compatible experiment; raises ConfigError if there is none.
    """
    refused: list[ConfigError] = []
    for added in _candidates(selected):
        fitted = replace(selected, rest=(*added, *selected.rest))
        try:
            composed = compose(*fitted.overrides)
            config = to_experiment(composed.config)
            if checks:
                compatibility.check(config, composed.choices.get(ARCHITECTURE))
            compatibility.check_extras(config)
        except ConfigError as error:
            refused.append(error)
            if not isinstance(refused[0], CompositionError):  # other parts would not help
                break
        else:
            return fitted
    raise refused[0]


def _candidates(selected: Selection) -> Iterator[tuple[str, ...]]:
    """Yields the overrides that an experiment with the plugin may need, the fewest first."""
    given = {item.partition("=")[0] for item in (selected.override, *selected.rest)}
    slot = selected.group.removeprefix(f"{OBJECTIVE}/")
    choices: list[Sequence[str | None]] = []
    for group in (OBJECTIVE, ARCHITECTURE):
        names = [None, *sorted(options(group), key=_trains_head_alone), *presets(group)]
        if group == OBJECTIVE and slot != selected.group:
            names = [
                name
                for name, one in descriptions(group).items()
                if any(knob.group and knob.name == slot for knob in one.knobs)
            ]
        choices.append([None] if group in given else names)
    for objective, architecture in product(*choices):
        chosen = {OBJECTIVE: objective, ARCHITECTURE: architecture}
        added = [f"{group}={name}" for group, name in chosen.items() if name]
        name = objective or _value(OBJECTIVE, selected.overrides)
        rewarded = name is not None and declared_default("reward", name) is not None
        if rewarded:
            added += SHORT if given & {"reward", "debug"} else (ROLLOUTS, *SHORT)
        yield tuple(added)


def _trains_head_alone(objective: str) -> bool:
    """Whether an option of the group is an objective that uses no logits: others test more."""
    found = descriptions(OBJECTIVE).get(objective)
    return found is not None and found.declared.get("needs") == frozenset({Capability.HIDDEN.name})


def _value(group: str, overrides: Sequence[str]) -> str | None:
    """Returns the option that the last of the overrides chooses for a group."""
    pairs = dict(item.split("=", 1) for item in overrides if "=" in item)
    return pairs.get(group)


def compose(*overrides: str) -> Composition:
    """Composes the small experiment with these overrides."""
    return composition.compose(VERB, (*SMALL, *overrides))


def peer(selected: Selection) -> ExperimentConfig | None:
    """Returns the same experiment with the group's default, or the first other compatible plugin.

    For an objective, one that reads the same records, and has the same data by default: a text and
    a list of words may both be labelled. It has no knobs of the tested plugin.
    """
    own = to_experiment(compose(*selected.overrides).config)
    declared = plugin_of(node_of(own, selected.group)).declaration
    default = compose().choices.get(selected.group)
    for name in dict.fromkeys((default, *options(selected.group))):
        if name in (None, selected.name):
            continue
        with suppress(ConfigError):
            other = to_experiment(compose(f"{selected.group}={name}", *selected.others).config)
            compatibility.check(other)
            peer = plugin_of(node_of(other, selected.group)).declaration
            if (peer.reads, peer.data) == (declared.reads, declared.data):
                return replace(other, data=own.data)
    return None


def stacks(selected: Selection, config: ExperimentConfig) -> Mapping[str, ArchitectureConfig]:
    """Returns every architecture that can contain the plugin, or the chosen architecture itself."""
    if selected.root != ARCHITECTURE:
        return {}
    if selected.group == ARCHITECTURE:
        return {selected.name: config.architecture}
    rest = [item for item in selected.rest if not item.startswith(f"{ARCHITECTURE}=")]
    found: dict[str, ArchitectureConfig] = {}
    for name in options(ARCHITECTURE):
        with suppress(ConfigError):
            composed = compose(f"{ARCHITECTURE}={name}", selected.override, *rest)
            stack = to_experiment(composed.config).architecture
            capabilities.check_mixer(stack, name)
            found[name] = stack
    return found
