"""`etude dialogue`: two runs make conversations to learn from."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny

from etude.cli.main import main
from etude.cli.verbs.dialogue import swap_roles
from etude.records import Message
from etude.training.run import start

DATA = ("data=arithmetic", "data.digits=1", "data.n_problems=12", "n_prompts=5")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was taught conversations of a few letters."""
    folder = tmp_path_factory.mktemp("talks")
    config = tiny.experiment(
        "sft",
        folder,
        architecture=tiny.stack(position="rope", n_layers=1),
        trainer={"max_steps": 30, "precision": "32", "val_samples": 1},
    )
    config = replace(config, optimizer=tiny.part("optimizer", "adamw", lr=0.05))
    start(replace(config, run=str(folder / "run")), "tiny", [])
    return folder / "run"


def converse(run: Path, out: Path, *given: str) -> list[list[dict[str, Any]]]:
    asked = ("dialogue", f"run={run}", f"user={run}", f"out={out}", *DATA, "max_new_tokens=8")
    assert main([*asked, *given]) == 0
    lines = out.read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["messages"] for line in lines]


@pytest.mark.slow
def test_user_and_assistant_take_turns_from_a_prompt_of_the_data(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("data.seq_len=300", "turns=2", "opening_prompt=Ask me: what, then?")
    talks = converse(run, tmp_path / "a", *given)
    for talk in talks:
        roles = [message["role"] for message in talk]
        assert roles == ["user", "assistant"] * (len(talk) // 2)
        assert talk[0]["content"].endswith("=")
        assert all(message["content"] for message in talk)
    assert max(map(len, talks)) == 4
    assert talks == converse(run, tmp_path / "b", *given)
    alone = converse(run, tmp_path / "c", "data.seq_len=300", "turns=1")
    assert [talk[:2] for talk in talks] == alone
    short = converse(run, tmp_path / "d", "data.seq_len=64", "turns=9")
    assert all(2 <= len(talk) < 18 for talk in short)
    capsys.readouterr()
    learned = ("objective=sft", "data=jsonl_chats", f"data.path={tmp_path / 'a'}")
    assert main(["data", *learned, "tokenizer=byte"]) == 0
    assert "bad rows" not in capsys.readouterr().out


def test_who_plays_the_user_sees_the_roles_exchanged() -> None:
    message = Message("user", "why?")
    assert swap_roles(message) == Message("assistant", "why?")
    assert swap_roles(swap_roles(message)) == message


@pytest.mark.slow
def test_who_was_not_taught_conversations_cannot_hold_one(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = tiny.writer(tmp_path)
    asked = (f"run={run}", f"user={writer}", f"out={tmp_path / 'out'}", *DATA)
    assert main(["dialogue", *asked]) == 2
    assert f"user={writer} was not taught conversations" in capsys.readouterr().err
    assert main(["dialogue", *asked, "turns=0"]) == 2
    assert "turns must be at least 1" in capsys.readouterr().err
