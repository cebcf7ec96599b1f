"""Our words for keys of other Hydra projects, such as lightning-hydra-template, and of Lightning.

https://github.com/ashleve/lightning-hydra-template; `pytorch_lightning.Trainer`.
"""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass

from etude.config.plugin_files import options
from etude.config.schema.experiment import ExperimentConfig
from etude.config.schema.trainer import ACCELERATORS

_MODEL = "architecture=<option> chooses the network, objective=<option> the loss"
_RESUME = "run=<folder> resumes a run; init_from=<folder> starts from the model of one"
_TEST = "held-out samples are measured during training: trainer.val_every, trainer.val_samples"
_LIMIT = "trainer.train_samples=<n>, or debug=fast for a trial"
WORDS = {
    "ckpt_path": _RESUME, "resume": _RESUME, "resume_from_checkpoint": _RESUME,
    "hparams_search": "-m sweep=<search space>; etude list sweep",
    "optimized_metric": "trainer.keep_best=<metric> trainer.best=lowest|highest",
    "test": _TEST, "train": _TEST, "model": _MODEL, "net": _MODEL, "module": _MODEL,
    "datamodule": "data=<option>", "dataset": "data=<option>", "callbacks": "callback=[<option>]",
    "scheduler": "schedule=<option>", "lr_scheduler": "schedule=<option>",
    "lr": "optimizer.lr", "learning_rate": "optimizer.lr", "batch_size": "trainer.global_batch",
    "task_name": "run=<folder>", "paths": "run=<folder>", "name": "run=<folder>",
    "extras": "tags=[<label>]; --cfg job prints the config", "num_workers": "nothing to set",
    "fast_dev_run": "debug=fast", "overfit_batches": "debug=overfit", "gpus": "trainer.devices",
    "limit_train_batches": _LIMIT, "limit_val_batches": "trainer.val_samples=<n>",
    "check_val_every_n_epoch": "trainer.val_every=<steps>",
    "val_check_interval": "trainer.val_every=<steps>", "gradient_clip_val": "trainer.clip",
    "accumulate_grad_batches": "trainer.global_batch over trainer.micro_batch",
    "log_every_n_steps": "trainer.log_every", "default_root_dir": "run=<folder>",
}  # fmt: skip
"""What does the same here, by the last word of a key."""


def our_word(key: str) -> str:
    """A line with our word for a key that does not exist; empty if the key is in no table."""
    words = [WORDS[word] for word in key.split(".") if word in WORDS]
    return f"\n  Here: {words[-1]}." if words else ""


def choice_of_keys(overrides: Sequence[str]) -> str:
    """The message for `trainer=ddp`, which is no choice: `trainer` is not a group but has keys."""
    nodes = [item.name for item in fields(ExperimentConfig) if is_dataclass(item.default_factory)]
    for key, _, value in (item.lstrip("+").partition("=") for item in overrides):
        if key in nodes:
            hint = f"etude show {key} lists its keys"
            if value in options("strategy"):
                hint = f"strategy={value} trainer.devices=2"
            elif value in ACCELERATORS:
                hint = f"trainer.accelerator={value}"
            return f"{key}={value}: {key} is not a group, but a set of keys.\n  Here: {hint}."
    return ""
