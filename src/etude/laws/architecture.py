"""What a network owes that claims a capability, in every architecture that the part can be in.

Tried in float64 on weights that are all drawn, so that a zero at the start hides nothing.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from etude.capability import Capability
from etude.config.compatibility import provided
from etude.config.registry import build
from etude.config.schema.plugins import ArchitectureConfig
from etude.data.vocab import Vocab
from etude.laws.trial import Trial
from etude.laws.verdict import Finding, broken, held, not_applicable
from etude.network.auxiliary_loss import AuxiliaryLoss
from etude.network.inputs import Inputs
from etude.network.kv_cache import KvCache
from etude.network.network import Network

VOCAB = Vocab(37, 0, 1, 2, 3, 4, 5, 6, 7, 8, tuple(range(9, 19)))
"""A vocabulary small enough for every logit to be looked at."""
TEXT = 19
"""The first id that is text."""
ROUNDING = 1e-10
PROMPTS = [[20, 21, 22, 23], [30], [25, 20, 36, 31, 22, 29]]
N_WRITTEN = 4
Law = Callable[[Network], str]
"""What is wrong with a network; empty if nothing is."""


def shapes(trial: Trial) -> Finding:
    """Logits are one score a token of the vocabulary for every place."""

    def law(network: Network) -> str:
        found = network(given(network, tokens(2, 7)))
        finite = bool(found.isfinite().all())
        right = tuple(found.shape) == (2, 7, VOCAB.size)
        return "" if right and finite else f"logits {tuple(found.shape)}, finite: {finite}"

    return in_every(trial, Capability.HIDDEN, law)


def gradients_reach_every_weight(trial: Trial) -> Finding:
    """No weight is left out by every text, padding and source included."""

    def law(network: Network) -> str:
        with torch.enable_grad():
            logits = network(given(network, tokens(2, 7)))
            total = (logits * torch.linspace(-1, 1, logits.numel()).view_as(logits)).sum()
            for side in (m for m in network.modules() if isinstance(m, AuxiliaryLoss)):
                said = side.pop()
                total = total if said is None else total + said
            total.backward()
        idle = [
            n for n, p in network.named_parameters() if p.grad is None or not bool(p.grad.any())
        ]
        network.zero_grad(set_to_none=True)
        return f"no gradient: {', '.join(idle[:4])}" if idle else ""

    return in_every(trial, Capability.HIDDEN, law)


def causal(trial: Trial) -> Finding:
    """NEXT_TOKEN: a token moves its own logits, and none before them."""

    def law(network: Network) -> str:
        ids = tokens(2, 7)
        off = change(network(Inputs(ids)), network(Inputs(other(ids, 4))))
        if max(off[:4]) > ROUNDING:
            return (
                f"token 4 moves the logits of token {off.index(max(off[:4]))} by {max(off[:4]):.2g}"
            )
        return "" if off[4] > 0 else "token 4 does not move its own logits"

    return in_every(trial, Capability.NEXT_TOKEN, law)


def sees_both_sides(trial: Trial) -> Finding:
    """BOTH_SIDES: a token moves logits before it and behind it."""

    def law(network: Network) -> str:
        ids = tokens(2, 7)
        off = change(network(Inputs(ids)), network(Inputs(other(ids, 3))))
        return "" if max(off[:3]) > 0 and max(off[4:]) > 0 else "token 3 moves one side alone"

    return in_every(trial, Capability.BOTH_SIDES, law)


def reads_a_source(trial: Trial) -> Finding:
    """SOURCE_TARGET: every token of the source moves the target, which does not see ahead."""

    def law(network: Network) -> str:
        ids = tokens(2, 7)
        source = tokens(2, 5, seed=1)
        before = network(Inputs(ids, source=Inputs(source)))
        ahead = change(before, network(Inputs(other(ids, 4), source=Inputs(source))))
        if max(ahead[:4]) > ROUNDING:
            return f"token 4 of the target moves logits before it by {max(ahead[:4]):.2g}"
        for place in range(5):
            after = network(Inputs(ids, source=Inputs(other(source, place))))
            if max(change(before, after)) == 0:
                return f"token {place} of the source moves nothing"
        return ""

    return in_every(trial, Capability.SOURCE_TARGET, law)


def cached_equals_uncached(trial: Trial) -> Finding:
    """GENERATE: read token by token, beside others and padded, it says what it says at once."""

    def law(network: Network) -> str:
        more = tokens(3, N_WRITTEN, seed=3)
        inputs = network.prompt(PROMPTS)
        cache = KvCache(20)
        found = [network(inputs, cache=cache)[:, -1]]
        for step in range(N_WRITTEN - 1):
            found.append(network(Inputs(more[:, step : step + 1]), cache=cache)[:, -1])
        for row, prompt in enumerate(PROMPTS):
            targets = network.answer([(prompt, more[row].tolist())])
            off = (torch.stack(found, 1)[row] - network(targets.inputs, targets.where)).abs()
            if not float(off.max()) <= ROUNDING:
                token = int(off.amax(-1).argmax())
                return f"prompt {row}, token {token}: logits are {float(off.max()):.2g} apart"
        return ""

    return in_every(trial, Capability.GENERATE, law)


def padding_changes_nothing(trial: Trial) -> Finding:
    """HIDDEN: what stands in the padding, on either side, moves no logit of the text."""

    def law(network: Network) -> str:
        ids = tokens(2, 5)
        plain = network(given(network, ids))
        for left, right in ((0, 3), (3, 0), (2, 2)):
            around = tokens(2, left, seed=10), tokens(2, right, seed=20)
            documents = torch.tensor([0] * left + [1] * 5 + [0] * right).expand(2, -1)
            padded = Inputs(torch.cat((around[0], ids, around[1]), 1), documents)
            padded.source = given(network, ids).source
            off = float((network(padded)[:, left : left + 5] - plain).abs().max())
            if not off <= ROUNDING:
                return f"{left} and {right} places of padding move logits by {off:.2g}"
        return ""

    return in_every(trial, Capability.HIDDEN, law)


def packed_equals_alone(trial: Trial) -> Finding:
    """HIDDEN: documents that share a row are read as each alone."""

    def law(network: Network) -> str:
        lengths = (3, 1, 4)
        source_lengths = (2, 3, 1)
        ids = tokens(1, 8)
        source = tokens(1, 6, seed=1)
        packed = Inputs(ids, numbered(lengths))
        reads = given(network, ids).source is not None
        packed.source = Inputs(source, numbered(source_lengths)) if reads else None
        parts = zip(ids.split(lengths, 1), source.split(source_lengths, 1), strict=True)
        alone = [network(Inputs(a, source=Inputs(b) if reads else None)) for a, b in parts]
        off = float((network(packed) - torch.cat(alone, 1)).abs().max())
        return "" if off <= ROUNDING else f"logits are {off:.2g} apart"

    return in_every(trial, Capability.HIDDEN, law)


def in_every(trial: Trial, capability: Capability, law: Law) -> Finding:
    """What a law finds in each architecture that, with the plugin in it, claims a capability."""
    names = [name for name, config in trial.stacks.items() if capability in provided(config)]
    if not names:
        return not_applicable(f"it does not claim {capability.name}")
    for name in names:
        with torch.no_grad():
            wrong = law(drawn(trial.stacks[name]))
        if wrong:
            return broken(f"{name}: {wrong}")
    return held(", ".join(names))


def drawn(config: ArchitectureConfig) -> Network:
    """A network of random weights, biases and scales included."""
    made: Network = build(config, VOCAB)
    made.double().eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in made.parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        parameter.copy_(0.3 * noise + (0.5 if parameter.ndim == 1 else 0))
    return made


def given(network: Network, ids: Tensor) -> Inputs:
    """Inputs of ids, with a source where the network's prompts are one."""
    reads = network.prompt([[TEXT]]).source is not None
    return Inputs(ids, source=Inputs(tokens(len(ids), 5, seed=99)) if reads else None)


def tokens(*shape: int, seed: int = 0) -> Tensor:
    """Random ids of text."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(TEXT, VOCAB.size, shape, generator=generator)


def other(ids: Tensor, place: int) -> Tensor:
    """The same ids with another at one place."""
    found = ids.clone()
    found[:, place] = torch.where(ids[:, place] == VOCAB.size - 1, TEXT, VOCAB.size - 1)
    return found


def change(before: Tensor, after: Tensor) -> list[float]:
    """By how much the logits of each place differ, at most."""
    return (before - after).abs().amax(dim=(0, 2)).tolist()


def numbered(lengths: tuple[int, ...]) -> Tensor:
    """The number of the document that each token of a row belongs to."""
    return torch.repeat_interleave(torch.arange(1, len(lengths) + 1), torch.tensor(lengths))[None]
