from pathlib import Path
from typing import Any

import parity
import pytest
import tiny
import torch
from torch import Tensor
from transformers import GenerationConfig

from etude.formats import hugging_face
from etude.formats.hugging_face import find_layout
from etude.formats.weight_map import WeightMapping

OURS = ("a", "b", "c")


@pytest.mark.parametrize(
    ("mapping", "sizes"),
    [
        (WeightMapping("theirs", ("a",)), [5]),
        (WeightMapping("theirs", ("a",), transposed=True), [5]),
        (WeightMapping("theirs", OURS), [4, 2, 2]),
        (WeightMapping("theirs", OURS, transposed=True), [4, 2, 2]),
        (WeightMapping("theirs", OURS, groups=2), [4, 2, 2]),
        (WeightMapping("theirs", ("a",), offset=2), [5]),
    ],
)
def test_to_ours_inverts_to_theirs(mapping: WeightMapping, sizes: list[int]) -> None:
    ours = [torch.randn(n, 3) for n in sizes]
    theirs = mapping.to_theirs(ours)
    assert theirs.shape[-1 if mapping.transposed else 0] == sum(sizes) + mapping.offset
    for found, wanted in zip(mapping.to_ours(theirs, sizes), ours, strict=True):
        assert torch.equal(found, wanted)


def test_groups_are_interleaved() -> None:
    q, k, v = (torch.arange(4) + 10 * i for i in range(3))
    found = WeightMapping("theirs", OURS, groups=2).to_theirs([q, k, v])
    assert found.tolist() == [0, 1, 10, 11, 20, 21, 2, 3, 12, 13, 22, 23]


def test_extra_rows_at_the_start_are_zeros() -> None:
    assert WeightMapping("theirs", ("a",), offset=2).to_theirs([torch.ones(1, 2)]).tolist() == [
        [0, 0],
        [0, 0],
        [1, 1],
    ]


@pytest.mark.parametrize(("rows", "wanted"), [(2, [0.0, 2.0]), (5, [0.0, 2.0, 4.0, 2.0, 2.0])])
def test_a_token_table_gets_one_row_per_id_of_the_tokenizer(rows: int, wanted: list[float]) -> None:
    table: Tensor = torch.tensor([0.0, 2.0, 4.0])
    (found,) = WeightMapping("lm_head.bias", ("head.out.bias",)).to_ours(table, [rows])
    assert found.tolist() == wanted


def test_new_rows_of_a_token_table_differ_and_are_near_the_others() -> None:
    table = torch.randn(50, 16, generator=torch.Generator().manual_seed(1))
    mapping = WeightMapping("wte.weight", ("embedding.weight",))
    (found,) = mapping.to_ours(table, [60])
    assert torch.equal(found[:50], table)
    assert torch.pdist(found[50:]).min() > 0.2
    assert (found[50:] - table.mean(0)).norm(dim=1).max() < (table - table.mean(0)).norm(
        dim=1
    ).min()
    assert torch.equal(mapping.to_ours(table, [60])[0], found)


@pytest.mark.parametrize(
    ("preset", "group", "knob", "value"),
    [
        ("llama", "mixer", "window", 4),
        ("llama", "mixer", "softcap", 5.0),
        ("llama", "mixer", "scaled", False),
        ("llama", "head", "softcap", 5.0),
        ("llama", "block", "skip_first", True),
        ("llama", None, "norm_embedding", True),
        ("llama", None, "n_groups", 1),
        ("gpt2", None, "n_segments", 2),
        ("gpt2", None, "embedding_dim", 64),
        ("t5", "head", "scaled", False),
        ("t5", "mlp", "bias", True),
        ("bart", None, "tie", False),
        ("bart", None, "norm_embedding", False),
    ],
)
def test_a_network_that_a_family_cannot_fully_express_has_no_layout(
    preset: str, group: str | None, knob: str, value: object
) -> None:
    config: Any = parity.preset(preset)
    assert find_layout(config, tiny.VOCAB) is not None
    setattr(getattr(config, group) if group else config, knob, value)
    assert find_layout(config, tiny.VOCAB) is None


@pytest.mark.parametrize(
    ("preset", "family"),
    [
        ("gpt2", "gpt2"),
        ("llama", "llama"),
        ("qwen3", "qwen3"),
        ("bloom", "bloom"),
        ("bart", "bart"),
    ],
)
def test_a_preset_has_the_layout_of_its_family(preset: str, family: str) -> None:
    found = find_layout(parity.preset(preset), tiny.VOCAB)
    assert found is not None
    assert found[1]["model_type"] == family


def test_transformers_stops_at_the_same_tokens(tmp_path: Path) -> None:
    vocab = tiny.BYTES.vocab
    hugging_face.write_fields(tmp_path, {"model_type": "t5", "decoder_start_token_id": 3}, vocab)
    found = GenerationConfig.from_pretrained(tmp_path)
    assert tuple(found.eos_token_id) == vocab.stops
    assert found.decoder_start_token_id == 3
    assert hugging_face.read_fields(tmp_path)[1]["model_type"] == "t5"
