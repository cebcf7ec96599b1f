import pytest

from etude.config.registry import build
from etude.plugins.data.selective_copying import SelectiveCopyingConfig


def test_the_answer_is_the_prompt_without_blanks() -> None:
    config = SelectiveCopyingConfig(length=12, n_letters=3, n_problems=100)
    for record in build(config).records():
        assert len(record.prompt) == 13
        assert len(record.answer) == 3
        assert record.prompt.replace(".", "") == f"{record.answer}="


@pytest.mark.parametrize("n_letters", [0, 33])
def test_letters_that_do_not_fit_are_errors(n_letters: int) -> None:
    with pytest.raises(ValueError, match=f"n_letters must be 1 to length=32, got {n_letters}"):
        SelectiveCopyingConfig(n_letters=n_letters)
