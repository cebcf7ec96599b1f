from pathlib import Path

from etude.cli.main import main
from etude.data.rendering import render
from etude.plugins.template.sketch import LITERALS, TEMPLATE


def test_it_writes_role_and_content_of_each_message() -> None:
    messages = [{"role": "user", "content": "Hi"}]
    text = render(TEMPLATE.replace("MARK", ": "), messages, LITERALS, before_answer=True)
    assert text == "<turn_start>user: Hi<turn_end>\n<turn_start>assistant: "


def test_it_trains(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=2", "tokenizer=byte", "data.seq_len=128"]
    chosen = ["objective=sft", "template=sketch"]
    assert main(["train", *chosen, *small, f"run={tmp_path / 'run'}"]) == 0
