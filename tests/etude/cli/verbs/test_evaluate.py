"""`etude evaluate` writes a result that no batch size or order changes, and refuses misfits."""

import json
from pathlib import Path
from typing import Any

import pytest
import tiny

from etude.cli.main import main
from etude.config.schema.evaluation import EvaluationConfig, Split
from etude.evaluation.evaluate import split_of
from etude.evaluation.result import read_result
from etude.formats.model import read_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder and an encoder, trained for a few steps on short lines, and rows of questions."""
    place = tmp_path_factory.mktemp("evaluate")
    tiny.trained_run(place)
    for name in ("clm", "mlm"):
        config = tiny.experiment(name, place, trainer={"max_steps": 1, "val_samples": 1})
        tiny.start(tiny.replace(config, run=str(place / name)), "tiny", [])
    rows = [{"prompt": f"{i}+{i}=", "answer": str(2 * i)} for i in range(20)]
    (place / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    (place / "reversed.jsonl").write_text("\n".join(map(json.dumps, rows[::-1])) + "\n")
    return place


def evaluate(folder: Path, *arguments: str) -> Path:
    """The result file of an evaluation of the questions."""
    out = folder / f"{len(list(folder.iterdir()))}.json"
    base = (f"run={folder / 'writer'}", "max_new_tokens=6", f"out={out}")
    assert main(["evaluate", *base, *arguments]) == 0
    return out


def questions(folder: Path, name: str = "rows") -> tuple[str, ...]:
    return ("evaluator=generation", "data=jsonl_prompts", f"data.path={folder / name}.jsonl")


def body(file: Path) -> str:
    """The text of the results, without what was asked."""
    return file.read_text(encoding="utf-8").partition('"results"')[2]


def test_the_result_is_equal_to_the_bit_for_any_batch_size_and_order(folder: Path) -> None:
    base = evaluate(folder, *questions(folder), "decoding=sample")
    for arguments in (("batch_size=1",), ("batch_size=7",)):
        again = evaluate(folder, *questions(folder), "decoding=sample", *arguments)
        assert again.read_bytes() == base.read_bytes()
    again = evaluate(folder, *questions(folder, "reversed"), "decoding=sample")
    assert body(again) == body(base)
    other = evaluate(folder, *questions(folder), "decoding=sample", "seed=1")
    assert body(other) != body(base)


def test_the_result_says_what_was_asked_and_is_read_back(folder: Path) -> None:
    file = evaluate(folder, *questions(folder), "n_items=5", "scorer.ignore_case=true")
    result = read_result(file)
    assert result.asked["n_items"] == 5
    assert result.asked["scorer"] == {
        "plugin": "scorer/exact", "pattern": None, "ignore_case": True,
    }  # fmt: skip
    assert len(result.asked["model"]) == len(result.asked["data"]["digest"]) == 64
    assert len(result.parts["generation"].items) == 5
    assert result.text() == file.read_text(encoding="utf-8")


def test_fewer_items_are_some_of_the_items(folder: Path) -> None:
    every, few = (
        read_result(evaluate(folder, *questions(folder), *n)).parts["generation"].items
        for n in ((), ("n_items=5",))
    )
    assert few == every[:5]


def test_the_default_place_is_the_run_and_several_evaluators_share_a_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = folder / "writer"
    arguments = ["evaluator=[perplexity,bits_per_byte]", "data=text", "data.seq_len=16"]
    lines = f"data.path={folder / 'lines.txt'}"
    assert main(["evaluate", f"run={run}", *arguments, lines, "data.document=line"]) == 0
    file = run / "evaluations/perplexity+bits_per_byte.json"
    assert capsys.readouterr().out.splitlines()[-1] == str(file)
    assert read_result(file).parts.keys() == {"perplexity", "bits_per_byte"}


REFUSALS = [
    ("run={}/writer data=text data.path={}/lines.txt", "no evaluator is chosen"),
    (
        "run={}/mlm evaluator=perplexity data=text data.path={}/lines.txt",
        "It needs NEXT_TOKEN (the logits at t do not depend on tokens after t).",
    ),
    ("run={}/mlm evaluator=generation data=arithmetic", "It needs GENERATE"),
    (
        "run={}/writer evaluator=generation data=text data.path={}/lines.txt",
        "It reads Prompt; this data yields Text.",
    ),
    (
        "run={}/clm evaluator=perplexity data=text data.path={}/lines.txt data.seq_len=2000",
        "Use data.seq_len=1024",
    ),
    ("run={}/writer task=nothing", "task=nothing does not exist."),
    ("run={}/writer evaluator=perplexty", "Did you mean evaluator=perplexity?"),
    ("run={}/nowhere evaluator=generation data=arithmetic", "contains no model"),
    ("evaluator=generation data=arithmetic", "run"),
]


@pytest.mark.parametrize(("line", "message"), REFUSALS)
def test_what_does_not_fit_together_is_refused_and_nothing_is_written(
    folder: Path, line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(folder.rglob("*"))
    assert main(["evaluate", *line.replace("{}", str(folder)).split()]) == 2
    assert message in capsys.readouterr().err
    assert sorted(folder.rglob("*")) == before


def config_of(folder: Path, path: str) -> Any:
    return EvaluationConfig(run=str(folder / "writer"), data=tiny.part("data", "text", path=path))


def test_the_data_of_the_run_is_evaluated_on_its_held_out_part(folder: Path) -> None:
    model = read_model(folder / "writer")
    assert split_of(config_of(folder, str(folder / "lines.txt")), model) is Split.validation
    assert split_of(config_of(folder, "other.txt"), model) is Split.all
