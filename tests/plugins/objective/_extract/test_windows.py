"""Windows: those of transformers' fast tokenizers, with the answer where it is in the text."""

from typing import Any

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from etude.plugins.objective._extract.windows import Window, WindowEncoder, answer_tokens
from etude.records import Question

CONTEXT = "It was written by Ann in 1791, 由安写成。" * 3
ANSWER = Question("Who?", CONTEXT, ("Ann", "安"), (CONTEXT.rindex("Ann"), CONTEXT.index("安")))


def encoder(seq_len: int = 24, overlap: int = 8, family: str = "encoder_only") -> WindowEncoder:
    return WindowEncoder(tiny.BYTES, tiny.stack(family), seq_len, overlap)


def texts_of(record: Question, windows: list[Window]) -> list[str]:
    """The text of the target in each window that has one."""
    return [
        record.context[window.offsets[first, 0] : window.offsets[last, 1]]
        for window in windows
        if window.answer is not None
        for first, last in [window.answer]
    ]


@settings(max_examples=100, deadline=None)
@given(n=st.integers(1, 90), overlap=st.integers(0, 8))
def test_windows_are_those_of_a_fast_tokenizer_with_a_stride(n: int, overlap: int) -> None:
    made = encoder(overlap=overlap)
    record = Question("Why?", "x" * n)
    windows = made.windows(record)
    room = 24 - len(windows[0].prompt) - 2
    theirs: Any = Tokenizer.from_str(tiny.BYTES._inner.to_str())
    theirs.enable_truncation(room, stride=overlap)
    encoding = theirs.encode(record.context, add_special_tokens=False)
    parts = [encoding, *encoding.overflowing]
    assert [one.context for one in windows] == [part.ids for part in parts]
    assert [one.offsets.tolist() for one in windows] == [list(map(list, p.offsets)) for p in parts]


def test_every_window_that_contains_the_whole_answer_points_to_it_and_no_other() -> None:
    windows = encoder().windows(ANSWER)
    start = len(CONTEXT[: ANSWER.starts[0]].encode())
    step = 24 - len("Who?") - 3 - 8  # three special tokens, and the overlap
    sizes = enumerate(len(one.context) for one in windows)
    whole = [i * step <= start and start + 3 <= i * step + size for i, size in sizes]
    assert 0 < sum(whole) < len(windows)
    assert [one.answer is not None for one in windows] == whole
    assert texts_of(ANSWER, windows) == ["Ann"] * sum(whole)


@pytest.mark.parametrize("answer", ["Ann", "安", "1791, 由", "It", "。"])
def test_an_answer_shorter_than_the_overlap_is_whole_in_some_window(answer: str) -> None:
    for start in [i for i in range(len(CONTEXT)) if CONTEXT.startswith(answer, i)]:
        record = Question("Who?", CONTEXT, (answer,), (start,))
        assert {*texts_of(record, encoder(64, 21).windows(record))} == {answer}


def test_the_tokens_of_an_answer_inside_words_contain_it() -> None:
    offsets = np.array([[0, 3], [4, 9], [9, 9], [10, 12]])
    record = Question("q", "The novel is", ("ovel i",), (5,))
    assert answer_tokens(record, offsets) == (1, 3)
    assert answer_tokens(Question("q", "The novel is"), offsets) is None
    nowhere = Question("q", "The novel is", (" ",), (3,))
    assert answer_tokens(nowhere, offsets) is None


@pytest.mark.parametrize("family", ["encoder_only", "decoder_only", "encoder_decoder"])
def test_rows_have_the_question_before_the_context_and_never_exceed_seq_len(family: str) -> None:
    made = encoder(family=family)
    network = tiny.network(tiny.stack(family), vocab=tiny.BYTES.vocab)
    windows = made.windows(ANSWER)
    batch = made.batch(network, windows)
    read = batch.inputs.source or batch.inputs
    vocab = tiny.BYTES.vocab
    assert read.tokens.shape[1] == 24
    for i, (row, one) in enumerate(zip(read.tokens, windows, strict=True)):
        opening = [] if family == "encoder_decoder" else [vocab.bos]
        question = [*opening, *tiny.BYTES.encode("Who?").tolist(), vocab.eos]
        wanted = [*question, *one.context, vocab.eos]
        assert row[: len(wanted)].tolist() == wanted
        assert row[batch.context[i]].tolist() == one.context
        if one.answer is None:
            assert bool((batch.start[i] == batch.no_answer[i]).all())
        else:
            found = batch.start[i].nonzero()[0, 0], batch.end[i].nonzero()[0, 0]
            assert tiny.BYTES.decode(row[found[0] : found[1] + 1].tolist()) == "Ann"


def test_no_answer_is_at_the_first_token_and_in_a_decoder_at_the_last() -> None:
    for family, place in [("encoder_only", 0), ("encoder_decoder", 0), ("decoder_only", -1)]:
        made = encoder(family=family)
        network = tiny.network(tiny.stack(family), vocab=tiny.BYTES.vocab)
        batch = made.batch(network, made.windows(ANSWER))
        for marked, real in zip(batch.no_answer, batch.is_real, strict=True):
            assert marked.nonzero().flatten().tolist() == [real.nonzero().flatten()[place]]


def test_a_question_is_cut_to_a_third_of_a_window() -> None:
    (window,) = encoder().windows(Question("x" * 50, "short"))
    assert len(window.prompt) == 1 + 8
