"""Reads models: what a run left behind, or a folder in Hugging Face's format; writes `model/`."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from etude import config_file, layout
from etude.checkpoint import MANIFEST, fault_of, newest_intact, write_folder
from etude.errors import CheckpointError, ConfigError
from etude.network import Network
from etude.registry import build, plugin_of
from etude.schema import ArchitectureConfig, ObjectiveConfig, StackConfig, TokenizerConfig
from etude.ties import read_tensors, to_ours, to_theirs
from etude.tokenizer import Tokenizer
from etude.tree import read_tree

MODEL, TOKENIZER, CHECKPOINTS = "model", "tokenizer", "checkpoints"
NETWORK = "network."
"""What the names of a network's tensors start with in an objective's state."""


@dataclass(frozen=True)
class Model:
    """A network one can start from: what it is, what it reads, and where its weights are."""

    folder: Path
    architecture: ArchitectureConfig
    tokenizer: Tokenizer
    tokenizer_config: TokenizerConfig
    objective: ObjectiveConfig | None = None
    """What a run learned; a Hugging Face folder does not say."""

    def load_weights(self, network: Network) -> None:
        """Puts the weights into a network of this architecture.

        Those of a run come from `model/` or, while it is not finished, its newest checkpoint.
        Raises CheckpointError when neither exists or is whole.
        """
        network.load_state_dict(self._weights(network))

    def network(self) -> Network:
        """Builds the network, with its weights."""
        network: Network = build(self.architecture, self.tokenizer.vocab)
        self.load_weights(network)
        return network

    @property
    def whole_prompt(self) -> bool:
        """Whether it was trained to see prompts whole."""
        learned = self.objective and plugin_of(self.objective.task).declaration
        return learned is not None and learned.whole_prompt

    @property
    def digest(self) -> str:
        """SHA-256 of what `load_weights` would load."""
        if layout.is_hugging_face(self.folder):
            files = sorted(self.folder.glob("*.safetensors"))
        elif (self.folder / MODEL).exists():
            files = [self.folder / MODEL / MANIFEST]
        else:
            newest = newest_intact(self.folder / CHECKPOINTS)
            files = [] if newest is None else [newest / MANIFEST]
        digest = hashlib.sha256()
        for file in files:
            with file.open("rb") as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
        return digest.hexdigest()

    def _weights(self, network: Network) -> Mapping[str, Tensor]:
        if layout.is_hugging_face(self.folder):
            return _weights_of(self.folder, self.architecture, network)
        model = self.folder / MODEL
        if model.exists():
            fault = fault_of(model)
            if fault is not None:
                raise CheckpointError(f"{model} is damaged: {fault}.")
            return _weights_of(model, self.architecture, network)
        checkpoint = newest_intact(self.folder / CHECKPOINTS)
        if checkpoint is None:
            raise CheckpointError(f"{self.folder} has no model yet, and no checkpoint.")
        return own(read_tree(checkpoint)["state_dict"])


def own(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The network's tensors of an objective's state, by the network's names."""
    return {k.removeprefix(NETWORK): v for k, v in state.items() if k.startswith(NETWORK)}


def read_model(folder: str | Path) -> Model:
    """Opens a run folder or a Hugging Face folder. Raises ConfigError when it is neither."""
    folder = Path(folder)
    if (folder / config_file.FILE).is_file():
        config = config_file.load(folder)
        tokenizer = Tokenizer.load(folder / TOKENIZER)
        return Model(folder, config.architecture, tokenizer, config.tokenizer, config.objective)
    if layout.is_hugging_face(folder):
        fields = layout.read_fields(folder)
        family = layout.layout_of(fields["model_type"])
        return Model(
            folder, family.read(fields), Tokenizer.load(folder), layout.tokenizer_of(folder)
        )
    raise ConfigError(
        f"{folder} holds no model: it has neither {config_file.FILE} (a run folder, the last line "
        f"that `etude train` prints) nor {layout.CONFIG} (a Hugging Face folder)."
    )


def write_model(
    weights: Mapping[str, Tensor],
    config: ArchitectureConfig,
    tokenizer: Tokenizer,
    folder: Path,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Writes a model folder: weights, tokenizer and, where a family has such a model, config.json.

    `weights` is a network's state_dict. Then transformers' Auto classes load the folder, which is
    whole or absent, and sealed with `facts`.
    """
    found = layout.fitting(config, tokenizer.vocab)

    def fill(inside: Path) -> None:
        tensors = {name: tensor.contiguous() for name, tensor in weights.items()}
        if found is not None and isinstance(config, StackConfig):
            family, fields = found
            tensors = to_theirs(family.ties(config, fields), weights)
            text = json.dumps(fields, indent=2) + "\n"
            (inside / layout.CONFIG).write_text(text, encoding="utf-8")
        alone = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
        save_file(alone, inside / layout.WEIGHTS, metadata={"format": "pt"})
        tokenizer.save(inside)

    write_folder(folder, fill, facts)


def _weights_of(
    folder: Path, architecture: ArchitectureConfig, network: Network
) -> Mapping[str, Tensor]:
    """The tensors of a model folder, by the names of `network`."""
    if not layout.is_hugging_face(folder):
        return load_file(folder / layout.WEIGHTS)
    assert isinstance(architecture, StackConfig)
    fields, tensors = layout.read_fields(folder), read_tensors(folder)
    family = layout.layout_of(fields["model_type"])
    ties = family.ties(architecture, fields)
    return to_ours(ties, family.dropped, tensors, network.state_dict())
