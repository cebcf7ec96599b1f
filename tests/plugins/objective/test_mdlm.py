import math
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from etude.data.token_rows import TokenRow
from etude.objective.loader import Ranks
from etude.objective.randomness import VALIDATION, rng
from etude.plugins.objective.mdlm import LOWEST, NoisyRow, stratified, without_mask

VOCAB = tiny.BYTES.vocab


def row(seed: int = 0, n: int = 12) -> TokenRow:
    """Two documents in one packed row, the second of which starts with bos."""
    ids = tiny.tokens(1, n, seed=seed, vocab=VOCAB)[0].numpy()
    ids[n // 2] = VOCAB.bos
    documents = np.repeat([1, 2], [n // 2, n - n // 2])
    return TokenRow(ids, documents, n_bytes=float(n - 2))


def objective(**values: Any) -> Any:
    made = tiny.network(tiny.stack("encoder_only"), vocab=VOCAB)
    return tiny.objective("mdlm", made, **values)


def test_it_covers_the_same_tokens_and_bytes_as_clm() -> None:
    rows = [row(0), row(1, 9)]
    clm = tiny.objective("clm")
    theirs = clm.collate(rows)
    made = objective()
    ours = made.collate([made.example(r, rng(0, VALIDATION, i)) for i, r in enumerate(rows)])
    assert made.count(ours) == clm.count(theirs)
    width = theirs.targets.where.shape[1]  # the rows are padded to other widths
    assert torch.equal(ours.modelled[:, :width], theirs.targets.where)
    assert torch.equal(ours.targets.ids[ours.modelled], theirs.targets.ids[theirs.targets.where])
    assert ours.n_bytes == theirs.n_bytes


def test_the_first_token_of_a_document_is_never_masked() -> None:
    made = objective()
    noisy = stratified(made.example(row(), np.random.default_rng(0)), 999, 1000)
    assert noisy.masked.sum() == 10
    assert noisy.tokens[5] == VOCAB.bos
    assert not noisy.masked[5]


def test_a_token_is_masked_with_the_probability_of_its_level() -> None:
    made = objective()
    draw = np.random.default_rng(0)
    rows = [stratified(made.example(row(), draw), 3, 10) for _ in range(2000)]
    masked = sum(r.masked.sum() for r in rows)
    wanted = sum(r.level * r.modelled.sum() for r in rows)
    assert masked == pytest.approx(wanted, rel=0.03)
    assert all(LOWEST + 0.999 * 0.3 <= r.level < LOWEST + 0.999 * 0.4 for r in rows)


def test_the_loss_is_the_cross_entropy_of_masked_tokens_over_their_level() -> None:
    """Against sums written out for each row."""
    made = objective()
    examples = [made.example(row(i), rng(0, VALIDATION, i)) for i in range(4)]
    total = made.loss(made.collate(examples)).total.detach()
    wanted = 0.0
    for e in examples:
        given = torch.from_numpy(np.where(e.masked, VOCAB.mask, e.tokens))[None]
        logits = without_mask(made.network(tiny.inputs(made.network, given)), VOCAB.mask).detach()
        log_probs = logits.log_softmax(-1)[0, range(len(e.tokens)), e.tokens]
        wanted -= float(log_probs[torch.from_numpy(e.masked)].sum()) / e.level
    assert float(total) == pytest.approx(wanted, abs=1e-9)


def test_the_bound_of_a_uniform_network_is_the_logarithm_of_the_vocabulary() -> None:
    """Whatever the level: the expected number of masked tokens cancels its weight 1 / t."""
    made = objective(val_levels=64)
    for parameter in made.network.parameters():
        torch.nn.init.zeros_(parameter)
    rows = [row(i) for i in range(64)]
    batch = made.held_out_batch(rows, [rng(0, VALIDATION, i) for i in range(64)])
    bound = float(made.loss(batch).total.detach()) / made.count(batch)
    assert bound == pytest.approx(math.log(VOCAB.size - 1), rel=0.03)  # no text contains a mask
    means = {"loss": bound, "bytes": float(batch.n_bytes) / made.count(batch)}
    assert made.report(means)["bits_per_byte"] == pytest.approx(bound / math.log(2), rel=1e-6)


def test_more_levels_reduce_the_noise_of_the_bound_and_not_its_mean() -> None:
    rows = [row(i) for i in range(8)]

    def bounds(levels: int) -> list[float]:
        made = objective(val_levels=levels)
        found: list[float] = []
        for seed in range(24):
            batch = made.held_out_batch(rows, [rng(seed, VALIDATION, i) for i in range(8)])
            with torch.no_grad():
                found.append(float(made.loss(batch).total) / made.count(batch))
        return found

    one, many = bounds(1), bounds(8)
    assert np.std(many) < 0.8 * np.std(one)
    assert np.mean(many) == pytest.approx(np.mean(one), abs=float(np.std(one)))


def test_the_levels_of_a_global_batch_are_stratified_over_all_ranks() -> None:
    """One level in each eighth of [0, 1], the same with one process and with two."""
    made = objective()
    samples: Any = [row(i) for i in range(16)]
    alone = made.source(samples, 8, 0, Ranks()).next_step_batch().examples
    assert sorted(int(e.quantile * 8) for e in alone) == list(range(8))
    shares = [made.source(samples, 8, 0, Ranks(r, 2)).next_step_batch().examples for r in (0, 1)]
    both: list[NoisyRow] = [example for share in shares for example in share]
    assert sorted(e.quantile for e in both) == sorted(e.quantile for e in alone)


def test_show_fills_half_of_the_tokens() -> None:
    (text,) = objective().show([row()])
    before, _, after = text.partition(" [...] ")
    assert "<mask>" in before
    assert "<mask>" not in after


def test_no_token_is_predicted_to_be_a_mask() -> None:
    probabilities = without_mask(torch.zeros(2, 5), 3).softmax(-1)
    assert probabilities[:, 3].tolist() == [0, 0]


def test_levels_below_one_are_an_error() -> None:
    with pytest.raises(ValueError, match="val_levels must be at least 1"):
        objective(val_levels=0)
