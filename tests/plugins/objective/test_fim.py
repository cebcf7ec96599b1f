import math

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.data.token_rows import TokenRow
from etude.objective.randomness import TRAIN, rng
from etude.plugins.objective.fim import FimConfig, Order, rearrange, rearranged_row, text_slice

VOCAB = tiny.BYTES.vocab
BOS, EOS = VOCAB.bos, VOCAB.eos
PRE, SUF, MID = VOCAB.sentinels[:3]
A, B, C, D, E, F = range(200, 206)


def restored(document: list[int]) -> tuple[list[int], str]:
    """The original document, and the order in which it original rearranged."""
    if PRE not in document:
        return document, "unchanged"
    pre, suf, mid = (document.index(marker) for marker in (PRE, SUF, MID))
    end = len(document) - (document[-1] == EOS)
    head, prefix, suffix = document[:pre], document[pre + 1 : suf], document[suf + 1 : mid]
    rest, tail = document[mid + 1 : end], document[end:]
    if suf == pre + 1 and suffix:  # an empty prefix in PSM order looks the same and means the same
        return [*head, *rest, *suffix, *tail], "spm"
    return [*head, *prefix, *rest, *suffix, *tail], "psm"


def row(documents: list[list[int]]) -> TokenRow:
    sizes = [len(document) for document in documents]
    numbers = np.repeat(np.arange(1, len(documents) + 1), sizes)
    return TokenRow(np.array([t for d in documents for t in d], np.int64), numbers, 1.0)


def test_both_orders_by_hand() -> None:
    document = np.array([BOS, A, B, C, D, E, EOS])
    cuts = np.array([2, 4])
    psm = rearrange(document, cuts, Order.PSM, VOCAB).tolist()
    spm = rearrange(document, cuts, Order.SPM, VOCAB).tolist()
    assert psm == [BOS, PRE, A, B, SUF, E, MID, C, D, EOS]
    assert spm == [BOS, PRE, SUF, E, MID, A, B, C, D, EOS]
    assert restored(psm)[0] == restored(spm)[0] == document.tolist()


def test_the_text_excludes_bos_and_eos_if_present() -> None:
    def text(*tokens: int) -> list[int]:
        return np.array(tokens)[text_slice(np.array(tokens), VOCAB)].tolist()

    assert text(BOS, A, B, EOS) == text(A, B, EOS) == text(BOS, A, B) == text(A, B) == [A, B]
    assert text(BOS, EOS) == text(BOS) == text(EOS) == []


DOCUMENTS = st.lists(
    st.lists(st.integers(109, 364), max_size=12).map(lambda text: [BOS, *text, EOS]),
    min_size=1,
    max_size=6,
)


@settings(max_examples=300, deadline=None)
@given(
    documents=DOCUMENTS,
    cut=st.tuples(st.integers(0, 12), st.integers(0, 12)),
    extra=st.integers(-20, 30),
    rates=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    seed=st.integers(0, 2**32),
)
def test_a_row_can_be_restored_except_for_tokens_dropped_at_its_end(
    documents: list[list[int]],
    cut: tuple[int, int],
    extra: int,
    rates: tuple[float, float],
    seed: int,
) -> None:
    whole = row(documents)
    tokens = whole.tokens[cut[0] : len(whole.tokens) - cut[1]]
    numbers = whole.documents[cut[0] : len(whole.documents) - cut[1]]
    if len(tokens) == 0:
        return
    given_row = TokenRow(tokens, numbers - numbers[0] + 1, 1.0)
    room = max(8, len(tokens) + extra)
    made = rearranged_row(given_row, room, FimConfig(*rates), VOCAB, np.random.default_rng(seed))
    again = rearranged_row(given_row, room, FimConfig(*rates), VOCAB, np.random.default_rng(seed))
    assert made.tokens.tolist() == again.tokens.tolist()
    parts = [made.tokens[made.documents == i].tolist() for i in range(1, made.documents[-1] + 1)]
    n_moved = sum(PRE in part for part in parts)
    assert len(made.tokens) == len(made.documents) == min(room, len(tokens) + 3 * n_moved)
    restored_parts = [restored(part)[0] for part in parts]
    kept = [
        given_row.tokens[given_row.documents == i].tolist()
        for i in range(1, len(restored_parts) + 1)
    ]
    for i, (found, original) in enumerate(zip(restored_parts, kept, strict=True)):
        assert found == original[: len(found)]
        assert found == original or i == len(restored_parts) - 1 or not any(restored_parts[i + 1 :])
    markers = [t for part in parts for t in part if t in VOCAB.sentinels]
    assert len(markers) == 3 * n_moved


