"""`etude best-of`: the best of several answers, or all that are good enough."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import tiny

from etude.cli.main import main
from etude.cli.verbs.best_of import best
from etude.experiments.curation import Answered
from etude.records import Prompt

TEXTS = ["bb", "a", "bb", "dddd", "cccc", "eeeeee", "", "ff"]
SIX = Answered(Prompt("?", "x"), TEXTS, [True] * 5 + [False, True, True])


def lengths(
    prompts: Sequence[str], completions: Sequence[str], references: Sequence[str | None]
) -> list[float]:
    """As long as it is; of f there is no verdict."""
    return [math.nan if "f" in text else float(len(text)) for text in completions]


def test_the_best_come_first_once_each_and_what_was_cut_empty_or_unjudged_never() -> None:
    def chosen(n: int, at_least: float | None) -> list[str]:
        return [row["target"] for row in best(lengths, SIX, n, at_least)]

    assert chosen(1, None) == ["dddd"]
    assert chosen(8, None) == ["dddd", "cccc", "bb", "a"]
    assert chosen(8, 2.0) == ["dddd", "cccc", "bb"]
    assert chosen(8, 9.0) == []
    assert list(best(lengths, SIX, 1, None)) == [{"source": "?", "target": "dddd", "reward": 4.0}]


@pytest.mark.slow
def test_a_run_writes_its_best_answers_as_pairs_to_learn_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tiny.writer(tmp_path)
    data = ("data=arithmetic", "data.digits=1", "data.n_problems=30", "data.seq_len=48")
    asked = ("max_new_tokens=30", "n_samples=4", "reward=length", "reward.length.target=8")
    out = tmp_path / "a.jsonl"
    assert main(["best-of", f"run={run}", f"out={out}", *data, *asked]) == 0
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert all(row["reward"] == -min(1, abs(len(row["target"]) - 8) / 8) for row in rows)
    assert len({row["source"] for row in rows}) == len(rows) > 2
    given = ["objective=sft", "data=jsonl_pairs", f"data.path={out}", "tokenizer=byte"]
    assert main(["data", *given]) == 0
    strict = ("min_reward=1", f"run={run}", f"out={tmp_path / 'none'}")
    assert main(["best-of", *strict, *data, *asked]) == 3
    assert "Nothing is left" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ((), "goes by a reward, and none is chosen"),
        (("reward=numeric", "keep_top=9"), "keep_top must be 1 to n_samples, got 9 of 8"),
        (("reward=numeric", "generation_batch=0"), "generation_batch must be at least 1"),
    ],
)
def test_what_does_not_fit_is_refused(
    given: tuple[str, ...], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["best-of", f"run={tmp_path}", f"out={tmp_path / 'out'}", *given]) == 2
    assert reason in capsys.readouterr().err
