"""Laws of adapters: start as the base, leave the base unchanged, and train."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor

from etude.capability import Capability
from etude.config.capabilities import capabilities_of
from etude.config.registry import build
from etude.laws import architecture
from etude.laws.trial import Trial
from etude.laws.verdict import Finding, broken, held, holds, not_applicable
from etude.network.adapter import adapt, layers, merge, parameter_counts
from etude.network.inputs import Inputs
from etude.network.network import Network

ROUNDING = 1e-10
END_PROBABILITY = 0.8
PRETRAINING = (200, 0.01)
FINE_TUNING = (300, 0.1)
"""Number of steps and learning rate; adapters need a higher one."""


def it_starts_as_the_base(trial: Trial) -> Finding:
    """Before training, the adapted network has the same outputs as the base."""
    if not trial.plugin.declaration.starts_as_base:
        return not_applicable("it declares starts_as_base=False")
    base = _base(trial)
    off = _max_difference(_logits(base), _logits(_with_adapters(trial, base)))
    return holds(off <= ROUNDING, f"logits differ by {off:.2g}")


def trainable_weights_get_gradients(trial: Trial) -> Finding:
    """Some weights are trainable, and after a change from initialization all get gradients."""
    made = _with_adapters(trial, _base(trial))
    _perturb(made)
    _logits(made).square().sum().backward()
    trainable = {name: p for name, p in made.named_parameters() if p.requires_grad}
    idle = [name for name, p in trainable.items() if p.grad is None or not bool(p.grad.any())]
    if idle:
        return broken(f"{len(idle)} of {len(trainable)} get no gradient: {', '.join(idle[:3])}")
    n_all, n_free = parameter_counts(made).values()
    return held(f"{n_free:,} of {n_all:,} parameters")


def disabled_it_equals_the_base(trial: Trial) -> Finding:
    """With its layers disabled, the outputs are the base's, as a reference policy needs."""
    base = _base(trial)
    made = _with_adapters(trial, base)
    if not layers(made):
        return not_applicable("it adds no layers")
    _perturb(made)
    for layer in layers(made):
        layer.on = False
    off = _max_difference(_logits(base), _logits(made))
    return holds(off <= ROUNDING, f"logits differ by {off:.2g}")


def merging_changes_no_output(trial: Trial) -> Finding:
    """Merged into the base's weights, it has the same outputs."""
    if not trial.plugin.declaration.merges:
        return not_applicable("it does not declare merges")
    made = _with_adapters(trial, _base(trial))
    _perturb(made)
    with torch.no_grad():
        before = _logits(made)
        merge(made)
        off = _max_difference(before, _logits(made))
    return holds(off <= ROUNDING and not layers(made), f"logits differ by {off:.2g}")


def answers_learn_to_end(trial: Trial) -> Finding:
    """On a base that knows eos, fine-tuning on a few answers gives p(eos) > 0.8 after each."""
    if Capability.NEXT_TOKEN not in capabilities_of(trial.config.architecture):
        return not_applicable("the network does not predict the next token")
    vocab = architecture.VOCAB
    words = architecture.tokens(64, 8).tolist()
    documents = [([vocab.bos], [*row[: 2 + i % 7], vocab.eos]) for i, row in enumerate(words)]
    answers = [([vocab.bos, *row[:4]], [architecture.TEXT, vocab.eos]) for row in words[:8]]
    torch.manual_seed(0)
    made: Network = build(trial.config.architecture, vocab)
    _train(made, documents, *PRETRAINING)
    adapt(made, trial.config.adapter)
    _train(made, answers, *FINE_TUNING)
    with torch.no_grad():
        targets = made.eval().answer([([*prompt, *end[:-1]], end[-1:]) for prompt, end in answers])
        p = float(made(targets.inputs, targets.where).softmax(-1)[:, vocab.eos].min())
    return holds(p > END_PROBABILITY, f"p(eos) is at least {p:.3f}")


def _train(
    network: Network, pairs: list[tuple[list[int], list[int]]], steps: int, lr: float
) -> None:
    """Trains the trainable weights to complete the prompts."""
    targets = network.answer(pairs)
    free = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(free, lr)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * (1 - step / steps)
        logits = network.train()(targets.inputs, targets.where)
        F.cross_entropy(logits, targets.ids[targets.where]).backward()
        optimizer.step()
        optimizer.zero_grad()


def _base(trial: Trial) -> Network:
    with torch.no_grad():
        return architecture.random_network(trial.config.architecture)


def _with_adapters(trial: Trial, base: Network) -> Network:
    made = copy.deepcopy(base)
    adapt(made, trial.config.adapter)
    return made.double().eval()


def _perturb(made: Network) -> None:
    """Changes the value of every trainable weight."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
                parameter.add_(0.3 * noise)


def _logits(made: Network) -> Tensor:
    return made(Inputs(architecture.tokens(2, 7)))


def _max_difference(one: Tensor, two: Tensor) -> float:
    return float((one - two).abs().max().detach())
