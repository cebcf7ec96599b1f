"""Laws of a network's declared capabilities, in every architecture that can contain the plugin.

Tested in float64 with all weights random, so that zero initialization hides nothing.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from etude.capability import Capability
from etude.config.capabilities import capabilities_of, mixer_capabilities
from etude.config.registry import build
from etude.config.schema.plugins import ArchitectureConfig
from etude.data.vocab import Vocab
from etude.laws.trial import Trial
from etude.laws.verdict import Finding, broken, held, not_applicable
from etude.network.auxiliary_loss import AuxiliaryLoss
from etude.network.context import Context, Position
from etude.network.inputs import Inputs
from etude.network.kv_cache import KvCache
from etude.network.network import Network, set_dropout
from etude.network.parts import Mixer

VOCAB = Vocab(37, 0, 1, 2, 3, 4, 5, 6, 7, 8, tuple(range(9, 19)))
"""A vocabulary small enough to check every logit."""
TEXT = 19
"""The first id that is not a special token."""
ROUNDING = 1e-10
PROMPTS = [[20, 21, 22, 23], [30], [25, 20, 36, 31, 22, 29]]
N_WRITTEN = 4
Law = Callable[[Network], str]
"""Returns what is wrong with a network; empty if nothing is."""


def shapes(trial: Trial) -> Finding:
    """Logits have one score per vocabulary token at every position."""

    def law(network: Network) -> str:
        found = network(law_inputs(network, tokens(2, 7)))
        finite = bool(found.isfinite().all())
        right = tuple(found.shape) == (2, 7, VOCAB.size)
        return "" if right and finite else f"logits {tuple(found.shape)}, finite: {finite}"

    return in_every(trial, Capability.HIDDEN, law)


def gradients_reach_every_weight(trial: Trial) -> Finding:
    """Every weight gets a gradient, unless no token was routed to its layer, as to an expert."""

    def law(network: Network) -> str:
        n_read: Counter[nn.Module] = Counter()
        for linear in (m for m in network.modules() if isinstance(m, nn.Linear)):
            linear.register_forward_pre_hook(lambda m, x: n_read.update({m: x[0].numel()}))
        with torch.enable_grad():
            logits = network(law_inputs(network, tokens(2, 7)))
            total = (logits * torch.linspace(-1, 1, logits.numel()).view_as(logits)).sum()
            for layer in (m for m in network.modules() if isinstance(m, AuxiliaryLoss)):
                loss = layer.pop()
                total = total if loss is None else total + loss
            total.backward()
        idle = [
            f"{name}.{kind}"
            for name, module in network.named_modules()
            for kind, p in module.named_parameters(recurse=False)
            if n_read.get(module) != 0 and (p.grad is None or not bool(p.grad.any()))
        ]
        network.zero_grad(set_to_none=True)
        return f"no gradient: {', '.join(idle[:4])}" if idle else ""

    return in_every(trial, Capability.HIDDEN, law)


def causal(trial: Trial) -> Finding:
    """NEXT_TOKEN: a token affects the logits at its own position, and none before it."""

    def law(network: Network) -> str:
        ids = tokens(2, 7)
        off = change(network(Inputs(ids)), network(Inputs(changed(ids, 4))))
        if max(off[:4]) > ROUNDING:
            return (
                f"token 4 changes logits of token {off.index(max(off[:4]))} by {max(off[:4]):.2g}"
            )
        return "" if off[4] > 0 else "token 4 does not change its own logits"

    return in_every(trial, Capability.NEXT_TOKEN, law)


def bidirectional(trial: Trial) -> Finding:
    """BOTH_SIDES: a token affects the logits before it and after it."""

    def law(network: Network) -> str:
        ids = tokens(2, 7)
        off = change(network(Inputs(ids)), network(Inputs(changed(ids, 3))))
        return "" if max(off[:3]) > 0 and max(off[4:]) > 0 else "token 3 affects only one side"

    return in_every(trial, Capability.BOTH_SIDES, law)


def reads_a_source(trial: Trial) -> Finding:
    """SOURCE_TARGET: every source token affects the target's logits, and the target is causal."""

    def law(network: Network) -> str:
        ids = tokens(2, 7)
        source = tokens(2, 5, seed=1)
        before = network(Inputs(ids, source=Inputs(source)))
        ahead = change(before, network(Inputs(changed(ids, 4), source=Inputs(source))))
        if max(ahead[:4]) > ROUNDING:
            return f"token 4 of the target changes earlier logits by {max(ahead[:4]):.2g}"
        for position in range(5):
            after = network(Inputs(ids, source=Inputs(changed(source, position))))
            if max(change(before, after)) == 0:
                return f"token {position} of the source changes no logits"
        return ""

    return in_every(trial, Capability.SOURCE_TARGET, law)


def cached_equals_uncached(trial: Trial) -> Finding:
    """GENERATE: with the KV cache, padded and in a batch, logits equal those of one full pass."""

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
                return f"prompt {row}, token {token}: logits differ by {float(off.max()):.2g}"
        return ""

    return in_every(trial, Capability.GENERATE, law)


