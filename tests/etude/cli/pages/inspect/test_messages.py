"""Each token of a row has the message of the record that it was encoded from."""

from typing import Any

import pytest
import tiny

from etude.cli.pages.inspect.messages import labelled, row_labels
from etude.data.chat_template import exchange, question
from etude.objective.batches import fit
from etude.records import Chat, Feedback, Message, Preference, Prompt, Ranking

TOKENIZER = tiny.BYTES.with_template(
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }};{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}",
    {},
)
ASKED = Chat((Message("system", "Be brief."), Message("user", "你好?")))
RECORDS: list[Any] = [
    Preference(ASKED, "Hi.", "Go away."),
    Ranking(ASKED, ("Hi.", "Hello.", "Go away.")),
    Feedback(ASKED, "Go away.", 0.0),
]


def shown(row: list[int], record: Any) -> dict[str, str]:
    """The text of each message of a row, by its label."""
    labels = row_labels(row, labelled([record], TOKENIZER))
    parts: dict[str, list[int]] = {label: [] for label in labels}
    for token, label in zip(row, labels or [""] * len(row), strict=True):
        parts.setdefault(label, []).append(token)
    return {label: TOKENIZER.decode(ids) for label, ids in parts.items() if label}


@pytest.mark.parametrize("record", RECORDS, ids=lambda one: type(one).__name__)
def test_a_row_of_any_record_with_a_prompt_has_its_messages(record: Any) -> None:
    before, after = exchange(TOKENIZER, ASKED, "Go away.")
    assert shown([*before, *after], record) == {
        "1 system": "[system]Be brief.;",
        "2 user": "[user]你好?;",
        "3 assistant": "[assistant]Go away.;",
    }


def test_tokens_that_follow_a_prompt_are_a_completion() -> None:
    row = [*question(TOKENIZER, ASKED), *TOKENIZER.encode("So what?").tolist()]
    found = shown(row, Prompt(ASKED, "So?"))
    assert [*found] == ["1 system", "2 user", "3 assistant", "completion"]
    assert (found["3 assistant"], found["completion"]) == ("[assistant]", "So what?")


def test_a_cut_prompt_has_the_messages_that_are_left_of_it() -> None:
    before, after = exchange(TOKENIZER, ASKED, "Hi.")
    cut, (kept,), _ = fit(before, [after], 24)
    assert len(cut) < len(before)
    found = shown([*cut, *kept], RECORDS[0])
    assert found == {"1 system": "", "2 user": "]你好?;", "3 assistant": "[assistant]Hi.;"}


def test_a_row_of_something_else_has_no_labels() -> None:
    assert row_labels(TOKENIZER.encode("[system]Be brief.;[user]No").tolist(), []) == []
    assert shown(TOKENIZER.encode("[system]Be quiet.;").tolist(), RECORDS[0]) == {}
    assert labelled([Preference("a", "b", "c")], tiny.BYTES) == []
