from typing import Any

import pytest
import tiny
import torch

from etude.errors import ConfigError
from etude.network.adapter import adapt
from etude.network.inputs import Inputs


def prefixed(**parts: Any) -> Any:
    made = tiny.network(tiny.stack(n_layers=1, **parts))
    adapt(made, {"prefix": tiny.part("adapter", "prefix", length=3)})
    return made


@pytest.mark.parametrize("parts", [{}, {"position": "alibi"}, {"position": "relative"}])
@torch.no_grad()
def test_it_is_attention_over_additional_keys(parts: dict[str, Any]) -> None:
    made = prefixed(mixer=tiny.part("architecture/mixer", "attention", queries_per_kv=2), **parts)
    layer = made.stack.blocks[0].mixer
    layer.keys.normal_()
    layer.values.normal_()
    x = torch.randn(1, 5, 16, dtype=torch.float64)
    context = made.stack.context(Inputs(tiny.tokens(1, 5)), None, None)
    attention = layer.base
    q, (k, v) = attention._split(attention.q(x)), attention._project(x, context)
    k = torch.cat((layer.keys[None], k), dim=2).repeat_interleave(2, dim=1)
    v = torch.cat((layer.values[None], v), dim=2).repeat_interleave(2, dim=1)
    logits = q @ k.mT / 2.0
    bias = context.position.bias(context, torch.float64)
    if bias is not None:
        logits[..., 3:] += bias
    seen = torch.ones(5, 5, dtype=torch.bool).tril()
    logits[..., 3:] = logits[..., 3:].masked_fill(~seen, -torch.inf)
    mixed = (logits.softmax(-1) @ v).transpose(1, 2).flatten(2)
    tiny.assert_close(layer(x, context), attention.out(mixed))


@torch.no_grad()
def test_soft_capped_attention_sees_the_prefix() -> None:
    mixer = tiny.part("architecture/mixer", "attention", softcap=1e6)
    made, plain = prefixed(mixer=mixer), prefixed()
    plain.load_state_dict(made.state_dict())
    ids = tiny.tokens(2, 5)
    torch.testing.assert_close(made(Inputs(ids)), plain(Inputs(ids)), rtol=0, atol=1e-6)


def test_a_mixer_without_keys_is_an_error() -> None:
    with pytest.raises(ConfigError, match="adapter=prefix: Retention has no keys and values"):
        prefixed(mixer="retention")


@pytest.mark.parametrize("values", [{"length": 0}, {"std": -1.0}, {"targets": []}])
def test_values_out_of_range_are_errors(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        tiny.part("adapter", "prefix", **values)
