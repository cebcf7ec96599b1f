"""Reads what a run left behind - its config, tokenizer and network - and writes the last two."""

from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_model, save_model

from etude import config_file
from etude.checkpoint import fault_of, newest_intact, write_folder
from etude.errors import CheckpointError, ConfigError
from etude.experiment import ExperimentConfig
from etude.network import Network
from etude.registry import build
from etude.tokenizer import Tokenizer
from etude.tree import read_tree

MODEL, TOKENIZER, CHECKPOINTS = "model", "tokenizer", "checkpoints"
WEIGHTS = "model.safetensors"
_NETWORK = "network."


@dataclass(frozen=True)
class Run:
    """A run folder, opened."""

    folder: Path
    config: ExperimentConfig
    tokenizer: Tokenizer

    def load_weights(self, network: Network) -> None:
        """Puts the run's last weights into a network of its architecture.

        They come from `model/` or, while the run is not finished, its newest checkpoint. Raises
        CheckpointError when neither exists or is whole.
        """
        model = self.folder / MODEL
        if model.exists():
            fault = fault_of(model)
            if fault is not None:
                raise CheckpointError(f"{model} is damaged: {fault}.")
            load_model(network, model / WEIGHTS)
            return
        checkpoint = newest_intact(self.folder / CHECKPOINTS)
        if checkpoint is None:
            raise CheckpointError(f"{self.folder} has no model yet, and no checkpoint.")
        state = read_tree(checkpoint)["state_dict"]
        own = {k.removeprefix(_NETWORK): v for k, v in state.items() if k.startswith(_NETWORK)}
        network.load_state_dict(own)

    def network(self) -> Network:
        """Builds the run's network, with its last weights."""
        network: Network = build(self.config.architecture, self.tokenizer.vocab)
        self.load_weights(network)
        return network


def read_run(folder: str | Path) -> Run:
    """Opens a run folder. Raises ConfigError when it is none."""
    folder = Path(folder)
    if not (folder / config_file.FILE).is_file():
        raise ConfigError(
            f"{folder} is not a run folder: it has no {config_file.FILE}.\n"
            "  The last line that `etude train` prints is one."
        )
    return Run(folder, config_file.load(folder), Tokenizer.load(folder / TOKENIZER))


def write_model(network: Network, tokenizer: Tokenizer, folder: Path) -> None:
    """Writes `model/`: weights and tokenizer, sealed by a manifest."""

    def fill(inside: Path) -> None:
        save_model(network, str(inside / WEIGHTS))
        tokenizer.save(inside)

    write_folder(folder / MODEL, fill)
