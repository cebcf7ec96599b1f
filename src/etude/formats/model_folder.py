"""Writes the `model/` and `adapter/` folders of a run, in the formats of Hugging Face and PEFT."""

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from etude.capability import Capability
from etude.config.capabilities import capabilities_of
from etude.config.registry import build
from etude.config.schema.blocks import StackConfig
from etude.config.schema.plugins import ArchitectureConfig
from etude.files.manifest import MANIFEST
from etude.files.run_folder import BASE, MODEL
from etude.formats import hugging_face, peft
from etude.formats.checkpoint import write_sealed_folder
from etude.formats.frame import save_tokenizer
from etude.formats.model import ADAPTER_WEIGHTS, Model, read_model
from etude.formats.score_head import HEAD, LABELS, LinearScore, score_fields
from etude.formats.state_tree import save_tensors
from etude.formats.weight_map import EXTRA_TENSORS, WEIGHTS, to_theirs
from etude.network.network import Network

Tensors = Mapping[str, Tensor]


def write_adapter(
    model: Model,
    weights: Tensors,
    names: Collection[str],
    folder: Path,
    facts: Mapping[str, Any] | None = None,
    extra_tensors: Tensors | None = None,
) -> str | None:
    """Writes the adapter weights of a model, with the digest of their base in the manifest.

    `weights` is the adapted network's state_dict, `names` the tensors that differ from the base.
    The folder is in PEFT's format; returns the reason why it is not, or has no score head there.
    PEFT needs a base that transformers can open: if `model.base` is none, `base/` is written.
    """
    assert model.base is not None, "compatibility checks require a base"
    base = read_model(model.base)
    theirs = peft.peft_export(model.architecture, model.tokenizer.vocab, model.adapter, weights)
    place = None if isinstance(theirs, str) else _plain_base(model, base, folder.parent / BASE)

    def fill(inside: Path) -> None:
        files = {ADAPTER_WEIGHTS: {name: weights[name] for name in names}}
        if not isinstance(theirs, str):
            fields = {**theirs[0], "base_model_name_or_path": str(place)}
            text = json.dumps(fields, indent=2) + "\n"
            (inside / peft.CONFIG).write_text(text, encoding="utf-8")
            save_tokenizer(model, inside)
            files = {peft.WEIGHTS: theirs[1]}
        _save({**files, EXTRA_TENSORS: extra_tensors or {}}, inside)

    reason = None
    if place is None:
        reason = f"{folder.name}/ is not in PEFT's format: {theirs}"
    elif f"{HEAD}.weight" in (extra_tensors or {}):
        reason = (
            f"PEFT cannot read the scores of {folder.name}/: `etude merge` writes its head, too"
        )
    origin = {"base": base.digest, "base_folder": str(base.folder.absolute())}
    write_sealed_folder(folder, fill, {**(facts or {}), **origin, **_note_field(reason)})
    return reason


def _plain_base(model: Model, base: Model, beside: Path) -> Path:
    """The folder of the network without this run's adapters, in transformers' format.

    It is that of the base if it is plain and has the same vocabulary; else it is written `beside`.
    """
    while base.keeps_adapters:  # the same adapters, which this run trained on
        base = read_model(str(base.base))
    vocab = model.tokenizer.vocab
    place = base.folder / MODEL if (base.folder / MODEL).exists() else base.folder
    is_plain = not base.adapter and hugging_face.is_hugging_face(place)
    if is_plain and hugging_face.read_fields(place)[1]["vocab_size"] == vocab.size:
        return place.resolve()
    if not (beside / MANIFEST).exists():
        with torch.random.fork_rng(devices=[]):  # training may go on
            network: Network = build(model.architecture, vocab)
        base.load_weights(network)
        plain = replace(base, architecture=model.architecture, tokenizer=model.tokenizer)
        write_model(plain, network.state_dict(), beside, {"merged_from": base.digest})
    return beside.resolve()


def write_merged(model: Model, folder: Path) -> str | None:
    """Writes a model with its adapters merged, as `write_model` does."""
    head = {f"{HEAD}.{name}": tensor for name, tensor in model.extra_tensors(HEAD).items()}
    facts = {k: v for k, v in model.facts.items() if k.startswith("val/") or k == LABELS}
    facts["merged_from"] = model.digest
    return write_model(model, model.network().state_dict(), folder, facts, head)


def _save(files: Mapping[str, Tensors], folder: Path) -> None:
    """Writes each file that contains at least one tensor."""
    for name, tensors in files.items():
        if tensors:
            copies = {key: tensor.detach().cpu().clone() for key, tensor in tensors.items()}
            save_tensors(copies, folder / name, {"format": "pt"})


def write_model(
    model: Model,
    weights: Tensors,
    folder: Path,
    facts: Mapping[str, Any] | None = None,
    extra_tensors: Tensors | None = None,
) -> str | None:
    """Writes a model folder: weights, tokenizer and, if a layout supports the model, config.json.

    With a config.json, transformers' Auto classes load the folder. `weights` is a network's
    state_dict. The folder is written atomically; its manifest contains `facts`. `extra_tensors`
    go to a separate file; a score head among them also makes the folder one of sequence
    classification. Returns the reason why transformers cannot read the model or its scores.
    """
    config = model.architecture
    vocab = model.tokenizer.vocab
    found = hugging_face.find_layout(config, vocab)
    extra = extra_tensors or {}
    scores = _score_tensors(config, found, extra)
    reason = f"transformers cannot read the scores of {folder.name}/: {scores}"

    def fill(inside: Path) -> None:
        tensors: Tensors = {name: tensor.contiguous() for name, tensor in weights.items()}
        if found is not None and isinstance(config, StackConfig):
            family, fields = found
            tensors = to_theirs(family.weight_map(config, fields), weights)
            if isinstance(scores, dict):
                fields = score_fields(fields, vocab)
                tensors |= scores
            hugging_face.write_fields(inside, fields, vocab)
        _save({WEIGHTS: tensors, EXTRA_TENSORS: extra}, inside)
        save_tokenizer(model, inside, scores=isinstance(scores, dict))

    note = reason if isinstance(scores, str) else None
    write_sealed_folder(folder, fill, {**(facts or {}), **_note_field(note)})
    return note


def _note_field(note: str | None) -> dict[str, str]:
    return {} if note is None else {"note": note}


def _score_tensors(
    config: ArchitectureConfig,
    found: tuple[hugging_face.Layout, dict[str, Any]] | None,
    extra: Tensors,
) -> dict[str, Tensor] | str | None:
    """The score head in transformers' form, or the reason why there is none; None without one."""
    weight, bias = (extra.get(f"{HEAD}.{name}") for name in ("weight", "bias"))
    if weight is None or bias is None or len(weight) != 1:  # none, or one of another kind
        return None
    if found is None:
        return "transformers has no equivalent of this network"
    score = found[0].scores.get(found[1]["model_type"])
    if score is None and Capability.NEXT_TOKEN in capabilities_of(config):
        score = LinearScore()
    if score is None:
        return "the class that transformers has for this family computes another score"
    return score.tensors(weight, bias)
