from pathlib import Path

import pytest

from etude import Pair
from etude.cli.main import main
from etude.data import BadFieldError, Row
from etude.plugins.data.record.sketch import Sketch, SketchColumns, SketchConfig


def test_the_fields_of_the_column_map_become_a_pair() -> None:
    sketch = Sketch(SketchConfig(), SketchColumns(question="title"))
    assert sketch.record(Row("a:1", {"title": "a", "answer": "b"})) == Pair("a", "b")
    with pytest.raises(BadFieldError, match="no field 'answer'"):
        sketch.record(Row("a:2", {"title": "a"}))


def test_it_trains(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    rows = [f'{{"question": "What is {i}?", "answer": "{i}"}}' for i in range(20)]
    file.write_text("\n".join(rows), encoding="utf-8")
    small = ["debug=fast", "trainer.max_steps=2", "tokenizer=byte", "data.seq_len=64"]
    chosen = ["objective=sft", "data=jsonl", "data/record=sketch", f"data.path={file}"]
    assert main(["train", *chosen, *small, f"run={tmp_path / 'run'}"]) == 0
