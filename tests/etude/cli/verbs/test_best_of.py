"""`etude best-of` writes the completions with the highest reward, or all above a minimum."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
from defaults import default
from row_files import rows_of

from etude.cli.main import main
from etude.cli.verbs.best_of import best
from etude.experiments.curation import SampledPrompt
from etude.records import Chat, Message, Prompt, Unused

TEXTS = ["bb", "a", "bb", "dddd", "cccc", "eeeeee", "", "ff"]
SIX = SampledPrompt(Prompt("?", "x"), TEXTS, [True] * 5 + [False, True, True])


def lengths(
    prompts: Sequence[str], completions: Sequence[str], references: Sequence[str | None]
) -> list[float]:
    """The length of each completion; NaN for one that contains f."""
    return [math.nan if "f" in text else float(len(text)) for text in completions]


def test_completions_are_ranked_without_duplicates_truncated_empty_or_unscored_ones() -> None:
    def targets(n: int, min_reward: float | None) -> list[str]:
        return [row["target"] for row in best(lengths, SIX, n, min_reward)]

    assert targets(1, None) == ["dddd"]
    assert targets(8, None) == ["dddd", "cccc", "bb", "a"]
    assert targets(8, 2.0) == ["dddd", "cccc", "bb"]
    assert targets(8, 9.0) == []
    assert list(best(lengths, SIX, 1, None)) == [{"source": "?", "target": "dddd", "reward": 4.0}]


def test_the_best_completion_of_a_conversation_is_a_row_of_chats(tmp_path: Path) -> None:
    chat = Chat((Message("system", "s"), Message("user", "a")), ({"name": "add"},))
    (row,) = best(lengths, SampledPrompt(Prompt(chat), ["b", "cc"], [True, True]), 1, None)
    file = tmp_path / "best.jsonl"
    file.write_text(json.dumps(row) + "\n")
    record, unused = rows_of(default("data/jsonl_chats", path=str(file)))
    assert record == replace(chat, messages=(*without_learning(chat), Message("assistant", "cc")))
    assert unused == Unused("field 'reward'")


def without_learning(chat: Chat) -> list[Message]:
    return [replace(message, learn=False) for message in chat.messages]


@pytest.mark.slow
def test_the_best_completions_are_written_as_pairs_for_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tiny.trained_run(tmp_path)
    data = ("data=arithmetic", "data.digits=1", "data.n_problems=30", "data.seq_len=48")
    options = ("max_new_tokens=30", "n_samples=4", "reward=length", "reward.length.target=8")
    out = tmp_path / "a.jsonl"
    assert main(["best-of", f"run={run}", f"out={out}", *data, *options]) == 0
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert all(row["reward"] == -min(1, abs(len(row["target"]) - 8) / 8) for row in rows)
    assert len({row["source"] for row in rows}) == len(rows) > 2
    use = ["objective=sft", "data=jsonl_pairs", f"data.path={out}", "tokenizer=byte"]
    assert main(["data", *use]) == 0
    short = ("data.seq_len=35", f"out={tmp_path / 'b.jsonl'}")
    capsys.readouterr()
    assert main(["best-of", f"run={run}", *data, *options, *short]) == 0
    assert "prompts cut to fit data.seq_len" in capsys.readouterr().out
    strict = ("min_reward=1", f"run={run}", f"out={tmp_path / 'none'}")
    assert main(["best-of", *strict, *data, *options]) == 3
    assert "no rows are left" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_examples_are_read_but_not_written_and_end_a_completion(tmp_path: Path) -> None:
    run = tiny.trained_run(tmp_path)
    data = ("data=arithmetic", "data.digits=1", "data.n_problems=30", "data.seq_len=99")
    options = ("max_new_tokens=30", "n_samples=4", "reward=length", "reward.length.target=8")
    few = ("prompting=few_shot", "prompting.n=1", "prompting.layout={question}{answer}e")
    rows = []
    for name, prompting in (("zero", ()), ("few", few)):
        out = tmp_path / name
        assert main(["best-of", f"run={run}", f"out={out}", *data, *options, *prompting]) == 0
        rows.append([json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()])
    zero_shot, few_shot = rows
    assert all(len(row["source"]) == len("1 + 1 =") for row in few_shot)
    assert not any("e" in row["target"] for row in few_shot)
    assert any("e" in row["target"] for row in zero_shot)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "ranks completions by a reward, but no reward is chosen"),
        (("reward=numeric", "keep_top=9"), "keep_top must be from 1 to n_samples=8, got 9"),
        (("reward=numeric", "generation_batch=0"), "generation_batch must be at least 1"),
        (("reward=numeric", "prompting=self_consistency"), "a reward or a judge selects them"),
    ],
)
def test_incompatible_arguments_are_refused(
    arguments: tuple[str, ...], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["best-of", f"run={tmp_path}", f"out={tmp_path / 'out'}", *arguments]) == 2
    assert reason in capsys.readouterr().err
