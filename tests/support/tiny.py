"""Tiny networks, data, experiments and runs, built from the dataclasses without Hydra."""

import json
from collections.abc import Sequence, Set
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from defaults import default
from torch import Tensor

from etude.capability import ATTENTION, Capability
from etude.config.capabilities import mixer_capabilities
from etude.config.plugin_files import options
from etude.config.registry import build, load
from etude.config.schema.blocks import StackConfig
from etude.config.schema.experiment import ExperimentConfig
from etude.config.schema.trainer import NonFinite, TrainerConfig
from etude.data.corpus import prepare
from etude.data.tokenizer import Tokenizer
from etude.data.vocab import Vocab
from etude.files.run_folder import untimed_steps
from etude.network.autoregressive import Autoregressive
from etude.network.decoding import NO_TOKEN, Decoding, Greedy, History
from etude.network.generation import GenerationOptions, Generator, Request
from etude.network.inputs import Inputs
from etude.network.network import Network
from etude.objective.context import ObjectiveContext
from etude.objective.loader import Ranks
from etude.training.assemble import TrainingParts, assemble, trainer_of
from etude.training.run import quiet, start
from etude.training.run_writer import RunWriter

BYTES: Tokenizer = build(load("tokenizer/byte").config()).build(lambda: iter(()))
SPECIAL = 19
VOCAB = Vocab(37, 0, 1, 2, 3, 4, 5, 6, 7, 8, tuple(range(9, SPECIAL)))
"""A small vocabulary; ids below `SPECIAL` are reserved."""
PARTS = {
    "block": "prenorm",
    "mixer": "attention",
    "mlp": "gelu",
    "norm": "layernorm",
    "position": "learned",
    "head": "linear",
}
PREFERENCES = ("dpo", "rdpo", "ipo", "hinge", "kto", "orpo", "simpo", "cpo")
"""Objectives that are tested on preferences."""
RUN_PREFERENCES = [
    name if name in ("dpo", "kto") else pytest.param(name, marks=pytest.mark.slow)
    for name in PREFERENCES
]
"""The same for tests that train; those that differ only in their loss are marked slow."""
ON_POLICY = ("grpo", "rloo", "reinforce", "online_dpo", "ppo", "gdpo")
"""Objectives that train on their own completions."""
REWARD = '''"""Scores a completion by its characters, so that scores differ."""

from dataclasses import dataclass

from etude import plugin
from etude.config.schema.plugins import RewardConfig


@dataclass
class ToyRemainderConfig(RewardConfig):
    """No knobs of its own."""


@plugin(ToyRemainderConfig)
def toy_remainder(config):
    return lambda prompts, completions, references: [sum(map(ord, c)) % 7 / 6 for c in completions]
'''


def part(group: str, name: str, **values: Any) -> Any:  # the config class is the plugin's own
    """The config of a plugin."""
    return default(f"{group}/{name}", **values)


def stack(architecture: str = "decoder_only", **given: Any) -> Any:  # the plugin's own class
    """The config of a tiny stack; parts are passed by name or as configs."""
    values: dict[str, Any] = {"dim": 16, "n_layers": 2, "n_heads": 4}
    values["init"] = part("architecture/init", "scaled", std=0.3)
    values |= {name: given.pop(name, default) for name, default in PARTS.items()} | given
    for name in values.keys() & {*PARTS, "stream"}:
        if isinstance(values[name], str):
            address = f"architecture/{name}"
            example = load(f"{address}/{values[name]}").declaration.example
            values[name] = part(address, values[name], **example)
    return part("architecture", architecture, **values)


def network(config: StackConfig | None = None, vocab: Vocab = VOCAB, seed: int = 0) -> Any:
    """A network in float64 and eval mode, with random weights and biases."""
    made: Network = build(config or stack(), vocab)
    made.double().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.copy_(0.3 * noise + (0.5 if parameter.ndim == 1 else 0))
    return made


