"""What an objective may use besides its config and its network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from torch import nn
from torch.optim import Optimizer

from etude.config.schema.plugins import ArchitectureConfig
from etude.config.schema.trainer import NonFinite
from etude.data.source import Samples
from etude.data.tokenizer import Tokenizer
from etude.network.autoregressive import Autoregressive
from etude.network.decoding import Decoding
from etude.network.generation import Generator
from etude.objective.environment import Environment
from etude.objective.reward import Reward

OptimizerOf: TypeAlias = Callable[[nn.Module], tuple[Optimizer, Callable[[int], float]]]


@dataclass(frozen=True)
class ObjectiveContext:
    """What an objective may use besides its config and its network."""

    tokenizer: Tokenizer
    architecture: ArchitectureConfig
    """The config that the network was built from."""
    seq_len: int
    seed: int
    intra_document: bool
    """Whether attention stays within a document of a packed row."""
    optimizer: OptimizerOf
    """Returns the optimizer of a module's parameters, and step -> factor of the learning rate."""
    non_finite: NonFinite
    decoding: Decoding
    generator: Generator = field(default_factory=Autoregressive)
    reward: Reward | None = None
    environment: Environment[Any] | None = None
    teachers: Sequence[str] = ()
    """The runs that trained the reward models."""
    held_out: Sequence[Any] | Samples = ()
    """Held-out records for `show`."""
    train: Sequence[Any] | Samples = ()
    """The training records, before `select_samples`."""
    labels: Sequence[str] = ()
    """The labels of a trained head that answers queries; empty in training."""
