from collections import Counter

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.contracts import TokenRow
from etude.plugins.objective.mlm import MlmConfig, mask
from etude.window import TRAIN, rng

VOCAB = tiny.VOCAB


def text(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(tiny.SPECIAL, VOCAB.size, n)


@settings(max_examples=200, deadline=None)
@given(
    tokens=st.lists(st.integers(0, VOCAB.size - 1), min_size=1, max_size=60),
    ratio=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**32),
)
def test_selects_a_fixed_count_of_text_and_leaves_all_else_as_it_was(
    tokens: list[int], ratio: float, seed: int
) -> None:
    ids = np.array(tokens)
    kept = ids.copy()
    given_ids, selected = mask(ids, VOCAB, MlmConfig(ratio), np.random.default_rng(seed))
    n_text = int((ids >= tiny.SPECIAL).sum())
    assert selected.sum() == (max(1, round(ratio * n_text)) if n_text else 0)
    assert not selected[ids < tiny.SPECIAL].any()
    assert np.array_equal(given_ids[~selected], ids[~selected])
    assert np.array_equal(np.where(selected, ids, given_ids), kept)  # both rebuild the source
    drawn = given_ids[selected]
    assert ((drawn == VOCAB.mask) | (drawn >= tiny.SPECIAL)).all()


def test_of_the_selected_80_percent_are_masked_10_random_and_10_kept() -> None:
    n = 40_000
    ids = text(n)
    given_ids, selected = mask(ids, VOCAB, MlmConfig(0.5), np.random.default_rng(0))
    chosen, original = given_ids[selected], ids[selected]
    n_text = VOCAB.size - tiny.SPECIAL
    masked = (chosen == VOCAB.mask).sum()
    kept = (chosen == original).sum()
    other = len(chosen) - masked - kept
    wanted = np.array([0.8, 0.1 + 0.1 / n_text, 0.1 - 0.1 / n_text]) * len(chosen)
    found = np.array([masked, kept, other])
    assert ((found - wanted) ** 2 / wanted).sum() < 13.8  # chi-square, 2 degrees, p = 0.001
    replaced = Counter(chosen[(chosen != VOCAB.mask) & (chosen != original)].tolist())
    each = other / n_text
    spread = sum((float(replaced[i]) - each) ** 2 / each for i in range(tiny.SPECIAL, VOCAB.size))
    assert spread < 40.8  # chi-square, 17 degrees, p = 0.001


def test_every_place_is_selected_as_often_as_any_other() -> None:
    ids = text(20)
    drawn = [mask(ids, VOCAB, MlmConfig(0.2), np.random.default_rng(i))[1] for i in range(2000)]
    counts = np.sum(drawn, axis=0)
    assert ((counts - 400) ** 2 / (400 * 0.8)).sum() < 45.3  # about 20 degrees, p = 0.001


def test_shares_may_be_any() -> None:
    ids = text(100)
    config = MlmConfig(0.3, mask_share=0.0, random_share=0.0)
    assert np.array_equal(mask(ids, VOCAB, config, np.random.default_rng(0))[0], ids)
    config = MlmConfig(0.3, mask_share=1.0, random_share=0.0)
    given_ids, selected = mask(ids, VOCAB, config, np.random.default_rng(0))
    assert (given_ids[selected] == VOCAB.mask).all()


def row(n: int, documents: list[int] | None = None) -> TokenRow:
    ids = np.random.default_rng(n).integers(109, 365, n)
    return TokenRow(ids, np.array(documents or [1] * n), float(n))


def test_a_mask_is_a_function_of_seed_epoch_and_sample_alone() -> None:
    made, sample = tiny.objective("mlm"), row(17)

    def masked(*key: int) -> list[int]:
        return made.example(sample, rng(key[0], TRAIN, *key[1:])).given.tolist()

    assert masked(0, 1, 2) == masked(0, 1, 2)
    others = [masked(1, 1, 2), masked(0, 0, 2), masked(0, 1, 3)]
    assert masked(0, 1, 2) not in others


def test_rows_are_cut_to_seq_len_and_padded_on_the_right() -> None:
    made = tiny.objective("mlm", tools=tiny.tools(seq_len=8))
    examples = [made.example(row(n), rng(0, TRAIN, 0, n)) for n in (9, 5)]
    batch = made.collate(examples)
    assert batch.targets.inputs.tokens.shape == (2, 8)
    assert batch.targets.inputs.documents.tolist() == [[1] * 8, [1] * 5 + [0] * 3]
    assert not batch.targets.where[1, 5:].any()
    assert made.count(batch) == 2
    for i, example in enumerate(examples):
        n = len(example.original)
        assert batch.targets.ids[i, :n].tolist() == example.original.tolist()


def test_confined_it_tells_the_documents_apart() -> None:
    made = tiny.objective("mlm", tools=tiny.tools(seq_len=8, confine=True))
    batch = made.collate([made.example(row(9, [1, 1, 1, 2, 2, 2, 2, 3, 3]), rng(0, TRAIN))])
    assert batch.targets.inputs.documents.tolist() == [[1, 1, 1, 2, 2, 2, 2, 3]]


def test_the_loss_is_the_sum_of_surprises_at_the_selected_places() -> None:
    network = tiny.network(tiny.stack("encoder_only"), tiny.BYTES.vocab)
    made = tiny.objective("mlm", network, mask_ratio=0.4)
    batch = made.collate([made.example(row(n), rng(0, TRAIN, 0, n)) for n in (16, 9)])
    with torch.no_grad():
        log_prob = network(batch.targets.inputs).log_softmax(-1)
        due = -log_prob.gather(-1, batch.targets.ids[..., None])[..., 0]
        loss = made.loss(batch)
    torch.testing.assert_close(loss.total, due[batch.targets.where].sum())
    right = (log_prob.argmax(-1) == batch.targets.ids)[batch.targets.where].sum()
    assert loss.metrics["accuracy"] == right
    assert made.count(batch) == round(0.4 * 16) + round(0.4 * 9)


def test_a_row_of_special_tokens_asks_for_nothing() -> None:
    network = tiny.network(tiny.stack("encoder_only"), tiny.BYTES.vocab)
    made = tiny.objective("mlm", network)
    blank = TokenRow(np.array([2, 3, 2, 3]), np.array([1, 1, 2, 2]), 0.0)
    batch = made.collate([made.example(blank, rng(0, TRAIN))])
    assert made.count(batch) == 0
    assert made.loss(batch).total == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mask_ratio": 0.0}, r"mask_ratio must be in \(0, 1\), got 0\.0"),
        ({"mask_ratio": 1.0}, r"mask_ratio must be in \(0, 1\), got 1\.0"),
        ({"mask_share": 0.95}, r"at most 1 together, got 0\.95 and 0\.1"),
    ],
)
def test_shares_outside_their_range_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MlmConfig(**values)
