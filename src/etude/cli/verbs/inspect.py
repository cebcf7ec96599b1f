"""Shows the first batch of an experiment as its loss sees it; takes the arguments of train.

    etude inspect objective=mlm architecture=bert data=text data.path=notes.txt
    etude inspect run=outputs/base

Shows input tokens, target tokens that count in the loss, documents and padding, row by row. With
an environment, shows completions of the first prompts: the policy's own tokens are the targets.
Prepares the data and builds everything, but does not train or write a run.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from etude.config import composition
from etude.config.command_line import prepare
from etude.config.schema.experiment import ExperimentConfig

if TYPE_CHECKING:
    from etude.training.assemble import TrainingParts

VERB = "inspect"


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code."""
    line = prepare(arguments)
    composed = composition.compose_one(VERB, line)
    if composed is not None:
        from etude.training.experiment import read_experiment

        _show(*read_experiment(composed, line.overrides))
    return 0


def _show(config: ExperimentConfig, folder: Path | None) -> None:
    from etude.cli.pages.batch import show
    from etude.objective.loader import Ranks
    from etude.training.assemble import assemble  # imports torch: only after all checks
    from etude.training.run import corpus_of

    corpus = corpus_of(config, folder)
    parts = assemble(config, corpus, Ranks(0, config.trainer.devices))
    show(first_batch(config, parts), corpus.tokenizer, Console(highlight=False))
    print("\n".join(parts.objective.lost_lines()))


def first_batch(config: ExperimentConfig, parts: "TrainingParts") -> Any:
    """Returns the first micro-batch of step 1; for an on-policy objective, its prompts.

    With an environment, returns completions of the first prompts instead.
    """
    from etude.objective.randomness import TRAIN, rng

    if config.ramp:
        return next(part.batch for part in parts.loader if part.batch is not None)
    train = parts.train
    keys = [parts.loader.source.order(i) for i in range(parts.plan.micro_batch)]
    records = [train[i] for _, i in keys]
    if config.environment is not None:
        return _completions(config, parts, records)
    return parts.objective.held_out_batch(records, [rng(config.seed, TRAIN, *key) for key in keys])


def _completions(config: ExperimentConfig, parts: "TrainingParts", prompts: list[Any]) -> Any:
    from etude.objective.randomness import ROLLOUT
    from etude.rl.on_policy import OnPolicyObjective
    from etude.training.assemble import trainer_of

    objective = parts.objective
    assert isinstance(objective, OnPolicyObjective), "compatibility requires it"
    bare = replace(config, logger={}, callback={})
    objective.trainer = trainer_of(bare, parts.plan, Path(), [])
    prompts = prompts[: -(-len(prompts) // objective.samples_per_prompt)]
    keys = [(config.seed, ROLLOUT, place) for place in range(len(prompts))]
    return objective.collate(objective.rollout(prompts, keys))
