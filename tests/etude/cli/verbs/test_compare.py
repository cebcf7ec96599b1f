"""`etude compare`: results are found, paired and tested; what cannot be compared is refused."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from etude.cli.main import main
from etude.evaluation.item import OUTCOMES, Item, Metric, Outcome, outcome_values
from etude.evaluation.result import Part, Result, read_result

PERPLEXITY = Metric("perplexity", "nats", "tokens", exponential=True, needs_same_tokenizer=True)


def result(outcomes: str, tokenizer: str = "a", first: int = 0) -> Result:
    kinds = {"r": Outcome.RIGHT, "w": Outcome.WRONG, "u": Outcome.UNANSWERED}
    items = [
        Item(f"{first + i}", outcome_values(kinds[one]), kinds[one])
        for i, one in enumerate(outcomes)
    ]
    return Result({"tokenizer": tokenizer}, {"generation": Part([*OUTCOMES], items)})


def run_with(folder: Path, **results: Result) -> str:
    for task, one in results.items():
        one.write(folder / "evaluations" / f"{task}.json")
    return str(folder)


def test_runs_are_compared_on_each_task_that_they_share(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = result("r" * 20 + "w"), result("w" * 20 + "r")
    one = run_with(tmp_path / "a", sums=bad, dates=good, alone=good)
    two = run_with(tmp_path / "b", sums=good, dates=good)
    assert main(["compare", one, two, f"out={tmp_path / 'c.json'}"]) == 0
    out = capsys.readouterr().out
    assert "sums / generation: 21 items" in out
    assert "alone" not in out
    assert "0.0476 -> 0.9524" in out
    rows = json.loads((tmp_path / "c.json").read_text())
    sums = next(row for row in rows if row["task"] == "sums")
    assert sums["differences"][0]["difference"] == pytest.approx(19 / 21, abs=1e-6)
    corrected = [line for line in out.splitlines() if "Holm" in line]
    assert len(corrected) == 2
    assert main(["compare", one, two, "task=dates"]) == 0
    assert "sums" not in capsys.readouterr().out


def test_a_result_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    whole = result("rwu")
    whole.write(tmp_path / "a.json")
    assert read_result(tmp_path / "a.json") == whole


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a"], "needs two results"),
        (["a", "b", "c"], "takes two results"),
        (["a", "missing"], "neither a run folder nor a result file"),
        (["a", "empty"], "share no task"),
        (["a", "b", "task=none"], "task=none"),
        (["a", "other"], "share no item"),
        (["a", "b", "tsk=x"], "Did you mean task"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    arguments: Sequence[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        run_with(Path(name), sums=result("rw"))
    run_with(Path("other"), sums=result("rw", first=9))
    Path("empty").mkdir()
    assert main(["compare", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_loss_per_token_of_two_tokenizers_is_refused_with_the_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    items = [Item("1", {"nats": 2.0, "tokens": 1.0})]
    for name in ("a", "b"):
        one = Result({"tokenizer": name}, {"perplexity": Part([PERPLEXITY], items)})
        one.write(tmp_path / f"{name}.json")
    assert main(["compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 2
    assert "bits_per_byte" in capsys.readouterr().err
