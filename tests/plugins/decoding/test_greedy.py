import tiny
import torch

from etude.registry import build


def test_takes_the_likeliest_whatever_is_drawn() -> None:
    logits = torch.randn(4, 9)
    made = build(tiny.part("decoding", "greedy"))
    for draw in (torch.zeros(4), torch.full((4,), 0.999)):
        assert torch.equal(
            made.choose(made.scores(logits, torch.ones(4, 9).bool()), draw), logits.argmax(-1)
        )
