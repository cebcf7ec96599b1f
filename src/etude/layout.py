"""Hugging Face's model folders: one plugin a family says what its fields and tensors are called.

A folder is `config.json`, `model.safetensors` (or shards with an index) and a tokenizer. Only
safetensors are read: nothing in such a folder can run. What a `config.json` asks for and
étude's blocks cannot do is refused by name, never ignored.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import Enum
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
TABLES = ("embedding.weight", "head.out.weight", "head.out.bias")
"""Our tensors with one row a token."""
OLD_NAMES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
"""What the first BERT models call the parts of a norm."""
ZEROS = ("final_logits_bias",)
"""How the names of their tensors end that change nothing while they are zeros."""
SHAPES = {"ratio", "multiple_of", "max_positions", "head_dim"}
"""Values that the shapes of tensors say."""
TRAINING = {"dropout", "init", "balance_loss", "z_loss"}
"""Values that a trained model has no use for."""
Fields: TypeAlias = Mapping[str, Any]
Stacked: TypeAlias = Any  # a StackConfig whose parts have the fields of other plugins' own classes


@dataclass(frozen=True)
class Tie:
    """One of their tensors, and ours: several of ours are theirs cut along the output axis."""

    theirs: str
    ours: tuple[str, ...]
    transposed: bool = False
    """Whether theirs is [in, out], as GPT-2's are."""
    also: tuple[str, ...] = ()
    """Other names of the same tensor: one may stand for it, none is written."""
    offset: int = 0
    """Rows that theirs has before ours, as BART's positions."""
    groups: int = 1
    """How many times ours take turns in theirs: BLOOM's queries, keys and values once a head."""

    def to_ours(self, tensor: Tensor, sizes: Sequence[int]) -> list[Tensor]:
        """Cuts theirs into ours, `sizes` rows each."""
        straight = (tensor.t() if self.transposed else tensor)[self.offset :]
        if self.ours[0] in TABLES:
            return [_fitted(straight, sizes[0])]
        turns = straight.unflatten(0, (self.groups, -1)).split([n // self.groups for n in sizes], 1)
        return [turn.flatten(0, 1) for turn in turns]

    def to_theirs(self, tensors: Sequence[Tensor]) -> Tensor:
        """Joins ours into theirs."""
        turns = [tensor.unflatten(0, (self.groups, -1)) for tensor in tensors]
        joined = torch.cat(turns, dim=1).flatten(0, 1)
        joined = torch.cat((joined.new_zeros(self.offset, *joined.shape[1:]), joined))
        return (joined.t() if self.transposed else joined).contiguous()


@dataclass
class LayoutConfig(PluginConfig):
    """Base of the families of Hugging Face's format: the group `layout`."""


class Layout(ABC):
    """The group `layout`: speaks for the families whose config.json names one of `model_types`."""

    model_types: tuple[str, ...]
    dropped: tuple[str, ...] = ()
    """How the names of their tensors begin or end that a model of ours does without: constants,
    a head that is the token table, what was trained beside the scores of tokens."""

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
    def ties(self, config: Stacked, fields: Fields) -> Iterable[Tie]:
        """Every tensor of a model of this family, whose config.json has these `fields`."""


def chosen(address: str, **values: Any) -> Any:  # the config class is the address's own
    """Returns the config of a plugin with some values set, and its own choice of other parts."""
    kind, group = registry.load(address).config, address.rpartition("/")[0]
    for item in fields(kind):
        if isinstance(item.default, Enum) and item.name in values:
            values[item.name] = type(item.default)(values[item.name])
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


def meaning(fields: Fields, name: str, known: Mapping[str, str]) -> str:
    """Returns what the value of a field means to us. Raises ConfigError for one that is unknown."""
    if fields[name] not in known:
        raise ConfigError(
            f"This {fields['model_type']} model asks for what étude's blocks cannot do:\n  "
            f"{name}={fields[name]!r} (only {', '.join(known)})"
        )
    return known[fields[name]]


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
    """Returns the first layout that has such a model, with its config.json; None if none has.

    What is read of those fields must be what was written: a knob that a layout knows nothing of
    cannot get lost.
    """
    if isinstance(config, StackConfig):
        for layout in layouts():
            fields = layout.write(config, vocab)
            if fields is not None and _same(layout.read(fields), config):
                return layout, fields
    return None


def _same(found: PluginConfig, wanted: PluginConfig) -> bool:
    """Whether networks of two configs compute the same."""
    if type(found) is not type(wanted):
        return False
    pairs = (
        (vars(found)[name], value)
        for name, value in vars(wanted).items()
        if name not in SHAPES | TRAINING
    )
    return all(_same(a, b) if isinstance(b, PluginConfig) else a == b for a, b in pairs)


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
            found |= {_renamed(name): tensor for name, tensor in load_file(file).items()}
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{file} cannot be read: {error}") from error
    return found


def to_ours(
    layout: Layout,
    config: StackConfig,
    fields: Fields,
    theirs: Mapping[str, Tensor],
    ours: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """Renames and cuts their tensors to the names and sizes of `ours`, a state_dict.

    The tables get as many rows as the tokenizer has ids: ones it lacks are dropped, and ones the
    model lacks start as the mean of the others. Raises CheckpointError for a tensor that is
    missing, left over, or of another shape.
    """
    left = set(theirs)
    found: dict[str, Tensor] = {}
    for tie in layout.ties(config, fields):
        names = (tie.theirs, *tie.also)
        names += tuple(name.partition(".")[2] for name in names)  # of a model saved without a head
        present = [name for name in names if name in theirs]
        if not present:
            raise CheckpointError(f"The model has no tensor {tie.theirs}.")
        left -= set(present)
        rows = [ours[name].shape[0] for name in tie.ours]
        for name, part in zip(tie.ours, tie.to_ours(theirs[present[0]], rows), strict=True):
            found[name] = part
            if part.shape != ours[name].shape:
                raise CheckpointError(
                    f"{tie.theirs} gives {tuple(part.shape)} for {name}, {tuple(ours[name].shape)}."
                )
    left -= {name for name in left if name.endswith(ZEROS) and not theirs[name].any()}
    known = layout.dropped
    strangers = [name for name in left if not name.endswith(known) and not name.startswith(known)]
    if strangers:
        raise CheckpointError(f"No block has a place for {', '.join(sorted(strangers)[:8])}.")
    if config.tie:
        found["head.out.weight"] = found["embedding.weight"]
    return found


def to_theirs(
    layout: Layout, config: StackConfig, fields: Fields, ours: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Renames and joins a state_dict to a family's names."""
    ties = layout.ties(config, fields)
    return {tie.theirs: tie.to_theirs([ours[name] for name in tie.ours]) for tie in ties}


def _renamed(name: str) -> str:
    for old, new in OLD_NAMES.items():
        name = name.replace(old, new)
    return name


def _fitted(table: Tensor, rows: int) -> Tensor:
    missing = max(0, rows - table.shape[0])
    mean = table.mean(dim=0, keepdim=True)
    return torch.cat((table[:rows], mean.expand(missing, *table.shape[1:])))
