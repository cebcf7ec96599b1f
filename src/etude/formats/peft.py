"""Reads and writes PEFT's adapter folders: adapter_config.json and adapter_model.safetensors.

An adapter plugin that PEFT supports has a `PeftFormat`. PEFT uses the tensor names of Hugging
Face's models, so this works only for networks with a layout. A folder contains one adapter.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from torch import Tensor

from etude.config import plugin_files
from etude.config.schema.blocks import StackConfig
from etude.config.schema.plugins import AdapterConfig, ArchitectureConfig
from etude.data.vocab import Vocab
from etude.errors import CheckpointError, ConfigError
from etude.files.json_file import read_json, reading
from etude.formats import hugging_face
from etude.formats.hugging_face import Fields, WeightMapping
from etude.formats.sizes import require_integers
from etude.formats.state_tree import tensors_of

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."
TASKS = {"CausalLM": "CAUSAL_LM", "LMHeadModel": "CAUSAL_LM", "Generation": "SEQ_2_SEQ_LM"}
"""PEFT's task for each suffix of transformers' class names."""
PeftFiles: TypeAlias = tuple[dict[str, Any], dict[str, Tensor]]
"""The fields of adapter_config.json, and the tensors."""


@dataclass(frozen=True)
class HFLinear:
    """A linear layer of the Hugging Face model, and our layers that it concatenates."""

    name: str
    ours: tuple[str, ...]
    mapping: WeightMapping

    def join(self, rows: Sequence[Tensor]) -> Tensor:
        """Joins our tensors, which have one row per output, into theirs."""
        return self.mapping.to_theirs(rows)

    def split(self, rows: Tensor, sizes: Sequence[int]) -> list[Tensor]:
        """Splits their tensor into ours, `sizes` rows each."""
        return self.mapping.to_ours(rows, sizes)


@dataclass(frozen=True)
class TransformersView:
    """The network in transformers' layout; `state` has our tensors, named as in the base."""

    architecture: StackConfig
    linears: list[HFLinear]
    state: Mapping[str, Tensor]
    task: str | None
    transposed: bool
    """Whether linear weights are stored as [in, out]."""


