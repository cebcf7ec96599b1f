"""`etude dialogue` generates conversations for training with two runs."""

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
    """A run that was trained on conversations of a few letters."""
    folder = tmp_path_factory.mktemp("chats")
    config = tiny.experiment(
        "sft",
        folder,
        architecture=tiny.stack(position="rope", n_layers=1),
        trainer={"max_steps": 30, "precision": "32", "val_samples": 1},
    )
    config = replace(config, optimizer=tiny.part("optimizer", "adamw", lr=0.05))
    start(replace(config, run=str(folder / "run")), "tiny", [])
    return folder / "run"


def dialogue(run: Path, out: Path, *overrides: str) -> list[list[dict[str, Any]]]:
    arguments = ("dialogue", f"run={run}", f"user={run}", f"out={out}", *DATA, "max_new_tokens=8")
    assert main([*arguments, *overrides]) == 0
    lines = out.read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["messages"] for line in lines]


@pytest.mark.slow
def test_user_and_assistant_take_turns_from_a_prompt_of_the_data(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = ("data.seq_len=300", "turns=2", "opening_prompt=Ask me: what, then?")
    chats = dialogue(run, tmp_path / "a", *overrides)
    for chat in chats:
        roles = [message["role"] for message in chat]
        assert roles == ["user", "assistant"] * (len(chat) // 2)
        assert chat[0]["content"].endswith("=")
        assert all(message["content"] for message in chat)
    assert max(map(len, chats)) == 4
    assert chats == dialogue(run, tmp_path / "b", *overrides)
    alone = dialogue(run, tmp_path / "c", "data.seq_len=300", "turns=1")
    assert [chat[:2] for chat in chats] == alone
    short = dialogue(run, tmp_path / "d", "data.seq_len=64", "turns=9")
    assert all(2 <= len(chat) < 18 for chat in short)
    capsys.readouterr()
    training = ("objective=sft", "data=jsonl_chats", f"data.path={tmp_path / 'a'}")
    assert main(["data", *training, "tokenizer=byte"]) == 0
    assert "bad rows" not in capsys.readouterr().out


def test_the_user_model_sees_the_roles_swapped() -> None:
    message = Message("user", "why?")
    assert swap_roles(message) == Message("assistant", "why?")
    assert swap_roles(swap_roles(message)) == message


@pytest.mark.slow
def test_a_model_that_was_not_trained_on_conversations_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tiny.trained_run(tmp_path)
    arguments = (f"run={run}", f"user={base}", f"out={tmp_path / 'out'}", *DATA)
    assert main(["dialogue", *arguments]) == 2
    assert f"user={base} was not trained on conversations" in capsys.readouterr().err
    assert main(["dialogue", *arguments, "turns=0"]) == 2
    assert "turns must be at least 1" in capsys.readouterr().err
