"""Small networks of every family that has a Hugging Face layout, with objectives on them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import parity
import tiny

from etude.formats.model import Model

DECODERS = ("gpt2", "llama", "qwen3", "mixtral", "bloom")
ENCODERS = ("bert", "roberta", "albert", "modernbert")
BOTH = ("t5", "t5_v1_1", "bart")


def architecture(preset: str) -> Any:  # the plugin's own class
    """The architecture of a preset, in a small size."""
    config: Any = parity.preset(preset)
    sizes = {"embedding_dim": 8} if config.embedding_dim else {}
    return replace(config, dim=16, n_layers=2, n_heads=4, **sizes)


def objective(family: str, name: str, **values: Any) -> Any:  # the plugin's own class
    """An objective on a small network of a family, in float64."""
    config = architecture(family)
    context = tiny.tools(seq_len=64, architecture=config)
    return tiny.objective(name, tiny.network(config, tiny.BYTES.vocab), tools=context, **values)


def model(objective: Any, folder: Path) -> Model:
    """The model that a run with this objective writes."""
    tools = objective.tools
    parts = tools.architecture, tools.tokenizer, tiny.part("tokenizer", "byte"), objective.config
    return Model(folder, *parts, seq_len=tools.seq_len)
