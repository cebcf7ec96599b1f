"""The named mathematics that more than one objective stands on."""

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from etude.adapter import WithoutAdapter, is_base_intact
from etude.inputs import Inputs, Targets
from etude.network import Network


def wide(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Returns x in at least fp32: losses and log-probabilities are never computed in less."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def token_log_prob(
    network: nn.Module, targets: Targets, temperature: float = 1.0
) -> Float[Tensor, " n"]:
    """Returns log p, in nats, of each token due where `targets.where` is true, row by row."""
    return log_prob_of(due_logits(network, targets, temperature), targets)


def due_logits(
    network: nn.Module, targets: Targets, temperature: float = 1.0
) -> Float[Tensor, "n vocab"]:
    """Returns the logits, over `temperature`, where `targets.where` is true, row by row."""
    logits = wide(network(targets.inputs, targets.where))
    return logits if temperature == 1.0 else logits / temperature


def log_prob_of(logits: Float[Tensor, "n vocab"], targets: Targets) -> Float[Tensor, " n"]:
    """Returns log p, in nats, of each token due, from their logits."""
    return -F.cross_entropy(logits, targets.ids[targets.where], reduction="none")


def entropy_of(logits: Float[Tensor, "n vocab"]) -> Float[Tensor, " n"]:
    """Returns the entropy, in nats, of each distribution over tokens."""
    log_probs = logits.log_softmax(dim=-1)
    return -(log_probs.exp() * log_probs).sum(dim=-1)


def sum_rows(
    values: Float[Tensor, " n"], where: Bool[Tensor, "batch seq"]
) -> Float[Tensor, " batch"]:
    """Sums the values that stand at the true places of `where`, row by row."""
    rows = where.nonzero()[:, 0]
    return values.new_zeros(where.shape[0]).index_add(0, rows, values)


def sequence_log_prob(network: nn.Module, targets: Targets) -> Float[Tensor, " batch"]:
    """Returns log p(completion | prompt) of each row, in nats: a sum over its tokens."""
    return sum_rows(token_log_prob(network, targets), targets.where)


def row_means(
    values: Float[Tensor, " n"], where: Bool[Tensor, "batch seq"]
) -> Float[Tensor, " batch"]:
    """Averages the values that stand at the true places of `where`, row by row; 0 of none."""
    return sum_rows(values, where) / where.sum(dim=1).clamp(min=1)


def preference_loss(
    margin: Float[Tensor, " pair"], flipped: float | Float[Tensor, " pair"] = 0.0
) -> Float[Tensor, " pair"]:
    """Cross-entropy, in nats, of labels under log-odds `margin`; a share of them is `flipped`."""
    return -(1 - flipped) * F.logsigmoid(margin) - flipped * F.logsigmoid(-margin)


class BinaryHead(nn.Module):
    """out(activation(dense(states))): one logit a state, which is 0 before anything is learned."""

    def __init__(self, dim: int, activation: nn.Module) -> None:
        super().__init__()
        self.dense = nn.Linear(dim, dim)
        self.activation = activation
        self.out = nn.Linear(dim, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, states: Float[Tensor, "... dim"]) -> Float[Tensor, "..."]:
        return wide(self.out(self.activation(self.dense(states)))[..., 0])


def rise_of(warmup_steps: int | None, total_steps: int) -> int:
    """Returns how many steps the learning rate rises; null is min(100, 10 % of all steps)."""
    return min(100, total_steps // 10) if warmup_steps is None else warmup_steps


def with_warmup(
    warmup_steps: int | None, total_steps: int, decay: Callable[[float], float]
) -> Callable[[int], float]:
    """Returns step -> factor: a linear rise, then `decay` of the progress from 0 to 1.

    Step 0 takes the first step of the rise.
    """
    rise = rise_of(warmup_steps, total_steps)

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return decay(min(1.0, (step - rise) / max(1, total_steps - rise)))

    return factor


class Frozen(nn.Module):
    """A network that never learns: in eval mode, without gradients, and in no `state_dict`.

    It follows its owner from device to device. A resumed run builds it again from where the
    run started.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._held = (network.requires_grad_(False).eval(),)  # a tuple hides it from state_dict

    def forward(
        self, inputs: Inputs, where: Bool[Tensor, "batch seq"] | None = None
    ) -> Float[Tensor, "... vocab"]:
        with torch.no_grad():
            return self._held[0](inputs, where)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Frozen":
        self._held[0]._apply(fn, recurse)
        return super()._apply(fn, recurse)


def reference_of(network: Network) -> Frozen | WithoutAdapter:
    """Returns the policy as it is now, frozen: what an objective measures its distance from.

    Where only an adapter learns, that is the policy with its adapter off, and no copy is held.
    """
    return WithoutAdapter(network) if is_base_intact(network) else Frozen(copy.deepcopy(network))
