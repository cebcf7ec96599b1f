"""Hugging Face's model folders; one plugin per model family maps its fields and tensors to ours.

A folder contains `config.json`, `model.safetensors` (or shards with an index) and a tokenizer.
Only safetensors are read, so no code in such a folder can run. A setting in `config.json` that
étude's blocks do not support is an error that names it, and is never ignored. A setting that it
leaves out has the default of transformers.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import Any, TypeAlias

from omegaconf import OmegaConf

from etude.config import plugin_files, registry
from etude.config.plugin_source import descriptions
from etude.config.schema.blocks import StackConfig
from etude.config.schema.plugins import (
    ArchitectureConfig,
    LayoutConfig,
    PluginConfig,
    TokenizerConfig,
)
from etude.data.vocab import Vocab
from etude.errors import CheckpointError, ConfigError
from etude.files.json_file import read_json, reading
from etude.formats.score_head import ScoreFormat
from etude.formats.weight_map import WeightMapping

CONFIG = "config.json"
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
AnyStack: TypeAlias = Any  # a StackConfig whose parts have the fields of other plugins' own classes


class CompleteFields(dict[str, Any]):
    """The fields of a config.json, with transformers' defaults for those that it leaves out."""

    def __init__(self, fields: Fields, defaults: Fields, source: str) -> None:
        super().__init__({**defaults, **fields})
        self.source = source
        self._defaults = defaults
        self._sizes: dict[str, Any] = {}
        self.left_out = {name: value for name, value in defaults.items() if name not in fields}

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        if name not in self._defaults:  # sizes have none
            self._sizes[name] = value
        return value

    def __missing__(self, name: str) -> None:
        raise CheckpointError(f"{self.source} has no field {name!r}, and it has no default.")

    @property
    def no_sizes(self) -> str:
        """The sizes looked up so far that are no positive integers, for errors."""
        odd = [f"{k}={v!r}" for k, v in self._sizes.items() if type(v) is not int or v <= 0]
        return f" ({', '.join(odd)})" if odd else ""

    @property
    def defaults_used(self) -> str:
        """A line for errors that names the defaults which were used; empty if none was."""
        used = ", ".join(f"{name}={value}" for name, value in self.left_out.items())
        return f"\n  {self.source} leaves out fields, whose defaults are {used}." if used else ""


class Layout(ABC):
    """Contract of the group `layout`: converts the families that `defaults` lists."""

    defaults: Mapping[str, Mapping[str, Any]]
    """For each `model_type`: what transformers assumes for fields that a config.json leaves out.
    Sizes have no defaults here: those of transformers describe one particular model."""
    dropped: tuple[str, ...] = ()
    """Prefixes or suffixes of tensors in the checkpoint that our model does not need: constants,
    a head tied to the token embedding, heads trained besides the LM head."""
    scores: Mapping[str, ScoreFormat] = {}
    """For a `model_type`, how its class for sequence classification scores a text; decoders, and
    families whose class computes another score, have no entry."""

    def __init__(self, config: LayoutConfig) -> None:
        self.config = config

    def complete(self, fields: Fields, source: str = CONFIG) -> CompleteFields:
        """The fields of a config.json with the defaults of its family; `source` is its path."""
        return CompleteFields(fields, self.defaults[fields["model_type"]], source)

    @abstractmethod
    def read(self, fields: Fields) -> StackConfig:
        """Returns the architecture of completed `fields`. Raises ConfigError for unsupported ones.

        Looking up a field that is missing and has no default raises CheckpointError.
        """

    @abstractmethod
    def write(self, config: AnyStack, vocab: Vocab) -> dict[str, Any] | None:
        """Returns the config.json of an architecture, or None if the family has no such model.

        `find_layout` adds the fields that all families share.
        """

    @abstractmethod
    def weight_map(self, config: AnyStack, fields: Fields) -> Iterable[WeightMapping]:
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


def has_parts(config: ArchitectureConfig, stack: str, **parts: str) -> bool:
    """Whether an architecture is the plugin `stack` with these plugins as parts, by name."""
    if _name(config) != stack or not isinstance(config, StackConfig):
        return False
    return all(_name(getattr(config, group)) == name for group, name in parts.items())


def _name(config: PluginConfig) -> str:
    return registry.plugin_of(config).address.rpartition("/")[2]


