from pathlib import Path
from typing import Any

import parity
import pytest
import tiny
import torch
from torch import Tensor
from transformers import GenerationConfig

from etude.formats import hugging_face
from etude.formats.hugging_face import fitting
from etude.formats.weight_map import WeightMapping

ONES = ("a", "b", "c")


@pytest.mark.parametrize(
    ("tie", "sizes"),
    [
        (WeightMapping("theirs", ("a",)), [5]),
        (WeightMapping("theirs", ("a",), transposed=True), [5]),
        (WeightMapping("theirs", ONES), [4, 2, 2]),
        (WeightMapping("theirs", ONES, transposed=True), [4, 2, 2]),
        (WeightMapping("theirs", ONES, groups=2), [4, 2, 2]),
        (WeightMapping("theirs", ("a",), offset=2), [5]),
    ],
)
def test_what_is_joined_is_cut_again(tie: WeightMapping, sizes: list[int]) -> None:
    ours = [torch.randn(n, 3) for n in sizes]
    theirs = tie.to_theirs(ours)
    assert theirs.shape[-1 if tie.transposed else 0] == sum(sizes) + tie.offset
    for found, wanted in zip(tie.to_ours(theirs, sizes), ours, strict=True):
        assert torch.equal(found, wanted)


def test_groups_take_turns() -> None:
    q, k, v = (torch.arange(4) + 10 * i for i in range(3))
    found = WeightMapping("theirs", ONES, groups=2).to_theirs([q, k, v])
    assert found.tolist() == [0, 1, 10, 11, 20, 21, 2, 3, 12, 13, 22, 23]


def test_rows_before_ours_are_zeros() -> None:
    assert WeightMapping("theirs", ("a",), offset=2).to_theirs([torch.ones(1, 2)]).tolist() == [
        [0, 0],
        [0, 0],
        [1, 1],
    ]


@pytest.mark.parametrize(("rows", "wanted"), [(2, [0.0, 2.0]), (5, [0.0, 2.0, 4.0, 2.0, 2.0])])
def test_a_table_gets_a_row_an_id_of_the_tokenizer(rows: int, wanted: list[float]) -> None:
    table: Tensor = torch.tensor([0.0, 2.0, 4.0])
    (found,) = WeightMapping("lm_head.bias", ("head.out.bias",)).to_ours(table, [rows])
    assert found.tolist() == wanted


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
def test_a_network_that_a_family_cannot_say_in_full_is_none_of_it(
    preset: str, group: str | None, knob: str, value: object
) -> None:
    config: Any = parity.preset(preset)
    assert fitting(config, tiny.VOCAB) is not None
    setattr(getattr(config, group) if group else config, knob, value)
    assert fitting(config, tiny.VOCAB) is None


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
def test_a_preset_is_a_model_of_its_family(preset: str, family: str) -> None:
    found = fitting(parity.preset(preset), tiny.VOCAB)
    assert found is not None
    assert found[1]["model_type"] == family


def test_transformers_ends_where_we_do(tmp_path: Path) -> None:
    vocab = tiny.BYTES.vocab
    hugging_face.write_fields(tmp_path, {"model_type": "t5", "decoder_start_token_id": 3}, vocab)
    found = GenerationConfig.from_pretrained(tmp_path)
    assert tuple(found.eos_token_id) == vocab.stops
    assert found.decoder_start_token_id == 3
    assert hugging_face.read_fields(tmp_path)["model_type"] == "t5"