def extra_values_are_read(trial: Trial) -> Finding:
    """VALUES: the extra values of a context change what each mixer returns."""
    names = [n for n, c in trial.stacks.items() if Capability.VALUES in mixer_capabilities(c)]
    for name in names:
        with torch.no_grad():
            network = random_network(trial.stacks[name])
        x = torch.linspace(-1, 1, 3 * network.dim, dtype=torch.float64).view(1, 3, -1)
        index = torch.arange(3)[None]
        for mixer in (module for module in network.modules() if isinstance(module, Mixer)):
            if mixer.kv_shape is None:
                return broken(f"{name}: a mixer with VALUES needs a kv_shape")
            before = mixer(x, Context(Position(), index, index, causal=True))
            heads, width = mixer.kv_shape
            context = Context(Position(), index, index, causal=True)
            context.extra_values = torch.ones(1, heads, 3, width, dtype=torch.float64)
            if torch.equal(mixer(x, context), before):
                return broken(f"{name}: extra values change nothing")
    return held(", ".join(names)) if names else not_applicable("a mixer does not declare VALUES")


def padding_changes_nothing(trial: Trial) -> Finding:
    """HIDDEN: the content of padding, on either side, affects no logit of the text."""

    def law(network: Network) -> str:
        ids = tokens(2, 5)
        plain = network(law_inputs(network, ids))
        for left, right in ((0, 3), (3, 0), (2, 2)):
            padding = tokens(2, left, seed=10), tokens(2, right, seed=20)
            documents = torch.tensor([0] * left + [1] * 5 + [0] * right).expand(2, -1)
            padded = Inputs(torch.cat((padding[0], ids, padding[1]), 1), documents)
            padded.source = law_inputs(network, ids).source
            off = float((network(padded)[:, left : left + 5] - plain).abs().max())
            if not off <= ROUNDING:
                return f"{left} and {right} tokens of padding change logits by {off:.2g}"
        return ""

    return in_every(trial, Capability.HIDDEN, law)


def packed_equals_separate(trial: Trial) -> Finding:
    """HIDDEN: packed documents have the same logits as separate documents."""

    def law(network: Network) -> str:
        lengths = (3, 1, 4)
        source_lengths = (2, 3, 1)
        ids = tokens(1, 8)
        source = tokens(1, 6, seed=1)
        packed = Inputs(ids, document_numbers(lengths))
        reads = law_inputs(network, ids).source is not None
        packed.source = Inputs(source, document_numbers(source_lengths)) if reads else None
        parts = zip(ids.split(lengths, 1), source.split(source_lengths, 1), strict=True)
        separate = [network(Inputs(a, source=Inputs(b) if reads else None)) for a, b in parts]
        off = float((network(packed) - torch.cat(separate, 1)).abs().max())
        return "" if off <= ROUNDING else f"logits differ by {off:.2g}"

    return in_every(trial, Capability.HIDDEN, law)


def dropout_can_be_off(trial: Trial) -> Finding:
    """Every source of noise is an `nn.Dropout`, whose rate objectives can set to 0."""

    def law(network: Network) -> str:
        set_dropout(network.train(), 0.0)
        inputs = law_inputs(network, tokens(2, 7))
        return "" if torch.equal(network(inputs), network(inputs)) else "two passes differ"

    noisy = {name: replace(config, dropout=0.5) for name, config in trial.stacks.items()}
    return in_every(replace(trial, stacks=noisy), Capability.HIDDEN, law)


def in_every(trial: Trial, capability: Capability, law: Law) -> Finding:
    """Returns the finding of a law over all architectures that declare the capability."""
    names = [name for name, config in trial.stacks.items() if capability in capabilities_of(config)]
    if not names:
        return not_applicable(f"it does not declare {capability.name}")
    for name in names:
        with torch.no_grad():
            fault = law(random_network(trial.stacks[name]))
        if fault:
            return broken(f"{name}: {fault}")
    return held(", ".join(names))


def random_network(config: ArchitectureConfig) -> Network:
    """Returns a network with random weights, including biases and scales."""
    made: Network = build(config, VOCAB)
    made.double().eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in made.parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        parameter.copy_(0.3 * noise + (0.5 if parameter.ndim == 1 else 0))
    return made


def law_inputs(network: Network, ids: Tensor) -> Inputs:
    """Returns inputs with these ids, and with a source if the network reads one."""
    reads = network.prompt([[TEXT]]).source is not None
    return Inputs(ids, source=Inputs(tokens(len(ids), 5, seed=99)) if reads else None)


def tokens(*shape: int, seed: int = 0) -> Tensor:
    """Returns random ids of text tokens."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(TEXT, VOCAB.size, shape, generator=generator)


def changed(ids: Tensor, position: int) -> Tensor:
    """Returns the same ids with a different one at `position`."""
    found = ids.clone()
    found[:, position] = torch.where(ids[:, position] == VOCAB.size - 1, TEXT, VOCAB.size - 1)
    return found


def change(before: Tensor, after: Tensor) -> list[float]:
    """Returns the largest difference of the logits at each position."""
    return (before - after).abs().amax(dim=(0, 2)).tolist()


def document_numbers(lengths: tuple[int, ...]) -> Tensor:
    """Returns the document number of each token in a row."""
    return torch.repeat_interleave(torch.arange(1, len(lengths) + 1), torch.tensor(lengths))[None]
