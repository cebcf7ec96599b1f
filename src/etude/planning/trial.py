"""Runs a few real steps in a separate process, which records its peak memory at the end."""

import json
import sys
from pathlib import Path

import torch

from etude.files.atomic import write_atomic
from etude.planning.forecast import process
from etude.training import run

FILE = "held.json"


def main() -> None:
    """Trains the run in the folder argument, and writes its peak memory to the folder."""
    before = process()
    run.main()
    on_device = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    held = {"before": before, "process": process(), "device": on_device}
    write_atomic(Path(sys.argv[1]) / FILE, json.dumps(held) + "\n")


if __name__ == "__main__":
    main()
