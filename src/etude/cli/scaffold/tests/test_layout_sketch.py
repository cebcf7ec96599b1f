import json
from pathlib import Path

from etude.cli.main import main

PARTS = [
    "block=prenorm", "mixer=attention", "mlp=relu", "norm=layernorm", "position=learned",
]  # fmt: skip


def test_a_run_is_exported_in_this_format_and_read_again(tmp_path: Path) -> None:
    small = ["debug=fast", "trainer.max_steps=2", "data.seq_len=32"]
    chosen = ["architecture=decoder_only", *(f"architecture/{part}" for part in PARTS)]
    biases = ["architecture.mixer.qkv_bias=true", "architecture.mixer.out_bias=true"]
    first, second = f"{tmp_path}/first", f"{tmp_path}/second"
    assert main(["train", *chosen, *biases, *small, "tokenizer=byte", f"run={first}"]) == 0
    fields = json.loads(Path(first, "model/config.json").read_text(encoding="utf-8"))
    assert fields["model_type"] == "sketch"
    assert main(["train", f"init_from={first}/model", *small, f"run={second}"]) == 0
