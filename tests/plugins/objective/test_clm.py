import math

import numpy as np
import pytest
import tiny
import torch

from etude.data.token_rows import TokenRow
from etude.network.decoding import Greedy
from etude.network.network import Inputs
from etude.plugins.objective.clm import clm_loss

BOS, EOS = tiny.BYTES.vocab.bos, tiny.BYTES.vocab.eos
A, B, C, D = range(200, 204)


def row(tokens: list[int], documents: list[int], n_bytes: float = 4.0) -> TokenRow:
    return TokenRow(np.array(tokens), np.array(documents), n_bytes)


PACKED = row([A, EOS, BOS, B, C, EOS, BOS, D], [1, 1, 2, 2, 2, 2, 3, 3])
SHORT = row([BOS, A, B, EOS], [1, 1, 1, 1], 2.0)


def test_a_packed_row_is_collated_as_written_by_hand() -> None:
    batch = tiny.objective("clm").collate([PACKED, SHORT])
    inputs, targets = batch.targets.inputs, batch.targets
    pad = tiny.BYTES.vocab.pad
    assert inputs.tokens.tolist() == [
        [A, EOS, BOS, B, C, EOS, BOS],
        [BOS, A, B, EOS, pad, pad, pad],
    ]
    assert inputs.documents.tolist() == [[1] * 7, [1, 1, 1, 0, 0, 0, 0]]
    assert targets.ids.tolist() == [[EOS, BOS, B, C, EOS, BOS, D], [A, B, EOS, pad, pad, pad, pad]]
    assert targets.where.int().tolist() == [[1, 0, 1, 1, 1, 0, 1], [1, 1, 1, 0, 0, 0, 0]]
    assert float(batch.n_bytes) == 6.0
    assert tiny.objective("clm").count(batch) == 8


def test_intra_document_numbers_the_documents_of_a_row() -> None:
    made = tiny.objective("clm", tools=tiny.tools(intra_document=True))
    inputs = made.collate([PACKED, SHORT]).targets.inputs
    assert inputs.documents.tolist() == [[1, 1, 2, 2, 2, 2, 3], [1, 1, 1, 0, 0, 0, 0]]
    assert inputs.positions()[0].tolist() == [0, 1, 0, 1, 2, 3, 0]


def test_eos_is_a_target_even_if_it_is_also_bos() -> None:
    """As in GPT-2, which has one special token for both."""
    one = row([EOS, A, EOS, EOS, B, EOS], [1, 1, 1, 2, 2, 2])
    batch = tiny.objective("clm").collate([one])
    assert batch.targets.where[0].int().tolist() == [1, 1, 0, 1, 1]


def test_the_loss_is_the_sum_of_what_transformers_averages() -> None:
    from transformers.loss.loss_utils import ForCausalLMLoss

    made = tiny.objective("clm")
    batch = made.collate([PACKED, SHORT])
    logits = made.network(batch.targets.inputs)
    labels = batch.targets.ids.masked_fill(~batch.targets.where, -100)
    mean = ForCausalLMLoss(logits, None, tiny.BYTES.vocab.size, shift_labels=labels)
    loss = made.loss(batch)
    torch.testing.assert_close(loss.total / made.count(batch), mean.double(), rtol=1e-6, atol=0.0)
    surprise = -logits.log_softmax(-1).gather(-1, batch.targets.ids[..., None])[..., 0]
    torch.testing.assert_close(loss.total, surprise[batch.targets.where].sum())
    assert torch.equal(loss.metrics["nll"], loss.total.detach())


def test_intra_document_packing_has_the_loss_and_gradient_of_separate_documents() -> None:
    made = tiny.objective("clm", tools=tiny.tools(intra_document=True))
    documents = [row([BOS, A, B, EOS], [1] * 4), row([BOS, C, EOS], [1] * 3), row([BOS, D], [1, 1])]
    packed = row([BOS, A, B, EOS, BOS, C, EOS, BOS, D], [1] * 4 + [2] * 3 + [3] * 2)
    together = made.loss(made.collate([packed])).total
    losses = [made.loss(made.collate([document])).total for document in documents]
    alone = torch.stack(losses).sum()
    torch.testing.assert_close(together, alone)
    parameters = list(made.network.parameters())
    for a, b in zip(
        torch.autograd.grad(together, parameters),
        torch.autograd.grad(alone, parameters),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


def test_z_loss_is_the_squared_log_partition_function() -> None:
    logits = torch.randn(5, 7, dtype=torch.float64)
    ids = torch.tensor([0, 6, 3, 3, 1])
    nll, total = clm_loss(logits, ids, 0.01)
    z = logits.exp().sum(-1).log()
    torch.testing.assert_close(nll, (z - logits[range(5), ids]).sum())
    torch.testing.assert_close(total - nll, 0.01 * (z**2).sum())
    assert torch.equal(*clm_loss(logits, ids, 0.0))


def test_reports_perplexity_and_bits_per_byte() -> None:
    means = {"loss": 3.0, "nll": math.log(8), "bytes": 1.5}
    found = tiny.objective("clm").report(means)
    assert found == {
        "loss": 3.0,
        "perplexity": pytest.approx(8.0),
        "bits_per_byte": pytest.approx(3 / 1.5),
    }
    assert math.isfinite(tiny.objective("clm").report(means | {"nll": 1e4})["perplexity"])


def test_a_uniform_prediction_has_log2_of_the_vocabulary_bits_per_token() -> None:
    """Tokens are bytes here; eos is predicted too, and adds no byte."""
    made = tiny.objective("clm")
    with torch.no_grad():
        for parameter in made.network.parameters():
            parameter.zero_()
    batch = made.collate([row([BOS, A, B, EOS], [1] * 4, 2.0)])
    loss, count = made.loss(batch), made.count(batch)
    means = {"loss": float(loss.total.detach()) / count}
    means |= {name: float(value) / count for name, value in loss.metrics.items()}
    bits = made.report(means)["bits_per_byte"]
    assert bits == pytest.approx(3 * math.log2(tiny.BYTES.vocab.size) / 2)


@pytest.mark.parametrize("seq_len", [2, 16, 256])
def test_shown_continuations_fit_in_the_positions_of_the_network(seq_len: int) -> None:
    position = tiny.part("architecture/position", "learned", max_positions=seq_len)
    network = tiny.network(tiny.stack(position=position), tiny.BYTES.vocab)
    made = tiny.objective("clm", network, tools=tiny.tools(seq_len=seq_len, decoding=Greedy()))
    long = row([BOS, *[A] * seq_len], [1] * (seq_len + 1))
    assert len(made.show([long, long])) == 2


def test_a_batch_without_targets_has_no_loss_and_no_gradient() -> None:
    made = tiny.objective("clm")
    batch = made.collate([row([A, BOS], [1, 2])])
    assert made.count(batch) == 0
    total: torch.Tensor = made.loss(batch).total
    assert float(total.detach()) == 0
    total.backward()
    assert all(p.grad is None or not p.grad.any() for p in made.network.parameters())


def test_z_loss_must_not_be_negative() -> None:
    with pytest.raises(ValueError, match=r"z_loss must be 0 or more, got -1\.0"):
        tiny.part("objective", "clm", z_loss=-1.0)


def test_inputs_count_tokens_without_padding() -> None:
    batch = tiny.objective("clm").collate([PACKED, SHORT])
    assert batch.targets.inputs.n_tokens == 10
    assert Inputs(torch.zeros(2, 3).long()).n_tokens == 6
