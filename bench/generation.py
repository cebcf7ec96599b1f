"""Generation speed: étude and transformers' `generate`, with the same weights.

    python bench/generation.py [base|tiny|nano] [batch] [rounds]

All complete the same prompts greedily to the same length, with a KV cache, taking turns; their
outputs are compared. `etude-probed` is étude with the trainer's benchmarked settings, as in
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
from etude.formats.model import Model, read_model
from etude.formats.model_folder import write_model
from etude.network.autoregressive import Autoregressive
from etude.network.decoding import Greedy
from etude.network.generation import GenerationOptions, Request
from etude.network.network import Network
from etude.training.hardware import benchmark

PROMPT = 64
NEW = 128
"""Tokens per prompt, and new tokens per completion."""
NAMES = ["etude", "etude-probed", "transformers"]
Generate = Callable[[], list[list[int]]]


def save(shape: Shape, corpus: Corpus, folder: Path) -> None:
    """Saves a model of the shape with random weights, in a format that both can load."""
    torch.manual_seed(0)
    config = experiment(shape)
    network: Network = registry.build(config.architecture, corpus.tokenizer.vocab)
    model = Model(folder, config.architecture, corpus.tokenizer, config.tokenizer)
    write_model(model, network.state_dict(), folder)


def prompts(corpus: Corpus, batch: int) -> list[list[int]]:
    """The first PROMPT tokens of `batch` rows of text."""
    return [corpus.train[i].tokens[:PROMPT].tolist() for i in range(batch)]


def ours(folder: Path, prompt_ids: list[list[int]]) -> Generate:
    network = read_model(folder).network().eval()
    network.vocab = replace(network.vocab, eos=-1, turn_end=-1)  # no completion ends early
    rng = np.random.default_rng(0)

    def run() -> list[list[int]]:
        requests = [Request(prompt, rng, NEW) for prompt in prompt_ids]
        return [
            row.ids
            for row in Autoregressive().generate(network, requests, GenerationOptions(Greedy()))
        ]

    return run


def theirs(folder: Path, prompt_ids: list[list[int]]) -> Generate:
    model: Any = AutoModelForCausalLM.from_pretrained(folder).eval()  # its class is dynamic
    model.generation_config.eos_token_id = None
    tokens = torch.tensor(prompt_ids)

    def run() -> list[list[int]]:
        output = model.generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            max_new_tokens=NEW,
            do_sample=False,
            pad_token_id=0,
        )
        return output[:, PROMPT:].tolist()

    return run


@dataclass(frozen=True)
class GenerationLoop:
    """Runs the contender with the given name; saves its first output in `folder`."""

    shape: Shape
    batch: int
    folder: Path

    def __call__(self, name: str, pause: Pause) -> None:
        if name == "etude-probed":
            benchmark().apply()
        make = theirs if name == "transformers" else ours
        prompt_ids = prompts(prepare(experiment(self.shape)), self.batch)
        run = make(self.folder / "model", prompt_ids)
        np.save(self.folder / f"{name}.npy", run())
        while True:
            pause()
            run()


def main() -> None:
    arguments = dict(enumerate(sys.argv))
    name = arguments.get(1, "base")
    batch = int(arguments.get(2, 32))
    rounds = int(arguments.get(3, 5))
    shape = SHAPES[name]
    folder = Path(tempfile.mkdtemp())
    save(shape, prepare(experiment(shape)), folder / "model")
    seconds = race(GenerationLoop(shape, batch, folder), NAMES, 1, rounds)
    sizes = f"{PROMPT} prompt tokens, {NEW} new tokens"
    print(f"{name}, batch {batch}: {sizes}, median of {rounds} rounds")
    expected = np.load(folder / "transformers.npy")
    for contender, duration in seconds.items():
        same = float((np.load(folder / f"{contender}.npy") == expected).mean())
        print(
            f"{contender:14} {batch * NEW / duration:9.0f} tokens/s  "
            f"{seconds['transformers'] / duration:5.2f}x transformers  {same:6.1%} equal tokens"
        )


if __name__ == "__main__":
    main()
