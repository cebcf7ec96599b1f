"""Of every adapter: it is off or on, merges exactly, and keeps what holds of its network."""

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


def given(made: Network) -> Inputs:
    return tiny.inputs(made, tiny.tokens(2, 7))


def test_every_adapter_is_tried() -> None:
    assert {name for name, _ in adapters.KINDS.values()} == set(options("adapter"))


@stacks
@pytest.mark.parametrize("kind", adapters.AT_BASE)
@torch.no_grad()
def test_it_begins_as_the_base_to_the_bit(stack: str, kind: str) -> None:
    made = adapters.network(stack)
    before = made(given(made))
    adapt(made, adapters.chosen(kind))
    assert torch.equal(made(given(made)), before)


@stacks
@every
@torch.no_grad()
def test_switched_off_it_is_the_base_to_the_bit_and_on_again_what_it_was(
    stack: str, kind: str
) -> None:
    base, made = adapters.network(stack), adapters.network(stack, kind)
    on = made(given(made))
    with adapters_off(made):
        assert torch.equal(made(given(made)), base(given(base)))
    assert torch.equal(made(given(made)), on)
    assert kind == "freeze" or not torch.equal(on, base(given(base)))


@stacks
@every
def test_only_what_it_brought_learns_and_all_of_it_does(stack: str, kind: str) -> None:
    made = adapters.network(stack, kind)
    made(given(made)).square().sum().backward()
    own = {id(parameter) for layer in layers(made) for parameter in layer.own()}
    for name, parameter in made.named_parameters():
        if kind == "freeze":
            assert parameter.requires_grad != name.startswith("embedding")
        else:
            assert parameter.requires_grad == (id(parameter) in own), name
        assert (parameter.grad is not None) == parameter.requires_grad, name


@stacks
@pytest.mark.parametrize("kind", adapters.MERGING)
@torch.no_grad()
def test_merged_it_is_a_plain_network_with_the_same_logits(stack: str, kind: str) -> None:
    made = adapters.network(stack, kind)
    learned = made(given(made))
    merge(made)
    assert made.state_dict().keys() == adapters.network(stack).state_dict().keys()
    assert not layers(made)
    tiny.exactly(made(given(made)), learned)


@torch.no_grad()
def test_merging_one_around_another_is_exact() -> None:
    made = adapters.network("decoder_only")
    adapt(made, adapters.chosen("ia3") | adapters.chosen("lora"))
    adapters.learn(made)
    learned = made(given(made))
    assert any(layer.base in layers(made) for layer in layers(made))
    merge(made)
    tiny.exactly(made(given(made)), learned)


@every
def test_it_declares_whether_it_merges(kind: str) -> None:
    assert can_merge(adapters.chosen(kind)) == (kind in adapters.MERGING)
    name, _ = adapters.KINDS[kind]
    assert load(f"adapter/{name}").declaration.merges == (kind in adapters.MERGING)


@stacks
@every
def test_the_reference_is_the_base_and_holds_no_copy(stack: str, kind: str) -> None:
    base, made = adapters.network(stack), adapters.network(stack)
    adapt(made, adapters.chosen(kind))
    reference = reference_of(made.train())
    adapters.learn(made)
    assert isinstance(reference, Frozen) == (kind == "freeze")  # there the base itself learns
    assert torch.equal(reference(given(base)), base(given(base)))
    assert made.training
    assert all(layer.on for layer in layers(made))
    assert not list(reference.parameters())


def changed(ids: Tensor, place: int) -> Tensor:
    other = ids.clone()
    other[:, place] = torch.where(ids[:, place] == 36, 35, 36)
    return other


@pytest.mark.parametrize("position", POSITIONS)
@every
@torch.no_grad()
def test_a_token_still_moves_its_own_logits_and_later_ones_alone(kind: str, position: str) -> None:
    made, ids = adapters.network("decoder_only", kind, position=position), tiny.tokens(2, 7)
    before, after = made(Inputs(ids)), made(Inputs(changed(ids, 4)))
    tiny.exactly(after[:, :4], before[:, :4])
    assert (before != after).any(-1).all(0).tolist()[4:] == [True] * 3


@every
@torch.no_grad()
def test_both_sides_are_still_seen(kind: str) -> None:
    made, ids = adapters.network("encoder_only", kind), tiny.tokens(2, 7)
    before, after = made(Inputs(ids)), made(Inputs(changed(ids, 4)))
    assert (before != after).any(-1).all(0).tolist() == [True] * 7


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("stack", ["decoder_only", "encoder_decoder"])
@every
@torch.no_grad()
def test_cached_decoding_of_padded_prompts_equals_reading_each_alone(
    kind: str, stack: str, position: str
) -> None:
    made = adapters.network(stack, kind, position=position)
    prompts = [[20, 21, 22, 23], [30], [25, 20, 36, 31, 22, 29]]
    written = tiny.continued(made, prompts, 4)
    for prompt, answer in zip(prompts, written, strict=True):
        targets = made.answer([(prompt, answer)])
        alone = made(targets.inputs, targets.where).argmax(-1).tolist()
        assert alone == answer


@pytest.mark.parametrize("position", POSITIONS)
@every
@torch.no_grad()
def test_padding_changes_nothing(kind: str, position: str) -> None:
    made = adapters.network("decoder_only", kind, position=position)
    rows = [[20, 21, 22, 23], [30, 31]]
    left = made(pad_left(rows, made.vocab.pad))[1, 2:]
    right = made(made.answer([([30], [31, 20]), ([20], [21, 22, 23, 24])]).inputs)[0, :2]
    alone = made(Inputs(torch.tensor([rows[1]])))[0]
    tiny.exactly(left, alone)
    tiny.exactly(right, alone)


@pytest.mark.parametrize(
    "kind", sorted({*adapters.KINDS} - {"prompt_tuning"})
)  # before one text alone
@torch.no_grad()
def test_documents_of_one_row_are_still_apart(kind: str) -> None:
    made, ids = adapters.network("decoder_only", kind), tiny.tokens(1, 7)
    documents = torch.tensor([[1, 1, 1, 2, 2, 2, 2]])
    together = made(Inputs(ids, documents))
    tiny.exactly(together[:, :3], made(Inputs(ids[:, :3])))
    tiny.exactly(together[:, 3:], made(Inputs(ids[:, 3:])))
