import pytest
from defaults import default
from prompts import CHINESE, SUMS, case, cases, prompting

from etude.plugins.prompting._shots import Form
from etude.records import Message


def test_without_examples_the_cue_follows_the_question() -> None:
    made = prompting("chain_of_thought", [])
    assert made.prompt(case("1 + 1 =")) == "1 + 1 =\nLet's think step by step."
    made = prompting("chain_of_thought", [], layout="Q: {question}\nA: {answer}\n\n")
    assert made.prompt(case("1 + 1 =")) == "Q: 1 + 1 =\nA: Let's think step by step."
    assert list(made.stop) == []


@pytest.mark.parametrize(
    ("cue", "space"), [("Think.", " "), ("让我们一步一步地思考。", ""), ("", "")]
)
def test_the_answers_of_examples_begin_with_the_cue(cue: str, space: str) -> None:
    made = prompting("chain_of_thought", CHINESE, n=1, cue=cue, layout="{question}{answer}\n")
    first = cases(CHINESE)[0].record
    question = "铁的化学式是什么？"
    assert made.prompt(case(question)) == (
        f"{first.prompt}{cue}{space}{first.answer}\n{question}{cue}"
    )


def test_as_turns_the_cue_ends_the_message_of_the_user() -> None:
    made = prompting("chain_of_thought", SUMS, n=1, form=Form.turns, cue="Think.")
    first = cases(SUMS)[0].record
    assert made.prompt(case("1 + 1 =")).messages == (
        Message("user", f"{first.prompt}\nThink."),
        Message("assistant", first.answer),
        Message("user", "1 + 1 =\nThink."),
    )


def test_a_prompt_that_asks_for_no_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="set n or cue, or use prompting=zero_shot"):
        default("prompting/chain_of_thought", cue="")
