"""Tries a verifier on its bench: right, wrong, malformed and adversarial answers.

    etude check reward=numeric reward.numeric.tolerance=0.5
    etude check reward=[format,exact_answer]

Shows what it pays each, and its rates of false positives and negatives. One that misjudges an
answer is refused (exit 2), as training refuses it.
"""

from etude import composition
from etude.command_line import prepare
from etude.compatibility import check_extras
from etude.config_file import built
from etude.curation_schema import CheckConfig
from etude.errors import ConfigError
from etude.registry import build, options

VERB = "check"


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code."""
    composed = composition.compose_one(VERB, prepare(arguments))
    if composed is not None:
        config = built(composed.config, CheckConfig)
        check_extras(config)
        if not config.reward:
            raise ConfigError(
                f"etude check tries rewards, and none is chosen.\n  Rewards: "
                f"{', '.join(options('reward'))}."
            )
        _check(config)
    return 0


def _check(config: CheckConfig) -> None:
    from etude.verifier import Verifier, examine, refuse_failing, said  # torch, below contracts

    for name, chosen in config.reward.items():
        verifier = build(chosen)
        if not isinstance(verifier, Verifier):
            print(f"{name} has no bench: it is an opinion, and nobody knows its right answers.")
            continue
        report = examine(verifier)
        for one in report.judged:
            print(f"{'MISJUDGED ' if one.is_misjudged else ''}{said(one)}")
        print(
            f"{name}: {len(report.judged)} answers, {report.false_positives:.0%} false positives, "
            f"{report.false_negatives:.0%} false negatives\n"
        )
        refuse_failing(verifier)
