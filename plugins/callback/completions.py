"""Logs the first completions of the latest rollout, with their rewards.

Written to `completions.jsonl` in the run folder, one line per validation, and logged as a table by
trackers that support text. Replies of an environment are in ⟦ ⟧. Only on-policy objectives that
train on single completions have any.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from etude import ConfigError, plugin, require
from etude.config import CallbackConfig
from etude.files import truncate_after
from etude.objective import Objective, StepLoader
from etude.rl import Completion, RolloutSource, text_of
from etude.training import log_table

FILE = "completions.jsonl"


@dataclass
class CompletionsConfig(CallbackConfig):
    n: int = 8
    """Number of completions to log, from the first prompts of the current rollout."""

    def __post_init__(self) -> None:
        require(self.n >= 1, f"n must be at least 1, got {self.n}")


@plugin(CompletionsConfig, example={"objective": "grpo"})
class Completions(pl.Callback):
    """Logs the rollout that was just trained on."""

    def __init__(self, config: CompletionsConfig) -> None:
        self.config = config

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        loader = trainer.train_dataloader
        if not (isinstance(loader, StepLoader) and isinstance(loader.source, RolloutSource)):
            raise ConfigError(
                "callback=completions has no effect: this objective does not train on its own "
                "completions.\n  callback=samples logs samples of any network."
            )
        if trainer.is_global_zero:
            truncate_after(Path(trainer.default_root_dir) / FILE, trainer.global_step)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Objective)
        loader: Any = trainer.train_dataloader  # on_train_start checked that it has a rollout
        held = [sample for sample in loader.source.samples if isinstance(sample, Completion)]
        completions = held[: self.config.n]
        if not (trainer.is_global_zero and completions):
            return
        rows = [row(completion, pl_module.tools.tokenizer.decode) for completion in completions]
        line = json.dumps({"step": trainer.global_step, "completions": rows}, ensure_ascii=False)
        with (Path(trainer.default_root_dir) / FILE).open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        log_table(trainer, "completions", rows, trainer.global_step)


def row(completion: Completion, decode: Callable[[Sequence[int]], str]) -> dict[str, Any]:
    """A completion as readable text, with its reward."""
    return {
        "prompt": decode(completion.prompt),
        "completion": text_of(completion, decode),
        "reward": float(completion.reward),
        "finished": completion.is_finished,
    }
