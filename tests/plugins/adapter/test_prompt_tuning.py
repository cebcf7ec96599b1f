from pathlib import Path

import adapters
import parity
import peft
import peft_folders
import pytest
import tiny
import torch

from etude.formats.peft import peft_export
from etude.network.adapter import adapt
from etude.network.inputs import Inputs
from etude.plugins.adapter.prompt_tuning import order

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:transformers")
families = pytest.mark.parametrize("family", peft_folders.FAMILIES)


def test_the_vectors_are_between_left_padding_and_text() -> None:
    read = order(torch.tensor([0, 2]), 3, 4)
    assert read.tolist() == [[0, 1, 2, 3, 4, 5, 6], [3, 4, 0, 1, 2, 5, 6]]


@torch.no_grad()
def test_vectors_that_equal_token_embeddings_act_like_those_tokens() -> None:
    made, ids = tiny.network(), tiny.tokens(2, 5)
    first = tiny.tokens(1, 3, seed=3).expand(2, -1)
    wanted = made(Inputs(torch.cat((first, ids), dim=1)))[:, 3:]
    adapt(made, {"prompt_tuning": tiny.part("adapter", "prompt_tuning", length=3)})
    made.stack.vectors.copy_(made.embedding.weight[first[0]])
    tiny.assert_close(made(Inputs(ids)), wanted)


@torch.no_grad()
def test_the_vectors_start_as_token_embeddings() -> None:
    made = tiny.network()
    adapt(made, {"prompt_tuning": tiny.part("adapter", "prompt_tuning", length=3)})
    table = made.embedding.weight
    for vector in made.stack.vectors:
        assert (table == vector).all(-1).any()


def test_a_length_of_0_is_an_error() -> None:
    with pytest.raises(ValueError, match="length must be at least 1"):
        tiny.part("adapter", "prompt_tuning", length=0)


@families
def test_logits_and_gradients_agree_with_peft(family: str, tmp_path: Path) -> None:
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    peft_folders.assert_same_pass(tmp_path, peft_folders.saved_adapter(family, tmp_path, config))


@families
def test_an_exported_adapter_loads_in_peft_and_can_be_read_back(
    family: str, tmp_path: Path
) -> None:
    peft_folders.assert_round_trip(family, tmp_path, adapters.choice("prompt_tuning"))


def test_an_encoder_decoder_adapter_is_not_exported_because_peft_defines_it_differently() -> None:
    bart = parity.preset("bart")
    made = tiny.network(bart)
    adapt(made, adapters.choice("prompt_tuning"))
    reason = peft_export(bart, tiny.VOCAB, adapters.choice("prompt_tuning"), made.state_dict())
    assert reason == "prompt tuning is written for causal language models only"
