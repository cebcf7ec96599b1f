"""Hugging Face's model folders; one plugin per model family maps its fields and tensors to ours.

A folder contains `config.json`, `model.safetensors` (or shards with an index) and a tokenizer.
Only safetensors are read, so no code in such a folder can run. A setting in `config.json` that
étude's blocks do not support is an error that names it, and is never ignored.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from enum import Enum
from pathlib import Path
from typing import Any, TypeAlias

from etude.config import plugin_files, registry
from etude.config.plugin_source import descriptions
from etude.config.schema.blocks import StackConfig
from etude.config.schema.plugins import ArchitectureConfig, PluginConfig, TokenizerConfig
from etude.data.vocab import Vocab
from etude.errors import CheckpointError, ConfigError
from etude.formats.weight_map import WeightMapping

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
GENERATION = "generation_config.json"
GELUS = {"gelu": "none", "gelu_new": "tanh", "gelu_fast": "tanh", "gelu_pytorch_tanh": "tanh"}
"""Our GELU approximation for each of Hugging Face's names."""
GELU_NAMES = {"none": "gelu", "tanh": "gelu_new"}
"""Hugging Face's name for each of our GELU approximations."""
SHAPES = {"ratio", "multiple_of", "max_positions", "head_dim"}
"""Knobs that follow from the shapes of the tensors."""
TRAINING = {"dropout", "init", "balance_loss", "z_loss"}
"""Knobs that only affect training."""
Fields: TypeAlias = Mapping[str, Any]
Stacked: TypeAlias = Any  # a StackConfig whose parts have the fields of other plugins' own classes


@dataclass
class LayoutConfig(PluginConfig):
    """Base config of the group `layout`: the model families of Hugging Face's format."""


class Layout(ABC):
    """Contract of the group `layout`: converts the families whose `model_type` it lists."""

    model_types: tuple[str, ...]
    dropped: tuple[str, ...] = ()
    """Prefixes or suffixes of tensors in the checkpoint that our model does not need: constants,
    a head tied to the token embedding, heads trained besides the LM head."""

    def __init__(self, config: LayoutConfig) -> None:
        self.config = config

    @abstractmethod
    def read(self, fields: Fields) -> StackConfig:
        """Returns the architecture of a config.json. Raises ConfigError if it is not supported."""

    @abstractmethod
    def write(self, config: Stacked, vocab: Vocab) -> dict[str, Any] | None:
        """Returns the config.json of an architecture, or None if the family has no such model.

        `fitting` adds the fields that all families share.
        """

    @abstractmethod
    def weight_map(self, config: Stacked, fields: Fields) -> Iterable[WeightMapping]:
        """The mapping of every tensor of a model of this family with these config.json `fields`."""


def plugin_config(address: str, **values: Any) -> Any:  # the config class is the address's own
    """Returns the config of a plugin with some values set, and its default plugins as parts."""
    kind = registry.load(address).config
    group = address.rpartition("/")[0]
    for item in fields(kind):
        if isinstance(item.default, Enum) and item.name in values:
            values[item.name] = type(item.default)(values[item.name])
        if "option" in item.metadata and item.name not in values:
            values[item.name] = plugin_config(f"{group}/{item.name}/{item.metadata['option']}")
    return kind(**values)


def is_made_of(config: ArchitectureConfig, stack: str, **parts: str) -> bool:
    """Whether an architecture is the plugin `stack` with these plugins as parts, by name."""
    if _name(config) != stack or not isinstance(config, StackConfig):
        return False
    return all(_name(getattr(config, group)) == name for group, name in parts.items())


def _name(config: PluginConfig) -> str:
    return registry.plugin_of(config).address.rpartition("/")[2]


def plain_heads(config: Stacked) -> bool:
    """Whether head_dim is dim / n_heads; most families have no field for another value."""
    return config.mixer.head_dim in (None, config.dim // config.n_heads)


def tokenizer_of(folder: Path) -> TokenizerConfig:
    """Returns the config that loads the tokenizer in a model folder."""
    found = descriptions("tokenizer").items()
    (name,) = (name for name, one in found if one.declared.get("loads"))
    return plugin_config(f"tokenizer/{name}", path=str(folder))


def meaning(fields: Fields, name: str, known: Mapping[str, str]) -> str:
    """Returns our equivalent of a field's value. Raises ConfigError if the value is unknown."""
    if fields[name] not in known:
        raise ConfigError(
            f"This {fields['model_type']} model asks for what étude's blocks cannot do:\n  "
            f"{name}={fields[name]!r} (only {', '.join(known)})"
        )
    return known[fields[name]]


def refuse_others(fields: Fields, allowed: Mapping[str, Any]) -> None:
    """Raises ConfigError if a field has a value other than the only supported one."""
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
    """Whether a folder contains a model in Hugging Face's format."""
    return (folder / CONFIG).is_file()


def write_fields(folder: Path, fields: Fields, vocab: Vocab) -> None:
    """Writes config.json and generation_config.json, so transformers stops at the same tokens."""
    begun = ("bos_token_id", "pad_token_id", "decoder_start_token_id")
    asked = {key: fields[key] for key in begun if key in fields}
    for name, held in (CONFIG, fields), (GENERATION, {**asked, "eos_token_id": list(vocab.stops)}):
        (folder / name).write_text(json.dumps(held, indent=2) + "\n", encoding="utf-8")


def read_fields(folder: Path) -> dict[str, Any]:
    """Returns the fields of config.json. Raises CheckpointError if it cannot be read."""
    try:
        fields = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        return {**fields, "model_type": str(fields["model_type"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder / CONFIG} cannot be read: {error!r}") from error


def layouts() -> list[Layout]:
    """All layouts."""
    plugins = (registry.load(f"layout/{name}") for name in plugin_files.options("layout"))
    return [plugin.build(plugin.config()) for plugin in plugins]


def layout_of(model_type: str) -> Layout:
    """Returns the layout of a model type. Raises ConfigError if there is none."""
    for layout in layouts():
        if model_type in layout.model_types:
            return layout
    known = [name for layout in layouts() for name in layout.model_types]
    raise ConfigError(
        f"Models of type {model_type} cannot be read.\n  Families here: {', '.join(known)}."
    )


def fitting(config: ArchitectureConfig, vocab: Vocab) -> tuple[Layout, dict[str, Any]] | None:
    """Returns the first layout that supports this model, with its config.json; None if none does.

    Reading the fields must give back the same config, so no knob that a layout ignores is lost.
    """
    if isinstance(config, StackConfig):
        for layout in layouts():
            own = layout.write(config, vocab)
            fields = {**(own or {}), **_common(vocab)}
            if own is not None and _same(layout.read(fields), config):
                return layout, fields
    return None


def _common(vocab: Vocab) -> dict[str, Any]:
    """The config.json fields that all families share."""
    return {
        "vocab_size": vocab.size,
        "bos_token_id": vocab.bos,
        "eos_token_id": vocab.eos,
        "pad_token_id": vocab.pad,
        "dtype": "float32",
    }


def _same(found: PluginConfig, wanted: PluginConfig) -> bool:
    """Whether the networks of two configs compute the same function."""
    if type(found) is not type(wanted):
        return False
    pairs = (
        (vars(found)[name], value)
        for name, value in vars(wanted).items()
        if name not in SHAPES | TRAINING
    )
    return all(_same(a, b) if isinstance(b, PluginConfig) else a == b for a, b in pairs)
