"""Sets the preference objectives side by side: do their answers beat those of the model before?

    etude train run=outputs/base
    etude train experiment=sft init_from=outputs/base run=outputs/sft trainer.max_steps=260
    python bench/preferences.py outputs/sft outputs/preferences

The fine-tuned model answers its own training prompts twice; a right and a wrong answer to one are
a pair (`etude label`). Each recipe learns from the pairs with three seeds, and both models then
answer held-out prompts once, at temperature 1. The gold function, that an answer is right, judges
pairs and duels.
Writes docs/preferences.md. Finished runs are not run again.
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
from etude.network.decoding import Ancestral
from etude.network.generation import Request, generate
from etude.objective.batches import preference_batch, preference_example
from etude.objective.log_probs import sequence_log_prob

DOCS = Path(__file__).resolve().parents[1] / "docs"
RECIPES = ("dpo", "ipo", "kto", "orpo", "simpo")
SEEDS = (0, 1, 2)
N_HELD_OUT = 1000
LONGEST = 8
SEQ_LEN = 32
"""Tokens of an answer, and of a prompt with its answer."""


@dataclass(frozen=True)
class Problem:
    """A prompt and its right answer."""

    prompt: str
    answer: str


@dataclass(frozen=True)
class JobRecord:
    """A policy after training: which held-out answers are right, what its log-probabilities say."""

    right: list[bool]
    accuracy: tuple[float, float]
    """Share of held-out pairs whose chosen side is likelier: before, and after."""
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
    before = right(start, held_out, seed=0)
    found = {name: [outcome(name, s, start, pairs, held_out) for s in SEEDS] for name in RECIPES}
    page = report(before, found, sum(1 for _ in pairs.open(encoding="utf-8")))
    (DOCS / "preferences.md").write_text(page, encoding="utf-8")
    print(page)
    return 0


def problems(samples: Samples, n: int) -> list[Problem]:
    """The first conversations of a side, as what is asked and what is right."""
    chats = [samples[i] for i in range(min(n, len(samples)))]
    return [Problem(chat.messages[0].content, chat.messages[1].content) for chat in chats]


def answers(run: Path, prompts: Sequence[str], seed: int) -> list[str]:
    """One answer to each prompt, at temperature 1."""
    model = read_model(run)
    requests = [
        Request(question(model.tokenizer, prompt), np.random.default_rng((seed, i)), LONGEST)
        for i, prompt in enumerate(prompts)
    ]
    written = generate(model.network().eval(), requests, Ancestral(), generation_batch=250)
    return [model.tokenizer.decode(row.ids).strip() for row in written]


def right(run: Path, held_out: Sequence[Problem], seed: int) -> list[bool]:
    """The gold function of one answer to each problem."""
    written = answers(run, [p.prompt for p in held_out], seed)
    return [text == p.answer for text, p in zip(written, held_out, strict=True)]


def write_pairs(run: Path, file: Path) -> None:
    """Lets the run answer its training prompts twice, and keeps what is right beside wrong."""
    file.parent.mkdir(parents=True, exist_ok=True)
    data = ["data=arithmetic", "data.digits=2", "data.operators=+", "data.n_problems=9000"]
    asked = [*data, f"data.seq_len={SEQ_LEN}", f"max_new_tokens={LONGEST}", f"out={file}"]
    judged = ["judge=rule", "reward=exact_answer"]
    command = [sys.executable, "-m", "etude", "label", f"run={run}", *asked, *judged]
    subprocess.run(command, check=True)


def outcome(name: str, seed: int, start: Path, pairs: Path, held_out: Sequence[Problem]) -> JobRecord:
    """Trains with one recipe and seed, unless that was done, and asks the policy."""
    run = pairs.parent / f"{name}-{seed}"
    command = [sys.executable, "-m", "etude", "train", f"experiment={name}", f"run={run}"]
    command += [f"init_from={start}", f"data.path={pairs}", f"seed={seed}", "logger=[]"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = json.loads((run / "summary.json").read_text())["seconds"]
    kept = prepare(config_file.load_config(run), read_model(start).tokenizer).val
    accuracy = told_apart(start, kept), told_apart(run, kept)
    return JobRecord(right(run, held_out, seed=100 + seed), accuracy, seconds)


def told_apart(run: Path, pairs: Samples) -> float:
    """Share of pairs whose chosen completion a model finds likelier than the rejected one."""
    model = read_model(run)
    network = model.network().eval()
    every = [preference_example(model.tokenizer, pairs[i], SEQ_LEN) for i in range(len(pairs))]
    batch = preference_batch(every, network)
    with torch.no_grad():
        chosen, rejected = (sequence_log_prob(network, s) for s in (batch.chosen, batch.rejected))
    return float((chosen > rejected).double().mean())


def win_rate(before: Sequence[bool], after: Sequence[Sequence[bool]]) -> tuple[float, float]:
    """Share of duels won, a tie half a win, and two standard errors over prompts and seeds."""
    duels = [0.5 + (a - b) / 2 for run in after for a, b in zip(run, before, strict=True)]
    rate = fmean(duels)
    spread = math.sqrt(fmean((d - rate) ** 2 for d in duels) / len(before))
    return rate, 2 * spread


def report(before: Sequence[bool], found: dict[str, list[JobRecord]], n_pairs: int) -> str:
    """The page."""
    rows = [
        "# Preference objectives, side by side",
        "",
        "Written by `bench/preferences.py`, whose header says how. One fine-tuned model, "
        f"{n_pairs:,} pairs of its own answers; {len(before):,} held-out prompts, three seeds.",
        f"Before: {fmean(before):.1%} of its answers are right, drawn at temperature 1.",
        "",
        "| recipe | right after | win rate against before | held-out pairs told apart | seconds |",
        "|---|---|---|---|---|",
    ]
    for name, runs in found.items():
        after = [fmean(run.right) for run in runs]
        rate, error = win_rate(before, [run.right for run in runs])
        first, last = (fmean(run.accuracy[i] for run in runs) for i in (0, 1))
        rows.append(
            f"| {name} | {fmean(after):.1%} ({min(after):.1%} to {max(after):.1%}) | "
            f"{rate:.1%} +- {error:.1%} | {first:.1%} -> {last:.1%} | "
            f"{fmean(run.seconds for run in runs):.0f} |"
        )
    return "\n".join([*rows, ""])


if __name__ == "__main__":
    raise SystemExit(main())
