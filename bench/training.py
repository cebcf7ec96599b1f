"""Training speed: étude, a hand-written PyTorch loop, and transformers' Trainer.

    python bench/training.py [base|tiny|nano] [rounds]

All train the same LLaMA shape on the same tokens, and take turns step by step. `raw` is a minimal
loop over étude's network with étude's settings; the difference is the overhead of étude's loop.
`raw-default` is the same loop with torch's default settings. `transformers` is its Trainer with its
defaults.
"""

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from turns import Pause, race

from etude.config.composition import compose
from etude.config.config_file import to_experiment
from etude.config.schema.experiment import ExperimentConfig
from etude.data.corpus import Corpus, prepare
from etude.network.inputs import Inputs
from etude.objective.loader import MicroBatch, Ranks, StepLoader
from etude.training.assemble import assemble, trainer_of
from etude.training.hardware import benchmark
from etude.training.run_writer import Intervals, RunWriter


@dataclass(frozen=True)
class Shape:
    """Sizes of a LLaMA and of its batches."""

    dim: int
    n_layers: int
    hidden: int
    vocab: int
    seq_len: int
    batch: int
    n_heads: int = 4


SHAPES = {
    "base": Shape(256, 6, 688, 8192, 256, 16),
    "tiny": Shape(128, 4, 344, 4096, 128, 8),
    "nano": Shape(32, 1, 96, 512, 16, 1),
}


def experiment(shape: Shape) -> ExperimentConfig:
    """A LLaMA of the given shape on data=python_docs, composed like `etude train` does."""
    values = {
        "architecture": "llama",
        "architecture.dim": shape.dim,
        "architecture.n_layers": shape.n_layers,
        "architecture.n_heads": shape.n_heads,
        "architecture.mlp.ratio": shape.hidden / shape.dim,
        "architecture.mlp.multiple_of": 1,
        "tokenizer": "bpe",
        "tokenizer.vocab_size": shape.vocab,
        "data": "python_docs",
        "data.seq_len": shape.seq_len,
        "schedule": "constant",
        "trainer.max_steps": 10**6,
        "trainer.global_batch": shape.batch,
        "trainer.val_every": 10**9,
        "trainer.save_every": 10**9,
    }
    return to_experiment(
        compose("train", [f"{key}={value}" for key, value in values.items()]).config
    )


class PausingLoader(StepLoader[Any]):
    """étude's loader, which calls `pause` before each step."""

    pause: Pause

    def __iter__(self) -> Iterator[MicroBatch[Any]]:
        for micro in super().__iter__():
            if micro.index == 0:
                self.pause()
            yield micro


def etude_loop(config: ExperimentConfig, corpus: Corpus, pause: Pause) -> None:
    assembled = assemble(config, corpus, Ranks())
    loader = PausingLoader(
        assembled.loader.source,
        assembled.objective.collate,
        assembled.objective.count,
        assembled.plan.micro_batch,
    )
    loader.pause = pause
    folder = Path(tempfile.mkdtemp())
    intervals = Intervals(10**6, 10**9, 10**9, 2, 10)
    writer = RunWriter(folder, intervals, assembled.validation, 0, lambda _: None)
    trainer_of(config, assembled.plan, folder, [writer]).fit(assembled.objective, loader)


def raw_loop(config: ExperimentConfig, corpus: Corpus, pause: Pause) -> None:
    network = assemble(config, corpus, Ranks()).objective.network
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    for tokens in batches(config, corpus):
        pause()
        inputs = tokens[:, :-1]
        targets = tokens[:, 1:]
        logits = network(Inputs(inputs))
        F.cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()


def batches(config: ExperimentConfig, corpus: Corpus) -> Iterator[Tensor]:
    size = config.trainer.global_batch
    i = 0
    n = len(corpus.train) - 1  # the last row may be shorter
    while True:
        yield torch.stack([torch.from_numpy(corpus.train[(i + j) % n].tokens) for j in range(size)])
        i += size


def transformers_loop(corpus: Corpus, shape: Shape, pause: Pause) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

    class Rows(torch.utils.data.Dataset[dict[str, Tensor]]):
        def __len__(self) -> int:
            return len(corpus.train) - 1

        def __getitem__(self, index: int) -> dict[str, Tensor]:
            tokens = torch.from_numpy(corpus.train[index].tokens[: shape.seq_len])
            return {"input_ids": tokens, "labels": tokens}

    class PausingTrainer(Trainer):
        pause: Pause

        def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
            self.pause()
            return super().training_step(*args, **kwargs)

    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=corpus.tokenizer.vocab.size,
            hidden_size=shape.dim,
            intermediate_size=shape.hidden,
            num_hidden_layers=shape.n_layers,
            num_attention_heads=shape.n_heads,
            tie_word_embeddings=True,
        )
    )
    arguments = TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=shape.batch,
        max_steps=10**6,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        learning_rate=1e-3,
        use_cpu=True,
    )
    trainer = PausingTrainer(model=model, args=arguments, train_dataset=Rows())
    trainer.pause = pause
    trainer.train()


@dataclass(frozen=True)
class TrainingLoop:
    """Trains the contender with the given name on one shape."""

    shape: Shape

    def __call__(self, name: str, pause: Pause) -> None:
        config = experiment(self.shape)
        corpus = prepare(config)
        if name in ("etude", "raw"):
            benchmark().apply()
        if name == "etude":
            etude_loop(config, corpus, pause)
        elif name == "transformers":
            transformers_loop(corpus, self.shape, pause)
        else:
            raw_loop(config, corpus, pause)


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "base"
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 7
    shape = SHAPES[name]
    names = ["etude", "raw", "raw-default", "transformers"]
    steps = {"base": 1, "tiny": 5, "nano": 50}[name]
    seconds = race(TrainingLoop(shape), names, steps, rounds)
    tokens = shape.batch * shape.seq_len
    print(f"{name}: {rounds} rounds, {torch.get_num_threads()} threads")
    for contender, duration in seconds.items():
        print(
            f"{contender:<14}{1000 * duration:9.2f} ms/step{tokens / duration:12,.0f} tokens/s"
            f"   etude is {duration / seconds['etude']:.2f}x as fast"
        )
    print(f"etude's loop adds {1000 * (seconds['etude'] - seconds['raw']):+.2f} ms per step")


if __name__ == "__main__":
    main()
