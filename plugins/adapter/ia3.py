"""IA3: keys, values and the hidden features of MLPs are scaled by learned vectors.

Liu et al. 2022, https://arxiv.org/abs/2205.05638, section 3.3. As in PEFT, a bias is scaled with
its output. The vectors start at 1, so the network initially equals the base.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from etude import plugin, require
from etude.config import AdapterConfig
from etude.formats import Fields, HFLinear, LinearFormat, PeftPart, require_values
from etude.network import MergingLayer, Network, insert, linear_of, linears

VECTOR = "ia3_l"
REQUIRED = {"modules_to_save": None}
"""PEFT fields for which only one value is supported."""


@dataclass
class Ia3Config(AdapterConfig):
    outputs: list[str] = field(default_factory=lambda: ["*.k", "*.v"])
    """Name patterns of the linear layers whose outputs are scaled."""
    inputs: list[str] = field(default_factory=lambda: ["*.mlp.down"])
    """Name patterns of the linear layers whose inputs are scaled; MoE: ["*.mlp.experts.*.down"]."""

    def __post_init__(self) -> None:
        require(bool(self.outputs or self.inputs), "outputs and inputs are both empty: set one")

    def peft_format(self) -> "Ia3Format":
        return Ia3Format(self)


@plugin(Ia3Config, merges=True)
def ia3(config: Ia3Config, network: Network) -> Network:
    """Adds a scaling vector to the output or input of every target."""
    for patterns, kind in ((config.outputs, ScaledOutput), (config.inputs, ScaledInput)):
        insert(network, patterns, linears(network), kind)
    return network


class ScaledOutput(MergingLayer):
    """vector * base(x)."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__(base)
        weight = linear_of(base).weight
        self.output_scale = nn.Parameter(weight.new_ones(weight.shape[0]))

    def forward_adapted(self, x: Float[Tensor, "... in"]) -> Float[Tensor, "... out"]:
        return self.base(x) * self.output_scale

    def merge(self) -> nn.Module:
        linear = linear_of(self)
        linear.weight.mul_(self.output_scale[:, None])
        bias = dict(linear.named_parameters()).get("bias")
        if bias is not None:
            bias.mul_(self.output_scale)
        return linear


class ScaledInput(MergingLayer):
    """base(vector * x)."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__(base)
        weight = linear_of(base).weight
        self.input_scale = nn.Parameter(weight.new_ones(weight.shape[1]))

    def forward_adapted(self, x: Float[Tensor, "... in"]) -> Float[Tensor, "... out"]:
        return self.base(x * self.input_scale)

    def merge(self) -> nn.Module:
        linear = linear_of(self)
        linear.weight.mul_(self.input_scale)
        return linear


class Ia3Format(LinearFormat):
    """Output vectors are stored as columns, input vectors as rows."""

    peft_type = "IA3"
    names = ("output_scale", "input_scale")
    ends = (VECTOR,)

    def __init__(self, config: Ia3Config) -> None:
        self.ia3 = config

    def fields(self, linears: Sequence[HFLinear], transposed: bool) -> dict[str, Any]:
        before = [
            one.name
            for one in linears
            if any(fnmatchcase(our, p) for our in one.ours for p in self.ia3.inputs)
        ]
        return {
            "target_modules": [one.name for one in linears],
            "feedforward_modules": before,
            "fan_in_fan_out": transposed,
        }

    def join(self, one: HFLinear, parts: Sequence[PeftPart]) -> dict[str, Tensor] | None:
        if any("input_scale" in part.tensors for part in parts):
            is_only_vector = len(parts) == len(parts[0].tensors) == 1
            return {VECTOR: parts[0].tensors["input_scale"][None]} if is_only_vector else None
        ones = (part.weight.new_ones(len(part.weight)) for part in parts)
        rows = [p.tensors.get("output_scale", one) for p, one in zip(parts, ones, strict=True)]
        return {VECTOR: one.join(rows)[:, None]}

    def split(
        self, one: HFLinear, parts: Sequence[PeftPart], fields: Fields, found: Mapping[str, Tensor]
    ) -> list[dict[str, Tensor]]:
        vector = found[VECTOR]
        if len(vector) == 1:
            return [{"input_scale": vector[0]} for _ in parts]
        rows = one.split(vector[:, 0], [len(part.weight) for part in parts])
        return [{"output_scale": row} for row in rows]

    def config(self, fields: Fields, linears: Sequence[HFLinear]) -> Ia3Config:
        require_values(fields, REQUIRED)
        ends = tuple(f".{name}" for name in fields["feedforward_modules"])
        before = [one for one in linears if f".{one.name}".endswith(ends)]
        return Ia3Config(
            outputs=[our for one in linears if one not in before for our in one.ours],
            inputs=[our for one in before for our in one.ours],
        )