def test_the_default_rates_of_both_orders() -> None:
    text = [BOS, *range(120, 150), EOS]
    counts = {"unchanged": 0, "psm": 0, "spm": 0}
    for seed in range(2000):
        made = rearranged_row(row([text]), 40, FimConfig(), VOCAB, np.random.default_rng(seed))
        counts[restored(made.tokens.tolist())[1]] += 1
    # An empty prefix in one order reads as an empty suffix in the other, and they are as frequent.
    wanted = {"unchanged": 1000, "psm": 500, "spm": 500}
    found = sum((counts[name] - wanted[name]) ** 2 / wanted[name] for name in wanted)
    assert found < 13.8  # chi-square, 2 degrees, p = 0.001


def test_both_cuts_are_uniformly_distributed() -> None:
    text, places = [BOS, *range(120, 130), EOS], np.zeros(11)
    config = FimConfig(1.0, 0.0)
    for seed in range(3000):
        made = rearranged_row(row([text]), 40, config, VOCAB, np.random.default_rng(seed)).tokens
        start = made.tolist().index(SUF) - 2
        places[start] += 1
        places[start + len(made) - 2 - made.tolist().index(MID)] += 1
    assert ((places - 6000 / 11) ** 2 / (6000 / 11)).sum() < 29.6  # 10 degrees, p = 0.001


def test_a_rate_of_0_is_next_token_prediction() -> None:
    plain, made = tiny.objective("clm"), tiny.objective("fim", fim_rate=0.0)
    sample = row([[BOS, A, B, EOS], [BOS, C, EOS], [BOS, D, E]])
    batches = [o.collate([o.example(sample, rng(0, TRAIN))]) for o in (plain, made)]
    assert made.count(batches[1]) == plain.count(batches[0])
    torch.testing.assert_close(made.loss(batches[1]).total, plain.loss(batches[0]).total)


def test_every_token_of_a_document_except_its_first_is_a_target() -> None:
    made = tiny.objective("fim", fim_rate=1.0, spm_rate=0.0)
    batch = made.collate([made.example(row([[BOS, A, B, EOS], [BOS, C, EOS]]), rng(0, TRAIN))])
    ids, where = batch.targets.ids[0].tolist(), batch.targets.where[0].tolist()
    assert [t for t, due in zip(ids, where, strict=True) if not due] == [BOS]
    assert sorted(t for t, due in zip(ids, where, strict=True) if due) == sorted(
        [PRE, SUF, MID, A, B, EOS, PRE, SUF, MID, C, EOS]
    )
    logits = made.network(batch.targets.inputs).log_softmax(-1)
    due = -logits.gather(-1, batch.targets.ids[..., None])[..., 0][batch.targets.where].sum()
    torch.testing.assert_close(made.loss(batch).total, due)


def test_perplexity_is_the_exponential_of_the_loss() -> None:
    found = tiny.objective("fim").report({"loss": math.log(8)})
    assert found == {"loss": math.log(8), "perplexity": pytest.approx(8.0)}


@pytest.mark.parametrize("seq_len", [8, 16, 64])
def test_shown_middles_fit_in_the_positions_of_the_network(seq_len: int) -> None:
    position = tiny.part("architecture/position", "learned", max_positions=seq_len)
    network = tiny.network(tiny.stack(position=position), VOCAB)
    made = tiny.objective("fim", network, tools=tiny.tools(seq_len=seq_len))
    shown = made.show([row([[BOS, *[A] * 90]]), row([[BOS, EOS]])])
    assert len(shown) == 2
    assert all(text.count("[...]") == 2 for text in shown)


def test_a_row_too_short_for_the_markers_is_refused() -> None:
    with pytest.raises(ValueError, match=r"data.seq_len must be at least 8, got 7"):
        tiny.objective("fim", tools=tiny.tools(seq_len=7))


def test_full_rows_make_room_for_markers_and_are_counted() -> None:
    full, short = row([[BOS, *[A] * 16]]), row([[BOS, *[A] * 12, EOS]])
    made = tiny.objective("fim")  # rows of 17 tokens
    assert list(made.cuts(full)) == ["rows whose last tokens make room for markers"]
    assert not list(made.cuts(short))
    assert not list(tiny.objective("fim", fim_rate=0.0).cuts(full))


@pytest.mark.parametrize("name", ["fim_rate", "spm_rate"])
def test_rates_outside_their_range_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} must be in \[0, 1\], got 1\.5"):
        FimConfig(**{name: 1.5})
