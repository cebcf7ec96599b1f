import adapters
import pytest
import tiny
import torch
import torch.nn.functional as F

from etude.network.adapter import module_slots

HOULSBY, PFEIFFER = "houlsby", "pfeiffer"


@pytest.mark.parametrize(
    ("kind", "stack", "wanted"),
    [
        (HOULSBY, "decoder_only", {"mixer", "mlp"}),
        (HOULSBY, "encoder_decoder", {"mixer", "cross", "mlp"}),
        (PFEIFFER, "encoder_decoder", {"mlp"}),
    ],
)
def test_the_placement_selects_the_sublayers(kind: str, stack: str, wanted: set[str]) -> None:
    made = adapters.network(stack, kind)
    found = {p.name.rpartition(".")[2] for p in module_slots(made) if p.module is not p.innermost}
    assert found == wanted


@torch.no_grad()
def test_it_adds_a_narrow_mlp_of_the_output() -> None:
    layer = adapters.network("decoder_only", HOULSBY).stack.blocks[0].mlp
    x = torch.randn(2, 3, 16, dtype=torch.float64)
    y = layer.base(x)
    narrow = F.gelu(y @ layer.down.weight.mT + layer.down.bias)
    tiny.assert_close(layer(x), y + narrow @ layer.up.weight.mT + layer.up.bias)


@pytest.mark.parametrize("values", [{"size": 0}, {"dropout": 1.0}])
def test_values_out_of_range_are_errors(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        tiny.part("adapter", "bottleneck", **values)
