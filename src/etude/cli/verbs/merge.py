"""Writes a run that trained an adapter as a plain model folder, which transformers can open.

    etude merge run=outputs/lora to=outputs/merged

The adapter is merged into the weights of its base. `run` is a run folder or a PEFT folder, `to` a
folder that does not exist yet. Adapters that add layers, such as soft prompts, cannot be merged.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from etude.cli.arguments import parse
from etude.config.registry import plugin_of
from etude.errors import ConfigError
from etude.files.run_folder import ADAPTER, CONFIG, MODEL

if TYPE_CHECKING:  # imports torch: only after all checks
    from etude.formats.model import Model

KEYS = ("run", "to")


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code."""
    values = parse("merge", KEYS, arguments)
    if "to" not in values:
        raise ConfigError("etude merge needs a folder to write: to=<folder>.")
    place = Path(values["to"])
    if place.exists():
        raise ConfigError(f"to={place} already exists.\n  Give a folder that does not exist yet.")
    from etude.formats.model import read_model
    from etude.formats.model_folder import write_merged

    model = read_model(values["run"])
    _refuse_unmergeable(model)
    if (model.folder / CONFIG).exists() and not (model.folder / ADAPTER).exists():
        print(f"{model.folder} is not finished; its newest checkpoint is merged.")
    note = write_merged(model, place)
    if note is not None:
        print(note)
    print(place.absolute())
    return 0


def _refuse_unmergeable(model: "Model") -> None:
    """Raises ConfigError for a run whose adapters cannot become part of a plain model folder."""
    from etude.formats.hugging_face import find_layout

    run = model.folder
    if not model.adapter:
        plain = run / MODEL if (run / MODEL).exists() else run
        raise ConfigError(f"run={run} has no adapter to merge.\n  Its weights are in {plain}.")
    fixed = [name for name, one in model.adapter.items() if not plugin_of(one).declaration.merges]
    if fixed:
        raise ConfigError(
            f"run={run} cannot be merged: adapter={','.join(fixed)} adds to the network what no "
            "weights of the base can compute.\n  étude reads the run as it is."
        )
    if find_layout(model.architecture, model.tokenizer.vocab) is None:
        raise ConfigError(
            f"run={run} cannot be written for transformers, which has no equivalent of this "
            "network.\n  étude reads the run as it is."
        )
