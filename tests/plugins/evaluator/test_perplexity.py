"""Every token is predicted once, as in transformers' guide on fixed-length models."""

import math
from pathlib import Path

import evaluations
import parity
import pytest
import tiny
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from etude.config.schema.evaluation import Precision
from etude.evaluation.subject import Subject
from etude.formats.model import read_model
from etude.network.inputs import Inputs
from etude.records import Text

TEXTS = [Text("a"), Text("今天天气很好"), Text("The quick brown fox jumps."), Text("ab" * 40)]


@torch.no_grad()
def strided(network: torch.nn.Module, ids: list[int], size: int, n_context: int) -> float:
    """Nats of all ids but the first, by the loop of the guide: targets before `read` are masked."""
    total, read = 0.0, 1
    for begin in range(0, len(ids), size - n_context):
        end = min(begin + size, len(ids))
        log_p = network(Inputs(torch.tensor([ids[begin:end]]))).log_softmax(-1)[0]
        total -= sum(float(log_p[i - begin - 1, ids[i]]) for i in range(read, end))
        read = end
        if end == len(ids):
            break
    return total


@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.5, 0.9, 0.99])
def test_windows_give_the_nats_of_the_strided_guide(fraction: float) -> None:
    given = evaluations.context(seq_len=8)
    made = evaluations.evaluator("perplexity", given, context_fraction=fraction)
    n_context = min(7, max(1, round(8 * fraction)))
    network, vocab = given.subject.network, tiny.BYTES.vocab
    for text, item in zip(TEXTS, evaluations.items(made, TEXTS), strict=True):
        ids = [vocab.bos, *tiny.BYTES.encode(text.text).tolist()]
        assert item.values["nats"] == pytest.approx(strided(network, ids, 8, n_context), abs=1e-4)
        assert item.values["tokens"] == len(ids) - 1
        assert item.values["bytes"] == len(text.text.encode())


@torch.no_grad()
def test_a_window_that_holds_the_text_gives_its_exact_log_probability() -> None:
    given = evaluations.context(seq_len=128)
    found = evaluations.metrics(evaluations.evaluator("perplexity", given), TEXTS)
    rows = [[tiny.BYTES.vocab.bos, *tiny.BYTES.encode(one.text).tolist()] for one in TEXTS]
    nats = sum(
        float(
            torch.nn.functional.cross_entropy(
                given.subject.network(Inputs(torch.tensor([row[:-1]])))[0],
                torch.tensor(row[1:]),
                reduction="sum",
            )
        )
        for row in rows
    )
    n_tokens = sum(map(len, rows)) - len(rows)
    assert found["nats_per_token"] == pytest.approx(nats / n_tokens, abs=1e-6)
    assert found["perplexity"] == pytest.approx(math.exp(nats / n_tokens), rel=1e-6)


def test_a_longer_context_changes_the_result() -> None:
    def nats(fraction: float) -> float:
        made = evaluations.evaluator("perplexity", context_fraction=fraction)
        return evaluations.metrics(made, TEXTS)["nats_per_token"]

    assert len({nats(fraction) for fraction in (0.0, 0.5, 0.9)}) == 3


@torch.no_grad()
def test_gpt2_has_the_perplexity_of_the_loop_in_the_guide_of_transformers(tmp_path: Path) -> None:
    config = GPT2Config(
        vocab_size=tiny.BYTES.vocab.size, n_embd=16, n_layer=2, n_head=2, n_positions=12
    )
    theirs = parity.save_model(GPT2LMHeadModel(config), tmp_path).double()
    opened = Subject.open(read_model(tmp_path), 3, Precision.float64)
    given = evaluations.context(opened, seq_len=12)
    found = evaluations.metrics(evaluations.evaluator("perplexity", given), TEXTS)
    nats, n_tokens = 0.0, 0
    for text in TEXTS:
        ids = torch.tensor([[tiny.BYTES.vocab.bos, *tiny.BYTES.encode(text.text)]])
        end_before = 0
        for begin in range(
            0, ids.shape[1], 6
        ):  # https://huggingface.co/docs/transformers/perplexity
            end = min(begin + 12, ids.shape[1])
            targets = ids[:, begin:end].clone()
            targets[:, : -(end - end_before)] = -100
            n_valid = int((targets[:, 1:] != -100).sum())
            if n_valid:
                nats += n_valid * float(theirs(ids[:, begin:end], labels=targets).loss)
                n_tokens += n_valid
            end_before = end
            if end == ids.shape[1]:
                break
    assert found["perplexity"] == pytest.approx(math.exp(nats / n_tokens), rel=1e-6)
