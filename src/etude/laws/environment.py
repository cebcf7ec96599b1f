"""Laws of environments: replies depend on their arguments alone, and only turns are learned."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from etude.config.registry import build, plugin_of
from etude.laws.trial import Trial
from etude.laws.verdict import Finding, broken, held, holds
from etude.network.generation import Generation, Request
from etude.objective.environment import Environment, Reply, State
from etude.records import Prompt
from etude.rl.episode import Episode, Keys, Play, is_own, targets_of

SEEDS = 8
PROMPT = Prompt("2 + 2 =", "4")
Built = Environment[Any]


def replies_are_reproducible(trial: Trial) -> Finding:
    """The same turns and random numbers give the same replies, also after other episodes."""
    made = _build(trial)
    first, again = ([_replies(made, seed) for seed in range(SEEDS)] for _ in range(2))
    anew = [_replies(_build(trial), seed) for seed in range(SEEDS)]
    n = sum(map(len, first))
    return holds(first == again == anew, f"{n} replies in {SEEDS} episodes")


def states_survive_a_file(trial: Trial) -> Finding:
    """An episode continues in the same way from a state that was written as JSON and read."""
    made = _build(trial)
    for seed in range(SEEDS):
        if _replies(made, seed) != _replies(made, seed, lambda s: json.loads(json.dumps(s))):
            return broken(f"episode {seed} differs after its state was written and read")
    return held(f"{SEEDS} episodes")


def its_example_is_replied_to(trial: Trial) -> Finding:
    """Every turn of its example but the last has a reply, and the last ends the episode."""
    texts = [reply.text for reply in _replies(_build(trial), 0)]
    right = len(texts) > 1 and None not in texts[:-1] and texts[-1] is None
    return holds(right, " | ".join(map(repr, texts)))


def only_what_it_declares_is_rewarded(trial: Trial) -> Finding:
    """Rewards are finite numbers, and 0 unless it declares `scores`."""
    made = _build(trial)
    rewards = [reply.reward for seed in range(SEEDS) for reply in _replies(made, seed)]
    if not np.isfinite(rewards).all():
        return broken(f"rewards {rewards}")
    scores = plugin_of(made.config).declaration.scores
    return holds(scores == any(rewards), f"scores={scores}, rewards {sorted({*rewards})}")


def ids_are_appended(trial: Trial) -> Finding:
    """The policy reads the ids that it wrote, then a reply; no id is changed or encoded again."""
    episode, contexts, turns = _played(trial)
    row = [*episode.prompt, *episode.completion]
    if any(list(context) != row[: len(context)] for context in contexts):
        return broken("a turn does not continue the ids before it")
    own = np.array(episode.completion)[is_own(episode)].tolist()
    written = [token for turn in turns for token in turn]
    return holds(own == written, f"{len(own)} own tokens of {len(episode.completion)}")


def only_own_tokens_are_learned(trial: Trial) -> Finding:
    """The targets of the loss are the tokens that the policy wrote."""
    episode, _, turns = _played(trial)
    targets = targets_of([episode], trial.assemble().objective.network)
    written = [token for turn in turns for token in turn]
    n = len(episode.completion) - len(written)
    return holds(targets.ids[targets.where].tolist() == written, f"{n} tokens of replies left out")


def _build(trial: Trial) -> Built:
    return build(trial.tested)


def _replies(
    made: Built, seed: int, between: Callable[[State], State] = lambda state: state
) -> list[Reply]:
    """Returns the replies to its example, with its state passed through `between`."""
    keys = Keys((seed,), (seed, 0))
    state = made.start(PROMPT, keys.of_reply(0))
    replies: list[Reply] = []
    for i, turn in enumerate(made.example(state)):
        replies.append(made.step(between(state), turn, keys.of_reply(i + 1)))
        state = replies[-1].state
    return replies


def _played(trial: Trial) -> tuple[Episode, Sequence[Sequence[int]], Sequence[Sequence[int]]]:
    """Plays its example; returns the episode, the ids before each turn, and those of each turn."""
    made = _build(trial)
    tokenizer = trial.corpus.tokenizer
    keys = Keys((0, 0), (0, 0))
    texts = made.example(made.start(PROMPT, keys.of_reply(0)))
    turns = [tokenizer.encode(text).tolist() for text in texts]
    contexts: list[Sequence[int]] = []

    def write(requests: Sequence[Request]) -> list[Generation]:
        contexts.extend(request.prompt for request in requests)
        if len(contexts) > len(turns):  # it replied to the last one
            return [Generation() for _ in requests]
        return [Generation(turns[len(contexts) - 1], ended=True) for _ in requests]

    (episode,) = Play(made, tokenizer, 10**6, write)([PROMPT], [[tokenizer.vocab.bos]], [keys])
    return episode, contexts, turns[: len(contexts)]
