import torch
from blocks import block, context


def test_the_residual_stream_is_normalised_after_each_branch() -> None:
    x = torch.randn(1, 2, 4, dtype=torch.float64)
    after = x + 3 * x + 1
    wanted = after + after**2 + 1
    torch.testing.assert_close(block("postnorm", cross=False)(x, context(cross=False)), wanted)


def test_cross_attention_is_between_mixer_and_mlp() -> None:
    x = torch.randn(1, 2, 4, dtype=torch.float64)
    after = x + 3 * x + 1
    after = after + after / 2 + 1
    wanted = after + after**2 + 1
    torch.testing.assert_close(block("postnorm", cross=True)(x, context(cross=True)), wanted)


def test_the_stack_needs_no_final_norm() -> None:
    assert not block("postnorm", cross=False).final_norm


def test_dropout_acts_only_in_training() -> None:
    torch.manual_seed(0)
    made, x = block("postnorm", cross=False, dropout=0.5), torch.ones(1, 2, 64)
    given = context(cross=False)
    assert torch.equal(made.eval()(x, given), block("postnorm", cross=False)(x, given))
    assert len(made.train()(x, given).unique()) == 4
