from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from defaults import default

from etude.config.compatibility import check
from etude.config.registry import build
from etude.data.token_rows import TokenRow
from etude.errors import CompositionError
from etude.network.inputs import Inputs
from etude.objective.randomness import TRAIN, rng
from etude.plugins.objective.sop import SopConfig, SopExample, split_text

VOCAB = tiny.BYTES.vocab
BOS, EOS, CLS, SEP = VOCAB.bos, VOCAB.eos, VOCAB.cls, VOCAB.sep
SEGMENTED = tiny.stack("encoder_only", n_segments=2)


def sop(seq_len: int = 24, *, untrained: bool = False, **values: Any) -> Any:  # the plugin's class
    """An objective in float64; with a random head unless `untrained`."""
    given = tiny.tools(architecture=SEGMENTED, seq_len=seq_len)
    made = tiny.objective("sop", tiny.network(SEGMENTED, VOCAB), tools=given, **values).double()
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.order.parameters() if not untrained else ():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=draw))
    return made.eval()


def text(n: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(109, 365, n).tolist()


def row(*documents: list[int]) -> TokenRow:
    ids = np.array([token for document in documents for token in document])
    numbers = np.repeat(np.arange(1, len(documents) + 1), list(map(len, documents)))
    return TokenRow(ids, numbers, 0.0)


def pairs_of(made: Any, *documents: list[int], seed: int = 0) -> list[SopExample]:
    return made.example(row(*documents), rng(seed, TRAIN))


def test_segments_are_consecutive_and_numbered() -> None:
    whole, seen = text(12), set[bool]()
    for seed in range(8):
        (pair,) = pairs_of(sop(), [BOS, *whole, EOS], seed=seed)
        ids, segments = pair.original.tolist(), pair.segments.tolist()
        middle = ids.index(SEP)
        assert (ids[0], ids[-1], ids.count(SEP), ids.count(CLS)) == (CLS, SEP, 2, 1)
        assert segments == [0] * (middle + 1) + [1] * (len(ids) - middle - 1)
        first, second = ids[1:middle], ids[middle + 1 : -1]
        assert first
        assert second
        assert [*second, *first] == whole if pair.swapped else [*first, *second] == whole
        seen.add(pair.swapped)
    assert seen == {True, False}


def test_half_of_the_pairs_are_swapped() -> None:
    made, document = sop(), [BOS, *text(12)]
    n = sum(pairs_of(made, document, seed=seed)[0].swapped for seed in range(1000))
    assert abs(n - 500) < 52  # 3.3 standard deviations


def test_a_text_is_split_after_a_sentence_or_anywhere_if_it_has_only_one() -> None:
    written = tiny.BYTES.encode("Is it so? It is. And that is all")
    found = {
        tiny.BYTES.decode(split_text(written, tiny.BYTES, np.random.default_rng(i))[0])
        for i in range(40)
    }
    assert {piece.strip() for piece in found} == {"Is it so?", "Is it so? It is."}
    alone = tiny.BYTES.encode("abcde")
    lengths = {len(split_text(alone, tiny.BYTES, np.random.default_rng(i))[0]) for i in range(80)}
    assert lengths == {1, 2, 3, 4}


def test_each_document_is_a_text_and_single_tokens_are_dropped() -> None:
    pairs = pairs_of(sop(), [*text(5), EOS], [BOS, *text(1), EOS], [BOS, *text(30)])
    assert [len(pair.original) - 3 for pair in pairs] == [5, 21]


def test_the_loss_is_the_sum_of_mask_and_order_losses_of_each_text() -> None:
    """Against each text alone, without padding."""
    made = sop(mask_ratio=0.4, order_weight=3.0)
    rows = [row([BOS, *text(n, n)]) for n in (21, 6, 13)]
    examples = [made.example(r, rng(0, TRAIN, i)) for i, r in enumerate(rows)]
    batch, wanted, n_right = made.collate(examples), torch.zeros((), dtype=torch.float64), 0
    for (pair,) in examples:
        ids, kinds = (torch.from_numpy(part)[None] for part in (pair.masked, pair.segments))
        given = Inputs(ids, segments=kinds)
        states = made.network.states(given)[0]
        where = torch.tensor(pair.selected)
        ids = torch.tensor(pair.original)[where]
        log_prob = made.network.logits(states[where]).log_softmax(-1)
        dense = torch.tanh(made.order.dense.weight @ states[0] + made.order.dense.bias)
        logit = (made.order.out.weight @ dense + made.order.out.bias)[0]
        chance = logit.sigmoid() if pair.swapped else 1 - logit.sigmoid()
        n_text = len(pair.original) - 3
        mean = -log_prob.gather(-1, ids[:, None]).mean()
        wanted += n_text * (mean - 3.0 * chance.log())
        n_right += n_text * int((logit > 0) == pair.swapped)
    loss = made.loss(batch)
    torch.testing.assert_close(loss.total, wanted, rtol=1e-12, atol=0.0)
    assert loss.metrics["order_accuracy"] == n_right
    assert made.count(batch) == 21 + 6 + 13


def test_the_loss_of_an_untrained_head_is_log_2_per_text() -> None:
    made = sop(untrained=True)
    batch = made.collate([pairs_of(made, [BOS, *text(n)]) for n in (9, 20)])
    found = made.loss(batch).metrics["order_loss"] / made.count(batch)
    tiny.assert_close(found, torch.tensor(2.0, dtype=torch.float64).log())


def test_special_tokens_are_not_masked() -> None:
    for seed in range(20):
        (pair,) = pairs_of(sop(mask_ratio=0.9), [BOS, *text(9)], seed=seed)
        assert not pair.selected[np.isin(pair.original, [CLS, SEP])].any()


def test_segments_reach_the_network() -> None:
    made = sop()
    batch = made.collate([pairs_of(made, [BOS, *text(9)])])
    loss = made.loss(batch).total
    assert batch.targets.inputs.segments is not None
    batch.targets.inputs.segments = torch.zeros_like(batch.targets.inputs.segments)
    assert made.loss(batch).total != loss


def test_a_row_without_two_tokens_of_text_has_no_loss() -> None:
    made = sop()
    batch = made.collate([pairs_of(made, [EOS], [BOS, *text(1)])])
    assert made.count(batch) == 0
    assert made.loss(batch).total == 0


def test_a_network_without_segments_is_refused_with_the_fix(tmp_path: Path) -> None:
    config = tiny.experiment("sop", tmp_path)
    check(config)
    with pytest.raises(CompositionError, match=r"n_segments=0\.\n.*n_segments=2.*bert and albert"):
        check(replace(config, architecture=tiny.stack("encoder_only")), "roberta")


def test_settings_without_effect_and_short_rows_are_refused() -> None:
    network = tiny.network(SEGMENTED, VOCAB)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"intra_document": True}, "intra_document has no effect"),
        ({"seq_len": 4}, "seq_len must be at least 5, got 4"),
    ]
    for values, message in cases:
        with pytest.raises(ValueError, match=message):
            build(default("objective/sop"), network, tiny.tools(architecture=SEGMENTED, **values))
    with pytest.raises(ValueError, match=r"order_weight must be positive, got 0\.0"):
        SopConfig(order_weight=0.0)


