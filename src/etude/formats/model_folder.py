"""Reads models: what a run left behind, or a folder in Hugging Face's format; writes `model/`."""

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
from etude.formats.model import LEARNED, Model, read_model
from etude.formats.weight_map import BESIDE, to_theirs


def write_adapter(
    model: Model,
    weights: Mapping[str, Tensor],
    names: Collection[str],
    folder: Path,
    facts: Mapping[str, Any] | None = None,
    extra_tensors: Mapping[str, Tensor] | None = None,
) -> None:
    """Writes what the adapters of a model learned, sealed with the digest of the base they need.

    `weights` is the adapted network's state_dict, `names` what differs from the base. Where PEFT
    has such an adapter and network, the folder is one of PEFT's.
    """
    assert model.base is not None, "compatibility asks every adapter for a base"
    base = read_model(model.base)
    theirs = peft.written(model.architecture, model.tokenizer.vocab, model.adapter, weights)

    def fill(inside: Path) -> None:
        files = {LEARNED: {name: weights[name] for name in names}}
        if theirs is not None:
            place = base.folder / MODEL if (base.folder / MODEL).exists() else base.folder
            fields = {**theirs[0], "base_model_name_or_path": str(place.resolve())}
            text = json.dumps(fields, indent=2) + "\n"
            (inside / peft.CONFIG).write_text(text, encoding="utf-8")
            files = {peft.WEIGHTS: theirs[1]}
        _save({**files, BESIDE: extra_tensors or {}}, inside)

    about = {"base": base.digest, "base_folder": str(base.folder.absolute())}
    write_sealed_folder(folder, fill, {**(facts or {}), **about})


def _save(files: Mapping[str, Mapping[str, Tensor]], folder: Path) -> None:
    """Writes each file that holds a tensor."""
    for name, held in files.items():
        if held:
            alone = {key: tensor.detach().cpu().clone() for key, tensor in held.items()}
            save_file(alone, folder / name, metadata={"format": "pt"})


def write_model(
    weights: Mapping[str, Tensor],
    config: ArchitectureConfig,
    tokenizer: Tokenizer,
    folder: Path,
    facts: Mapping[str, Any] | None = None,
    extra_tensors: Mapping[str, Tensor] | None = None,
) -> None:
    """Writes a model folder: weights, tokenizer and, where a family has such a model, config.json.

    `weights` is a network's state_dict. Then transformers' Auto classes load the folder, which is
    whole or absent, and sealed with `facts`. `extra_tensors` have a file of
    their own.
    """
    found = hugging_face.fitting(config, tokenizer.vocab)

    def fill(inside: Path) -> None:
        tensors = {name: tensor.contiguous() for name, tensor in weights.items()}
        if found is not None and isinstance(config, StackConfig):
            family, fields = found
            tensors = to_theirs(family.weight_map(config, fields), weights)
            hugging_face.write_fields(inside, fields, tokenizer.vocab)
        _save({hugging_face.WEIGHTS: tensors, BESIDE: extra_tensors or {}}, inside)
        tokenizer.save(inside)

    write_sealed_folder(folder, fill, facts)
