"""Objectives that train a head which answers on texts: with labels, tags, spans or vectors.

`etude generate` asks them through `predict`, so it knows none of them.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from jaxtyping import Float
from torch import Tensor

from etude.config.registry import plugin_of
from etude.config.schema.plugins import ObjectiveConfig
from etude.config.schema.trainer import NonFinite
from etude.errors import ConfigError, DataError
from etude.formats.model import Model
from etude.formats.score_head import LABELS
from etude.network.decoding import Greedy
from etude.objective.context import ObjectiveContext
from etude.objective.objective import Objective

C = TypeVar("C", bound=ObjectiveConfig)
B = TypeVar("B")


@dataclass(frozen=True)
class Query:
    """What a head answers: a text, a text and a second one, or the words of a text."""

    text: str | tuple[str, ...]
    second: str | None = None

    @property
    def texts(self) -> Sequence[str]:
        """The text, and the second one if there is one. Raises DataError for a list of words."""
        if isinstance(self.text, tuple):
            raise DataError(
                f"The run reads texts, and was given a list of words: {self.text!r:.60}."
            )
        return (self.text,) if self.second is None else (self.text, self.second)

    @property
    def plain(self) -> str:
        """The only text. Raises DataError for a pair of texts, or a list of words."""
        text, *others = self.texts
        if others:
            raise DataError(
                f"The run reads single texts, and was given a pair of texts: {text!r:.60}."
            )
        return text


@dataclass(frozen=True)
class Prediction:
    """The answer to a query: JSON values by name, and lines for a person."""

    values: Mapping[str, Any]
    lines: Sequence[str]


class HeadObjective(Objective[C, B]):
    """Base of the objectives whose runs answer queries instead of writing text."""

    labels: Sequence[str] = ()
    """Names of the outputs of the head, which are saved with it; empty if they have none."""

    @abstractmethod
    def predict(self, queries: Sequence[Query]) -> list[Prediction]:
        """Returns the answer to each query. Raises DataError for a query of another kind."""

    def row_metrics(self, rows: Float[Tensor, "sample ..."]) -> dict[str, float]:
        """Returns metrics of a whole validation that are no means, from its `Loss.rows`."""
        return {}


def answers_queries(config: ObjectiveConfig | None) -> bool:
    """Whether a run of this objective has a head that answers queries."""
    made: Any = config and plugin_of(config).build  # of an objective, a class
    return made is not None and issubclass(made, HeadObjective)


def read_head(model: Model) -> HeadObjective[Any, Any]:
    """Returns the objective of a finished run, with its network and head, in eval mode.

    Raises ConfigError if the run has no head yet.
    """
    config = model.objective
    assert config is not None, "answers_queries was asked"
    tools = ObjectiveContext(
        tokenizer=model.tokenizer,
        architecture=model.architecture,
        seq_len=model.seq_len or 0,
        seed=0,
        intra_document=False,
        optimizer=_no_optimizer,
        non_finite=NonFinite.stop,
        decoding=Greedy(),
        labels=model.facts.get(LABELS, ()),
    )
    head: HeadObjective[Any, Any] = plugin_of(config).build(config, model.network(), tools)
    for name in head.exported_modules:
        tensors = model.extra_tensors(name)
        if not tensors:
            raise ConfigError(
                f"{model.folder} has no trained {name}: the run is not finished.\n"
                "  Finish it; a run saves its head at the end."
            )
        head.get_submodule(name).load_state_dict(tensors)
    return head.requires_grad_(False).eval()


def _no_optimizer(module: Any) -> Any:  # of any type, as it never returns
    raise AssertionError("a head that answers queries is not trained")
