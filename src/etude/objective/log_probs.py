"""Log-probabilities, entropies and losses that several objectives share."""

import math

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from etude.network.inputs import Targets
from etude.network.precision import to_fp32


def token_log_prob(
    network: nn.Module, targets: Targets, temperature: float = 1.0
) -> Float[Tensor, " n"]:
    """Returns log p, in nats, of each target token (where `targets.where` is true), row by row."""
    return log_prob_of(target_logits(network, targets, temperature), targets)


def target_logits(
    network: nn.Module, targets: Targets, temperature: float = 1.0
) -> Float[Tensor, "n vocab"]:
    """Returns logits / temperature at the positions where `targets.where` is true, row by row."""
    logits = to_fp32(network(targets.inputs, targets.where))
    return logits if temperature == 1.0 else logits / temperature


def log_prob_of(logits: Float[Tensor, "n vocab"], targets: Targets) -> Float[Tensor, " n"]:
    """Returns log p, in nats, of each target token, from its logits."""
    return -F.cross_entropy(logits, targets.ids[targets.where], reduction="none")


def entropy_of(logits: Float[Tensor, "n vocab"]) -> Float[Tensor, " n"]:
    """Returns the entropy, in nats, of each distribution over tokens."""
    log_probs = logits.log_softmax(dim=-1)
    return -(log_probs.exp() * log_probs).sum(dim=-1)


def sum_rows(
    values: Float[Tensor, " n"], where: Bool[Tensor, "batch seq"]
) -> Float[Tensor, " batch"]:
    """Sums the values at the true positions of `where`, row by row."""
    rows = where.nonzero()[:, 0]
    return values.new_zeros(where.shape[0]).index_add(0, rows, values)


def sequence_log_prob(network: nn.Module, targets: Targets) -> Float[Tensor, " batch"]:
    """Returns log p(completion | prompt) of each row, in nats: a sum over its tokens."""
    return sum_rows(token_log_prob(network, targets), targets.where)


def row_means(
    values: Float[Tensor, " n"], where: Bool[Tensor, "batch seq"]
) -> Float[Tensor, " batch"]:
    """Averages the values at the true positions of `where`, row by row; 0 for an empty row."""
    return sum_rows(values, where) / where.sum(dim=1).clamp(min=1)


def perplexity(nll: float) -> float:
    """Returns exp of a mean negative log-likelihood in nats, capped at exp(700) to stay finite."""
    return math.exp(min(nll, 700.0))


def preference_loss(
    margin: Float[Tensor, " pair"], flipped: float | Float[Tensor, " pair"] = 0.0
) -> Float[Tensor, " pair"]:
    """Returns the cross-entropy, in nats, of preference labels whose log-odds are `margin`.

    A fraction `flipped` of the labels is assumed to be wrong.
    """
    return -(1 - flipped) * F.logsigmoid(margin) - flipped * F.logsigmoid(-margin)
