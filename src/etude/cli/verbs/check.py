"""Tests a plugin against the laws of its group and prints a report.

    etude check objective=apo                     sums, gradients, micro-batches, resume, 2 ranks
    etude check architecture/mixer=conv           a block, in every architecture that can use it
    etude check reward=numeric reward.numeric.tolerance=0.5       a verifier, on its benchmark
    etude check judge=rule reward=numeric         a judge: both orders, ties, batch neighbours
    etude check evaluator=choice                  any batch size and order, on a small run

The first plugin on the command line is tested; the other arguments configure the experiment it is
tested in. Each law is held, broken (with the numbers) or not applicable; the exit code is 2 if any
is broken. Trains runs of a few steps in a temporary folder: half a minute for an objective, longer
for a block of many architectures.
"""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from etude.config import composition
from etude.config.command_line import CommandLine, prepare
from etude.config.config_file import build_config, node_of, to_experiment
from etude.config.hydra_errors import listing
from etude.config.plugin_files import groups
from etude.config.root_schemas import ROOTS
from etude.config.schema.plugins import PluginConfig
from etude.errors import ConfigError
from etude.laws import fitting
from etude.laws.fitting import VERB, VERBS, Selection

if TYPE_CHECKING:
    from etude.laws.trial import Trial

TESTABLE = (
    "objective", "architecture", "optimizer", "schedule", "ramp", "adapter", "data", "tokenizer",
    "filter", "decoding", "generator", "reward", "judge", "environment", "template", "strategy",
    "callback", "logger", "evaluator", "prompting", "scorer",
)  # fmt: skip
"""Groups with laws; the subgroups of `architecture` use the laws of an architecture."""
TIMED = ("objective", "architecture")
"""Groups whose plugins are timed against another plugin of the group."""
TRAINED = (
    *TIMED, "optimizer", "ramp", "environment", "strategy", "callback", "logger", "generator",
    "evaluator",
)  # fmt: skip
"""Groups whose laws run the whole experiment, so that it must be compatible."""


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code: 2 if a law is broken."""
    line = prepare(arguments)
    if composition.print_if_requested(VERB, line):
        return 0
    with tempfile.TemporaryDirectory(prefix="etude-check-") as folder:
        return _check(fitting.with_examples(_parse(line), Path(folder)), Path(folder))


def _check(given: Selection, folder: Path) -> int:
    """Tests the laws of the selected plugins; returns the exit code."""
    selected = fitting.fit(given, given.root in TRAINED)
    config = to_experiment(fitting.compose(*selected.overrides).config)
    peer = fitting.peer(selected) if selected.root in TIMED else None
    stacks = fitting.stacks(selected, config)
    used_by = _config_of_verb(selected) if selected.root in VERBS else config
    plugins = _plugins(used_by, selected.group)
    from etude.laws.trial import Trial  # imports torch: only after all checks

    n_broken = 0
    for i, plugin in enumerate(plugins):
        (folder / str(i)).mkdir()
        n_broken += _report(selected.group, Trial(plugin, config, folder / str(i), peer, stacks))
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
            return Selection(group, name, rest)
    raise ConfigError(
        "etude check needs a plugin of a group with laws, such as etude check objective=dpo."
        + listing("Groups with laws", [g for g in groups() if g.partition("/")[0] in TESTABLE])
    )


def _plugins(config: object, group: str) -> list[PluginConfig]:
    """Returns the plugins of a group to test: one, or all if the group allows several."""
    node = node_of(config, group)
    return list(node.values()) if isinstance(node, dict) else [node]


def _config_of_verb(selected: Selection) -> object:
    """Returns the config of the verb that uses the plugin's group, with the plugin's own values."""
    verb = VERBS[selected.root]
    own = [item for item in selected.rest if item.startswith(f"{selected.root}.")]
    composed = composition.compose(verb, ("run=none", "out=none", selected.override, *own))
    return build_config(composed.config, ROOTS[f"{verb}_schema"])
