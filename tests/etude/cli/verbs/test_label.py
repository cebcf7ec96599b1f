"""`etude label` writes preferences that objectives can train on."""

import json
from pathlib import Path
from typing import Any

import pytest
import tiny
from servers import stub_server

from etude.cli.main import main
from etude.cli.verbs.label import preference
from etude.rl.judge import Comparison

DATA = ("data=arithmetic", "data.digits=1", "data.n_problems=30", "data.seq_len=96")
OPTIONS = (*DATA, "max_new_tokens=6", "decoding.temperature=1")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that generates words."""
    return tiny.trained_run(tmp_path_factory.mktemp("label"))


def label(run: Path, out: Path, *given: str) -> list[dict[str, Any]]:
    assert main(["label", f"run={run}", f"out={out}", *OPTIONS, *given]) == 0
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def test_the_preferences_of_a_rule_based_judge_are_data_for_preference_training(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gold = ("judge=rule", "reward=length", "reward.length.target=4")
    gold += ("n_prompts=20",)
    rows = label(run, tmp_path / "new" / "a.jsonl", *gold)
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == str(tmp_path / "new" / "a.jsonl")
    assert f"written   {len(rows)}" in out
    left_out = [line for line in out.splitlines() if line.startswith("left out")]
    n_left = sum(int(line.split()[2].rstrip(":")) for line in left_out)
    assert len(rows) + n_left == 20
    assert all(abs(len(r["chosen"]) - 4) < abs(len(r["rejected"]) - 4) for r in rows)
    assert rows == label(run, tmp_path / "b.jsonl", *gold)
    assert rows != label(run, tmp_path / "b.jsonl", *gold, "seed=1")
    trained = ("objective=dpo", "data=jsonl_preferences", "data.columns.probability=probability")
    file = f"data.path={tmp_path / 'new' / 'a.jsonl'}"
    assert main(["data", *trained, file, "tokenizer=byte", "data.seq_len=48"]) == 0
    assert "bad rows" not in capsys.readouterr().out


def test_every_pair_of_completions_is_compared(run: Path, tmp_path: Path) -> None:
    gold = ("judge=rule", "reward=length", "reward.length.target=4", "n_prompts=5")
    rows = label(run, tmp_path / "a.jsonl", *gold, "n_samples=4")
    answers = {row["prompt"]: set[str]() for row in rows}
    for row in rows:
        assert abs(len(row["chosen"]) - 4) < abs(len(row["rejected"]) - 4)
        answers[row["prompt"]] |= {row["chosen"], row["rejected"]}
    assert max(map(len, answers.values())) > 2


def test_cached_replies_of_a_judge_server_are_reused(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETUDE_CACHE", str(tmp_path / "cache"))

    def prefer(request: Any) -> dict[str, Any]:
        first, second = request["messages"][0]["content"].split("|")[1:]
        return {"choices": [{"message": {"content": "A" if first > second else "B"}}]}

    with stub_server(prefer) as stub:
        given = ("judge=openai", f"judge.url={stub.url}", "judge.model=m", "n_prompts=10")
        given += ("judge.question={prompt}|{first}|{second}",)
        few = label(run, tmp_path / "a", *given, "judge.max_calls=6", "judge.parallel=1")
        rows = label(run, tmp_path / "a", *given)
        assert rows[: len(few)] == few
        assert len(few) == 3 < len(rows)
        assert stub.n_requests == 2 * len(rows)
        assert all(row["chosen"] > row["rejected"] for row in rows)


def test_the_preferred_completion_comes_first() -> None:
    pair = Comparison("p", "a", "b")
    assert preference(pair, 0.8)["chosen"] == "a" != preference(pair, 0.3)["chosen"]
    assert preference(pair, 0.3)["probability"] == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (("judge=rule",), "compares rewards, but no reward is chosen"),
        (("judge=run", "judge.run=x", "reward=numeric"), "does not use a reward"),
        (("reward=numeric", "data=docs_pairs"), "contains no prompts"),
        (("reward=numeric", "min_probability=1.5"), "min_probability must be in"),
        (("reward=numeric", "max_new_tokens=96"), "max_new_tokens must be below data.seq_len"),
        (("reward=numeric", "judge=nobody"), "nobody"),
        (("-m", "seed=0,1"), "takes one experiment"),
    ],
)
def test_incompatible_arguments_are_refused(
    given: tuple[str, ...], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = () if "data=docs_pairs" in given else DATA
    assert main(["label", f"run={tmp_path}", f"out={tmp_path / 'out'}", *data, *given]) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
