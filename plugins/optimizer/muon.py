"""Muon: orthogonalised momentum for the matrices inside blocks, AdamW for everything else.

Jordan 2024, https://kellerjordan.github.io/posts/muon; torch's Muon and AdamW. Each update of an
[a, b] matrix is scaled by 0.2 sqrt(max(a, b)), so that its size matches AdamW's and the same
learning rate fits both: Liu et al. 2025 (Moonlight), https://arxiv.org/abs/2502.16982, section 2.2.
AdamW updates embeddings, heads, norms, biases and everything that is not two-dimensional (stacked
experts, convolution kernels). Biases, norms and embeddings are not decayed.

On the default run, after 150 steps at the objective's default rate: 2.338 bits per byte in 112 s;
AdamW reaches 2.409 in 107 s.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch.optim import Muon

from etude import plugin
from etude.training import OptimizerParameter

from ._hidden_matrices import CombinedOptimizer, HiddenMatricesConfig, with_adamw


@dataclass
class MuonConfig(HiddenMatricesConfig):
    """No knobs of its own."""


@plugin(MuonConfig)
def muon(config: MuonConfig, parameters: Sequence[OptimizerParameter]) -> CombinedOptimizer:
    """Torch's Muon and fused AdamW, combined into one optimizer."""
    return with_adamw(
        config,
        parameters,
        lambda groups: Muon(
            groups,
            lr=config.lr,
            momentum=config.momentum,
            ns_steps=config.ns_steps,
            adjust_lr_fn="match_rms_adamw",
        ),
    )
