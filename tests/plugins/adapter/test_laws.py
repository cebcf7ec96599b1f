"""Laws of every adapter: it can be switched off, merges exactly and keeps the network's laws."""

import adapters
import pytest
import tiny
import torch
from torch import Tensor

from etude.config.plugin_files import options
from etude.config.registry import load
from etude.network.adapter import adapt, adapters_off, can_merge, layers, merge
from etude.network.inputs import Inputs, pad_left
from etude.network.network import Network
from etude.objective.reference import Frozen, reference_of

every = pytest.mark.parametrize("kind", adapters.KINDS)
stacks = pytest.mark.parametrize("stack", adapters.STACKS)
POSITIONS = ["learned", "rope", "alibi", "relative"]


def inputs(made: Network) -> Inputs:
    return tiny.inputs(made, tiny.tokens(2, 7))


def test_every_adapter_is_tested() -> None:
    assert {name for name, _ in adapters.KINDS.values()} == set(options("adapter"))


@stacks
@pytest.mark.parametrize("kind", adapters.AT_BASE)
@torch.no_grad()
def test_the_initial_network_equals_the_base_bit_for_bit(stack: str, kind: str) -> None:
    made = adapters.network(stack)
    before = made(inputs(made))
    adapt(made, adapters.choice(kind))
    assert torch.equal(made(inputs(made)), before)


@stacks
@every
@torch.no_grad()
def test_switching_it_off_restores_the_base_bit_for_bit_and_on_again_the_adapter(
    stack: str, kind: str
) -> None:
    base, made = adapters.network(stack), adapters.network(stack, kind)
    on = made(inputs(made))
    with adapters_off(made):
        assert torch.equal(made(inputs(made)), base(inputs(base)))
    assert torch.equal(made(inputs(made)), on)
    assert kind == "freeze" or not torch.equal(on, base(inputs(base)))


@stacks
@every
def test_exactly_the_added_parameters_are_trained(stack: str, kind: str) -> None:
    made = adapters.network(stack, kind)
    made(inputs(made)).square().sum().backward()
    added = {id(parameter) for layer in layers(made) for parameter in layer.added_parameters()}
    for name, parameter in made.named_parameters():
        if kind == "freeze":
            assert parameter.requires_grad != name.startswith("embedding")
        else:
            assert parameter.requires_grad == (id(parameter) in added), name
        assert (parameter.grad is not None) == parameter.requires_grad, name


@stacks
@pytest.mark.parametrize("kind", adapters.MERGING)
@torch.no_grad()
def test_merging_gives_a_plain_network_with_the_same_logits(stack: str, kind: str) -> None:
    made = adapters.network(stack, kind)
    before = made(inputs(made))
    merge(made)
    assert made.state_dict().keys() == adapters.network(stack).state_dict().keys()
    assert not layers(made)
    tiny.assert_close(made(inputs(made)), before)


@torch.no_grad()
def test_merging_nested_adapters_is_exact() -> None:
    made = adapters.network("decoder_only")
    adapt(made, adapters.choice("ia3") | adapters.choice("lora"))
    adapters.randomise(made)
    before = made(inputs(made))
    assert any(layer.base in layers(made) for layer in layers(made))
    merge(made)
    tiny.assert_close(made(inputs(made)), before)


@every
def test_it_declares_whether_it_merges(kind: str) -> None:
    assert can_merge(adapters.choice(kind)) == (kind in adapters.MERGING)
    name, _ = adapters.KINDS[kind]
    assert load(f"adapter/{name}").declaration.merges == (kind in adapters.MERGING)


@stacks
@every
def test_the_reference_is_the_base_without_a_copy(stack: str, kind: str) -> None:
    base, made = adapters.network(stack), adapters.network(stack)
    adapt(made, adapters.choice(kind))
    reference = reference_of(made.train())
    adapters.randomise(made)
    assert isinstance(reference, Frozen) == (kind == "freeze")  # it trains the base itself
    assert torch.equal(reference(inputs(base)), base(inputs(base)))
    assert made.training
    assert all(layer.on for layer in layers(made))
    assert not list(reference.parameters())


def change_token(ids: Tensor, position: int) -> Tensor:
    other = ids.clone()
    other[:, position] = torch.where(ids[:, position] == 36, 35, 36)
    return other


@pytest.mark.parametrize("position", POSITIONS)
@every
@torch.no_grad()
def test_a_token_still_changes_only_its_own_and_later_logits(kind: str, position: str) -> None:
    made, ids = adapters.network("decoder_only", kind, position=position), tiny.tokens(2, 7)
    before, after = made(Inputs(ids)), made(Inputs(change_token(ids, 4)))
    tiny.assert_close(after[:, :4], before[:, :4])
    assert (before != after).any(-1).all(0).tolist()[4:] == [True] * 3


@every
@torch.no_grad()
def test_an_encoder_stays_bidirectional(kind: str) -> None:
    made, ids = adapters.network("encoder_only", kind), tiny.tokens(2, 7)
    before, after = made(Inputs(ids)), made(Inputs(change_token(ids, 4)))
    assert (before != after).any(-1).all(0).tolist() == [True] * 7


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("stack", ["decoder_only", "encoder_decoder"])
@every
@torch.no_grad()
def test_cached_decoding_of_padded_prompts_equals_separate_forward_passes(
    kind: str, stack: str, position: str
) -> None:
    made = adapters.network(stack, kind, position=position)
    prompts = [[20, 21, 22, 23], [30], [25, 20, 36, 31, 22, 29]]
    written = tiny.continuations(made, prompts, 4)
    for prompt, answer in zip(prompts, written, strict=True):
        targets = made.answer([(prompt, answer)])
        alone = made(targets.inputs, targets.where).argmax(-1).tolist()
        assert alone == answer


@pytest.mark.parametrize("position", POSITIONS)
@every
@torch.no_grad()
def test_padding_changes_no_logit(kind: str, position: str) -> None:
    made = adapters.network("decoder_only", kind, position=position)
    rows = [[20, 21, 22, 23], [30, 31]]
    left = made(pad_left(rows, made.vocab.pad))[1, 2:]
    right = made(made.answer([([30], [31, 20]), ([20], [21, 22, 23, 24])]).inputs)[0, :2]
    alone = made(Inputs(torch.tensor([rows[1]])))[0]
    tiny.assert_close(left, alone)
    tiny.assert_close(right, alone)


@pytest.mark.parametrize(
    "kind", sorted({*adapters.KINDS} - {"prompt_tuning"})
)  # it supports one document per row
@torch.no_grad()
def test_packed_documents_stay_independent(kind: str) -> None:
    made, ids = adapters.network("decoder_only", kind), tiny.tokens(1, 7)
    documents = torch.tensor([[1, 1, 1, 2, 2, 2, 2]])
    together = made(Inputs(ids, documents))
    tiny.assert_close(together[:, :3], made(Inputs(ids[:, :3])))
    tiny.assert_close(together[:, 3:], made(Inputs(ids[:, 3:])))
