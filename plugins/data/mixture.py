"""Several sources, mixed by shares of what is trained on, such as tokens, and not of the records.

Shares are weights, sizes raised to 1/temperature (Conneau et al. 2020, XLM-R,
https://arxiv.org/abs/1911.02116, section 3.1; T5, https://arxiv.org/abs/1910.10683, section 3.5.2),
or budgets, and may change while a run trains. A source is read at most `max_epochs` times
(Muennighoff et al. 2023, https://arxiv.org/abs/2305.16264: up to 4 epochs are almost as good as new
text); then its weight goes to the others. A row of text has text of one source alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from itertools import pairwise

from etude import CONVERSIONS, ConfigError, SourceRow, only_with, plugin, require
from etude.config import DataConfig, PluginConfig, TextDataConfig, build, kind_of
from etude.data import MixedOrder, MixedSource, SourceSamples

from ._mixture.shares import Shares, merged_order

SHARED = ("seq_len", "val_fraction", "strict", "pack", "intra_document")
"""Knobs that belong to the mixture, and not to its sources."""


class Transition(Enum):
    """How weights change between phases."""

    linear = "linear"
    sudden = "sudden"


@dataclass
class Phase:
    """The weights from a share of the run on."""

    at: float = 1.0
    """Share of the run, in (0, 1]."""
    weights: dict[str, float] = field(default_factory=dict[str, float])
    """The weights that it has reached there."""


@dataclass
class MixtureConfig(TextDataConfig):
    sources: dict[str, DataConfig] = field(default_factory=dict[str, DataConfig])
    """Two or more data configs, by name. What they have in common with the mixture, such as
    seq_len and val_fraction, is set in the mixture."""
    weights: dict[str, float] = field(default_factory=dict[str, float])
    """Share of each source in what is trained on, in any unit; {} = by size and temperature."""
    temperature: float = only_with("weights={}", 1.0)
    """Without weights, shares are proportional to size^(1/temperature); 1 = as the sizes, larger
    = more equal. Typical: 1-5."""
    budgets: dict[str, float] = field(default_factory=dict[str, float])
    """What is trained on of a source in the whole run, such as tokens, spread evenly over it; the
    others share the rest by their weights. With a budget for each, they limit the run."""
    max_epochs: float | None = None
    """Most passes over each source; null = no limit. Typical: 1-4."""
    phases: list[Phase] = field(default_factory=list[Phase])
    """Later weights: [{at:0.8,weights:{code:3,docs:1}}] from 80 % of the run on; [] = constant."""
    transition: Transition = only_with("phases!=[]", Transition.linear)
    """Between two phases, weights change linearly, or all at the later one (sudden)."""

    @property
    def parts(self) -> Mapping[str, DataConfig]:
        same = {"val_fraction": self.val_fraction}  # equal records are on one side in all sources
        return {name: replace(one, **same) for name, one in self.sources.items()}

    @property
    def reader(self) -> PluginConfig:
        """That of a source to whose kind of record all others can be converted."""
        if not self.sources:
            raise ConfigError(
                "data=mixture has no sources.\n  Choose some: data/sources=[python_docs,...], or a "
                "file in conf/data/ (see docs/mixtures.md)."
            )
        kinds = {name: kind_of(one) for name, one in self.sources.items()}
        for name, kind in kinds.items():
            if all(one is kind or (one, kind) in CONVERSIONS for one in kinds.values()):
                return self.sources[name].reader
        listed = ", ".join(f"{name}: {kind and kind.__name__}" for name, kind in kinds.items())
        raise ValueError(f"sources must yield records of one kind, or convertible to it ({listed})")

    def __post_init__(self) -> None:
        super().__post_init__()
        require(len(self.sources) != 1, "sources must be two or more, got 1")
        for name, one in self.sources.items():
            require("/" not in name, f"sources: {name} must not contain a slash")
            for item in fields(one):
                is_default = vars(one)[item.name] == item.default
                require(
                    item.name not in SHARED or is_default,
                    f"sources.{name}.{item.name} has no effect: set data.{item.name}",
                )
        if self.sources:
            self.reader  # noqa: B018 -- raises ValueError
        require(self.temperature > 0, f"temperature must be positive, got {self.temperature}")
        limit = self.max_epochs
        require(limit is None or limit > 0, f"max_epochs must be positive, got {limit}")
        self._check_names()

    def _check_names(self) -> None:
        """Raises ValueError for shares of other sources than those that need one."""
        unknown = self.budgets.keys() - self.sources.keys()
        require(not unknown, f"budgets: {', '.join(sorted(unknown))} is not one of the sources")
        require(all(n > 0 for n in self.budgets.values()), "budgets must be positive")
        free = self.sources.keys() - self.budgets.keys()
        given = {"weights": self.weights} if self.weights else {}
        given |= {f"phases[{i}].weights": one.weights for i, one in enumerate(self.phases)}
        for key, weights in given.items():
            require(
                weights.keys() == free,
                f"{key} must have a number for each source without a budget "
                f"({', '.join(sorted(free)) or 'there is none'}), got {weights}",
            )
            values = weights.values()
            require(min(values) >= 0 < max(values), f"{key} must be 0 or more, and not all 0")
        places = [0.0, *(one.at for one in self.phases)]
        ascend = all(a < b for a, b in pairwise(places))
        require(ascend and places[-1] <= 1, f"phases must be in order, in (0, 1], got {places[1:]}")


@plugin(MixtureConfig, example={"data/sources": "[arithmetic,sorting]"})
class Mixture(MixedSource[MixtureConfig]):
    """Yields all records of each source, in turn; `order` decides how often each is read."""

    def records(self) -> Iterator[SourceRow]:
        kind = kind_of(self.config)
        for one in self.config.sources.values():
            own = kind_of(one)
            convert = None if own is None or kind is None else CONVERSIONS.get((own, kind))
            for row in build(one).records():
                yield convert(row) if convert and type(row) is own else row

    def fingerprint(self) -> str:
        return " ".join(build(one).fingerprint() for one in self.config.sources.values())

    def order(self, sources: Mapping[str, SourceSamples], n_samples: int, seed: int) -> MixedOrder:
        config = self.config
        given = [(0.0, config.weights), *((one.at, one.weights) for one in config.phases)]
        shares = Shares(
            weights=given,
            temperature=config.temperature,
            budgets=config.budgets,
            max_epochs=config.max_epochs,
            is_linear=config.transition is Transition.linear,
        )
        return merged_order(shares, sources, n_samples, seed)
