from pathlib import Path

from etude.cli.main import main
from etude.plugins.data.sketch import Sketch, SketchConfig


def test_documents_count_up_and_their_order_is_fixed() -> None:
    first, second = (list(Sketch(SketchConfig(n_documents=20)).records()) for _ in range(2))
    assert first == second
    assert len({record.text for record in first}) == 20
    numbers = list(map(int, first[0].text.split()))
    assert numbers == list(range(numbers[0], numbers[-1] + 1))


def test_it_trains(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=2", "tokenizer=byte", "data.seq_len=32"]
    assert main(["train", "data=sketch", *small, f"run={tmp_path / 'run'}"]) == 0
