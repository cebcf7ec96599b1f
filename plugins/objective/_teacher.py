"""The teacher of a run that distils it: a frozen network with the same tokenizer."""

from pathlib import Path

import torch

from etude import Capability, ConfigError, require
from etude.config import (
    ArchitectureConfig,
    build,
    capabilities_of,
    config_of_parent,
    max_positions_of,
    plugin_of,
)
from etude.formats import Model, read_model
from etude.network import Network
from etude.objective import ObjectiveContext


def check_layout(run: str, architecture: ArchitectureConfig) -> None:
    """Raises ValueError if only one of the teacher and the student reads a source."""
    teacher = config_of_parent("objective.run", run).architecture
    kinds = {Capability.SOURCE_TARGET in capabilities_of(a) for a in (teacher, architecture)}
    require(
        len(kinds) == 1,
        f"its teacher, objective.run={run}, has {plugin_of(teacher).address}.\n"
        "  Both networks must read a source, or neither, since they read the same batch",
    )


def load_teacher(run: str, student: Network, tools: ObjectiveContext) -> Network:
    """Builds the teacher, in the student's precision. Raises ConfigError if it does not fit."""
    model = read_model(run)
    _check_tokenizer(run, model, tools)
    n_positions = max_positions_of(model.architecture)
    require(
        n_positions is None or tools.seq_len <= n_positions,
        f"data.seq_len={tools.seq_len} exceeds the {n_positions} positions of the teacher",
    )
    with torch.random.fork_rng(devices=[]):
        teacher: Network = build(model.architecture, model.tokenizer.vocab)
    teacher.to(next(student.parameters()).dtype)
    model.load_weights(teacher)
    return teacher


def _check_tokenizer(run: str, model: Model, tools: ObjectiveContext) -> None:
    if model.tokenizer.digest != tools.tokenizer.digest:
        raise ConfigError(
            f"objective.run={run} has a different tokenizer: its vocabulary has "
            f"{model.tokenizer.vocab.size} tokens, that of this run {tools.tokenizer.vocab.size}.\n"
            "  Probabilities can be compared only over the same tokens.\n"
            "  To use the tokenizer of the teacher: tokenizer=pretrained "
            f"tokenizer.path={Path(run) / 'tokenizer'}."
        )
