"""Shows what a run trains on first, or what the model reads in an evaluation.

    etude inspect objective=mlm architecture=bert data=text data.path=notes.txt
    etude inspect objective=dpo n=10                 10 samples instead of 3
    etude inspect run=outputs/base html=page.html    also a page, which needs no network
    etude inspect run=outputs/sft task=sums          the prompts of etude evaluate

Takes the arguments of train. Shows input tokens with their messages, the tokens to predict, masks,
documents and positions, with the counts that the loss is divided by and what of the data is
not used. An on-policy objective samples its first rollout, with the reward, advantage and KL of
each token. Prepares the data and builds everything, but does not train or write a run. The exit
code is 3 if a sample of the step trains nothing.

With task= or evaluator=, it takes the arguments of evaluate, and shows the prompts with the roles
of their messages, their tokens and ids, and the digest that the result file has.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from etude.config import composition
from etude.config.command_line import prepare
from etude.config.config_file import build_config, import_plugins
from etude.config.schema.evaluation import EvaluationConfig
from etude.config.schema.experiment import ExperimentConfig
from etude.errors import ConfigError, DataError
from etude.training.experiment import read_experiment

VERB = "inspect"
N = "n="
HTML = "html="
EVALUATION = ("task=", "evaluator=")
SHOWN = 3
SHOWN_EMPTY = 8


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code."""
    n = _n_shown([item for item in arguments if item.startswith(N)])
    pages = [item.removeprefix(HTML) for item in arguments if item.startswith(HTML)]
    line = prepare([item for item in arguments if not item.startswith((N, HTML))])
    is_evaluation = any(item.startswith(EVALUATION) for item in line.overrides)
    composed = composition.compose_one("evaluate" if is_evaluation else VERB, line)
    if composed is not None and is_evaluation:
        _show_prompts(build_config(composed.config, EvaluationConfig), n, pages)
    elif composed is not None:
        _show(*read_experiment(composed, line.overrides), n, pages)
    return 0


def _n_shown(arguments: Sequence[str]) -> int:
    """Returns the number of samples to show. Raises ConfigError for an invalid number."""
    value = arguments[-1].removeprefix(N) if arguments else str(SHOWN)
    if not value.isascii() or not value.isdigit():
        raise ConfigError(f"n must be a number of samples to show, got {value}.\n  Default: n=3.")
    return int(value)


def _show_prompts(config: EvaluationConfig, n: int, pages: Sequence[str]) -> None:
    from rich.console import Console

    from etude.cli.pages.inspect.prompts import show_prompts

    if pages:
        raise ConfigError(
            f"html={pages[-1]}: the prompts of an evaluation have no page.\n  Leave out html."
        )
    show_prompts(config, n, Console(highlight=False))


def _show(config: ExperimentConfig, folder: Path | None, n: int, pages: Sequence[str]) -> None:
    from rich.console import Console

    from etude.cli.pages.inspect.first_step import first_step
    from etude.cli.pages.inspect.page import page
    from etude.cli.pages.inspect.terminal import show
    from etude.files.atomic import write_atomic
    from etude.objective.loader import Ranks
    from etude.training.assemble import assemble  # imports torch: only after all checks
    from etude.training.run import quiet
    from etude.training.run_corpus import corpus_of

    quiet()
    import_plugins(replace(config, logger={}, callback={}))  # these are not built
    corpus = corpus_of(config, folder)
    parts = assemble(config, corpus, Ranks(0, config.trainer.devices))
    step = first_step(config, parts, n)
    step = replace(step, lost=[*corpus.card.lost_lines(), *step.lost])
    show(step, Console(highlight=False))
    for file in pages:
        try:
            write_atomic(Path(file), page(step, str(corpus.card)))
        except OSError as error:
            raise ConfigError(f"html={file} cannot be written: {error.strerror}.") from error
        print(Path(file).resolve())
    if empty := step.empty:
        more = f" and {len(empty) - SHOWN_EMPTY:,} more" if len(empty) > SHOWN_EMPTY else ""
        raise DataError(
            f"{len(empty):,} of {step.n_samples:,} samples of step 1 train nothing: they add 0 "
            f"{step.unit} to the count of the loss.\n  {', '.join(empty[:SHOWN_EMPTY])}{more}\n"
            "  Remove them, or check data.seq_len, the template and the reward."
        )
