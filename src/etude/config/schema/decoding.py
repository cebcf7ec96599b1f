"""The base configs of the groups `decoding` and `generator`: how completions are generated."""

from dataclasses import dataclass

from etude.config.schema.plugins import PluginConfig, require


@dataclass
class DecodingConfig(PluginConfig):
    """Base config of the group `decoding`: how the next token is chosen."""

    repetition_penalty: float = 1.0
    """Penalises tokens already in the prompt or completion; 1 = off. Typical: 1.0-1.3."""
    no_repeat_ngram: int | None = None
    """Never repeat a sequence of this many tokens of prompt and completion, unless no other token
    is possible; null = off. Typical: 3-4."""

    def __post_init__(self) -> None:
        require(
            self.repetition_penalty > 0,
            f"repetition_penalty must be positive, got {self.repetition_penalty}",
        )
        require(
            self.no_repeat_ngram is None or self.no_repeat_ngram >= 1,
            f"no_repeat_ngram must be at least 1 or null, got {self.no_repeat_ngram}",
        )

    @property
    def is_random(self) -> bool:
        """Whether two completions of the same prompt may differ."""
        return True

    @property
    def left_to_right(self) -> bool:
        """Whether it chooses a token only after all tokens before it are known."""
        return False


@dataclass
class GeneratorConfig(PluginConfig):
    """Base config of the group `generator`: how completions are searched for or sampled."""

    @property
    def samples(self) -> bool:
        """Whether completions follow the distribution of `decoding`, as rollouts require."""
        return True

    @property
    def lockstep(self) -> bool:
        """Whether all ranks run the network equally often, as a sharded network requires."""
        return False

    def check(self, decoding: DecodingConfig) -> None:
        """Raises ValueError for a decoding that it cannot use."""
