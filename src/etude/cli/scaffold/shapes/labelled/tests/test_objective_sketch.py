import json
from pathlib import Path

import pytest

from etude.cli.main import main
from etude.plugins.objective.sketch import SketchConfig


def test_one_label_is_rejected() -> None:
    with pytest.raises(ValueError, match="labels must be at least two"):
        SketchConfig(labels=["yes"])


def test_it_learns_to_tell_two_words_apart(tmp_path: Path) -> None:
    words = {"yes": "sun", "no": "rain"}
    rows = [{"text": f"{n} {words[label]}", "label": label} for n in range(40) for label in words]
    data = tmp_path / "labels.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    small = ["debug=fast", "trainer.max_steps=40", "tokenizer=byte", "data.seq_len=32"]
    own = ["objective=sketch", "optimizer.lr=1e-2", "trainer.global_batch=16", f"data.path={data}"]
    assert main(["train", *own, *small, f"run={tmp_path / 'run'}"]) == 0
    *_, last = (tmp_path / "run/steps.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(last)["accuracy"] > 0.9


def test_another_label_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "labels.jsonl"
    rows = ["".join(f'{{"text": "{n}", "label": "maybe"}}\n' for n in range(40))]
    data.write_text("".join(rows), encoding="utf-8")
    small = ["debug=fast", "trainer.max_steps=2", "tokenizer=byte", "data.seq_len=32"]
    own = ["objective=sketch", f"data.path={data}", f"run={tmp_path / 'run'}"]
    assert main(["train", *own, *small]) == 3
    assert "the label 'maybe' is not one of" in capsys.readouterr().err
