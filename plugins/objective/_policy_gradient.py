"""Policy-gradient building blocks: the clipped objective, KL estimators, group advantages.

Schulman et al. 2017 (PPO), https://arxiv.org/abs/1707.06347, equation 7, with separate lower and
upper bounds (Yu et al. 2025, DAPO, https://arxiv.org/abs/2503.14476, section 3.1). KL estimators:
http://joschu.net/blog/kl-approx.html.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def clipped_objective(
    log_ratio: Float[Tensor, " n"], advantage: Float[Tensor, " n"], low: float, high: float
) -> Float[Tensor, " n"]:
    """min(rho A, clip(rho, 1 - low, 1 + high) A) for each token, with rho = exp(log_ratio)."""
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - low, 1 + high)
    return torch.minimum(ratio * advantage, clipped * advantage)


def clip_counts(
    log_ratio: Float[Tensor, " n"], advantage: Float[Tensor, " n"], low: float, high: float
) -> dict[str, Float[Tensor, " n"]]:
    """1 where clipping zeroes the gradient: below for negative advantages, above for positive."""
    ratio = log_ratio.detach().exp()
    below = (ratio < 1 - low) & (advantage < 0)
    above = (ratio > 1 + high) & (advantage > 0)
    return {"clip_fraction_low": below.to(ratio), "clip_fraction_high": above.to(ratio)}


def k1(log_prob: Float[Tensor, "*n"], reference: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """The k1 estimator of KL(policy || reference): log p - log p_ref, of either sign."""
    return log_prob - reference


def k3(log_prob: Float[Tensor, "*n"], reference: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """The k3 estimator, never negative: r - 1 - log r with r = p_ref / p."""
    shift = reference - log_prob
    return shift.exp() - shift - 1


def nan_std(values: Float[Tensor, "rows n"]) -> Float[Tensor, "rows 1"]:
    """Bessel-corrected standard deviation of each row, without NaN; 0 for one value or none."""
    squares = (values - values.nanmean(dim=1, keepdim=True)).square().nansum(dim=1, keepdim=True)
    known = (~values.isnan()).sum(dim=1, keepdim=True)
    return (squares / (known - 1).clamp(min=1)).sqrt()


def group_advantages(
    rewards: Float[Tensor, "prompt group"], deviation: Float[Tensor, "#prompt 1"] | None
) -> Float[Tensor, "prompt group"]:
    """(reward - group mean) / (deviation + 1e-4); NaN where the reward is missing."""
    centred = rewards - rewards.nanmean(dim=1, keepdim=True)
    return centred if deviation is None else centred / (deviation + 1e-4)
