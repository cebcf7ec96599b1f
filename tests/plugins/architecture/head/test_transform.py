from typing import Any

import tiny
import torch
from torch import nn
from transformers import AlbertConfig, BertConfig
from transformers.models.albert.modeling_albert import AlbertMLMHead
from transformers.models.bert.modeling_bert import BertLMPredictionHead

from etude.config.registry import build
from etude.config.schema.blocks import Approximate
from etude.network.parts import HeadParts


def head(embedding_dim: int = 16, **values: Any) -> Any:  # the plugin's own class
    parts = HeadParts(16, embedding_dim, 37, lambda: nn.LayerNorm(embedding_dim, 1e-12))
    made = build(tiny.part("architecture/head", "transform", **values), parts).double()
    torch.manual_seed(0)
    for parameter in made.parameters():
        nn.init.normal_(parameter)
    return made


def test_agrees_with_transformers_bert() -> None:
    made, x = head(), torch.randn(2, 3, 16, dtype=torch.float64)
    config = BertConfig(hidden_size=16, vocab_size=37, layer_norm_eps=1e-12)
    theirs: Any = BertLMPredictionHead(config).double()
    theirs.transform.dense.load_state_dict(made.dense.state_dict())
    theirs.transform.LayerNorm.load_state_dict(made.norm.state_dict())
    theirs.decoder.weight, theirs.decoder.bias = made.out.weight, made.out.bias
    tiny.assert_close(made(x), theirs(x))


def test_agrees_with_transformers_albert_with_its_narrow_table() -> None:
    made = head(embedding_dim=8, approximate=Approximate.tanh)
    x = torch.randn(2, 3, 16, dtype=torch.float64)
    config = AlbertConfig(hidden_size=16, embedding_size=8, vocab_size=37, layer_norm_eps=1e-12)
    theirs: Any = AlbertMLMHead(config).double()
    theirs.dense.load_state_dict(made.dense.state_dict())
    theirs.LayerNorm.load_state_dict(made.norm.state_dict())
    theirs.decoder.weight, theirs.decoder.bias = made.out.weight, made.out.bias
    tiny.assert_close(made(x), theirs(x))


def test_without_bias_the_output_layer_still_has_one() -> None:
    names = [name for name, _ in head(bias=False).named_parameters() if name.endswith("bias")]
    assert names == ["norm.bias", "out.bias"]
