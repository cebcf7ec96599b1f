"""Mixture of experts: a router sends each token to a few of many gated MLPs; none is dropped.

Shazeer et al. 2017, https://arxiv.org/abs/1701.06538, top-k of softmax as in Mixtral (Jiang et al.
2024, https://arxiv.org/abs/2401.04088, section 2.1); shared experts: Dai et al. 2024
(DeepSeekMoE), https://arxiv.org/abs/2401.06066; balancing by a bias, updated once per step from
expert counts of the global batch, all ranks: Wang et al. 2024, https://arxiv.org/abs/2408.15664,
algorithm 1; router z-loss: Zoph et al. 2022 (ST-MoE), https://arxiv.org/abs/2202.08906, equation
5; balancing loss: Fedus et al. 2021 (Switch), https://arxiv.org/abs/2101.03961, equation 4.
Both losses are summed over tokens and normalised like the objective's own loss. The balancing
loss is the only batch statistic: it depends on how the global batch is split into micro-batches.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from etude import plugin, require
from etude.config import MlpConfig
from etude.network import AuxiliaryLoss, GatedFeedForward, Parts, hidden_size, to_fp32


class Scoring(Enum):
    """How router logits become expert weights."""

    softmax = "softmax"
    sigmoid = "sigmoid"


@dataclass
class MoeConfig(MlpConfig):
    n_experts: int = 8
    """Number of routed experts."""
    top_k: int = 2
    """Number of routed experts per token."""
    n_shared: int = 0
    """Number of shared experts, which process every token."""
    ratio: float = 4 / 3
    """Hidden width of each expert as a multiple of dim."""
    multiple_of: int = 16
    """The hidden width is rounded up to a multiple of this."""
    scoring: Scoring = Scoring.softmax
    """Router scores: softmax as in Mixtral, sigmoid as in DeepSeek-V3."""
    normalise: bool = True
    """Whether the weights of the selected experts are normalised to sum to 1."""
    bias_rate: float = 1e-3
    """Step size of the selection bias, which favours underused experts; 0 = no bias."""
    z_loss: float = 0.0
    """Coefficient of the router z-loss, logsumexp(logits)^2 per token; 0 = off. ST-MoE: 1e-3."""
    balance_loss: float = 0.0
    """Coefficient of the Switch balancing loss, a batch statistic; 0 = off. Mixtral: 1e-3."""

    def __post_init__(self) -> None:
        require(
            1 <= self.top_k <= self.n_experts,
            f"top_k must be in [1, n_experts={self.n_experts}], got {self.top_k}",
        )
        require(self.ratio > 0, f"ratio must be positive, got {self.ratio}")
        require(self.multiple_of >= 1, f"multiple_of must be at least 1, got {self.multiple_of}")
        for name in ("n_shared", "bias_rate", "z_loss", "balance_loss"):
            require(vars(self)[name] >= 0, f"{name} must be 0 or more, got {vars(self)[name]}")

    def hidden(self, dim: int) -> int:
        """Width of an expert's hidden layer in a network of width `dim`."""
        return hidden_size(dim, self.ratio, self.multiple_of)


def route(
    logits: Float[Tensor, "tokens experts"],
    bias: Float[Tensor, " experts"] | None,
    config: MoeConfig,
) -> tuple[Int[Tensor, "tokens k"], Float[Tensor, "tokens k"]]:
    """Returns each token's experts and their weights; the bias affects only the selection."""
    scores = logits.softmax(-1) if config.scoring is Scoring.softmax else logits.sigmoid()
    selected = (scores if bias is None else scores + bias).topk(config.top_k).indices
    weights = scores.gather(-1, selected)
    return selected, weights / weights.sum(-1, keepdim=True) if config.normalise else weights


@plugin(MoeConfig)
class Moe(AuxiliaryLoss):
    """Sum of weight x expert(x) over the selected experts, plus every shared expert."""

    selection_bias: Tensor | None

    def __init__(self, config: MoeConfig, parts: Parts) -> None:
        super().__init__()
        self.config = config
        hidden = config.hidden(parts.dim)

        def experts(n: int) -> nn.ModuleList:
            mlps = (
                GatedFeedForward(parts.dim, hidden, bias=False, activation=F.silu) for _ in range(n)
            )
            return nn.ModuleList(mlps)

        self.router = nn.Linear(parts.dim, config.n_experts, bias=False)
        self.experts = experts(config.n_experts)
        self.shared = experts(config.n_shared)
        start = torch.zeros(config.n_experts) if config.bias_rate else None
        self.register_buffer("selection_bias", start)
        self._loads = torch.zeros(config.n_experts, dtype=torch.int64)
        self._loss: Tensor | None = None

    def forward(self, x: Float[Tensor, "batch seq dim"]) -> Float[Tensor, "batch seq dim"]:
        flat = x.flatten(0, 1)  # tokens dim
        logits = to_fp32(self.router(flat))
        selected, weights = route(logits, self.selection_bias, self.config)
        out = torch.zeros_like(flat)
        for expert in self.shared:
            out = out + expert(flat)
        for i, expert in enumerate(self.experts):
            token, slot = (selected == i).nonzero(as_tuple=True)
            part = expert(flat[token]) * weights[token, slot, None].to(flat.dtype)
            out = out.index_add(0, token, part.to(out.dtype))
        is_trained = all(parameter.requires_grad for parameter in self.router.parameters())
        if self.training and is_trained and torch.is_grad_enabled():
            self._accumulate(logits, selected)
        return out.view_as(x)

    def _accumulate(self, logits: Tensor, selected: Tensor) -> None:
        """Adds this pass's expert counts and losses, over the tokens that are not padding."""
        if self.real is not None:
            logits = logits[self.real.flatten()]
            selected = selected[self.real.flatten()]
        load = torch.bincount(selected.flatten(), minlength=self.config.n_experts)
        self._loads = self._loads.to(load.device) + load
        loss = self.config.z_loss * logits.logsumexp(-1).square().sum()
        if self.config.balance_loss:
            share = load / max(selected.numel(), 1)
            probabilities = logits.softmax(-1).sum(0)
            loss = loss + self.config.balance_loss * len(share) * (share * probabilities).sum()
        self._loss = loss if self._loss is None else self._loss + loss

    def pop(self) -> Float[Tensor, ""] | None:
        loss = self._loss
        self._loss = None
        return loss if self.config.z_loss or self.config.balance_loss else None

    def end_step(self, over_ranks: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Updates the bias from the step's expert counts; returns loads relative to their mean."""
        loads = over_ranks(self._loads).double()
        self._loads = torch.zeros_like(self._loads)
        if self.selection_bias is not None:
            self.selection_bias += self.config.bias_rate * (loads.mean() - loads).sign()
        relative = (loads / loads.mean().clamp(min=1e-9)).tolist()
        return {"max_load": max(relative), "min_load": min(relative)}
