"""A token that a run writes can be learned by it, whatever the adapter, or the run is refused."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import adapters
import chains
import pytest
import tiny
import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM, AutoTokenizer

from etude.config.schema.experiment import ExperimentConfig
from etude.errors import ConfigError
from etude.formats.model import read_model
from etude.objective.randomness import rng
from etude.training.run import corpus_of
from etude.training.assemble import assemble
from etude.objective.ranks import Ranks

ANSWERS = [(f"What is {a} and {b}?", f"It is {a + b}.") for a in range(1, 5) for b in range(1, 4)]


@cache
def base() -> Path:
    """A LLaMA folder without turn tokens, trained on short texts that end with eos."""
    folder = chains.llama(Path(mkdtemp()))
    theirs: Any = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = [f"{i} is a number, and so is {i + 1}." for i in range(1, 30)]
    rows = tokenizer([f"{text}</s>" for text in texts], padding=False)["input_ids"]
    labels = torch.nn.utils.rnn.pad_sequence([*map(torch.tensor, rows)], True, -100)
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(theirs.parameters(), lr=1e-2)
    for _ in range(150):
        theirs(labels.clamp(min=0), labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    theirs.save_pretrained(folder)
    return folder


def config(folder: Path, kind: str, **values: Any) -> ExperimentConfig:
    """A fine-tuning run on a few answers, with an adapter."""
    rows = [
        {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]}
        for q, a in ANSWERS
    ]
    (folder / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = tiny.experiment("sft", folder, max_new_tokens=0)
    model = read_model(base())
    data = replace(made.data, path=str(folder / "answers.jsonl"))
    made = replace(made, architecture=model.architecture, tokenizer=model.tokenizer_config)
    return replace(
        made, data=data, init_from=str(base()), adapter=adapters.choice(kind) if kind else {}, **values
    )


def end_probability(config: ExperimentConfig, steps: int = 200, lr: float = 0.02) -> float:
    """The smallest probability of the token that ends a training answer, after training on it."""
    corpus = corpus_of(config)
    made = assemble(config, corpus, Ranks())
    objective = made.objective
    samples = [objective.example(made.train[i], rng(0, 0)) for i in range(len(made.train))]
    batch = objective.collate(samples)
    optimizer = torch.optim.AdamW([p for p in objective.parameters() if p.requires_grad], lr=lr)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, steps)
    for _ in range(steps):
        objective.loss(batch).total.div(objective.count(batch)).backward()
        optimizer.step()
        optimizer.zero_grad()
        scheduler.step()
    where = batch.targets.where
    last = where & ~F.pad(where[:, 1:], (0, 1))
    with torch.no_grad():
        p = objective.network.eval()(batch.targets.inputs, last).softmax(-1)
    return float(p.gather(1, batch.targets.ids[last][:, None]).min())
