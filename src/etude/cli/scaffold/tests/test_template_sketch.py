from pathlib import Path

from etude.cli.main import main
from etude.data.chat_template import render
from etude.plugins.template.sketch import LITERALS, TEMPLATE


def test_writes_who_speaks_and_what_is_said() -> None:
    said = [{"role": "user", "content": "Hi"}]
    found = render(TEMPLATE.replace("MARK", ": "), said, LITERALS, before_answer=True)
    assert found == "<turn_start>user: Hi<turn_end>\n<turn_start>assistant: "


def test_it_trains(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=2", "tokenizer=byte", "data.seq_len=128"]
    chosen = ["objective=sft", "template=sketch"]
    assert main(["train", *chosen, *small, f"run={tmp_path / 'run'}"]) == 0
