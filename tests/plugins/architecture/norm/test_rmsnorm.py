import tiny
import torch

from etude.config.registry import build
from etude.network.parts import Parts


def test_divides_by_the_root_mean_square() -> None:
    norm = build(tiny.part("architecture/norm", "rmsnorm", eps=1e-3), Parts(8, 2)).double()
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
    x = torch.randn(2, 3, 8, dtype=torch.float64)
    rms = (x.square().mean(-1, keepdim=True) + 1e-3).sqrt()
    torch.testing.assert_close(norm(x), x / rms * norm.weight)
    assert [name for name, _ in norm.named_parameters()] == ["weight"]
