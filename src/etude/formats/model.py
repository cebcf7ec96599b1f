"""Opens saved models: a run folder, or a folder of Hugging Face or PEFT."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import Tensor

from etude.config import config_file
from etude.config.config_file import nodes
from etude.config.registry import build, plugin_of
from etude.config.schema.blocks import StackConfig
from etude.config.schema.plugins import (
    AdapterConfig,
    ArchitectureConfig,
    ObjectiveConfig,
    TokenizerConfig,
)
from etude.data.data_card import tokenizer_digest
from etude.data.tokenizer import Tokenizer
from etude.errors import CheckpointError, ConfigError
from etude.files.cache import digest_of
from etude.files.json_file import reading
from etude.files.manifest import MANIFEST, read_manifest, require_intact, require_intact_if_sealed
from etude.files.run_folder import ADAPTER, CHECKPOINTS, CONFIG, MODEL, TOKENIZER
from etude.formats import hugging_face, peft
from etude.formats.checkpoint import newest_intact
from etude.formats.score_head import LINEAR
from etude.formats.sizes import require_sizes
from etude.formats.state_tree import read_tree, tensors_of
from etude.formats.weight_map import EXTRA_TENSORS, WEIGHTS, read_tensors, to_ours, weight_files
from etude.network.adapter import adapt, can_merge, layers, load_adapter_tensors, merge
from etude.network.network import Network

ADAPTER_WEIGHTS = "adapter.safetensors"


NETWORK = "network."
"""Prefix of the network's tensors in an objective's state_dict."""


@dataclass(frozen=True)
class Model:
    """A saved model: its architecture, tokenizer, objective and the folder of its weights."""

    folder: Path
    architecture: ArchitectureConfig
    tokenizer: Tokenizer
    tokenizer_config: TokenizerConfig
    objective: ObjectiveConfig | None = None
    """The objective of the run; None for a Hugging Face folder."""
    adapter: Mapping[str, AdapterConfig] = field(default_factory=dict[str, AdapterConfig])
    """The adapters, if the model was trained on a frozen base."""
    base: str | None = None
    """The model that the adapters were trained on."""
    seq_len: int | None = None
    """Longest training sequence of the run, in tokens; None for a Hugging Face folder."""
    data_path: str | None = None
    """The file or folder that the run was trained on; None if its data has no path."""

    def load_weights(self, network: Network) -> None:
        """Loads the weights into a network of this architecture.

        The weights of a run come from `model/` or, if it is not finished, its newest checkpoint.
        Adapters are merged into the weights if possible; otherwise they stay in the network.
        Raises CheckpointError if there are no weights or they are damaged.
        """
        if self.adapter:
            self._load_adapted(network)
        else:
            self._load_state(network)

    def with_turns(self, as_turn: bool | str) -> "Model":
        """Returns the model without its chat template if `as_turn` is false.

        Raises ConfigError if `as_turn` is true and there is none; "auto" is always valid.
        """
        if as_turn is True and self.tokenizer.template is None:
            raise ConfigError(
                f"as_turn=true, but {self.folder} has no chat template.\n"
                "  Use as_turn=false, which continues the prompt, or a run of objective=sft."
            )
        return self if as_turn else replace(self, tokenizer=self.tokenizer.with_template(None, {}))

    @property
    def prompt_format(self) -> str:
        """How a prompt is written, in words."""
        if self.tokenizer.template is None:
            return "plain text (as_turn=false)"
        return "a user turn of the model's chat template (as_turn=true)"

    @property
    def keeps_adapters(self) -> bool:
        """Whether its adapters stay in the network because they cannot be merged."""
        return not can_merge(self.adapter)

    def network(self) -> Network:
        """Builds the network, with its weights."""
        try:
            network: Network = build(self.architecture, self.tokenizer.vocab)
        except ValueError as error:  # such as sizes that do not fit together
            raise CheckpointError(f"{self.folder} describes no network: {error}") from error
        self.load_weights(network)
        return network

    def extra_tensors(self, name: str) -> dict[str, Tensor]:
        """The saved tensors of a module outside the network, by its own names; empty if none."""
        file = self.folder / (ADAPTER if self.adapter else MODEL) / EXTRA_TENSORS
        kept: dict[str, Tensor] = {}
        if file.exists():
            require_intact(file.parent, EXTRA_TENSORS)
            kept = tensors_of(file)
        return {k.removeprefix(f"{name}."): v for k, v in kept.items() if k.startswith(f"{name}.")}

    @property
    def facts(self) -> Mapping[str, Any]:
        """The facts in the manifest, such as a finished run's last metrics; empty if none."""
        place = self.folder / (ADAPTER if self.adapter else MODEL)
        return read_manifest(place)["facts"] if (place / MANIFEST).exists() else {}

    @property
    def whole_prompt(self) -> bool:
        """Whether it was trained with bidirectional attention over the prompt."""
        declaration = self.objective and plugin_of(self.objective.task).declaration
        return declaration is not None and declaration.whole_prompt

    @property
    def digest(self) -> str:
        """SHA-256 of the weights that `load_weights` loads."""
        digest = hashlib.sha256()
        if hugging_face.is_hugging_face(self.folder):
            files = weight_files(self.folder)
        elif (self.folder / MODEL).exists():
            files = [self.folder / MODEL / MANIFEST]
        elif (self._adapter_folder / MANIFEST).exists():
            files = [self._adapter_folder / MANIFEST]  # which contains the digest of the base
        elif peft.is_peft(self.folder):
            files = sorted(self.folder.glob("*.safetensors"))
            digest.update(read_model(str(self.base)).digest.encode())
        else:
            newest = newest_intact(self.folder / CHECKPOINTS)
            files = [] if newest is None else [newest / MANIFEST]
        for file in files:
            with file.open("rb") as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
        return digest.hexdigest()

    @property
    def identity(self) -> str:
        """SHA-256 of all that decides its outputs: weights, architecture, adapters, tokenizer."""
        parts = {"architecture": self.architecture, "adapter": dict(self.adapter)}
        code = [(path, plugin_of(node).address, asdict(node)) for path, node in nodes(parts)]
        return digest_of(self.digest, code, tokenizer_digest(self.tokenizer))

    def _weights(self, network: Network) -> Mapping[str, Tensor]:
        if hugging_face.is_hugging_face(self.folder):
            return _weights_of(self.folder, self.architecture, network)
        model = self.folder / MODEL
        if model.exists():
            require_intact(model)
            return _weights_of(model, self.architecture, network)
        checkpoint = newest_intact(self.folder / CHECKPOINTS)
        if checkpoint is None:
            raise CheckpointError(f"{self.folder} contains neither {MODEL}/ nor a checkpoint.")
        with reading(checkpoint):
            return network_state(read_tree(checkpoint)["state_dict"])

    def _load_state(self, network: Network) -> None:
        with reading(self.folder):
            network.load_state_dict(self._weights(network))

    def _load_adapted(self, network: Network) -> None:
        """Loads base and adapters, or the checkpoint that contains both; merges if possible."""
        folder = self._adapter_folder
        if folder.exists():
            self._base(folder).load_weights(network)
            adapt(network, self.adapter)
            with reading(folder):
                if peft.is_peft(folder):
                    model = self.architecture, self.tokenizer.vocab, self.adapter
                    tensors = peft.read_adapter(folder, *model, network.state_dict())
                else:
                    tensors = tensors_of(folder / ADAPTER_WEIGHTS)
                load_adapter_tensors(network, tensors)
        else:
            adapt(network, self.adapter)
            self._load_state(network)
        if self.keeps_adapters:
            for layer in layers(network):
                layer.is_new = False
        else:
            merge(network)

    @property
    def _adapter_folder(self) -> Path:
        return self.folder if peft.is_peft(self.folder) else self.folder / ADAPTER

    def _base(self, folder: Path) -> "Model":
        """Opens the base of an adapter. Raises CheckpointError if it is missing or has changed."""
        assert self.base is not None, "compatibility checks require a base"
        place = Path(self.base)
        facts = None
        if folder != self.folder or (folder / MANIFEST).exists():  # else PEFT wrote it
            require_intact(folder)
            facts = read_manifest(folder)["facts"]
            recorded = Path(facts["base_folder"])  # absolute, so valid from any working directory
            place = recorded if recorded.exists() else place
        try:
            base = read_model(place)
        except ConfigError as error:
            raise CheckpointError(f"The base of {self.folder} cannot be read: {error}") from error
        if facts is not None and facts["base"] != base.digest:
            raise CheckpointError(
                f"{place} has changed since {folder} was trained on it. Restore its weights."
            )
        return base


