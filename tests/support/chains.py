"""Chains of small runs with adapters, on a Hugging Face folder or on one another."""

from dataclasses import replace
from pathlib import Path

import adapters
import foreign
import tiny
import torch

from etude.formats.model import read_model
from etude.network.inputs import Inputs
from etude.training.run import start

IDS = torch.randint(3, 300, (2, 7), generator=torch.Generator().manual_seed(0))
"""Ids that every tokenizer here has."""


def llama(folder: Path) -> Path:
    """A LLaMA folder with <unk>, <s> and </s> and without turn tokens."""
    roles = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer = foreign.save_tokenizer(folder, ["<unk>", "<s>", "</s>"], "<s> $A", **roles)
    foreign.save_model(folder, "llama", tokenizer)
    return folder


def run(folder: Path, name: str, objective: str, base: Path, kind: str, steps: int = 2) -> Path:
    """A run on a base, with an adapter of `adapters.KINDS` if one is named."""
    trainer = {"max_steps": steps, "precision": "32", "val_samples": 1}
    config = tiny.experiment(objective, folder, trainer=trainer)
    model = read_model(base)
    config = replace(
        config,
        architecture=model.architecture,
        tokenizer=model.tokenizer_config,
        adapter=adapters.choice(kind) if kind else {},
        init_from=str(base),
        optimizer=tiny.part("optimizer", "adamw", lr=0.05),
        run=str(folder / name),
    )
    start(config, "tiny", [])
    return folder / name


def logits(folder: Path) -> torch.Tensor:
    """What étude computes from `IDS` with a model folder."""
    with torch.no_grad():
        return read_model(folder).network().eval()(Inputs(IDS))
