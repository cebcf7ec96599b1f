"""Low-rank adaptation: adds a learned product of two narrow matrices to a frozen linear layer.

Hu et al. 2021 (LoRA), https://arxiv.org/abs/2106.09685, section 4.1; scaling by
1 / sqrt(rank): Kalajdzievski 2023 (rsLoRA), https://arxiv.org/abs/2312.03732; the norm of each
output's weights learned separately from their direction: Liu et al. 2024 (DoRA),
https://arxiv.org/abs/2402.09353, equation 5, with the norm treated as a constant (section 4.3).
As in PEFT, `down` starts like torch's linear layers and `up` at 0, so the network initially equals
the base. Deviation: only linear layers are adapted, not embedding tables or a tied head.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from etude import plugin, require
from etude.config import AdapterConfig
from etude.formats import Fields, HFLinear, LinearFormat, PeftPart, require_values
from etude.network import AdapterLayer, MergingLayer, Network, insert, linear_of, linears

DOWN = "lora_A.weight"
UP = "lora_B.weight"
MAGNITUDE = "lora_magnitude_vector"
REQUIRED = {"bias": "none", "lora_bias": False, "modules_to_save": None, "layer_replication": None}
"""PEFT fields for which only one value is supported."""


@dataclass
class LoraConfig(AdapterConfig):
    rank: int = 8
    """Rank of the update. Typical: 4-64."""
    alpha: float = 16.0
    """The update is scaled by alpha / rank, or alpha / sqrt(rank) with rslora. Typical: 8-32."""
    dropout: float = 0.0
    """Dropout probability on the input of the update, in [0, 1)."""
    targets: list[str] = field(default_factory=lambda: ["*.q", "*.v"])
    """Name patterns of the linear layers to adapt: ["*"] = all, ["*.mlp.*"] = those of MLPs."""
    rslora: bool = False
    """Scale by alpha / sqrt(rank), so that high ranks learn as fast as low ones."""
    dora: bool = False
    """Learn the norm of each output's weights separately from their direction (DoRA)."""

    def __post_init__(self) -> None:
        require(self.rank >= 1, f"rank must be at least 1, got {self.rank}")
        require(self.alpha > 0, f"alpha must be positive, got {self.alpha}")
        require(0 <= self.dropout < 1, f"dropout must be in [0, 1), got {self.dropout}")
        require(len(self.targets) > 0, "targets is empty: there is nothing to adapt")

    @property
    def scale(self) -> float:
        """Factor of the low-rank update."""
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)

    def peft_format(self) -> "LoraFormat":
        return LoraFormat(self)


def norms(weight: Float[Tensor, "out in"]) -> Float[Tensor, " out"]:
    """Returns the L2 norm of each output's weights."""
    return torch.linalg.vector_norm(weight, dim=1)


@plugin(LoraConfig, merges=True)
def lora(config: LoraConfig, network: Network) -> Network:
    """Adds a low-rank branch to every target."""

    def make(base: nn.Module) -> AdapterLayer:
        require(
            not (config.dora and isinstance(base, AdapterLayer)),
            "dora needs plain linear layers, and another adapter already wraps one of its targets",
        )
        return LowRank(config, base)

    return insert(network, config.targets, linears(network), make)


class LowRank(MergingLayer):
    """base(x) + scale up(down(dropout(x))); DoRA learns the weight norm of each output."""

    def __init__(self, config: LoraConfig, base: nn.Module) -> None:
        super().__init__(base)
        weight = linear_of(base).weight
        self.scale = config.scale
        self.dropout = nn.Dropout(config.dropout)
        self.down = nn.Parameter(weight.new_empty(config.rank, weight.shape[1]))
        self.up = nn.Parameter(weight.new_zeros(weight.shape[0], config.rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))
        self.magnitude = nn.Parameter(norms(weight.detach())) if config.dora else None

    def forward_adapted(self, x: Float[Tensor, "... in"]) -> Float[Tensor, "... out"]:
        dropped = self.dropout(x)
        branch = self.scale * F.linear(F.linear(dropped, self.down), self.up)
        if self.magnitude is None:
            return self.base(x) + branch
        weight = linear_of(self).weight
        ratio = self.magnitude / norms((weight + self.delta()).detach())
        return self.base(x) + (ratio - 1) * F.linear(dropped, weight) + ratio * branch

    def delta(self) -> Float[Tensor, "out in"]:
        """Returns the low-rank weight update, without DoRA's norms."""
        return self.scale * (self.up @ self.down)

    def merge(self) -> nn.Module:
        linear = linear_of(self)
        weight = linear.weight + self.delta()
        if self.magnitude is not None:
            weight = (self.magnitude / norms(weight))[:, None] * weight
        linear.weight.copy_(weight)
        return linear


