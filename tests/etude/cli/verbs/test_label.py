"""`etude label` and the data it makes, through the real command."""

import json
from pathlib import Path
from typing import Any

import pytest
import tiny
from servers import listening

from etude.cli.main import main
from etude.cli.verbs.label import preference
from etude.rl.judge import Comparison

DATA = ("data=arithmetic", "data.digits=1", "data.n_problems=30", "data.seq_len=96")
ASKED = (*DATA, "max_new_tokens=6", "decoding.temperature=1")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that writes words."""
    return tiny.writer(tmp_path_factory.mktemp("label"))


def label(run: Path, out: Path, *given: str) -> list[dict[str, Any]]:
    assert main(["label", f"run={run}", f"out={out}", *ASKED, *given]) == 0
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def test_what_a_gold_judge_prefers_is_data_for_preference_learning(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gold = ("judge=rule", "reward=length", "reward.length.target=4")
    gold += ("n_prompts=20",)
    rows = label(run, tmp_path / "new" / "a.jsonl", *gold)
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == str(tmp_path / "new" / "a.jsonl")
    assert f"written   {len(rows)}" in said
    left = [line for line in said.splitlines() if line.startswith("left out")]
    n_left = sum(int(line.split()[2].rstrip(":")) for line in left)
    assert len(rows) + n_left == 20
    assert all(abs(len(r["chosen"]) - 4) < abs(len(r["rejected"]) - 4) for r in rows)
    assert rows == label(run, tmp_path / "b.jsonl", *gold)
    assert rows != label(run, tmp_path / "b.jsonl", *gold, "seed=1")
    trained = ("objective=dpo", "data=jsonl_preferences", "data.probability_column=probability")
    file = f"data.path={tmp_path / 'new' / 'a.jsonl'}"
    assert main(["data", *trained, file, "tokenizer=byte", "data.seq_len=48"]) == 0
    assert "bad rows" not in capsys.readouterr().out


def test_every_two_of_more_answers_are_compared(run: Path, tmp_path: Path) -> None:
    gold = ("judge=rule", "reward=length", "reward.length.target=4", "n_prompts=5")
    rows = label(run, tmp_path / "a.jsonl", *gold, "n_samples=4")
    answers = {row["prompt"]: set[str]() for row in rows}
    for row in rows:
        assert abs(len(row["chosen"]) - 4) < abs(len(row["rejected"]) - 4)
        answers[row["prompt"]] |= {row["chosen"], row["rejected"]}
    assert max(map(len, answers.values())) > 2


def test_a_judge_behind_a_server_is_resumed_from_what_it_said(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETUDE_CACHE", str(tmp_path / "cache"))

    def likes(asked: Any) -> dict[str, Any]:
        first, second = asked["messages"][0]["content"].split("|")[1:]
        return {"choices": [{"message": {"content": "A" if first > second else "B"}}]}

    with listening(likes) as stub:
        given = ("judge=openai", f"judge.url={stub.url}", "judge.model=m", "n_prompts=10")
        given += ("judge.question={prompt}|{first}|{second}",)
        few = label(run, tmp_path / "a", *given, "judge.max_calls=6", "judge.parallel=1")
        rows = label(run, tmp_path / "a", *given)
        assert rows[: len(few)] == few
        assert len(few) == 3 < len(rows)
        assert stub.n_asked == 2 * len(rows)
        assert all(row["chosen"] > row["rejected"] for row in rows)


def test_the_likelier_answer_comes_first() -> None:
    pair = Comparison("p", "a", "b")
    assert preference(pair, 0.8)["chosen"] == "a" != preference(pair, 0.3)["chosen"]
    assert preference(pair, 0.3)["probability"] == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (("judge=rule",), "goes by a reward, and none is chosen"),
        (("judge=run", "judge.run=x", "reward=numeric"), "looks at no reward"),
        (("reward=numeric", "data=docs_pairs"), "holds no prompts to answer"),
        (("reward=numeric", "min_probability=1.5"), "min_probability must be in"),
        (("reward=numeric", "max_new_tokens=96"), "max_new_tokens must be below data.seq_len"),
        (("reward=numeric", "judge=nobody"), "nobody"),
        (("-m", "seed=0,1"), "looks at one experiment"),
    ],
)
def test_what_does_not_fit_is_refused(
    given: tuple[str, ...], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = () if "data=docs_pairs" in given else DATA
    assert main(["label", f"run={tmp_path}", f"out={tmp_path / 'out'}", *data, *given]) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
