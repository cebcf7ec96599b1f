import torch
from blocks import block, context


def test_each_branch_is_normalised_before_and_after() -> None:
    x = torch.randn(1, 2, 4, dtype=torch.float64)
    after = x + (3 * (x + 1) + 1)
    wanted = after + ((after + 1) ** 2 + 1)
    torch.testing.assert_close(block("sandwich", cross=False)(x, context(cross=False)), wanted)


def test_cross_attention_is_between_mixer_and_mlp() -> None:
    x = torch.randn(1, 2, 4, dtype=torch.float64)
    after = x + (3 * (x + 1) + 1)
    after = after + ((after + 1) / 2 + 1)
    wanted = after + ((after + 1) ** 2 + 1)
    torch.testing.assert_close(block("sandwich", cross=True)(x, context(cross=True)), wanted)


def test_the_stack_needs_a_final_norm() -> None:
    assert block("sandwich", cross=False).final_norm


def test_dropout_acts_only_in_training() -> None:
    torch.manual_seed(0)
    made, x = block("sandwich", cross=False, dropout=0.5), torch.ones(1, 2, 64)
    given = context(cross=False)
    assert torch.equal(made.eval()(x, given), block("sandwich", cross=False)(x, given))
    assert len(made.train()(x, given).unique()) == 4  # each branch kept, doubled, or not
