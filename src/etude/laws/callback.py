"""Laws of callbacks, loggers and strategies: they do not change the losses of a run."""

from dataclasses import replace

from etude.config.config_file import node_of
from etude.config.plugin_source import descriptions
from etude.config.registry import load, plugin_of
from etude.config.schema.experiment import ExperimentConfig
from etude.files.run_folder import untimed_steps
from etude.laws.runs import difference
from etude.laws.trial import Trial
from etude.laws.verdict import Finding, broken, held, not_applicable


def losses_are_unchanged(trial: Trial) -> Finding:
    """At each common step, the loss equals that of a run without it."""
    without = _without(trial)
    if without is None:
        return not_applicable("it is the reference that others are compared with")
    plain = trial.run("without", without)
    n = min(len(untimed_steps(run)) for run in (trial.whole, plain))
    if off := difference(trial, plain, n):
        return broken(f"with and without it: {off}")
    return held(f"{n} steps: the same losses")


def _without(trial: Trial) -> ExperimentConfig | None:
    """Returns the experiment without the plugin; a strategy becomes the single-device one."""
    group = trial.plugin.address.rpartition("/")[0]
    if isinstance(node_of(trial.config, group), dict):
        return replace(trial.config, **{group: {}})
    alone = next(
        n for n, one in descriptions(group).items() if one.declared.get("max_devices") == 1
    )
    plain = load(f"{group}/{alone}").config()
    is_plain = plugin_of(plain).address == trial.plugin.address
    return None if is_plain else replace(trial.config, **{group: plain})
