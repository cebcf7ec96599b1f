from pathlib import Path

import torch
from torch import nn

from etude.cli.main import main
from etude.plugins.adapter.sketch import Sketch


def test_it_equals_the_base_at_initialization_and_when_disabled() -> None:
    base = nn.Linear(4, 4)
    x = torch.randn(3, 4)
    layer = Sketch(base, 4)
    assert torch.equal(layer(x), base(x))
    nn.init.ones_(layer.shift)
    torch.testing.assert_close(layer(x), base(x) + 1)
    layer.on = False
    assert torch.equal(layer(x), base(x))


def test_it_trains(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=2", "data.seq_len=32"]
    base = ["architecture=gpt2", "tokenizer=byte", f"run={tmp_path / 'base'}"]
    assert main(["train", *small, *base]) == 0
    rest = [f"init_from={tmp_path / 'base'}", "adapter=sketch", f"run={tmp_path / 'run'}"]
    plain = ["logger=[]", "trainer.max_steps=2", "trainer.global_batch=4", "data.seq_len=32"]
    assert main(["train", *plain, "trainer.val_samples=4", *rest]) == 0