def combinations(capability: Capability) -> list[Any]:
    """Pairwise combinations of parts, in every architecture that declares the capability."""
    found: list[Any] = []
    names = {name: options(f"architecture/{name}") for name in PARTS}
    for architecture in options("architecture"):
        provides = load(f"architecture/{architecture}").declaration.provides
        if capability in provides:
            names["mixer"] = mixers({capability} | (ATTENTION & provides))
            rows = pairwise(list(names.values()))
            found += [(architecture, dict(zip(names, row, strict=True))) for row in rows]
    return found


def mixers(needs: Set[Capability]) -> list[str]:
    """The mixers that provide all of `needs`."""
    found = options("architecture/mixer")
    return [name for name in found if needs <= mixer_capabilities(part("architecture/mixer", name))]


@cache
def _pairwise(choices: tuple[tuple[str, ...], ...]) -> list[tuple[str, ...]]:
    columns = range(len(choices))
    left = {
        (i, a, j, b) for i in columns for j in range(i) for a, b in product(choices[i], choices[j])
    }
    rows: list[tuple[str, ...]] = []
    while left:
        i, a, j, b = min(left)
        row = {i: a, j: b}
        for k in columns:
            if k not in row:
                row[k] = max(
                    choices[k],
                    key=lambda c: sum(
                        ((k, c, m, d) if k > m else (m, d, k, c)) in left for m, d in row.items()
                    ),
                )
        rows.append(tuple(row[k] for k in columns))
        left -= {(i, row[i], j, row[j]) for i in columns for j in range(i)}
    return rows


