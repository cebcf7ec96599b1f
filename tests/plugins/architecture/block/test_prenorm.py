import torch
from blocks import block, context


def test_each_branch_normalises_its_input() -> None:
    x = torch.randn(1, 2, 4, dtype=torch.float64)
    after = x + 3 * (x + 1)
    wanted = after + (after + 1) ** 2
    torch.testing.assert_close(block("prenorm", cross=False)(x, context(cross=False)), wanted)


def test_cross_attention_is_between_mixer_and_mlp() -> None:
    x = torch.randn(1, 2, 4, dtype=torch.float64)
    after = x + 3 * (x + 1)
    after = after + (after + 1) / 2
    wanted = after + (after + 1) ** 2
    torch.testing.assert_close(block("prenorm", cross=True)(x, context(cross=True)), wanted)


def test_the_stack_needs_a_final_norm() -> None:
    assert block("prenorm", cross=False).final_norm


def test_dropout_acts_only_in_training() -> None:
    torch.manual_seed(0)
    made, x = block("prenorm", cross=False, dropout=0.5), torch.ones(1, 2, 64)
    given = context(cross=False)
    assert torch.equal(made.eval()(x, given), block("prenorm", cross=False)(x, given))
    assert len(made.train()(x, given).unique()) == 4  # each branch kept, doubled, or not


def test_skip_first_omits_only_the_first_norm_of_the_first_layer() -> None:
    x = torch.randn(1, 2, 4, dtype=torch.float64)
    after = x + 3 * x
    first = block("prenorm", cross=False, skip_first=True)
    torch.testing.assert_close(first(x, context(cross=False)), after + (after + 1) ** 2)
    second = block("prenorm", cross=False, skip_first=True, layer=1)
    plain = block("prenorm", cross=False)
    assert torch.equal(second(x, context(cross=False)), plain(x, context(cross=False)))
