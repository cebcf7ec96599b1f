import re

import pytest
from defaults import default
from prompts import CHINESE, SUMS, case, cases, prompting

from etude.config.registry import build
from etude.errors import DataError
from etude.evaluation.prompting import Examples
from etude.plugins.prompting._shots import Form, Nearest, Selection
from etude.records import Chat, Message, Prompt


def test_a_prompt_contains_solved_examples_and_ends_with_the_question() -> None:
    first, second = (one.record for one in cases(SUMS)[:2])
    made = prompting("few_shot", SUMS, n=2, layout="Q: {question}\nA: {answer}\n\n")
    assert made.prompt(case("1 + 1 =")) == (
        f"Q: {first.prompt}\nA: {first.answer}\n\nQ: {second.prompt}\nA: {second.answer}\n\n"
        "Q: 1 + 1 =\nA:"
    )
    assert list(made.stop) == ["\n\n"]


@pytest.mark.parametrize("select", ["fixed", "random", "similar"])
def test_a_question_is_never_its_own_example(select: str) -> None:
    made = prompting("few_shot", [*SUMS[:4], SUMS[0]], n=3, select=Selection[select])
    for one in cases(SUMS[:4]):
        text = made.prompt(one)
        assert text.count(one.record.prompt) == 1
        assert text.endswith(f"{one.record.prompt}\n")


def test_random_examples_depend_on_the_seed_and_on_the_question_alone() -> None:
    questions = [case(f"{i} + {i} =") for i in range(20)]
    one, same, other = (
        [prompting("few_shot", SUMS, select=Selection.random, seed=seed).prompt(q) for q in order]
        for seed, order in ((0, questions), (0, questions[::-1]), (1, questions))
    )
    assert one == same[::-1]
    assert one != other
    shown = [re.findall(r"\d+ \+ \d+", text)[:-1] for text in one]
    assert len({tuple(some) for some in shown}) == len(questions)
    assert all(len(set(some)) == 4 for some in shown)


@pytest.mark.parametrize(
    ("question", "nearest"),
    [("罗马是哪个国家的首都？", "首都"), ("铁的化学式是什么？", "化学式")],
)
def test_the_most_similar_examples_are_next_to_the_question_in_chinese(
    question: str, nearest: str
) -> None:
    last, first = (
        prompting(
            "few_shot", CHINESE, n=3, select=Selection.similar, nearest=place,
            layout="问：{question}\n答：{answer}\n\n",
        ).prompt(case(question)).split("\n\n")
        for place in (Nearest.last, Nearest.first)
    )  # fmt: skip
    assert [nearest in part for part in last] == [False, True, True, True]
    assert last[:3] == first[2::-1]
    assert last[3] == f"问：{question}\n答："


def test_examples_as_turns_are_messages_after_the_system_message_of_the_question() -> None:
    asked = Chat((Message("system", "Be brief."), Message("user", "1 + 1 =")))
    made = prompting("few_shot", SUMS, n=1, form=Form.turns)
    first = cases(SUMS)[0].record
    given = (Message("user", first.prompt), Message("assistant", first.answer))
    assert made.prompt(case("1 + 1 =")).messages == (*given, Message("user", "1 + 1 ="))
    assert made.prompt(case(asked)).messages == (
        asked.messages[0],
        *given,
        Message("user", "1 + 1 ="),
    )
    assert list(made.stop) == []


def test_given_ids_are_shown_in_the_given_order() -> None:
    third, first = cases(SUMS)[2], cases(SUMS)[0]
    made = prompting("few_shot", SUMS, n=2, ids=[third.id, first.id[:8]])
    text = made.prompt(case("1 + 1 ="))
    assert text.index(third.record.prompt) < text.index(first.record.prompt)
    with pytest.raises(DataError, match="begins with 'zz'"):
        prompting("few_shot", SUMS, n=1, ids=["zz"])


@pytest.mark.parametrize("select", Selection)
def test_the_order_of_the_examples_does_not_matter(select: Selection) -> None:
    config = default("prompting/few_shot", select=select)
    one, two = (build(config, Examples(some, 0)) for some in (cases(SUMS), cases(SUMS)[::-1]))
    assert one.prompt(case("12 + 29 =")) == two.prompt(case("12 + 29 ="))


def test_too_few_examples_and_conversations_as_text_are_refused_with_the_way_out() -> None:
    with pytest.raises(DataError, match="n=4, but the training split has only 2 other"):
        prompting("few_shot", SUMS[:3]).prompt(cases(SUMS[:3])[0])
    chat = Chat((Message("user", "1 + 1 ="),))
    with pytest.raises(DataError, match=r"Use prompting\.form=turns"):
        prompting("few_shot", SUMS).prompt(case(chat))
    with pytest.raises(DataError, match=r"Use prompting\.form=turns"):
        prompting("few_shot", [Prompt(chat, "2")], n=1).prompt(case("2 + 2 ="))


def test_questions_without_an_answer_are_no_examples() -> None:
    made = prompting("few_shot", [*SUMS[:2], Prompt("unsolved", None)], n=2)
    assert "unsolved" not in made.prompt(case("1 + 1 ="))


@pytest.mark.parametrize(
    "values",
    [{"n": -1}, {"layout": "{question}"}, {"layout": "{answer}{question}"}, {"ids": [*"abcde"]}],
)
def test_invalid_values_are_rejected(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(values))} must"):
        default("prompting/few_shot", **values)
