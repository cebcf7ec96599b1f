"""Evaluates a model: what it gets right and wrong, with intervals, in one result file.

    etude evaluate run=outputs/sft task=sums
    etude evaluate run=outputs/base evaluator=bits_per_byte data=text data.path=held_out.txt
    etude evaluate run=outputs/sft evaluator=generation data=jsonl_prompts data.path=test.jsonl

A task is a file, conf/task/<name>.yaml, that chooses data, evaluator, prompting and scorer. The
result is the same to the last digit for any batch_size and order of the records. It lists every
item with its prompt's digest; `etude compare A B` compares two results item by item.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from etude.config import composition
from etude.config.command_line import prepare
from etude.config.config_file import build_config
from etude.config.schema.evaluation import EvaluationConfig
from etude.files.run_folder import CONFIG, EVALUATIONS

if TYPE_CHECKING:  # imports torch: only after all checks
    from etude.evaluation.result import Result

VERB = "evaluate"


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code."""
    composed = composition.compose_one(VERB, prepare(arguments))
    if composed is None:
        return 0
    config = build_config(composed.config, EvaluationConfig)
    task = composed.choices.get("task") or "+".join(config.evaluator)
    from etude.evaluation.evaluate import evaluate

    result = evaluate(config, task)
    file = Path(config.out) if config.out else _place(Path(config.run), task)
    result.write(file)
    print("\n".join(_lines(result)))
    print(file)
    return 0


def _place(run: Path, task: str) -> Path:
    """The default result file: in the run folder; a Hugging Face folder stays as it is."""
    folder = run if (run / CONFIG).is_file() else Path("outputs") / run.name
    return folder / EVALUATIONS / f"{task}.json"


def _lines(result: "Result") -> list[str]:
    lines: list[str] = []
    for name, part in result.parts.items():
        for metric in part.metrics:
            found = part.interval(metric)
            lines.append(
                f"{name}/{metric.name:<16} {part.value(metric):.4f}"
                f"  ({found.low:.4f} to {found.high:.4f}, n = {len(part.items):,})"
            )
    return lines
