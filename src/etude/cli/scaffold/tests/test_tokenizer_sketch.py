from pathlib import Path

from etude.cli.main import main
from etude.plugins.tokenizer.sketch import Sketch, SketchConfig


def test_frequent_characters_have_tokens_and_rare_ones_are_unknown() -> None:
    tokenizer = Sketch(SketchConfig(min_count=2)).build(lambda: iter(["abba c"]))
    ids = tokenizer.encode("abc").tolist()
    assert ids[2] == tokenizer.vocab.unk
    assert tokenizer.decode(tokenizer.encode("baab").tolist()) == "baab"
    assert tokenizer.vocab.size == max(ids) + 1


def test_it_trains(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=2", "data.seq_len=32"]
    assert main(["train", "tokenizer=sketch", *small, f"run={tmp_path / 'run'}"]) == 0