def has_default_head_dim(config: AnyStack) -> bool:
    """Whether head_dim is dim / n_heads; most families have no field for another value."""
    return config.mixer.key_dim in (None, config.dim // config.n_heads)


def tokenizer_of(folder: Path) -> TokenizerConfig:
    """Returns the config that loads the tokenizer in a model folder."""
    found = descriptions("tokenizer").items()
    (name,) = (name for name, one in found if one.declared.get("loads"))
    return plugin_config(f"tokenizer/{name}", path=str(folder))


def translate(fields: Fields, name: str, known: Mapping[str, str]) -> str:
    """Returns our equivalent of a field's value. Raises ConfigError if the value is unknown."""
    if fields[name] not in known:
        raise ConfigError(
            f"étude does not support these fields of this {fields['model_type']} config:\n  "
            f"{name}={fields[name]!r} (supported: {', '.join(known)})"
        )
    return known[fields[name]]


def require_values(fields: Fields, allowed: Mapping[str, Any]) -> None:
    """Raises ConfigError if a field has a value other than the only supported one."""
    wrong = [
        f"{name}={fields[name]!r} (supported: {value!r})"
        for name, value in allowed.items()
        if name in fields and fields[name] != value
    ]
    if wrong:
        raise ConfigError(
            f"étude does not support these fields of this {fields.get('model_type')} config:\n  "
            + "\n  ".join(wrong)
        )


def is_hugging_face(folder: Path) -> bool:
    """Whether a folder contains a model in Hugging Face's format."""
    return (folder / CONFIG).is_file()


def write_fields(folder: Path, fields: Fields, vocab: Vocab) -> None:
    """Writes config.json and generation_config.json, so transformers stops at the same tokens."""
    names = ("bos_token_id", "pad_token_id", "decoder_start_token_id")
    ids = {name: fields[name] for name in names if name in fields}
    for file, value in (CONFIG, fields), (GENERATION, {**ids, "eos_token_id": list(vocab.stops)}):
        (folder / file).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def read_fields(folder: Path) -> tuple[Layout, CompleteFields]:
    """Returns the layout and completed fields of a folder. Raises CheckpointError if unreadable."""
    fields = read_json(folder / CONFIG)
    with reading(folder / CONFIG):
        json.dumps(fields, allow_nan=False)  # raises ValueError for NaN and infinity
        layout = layout_of(str(fields["model_type"]))
        return layout, layout.complete(fields, str(folder / CONFIG))


def architecture_of(folder: Path) -> StackConfig:
    """Returns the architecture of a model folder. Raises ConfigError if it is not supported."""
    layout, fields = read_fields(folder)
    try:
        if fields["vocab_size"] < 1:
            raise ValueError(f"vocab_size={fields['vocab_size']}")
        architecture = layout.read(fields)
        OmegaConf.structured(architecture)  # raises ValueError for a value of another type
        return architecture
    except ConfigError as error:
        raise ConfigError(f"{folder / CONFIG}: {error}{fields.defaults_used}") from error
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        note = f"{error}{fields.no_sizes}{fields.defaults_used}"
        raise CheckpointError(f"{folder / CONFIG} describes no model: {note}") from error


def layouts() -> list[Layout]:
    """All layouts."""
    plugins = (registry.load(f"layout/{name}") for name in plugin_files.options("layout"))
    return [plugin.build(plugin.config()) for plugin in plugins]


def layout_of(model_type: str) -> Layout:
    """Returns the layout of a model type. Raises ConfigError if there is none."""
    for layout in layouts():
        if model_type in layout.defaults:
            return layout
    known = [name for layout in layouts() for name in layout.defaults]
    raise ConfigError(
        f"model_type={model_type} is not supported.\n  Supported: {', '.join(known)}."
    )


def find_layout(config: ArchitectureConfig, vocab: Vocab) -> tuple[Layout, dict[str, Any]] | None:
    """Returns the first layout that supports this model, with its config.json; None if none does.

    Reading the fields must give back the same config, so no knob that a layout ignores is lost.
    """
    if isinstance(config, StackConfig):
        for layout in layouts():
            family_fields = layout.write(config, vocab)
            fields = {**(family_fields or {}), **_common_fields(vocab)}
            if family_fields is not None and _is_equivalent(
                layout.read(layout.complete(fields)), config
            ):
                return layout, fields
    return None


def _common_fields(vocab: Vocab) -> dict[str, Any]:
    """The config.json fields that all families share."""
    return {
        "vocab_size": vocab.size,
        "bos_token_id": vocab.known(vocab.bos),
        "eos_token_id": vocab.eos,
        "pad_token_id": None if vocab.pad == vocab.eos else vocab.pad,
        "dtype": "float32",
    }


def _is_equivalent(found: PluginConfig, wanted: PluginConfig) -> bool:
    """Whether the networks of two configs compute the same function."""
    if type(found) is not type(wanted):
        return False
    pairs = (
        (vars(found)[name], value)
        for name, value in vars(wanted).items()
        if name not in SHAPES | TRAINING
    )
    return all(_is_equivalent(a, b) if isinstance(b, PluginConfig) else a == b for a, b in pairs)