def tokenizer_of_run(folder: Path) -> Tokenizer:
    """Returns the tokenizer of a run. Raises CheckpointError if it is not what the run saved."""
    require_intact(folder / TOKENIZER)
    return Tokenizer.load(folder / TOKENIZER)


def network_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The network's tensors in an objective's state_dict, by the network's names."""
    return {k.removeprefix(NETWORK): v for k, v in state.items() if k.startswith(NETWORK)}


def read_model(folder: str | Path) -> Model:
    """Opens a run folder, a Hugging Face folder or a PEFT folder. Raises ConfigError for others.

    Each folder is read once per process and again only if a file in it changes.
    """
    folder = Path(folder)
    if peft.is_peft(folder):  # its base may change even if its own files do not
        return _open(folder)
    files = sorted(path for path in (*folder.glob("*"), *folder.glob(f"{TOKENIZER}/*")))
    stamps = [(path, (found := path.stat()).st_mtime_ns, found.st_size) for path in files]
    return _open_once(folder, folder.absolute(), tuple(stamps))


@lru_cache(maxsize=16)
def _open_once(folder: Path, place: Path, stamps: tuple[tuple[Path, int, int], ...]) -> Model:
    return _open(folder)


def _open(folder: Path) -> Model:
    if (folder / CONFIG).is_file():
        config = config_file.load_config(folder)
        tokenizer = tokenizer_of_run(folder)
        parts = config.architecture, tokenizer, config.tokenizer, config.objective
        path = asdict(config.data).get("path")
        return Model(folder, *parts, config.adapter, config.init_from, config.data.seq_len, path)
    if peft.is_peft(folder):
        require_intact_if_sealed(folder)
        base = read_model(_run_of(peft.base_of(folder)))
        has_tokenizer = (folder / "tokenizer.json").is_file()  # with a chat template, for instance
        tokenizer = Tokenizer.load(folder) if has_tokenizer else base.tokenizer
        adapter = peft.adapter_of(folder, base.architecture, tokenizer.vocab)
        at = {"folder": folder, "tokenizer": tokenizer, "base": str(base.folder)}
        return replace(base, adapter=adapter, **at)
    if hugging_face.is_hugging_face(folder):
        tokenizer = Tokenizer.load(folder)  # checks the manifest, if there is one
        architecture = hugging_face.architecture_of(folder)
        given = hugging_face.read_fields(folder)[1]
        file = folder / hugging_face.CONFIG
        require_sizes(file, given, architecture, tokenizer.vocab, weight_files(folder))
        return Model(folder, architecture, tokenizer, hugging_face.tokenizer_of(folder))
    raise ConfigError(
        f"{folder} contains no model: it has neither {CONFIG} (a run folder, the last line "
        f"that `etude train` prints) nor {hugging_face.CONFIG} (a Hugging Face folder)."
    )


def _run_of(folder: str) -> Path:
    """The run folder if `folder` is the `model/` of a run, else the folder itself."""
    place = Path(folder)
    is_of_run = place.name == MODEL and (place.parent / CONFIG).is_file()
    return place.parent if is_of_run else place


def _weights_of(
    folder: Path, architecture: ArchitectureConfig, network: Network
) -> Mapping[str, Tensor]:
    """The tensors of a model folder, by the names of `network`."""
    if not hugging_face.is_hugging_face(folder):
        return tensors_of(folder / WEIGHTS)
    assert isinstance(architecture, StackConfig)
    family, fields = hugging_face.read_fields(folder)
    tensors = read_tensors(folder)
    weight_map = family.weight_map(architecture, fields)
    try:
        return to_ours(weight_map, (*family.dropped, LINEAR), tensors, network.state_dict())
    except CheckpointError as error:
        raise CheckpointError(f"{folder}: {error}{fields.defaults_used}") from error
