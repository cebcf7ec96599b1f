"""Compares preference objectives: accuracy, and win rate against the model before training.

    etude train run=outputs/base
    etude train experiment=sft init_from=outputs/base run=outputs/sft trainer.max_steps=260
    python bench/preferences.py outputs/sft outputs/preferences

The fine-tuned model answers each of its training prompts twice; a correct and an incorrect answer
to the same prompt form a pair (`etude label`). Each recipe trains on the pairs with three seeds.
The models before and after then answer held-out prompts once, at temperature 1. The gold reward,
whether an answer is correct, decides both pairs and wins.
Writes docs/preferences.md. Finished runs are not trained again.
"""

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import torch

from etude.config import config_file
from etude.data.chat_template import question
from etude.data.corpus import prepare
from etude.data.source import Samples
from etude.formats.model import read_model
from etude.network.autoregressive import Autoregressive
from etude.network.decoding import Ancestral
from etude.network.generation import GenerationOptions, Request
from etude.objective.batches import preference_batch, preference_example
from etude.objective.log_probs import sequence_log_prob

DOCS = Path(__file__).resolve().parents[1] / "docs"
RECIPES = ("dpo", "ipo", "kto", "orpo", "simpo")
SEEDS = (0, 1, 2)
N_HELD_OUT = 1000
MAX_NEW_TOKENS = 8
SEQ_LEN = 32
"""Tokens of a prompt with its answer."""


@dataclass(frozen=True)
class Problem:
    """A prompt and its reference answer."""

    prompt: str
    answer: str


@dataclass(frozen=True)
class Evaluation:
    """A policy after training, evaluated on held-out prompts and pairs."""

    is_correct: list[bool]
    """For each held-out prompt."""
    accuracy: tuple[float, float]
    """Fraction of held-out pairs whose chosen side is likelier: before and after training."""
    seconds: float


def main() -> int:
    start = Path(sys.argv[1])
    place = Path(sys.argv[2])
    config = config_file.load_config(start)
    corpus = prepare(config, read_model(start).tokenizer)
    pairs = place / "pairs.jsonl"
    if not pairs.exists():
        write_pairs(start, pairs)
    held_out = problems(corpus.val, N_HELD_OUT)
    before = is_correct(start, held_out, seed=0)
    results = {name: [evaluate(name, s, start, pairs, held_out) for s in SEEDS] for name in RECIPES}
    page = report(before, results, sum(1 for _ in pairs.open(encoding="utf-8")))
    (DOCS / "preferences.md").write_text(page, encoding="utf-8")
    print(page)
    return 0


def problems(samples: Samples, n: int) -> list[Problem]:
    """The prompts and reference answers of the first n conversations."""
    chats = [samples[i] for i in range(min(n, len(samples)))]
    return [Problem(chat.messages[0].content, chat.messages[1].content) for chat in chats]


def answers(run: Path, prompts: Sequence[str], seed: int) -> list[str]:
    """One answer to each prompt, sampled at temperature 1."""
    model = read_model(run)
    requests = [
        Request(question(model.tokenizer, prompt), np.random.default_rng((seed, i)), MAX_NEW_TOKENS)
        for i, prompt in enumerate(prompts)
    ]
    rows = Autoregressive().generate(
        model.network().eval(), requests, GenerationOptions(Ancestral(), generation_batch=250)
    )
    return [model.tokenizer.decode(row.ids).strip() for row in rows]


def is_correct(run: Path, held_out: Sequence[Problem], seed: int) -> list[bool]:
    """The gold reward of one sampled answer to each problem."""
    texts = answers(run, [p.prompt for p in held_out], seed)
    return [text == p.answer for text, p in zip(texts, held_out, strict=True)]


def write_pairs(run: Path, file: Path) -> None:
    """Writes pairs of a correct and an incorrect answer of the run to its training prompts."""
    file.parent.mkdir(parents=True, exist_ok=True)
    data = ["data=arithmetic", "data.digits=2", "data.operators=+", "data.n_problems=9000"]
    sizes = [f"data.seq_len={SEQ_LEN}", f"max_new_tokens={MAX_NEW_TOKENS}"]
    choices = ["judge=rule", "reward=exact_answer", f"out={file}"]
    command = [sys.executable, "-m", "etude", "label", f"run={run}", *data, *sizes, *choices]
    subprocess.run(command, check=True)


def evaluate(
    name: str, seed: int, start: Path, pairs: Path, held_out: Sequence[Problem]
) -> Evaluation:
    """Trains one recipe with one seed, unless that run is finished, and evaluates the policy."""
    run = pairs.parent / f"{name}-{seed}"
    command = [sys.executable, "-m", "etude", "train", f"experiment={name}", f"run={run}"]
    command += [f"init_from={start}", f"data.path={pairs}", f"seed={seed}", "logger=[]"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = json.loads((run / "summary.json").read_text())["seconds"]
    val = prepare(config_file.load_config(run), read_model(start).tokenizer).val
    accuracy = pair_accuracy(start, val), pair_accuracy(run, val)
    return Evaluation(is_correct(run, held_out, seed=100 + seed), accuracy, seconds)


def pair_accuracy(run: Path, pairs: Samples) -> float:
    """Fraction of pairs whose chosen completion is likelier than the rejected one."""
    model = read_model(run)
    network = model.network().eval()
    examples = [preference_example(model.tokenizer, pairs[i], SEQ_LEN) for i in range(len(pairs))]
    batch = preference_batch(examples, network)
    with torch.no_grad():
        chosen, rejected = (sequence_log_prob(network, s) for s in (batch.chosen, batch.rejected))
    return float((chosen > rejected).double().mean())


def win_rate(before: Sequence[bool], after: Sequence[Sequence[bool]]) -> tuple[float, float]:
    """The win rate, counting a tie as half a win, and two standard errors."""
    wins = [0.5 + (a - b) / 2 for run in after for a, b in zip(run, before, strict=True)]
    rate = fmean(wins)
    error = math.sqrt(fmean((win - rate) ** 2 for win in wins) / len(before))
    return rate, 2 * error


def report(before: Sequence[bool], results: dict[str, list[Evaluation]], n_pairs: int) -> str:
    """The text of docs/preferences.md."""
    rows = [
        "# Preference objectives compared",
        "",
        "Written by `bench/preferences.py`; its header has the commands. One fine-tuned model, "
        f"{n_pairs:,} pairs of its own answers; {len(before):,} held-out prompts, three seeds.",
        f"Before training, {fmean(before):.1%} of its samples at temperature 1 are correct.",
        "",
        "| recipe | correct | win rate against before | held-out pair accuracy | seconds |",
        "|---|---|---|---|---|",
    ]
    for name, runs in results.items():
        after = [fmean(run.is_correct) for run in runs]
        rate, error = win_rate(before, [run.is_correct for run in runs])
        first, last = (fmean(run.accuracy[i] for run in runs) for i in (0, 1))
        rows.append(
            f"| {name} | {fmean(after):.1%} ({min(after):.1%} to {max(after):.1%}) | "
            f"{rate:.1%} +- {error:.1%} | {first:.1%} -> {last:.1%} | "
            f"{fmean(run.seconds for run in runs):.0f} |"
        )
    return "\n".join([*rows, ""])


if __name__ == "__main__":
    raise SystemExit(main())
