"""Compares ways of prompting one model: examples, chains of thought, and votes.

    etude train experiment=chain_of_thought run=outputs/cot
    etude train experiment=few_shot run=outputs/rules
    python bench/prompting.py outputs/cot outputs/rules

Each row is one `etude evaluate` on held-out questions, compared item by item with the row above it
that it names, as by `etude compare`. Writes docs/prompting.md.
"""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from etude.evaluation.comparison import compare
from etude.evaluation.result import Result, read_result

DOCS = Path(__file__).resolve().parents[1] / "docs"
SAMPLED = ("decoding=sample", "decoding.temperature=1")
PART = "generation"


@dataclass(frozen=True)
class Row:
    """An evaluation: its name in the table, the row to compare it with, and its arguments."""

    name: str
    against: str | None
    arguments: tuple[str, ...]


SUMS = (
    Row("answered outright, greedy", None, ("task=worked_sums",)),
    Row("chain of thought, greedy", "answered outright, greedy", ("task=worked_sums_cot",)),
    Row("chain of thought, one sample", None, ("task=worked_sums_cot", *SAMPLED)),
    *(
        Row(
            f"self-consistency, {n} samples",
            "chain of thought, one sample",
            ("task=worked_sums_sc", *SAMPLED[1:], f"prompting.n_samples={n}"),
        )
        for n in (4, 16)
    ),
    Row(
        "self-consistency, 16 samples, weighted by probability",
        "self-consistency, 16 samples",
        ("task=worked_sums_sc", *SAMPLED[1:], "prompting.vote=probability"),
    ),
)


def rule_rows(rule: str) -> tuple[Row, ...]:
    """Returns the rows of a rule: without examples, and with 1 to 7 of them."""
    shots = [
        Row(f"few-shot, {n}", before, ("task=unnamed_rule_few_shot", f"prompting.n={n}"))
        for before, n in (("zero-shot", 1), ("few-shot, 1", 4), ("few-shot, 4", 7))
    ]
    rows = (Row("zero-shot", None, ("task=unnamed_rule",)), *shots)
    return tuple(Row(r.name, r.against, (*r.arguments, f"data.rule={rule}")) for r in rows)


def main() -> int:
    sums, rules = map(Path, sys.argv[1:3])
    text = (DOCS / "prompting.md").read_text(encoding="utf-8")
    parts = {"sums": table(sums, SUMS)} | {
        rule: table(rules, rule_rows(rule)) for rule in ("reverse", "largest")
    }
    for name, lines in parts.items():
        before, _, rest = text.partition(f"<!-- {name} -->\n")
        after = rest.partition("<!-- end -->")[2]
        text = "\n".join((f"{before}<!-- {name} -->", *lines, f"<!-- end -->{after}"))
    (DOCS / "prompting.md").write_text(text, encoding="utf-8")
    return 0


def table(run: Path, rows: tuple[Row, ...]) -> list[str]:
    """Evaluates the rows that have no result yet; returns a table in Markdown."""
    results: dict[str, Result] = {}
    lines = ["| prompting | right (95 % interval) | difference |", "|---|---|---|"]
    for row in rows:
        file = run / "prompting" / f"{'_'.join(row.arguments).replace('task=', '')}.json"
        if not file.exists():
            arguments = (f"run={run}", f"out={file}", "batch_size=128", *row.arguments)
            subprocess.run(["etude", "evaluate", *arguments], check=True)
        results[row.name] = read_result(file)
        part = results[row.name].parts[PART]
        accuracy = part.metrics[0]
        bounds = part.interval(accuracy)
        cell = f"{part.value(accuracy):.1%} ({bounds.low:.1%} to {bounds.high:.1%})"
        lines.append(f"| {row.name} | {cell} | {difference(results, row)} |")
    return lines


def difference(results: dict[str, Result], row: Row) -> str:
    """Returns the paired difference from the row that a row names, with its interval."""
    if row.against is None:
        return ""
    (found,) = compare("", results[row.against], results[row.name])
    one = found.differences[0]
    p = f"p = {one.p:.1g}" if one.p else "p < 1e-6"  # results have six digits
    return f"{one.value:+.1%} ({one.low:+.1%} to {one.high:+.1%}) from {row.against}, {p}"


if __name__ == "__main__":
    sys.exit(main())