class PeftFormat(ABC):
    """Converts an adapter to PEFT's format and back; tensor names are without PEFT's prefix."""

    peft_type: str

    @abstractmethod
    def write(self, theirs: TransformersView) -> PeftFiles | str:
        """PEFT's files of the adapter, or the reason why PEFT cannot represent it."""

    @abstractmethod
    def read(
        self, theirs: TransformersView, fields: Fields, found: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """The tensors of the adapter in `theirs.state`, by our names."""

    @abstractmethod
    def config(self, fields: Fields, linears: Sequence[HFLinear]) -> AdapterConfig:
        """Returns our config of a PEFT adapter that has tensors for these linear layers.

        Raises ConfigError if it is not supported.
        """


@dataclass(frozen=True)
class PeftPart:
    """One of our linear layers: its weight, and the adapter's tensors for it."""

    weight: Tensor
    tensors: dict[str, Tensor]


class LinearFormat(PeftFormat):
    """Converts an adapter of linear layers to PEFT's format and back."""

    names: tuple[str, ...]
    """Our names of the adapter's tensors."""
    ends: tuple[str, ...]
    """Suffixes of PEFT's tensor names."""

    @abstractmethod
    def fields(self, linears: Sequence[HFLinear], transposed: bool) -> dict[str, Any]:
        """PEFT's config fields for an adapter of these layers."""

    @abstractmethod
    def join(self, one: HFLinear, parts: Sequence[PeftPart]) -> dict[str, Tensor] | None:
        """PEFT's tensors by suffix; None if PEFT cannot represent the adapter."""

    @abstractmethod
    def split(
        self, one: HFLinear, parts: Sequence[PeftPart], fields: Fields, found: Mapping[str, Tensor]
    ) -> list[dict[str, Tensor]]:
        """Splits PEFT's tensors into ours, one dict for each part."""

    def write(self, theirs: TransformersView) -> PeftFiles | str:
        tensors: dict[str, Tensor] = {}
        adapted: list[HFLinear] = []
        for one in theirs.linears:
            parts = self._parts(one, theirs)
            if any(part.tensors for part in parts):
                joined = self.join(one, parts)
                if one.mapping.stacked:
                    return f"transformers stacks {one.name} with others, which PEFT adapts as one"
                if joined is None:
                    return f"PEFT cannot adapt {one.name} like this"
                tensors |= {f"{one.name}.{end}": tensor for end, tensor in joined.items()}
                adapted.append(one)
        total = sum(name.endswith(tuple(f".{n}" for n in self.names)) for name in theirs.state)
        if total != sum(len(p.tensors) for one in adapted for p in self._parts(one, theirs)):
            return "some adapted layers are no separate layers in transformers' model"
        return self.fields(adapted, theirs.transposed), tensors

    def read(
        self, theirs: TransformersView, fields: Fields, found: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        ours: dict[str, Tensor] = {}
        left = dict(found)
        for one in theirs.linears:
            inside = {end: left.pop(n) for end in self.ends if (n := f"{one.name}.{end}") in found}
            if not inside:
                continue
            parts = self._parts(one, theirs)
            for our, cut in zip(one.ours, self.split(one, parts, fields, inside), strict=True):
                named = {f"{our}.{name}": tensor for name, tensor in cut.items()}
                ours |= {name: t for name, t in named.items() if name in theirs.state}
        if left:
            names = ", ".join(sorted(left)[:8])
            raise CheckpointError(f"Unexpected tensors in the adapter: {names}.")
        return ours

    def _parts(self, one: HFLinear, theirs: TransformersView) -> list[PeftPart]:
        state = theirs.state
        return [
            PeftPart(
                state[f"{our}.weight"],
                {name: state[key] for name in self.names if (key := f"{our}.{name}") in state},
            )
            for our in one.ours
        ]


def is_peft(folder: Path) -> bool:
    """Whether a folder contains an adapter in PEFT's format."""
    return (folder / CONFIG).is_file()


def read_fields(folder: Path) -> dict[str, Any]:
    """Returns the fields of adapter_config.json. Raises CheckpointError if it cannot be read."""
    fields = read_json(folder / CONFIG)
    with reading(folder / CONFIG):
        return {**fields, "model_type": str(fields["peft_type"])}


def base_of(folder: Path) -> str:
    """The folder of the adapter's base model. Raises ConfigError if it is not given."""
    base = read_fields(folder).get("base_model_name_or_path")
    if not base:
        raise ConfigError(
            f"{folder / CONFIG} does not name a base model.\n"
            "  base_model_name_or_path must be the folder of the model it was trained on."
        )
    return base


def peft_export(
    architecture: ArchitectureConfig,
    vocab: Vocab,
    adapter: Mapping[str, AdapterConfig],
    state: Mapping[str, Tensor],
) -> PeftFiles | str:
    """PEFT's files of an adapter, or the reason why PEFT cannot load it."""
    names = ",".join(adapter)
    if len(adapter) != 1:
        return f"a PEFT folder has one adapter, and this run has adapter=[{names}]"
    form: PeftFormat | None = next(iter(adapter.values())).peft_format()
    theirs = _transformers_view(architecture, vocab, state)
    if form is None:
        return f"PEFT has no equivalent of adapter={names}"
    if theirs is None:
        return "transformers has no equivalent of this network"
    exported = form.write(theirs)
    if isinstance(exported, str):
        return exported
    fields, tensors = exported
    kind = {"peft_type": form.peft_type, "task_type": theirs.task, "inference_mode": True}
    return {**kind, **fields}, {_full(name): tensor for name, tensor in tensors.items()}


def adapter_of(
    folder: Path, architecture: ArchitectureConfig, vocab: Vocab
) -> dict[str, AdapterConfig]:
    """The config of the adapter in a PEFT folder. Raises ConfigError if it is not supported."""
    fields = read_fields(folder)
    theirs = _transformers_view(architecture, vocab, {})
    known: list[str] = []
    for name in plugin_files.options("adapter"):
        form = hugging_face.plugin_config(f"adapter/{name}").peft_format()
        known += [] if form is None else [form.peft_type]
        if theirs is not None and form is not None and form.peft_type == fields["peft_type"]:
            tensors = _tensors(folder)
            with reading(folder / CONFIG):
                try:
                    config = form.config(fields, _adapted_linears(theirs, tensors))
                except ValueError as error:
                    raise ConfigError(f"{folder}: {error}.") from error
            shapes = [tensor.shape for tensor in tensors.values()]
            require_integers(folder / CONFIG, fields, config, shapes)
            return {name: config}
    raise ConfigError(
        f"{folder} contains an adapter of the unsupported type {fields['peft_type']}.\n"
        f"  Supported: {', '.join(known)}, on networks with a Hugging Face layout."
    )


def read_adapter(
    folder: Path,
    architecture: ArchitectureConfig,
    vocab: Vocab,
    adapter: Mapping[str, AdapterConfig],
    state: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """The tensors of a PEFT folder by the names in `state`, an adapted network's state_dict."""
    theirs = _transformers_view(architecture, vocab, state)
    assert theirs is not None, "PEFT adapters are accepted only for networks with a layout"
    [form] = [config.peft_format() for config in adapter.values()]
    read = form.read(theirs, read_fields(folder), _tensors(folder))
    plain = {_plain(name): name for name in state}
    return {plain[name]: tensor for name, tensor in read.items()}


def _adapted_linears(theirs: TransformersView, found: Mapping[str, Tensor]) -> list[HFLinear]:
    """The linear layers that have tensors in `found`."""
    return [one for one in theirs.linears if any(n.startswith(f"{one.name}.") for n in found)]


def _tensors(folder: Path) -> dict[str, Tensor]:
    if not (folder / WEIGHTS).is_file():
        raise CheckpointError(f"{folder} contains no {WEIGHTS}. Other formats are not read.")
    return {k.removeprefix(PREFIX): v for k, v in tensors_of(folder / WEIGHTS).items()}


def _transformers_view(
    architecture: ArchitectureConfig, vocab: Vocab, state: Mapping[str, Tensor]
) -> TransformersView | None:
    found = hugging_face.find_layout(architecture, vocab)
    if found is None:
        return None
    assert isinstance(architecture, StackConfig)
    family, fields = found
    linears: list[HFLinear] = []
    transposed = False
    for mapping in family.weight_map(architecture, fields):
        if all(name.endswith(".weight") for name in (mapping.theirs, *mapping.ours)):
            ours = tuple(name.removesuffix(".weight") for name in mapping.ours)
            straight = replace(mapping, transposed=False)
            linears.append(HFLinear(mapping.theirs.removesuffix(".weight"), ours, straight))
            transposed |= mapping.transposed
    made = fields["architectures"][0]
    task = next((task for end, task in TASKS.items() if made.endswith(end)), None)
    plain = {_plain(name): tensor for name, tensor in state.items()}
    return TransformersView(architecture, linears, plain, task, transposed)


def _plain(name: str) -> str:
    """A tensor's name without the adapters that wrap its module."""
    return re.sub(r"(\.base)+\.", ".", name)


def _full(name: str) -> str:
    return name if "." not in name else PREFIX + name
