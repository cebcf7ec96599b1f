"""A token that a run writes can be learned by it, whatever the adapter, or the run is refused."""

import json
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import adapters
import chains
import families
import foreign
import pytest
import tiny
import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM, AutoTokenizer

from etude.config.schema.experiment import ExperimentConfig
from etude.errors import ConfigError
from etude.formats.model import read_model
from etude.formats.new_tokens import written_ids
from etude.objective.randomness import rng
from etude.objective.ranks import Ranks
from etude.plugins.template import chatml
from etude.training.assemble import assemble
from etude.training.run import start
from etude.training.run_corpus import corpus_of

ANSWERS = [(f"What is {a} and {b}?", f"It is {a + b}.") for a in range(1, 5) for b in range(1, 4)]
PRETRAINING = 150
"""Steps after which a base ends its texts with eos."""
TEXTS = [f"{i} is a number, and so is {i + 1}." for i in range(1, 30)]


@cache
def base(steps: int = 1) -> Path:
    """A LLaMA folder without turn tokens, trained on short texts that end with eos."""
    folder = chains.llama(Path(mkdtemp()))
    theirs: Any = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = tokenizer([f"{text}</s>" for text in TEXTS], padding=False)["input_ids"]
    labels = torch.nn.utils.rnn.pad_sequence([*map(torch.tensor, rows)], True, -100)
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(theirs.parameters(), lr=1e-2)
    for _ in range(steps):
        theirs(labels.clamp(min=0), labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    theirs.save_pretrained(folder)
    return folder


@cache
def run(steps: int = 1) -> Path:
    """A run that was trained on the same texts; its tokenizer reserves turn tokens."""
    folder = Path(mkdtemp())
    (folder / "texts.txt").write_text("\n".join(TEXTS))
    trainer = {"max_steps": steps, "precision": "32", "val_samples": 1}
    stack = families.architecture("llama")
    made = tiny.experiment("clm", folder, architecture=stack, trainer=trainer)
    data = replace(made.data, path=str(folder / "texts.txt"), seq_len=64, pack=False)
    optimizer = tiny.part("optimizer", "adamw", lr=0.01)
    started = replace(made, data=data, optimizer=optimizer, run=str(folder / "run"))
    start(started, "tiny", [])
    return folder / "run"


BASES: dict[str, Callable[[int], Path]] = {"a Hugging Face folder": base, "a run": run}


def config(folder: Path, start: Path, kind: str, **values: Any) -> ExperimentConfig:
    """A fine-tuning run on a few answers, with an adapter."""
    rows = [
        {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]}
        for q, a in ANSWERS
    ]
    (folder / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = tiny.experiment("sft", folder, max_new_tokens=0)
    model = read_model(start)
    data = replace(made.data, path=str(folder / "answers.jsonl"))
    made = replace(made, architecture=model.architecture, tokenizer=model.tokenizer_config)
    adapter = adapters.choice(kind) if kind else {}
    return replace(made, data=data, init_from=str(start), adapter=adapter, **values)


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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "start"),
    [
        (kind, start)
        for kind in ("", *adapters.KINDS)
        for start in BASES
        # Soft prompts can do little in so small a network (Lester et al. 2021, figure 3).
        if (kind, start) != ("prompt_tuning", "a run")
    ],
)
def test_every_adapter_learns_to_end_its_turns(kind: str, start: str, tmp_path: Path) -> None:
    assert end_probability(config(tmp_path, BASES[start](PRETRAINING), kind)) > 0.9


@pytest.mark.parametrize("start", BASES)
def test_the_default_template_of_a_base_ends_turns_with_eos(start: str, tmp_path: Path) -> None:
    parent = read_model(BASES[start](1)).tokenizer
    corpus = corpus_of(config(tmp_path, BASES[start](1), "lora"))
    assert corpus.tokenizer.vocab.size == parent.vocab.size
    assert "{{ eos_token }}" in str(corpus.tokenizer.template)
    assert written_ids(corpus.tokenizer, ()) == written_ids(parent, ())


@pytest.mark.parametrize("start", BASES)
@pytest.mark.parametrize("kind", adapters.KINDS)
def test_a_template_with_tokens_that_the_base_does_not_know_is_refused(
    kind: str, start: str, tmp_path: Path
) -> None:
    made = config(tmp_path, BASES[start](1), kind, template=tiny.part("template", "chatml"))
    with pytest.raises(ConfigError) as error:
        assemble(made, corpus_of(made), Ranks())
    assert "writes <|im_start|>, <|im_end|>, which init_from=" in str(error.value)
    assert "Use template=plain_eos, not template=chatml: it needs no new token." in str(error.value)
    again = replace(made, template=tiny.part("template", "plain_eos"))
    assemble(again, corpus_of(again), Ranks())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["", "unfrozen"])
def test_a_run_that_trains_the_tables_learns_new_tokens(kind: str, tmp_path: Path) -> None:
    made = config(tmp_path, base(PRETRAINING), "", template=tiny.part("template", "chatml"))
    if kind:
        tables = tiny.part("adapter", "freeze", frozen=[], trained=["embedding*", "head*"])
        made = replace(made, adapter={**adapters.choice("lora"), "freeze": tables})
    assert end_probability(made) > 0.9


def test_a_template_that_the_base_was_trained_with_is_accepted(tmp_path: Path) -> None:
    made = config(tmp_path, base(), "", template=tiny.part("template", "chatml"))
    trainer = replace(made.trainer, max_steps=1, precision="32")
    start(replace(made, run=str(tmp_path / "chats"), trainer=trainer), "tiny", [])
    again = config(tmp_path, tmp_path / "chats", "lora")
    assemble(again, corpus_of(again), Ranks())


def test_markers_of_an_objective_that_the_base_does_not_know_are_refused(tmp_path: Path) -> None:
    model = read_model(run())
    made = replace(
        tiny.experiment("fim", tmp_path, architecture=model.architecture),
        init_from=str(run()),
        adapter=adapters.choice("lora"),
    )
    with pytest.raises(ConfigError, match=r"writes <sentinel_0>, <sentinel_1>.*was not trained on"):
        assemble(made, corpus_of(made), Ranks())


@pytest.mark.parametrize("adapter", ["lora", ""])
def test_tokens_of_a_tokenizer_beyond_the_rows_of_its_model_are_new(
    adapter: str, tmp_path: Path
) -> None:
    folder = shutil.copytree(base(), tmp_path / "base")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = chatml.TEMPLATE
    tokenizer.save_pretrained(folder)
    made = config(tmp_path, folder, adapter)
    refused = pytest.raises(ConfigError, match=r"writes <\|im_start\|>, <\|im_end\|>, which init_")
    with refused if adapter else nullcontext():
        assemble(made, corpus_of(made), Ranks())


@pytest.mark.parametrize("rows", [320, 400], ids=["rows for its ids", "a padded table"])
def test_the_eos_that_a_tokenizer_lacks_is_new(rows: int, tmp_path: Path) -> None:
    tokenizer = foreign.save_tokenizer(tmp_path / "base", ["<unk>"], unk_token="<unk>")
    foreign.save_model(tmp_path / "base", "llama", tokenizer, vocab_size=rows)
    made = config(tmp_path, tmp_path / "base", "lora")
    with pytest.raises(ConfigError, match=r"writes <eos>, which init_from="):
        assemble(made, corpus_of(made), Ranks())
    assemble(replace(made, adapter={}), corpus_of(made), Ranks())
