import tiny
import torch

from etude.config.registry import build
from etude.network.parts import Parts


def test_output_has_zero_mean_and_unit_variance() -> None:
    norm = build(tiny.part("architecture/norm", "layernorm", eps=1e-3), Parts(8, 2)).double()
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
    x = torch.randn(2, 3, 8, dtype=torch.float64)
    centred = x - x.mean(-1, keepdim=True)
    std = (centred.square().mean(-1, keepdim=True) + 1e-3).sqrt()
    torch.testing.assert_close(norm(x), centred / std * norm.weight + norm.bias)


def test_without_bias_there_is_no_shift() -> None:
    norm = build(tiny.part("architecture/norm", "layernorm", bias=False), Parts(8, 2))
    assert [name for name, _ in norm.named_parameters()] == ["weight"]
