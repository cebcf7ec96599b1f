from pathlib import Path

import torch
from torch import nn

from etude.cli.main import main
from etude.plugins.adapter.sketch import Sketch


def test_starts_as_the_base_and_is_it_when_switched_off() -> None:
    base = nn.Linear(4, 4)
    x = torch.randn(3, 4)
    made = Sketch(base, 4)
    assert torch.equal(made(x), base(x))
    nn.init.ones_(made.shift)
    torch.testing.assert_close(made(x), base(x) + 1)
    made.on = False
    assert torch.equal(made(x), base(x))


def test_it_trains(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=2", "data.seq_len=32"]
    base = ["architecture=gpt2", "tokenizer=byte", f"run={tmp_path / 'base'}"]
    assert main(["train", *small, *base]) == 0
    rest = [f"init_from={tmp_path / 'base'}", "adapter=sketch", f"run={tmp_path / 'run'}"]
    plain = ["logger=[]", "trainer.max_steps=2", "trainer.global_batch=4", "data.seq_len=32"]
    assert main(["train", *plain, "trainer.val_samples=4", *rest]) == 0