def test_shown_samples_give_the_order_and_the_prediction() -> None:
    made = sop()
    shown = made.show([row([BOS, *text(9)]), row([BOS, EOS])])
    assert all("predicted" in line for line in shown)
    assert shown[0].startswith("<cls>")


@pytest.mark.slow
def test_the_order_can_be_learned() -> None:
    """For texts whose two sentences have different letters, accuracy approaches 1."""
    torch.manual_seed(0)
    network, given = build(SEGMENTED, VOCAB), tiny.tools(architecture=SEGMENTED, seq_len=24)
    made = tiny.objective("sop", network, tools=given, mask_ratio=0.05)
    optimizer = torch.optim.AdamW(made.parameters(), 1e-2)
    draw = np.random.default_rng(0)

    def halves() -> list[str]:
        return ["".join(draw.choice([*part], 6)) for part in ("abcdef", "uvwxyz")]

    documents = [[BOS, *tiny.BYTES.encode(". ".join(halves())).tolist()] for _ in range(32)]
    right = 0.0
    for step in range(100):
        examples = [made.example(row(d), rng(step, TRAIN, i)) for i, d in enumerate(documents)]
        batch = made.collate(examples)
        loss = made.loss(batch)
        optimizer.zero_grad()
        (loss.total / made.count(batch)).backward()
        optimizer.step()
        right = float(loss.metrics["order_accuracy"]) / made.count(batch)
    assert right > 0.95


def test_texts_that_are_too_short_or_too_long_are_counted() -> None:
    made = sop(seq_len=10)
    documents = [BOS, *text(7), EOS], [BOS, *text(1), EOS], [BOS, *text(8), EOS], [BOS, EOS]
    assert list(made.cuts(row(*documents))) == [
        "texts of one token, which have no two segments",
        "texts cut to leave room for [CLS] and [SEP]",
    ]
