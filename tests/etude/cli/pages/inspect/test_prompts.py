"""`etude inspect task=...` shows the prompts of `etude evaluate`, and their digest."""

import json
import re
from pathlib import Path

import pytest

from etude.cli.main import main

TINY = (
    "objective=sft", "data=arithmetic", "tokenizer=byte", "architecture.dim=16",
    "architecture.n_layers=1", "data.seq_len=64", "trainer.max_steps=1", "trainer.global_batch=2",
    "trainer.val_samples=1", "logger=[]",
)  # fmt: skip
TASK = ("task=sums", "data.n_problems=60", "max_new_tokens=2")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was fine-tuned for a step."""
    folder = tmp_path_factory.mktemp("runs") / "sft"
    assert main(["train", *TINY, f"run={folder}"]) == 0
    return folder


@pytest.mark.parametrize(
    "prompting", [(), ("prompting=few_shot", "prompting.form=turns", "prompting.n=2")]
)
def test_the_prompts_and_their_digest_are_those_of_the_result(
    prompting: tuple[str, ...], run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (f"run={run}", *TASK, *prompting)
    assert main(["evaluate", *arguments, f"out={tmp_path / 'a.json'}"]) == 0
    part = json.loads((tmp_path / "a.json").read_text())["results"]["generation"]
    capsys.readouterr()
    assert main(["inspect", *arguments, "n=2"]) == 0
    shown = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert f"digest {part['prompts'][:12]}" in shown
    items = part["items"]
    assert [item["id"][:12] in shown for item in items[:3]] == [True, True, False]
    roles = re.findall(r" (user|assistant|text): ", shown.partition("item ")[2])
    assert roles == ["user", *(["assistant", "user"] * 2 if prompting else [])] * 2
    question = items[0]["shown"]["prompt"].rpartition("user\n")[2].partition("<")[0]
    assert f"user: {question} tokens: " in shown


def test_a_page_of_prompts_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", f"run={run}", "task=sums", "html=a.html"]) == 2
    assert "the prompts of an evaluation have no page" in capsys.readouterr().err
