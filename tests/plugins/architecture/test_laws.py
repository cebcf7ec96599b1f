"""Laws of each capability, for every architecture that declares it and every choice of parts."""

from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor

from etude.capability import Capability
from etude.config.plugin_files import options
from etude.network.autoregressive import Autoregressive
from etude.network.decoding import Ancestral
from etude.network.generation import GenerationOptions, Request
from etude.network.inputs import Inputs
from etude.network.kv_cache import KvCache
from etude.network.network import Network

PROMPTS = [[20, 21, 22, 23], [30], [25, 20, 36, 31, 22, 29]]


def every(capability: Capability) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("chosen", tiny.combinations(capability), ids=tiny.combination_id)


@lru_cache(maxsize=256)
def cached_network(key: tuple[str, ...]) -> Network:
    architecture, *parts = key
    return tiny.network(tiny.stack(architecture, **dict(zip(tiny.PARTS, parts, strict=True))))


def network(chosen: tuple[str, dict[str, str]]) -> Network:
    return cached_network((chosen[0], *chosen[1].values()))


def change_token(ids: Tensor, position: int) -> Tensor:
    other = ids.clone()
    other[:, position] = torch.where(ids[:, position] == 36, 35, 36)
    return other


def changed_positions(before: Tensor, after: Tensor) -> list[bool]:
    """For each position, whether any of its logits changed, in every row."""
    return (before != after).any(-1).all(0).tolist()


def assert_unchanged(chosen: tuple[str, dict[str, str]], before: Tensor, after: Tensor) -> None:
    """Bit-identical, except that the shape of an expert's matmul depends on its token count."""
    tolerance = 1e-12 if chosen[1]["mlp"] in ("moe", "interleaved") else 0.0
    torch.testing.assert_close(after, before, rtol=0.0, atol=tolerance)


@every(Capability.NEXT_TOKEN)
@torch.no_grad()
def test_next_token_a_token_changes_only_its_own_and_later_logits(chosen: Any) -> None:
    made, ids = network(chosen), tiny.tokens(2, 7)
    before, after = made(Inputs(ids)), made(Inputs(change_token(ids, 4)))
    assert_unchanged(chosen, before[:, :4], after[:, :4])
    assert changed_positions(before[:, 4:], after[:, 4:]) == [True] * 3


@every(Capability.BOTH_SIDES)
@torch.no_grad()
def test_both_sides_a_token_changes_all_logits(chosen: Any) -> None:
    made, ids = network(chosen), tiny.tokens(2, 7)
    assert changed_positions(made(Inputs(ids)), made(Inputs(change_token(ids, 4)))) == [True] * 7


@every(Capability.SOURCE_TARGET)
@torch.no_grad()
def test_source_target_sees_the_whole_source_and_the_earlier_target(chosen: Any) -> None:
    made, ids, source = network(chosen), tiny.tokens(2, 7), tiny.tokens(2, 5, seed=1)
    before = made(Inputs(ids, source=Inputs(source)))
    after = made(Inputs(change_token(ids, 4), source=Inputs(source)))
    assert_unchanged(chosen, before[:, :4], after[:, :4])
    assert changed_positions(before[:, 4:], after[:, 4:]) == [True] * 3
    for position in range(5):
        after = made(Inputs(ids, source=Inputs(change_token(source, position))))
        assert changed_positions(before, after) == [True] * 7


@every(Capability.HIDDEN)
def test_logits_are_computed_from_the_hidden_states(chosen: Any) -> None:
    made, given = network(chosen), tiny.inputs(network(chosen), tiny.tokens(2, 7))
    states = made.states(given)
    assert states.shape == (2, 7, made.dim)
    assert torch.equal(made.logits(states), made(given))
    (grad,) = torch.autograd.grad(states.square().sum(), made.embedding.weight)  # type: ignore[union-attr]
    assert grad.abs().sum() > 0
    where = torch.rand(2, 7, generator=torch.Generator().manual_seed(0)) < 0.5
    tiny.assert_close(made(given, where), made(given)[where])


@every(Capability.GENERATE)
@torch.no_grad()
def test_generate_does_not_depend_on_the_cache_padding_or_other_rows(
    chosen: Any,
) -> None:
    made, n = network(chosen), 5
    together = tiny.continuations(made, PROMPTS, n, Ancestral())
    for i, prompt in enumerate(PROMPTS):
        (alone,) = Autoregressive().generate(
            made, [Request(prompt, np.random.default_rng(i), n)], GenerationOptions(Ancestral())
        )
        assert alone.ids == together[i]
    uncached = [without_cache(made, prompt, n) for prompt in PROMPTS]
    assert tiny.continuations(made, PROMPTS, n) == [written for written, _ in uncached]


def without_cache(made: Network, prompt: list[int], n: int) -> tuple[list[int], Tensor]:
    """Greedy decoding that reads the whole sequence again for each token."""
    written: list[int] = []
    scores: list[Tensor] = []
    while len(written) < n and made.vocab.eos not in written:
        targets = made.answer([(prompt, [*written, 0])])
        scores.append(made(targets.inputs)[0, -1])
        written.append(int(scores[-1].argmax()))
    return written, torch.stack(scores)


