from prompts import SUMS, case, prompting

from etude.records import Chat, Message


def test_the_prompt_is_the_question_whatever_examples_there_are() -> None:
    made = prompting("zero_shot", SUMS)
    chat = Chat((Message("user", "1 + 1 ="),))
    assert made.prompt(case("1 + 1 =")) == "1 + 1 ="
    assert made.prompt(case(chat)) == chat
    assert (made.n_samples, list(made.stop)) == (1, [])
    assert made.choose(["2"], [-0.5]) == "2"
    assert made.choose([None], [-0.5]) is None
