"""The base of the configs of a stack of blocks, and of the parts that it is made of.

Each part is a group of its own, so that any of them can be another.
"""

from dataclasses import dataclass

from omegaconf import MISSING

from etude.config.schema.plugins import ArchitectureConfig, PluginConfig, require


@dataclass
class BlockConfig(PluginConfig):
    """Base of how a layer joins its parts: the group `architecture/block`."""


@dataclass
class MixerConfig(PluginConfig):
    """Base of what mixes positions: the group `architecture/mixer`."""

    head_dim: int | None = None
    """Width of the queries and keys of a head; null = dim / n_heads."""

    def __post_init__(self) -> None:
        require(
            self.head_dim is None or self.head_dim >= 1,
            f"head_dim must be at least 1, got {self.head_dim}",
        )


@dataclass
class MlpConfig(PluginConfig):
    """Base of the feed-forward part: the group `architecture/mlp`."""


@dataclass
class NormConfig(PluginConfig):
    """Base of the normalisation: the group `architecture/norm`."""


@dataclass
class PositionConfig(PluginConfig):
    """Base of how order is told: the group `architecture/position`."""

    max_positions: int | None = None
    """Longest sequence that can be told apart, in tokens; null = no limit."""

    def __post_init__(self) -> None:
        require(
            self.max_positions is None or self.max_positions >= 1,
            f"max_positions must be at least 1 or null, got {self.max_positions}",
        )


@dataclass
class ScalingConfig(PluginConfig):
    """Base of how turning positions reach further: the group `architecture/position/scaling`."""


@dataclass
class HeadConfig(PluginConfig):
    """Base of what scores the tokens: the group `architecture/head`."""


@dataclass
class InitConfig(PluginConfig):
    """Base of how the first weights are drawn: the group `architecture/init`."""


@dataclass
class StackConfig(ArchitectureConfig):
    """Base of architectures made of blocks: each part is a choice of its own."""

    block: BlockConfig = MISSING
    mixer: MixerConfig = MISSING
    mlp: MlpConfig = MISSING
    norm: NormConfig = MISSING
    position: PositionConfig = MISSING
    head: HeadConfig = MISSING
    init: InitConfig = MISSING
    tie: bool = True
    """Share one table between the embedding and the head."""
    embedding_dim: int | None = None
    """Width of the token table, which a linear map brings to dim; null = dim, without a map."""
    norm_embedding: bool = False
    """Whether the embedded tokens are normalised before the first block, as in BERT and BLOOM."""
    scale_embedding: bool = False
    """Whether the embedded tokens are multiplied by the root of their width, as in 2017."""
    n_segments: int = 0
    """Vectors that tell several texts of one row apart; 0 = none (BERT: 2)."""
    n_groups: int | None = None
    """Sets of weights that the layers share, each a run of them; null = one a layer (ALBERT: 1)."""

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
        """Width of the token table."""
        return self.embedding_dim or self.dim
