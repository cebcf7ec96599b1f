"""Speed of writing: étude beside transformers' `generate`, with the same weights.

    python bench/generation.py [base|tiny|nano] [batch] [rounds]

Both go on from the same prompts, greedily, with a cache, to the same length, in turn in one
run; what they wrote is compared. `etude-probed` is étude with the choices of its trainer, as in
rollouts; the others have torch's defaults.
"""

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from training import SHAPES, Shape, experiment
from transformers import AutoModelForCausalLM
from turns import Pause, race

from etude.config import registry
from etude.data.corpus import Corpus, prepare
from etude.formats.model import read_model
from etude.formats.model_folder import write_model
from etude.network.decoding import Greedy
from etude.network.generation import Request, generate
from etude.network.network import Network
from etude.training.hardware import probe

PROMPT = 64
NEW = 128
"""Tokens of a prompt, and tokens written."""
NAMES = ["etude", "etude-probed", "transformers"]
Write = Callable[[], list[list[int]]]


def save(shape: Shape, corpus: Corpus, folder: Path) -> None:
    """Writes a model of the shape as both can read it, with random weights."""
    torch.manual_seed(0)
    config = experiment(shape).architecture
    network: Network = registry.build(config, corpus.tokenizer.vocab)
    write_model(network.state_dict(), config, corpus.tokenizer, folder)


def prompts(corpus: Corpus, batch: int) -> list[list[int]]:
    """The first tokens of as many rows of text."""
    return [corpus.train[i].tokens[:PROMPT].tolist() for i in range(batch)]


def ours(folder: Path, given: list[list[int]]) -> Write:
    network = read_model(folder).network().eval()
    network.vocab = replace(network.vocab, eos=-1, turn_end=-1)  # nothing ends before its length
    rng = np.random.default_rng(0)

    def write() -> list[list[int]]:
        requests = [Request(prompt, rng, NEW) for prompt in given]
        return [row.ids for row in generate(network, requests, Greedy())]

    return write


def theirs(folder: Path, given: list[list[int]]) -> Write:
    model: Any = AutoModelForCausalLM.from_pretrained(folder).eval()  # its class is dynamic
    model.generation_config.eos_token_id = None
    tokens = torch.tensor(given)

    def write() -> list[list[int]]:
        found = model.generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            max_new_tokens=NEW,
            do_sample=False,
            pad_token_id=0,
        )
        return found[:, PROMPT:].tolist()

    return write


@dataclass(frozen=True)
class WritingLoop:
    """Runs the contender of a name; what it wrote first lies in `folder`."""

    shape: Shape
    batch: int
    folder: Path

    def __call__(self, name: str, pause: Pause) -> None:
        if name == "etude-probed":
            probe().apply()
        make = theirs if name == "transformers" else ours
        write = make(self.folder / "model", prompts(prepare(experiment(self.shape)), self.batch))
        np.save(self.folder / f"{name}.npy", write())
        while True:
            pause()
            write()


def main() -> None:
    given = dict(enumerate(sys.argv))
    name = given.get(1, "base")
    batch = int(given.get(2, 32))
    rounds = int(given.get(3, 5))
    shape = SHAPES[name]
    folder = Path(tempfile.mkdtemp())
    save(shape, prepare(experiment(shape)), folder / "model")
    seconds = race(WritingLoop(shape, batch, folder), NAMES, 1, rounds)
    print(f"{name}, batch {batch}: {PROMPT} tokens read, {NEW} written, median of {rounds} rounds")
    wanted = np.load(folder / "transformers.npy")
    for contender, taken in seconds.items():
        same = float((np.load(folder / f"{contender}.npy") == wanted).mean())
        print(
            f"{contender:14} {batch * NEW / taken:9.0f} tokens/s  "
            f"{seconds['transformers'] / taken:5.2f}x transformers  {same:6.1%} of its tokens"
        )


if __name__ == "__main__":
    main()
