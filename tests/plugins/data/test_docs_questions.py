from tiny import part

from etude.config.registry import build


def test_answers_are_in_their_contexts_and_some_questions_have_none() -> None:
    records = list(build(part("data", "docs_questions")).records())
    answered = [record for record in records if record.answers]
    assert 0 < len(answered) < len(records)
    for record in answered:
        (answer,), (start,) = record.answers, record.starts
        assert record.context[start:].startswith(answer)
        name = record.question.removeprefix("What does ").removesuffix(" do?")
        assert record.context[:start].endswith(f"{name}\n")
    assert all(
        record.question[10:-4] not in record.context for record in records if not record.answers
    )
