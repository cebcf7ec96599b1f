from typing import Any

import numpy as np
import tiny
import torch

from etude.contracts import TokenRow
from etude.window import TRAIN, rng

VOCAB = tiny.BYTES.vocab


def seq2seq() -> Any:  # the plugin's class
    network = tiny.network(tiny.stack("encoder_decoder"), VOCAB)
    return tiny.objective("seq2seq", network, corruption=tiny.part("objective/corruption", "span"))


def row(n: int) -> TokenRow:
    ids = np.random.default_rng(n).integers(109, 365, n)
    return TokenRow(np.array([VOCAB.bos, *ids, VOCAB.eos]), np.ones(n + 2, np.int64), float(n))


def test_special_tokens_are_no_noise_and_both_sides_end_with_eos() -> None:
    example = seq2seq().example(row(14), rng(0, TRAIN))
    assert example.source[-1] == example.target[-1] == VOCAB.eos
    sentinels = set(VOCAB.sentinels)
    both = [*example.source[:-1], *example.target[:-1]]
    assert sorted(t for t in both if t not in sentinels) == sorted(row(14).tokens[1:-1].tolist())


def test_the_decoder_reads_the_true_target_shifted_by_pad() -> None:
    made = seq2seq()
    examples = [made.example(row(n), rng(0, TRAIN, n)) for n in (14, 5)]
    batch = made.collate(examples)
    for i, example in enumerate(examples):
        n = len(example.target)
        assert batch.targets.inputs.tokens[i, :n].tolist() == [VOCAB.pad, *example.target[:-1]]
        assert batch.targets.ids[i, :n].tolist() == list(example.target)
        assert batch.targets.where[i].int().tolist() == [1] * n + [0] * (
            batch.targets.ids.shape[1] - n
        )
    assert made.count(batch) == sum(len(example.target) for example in examples)


def test_the_loss_is_that_of_transformers_summed() -> None:
    made = seq2seq()
    batch = made.collate([made.example(row(n), rng(0, TRAIN, n)) for n in (14, 5, 9)])
    logits = made.network(batch.targets.inputs)
    labels = batch.targets.ids.masked_fill(~batch.targets.where, -100)
    wanted = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), reduction="sum"
    )
    torch.testing.assert_close(made.loss(batch).total, wanted)


def test_a_text_too_short_to_damage_teaches_its_end_alone() -> None:
    made = seq2seq()
    example = made.example(row(0), rng(0, TRAIN))
    assert (list(example.source), list(example.target)) == ([VOCAB.eos], [VOCAB.eos])
    assert made.count(made.collate([example])) == 1
