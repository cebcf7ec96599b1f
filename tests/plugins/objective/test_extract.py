"""Span question answering, against the ForQuestionAnswering classes of transformers."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import families
import pytest
import tiny
import torch

from etude.data.source import Subset
from etude.errors import DataError
from etude.formats.model_folder import write_model
from etude.objective.head_objective import Query
from etude.objective.randomness import TRAIN, rng
from etude.records import Question

TEXT = "Ann wrote it in 1791."
ANSWERED = Question("Who?", TEXT, ("Ann",), (0,))
NONE = Question("Where?", TEXT)
FAMILIES = ["bert", "roberta", "gpt2"]
MORE = [pytest.param(name, marks=pytest.mark.slow) for name in ("albert", "bart", "t5")]


def randomised(made: Any) -> Any:
    """An objective with a random head."""
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in made.qa_outputs.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw, dtype=torch.float64))
    return made


def batch_of(made: Any, *records: Question) -> Any:
    return made.collate([made.example(record, rng(0, TRAIN)) for record in records])


@pytest.mark.parametrize("family", [*FAMILIES, *MORE])
def test_scores_loss_and_spans_are_those_of_transformers(family: str, tmp_path: Path) -> None:
    from transformers import AutoModelForQuestionAnswering

    made = randomised(families.objective(family, "extract").double())
    weights = {name: tensor.float() for name, tensor in made.network.state_dict().items()}
    write_model(families.model(made, tmp_path), weights, tmp_path / "model")
    theirs = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "model").double().eval()
    theirs.qa_outputs.load_state_dict(made.qa_outputs.state_dict())
    for record in (ANSWERED, NONE):
        batch = batch_of(made, record)
        start, end = (mark.nonzero()[:, 1] for mark in (batch.start, batch.end))
        read = batch.inputs.source or batch.inputs
        segments = {} if read.segments is None else {"token_type_ids": read.segments}
        with torch.no_grad():
            wanted = theirs(read.tokens, start_positions=start, end_positions=end, **segments)
            scores, loss = made.scores(batch), made.loss(batch)
        expected = torch.stack((wanted.start_logits, wanted.end_logits))
        torch.testing.assert_close(scores, expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(loss.total, wanted.loss, rtol=0, atol=1e-5)
        assert torch.equal(scores.argmax(-1), expected.argmax(-1))
        right = (expected.argmax(-1) == torch.stack((start, end))).all()
        assert bool(loss.metrics["accuracy"]) is bool(right)


@pytest.mark.parametrize("family", ["encoder_only", "decoder_only", "encoder_decoder"])
def test_padding_changes_nothing(family: str) -> None:
    made = randomised(extract(family))
    longer = Question("Why, then?", TEXT, ("1791",), (16,))
    records = (ANSWERED, NONE, longer)
    with torch.no_grad():
        together = made.loss(batch_of(made, *records)).total
        each = [made.loss(batch_of(made, record)).total for record in records]
        alone = torch.stack(each).sum()
    tiny.assert_close(together, alone)


def extract(family: str, seq_len: int = 48, **values: Any) -> Any:
    """An objective on a small network, in float64."""
    architecture = tiny.stack(family)
    tools = tiny.tools(seq_len=seq_len, architecture=architecture)
    network = tiny.network(architecture, tiny.BYTES.vocab)
    return tiny.objective("extract", network, tools=tools, **values).double()


def test_a_new_head_is_as_uncertain_as_a_guess_among_all_tokens() -> None:
    made = extract("encoder_only")
    batch = batch_of(made, ANSWERED)
    n = len("Who?") + len(TEXT) + 3
    assert float(made.loss(batch).total.detach()) == pytest.approx(math.log(n))


def test_the_loss_counts_windows_and_the_metrics_count_questions() -> None:
    made = randomised(extract("encoder_only", 24))
    long = replace(NONE, context=TEXT * 4)
    batch = made.held_out_batch([ANSWERED, long], [])
    loss, count = made.evaluate(batch)
    assert count == len(batch.inputs.tokens) > 5
    found = made.row_metrics(loss.rows)
    texts = [answer.text for _, answer in answers(made, batch)]
    right = [texts[0] == "Ann", texts[1] == ""]
    assert found["exact_match"] == pytest.approx(sum(right) / 2)
    assert found["unanswerable_accuracy"] == pytest.approx(float(right[1]))


def answers(made: Any, batch: Any) -> Any:
    with torch.no_grad():
        return made.answers(made.scores(batch), batch)


def test_questions_without_an_answer_are_left_out_if_there_must_be_one() -> None:
    both: Any = [ANSWERED, NONE]
    records = Subset(both, range(2))
    made = extract("decoder_only")
    assert len(made.select_samples(records)) == 2
    always = extract("decoder_only", no_answer_threshold=None)
    assert list(always.select_samples(records)) == [ANSWERED]
    assert list(always.lost) == ["no answer, and objective.no_answer_threshold=null"]
    with pytest.raises(DataError, match="No sample is left"):
        always.select_samples(Subset(both, range(1, 2)))


def test_what_cannot_be_read_or_answered_is_counted() -> None:
    made = extract("decoder_only", 24, max_answer_tokens=2)
    assert list(made.cuts(NONE)) == []
    assert list(made.cuts(ANSWERED)) == [
        "answers longer than objective.max_answer_tokens, which are never given"
    ]
    assert list(made.cuts(replace(NONE, question="x" * 9))) == [
        "questions cut to a third of data.seq_len"
    ]
    long = replace(NONE, answers=(TEXT,), starts=(0,))
    assert list(made.cuts(long)) == ["answers that fit into no window"]


@pytest.mark.parametrize(
    ("values", "seq_len", "reason"),
    [
        ({"overlap_tokens": -1}, 48, "overlap_tokens must be 0 or more"),
        ({"max_answer_tokens": 0}, 48, "max_answer_tokens must be at least 1"),
        ({"overlap_tokens": 17}, 48, "overlap_tokens=17 must be at most a third"),
        ({}, 8, "data.seq_len must be at least 16"),
    ],
)
def test_values_outside_their_range_are_refused(
    values: dict[str, Any], seq_len: int, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        extract("decoder_only", seq_len, **values)


def test_the_answers_to_held_out_questions_are_shown() -> None:
    made = extract("decoder_only")
    (shown,) = made.show([ANSWERED])
    assert shown == "Who?\n  [0.6%] A; right: ('Ann',)"  # with equal scores, the first part


def test_a_question_on_a_text_is_answered_and_one_without_a_text_is_refused() -> None:
    made = extract("decoder_only")
    (answer,) = made.predict([Query("Who?", TEXT)])
    assert answer.values["text"] == "A"
    assert answer.values["start"] == 0
    assert answer.lines == [f"[{answer.values['probability']:.1%}] A"]
    with pytest.raises(DataError, match="Give both: prompt=<question> second=<text>"):
        made.predict([Query("Who?")])
