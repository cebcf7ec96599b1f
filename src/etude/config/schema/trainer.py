"""The keys `trainer.*`: run length, batch size, hardware, validation and checkpoints."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated

from etude.config.schema.effect import only_with
from etude.config.schema.plugins import LARGEST, require

ACCELERATORS = ("auto", "cpu", "gpu", "mps")
MAX_STEPS = 10**9
"""More optimizer steps than any run takes."""
PRECISIONS = ("32", "64", "bf16-mixed", "bf16-true", "16-mixed")


class NonFinite(Enum):
    """What to do when a loss or gradient is NaN or infinite."""

    stop = "stop"
    skip = "skip"


class Best(Enum):
    """Which value of a metric is the best."""

    lowest = "lowest"
    highest = "highest"

    def improves(self, value: float, before: float | None, by: float = 0.0) -> bool:
        """Whether `value` is better than `before` by more than `by`; false for NaN."""
        if before is None:
            return value == value
        return value < before - by if self is Best.lowest else value > before + by


class Input(Enum):
    """What a run depends on besides its config and its tokenizer, which never changes."""

    data = "data"
    plugins = "plugins"
    parents = "parents"


@dataclass
class TrainerConfig:
    """Run length, batch size, hardware, validation and checkpoints. Not a plugin group."""

    max_steps: int | None = None
    """Optimizer steps; null = 600, unless max_epochs or max_tokens is given."""
    max_epochs: float | None = None
    """Passes over the training samples; if several limits are given, the first reached applies."""
    max_tokens: int | None = None
    """Tokens to train on, as `tokens` in steps.jsonl counts them: without padding, with those of an
    encoder's source; raw text only. A limit like max_epochs."""
    global_batch: int = 16
    """Samples (rows, pairs, completions) per optimizer step, over all devices."""
    micro_batch: int | None = None
    """Samples per forward pass on one device; null = the largest that fits in memory."""
    devices: int = 1
    """Number of devices, or of processes on a CPU."""
    rank_timeout_s: float = only_with("devices>1", 600.0)
    """Seconds that one device waits for another, before the run ends and names the one that is
    stuck; more than a checkpoint takes to write. Usual range: 60 to 3600."""
    accelerator: Annotated[str, ACCELERATORS] = "auto"
    """Hardware to use; auto = the best that torch finds."""
    precision: Annotated[str, PRECISIONS] = "32"
    """Number format of weights and arithmetic, in Lightning's names; 64 is for exact comparison."""
    clip: float | None = 1.0
    """Maximum gradient norm; null = no clipping. Typical: 1."""
    non_finite: NonFinite = NonFinite.stop
    """On a NaN or infinite loss or gradient: stop the run, or skip the step and count it."""
    train_samples: int | None = None
    """Use only the first train_samples training samples; null = all."""
    val_every: int | None = None
    """Steps between validations; null = ten per run. The last step is always validated."""
    val_samples: int | None = None
    """Held-out samples per validation; null = all."""
    save_every: int | None = None
    """Steps between checkpoints; null = ten per run. The last step is always saved."""
    keep: int = 2
    """Number of most recent checkpoints to keep."""
    keep_best: str | None = None
    """Validation metric, such as val/loss; the best weights are saved in best/. null = off."""
    best: Best = only_with("keep_best", Best.lowest)
    """Which value of keep_best is best: lowest (for losses) or highest."""
    log_every: int = 10
    """Steps between updates of the progress bar and the trackers (steps.jsonl has every step)."""
    compile: bool = False
    """Compile the network with torch.compile."""
    accept_changes: list[Input] = field(default_factory=list[Input])
    """Changed inputs with which a run resumes, and which it records; [] refuses all changes."""

    def __post_init__(self) -> None:
        for name in (
            "max_steps", "max_epochs", "max_tokens", "global_batch", "micro_batch", "devices",
            "rank_timeout_s", "clip", "train_samples", "val_every", "val_samples", "save_every",
            "keep", "log_every",
        ):  # fmt: skip
            value = getattr(self, name)
            require(value is None or value > 0, f"{name} must be positive, got {value}")
        for name, most in (("max_steps", MAX_STEPS), ("global_batch", LARGEST)):
            value = getattr(self, name)
            require(value is None or value <= most, f"{name} must be at most {most:,}, got {value}")
        for name, choices in (("precision", PRECISIONS), ("accelerator", ACCELERATORS)):
            value = getattr(self, name)
            require(value in choices, f"{name} must be one of {', '.join(choices)}, got {value}")
        require(
            self.keep_best is None or self.keep_best.startswith("val/"),
            f"keep_best must be a validation metric such as val/loss, got {self.keep_best}",
        )
        per_device = self.global_batch // self.devices
        require(
            self.global_batch % self.devices == 0
            and (self.micro_batch is None or per_device % self.micro_batch == 0),
            "global_batch must be a multiple of devices x micro_batch, got "
            f"global_batch={self.global_batch}, devices={self.devices}, "
            f"micro_batch={self.micro_batch}",
        )
