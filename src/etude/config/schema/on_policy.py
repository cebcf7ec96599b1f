"""Base config of on-policy objectives."""

from dataclasses import dataclass, field

from etude.config.schema.plugins import ComparisonConfig, require


@dataclass
class OnPolicyConfig(ComparisonConfig):
    """Options of every on-policy objective."""

    group_size: int = 8
    """Completions sampled per prompt. Usual range 4 to 64; 1 where no group baseline is used."""
    batches_per_rollout: int = 1
    """Size of a rollout in global batches (trainer.global_batch samples each); with 1 and epochs=1,
    every step is on-policy. Usual range 1 to 8."""
    epochs: int = 1
    """Passes over each rollout. Usual range 1 to 4."""
    max_new_tokens: int = 64
    """Longest completion, in tokens; must be below data.seq_len."""
    temperature: float = 1.0
    """Sampling temperature, above 0; also divides the logits of every log-probability. Usual: 1."""
    stop: list[str] = field(default_factory=list[str])
    """Strings that end a completion, as a stop token does. The token that completes a stop string
    is kept whole, so it is rewarded and trained on."""
    generation_batch: int = 64
    """Sequences generated in parallel, limited by memory; independent of the micro-batch size, so
    that micro-batching does not change the samples."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in (
            "group_size",
            "batches_per_rollout",
            "epochs",
            "max_new_tokens",
            "generation_batch",
        ):
            value = getattr(self, name)
            require(value >= 1, f"{name} must be at least 1, got {value}")
        require(self.temperature > 0, f"temperature must be positive, got {self.temperature}")
        require(
            "" not in self.stop, "stop contains an empty string, which would end every completion"
        )
