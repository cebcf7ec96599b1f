"""`etude generate` answers with a trained head: on a prompt, a file or standard input."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from etude.cli.main import main
from etude.formats.model import read_model
from etude.objective.head_objective import Query, read_head

TINY = (
    "tokenizer=byte", "architecture.dim=16", "architecture.n_layers=1", "data.seq_len=32",
    "trainer.max_steps=1", "trainer.global_batch=2", "trainer.val_samples=1", "logger=[]",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that answers with the vector of a text."""
    folder = tmp_path_factory.mktemp("runs") / "embed"
    assert main(["train", "objective=embed", *TINY, f"run={folder}"]) == 0
    return folder


def generate(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Returns the standard output of the command."""
    capsys.readouterr()
    assert main(["generate", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_the_vector_of_a_prompt_has_length_1_and_is_that_of_training(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vector = torch.tensor(json.loads(generate(capsys, f"run={run}", "prompt=你好, you")))
    head: Any = read_head(read_model(run))
    rows = head.sample_rows(head.collate([head._fit(["你好, you", "x"])]))
    torch.testing.assert_close(vector, torch.nn.functional.normalize(rows[0, 0], dim=-1))


def test_texts_of_a_file_and_of_standard_input_have_the_answers_of_prompts(
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    texts = [f"text {i}, 你好" for i in range(40)]
    plain = tmp_path / "texts.txt"
    plain.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    rows = tmp_path / "texts.jsonl"
    rows.write_text("".join(json.dumps({"text": t, "id": 1}) + "\n" for t in texts))
    monkeypatch.setattr("sys.stdin", io.StringIO(plain.read_text(encoding="utf-8")))
    for source in (plain, rows, "-"):
        lines = generate(capsys, f"run={run}", f"input={source}").splitlines()
        answers = [json.loads(line) for line in lines]
        assert [answer["text"] for answer in answers] == texts
        alone = torch.tensor(json.loads(generate(capsys, f"run={run}", f"prompt={texts[7]}")))
        torch.testing.assert_close(torch.tensor(answers[7]["vector"]), alone)


@pytest.mark.parametrize(
    ("arguments", "page"),
    [
        ((), "Give either prompt=<text> or input=<file of texts>."),
        (("prompt=a", "input=-"), "Give either prompt=<text> or input=<file of texts>."),
        (("prompt=a", "n=2"), "n=2 has no effect"),
        (("prompt=a", "second=b"), "reads single texts, and was given a pair of texts: 'a'"),
        (("input=absent.txt",), "input=absent.txt is not a file"),
        (("input=absent.txt", "second=b"), "second=b has no effect"),
    ],
)
def test_what_a_head_cannot_answer_is_refused(
    arguments: tuple[str, ...], page: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", f"run={run}", *arguments]) != 0
    assert page in capsys.readouterr().err


@pytest.mark.parametrize(
    ("row", "reason"),
    [({"texts": "a"}, "no field 'text'"), ({"text": ["a", 3]}, "item 2"), ({"text": 3}, "number")],
)
def test_a_row_that_is_no_query_is_named_by_its_line(
    row: dict[str, object],
    reason: str,
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"text": "fine"}) + "\n" + json.dumps(row) + "\n")
    assert main(["generate", f"run={run}", f"input={file}"]) != 0
    err = capsys.readouterr().err
    assert f"{file}:2: " in err
    assert reason in err


def test_a_head_refuses_words_that_it_does_not_read(run: Path) -> None:
    with pytest.raises(Exception, match="a list of words"):
        read_head(read_model(run)).predict([Query(("two", "words"))])
