"""The group-less keys `trainer.*`: how long, how often, on what."""

from dataclasses import dataclass
from enum import Enum

from etude.config.schema.effect import only_with
from etude.config.schema.plugins import require

PRECISIONS = ("32", "64", "bf16-mixed", "bf16-true", "16-mixed")


class NonFinite(Enum):
    """What to do when a loss or gradient is NaN or infinite."""

    stop = "stop"
    skip = "skip"


class Best(Enum):
    """Which of several values of a number is the best."""

    lowest = "lowest"
    highest = "highest"

    def improves(self, value: float, before: float | None, by: float = 0.0) -> bool:
        """Whether a value is better than the best before it, by more than `by`; NaN never is."""
        if before is None:
            return value == value
        return value < before - by if self is Best.lowest else value > before + by


@dataclass
class TrainerConfig:
    """How long, how large, how often. Not a plugin: every experiment has these."""

    max_steps: int | None = None
    """Optimizer steps; null = 600, unless max_epochs or max_tokens is given."""
    max_epochs: float | None = None
    """Passes over the training samples; of several lengths given, the shortest holds."""
    max_tokens: int | None = None
    """Tokens shown to the network, padding excluded; a length like max_epochs."""
    global_batch: int = 16
    """Samples (rows, pairs, completions) in one optimizer step, over all devices."""
    micro_batch: int | None = None
    """Samples in one forward pass on one device; null = the largest that fits."""
    devices: int = 1
    """Devices, or processes on a CPU."""
    accelerator: str = "auto"
    """auto, cpu, gpu or mps."""
    precision: str = "32"
    """Number format: 32, 64, bf16-mixed, bf16-true or 16-mixed."""
    clip: float | None = 1.0
    """Largest norm of the gradient; null = never clipped."""
    non_finite: NonFinite = NonFinite.stop
    """On a NaN or infinite loss or gradient: stop the run, or skip the step and count it."""
    train_samples: int | None = None
    """Training samples used, the first ones; null = all."""
    val_every: int | None = None
    """Steps between validations; null = ten in a run. The last step is always validated."""
    val_samples: int | None = None
    """Held-out samples in a validation; null = all."""
    save_every: int | None = None
    """Steps between checkpoints; null = ten in a run. The last step is always saved."""
    keep: int = 2
    """Checkpoints kept, newest first."""
    keep_best: str | None = None
    """Held-out number, such as val/loss, whose best weights are kept in best/; null = none are."""
    best: Best = only_with("keep_best", Best.lowest)
    """Which value of keep_best is the best: the lowest (of losses), or the highest."""
    log_every: int = 10
    """Steps between updates of the progress bar and the trackers (steps.jsonl has every step)."""
    compile: bool = False
    """Compile the network with torch.compile."""

    def __post_init__(self) -> None:
        for name in (
            "max_steps", "max_epochs", "max_tokens", "global_batch", "micro_batch", "devices",
            "clip", "train_samples", "val_every", "val_samples", "save_every", "keep", "log_every",
        ):  # fmt: skip
            value = getattr(self, name)
            require(value is None or value > 0, f"{name} must be positive, got {value}")
        require(
            self.precision in PRECISIONS,
            f"precision must be one of {', '.join(PRECISIONS)}, got {self.precision}",
        )
        accelerators = ("auto", "cpu", "gpu", "mps")
        require(
            self.accelerator in accelerators,
            f"accelerator must be one of {', '.join(accelerators)}, got {self.accelerator}",
        )
        require(
            self.keep_best is None or self.keep_best.startswith("val/"),
            f"keep_best must be a held-out number such as val/loss, got {self.keep_best}",
        )
        per_device = self.global_batch // self.devices
        require(
            self.global_batch % self.devices == 0
            and (self.micro_batch is None or per_device % self.micro_batch == 0),
            "global_batch must be a multiple of devices x micro_batch, got "
            f"global_batch={self.global_batch}, devices={self.devices}, "
            f"micro_batch={self.micro_batch}",
        )
