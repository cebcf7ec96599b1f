from typing import Any

import pytest
import tiny
import torch
import torch.nn.functional as F

from etude.config.capabilities import check_mixer
from etude.errors import CompositionError
from etude.network.inputs import Inputs


def values(**given: Any) -> Any:  # the plugin's own class
    return tiny.part("architecture/stream", "value_embeddings", **given)


def attention(**given: Any) -> Any:  # the plugin's own class
    return tiny.part("architecture/mixer", "attention", **given)


@pytest.mark.parametrize(("every", "layers"), [(1, "01234"), (2, "024"), (3, "14")])
def test_every_nth_layer_has_a_table_counted_back_from_the_last(every: int, layers: str) -> None:
    made = tiny.network(tiny.stack(stream=values(every=every), n_layers=5))
    assert sorted(made.stack.stream.tables) == list(layers)


@pytest.mark.parametrize("window", [None, 3])
def test_the_gated_embedding_of_each_token_is_added_to_its_values(window: int | None) -> None:
    mixer = attention(queries_per_kv=2, window=window)
    made = tiny.network(tiny.stack(stream=values(gate_dim=8), mixer=mixer, n_layers=1))
    x, ids = [], tiny.tokens(2, 5)
    block, stream = made.stack.blocks[0], made.stack.stream
    block.register_forward_pre_hook(lambda module, args: x.append(args[0]))
    found = made(Inputs(ids))
    gates = 2 * torch.sigmoid(F.rms_norm(x[0], (16,))[..., :8] @ stream.gates["0"].weight.mT)
    added = gates.repeat_interleave(4, dim=-1) * stream.tables["0"].weight[ids]  # batch seq 2*4
    plain = tiny.network(tiny.stack(mixer=mixer, n_layers=1))
    plain.load_state_dict({k: v for k, v in made.state_dict().items() if "stream" not in k})
    plain.stack.blocks[0].mixer.v.register_forward_hook(lambda module, args, out: out + added)
    tiny.assert_close(found, plain(Inputs(ids)))


def test_a_mixer_that_reads_no_extra_values_is_refused() -> None:
    config = tiny.stack(stream=values(), mixer="retention")
    with pytest.raises(CompositionError) as refusal:
        check_mixer(config, "decoder_only")
    assert str(refusal.value).splitlines() == [
        "architecture/stream=value_embeddings cannot use architecture/mixer=retention.",
        "  It needs VALUES (the mixer adds the extra values of its context to its own).",
        "  Options of architecture/mixer that provide it: attention.",
    ]
    check_mixer(tiny.stack(stream=values()), "decoder_only")


@pytest.mark.parametrize("name", ["every", "gate_dim"])
def test_values_out_of_range_are_errors(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        values(**{name: 0})
