import numpy as np
import pytest
import tiny
import torch
from defaults import default
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.config.plugin_files import options
from etude.config.registry import build
from etude.data.token_rows import TokenRow
from etude.objective.randomness import TRAIN, rng
from etude.plugins.objective._masking import mask
from etude.plugins.objective.mlm import MlmConfig

VOCAB = tiny.BYTES.vocab
SPECIAL = len(VOCAB.special)
MASKINGS = options("objective/masking")


def text(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(SPECIAL, VOCAB.size, n)


def config(ratio: float = 0.15, masking: str = "token", **values: float) -> MlmConfig:
    chosen = default(f"objective/masking/{masking}")
    return default("objective/mlm", masking=chosen, mask_ratio=ratio, **values)


def masked(ids: np.ndarray, config: MlmConfig, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    select = build(config.masking, tiny.BYTES)
    return mask(ids, tiny.BYTES, select, config, np.random.default_rng(seed))


@pytest.mark.parametrize("masking", MASKINGS)
@settings(max_examples=100, deadline=None)
@given(
    tokens=st.lists(st.integers(0, VOCAB.size - 1) | st.integers(0, SPECIAL - 1), max_size=60),
    ratio=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**32),
)
def test_a_selection_is_within_the_budget_or_the_smallest_word_and_the_rest_is_unchanged(
    masking: str, tokens: list[int], ratio: float, seed: int
) -> None:
    ids = np.array(tokens, np.int64)
    kept = ids.copy()
    masked_ids, selected = masked(ids, config(ratio, masking), seed)
    n_text = int((ids >= SPECIAL).sum())
    budget = max(1, round(ratio * n_text)) if n_text else 0
    if masking == "token":
        assert selected.sum() == budget
    else:
        words = np.bincount(tiny.BYTES.words(ids))[1:]
        assert selected.any() == (n_text > 0)
        assert selected.sum() <= max(budget, words.min(initial=len(ids)) * bool(n_text))
    assert not selected[ids < SPECIAL].any()
    assert np.array_equal(masked_ids[~selected], ids[~selected])
    assert np.array_equal(ids, kept)  # the input is not modified
    drawn = masked_ids[selected]
    assert ((drawn == VOCAB.mask) | (drawn >= SPECIAL)).all()
    again = masked(ids, config(ratio, masking), seed)
    assert np.array_equal(again, (masked_ids, selected))


@pytest.mark.parametrize("masking", MASKINGS)
@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_the_shortest_rows_and_those_without_text_are_handled(masking: str, n: int) -> None:
    for ids in (np.arange(200, 200 + n), np.arange(n)):
        masked_ids, selected = masked(ids, config(0.5, masking))
        assert (masked_ids.shape, selected.shape) == ((n,), (n,))


def test_80_percent_of_the_selected_tokens_are_masked_10_random_and_10_kept() -> None:
    ids = text(40_000)
    masked_ids, selected = masked(ids, config(0.5))
    chosen, original = masked_ids[selected], ids[selected]
    n_text = VOCAB.size - SPECIAL
    is_mask, is_kept = chosen == VOCAB.mask, chosen == original
    wanted = np.array([0.8, 0.1 + 0.1 / n_text, 0.1 - 0.1 / n_text]) * len(chosen)
    found = np.array([is_mask.sum(), is_kept.sum(), (~is_mask & ~is_kept).sum()])
    assert ((found - wanted) ** 2 / wanted).sum() < 13.8  # chi-square, 2 degrees, p = 0.001
    replaced = np.bincount(chosen[~is_mask & ~is_kept], minlength=VOCAB.size)
    each = found[2] / n_text
    assert ((replaced[SPECIAL:] - each) ** 2 / each).sum() < 330.5  # 255 degrees, p = 0.001


def test_every_position_is_equally_likely_to_be_selected() -> None:
    ids = text(20)
    drawn = [masked(ids, config(0.2), seed)[1] for seed in range(2000)]
    counts = np.sum(drawn, axis=0)
    assert ((counts - 400) ** 2 / (400 * 0.8)).sum() < 45.3  # about 20 degrees, p = 0.001


def test_tokens_of_a_group_are_masked_replaced_or_kept_together() -> None:
    ids = text(3000)

    def by_three(tokens: np.ndarray, budget: int, draw: np.random.Generator) -> np.ndarray:
        return np.where(np.arange(len(tokens)) % 5 < 3, np.arange(len(tokens)) // 5 + 1, 0)

    masked_ids, selected = mask(ids, tiny.BYTES, by_three, config(), np.random.default_rng(0))
    assert selected.reshape(-1, 5).tolist() == [[True] * 3 + [False] * 2] * 600
    spans = masked_ids.reshape(-1, 5)[:, :3]
    assert set((spans == VOCAB.mask).sum(1).tolist()) == {0, 3}
    changed = (spans != ids.reshape(-1, 5)[:, :3])[(spans != VOCAB.mask).all(1)].sum(1)
    assert abs((changed >= 2).sum() - 60) < 25  # of 600, a tenth: 3.4 standard deviations
    assert abs((changed == 0).sum() - 60) < 25


def test_the_shares_can_be_configured() -> None:
    ids = text(100)
    assert np.array_equal(masked(ids, config(0.3, mask_share=0.0, random_share=0.0))[0], ids)
    masked_ids, selected = masked(ids, config(0.3, mask_share=1.0, random_share=0.0))
    assert (masked_ids[selected] == VOCAB.mask).all()


def row(n: int, documents: list[int] | None = None) -> TokenRow:
    ids = np.random.default_rng(n).integers(109, 365, n)
    return TokenRow(ids, np.array(documents or [1] * n), float(n))


def test_a_mask_depends_only_on_seed_epoch_and_sample() -> None:
    made, sample = tiny.objective("mlm"), row(17)

    def masked_tokens(*key: int) -> list[int]:
        return made.example(sample, rng(key[0], TRAIN, *key[1:])).masked.tolist()

    assert masked_tokens(0, 1, 2) == masked_tokens(0, 1, 2)
    others = [masked_tokens(1, 1, 2), masked_tokens(0, 0, 2), masked_tokens(0, 1, 3)]
    assert masked_tokens(0, 1, 2) not in others


def test_rows_are_truncated_to_seq_len_and_padded_on_the_right() -> None:
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


def test_intra_document_numbers_the_documents_of_a_row() -> None:
    made = tiny.objective("mlm", tools=tiny.tools(seq_len=8, intra_document=True))
    batch = made.collate([made.example(row(9, [1, 1, 1, 2, 2, 2, 2, 3, 3]), rng(0, TRAIN))])
    assert batch.targets.inputs.documents.tolist() == [[1, 1, 1, 2, 2, 2, 2, 3]]


def test_the_loss_is_the_summed_cross_entropy_at_the_selected_positions() -> None:
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


def test_a_row_of_special_tokens_has_no_loss() -> None:
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
        ({"mask_share": 0.95}, r"sum to at most 1, got 0\.95 and 0\.1"),
    ],
)
def test_shares_outside_their_range_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        default("objective/mlm", **values)


def test_a_masking_of_longer_groups_gets_a_budget_for_one() -> None:
    def pairs_of_words(ids: np.ndarray, budget: int, draw: np.random.Generator) -> np.ndarray:
        return np.where(tiny.BYTES.words(ids) <= 2, 1, 0) * (budget >= 7)

    ids = tiny.BYTES.encode("abc def ghi jkl mno pqr stu vwx")
    _, selected = mask(ids, tiny.BYTES, pairs_of_words, config(), np.random.default_rng(0))
    assert np.flatnonzero(selected).tolist() == list(range(7))
    _, selected = mask(ids[:6], tiny.BYTES, pairs_of_words, config(), np.random.default_rng(0))
    assert not selected.any()  # no such group
