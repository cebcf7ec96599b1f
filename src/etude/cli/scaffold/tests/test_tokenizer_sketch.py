from pathlib import Path

from etude.cli.main import main
from etude.plugins.tokenizer.sketch import Sketch, SketchConfig


def test_every_known_character_is_a_token_and_others_are_unknown() -> None:
    made = Sketch(SketchConfig(min_count=2)).build(lambda: iter(["abba c"]))
    ids = made.encode("abc").tolist()
    assert ids[2] == made.vocab.unk
    assert made.decode(made.encode("baab").tolist()) == "baab"
    assert made.vocab.size == max(ids) + 1


def test_it_trains(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=2", "data.seq_len=32"]
    assert main(["train", "tokenizer=sketch", *small, f"run={tmp_path / 'run'}"]) == 0
