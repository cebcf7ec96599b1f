"""Plans an experiment before anything is trained; takes what train takes.

    etude plan objective=clm architecture=llama architecture.dim=512

The first line is `parameters: <n>`.
"""

from etude import composition
from etude.command_line import prepare
from etude.experiment import ExperimentConfig
from etude.verbs.train import validated

VERB = "plan"


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code."""
    line = prepare(arguments)
    composed = composition.compose_one(VERB, line)
    if composed is not None:
        _plan(validated(composed, line.overrides))
    return 0


def _plan(config: ExperimentConfig) -> None:
    from etude.planning.forecast import forecast  # torch: once nothing can be refused any more

    for line in forecast(config).lines():
        print(line)