@every(Capability.GENERATE)
@torch.no_grad()
def test_generate_logits_do_not_depend_on_the_cache_or_left_padding(chosen: Any) -> None:
    made, n = network(chosen), 4
    more = tiny.tokens(3, n, seed=3)
    inputs, cache = made.prompt(PROMPTS), KvCache(20)
    found = [made(inputs, cache=cache)[:, -1]]
    for step in range(n - 1):
        found.append(made(Inputs(more[:, step : step + 1]), cache=cache)[:, -1])
    for i, prompt in enumerate(PROMPTS):
        targets = made.answer([(prompt, more[i].tolist())])
        uncached = made(targets.inputs, targets.where)
        tiny.assert_close(torch.stack(found, 1)[i], uncached)


@every(Capability.HIDDEN)
@pytest.mark.parametrize(("left", "right"), [(0, 3), (3, 0), (2, 2)])
@torch.no_grad()
def test_padding_on_either_side_changes_no_logit(chosen: Any, left: int, right: int) -> None:
    made, ids = network(chosen), tiny.tokens(2, 5)
    source = tiny.inputs(made, ids).source
    if source is not None:
        source = padded(source.tokens, 1, 2, seed=4)
    plain = made(tiny.inputs(made, ids))
    for seed in range(2):
        given = padded(ids, left, right, seed)
        given.source = source
        tiny.assert_close(made(given)[:, left : left + 5], plain)


@every(Capability.PREFIX)
@torch.no_grad()
def test_prefix_is_bidirectional_and_the_rest_is_causal(
    chosen: Any,
) -> None:
    made, prompt, written = network(chosen), tiny.tokens(2, 4), tiny.tokens(2, 4, seed=1)
    before = whole_answer(made, prompt, written)
    for position in range(4):
        after = whole_answer(made, change_token(prompt, position), written)
        assert (
            changed_positions(before, after) == [True] * before.shape[1]
        )  # including earlier tokens of the prefix
    for position in range(3):
        after = whole_answer(made, prompt, change_token(written, position))
        first = (
            before.shape[1] - 3 + position
        )  # the first prediction that depends on the changed token
        torch.testing.assert_close(before[:, :first], after[:, :first], rtol=0, atol=1e-12)
        assert changed_positions(before[:, first:], after[:, first:]) == [True] * (3 - position)


def whole_answer(made: Network, prompt: Tensor, written: Tensor) -> Tensor:
    """Logits of a layout in which the prompt's tokens see one another."""
    pairs = list(zip(prompt.tolist(), written.tolist(), strict=True))
    return made(made.answer(pairs, whole=True).inputs)


@every(Capability.PREFIX)
@torch.no_grad()
def test_prefix_generation_reads_the_prompt_as_in_training(chosen: Any) -> None:
    made, n = network(chosen), 4
    written = tiny.continuations(made, PROMPTS, n, whole=True)
    more = tiny.tokens(3, n, seed=3)
    inputs, cache = made.prompt(PROMPTS, whole=True), KvCache(20)
    found = [made(inputs, cache=cache)[:, -1]]
    for step in range(n - 1):
        found.append(made(Inputs(more[:, step : step + 1]), cache=cache)[:, -1])
    for i, prompt in enumerate(PROMPTS):
        targets = made.answer([(prompt, more[i].tolist())], whole=True)
        tiny.assert_close(torch.stack(found, 1)[i], made(targets.inputs, targets.where))
        targets = made.answer([(prompt, written[i])], whole=True)
        assert made(targets.inputs, targets.where).argmax(-1).tolist() == written[i]


def padded(ids: Tensor, left: int, right: int, seed: int) -> Inputs:
    rows = len(ids)
    around = (tiny.tokens(rows, left, seed=seed + 10), tiny.tokens(rows, right, seed=seed + 20))
    documents = torch.tensor([0] * left + [1] * ids.shape[1] + [0] * right).expand(rows, -1)
    return Inputs(torch.cat((around[0], ids, around[1]), 1), documents)


@every(Capability.HIDDEN)
def test_packed_documents_have_the_logits_and_gradients_of_separate_ones(chosen: Any) -> None:
    made = network(chosen)
    lengths, source_lengths = (3, 1, 4), (2, 3, 1)
    ids, source = tiny.tokens(1, 8), tiny.tokens(1, 6, seed=1)
    reads = hasattr(made, "encoder")
    packed = Inputs(ids, numbered(lengths))
    if reads:
        packed.source = Inputs(source, numbered(source_lengths))
    together = made(packed)
    parts = zip(ids.split(lengths, 1), source.split(source_lengths, 1), strict=True)
    alone = [made(Inputs(a, source=Inputs(b) if reads else None)) for a, b in parts]
    tiny.assert_close(together, torch.cat(alone, 1))
    parameters = list(made.parameters())
    weights = torch.linspace(-1, 1, together.numel(), dtype=torch.float64).view(together.shape)
    of_packed = torch.autograd.grad((together * weights).sum(), parameters, allow_unused=True)
    of_alone = torch.autograd.grad(
        (torch.cat(alone, 1) * weights).sum(), parameters, allow_unused=True
    )
    for a, b in zip(of_packed, of_alone, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def numbered(lengths: tuple[int, ...]) -> Tensor:
    return torch.repeat_interleave(torch.arange(1, len(lengths) + 1), torch.tensor(lengths))[None]


def test_every_architecture_declares_hidden() -> None:
    """So the laws of padding and packing, which HIDDEN selects, cover every architecture."""
    tried = {architecture for architecture, _ in tiny.combinations(Capability.HIDDEN)}
    assert tried == set(options("architecture"))