def pairwise(choices: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """A greedy pairwise design: few rows that contain every pair of choices."""
    return _pairwise(tuple(map(tuple, choices)))


def combination_id(combination: tuple[str, dict[str, str]]) -> str:
    """The id of a combination in the name of a test."""
    architecture, parts = combination
    return "-".join((architecture, *parts.values()))


def tokens(*shape: int, seed: int = 0, vocab: Vocab = VOCAB) -> Tensor:
    """Random token ids, without special tokens."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(len(vocab.special), vocab.size, shape, generator=generator)


def inputs(made: Network, ids: Tensor, source: Tensor | None = None) -> Inputs:
    """Inputs of ids, with a source if the network has an encoder and a decoder."""
    reads = hasattr(made, "encoder")
    if reads and source is None:
        source = tokens(ids.shape[0], 5, seed=99)
    return Inputs(ids, source=None if source is None or not reads else Inputs(source))


def continuations(
    made: Network,
    prompts: Sequence[Sequence[int]],
    n: int,
    decoding: Decoding | None = None,
    whole: bool = False,
) -> list[list[int]]:
    """The completion of each prompt, at most n tokens; greedy by default."""
    requests = [Request(p, np.random.default_rng(i), n) for i, p in enumerate(prompts)]
    return [
        row.ids
        for row in Autoregressive().generate(
            made, requests, GenerationOptions(decoding or Greedy(), whole=whole)
        )
    ]


def decoding(name: str, **values: object) -> Decoding:
    """A decoding plugin, built for the byte-level tokenizer."""
    return build(part("decoding", name, **values), BYTES)


def generator(name: str, **values: object) -> Generator:
    """A generator plugin, built for the byte-level tokenizer."""
    return build(part("generator", name, **values), BYTES)


def history(*rows: Sequence[int]) -> History:
    """The history of rows of ids, without states; shorter ones are padded on the left."""
    width = max(map(len, rows))
    padded = [[NO_TOKEN] * (width - len(row)) + list(row) for row in rows]
    return History(torch.tensor(padded), [None] * len(rows))


def tools(tokenizer: Tokenizer = BYTES, **values: Any) -> ObjectiveContext:
    """The context that an objective receives, besides its config and network."""
    given: dict[str, Any] = {
        "architecture": stack(),
        "seq_len": 16,
        "seed": 0,
        "intra_document": False,
        "optimizer": lambda module: (torch.optim.SGD(module.parameters(), 0.1), lambda step: 1.0),
        "non_finite": NonFinite.stop,
        "decoding": Greedy(),
    }
    return ObjectiveContext(tokenizer=tokenizer, **(given | values))


def objective(name: str, made: Network | None = None, **values: Any) -> Any:  # the plugin's class
    """An objective with a byte-level network; `tools` replaces its context."""
    given = values.pop("tools", None) or tools()
    config = default(f"objective/{name}", **values)
    return build(config, made or network(vocab=BYTES.vocab), given)


def write_text(folder: Path, n: int = 60) -> Path:
    """A file of short lines of different lengths, each a document."""
    draw = np.random.default_rng(7)
    lines = [
        "".join(map(chr, draw.integers(97, 123, draw.integers(3, 24)))).strip() for _ in range(n)
    ]
    file = folder / "lines.txt"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def mixture(folder: Path, **values: Any) -> Any:  # the plugin's own class
    """A mixture of two files of short lines, of digits and of letters."""
    folder.mkdir(exist_ok=True)
    (folder / "digits.txt").write_text("".join(f"{i * 7919:05}\n" for i in range(80)))
    paths = {"digits": folder / "digits.txt", "letters": write_text(folder)}
    line = type(part("data", "text").document).line
    sources = {n: part("data", "text", path=str(p), document=line) for n, p in paths.items()}
    return part("data", "mixture", sources=sources, seq_len=16, val_fraction=0.2, **values)


def write_preferences(folder: Path, n: int = 40) -> Path:
    """A file of preferences of different lengths."""
    draw = np.random.default_rng(8)

    def word() -> str:
        return "".join(map(chr, draw.integers(97, 123, draw.integers(1, 7))))

    file = folder / "preferences.jsonl"
    rows = [{"prompt": word(), "chosen": f"a{word()}", "rejected": f"b{word()}"} for _ in range(n)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def write_chats(folder: Path, n: int = 40) -> Path:
    """A file of conversations of one or two turns, of different lengths."""
    draw = np.random.default_rng(9)

    def message(role: str) -> dict[str, str]:
        return {
            "role": role,
            "content": "".join(map(chr, draw.integers(97, 123, draw.integers(1, 6)))),
        }

    file = folder / "chats.jsonl"
    rows = [
        {"messages": [message(role) for _ in range(1 + i % 2) for role in ("user", "assistant")]}
        for i in range(n)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def write_questions(folder: Path, n: int = 40) -> Path:
    """A file of questions for a letter of a word; a quarter of them have no answer."""
    draw = np.random.default_rng(11)
    rows: list[dict[str, Any]] = []
    for i in range(n):
        context = "".join(map(chr, draw.integers(97, 123, draw.integers(12, 24))))
        start = int(draw.integers(0, 9))
        answer = {"text": context[start : start + 3], "answer_start": start}
        answers = [answer] if i % 4 else []
        rows.append({"question": context[start], "context": context, "answers": answers})
    file = folder / "questions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def write_labels(folder: Path, n: int = 40) -> Path:
    """A file of short texts of different lengths, each labelled with its first letter."""
    draw = np.random.default_rng(10)
    texts = ["".join(map(chr, draw.integers(97, 100, draw.integers(1, 9)))) for _ in range(n)]
    rows = [{"text": text, "label": text[0]} for text in texts]
    file = folder / "labels.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def write_tags(folder: Path, n: int = 40) -> Path:
    """A file of sentences of different lengths, in which words with an a or b are in spans."""
    draw = np.random.default_rng(11)
    rows: list[dict[str, list[str]]] = []
    for _ in range(n):
        words = ["".join(row) for row in draw.choice([*"abcd"], (draw.integers(1, 6), 2))]
        rows.append({"tokens": words, "tags": [f"B-{w[0]}" if w < "b" else "O" for w in words]})
    file = folder / "tags.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def experiment(name: str, folder: Path, **given: Any) -> ExperimentConfig:
    """The config of a run of a few seconds with any shipped objective, in fp64 without dropout.

    `trainer` has values of the trainer, `architecture` is a config; the rest configures the
    objective.
    """
    encoders = {"mlm", "mdlm", "electra", "sop"}
    families = {"seq2seq": "encoder_decoder"} | dict.fromkeys(encoders, "encoder_only")
    architecture = given.pop("architecture", None) or stack(
        families.get(name, "decoder_only"),
        n_layers=1,
        n_segments=2 if name == "sop" else 0,
        dropout=given.pop("dropout", 0.0),
    )
    if name in ("distill", "on_policy_distill") and "run" not in given:
        given["run"] = str(teacher_run(folder))
    seq_len = 16
    reward: dict[str, Any] = {}
    if name in ("reward", "embed", *PREFERENCES):
        data = part("data", "jsonl_preferences", path=str(write_preferences(folder)))
    elif name == "extract":
        data = part("data", "jsonl_questions", path=str(write_questions(folder)))
    elif name in ("classify", "tag"):
        kind, write = {"classify": ("label", write_labels), "tag": ("tags", write_tags)}[name]
        record = part("data/record", kind)
        data = part("data", "jsonl", path=str(write(folder)), record=record)
    elif name == "sft":
        data, seq_len = part("data", "jsonl_chats", path=str(write_chats(folder))), 64
    elif name in (*ON_POLICY, "on_policy_distill"):
        data = part("data", "arithmetic", n_problems=40, digits=1)
        given = {"group_size": 4, "max_new_tokens": 4, "generation_batch": 8} | given
        reward = given.pop("reward", {})
    else:
        document = load("data/text").config.__dataclass_fields__["document"].default
        data = part("data", "text", path=str(write_text(folder)), document=type(document).line)
    data = replace(data, seq_len=seq_len, val_fraction=0.2)
    trainer = {"max_steps": 5, "global_batch": 8, "precision": "64", "accelerator": "cpu"}
    return ExperimentConfig(
        objective=default(
            f"objective/{name}", **{k: v for k, v in given.items() if k != "trainer"}
        ),
        architecture=architecture,
        tokenizer=part("tokenizer", "byte"),
        data=data,
        optimizer=part("optimizer", "adamw", lr=1e-3),
        schedule=part("schedule", "cosine"),
        strategy=part("strategy", "single"),
        decoding=part("decoding", "greedy"),
        reward=reward,
        trainer=TrainerConfig(**(trainer | given.get("trainer", {}))),
    )


def teacher_run(folder: Path) -> Path:
    """The run folder of a teacher, trained on the first call."""
    run = folder / "teacher"
    if not run.exists():
        config = experiment("clm", folder, trainer={"max_steps": 2})
        start(replace(config, seed=1, run=str(run)), "tiny", [])
    return run


def trained_run(folder: Path) -> Path:
    """A run whose completions are words of lower-case letters that end with eos."""
    config = experiment(
        "clm",
        folder,
        architecture=stack(position="rope", n_layers=1),
        trainer={"max_steps": 30, "precision": "32", "val_samples": 1},
    )
    config = replace(config, optimizer=part("optimizer", "adamw", lr=0.05))
    start(replace(config, run=str(folder / "writer")), "tiny", [])
    return folder / "writer"


def training_parts(config: ExperimentConfig, reward: Any = None) -> TrainingParts:
    """The parts that `etude train` would fit; `reward` replaces that of the config."""
    made = assemble(config, prepare(config), Ranks())
    if reward is not None:
        made.objective.tools = replace(made.objective.tools, reward=reward)
    return made


def assert_close(actual: Tensor, expected: Tensor) -> None:
    """Equal up to float64 rounding."""
    torch.testing.assert_close(actual, expected, rtol=0.0, atol=1e-10)


def remainder(
    prompts: Sequence[str], completions: Sequence[str], references: Sequence[str | None]
) -> list[float]:
    """A reward that differs between random completions."""
    return [sum(map(ord, c)) % 7 / 6 for c in completions]


def fit(
    config: ExperimentConfig,
    made: TrainingParts,
    folder: Path,
    callbacks: Sequence[Any] = (),
) -> list[dict[str, Any]]:
    """Trains in a folder and returns the lines of `steps.jsonl`."""
    quiet()
    folder.mkdir(parents=True, exist_ok=True)
    plan = made.plan
    writer = RunWriter(folder, plan.intervals, made.validation, config.seed, lambda line: None)
    trainer_of(config, plan, folder, [writer, *callbacks]).fit(made.objective, made.loader)
    return untimed_steps(folder)
