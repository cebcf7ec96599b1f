"""Hugging Face's model folders: one plugin a family says what its fields and tensors are called.

A folder is `config.json`, `model.safetensors` (or shards with an index) and a tokenizer. Only
safetensors are read: nothing in such a folder can run. What a `config.json` asks for and
étude's blocks cannot do is refused by name, never ignored.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from etude import registry
from etude.contracts import Vocab
from etude.errors import CheckpointError, ConfigError
from etude.schema import ArchitectureConfig, PluginConfig, StackConfig, TokenizerConfig

CONFIG, WEIGHTS = "config.json", "model.safetensors"
HEAD = "lm_head.weight"
TABLES = ("embed_tokens.weight", "wte.weight", HEAD)
"""Their tensors with one row a token."""
BUFFERS = (".attn.bias", ".attn.masked_bias", "rotary_emb.inv_freq")
"""Their tensors that are constants."""
Fields: TypeAlias = Mapping[str, Any]
Stacked: TypeAlias = Any  # a StackConfig whose parts have the fields of other plugins' own classes


@dataclass(frozen=True)
class Tie:
    """One of their tensors, and ours: several of ours are theirs cut along the output axis."""

    theirs: str
    ours: tuple[str, ...]
    transposed: bool = False
    """Whether theirs is [in, out], as GPT-2's are."""

    def to_ours(self, tensor: Tensor, sizes: Sequence[int]) -> list[Tensor]:
        """Cuts theirs into ours, `sizes` rows each."""
        straight = tensor.t() if self.transposed else tensor
        if len(sizes) == 1:
            return [_fitted(straight, sizes[0]) if self.theirs.endswith(TABLES) else straight]
        return list(straight.split(list(sizes)))

    def to_theirs(self, tensors: Sequence[Tensor]) -> Tensor:
        """Joins ours into theirs."""
        joined = torch.cat(list(tensors))
        return (joined.t() if self.transposed else joined).contiguous()


class Layout(ABC):
    """The group `layout`: speaks for the families whose config.json names one of `model_types`."""

    model_types: tuple[str, ...]

    @abstractmethod
    def read(self, fields: Fields) -> StackConfig:
        """Returns the architecture a config.json describes; ConfigError for what we cannot do."""

    @abstractmethod
    def tokenizer(self, folder: Path) -> TokenizerConfig:
        """Returns the choice of the tokenizer that stands beside the model."""

    @abstractmethod
    def write(self, config: Stacked, vocab: Vocab) -> dict[str, Any] | None:
        """Returns the config.json of an architecture, or None if no family has such a model."""

    @abstractmethod
    def ties(self, config: Stacked) -> Iterable[Tie]:
        """Every tensor of a model of this family."""


def chosen(address: str, **values: Any) -> Any:  # the config class is the address's own
    """Returns the config of a plugin with some values set, and its own choice of other parts."""
    kind, group = registry.load(address).config, address.rpartition("/")[0]
    for item in fields(kind):
        if "option" in item.metadata and item.name not in values:
            values[item.name] = chosen(f"{group}/{item.name}/{item.metadata['option']}")
    return kind(**values)


def is_made_of(config: ArchitectureConfig, stack: str, **parts: str) -> bool:
    """Whether an architecture is this stack with these parts, given by name."""
    if _name(config) != stack or not isinstance(config, StackConfig):
        return False
    return all(_name(getattr(config, group)) == name for group, name in parts.items())


def _name(config: PluginConfig) -> str:
    return registry.plugin_of(config).address.rpartition("/")[2]


def refuse_others(fields: Fields, allowed: Mapping[str, Any]) -> None:
    """Raises ConfigError for each field that has another value than the only one we can do."""
    wrong = [
        f"{name}={fields[name]!r} (only {value!r})"
        for name, value in allowed.items()
        if name in fields and fields[name] != value
    ]
    if wrong:
        raise ConfigError(
            f"This {fields.get('model_type')} model asks for what étude's blocks cannot do:\n  "
            + "\n  ".join(wrong)
        )


def is_hugging_face(folder: Path) -> bool:
    """Whether a folder holds a model in Hugging Face's format."""
    return (folder / CONFIG).is_file()


def read_fields(folder: Path) -> dict[str, Any]:
    """Returns config.json. Raises CheckpointError when it cannot be read."""
    try:
        fields = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        return {**fields, "model_type": str(fields["model_type"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder / CONFIG} cannot be read: {error!r}") from error


def layouts() -> list[Layout]:
    """Every layout there is."""
    plugins = (registry.load(f"layout/{name}") for name in registry.options("layout"))
    return [plugin.build(plugin.config()) for plugin in plugins]


def layout_of(model_type: str) -> Layout:
    """Returns the layout of a family. Raises ConfigError when there is none."""
    for layout in layouts():
        if model_type in layout.model_types:
            return layout
    known = [name for layout in layouts() for name in layout.model_types]
    raise ConfigError(
        f"Models of type {model_type} cannot be read.\n  Families here: {', '.join(known)}."
    )


def fitting(config: ArchitectureConfig, vocab: Vocab) -> tuple[Layout, dict[str, Any]] | None:
    """Returns the first layout that has such a model, with its config.json; None if none has."""
    if isinstance(config, StackConfig):
        for layout in layouts():
            fields = layout.write(config, vocab)
            if fields is not None:
                return layout, fields
    return None


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Returns every tensor of a model folder, whole or in shards."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise CheckpointError(
            f"{folder} has no *.safetensors; other formats can hold code and are not read."
        )
    found: dict[str, Tensor] = {}
    for file in files:
        try:
            found |= load_file(file)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{file} cannot be read: {error}") from error
    return found


def to_ours(
    layout: Layout, config: StackConfig, theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Renames and cuts their tensors to the names and sizes of `ours`, a state_dict.

    The tables get as many rows as the tokenizer has ids: ones it lacks are dropped, and ones the
    model lacks start as the mean of the others. Raises CheckpointError for a tensor that is
    missing, left over, or of another shape.
    """
    left = dict(theirs)
    found: dict[str, Tensor] = {}
    for tie in layout.ties(config):
        tensor = left.pop(tie.theirs, None)
        if tensor is None:  # a model saved without its head lacks the prefix
            tensor = left.pop(tie.theirs.partition(".")[2], None)
        if tensor is None:
            raise CheckpointError(f"The model has no tensor {tie.theirs}.")
        rows = [ours[name].shape[0] for name in tie.ours]
        for name, part in zip(tie.ours, tie.to_ours(tensor, rows), strict=True):
            found[name] = part
            if part.shape != ours[name].shape:
                raise CheckpointError(
                    f"{tie.theirs} gives {tuple(part.shape)} for {name}, {tuple(ours[name].shape)}."
                )
    strangers = [name for name in left if not name.endswith(BUFFERS) and name != HEAD]
    if strangers:
        raise CheckpointError(f"No block has a place for {', '.join(sorted(strangers)[:8])}.")
    if config.tie:
        found["head.out.weight"] = found["embedding.weight"]
    return found


def to_theirs(layout: Layout, config: StackConfig, ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames and joins a state_dict to a family's names."""
    return {tie.theirs: tie.to_theirs([ours[n] for n in tie.ours]) for tie in layout.ties(config)}


def _fitted(table: Tensor, rows: int) -> Tensor:
    missing = max(0, rows - table.shape[0])
    return torch.cat((table[:rows], table.mean(dim=0, keepdim=True).expand(missing, -1)))
