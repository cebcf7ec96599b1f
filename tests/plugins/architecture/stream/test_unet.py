import pytest
import tiny
import torch

from etude.network.inputs import Inputs


@pytest.mark.parametrize(("n_layers", "skips"), [(4, [None, None, 1, 0]), (3, [None, None, 0])])
def test_layers_of_the_second_half_add_the_mirrored_output(
    n_layers: int, skips: list[int | None]
) -> None:
    made = tiny.network(tiny.stack(stream="unet", n_layers=n_layers, position="none"))
    ids = tiny.tokens(2, 5)
    x, context = made.embedding(ids), made.stack.context(Inputs(ids), None, None)
    outputs: list[torch.Tensor] = []
    for block, skip in zip(made.stack.blocks, skips, strict=True):
        x = x if skip is None else x + made.stack.stream.skip_weights[skip] * outputs[skip]
        x = block(x, context)
        outputs.append(x)
    assert torch.equal(made(Inputs(ids)), made.logits(made.stack.norm(x)))


def test_with_weights_0_it_is_the_plain_stack() -> None:
    made, plain = tiny.network(tiny.stack(stream="unet")), tiny.network()
    plain.load_state_dict({k: v for k, v in made.state_dict().items() if "skip" not in k})
    given = Inputs(tiny.tokens(2, 5))
    assert not torch.equal(made(given), plain(given))
    torch.nn.init.zeros_(made.stack.stream.skip_weights)
    assert torch.equal(made(given), plain(given))


def test_one_layer_has_no_two_halves() -> None:
    with pytest.raises(ValueError, match="needs n_layers of at least 2, got 1"):
        tiny.network(tiny.stack(stream="unet", n_layers=1))
