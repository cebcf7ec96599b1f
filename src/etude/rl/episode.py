"""Episodes: the turns of a policy and the replies of its environment, after one prompt.

Ids are only appended: a turn stays as it was sampled and a reply is encoded once, so training reads
the tokens that were sampled.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool

from etude.data.chat_template import appended, appended_message
from etude.data.tokenizer import Tokenizer
from etude.network.generation import Generation, Request
from etude.network.inputs import Targets
from etude.network.network import Network
from etude.objective.batches import Ids
from etude.objective.environment import Environment, Reply
from etude.objective.randomness import ENVIRONMENT, rng
from etude.records import Message, Prompt

Key: TypeAlias = tuple[int, ...]
"""The arguments of `randomness.rng`: the seed, a purpose and more."""
Span: TypeAlias = tuple[int, int]


@runtime_checkable
class Row(Protocol):
    """A prompt and what follows it: the policy's own tokens, and spans of replies."""

    @property
    def prompt(self) -> Ids: ...
    @property
    def completion(self) -> Ids: ...
    @property
    def replies(self) -> Sequence[Span]: ...


class Keys(NamedTuple):
    """The keys of an episode's randomness; each turn adds its number."""

    policy: Key
    environment: Key
    """The same for a group of completions, so that all meet the same environment."""

    def of_turn(self, turn: int) -> np.random.Generator:
        """Returns the generator of the policy's turn, from 0."""
        return rng(*self.policy) if turn == 0 else rng(*self.policy, turn)

    def of_reply(self, turn: int) -> np.random.Generator:
        """Returns the environment's generator before (turn 0) or after turn number `turn`."""
        seed, *rest = self.environment
        return rng(seed, ENVIRONMENT, *rest, turn)


@dataclass
class Episode:
    """The turns of the policy after a prompt, and the replies; a single turn if there are none."""

    prompt: Ids
    state: Mapping[str, Any] = field(default_factory=dict[str, Any])
    completion: list[int] = field(default_factory=list[int])
    replies: list[Span] = field(default_factory=list[Span])
    """Spans [start, end) of the completion that the environment wrote."""
    is_finished: bool = False
    """Whether it ended by itself, not by max_new_tokens or max_turns."""
    reward: float = 0.0
    """Sum of the environment's rewards."""

    @property
    def last_turn(self) -> Ids:
        """The policy's last turn, which holds its answer."""
        return self.completion[self.replies[-1][1] if self.replies else 0 :]


def is_own(row: Row) -> Bool[np.ndarray, " tokens"]:
    """Returns which tokens of a completion the policy wrote."""
    own = np.ones(len(row.completion), dtype=bool)
    for start, end in row.replies:
        own[start:end] = False
    return own


def n_own(row: Row) -> int:
    """Returns how many tokens of a completion the policy wrote."""
    return int(is_own(row).sum())


def text_of(row: Row, decode: Callable[[Sequence[int]], str]) -> str:
    """Returns the text of a completion, with replies of the environment in ⟦ ⟧."""
    texts: list[str] = []
    after = 0
    for start, end in row.replies:
        texts += [decode(row.completion[after:start]), f"⟦{decode(row.completion[start:end])}⟧"]
        after = end
    return "".join([*texts, decode(row.completion[after:])])


def targets_of(rows: Sequence[Row], network: Network) -> Targets:
    """Lays out rows in the network's format; the targets are the policy's own tokens."""
    targets = network.answer([(row.prompt, row.completion) for row in rows])
    own = torch.from_numpy(np.concatenate([is_own(row) for row in rows]))
    return replace(targets, where=targets.where.masked_scatter(targets.where, own))


def reply_ids(reply: Reply, tokenizer: Tokenizer, *, closed: bool) -> list[int]:
    """Returns the ids of a reply; `closed` means that the turn before ends with a stop token."""
    assert reply.text is not None
    if reply.role is None or tokenizer.template is None:
        return appended(tokenizer, reply.text)
    return appended_message(tokenizer, Message(reply.role, reply.text), closed=closed)


@dataclass(frozen=True)
class Play:
    """Plays episodes, each turn of all of them together."""

    environment: Environment[Any] | None
    tokenizer: Tokenizer
    max_new_tokens: int
    """Limit of a completion in tokens, replies included."""
    write: Callable[[Sequence[Request]], list[Generation]]
    """Returns the next turn for each request."""

    def __call__(
        self, prompts: Sequence[Prompt], rows: Sequence[Ids], keys: Sequence[Keys]
    ) -> list[Episode]:
        """Plays one episode per prompt, whose ids are given.

        Every process writes `max_turns` times, even without requests: see `generate`.
        """
        environment = self.environment
        episodes = [Episode(ids) for ids in rows]
        n_turns = 1
        if environment is not None:
            n_turns = environment.config.max_turns
            for episode, prompt, key in zip(episodes, prompts, keys, strict=True):
                episode.state = environment.start(prompt, key.of_reply(0))
        active = list(zip(episodes, keys, strict=True))
        for turn in range(n_turns):
            written = self.write([self._request(e, key.of_turn(turn)) for e, key in active])
            is_last = turn + 1 == n_turns
            active = [
                (episode, key)
                for (episode, key), one in zip(active, written, strict=True)
                if self._continues(episode, one, key.of_reply(turn + 1), is_last)
            ]
        return episodes

    def _request(self, episode: Episode, rng: np.random.Generator) -> Request:
        room = self.max_new_tokens - len(episode.completion)
        return Request([*episode.prompt, *episode.completion], rng, room)

    def _continues(
        self, episode: Episode, turn: Generation, rng: np.random.Generator, is_last: bool
    ) -> bool:
        """Appends a turn and the reply to it; returns whether the policy has another turn."""
        episode.completion += turn.ids
        if self.environment is None or not turn.ended:
            episode.is_finished = turn.ended
            return False
        reply = self.environment.step(episode.state, self.tokenizer.decode(turn.ids), rng)
        episode.state = reply.state
        episode.reward += reply.reward
        if reply.text is None:
            episode.is_finished = True
            return False
        closed = turn.ids[-1] in self.tokenizer.vocab.stops
        ids = reply_ids(reply, self.tokenizer, closed=closed)
        start = len(episode.completion)
        if is_last or start + len(ids) >= self.max_new_tokens:
            return False
        episode.completion += ids
        episode.replies.append((start, start + len(ids)))
        return True
