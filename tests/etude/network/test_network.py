import pytest
import tiny
import torch

from etude.network.context import Context, Position
from etude.network.inputs import Inputs, pad_left, pad_right, padded_width
from etude.network.kv_cache import KvCache
from etude.network.network import ROWS
from etude.network.parts import Parts


def test_positions_restart_with_each_document() -> None:
    documents = torch.tensor([[1, 1, 2, 2, 2, 3], [0, 0, 1, 1, 0, 0]])
    found = Inputs(torch.zeros(2, 6).long(), documents).positions()
    assert found.tolist() == [[0, 1, 0, 1, 2, 0], [0, 1, 0, 1, 0, 1]]
    assert Inputs(torch.zeros(2, 3).long()).positions().tolist() == [[0, 1, 2]]


def test_tokens_are_counted_without_padding_and_with_the_source() -> None:
    source = pad_right([[1, 2, 3], [4]], 0)
    assert source.n_tokens == 4
    assert Inputs(torch.zeros(2, 5).long(), source=source).n_tokens == 14


def test_rows_are_padded_on_the_requested_side() -> None:
    right, left = pad_right([[1, 2, 3], [4]], 9), pad_left([[1, 2, 3], [4]], 9)
    assert right.tokens.tolist() == [[1, 2, 3], [4, 9, 9]]
    assert left.tokens.tolist() == [[1, 2, 3], [9, 9, 4]]
    assert right.documents is not None
    assert left.documents is not None
    assert right.documents.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert left.documents.tolist() == [[1, 1, 1], [0, 0, 1]]
    assert pad_right([[1], [2]], 9).documents is None


def test_rows_of_unequal_length_have_one_of_four_widths_per_octave() -> None:
    assert padded_width([100, 100]) == 100
    assert [padded_width([1, n]) for n in (2, 7, 9, 17, 33, 65, 200, 257)] == [
        2, 7, 10, 20, 40, 80, 224, 320,
    ]  # fmt: skip
    widths = {padded_width([1, n]) for n in range(129, 257)}
    assert widths == {160, 192, 224, 256}


def test_the_head_reads_padded_row_counts_with_equal_logits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = tiny.network(tiny.stack()).double()
    inputs = Inputs(torch.randint(9, 37, (2, 40)))
    where = torch.rand(2, 40) < 0.9
    alone = network.logits(network.states(inputs)[where])
    scored: list[int] = []
    whole = network.logits
    monkeypatch.setattr(
        network, "logits", lambda states: scored.append(len(states)) or whole(states)
    )
    found = network(inputs, where)
    assert scored == [-(-int(where.sum()) // ROWS) * ROWS]
    torch.testing.assert_close(found, alone, rtol=0.0, atol=1e-12)


def context(documents: list[int] | None, *, causal: bool, seq: int = 4) -> Context:
    given = None if documents is None else torch.tensor([documents])
    return Context(
        Position(), torch.arange(seq)[None], torch.arange(seq)[None], causal, given, given
    )


@pytest.mark.parametrize(
    ("documents", "causal", "wanted"),
    [
        (None, False, None),
        (None, True, ["1000", "1100", "1110", "1111"]),
        ([1, 1, 2, 2], False, ["1100", "1100", "0011", "0011"]),
        ([1, 1, 2, 2], True, ["1000", "1100", "0010", "0011"]),
        (
            [0, 1, 1, 0],
            True,
            ["1111", "0100", "0110", "1111"],
        ),  # padding sees all keys, and no token sees padding
    ],
)
def test_visibility_matches_hand_written_masks(
    documents: list[int] | None, causal: bool, wanted: list[str] | None
) -> None:
    found = context(documents, causal=causal).visible(4)
    rows = None if found is None else ["".join(map(str, r)) for r in found[0, 0].int().tolist()]
    assert rows == wanted


def test_queries_after_a_cache_see_all_earlier_keys() -> None:
    found = context(None, causal=True, seq=2).visible(5)
    assert found is not None
    assert found[0, 0].int().tolist() == [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]


def test_a_context_computes_a_shared_value_once() -> None:
    calls: list[int] = []

    def compute() -> torch.Tensor:
        calls.append(1)
        return torch.ones(1)

    shared = context(None, causal=True)
    assert shared.once("x", compute) is shared.once("x", compute)
    assert calls == [1]


@pytest.mark.parametrize("architecture", ["decoder_only", "encoder_decoder"])
@pytest.mark.parametrize("cuts", [(6,), (1, 5), (3, 2, 1), (2, 2, 2)])
@torch.no_grad()
def test_a_cache_may_be_filled_in_parts_of_any_size(
    architecture: str, cuts: tuple[int, ...]
) -> None:
    made, ids = tiny.network(tiny.stack(architecture, position="rope")), tiny.tokens(2, 6)
    given, cache = tiny.inputs(made, ids), KvCache(8)
    parts = [
        made(Inputs(part, source=given.source if i == 0 else None), cache=cache)
        for i, part in enumerate(ids.split(cuts, 1))
    ]
    torch.testing.assert_close(torch.cat(parts, 1), made(given), rtol=0.0, atol=1e-10)
    assert cache.length == 6


def test_parts_give_the_width_of_a_head() -> None:
    assert Parts(24, 4).head_dim == 6
    assert Parts(24, 4, key_dim=7).head_dim == 7
    mixer = tiny.part("architecture/mixer", "attention", head_dim=6)
    q = tiny.network(tiny.stack(mixer=mixer)).stack.blocks[0].mixer.q
    assert (q.out_features, q.head_dim) == (24, 6)
