"""Samples pairs of completions from a run and writes the preferences of a judge.

    etude label run=outputs/sft data=arithmetic judge=rule reward=numeric out=pairs.jsonl
    etude label run=... data=... judge=run judge.run=outputs/judge out=pairs.jsonl
    etude label run=... data=... judge=openai judge.url=http://localhost:8000/v1 judge.model=...

Read the file with data=jsonl_preferences, for objective=dpo or reward; the labels are soft with
data.columns.probability=probability. Ties are left out and counted. Replies of a judge server are
cached, so the same command continues where it stopped. Prompts held out for validation are not
used.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.config import composition
from etude.config.command_line import prepare
from etude.config.compatibility import check_extras
from etude.config.config_file import build_config
from etude.config.plugin_files import options
from etude.config.registry import build, plugin_of
from etude.config.schema.curation import LabelConfig
from etude.errors import ConfigError
from etude.experiments.provenance import write_origin
from etude.records import prompt_fields

if TYPE_CHECKING:  # imports torch: only after all checks
    from etude.experiments.curation import SampledPrompt
    from etude.rl.judge import Comparison, Judge

VERB = "label"
UNDECIDED = "no verdict: the judge chose neither completion, or its budget is spent"
EQUAL = "both completions are the same"
EMPTY = "a completion is empty"
TIE = "neither completion is better"


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code."""
    composed = composition.compose_one(VERB, prepare(arguments))
    if composed is not None:
        config = build_config(composed.config, LabelConfig)
        check_extras(config)
        _refuse_misfit(config)
        _write(config)
        write_origin(VERB, config)
    return 0


def _refuse_misfit(config: LabelConfig) -> None:
    judge = plugin_of(config.judge).address.replace("/", "=")
    if config.judge.compares_scores and not config.reward:
        raise ConfigError(
            f"{judge} compares rewards, but no reward is chosen.\n"
            f"  Choose one: reward=[...]. Rewards: {', '.join(options('reward'))}."
        )
    if config.reward and not config.judge.compares_scores:
        raise ConfigError(
            f"reward=[{','.join(config.reward)}] has no effect: {judge} does not use a reward."
        )


def _write(config: LabelConfig) -> None:
    from etude.experiments.curation import answer_prompts, write_rows
    from etude.rl.rewards import build_rewards

    judge: Judge = build(config.judge, *filter(None, [build_rewards(config.reward)]))
    left_out: Counter[str] = Counter()
    rows = [
        row
        for part in answer_prompts(config, config.n_samples)
        for row in _preferences(judge, part, config.min_probability, left_out)
    ]
    write_rows(Path(config.out), rows, left_out)


def _preferences(
    judge: "Judge", answered: "Sequence[SampledPrompt]", threshold: float, left_out: Counter[str]
) -> Iterator[dict[str, Any]]:
    """Yields a row per pair whose probability exceeds `threshold`; counts the others."""
    from etude.rl.judge import Comparison

    pairs: list[Comparison] = []
    for one in answered:
        for first, second in combinations(one.texts, 2):
            if first == second or not (first and second):
                left_out[EQUAL if first == second else EMPTY] += 1
            else:
                pairs.append(Comparison(one.prompt.prompt, first, second, one.prompt.answer))
    for pair, probability in zip(pairs, judge(pairs), strict=True):
        row = preference(pair, probability)
        if probability != probability:
            left_out[UNDECIDED] += 1
        elif row["probability"] <= threshold:
            left_out[TIE] += 1
        else:
            yield row


def preference(pair: "Comparison", probability: float) -> dict[str, Any]:
    """Returns a row of data=jsonl_preferences: the preferred completion and its probability."""
    chosen = pair.first
    rejected = pair.second
    if probability < 0.5:
        chosen, rejected, probability = rejected, chosen, 1 - probability
    return {
        **prompt_fields(pair.prompt),
        "chosen": chosen,
        "rejected": rejected,
        "probability": probability,
    }
