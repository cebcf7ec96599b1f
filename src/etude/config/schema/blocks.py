"""Base configs of architectures made of a stack of blocks, and of the parts of a block.

Each part is a group of its own, so each can be replaced.
"""

from dataclasses import dataclass
from enum import Enum

from omegaconf import MISSING

from etude.config.schema.plugins import ArchitectureConfig, OptimizerConfig, PluginConfig, require


@dataclass
class BlockConfig(PluginConfig):
    """Base config of the group `architecture/block`: how a layer connects its parts."""


@dataclass
class MixerConfig(PluginConfig):
    """Base config of the group `architecture/mixer`: attention and other token mixers."""

    @property
    def key_dim(self) -> int | None:
        """Width of the queries and keys that positions rotate; None = dim / n_heads."""
        return None


@dataclass
class HeadsConfig(MixerConfig):
    """Base config of mixers with heads whose width can be chosen."""

    head_dim: int | None = None
    """Width of the queries and keys of each head; null = dim / n_heads. Typical: 64-128."""

    def __post_init__(self) -> None:
        require(
            self.head_dim is None or self.head_dim >= 1,
            f"head_dim must be at least 1, got {self.head_dim}",
        )

    @property
    def key_dim(self) -> int | None:
        return self.head_dim


class Approximate(Enum):
    """How GELU's Gaussian CDF is computed: the values of torch's `approximate`."""

    none = "none"
    tanh = "tanh"


@dataclass
class MlpConfig(PluginConfig):
    """Base config of the group `architecture/mlp`: the feed-forward layer."""


@dataclass
class NormConfig(PluginConfig):
    """Base config of the group `architecture/norm`: the normalisation."""


@dataclass
class PositionConfig(PluginConfig):
    """Base config of the group `architecture/position`: position encodings."""

    max_positions: int | None = None
    """Longest sequence that the position encoding supports, in tokens; null = no limit."""

    def __post_init__(self) -> None:
        require(
            self.max_positions is None or self.max_positions >= 1,
            f"max_positions must be at least 1 or null, got {self.max_positions}",
        )


@dataclass
class ScalingConfig(PluginConfig):
    """Base config of the group `architecture/position/scaling`: context extension of RoPE."""


@dataclass
class HeadConfig(PluginConfig):
    """Base config of the group `architecture/head`: the LM head."""


@dataclass
class InitConfig(PluginConfig):
    """Base config of the group `architecture/init`: weight initialisation."""

    def check(self, optimizer: OptimizerConfig) -> None:
        """Raises ValueError for an optimizer that cannot train weights drawn like this."""


@dataclass
class StreamConfig(PluginConfig):
    """Base config of the group `architecture/stream`: the order and connections of the layers."""

    def n_executed(self, n_layers: int) -> int:
        """Number of layers that a forward pass runs in a stack of `n_layers`."""
        return n_layers


@dataclass
class StackConfig(ArchitectureConfig):
    """Base config of architectures made of blocks; each part is a plugin of its own."""

    stream: StreamConfig = MISSING
    block: BlockConfig = MISSING
    mixer: MixerConfig = MISSING
    mlp: MlpConfig = MISSING
    norm: NormConfig = MISSING
    position: PositionConfig = MISSING
    head: HeadConfig = MISSING
    init: InitConfig = MISSING
    tie: bool = True
    """Tie the weights of the token embedding and the LM head."""
    embedding_dim: int | None = None
    """Width of the token embedding, projected to dim; null = dim, without a projection."""
    norm_embedding: bool = False
    """Normalise the token embeddings before the first block, as in BERT and BLOOM."""
    scale_embedding: bool = False
    """Multiply the token embeddings by the square root of their width (Vaswani et al., 2017)."""
    n_segments: int = 0
    """Number of segment (token type) embeddings; 0 = none. BERT: 2."""
    n_groups: int | None = None
    """Groups of consecutive layers that share weights; null = one per layer. ALBERT: 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("embedding_dim", "n_groups"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"{name} must be at least 1, got {value}")
        require(self.n_segments >= 0, f"n_segments must be 0 or more, got {self.n_segments}")
        require(
            (self.n_groups or 1) <= self.n_layers,
            f"n_groups must be at most n_layers={self.n_layers}, got {self.n_groups}",
        )

    @property
    def table_dim(self) -> int:
        """Width of the token embedding."""
        return self.embedding_dim or self.dim
