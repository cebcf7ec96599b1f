"""What the plugins that are neither networks nor objectives must offer, and what they are given."""

import fnmatch
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from textwrap import fill, indent
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from etude.errors import ConfigError
from etude.parameter_group import ParameterGroup
from etude.records import BadRow, Record
from etude.schema import DataConfig, OptimizerConfig

DataC = TypeVar("DataC", bound=DataConfig)


class DataSource(ABC, Generic[DataC]):
    """The group `data`: yields the records of one data set, always in the same order."""

    def __init__(self, config: DataC) -> None:
        self.config = config

    @abstractmethod
    def records(self) -> Iterator[Record | BadRow]:
        """Every record, and a BadRow for each row that could not become one.

        Raises DataError when a named file is missing, empty or not what it claims to be.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """A digest that changes whenever the records would: of file bytes, a version, a seed."""


@dataclass(frozen=True)
class Vocab:
    """What a network may know of its tokenizer: how many ids there are, and the special ones."""

    size: int
    pad: int
    unk: int
    bos: int
    eos: int
    mask: int
    cls: int
    sep: int
    turn_start: int
    turn_end: int
    sentinels: tuple[int, ...]

    @property
    def special(self) -> frozenset[int]:
        """Every reserved id; the rest are ids of text."""
        named = (self.pad, self.unk, self.bos, self.eos, self.mask, self.cls, self.sep)
        return frozenset((*named, self.turn_start, self.turn_end, *self.sentinels))

    @property
    def stops(self) -> tuple[int, ...]:
        """What ends an answer: the end of the text, or of the turn in a conversation."""
        return (self.eos, self.turn_end)


@dataclass
class TokenRow:
    """One sample of raw text as ids: a packed row, or a single truncated document.

    `documents` numbers the document each token belongs to, from 1. `n_bytes` is the share of the
    text's UTF-8 bytes that falls on the tokens this row predicts (all but its first, and but the
    first of each document), so that the sum over all rows is the size of the text.
    """

    tokens: Int[np.ndarray, " seq"]
    documents: Int[np.ndarray, " seq"]
    n_bytes: float


@runtime_checkable
class Samples(Protocol):
    """A fixed list of what an objective's `example` takes: TokenRows, or records."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Any: ...


class ParameterKind(Enum):
    """What a parameter is to an optimizer."""

    MATRIX = "the weight of a linear map inside a block"
    HEAD = "the weight of one outside the blocks: to the vocabulary, to classes, to a value"
    EMBEDDING = "a table of vectors, one a token or a position"
    VECTOR = "a bias, or the scale or shift of a norm"


@dataclass(frozen=True)
class OptimizerParameter:
    """A trainable tensor as the group `optimizer` sees it."""

    name: str
    tensor: nn.Parameter
    kind: ParameterKind


def decay_groups(
    config: OptimizerConfig, parameters: Sequence[OptimizerParameter]
) -> list[dict[str, Any]]:
    """Groups in torch.optim's form, each with its peak learning rate and its weight decay.

    Weights of linear maps decay; biases, norms and embeddings do not. What `config.groups` matches
    comes after the rest. Raises ConfigError for an entry that is left without a parameter.
    """
    entries = [*config.groups, ParameterGroup("*")]
    held: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for one in parameters:
        first = next(i for i, e in enumerate(entries) if fnmatch.fnmatchcase(one.name, e.pattern))
        rests = one.kind in (ParameterKind.EMBEDDING, ParameterKind.VECTOR)
        held.setdefault((-first, rests), []).append(one.tensor)
    for index, entry in enumerate(config.groups):
        if not {(-index, True), (-index, False)} & held.keys():
            raise _without_parameters(index, entry.pattern, [one.name for one in parameters])
    groups: list[dict[str, Any]] = []
    for (index, rests), tensors in sorted(held.items(), key=lambda item: item[0]):
        entry = entries[-index]
        decay = entry.weight_decay
        if decay is None:
            decay = 0.0 if rests else config.weight_decay
        groups.append({"params": tensors, "lr": config.lr * entry.lr, "weight_decay": decay})
    return groups


def _without_parameters(index: int, pattern: str, names: Sequence[str]) -> ConfigError:
    taken = " that an entry before it leaves" if fnmatch.filter(names, pattern) else ""
    known = list(dict.fromkeys(re.sub(r"\.\d+\.", ".*.", name) for name in names))
    parts = dict.fromkeys(part for name in known for part in name.split("."))
    near = get_close_matches(pattern.strip("*."), [*known, *parts], n=1)
    have = fill(f"There are {', '.join(known)}.", 94, break_on_hyphens=False)
    return ConfigError(
        f"optimizer.groups[{index}]: {pattern} matches no parameter{taken}."
        + (f"\n  The nearest name is {near[0]}." if near and not taken else "")
        + f"\n{indent(have, '  ')}"
    )


class Corruption(ABC):
    """The group `objective/corruption`: how a text is damaged, and what restores it."""

    @abstractmethod
    def __call__(
        self, tokens: Int[np.ndarray, " n"], rng: np.random.Generator
    ) -> tuple[Int[np.ndarray, " input"], Int[np.ndarray, " target"]]:
        """Returns what is read and what is to be written, both without eos."""

    def raw_length(self, seq_len: int) -> int:
        """Tokens of text that are damaged to `seq_len`, with eos; here the target is the text."""
        return seq_len - 1


class Decoding(ABC):
    """The group `decoding`: turns logits into a distribution, and that into the next token."""

    @abstractmethod
    def scores(
        self, logits: Float[Tensor, "batch vocab"], seen: Bool[Tensor, "batch vocab"]
    ) -> Float[Tensor, "batch vocab"]:
        """Returns the logits of what the next token is drawn from; -inf is never drawn.

        `logits` are fp32 or wider. `seen` is true for the ids that a row holds: those written and
        the prompt's, without padding; where the prompt is a source, the start of the target.
        """

    @abstractmethod
    def choose(
        self, scores: Float[Tensor, "batch vocab"], draw: Float[Tensor, " batch"]
    ) -> Int[Tensor, " batch"]:
        """Returns one token a row of `scores`; `draw` is uniform in [0, 1), one number a row."""


@runtime_checkable
class Reward(Protocol):
    """The group `reward`: scores completions; references are None where a prompt has none.

    A score is a finite number, or NaN for no verdict: a reference that cannot be read, a prompt
    of another kind. A completion without a verdict is left out of the statistics of its group and
    of every mean, and teaches nothing; it is neither 0 nor an error.
    """

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], references: Sequence[str | None]
    ) -> Sequence[float]:
        """Returns one score a completion."""
        ...
