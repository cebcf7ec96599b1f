from pathlib import Path

import pytest

from etude import Text
from etude.cli.main import main
from etude.data import Drop
from etude.plugins.filter.sketch import Sketch, SketchConfig


def test_a_record_with_few_distinct_characters_is_dropped() -> None:
    made = Sketch(SketchConfig(min_characters=3))
    assert made.decide(Text("abc")) is None
    assert made.decide(Text("----- -----")) == Drop("few characters", 2, 3)


def test_the_data_card_counts_what_was_dropped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "lines.txt"
    file.write_text("one line of text\n-----\nanother line\na third line\n")
    source = ["data=text", f"data.path={file}", "data.document=line", "tokenizer=byte"]
    assert main(["data", *source, "filter=[sketch]"]) == 0
    assert "4 records read, 3 kept" in capsys.readouterr().out
