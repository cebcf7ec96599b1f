"""Writes the `model/` and `adapter/` folders of a run, in the formats of Hugging Face and PEFT."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from etude.config.schema.blocks import StackConfig
from etude.config.schema.plugins import (
    ArchitectureConfig,
)
from etude.data.tokenizer import Tokenizer
from etude.files.run_folder import MODEL
from etude.formats import hugging_face, peft
from etude.formats.checkpoint import write_sealed_folder
from etude.formats.model import ADAPTER_WEIGHTS, Model, read_model
from etude.formats.weight_map import EXTRA_TENSORS, WEIGHTS, to_theirs


def write_adapter(
    model: Model,
    weights: Mapping[str, Tensor],
    names: Collection[str],
    folder: Path,
    facts: Mapping[str, Any] | None = None,
    extra_tensors: Mapping[str, Tensor] | None = None,
) -> None:
    """Writes the adapter weights of a model, with the digest of their base in the manifest.

    `weights` is the adapted network's state_dict, `names` the tensors that differ from the base.
    If PEFT supports the adapter and the network, the folder is in PEFT's format.
    """
    assert model.base is not None, "compatibility checks require a base"
    base = read_model(model.base)
    theirs = peft.peft_export(model.architecture, model.tokenizer.vocab, model.adapter, weights)

    def fill(inside: Path) -> None:
        files = {ADAPTER_WEIGHTS: {name: weights[name] for name in names}}
        if theirs is not None:
            place = base.folder / MODEL if (base.folder / MODEL).exists() else base.folder
            fields = {**theirs[0], "base_model_name_or_path": str(place.resolve())}
            text = json.dumps(fields, indent=2) + "\n"
            (inside / peft.CONFIG).write_text(text, encoding="utf-8")
            files = {peft.WEIGHTS: theirs[1]}
        _save({**files, EXTRA_TENSORS: extra_tensors or {}}, inside)

    origin = {"base": base.digest, "base_folder": str(base.folder.absolute())}
    write_sealed_folder(folder, fill, {**(facts or {}), **origin})


def _save(files: Mapping[str, Mapping[str, Tensor]], folder: Path) -> None:
    """Writes each file that contains at least one tensor."""
    for name, tensors in files.items():
        if tensors:
            copies = {key: tensor.detach().cpu().clone() for key, tensor in tensors.items()}
            save_file(copies, folder / name, metadata={"format": "pt"})


def write_model(
    weights: Mapping[str, Tensor],
    config: ArchitectureConfig,
    tokenizer: Tokenizer,
    folder: Path,
    facts: Mapping[str, Any] | None = None,
    extra_tensors: Mapping[str, Tensor] | None = None,
) -> None:
    """Writes a model folder: weights, tokenizer and, if a layout supports the model, config.json.

    With a config.json, transformers' Auto classes load the folder. `weights` is a network's
    state_dict. The folder is written atomically; its manifest contains `facts`. `extra_tensors`
    go to a separate file.
    """
    found = hugging_face.find_layout(config, tokenizer.vocab)

    def fill(inside: Path) -> None:
        tensors = {name: tensor.contiguous() for name, tensor in weights.items()}
        if found is not None and isinstance(config, StackConfig):
            family, fields = found
            tensors = to_theirs(family.weight_map(config, fields), weights)
            hugging_face.write_fields(inside, fields, tokenizer.vocab)
        _save({WEIGHTS: tensors, EXTRA_TENSORS: extra_tensors or {}}, inside)
        tokenizer.save(inside)

    write_sealed_folder(folder, fill, facts)
