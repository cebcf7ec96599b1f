import math
from typing import Any

import pytest
import tiny
import torch

from etude.config.registry import build
from etude.network.network import Inputs
from etude.training.optim import ParameterKind, optimizer_parameters


def fresh(**values: Any) -> Any:  # the plugin's own class
    torch.manual_seed(0)
    return build(tiny.stack(init=tiny.part("architecture/init", "scaled"), **values), tiny.VOCAB)


@pytest.mark.parametrize("tie", [True, False])
def test_a_tied_table_is_one_parameter_and_counts_once(tie: bool) -> None:
    made = fresh(tie=tie)
    assert (made.head.out.weight is made.embedding.weight) == tie
    named = [p.name for p in optimizer_parameters(made)]
    assert len(named) == len(set(named)) == len(list(made.parameters()))
    assert ("head.out.weight" in named) != tie


def test_the_initial_loss_is_about_log_n_vocab() -> None:
    logits = fresh()(Inputs(tiny.tokens(4, 9)))
    nll = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), tiny.tokens(4, 9, seed=1).flatten()
    )
    assert float(nll.detach()) == pytest.approx(math.log(tiny.VOCAB.size), abs=0.1)


def test_initial_weights_are_normal_and_smaller_at_the_end_of_a_branch() -> None:
    made = fresh(dim=128, n_layers=8, norm="layernorm")
    for name, parameter in made.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
        elif "norm" in name:
            assert (parameter == 1).all(), name
        else:
            deep = name.endswith(("out.weight", "down.weight"))
            wanted = 0.02 / math.sqrt(16) if deep else 0.02
            assert float(parameter.detach().std()) == pytest.approx(wanted, rel=0.05), name


def test_targets_are_prompt_and_completion_shifted_by_one() -> None:
    targets = fresh().answer([([20, 21], [22, 3]), ([23], [24, 25, 26, 3])])
    assert targets.inputs.tokens.tolist() == [[20, 21, 22, 3], [23, 24, 25, 26]]
    assert targets.ids.tolist() == [[21, 22, 3, 0], [24, 25, 26, 3]]
    assert targets.where.int().tolist() == [[0, 1, 1, 0], [1, 1, 1, 1]]
    assert targets.inputs.documents is not None
    assert targets.inputs.documents.tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]


def test_a_prompt_is_padded_on_the_left() -> None:
    inputs = fresh().prompt([[20, 21, 22], [23]])
    assert inputs.tokens.tolist() == [[20, 21, 22], [0, 0, 23]]
    assert inputs.documents is not None
    assert inputs.documents.tolist() == [[1, 1, 1], [0, 0, 1]]
    assert fresh().prompt([[20], [21]]).documents is None


def test_only_matrices_decay() -> None:
    mixer = tiny.part("architecture/mixer", "attention", qkv_bias=True, out_bias=True)
    kinds = {p.name: p.kind for p in optimizer_parameters(fresh(mixer=mixer, tie=False))}
    assert kinds["embedding.weight"] is ParameterKind.EMBEDDING
    assert kinds["stack.position.table.weight"] is ParameterKind.EMBEDDING
    assert kinds["head.out.weight"] is ParameterKind.HEAD
    for name, kind in kinds.items():
        if name.endswith("bias") or "norm" in name:
            assert kind is ParameterKind.VECTOR, name
        elif name.startswith("stack.blocks"):
            assert kind is ParameterKind.MATRIX, name
    frozen = fresh()
    frozen.requires_grad_(False)
    assert optimizer_parameters(frozen) == []
