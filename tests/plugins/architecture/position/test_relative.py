import pytest
import tiny
import torch
from transformers.models.t5.modeling_t5 import T5Attention

from etude.config.registry import build
from etude.network.context import Context, Position
from etude.network.inputs import Inputs
from etude.network.kv_cache import Memory
from etude.network.parts import Parts
from etude.plugins.architecture.position.relative import bucket

N_POSITIONS = 40


def made(n_heads: int = 3, **values: int) -> Position:
    return build(tiny.part("architecture/position", "relative", **values), Parts(12, n_heads))


def seen(position: Position, *, causal: bool, n_queries: int = N_POSITIONS) -> Context:
    """Returns the context of the last queries in a row of `N_POSITIONS` keys."""
    positions = torch.arange(N_POSITIONS)[None]
    return Context(position, positions[:, N_POSITIONS - n_queries :], positions, causal)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("n_buckets", "furthest"), [(32, 128), (8, 5), (4, 3), (12, 20), (64, 50)])
def test_buckets_agree_with_transformers_at_every_distance(
    causal: bool, n_buckets: int, furthest: int
) -> None:
    ahead = torch.arange(-400, 401)
    wanted = T5Attention._relative_position_bucket(ahead, not causal, n_buckets, furthest)  # pyright: ignore[reportPrivateUsage]
    assert torch.equal(bucket(ahead, n_buckets, furthest, causal=causal), wanted)


def test_near_keys_have_their_own_buckets_and_distant_keys_share_the_last() -> None:
    back = torch.arange(0, -200, -1)
    found = bucket(back, 32, 128, causal=True)
    assert found[:16].tolist() == list(range(16))
    assert set(found[128:].tolist()) == {31}
    assert torch.equal(found, found.cummax(0).values)


@pytest.mark.parametrize("causal", [True, False])
def test_each_head_adds_the_bias_of_the_bucket(causal: bool) -> None:
    position = made()
    found = position.bias(seen(position, causal=causal), torch.float32)
    assert found is not None
    table = dict(position.named_parameters())["table.weight"]
    for query, key in ((0, 0), (7, 3), (39, 0), (3, 30)):
        row = int(bucket(torch.tensor(key - query), 32, 128, causal=causal))
        assert torch.equal(found[0, :, query, key], table[row])


def test_the_last_queries_alone_get_the_same_bias_as_among_all() -> None:
    position = made()
    whole = position.bias(seen(position, causal=True), torch.float32)
    last = position.bias(seen(position, causal=True, n_queries=2), torch.float32)
    assert whole is not None
    assert last is not None
    assert torch.equal(whole[:, :, -2:], last)


def test_cross_attention_has_no_position_bias() -> None:
    network = tiny.network(tiny.stack("encoder_decoder", position="relative"))
    inputs, source = Inputs(tiny.tokens(1, 4)), Memory(torch.zeros(1, 5, 16), None)
    context = network.decoder.context(inputs, None, source)
    assert context.position.bias(context, torch.float64) is not None
    assert context.source.position.bias(context.source, torch.float64) is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n_buckets": 6}, "n_buckets must be a multiple of 4, got 6"),
        ({"n_buckets": 32, "max_distance": 16}, "max_distance must be above n_buckets / 2 = 16"),
    ],
)
def test_values_out_of_range_are_errors(values: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny.part("architecture/position", "relative", **values)
