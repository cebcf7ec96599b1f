"""An entry of `optimizer.groups`: parameters that are optimised unlike the rest."""

from dataclasses import dataclass

from omegaconf import MISSING


@dataclass
class ParameterGroup:
    """Everything whose name fits, as far as no entry before it does."""

    pattern: str = MISSING
    """A glob over names, such as `stack.blocks.0.*`."""
    lr: float = 1.0
    """Factor of the learning rate; 0 leaves them as they are."""
    weight_decay: float | None = None
    """Weight decay of them all; null = as without this entry."""

    def __post_init__(self) -> None:
        for name, value in (("lr", self.lr), ("weight_decay", self.weight_decay or 0.0)):
            if value < 0:
                raise ValueError(f"{name} must be 0 or more, got {value}")