class LoraFormat(LinearFormat):
    """The updates of n layers that PEFT fuses become one, block-diagonal, of n times the rank."""

    peft_type = "LORA"
    names = ("down", "up", "magnitude")
    ends = (DOWN, UP, MAGNITUDE)

    def __init__(self, config: LoraConfig) -> None:
        self.lora = config

    def fields(self, linears: Sequence[HFLinear], transposed: bool) -> dict[str, Any]:
        lora = self.lora
        fused = {one.name: len(one.ours) for one in linears if len(one.ours) > 1}
        growth = math.sqrt if lora.rslora else float
        return {
            "r": lora.rank,
            "lora_alpha": lora.alpha,
            "lora_dropout": lora.dropout,
            "use_rslora": lora.rslora,
            "use_dora": lora.dora,
            "target_modules": [one.name for one in linears],
            "rank_pattern": {name: n * lora.rank for name, n in fused.items()},
            "alpha_pattern": {name: growth(n) * lora.alpha for name, n in fused.items()},
            "fan_in_fan_out": transposed,
        }

    def join(self, one: HFLinear, parts: Sequence[PeftPart]) -> dict[str, Tensor]:
        n = len(parts)
        rank = self.lora.rank
        downs: list[Tensor] = []
        ups: list[Tensor] = []
        for i, part in enumerate(parts):
            rows, columns = part.weight.shape
            downs.append(part.tensors.get("down", part.weight.new_zeros(rank, columns)))
            up = part.tensors.get("up", part.weight.new_zeros(rows, rank))
            ups.append(F.pad(up, (i * rank, (n - 1 - i) * rank)))
        tensors = {DOWN: torch.cat(downs), UP: one.join(ups)}
        if self.lora.dora:
            magnitudes = [part.tensors.get("magnitude", norms(part.weight)) for part in parts]
            tensors[MAGNITUDE] = one.join(magnitudes)
        return tensors

    def split(
        self, one: HFLinear, parts: Sequence[PeftPart], fields: Fields, found: Mapping[str, Tensor]
    ) -> list[dict[str, Tensor]]:
        """Parts of a fused layer share its `down`, unless that has n times our rank."""
        down = found[DOWN]
        n = len(parts)
        rows = one.split(found[UP], [len(part.weight) for part in parts])
        if len(down) == self.lora.rank:
            downs = [down] * n
            ups = rows
        else:
            downs = list(down.chunk(n))
            ups = [up.chunk(n, dim=1)[i] for i, up in enumerate(rows)]
        alpha = (fields.get("alpha_pattern") or {}).get(one.name, fields["lora_alpha"])
        factor = alpha / (math.sqrt(len(down)) if self.lora.rslora else len(down)) / self.lora.scale
        if not math.isclose(factor, 1.0):
            ups = [factor * up for up in ups]
        split = [{"down": d, "up": u} for d, u in zip(downs, ups, strict=True)]
        if MAGNITUDE in found:
            magnitudes = one.split(found[MAGNITUDE], [len(part.weight) for part in parts])
            split = [{**s, "magnitude": m} for s, m in zip(split, magnitudes, strict=True)]
        return split

    def config(self, fields: Fields, linears: Sequence[HFLinear]) -> LoraConfig:
        require_values(fields, REQUIRED)
        for pattern in ("rank_pattern", "alpha_pattern"):
            unknown = set(fields.get(pattern) or {}) - {one.name for one in linears}
            require(not unknown, f"{pattern} names unknown linear layers: {', '.join(unknown)}")
        return LoraConfig(
            rank=fields["r"],
            alpha=float(fields["lora_alpha"]),
            dropout=fields.get("lora_dropout", 0.0),
            targets=[our for one in linears for our in one.ours],
            rslora=bool(fields.get("use_rslora")),
            dora=bool(fields.get("use_dora")),
        )
