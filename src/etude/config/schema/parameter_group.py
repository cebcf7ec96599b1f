"""An entry of `optimizer.groups`: parameters with their own learning rate or weight decay."""

from dataclasses import dataclass

from omegaconf import MISSING


@dataclass
class ParameterGroup:
    """All parameters whose name matches `pattern` and no earlier entry."""

    pattern: str = MISSING
    """Glob over parameter names, such as `stack.blocks.0.*`."""
    lr: float = 1.0
    """Factor of the learning rate; 0 = frozen."""
    weight_decay: float | None = None
    """Weight decay of all matching parameters; null = the same as without this entry."""

    def __post_init__(self) -> None:
        for name, value in (("lr", self.lr), ("weight_decay", self.weight_decay or 0.0)):
            if value < 0:
                raise ValueError(f"{name} must be 0 or more, got {value}")
