"""Reads models: what a run left behind, or a folder in Hugging Face's format; writes `model/`."""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from etude import config_file, layout, peft_format
from etude.adapter import adapt, can_merge, layers, load_learned, merge
from etude.checkpoint import MANIFEST, fault_of, newest_intact, write_folder
from etude.errors import CheckpointError, ConfigError
from etude.network import Network
from etude.registry import build, plugin_of
from etude.run_files import ADAPTER, CHECKPOINTS, CONFIG, MODEL, TOKENIZER
from etude.schema import AdapterConfig, ArchitectureConfig, ObjectiveConfig, TokenizerConfig
from etude.stack_schema import StackConfig
from etude.ties import BESIDE, read_tensors, to_ours, to_theirs
from etude.tokenizer import Tokenizer
from etude.tree import read_tree

LEARNED = "adapter.safetensors"
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
    adapter: Mapping[str, AdapterConfig] = field(default_factory=dict[str, AdapterConfig])
    """What learned beside a frozen base."""
    base: str | None = None
    """The model that an adapter was learned on."""

    def load_weights(self, network: Network) -> None:
        """Puts the weights into a network of this architecture.

        Those of a run come from `model/` or, while it is not finished, its newest checkpoint.
        What adapters learned becomes part of the weights where it can; else the network carries
        them from then on. Raises CheckpointError when nothing is there or it is not whole.
        """
        if self.adapter:
            self._load_adapted(network)
        else:
            network.load_state_dict(self._weights(network))

    @property
    def carries(self) -> bool:
        """Whether its adapters stay adapters, since they cannot become weights."""
        return not can_merge(self.adapter)

    def network(self) -> Network:
        """Builds the network, with its weights."""
        network: Network = build(self.architecture, self.tokenizer.vocab)
        self.load_weights(network)
        return network

    def beside(self, name: str) -> dict[str, Tensor]:
        """The tensors of a module kept beside the network, by its own names; empty if none was."""
        file = self.folder / (ADAPTER if self.adapter else MODEL) / BESIDE
        kept = load_file(file) if file.exists() else {}
        return {k.removeprefix(f"{name}."): v for k, v in kept.items() if k.startswith(f"{name}.")}

    @property
    def facts(self) -> Mapping[str, Any]:
        """What its model is sealed with: of a finished run, what it measured last; else nothing."""
        seal = self.folder / (ADAPTER if self.adapter else MODEL) / MANIFEST
        return json.loads(seal.read_text(encoding="utf-8"))["facts"] if seal.exists() else {}

    @property
    def whole_prompt(self) -> bool:
        """Whether it was trained to see prompts whole."""
        learned = self.objective and plugin_of(self.objective.task).declaration
        return learned is not None and learned.whole_prompt

    @property
    def digest(self) -> str:
        """SHA-256 of what `load_weights` would load."""
        digest = hashlib.sha256()
        if layout.is_hugging_face(self.folder):
            files = sorted(self.folder.glob("*.safetensors"))
        elif (self.folder / MODEL).exists():
            files = [self.folder / MODEL / MANIFEST]
        elif (self._adapter_folder / MANIFEST).exists():
            files = [self._adapter_folder / MANIFEST]  # which holds the digest of the base
        elif peft_format.is_peft(self.folder):
            files = sorted(self.folder.glob("*.safetensors"))
            digest.update(read_model(str(self.base)).digest.encode())
        else:
            newest = newest_intact(self.folder / CHECKPOINTS)
            files = [] if newest is None else [newest / MANIFEST]
        for file in files:
            with file.open("rb") as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
        return digest.hexdigest()

    def _weights(self, network: Network) -> Mapping[str, Tensor]:
        if layout.is_hugging_face(self.folder):
            return _weights_of(self.folder, self.architecture, network)
        model = self.folder / MODEL
        if model.exists():
            refuse_damaged(model)
            return _weights_of(model, self.architecture, network)
        checkpoint = newest_intact(self.folder / CHECKPOINTS)
        if checkpoint is None:
            raise CheckpointError(f"{self.folder} has no model yet, and no checkpoint.")
        return own(read_tree(checkpoint)["state_dict"])

    def _load_adapted(self, network: Network) -> None:
        """Loads base and adapters, or the checkpoint that holds both; merges what can be."""
        folder = self._adapter_folder
        if folder.exists():
            self._base(folder).load_weights(network)
            adapt(network, self.adapter)
            if peft_format.is_peft(folder):
                given = self.architecture, self.tokenizer.vocab, self.adapter
                tensors = peft_format.learned_in(folder, *given, network.state_dict())
            else:
                tensors = load_file(folder / LEARNED)
            load_learned(network, tensors)
        else:
            adapt(network, self.adapter)
            network.load_state_dict(self._weights(network))
        if self.carries:
            for layer in layers(network):
                layer.is_new = False
        else:
            merge(network)

    @property
    def _adapter_folder(self) -> Path:
        return self.folder if peft_format.is_peft(self.folder) else self.folder / ADAPTER

    def _base(self, folder: Path) -> "Model":
        """Opens the base of an adapter. Raises CheckpointError when it is gone or another."""
        assert self.base is not None, "compatibility asks every adapter for a base"
        place, facts = Path(self.base), None
        if folder != self.folder or (folder / MANIFEST).exists():  # else PEFT wrote it
            refuse_damaged(folder)
            facts = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["facts"]
            told = Path(facts["base_folder"])  # wherever this is read from
            place = told if told.exists() else place
        try:
            base = read_model(place)
        except ConfigError as error:
            raise CheckpointError(f"{self.folder} needs its base: {error}") from error
        if facts is not None and facts["base"] != base.digest:
            raise CheckpointError(f"{folder} was learned on other weights than {place} has now.")
        return base


