"""Records seeded loss curves of every kind of training, to test that a change is bit-identical.

python bench/curves.py record FILE     trains each kind for 20 steps in fp64 and writes the losses
python bench/curves.py compare FILE    trains them again; exits with 1 if any bit differs

Takes about three minutes on two cores. Losses depend on the machine, on torch and on the standard
library's text, so record and compare in the same environment.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

N_STEPS = 20
TINY = (
    "architecture.dim=32", "architecture.n_layers=2", "architecture.n_heads=4",
    "trainer.precision=64", "trainer.global_batch=8", "trainer.micro_batch=4",
    "trainer.val_samples=8", "trainer.accelerator=cpu", "logger=[]",
)  # fmt: skip
TEXT = ("data.seq_len=64", "tokenizer.vocab_size=512")
BASE = ("init_from=base", "data.seq_len=96")
ROLLOUT = (
    "data=arithmetic", "init_from=base", "data.seq_len=48", "objective.max_new_tokens=8",
    "reward=length", "reward.length.target=20",
)  # fmt: skip
CURVES: dict[str, tuple[str, ...]] = {
    "base": ("objective=clm", *TEXT),
    "mlm": ("objective=mlm", "architecture=bert", *TEXT),
    "seq2seq": ("objective=seq2seq", "architecture=t5", *TEXT),
    "sft_lora": ("objective=sft", "adapter=lora", "data=docs_chat", *BASE),
    "reward": ("objective=reward", "data=docs_preferences", *BASE),
    "dpo": ("objective=dpo", "data=docs_preferences", *BASE),
    "kto": ("objective=kto", "data=docs_preferences", *BASE),
    "grpo": ("objective=grpo", "objective.group_size=4", "objective.beta=0.04", *ROLLOUT),
    "ppo": ("objective=ppo", "objective.beta=0.04", *ROLLOUT),
    "ddp": ("objective=clm", *TEXT, "strategy=ddp", "trainer.devices=2", "trainer.micro_batch=2"),
    "resumed": ("objective=clm", *TEXT, "schedule=constant"),
}
"""Overrides of each run. `base` is trained first, because others start from it."""
NUMBERS = ("loss", "grad_norm", "lr", "val/loss")


def main() -> int:
    verb = sys.argv[1]
    file = Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        curves = {name: curve(name, Path(folder)) for name in CURVES}
    if verb == "record":
        file.write_text(json.dumps(curves, indent=1) + "\n", encoding="utf-8")
        return 0
    before = json.loads(file.read_text(encoding="utf-8"))
    different = [name for name in CURVES if before[name] != curves[name]]
    for name in CURVES:
        print(f"{name:<10} {'DIFFERENT' if name in different else 'bit-identical'}")
    return 1 if different else 0


def curve(name: str, folder: Path) -> list[dict[str, Any]]:
    """The metrics of each step of a run; `resumed` is trained half-way and then resumed."""
    lengths = [N_STEPS // 2, N_STEPS] if name == "resumed" else [N_STEPS]
    for steps in lengths:
        overrides = [*TINY, *CURVES[name], f"run={name}", f"trainer.max_steps={steps}"]
        command = [sys.executable, "-m", "etude", "train", *overrides]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        if process.returncode:
            sys.exit(f"{name} failed with exit code {process.returncode}:\n{process.stderr}")
    lines = map(json.loads, (folder / name / "steps.jsonl").read_text().splitlines())
    return [{key: line[key] for key in NUMBERS if key in line} for line in lines]


if __name__ == "__main__":
    sys.exit(main())
