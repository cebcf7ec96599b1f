import tiny
import torch
from torch import Tensor, nn

from etude.context import Context, Position
from etude.network import Block, BlockParts, Mixer
from etude.registry import build


class Scale(Mixer):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return x * self.factor


class Shift(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1


def block(name: str, *, cross: bool, dropout: float = 0.0) -> Block:
    """A block whose norm adds 1, whose mixer triples, whose cross halves, whose MLP squares."""
    square = nn.Sequential(Squared())
    parts = BlockParts(Shift, Scale(3.0), square, dropout, Scale(0.5) if cross else None)
    return build(tiny.part("architecture/block", name), parts)


class Squared(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x


def context(*, cross: bool) -> Context:
    places = torch.arange(2)[None]
    plain = Context(Position(), places, places, causal=True)
    if cross:
        plain.source = Context(
            Position(), torch.arange(2)[None], torch.arange(2)[None], causal=False
        )
    return plain


def test_each_branch_reads_a_normalised_stream() -> None:
    x = torch.randn(1, 2, 4, dtype=torch.float64)
    after = x + 3 * (x + 1)
    wanted = after + (after + 1) ** 2
    torch.testing.assert_close(block("prenorm", cross=False)(x, context(cross=False)), wanted)


def test_the_source_comes_between_mixer_and_mlp() -> None:
    x = torch.randn(1, 2, 4, dtype=torch.float64)
    after = x + 3 * (x + 1)
    after = after + (after + 1) / 2
    wanted = after + (after + 1) ** 2
    torch.testing.assert_close(block("prenorm", cross=True)(x, context(cross=True)), wanted)


def test_the_stack_still_needs_a_last_norm() -> None:
    assert block("prenorm", cross=False).final_norm


def test_dropout_works_in_training_alone() -> None:
    torch.manual_seed(0)
    made, x = block("prenorm", cross=False, dropout=0.5), torch.ones(1, 2, 64)
    given = context(cross=False)
    assert torch.equal(made.eval()(x, given), block("prenorm", cross=False)(x, given))
    assert len(made.train()(x, given).unique()) == 4  # each branch kept, doubled, or not