def refuse_damaged(folder: Path) -> None:
    """Raises CheckpointError for a sealed folder in which a byte has changed."""
    fault = fault_of(folder)
    if fault is not None:
        raise CheckpointError(f"{folder} is damaged: {fault}.")


def own(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The network's tensors of an objective's state, by the network's names."""
    return {k.removeprefix(NETWORK): v for k, v in state.items() if k.startswith(NETWORK)}


def read_model(folder: str | Path) -> Model:
    """Opens a run folder or a Hugging Face folder. Raises ConfigError when it is neither."""
    folder = Path(folder)
    if (folder / CONFIG).is_file():
        config = config_file.load(folder)
        tokenizer = Tokenizer.load(folder / TOKENIZER)
        chosen = config.architecture, tokenizer, config.tokenizer, config.objective
        return Model(folder, *chosen, config.adapter, config.init_from)
    if peft_format.is_peft(folder):
        base = read_model(_run_of(peft_format.base_of(folder)))
        adapter = peft_format.adapter_of(folder, base.architecture, base.tokenizer.vocab)
        return replace(base, folder=folder, adapter=adapter, base=str(base.folder))
    if layout.is_hugging_face(folder):
        fields = layout.read_fields(folder)
        family = layout.layout_of(fields["model_type"])
        return Model(
            folder, family.read(fields), Tokenizer.load(folder), layout.tokenizer_of(folder)
        )
    raise ConfigError(
        f"{folder} holds no model: it has neither {CONFIG} (a run folder, the last line "
        f"that `etude train` prints) nor {layout.CONFIG} (a Hugging Face folder)."
    )


def _run_of(folder: str) -> Path:
    """The run whose `model/` a folder is, or else the folder itself."""
    place = Path(folder)
    is_of_run = place.name == MODEL and (place.parent / CONFIG).is_file()
    return place.parent if is_of_run else place


def write_adapter(
    model: Model,
    weights: Mapping[str, Tensor],
    names: Collection[str],
    folder: Path,
    facts: Mapping[str, Any] | None = None,
    beside: Mapping[str, Tensor] | None = None,
) -> None:
    """Writes what the adapters of a model learned, sealed with the digest of the base they need.

    `weights` is the adapted network's state_dict, `names` what differs from the base. Where PEFT
    has such an adapter and network, the folder is one of PEFT's.
    """
    assert model.base is not None, "compatibility asks every adapter for a base"
    base = read_model(model.base)
    theirs = peft_format.written(model.architecture, model.tokenizer.vocab, model.adapter, weights)

    def fill(inside: Path) -> None:
        files = {LEARNED: {name: weights[name] for name in names}}
        if theirs is not None:
            place = base.folder / MODEL if (base.folder / MODEL).exists() else base.folder
            fields = {**theirs[0], "base_model_name_or_path": str(place.resolve())}
            text = json.dumps(fields, indent=2) + "\n"
            (inside / peft_format.CONFIG).write_text(text, encoding="utf-8")
            files = {peft_format.WEIGHTS: theirs[1]}
        _save({**files, BESIDE: beside or {}}, inside)

    about = {"base": base.digest, "base_folder": str(base.folder.absolute())}
    write_folder(folder, fill, {**(facts or {}), **about})


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
    beside: Mapping[str, Tensor] | None = None,
) -> None:
    """Writes a model folder: weights, tokenizer and, where a family has such a model, config.json.

    `weights` is a network's state_dict. Then transformers' Auto classes load the folder, which is
    whole or absent, and sealed with `facts`. What goes `beside` the weights has a file of its own.
    """
    found = layout.fitting(config, tokenizer.vocab)

    def fill(inside: Path) -> None:
        tensors = {name: tensor.contiguous() for name, tensor in weights.items()}
        if found is not None and isinstance(config, StackConfig):
            family, fields = found
            tensors = to_theirs(family.ties(config, fields), weights)
            layout.write_fields(inside, fields, tokenizer.vocab)
        _save({layout.WEIGHTS: tensors, BESIDE: beside or {}}, inside)
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
