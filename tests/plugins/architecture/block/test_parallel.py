import torch
from blocks import block, context


def test_mixer_and_mlp_read_the_same_normalised_input() -> None:
    x = torch.randn(1, 2, 4, dtype=torch.float64)
    wanted = x + 3 * (x + 1) + (x + 1) ** 2
    torch.testing.assert_close(block("parallel", cross=False)(x, context(cross=False)), wanted)


def test_cross_attention_is_added_to_the_same_sum() -> None:
    x = torch.randn(1, 2, 4, dtype=torch.float64)
    wanted = x + 3 * (x + 1) + (x + 1) ** 2 + (x + 1) / 2
    torch.testing.assert_close(block("parallel", cross=True)(x, context(cross=True)), wanted)


def test_the_stack_needs_a_final_norm() -> None:
    assert block("parallel", cross=False).final_norm


def test_dropout_acts_only_in_training_and_on_the_sum() -> None:
    torch.manual_seed(0)
    made, x = block("parallel", cross=False, dropout=0.5), torch.ones(1, 2, 64)
    given = context(cross=False)
    assert torch.equal(made.eval()(x, given), torch.full_like(x, 11.0))
    assert made.train()(x, given).unique().tolist() == [1.0, 21.0]
