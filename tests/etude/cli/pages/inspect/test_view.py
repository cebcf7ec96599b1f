"""What is shown of a sample is what its batch holds."""

from dataclasses import dataclass

import tiny
import torch
from torch import Tensor

from etude.cli.pages.inspect.panels import panel_counts
from etude.cli.pages.inspect.view import Role, Sample, rows_of
from etude.network.inputs import Inputs, Targets

VOCAB = tiny.BYTES.vocab
A, B = VOCAB.sentinels[:2]


def ids(text: str) -> list[int]:
    return tiny.BYTES.encode(text).tolist()


@dataclass
class Batch:
    """A batch with a mask of its tokens, and a number for each target."""

    targets: Targets
    is_text: Tensor
    weight: Tensor


def seq2seq(source: list[int], target: list[int]) -> Targets:
    inputs = Inputs(
        torch.tensor([[VOCAB.pad, *target[:-1]]]), source=Inputs(torch.tensor([source]))
    )
    return Targets(inputs, torch.tensor([target]), torch.ones(1, len(target)) > 0)


def shown(targets: Targets, **numbers: Tensor) -> Sample:
    n = int(targets.where.sum())
    batch = Batch(targets, targets.ids > 0, torch.arange(n).double())
    return Sample("one", float(n), *rows_of(batch, tiny.BYTES, numbers), [])


def test_each_sentinel_of_the_source_is_matched_with_its_span_of_the_target() -> None:
    source = [*ids("a"), A, *ids("c"), B, VOCAB.sentinels[2]]
    target = [A, *ids("xy"), B, VOCAB.eos]
    _, row = shown(seq2seq(source, target)).rows
    assert list(row.spans.values()) == ["xy", "", None]
    assert [cell.role for cell in row.cells][1] is Role.sentinel


def test_without_a_source_the_tokens_before_the_first_target_ask_for_the_spans() -> None:
    tokens = [*ids("a"), A, *ids("b"), A, *ids("xy"), VOCAB.eos]
    where = torch.tensor([[False, False, True, True, True, True]])
    targets = Targets(Inputs(torch.tensor([tokens[:-1]])), torch.tensor([tokens[1:]]), where)
    (row,) = shown(targets).rows
    assert list(row.spans.values()) == ["xy"]


def test_a_text_without_matching_sentinels_has_no_spans() -> None:
    assert all(not row.spans for row in shown(seq2seq(ids("ab"), ids("cd"))).rows)


def test_a_mask_marks_tokens_and_a_number_per_target_is_shown_at_its_target() -> None:
    tokens = torch.tensor([ids("abcd")])
    where = torch.tensor([[False, True, False, True]])
    sample = shown(Targets(Inputs(tokens), tokens, where), kl=torch.tensor([0.5, -1.5]))
    (row,) = sample.rows
    numbers = [dict(cell.numbers) for cell in row.cells]
    assert numbers == [{}, {"weight": 0, "kl": 0.5}, {}, {"weight": 1, "kl": -1.5}]
    assert all(cell.marks == ["is_text"] for cell in row.cells)
    assert not sample.values


def test_positions_restart_with_each_document_and_padding_is_left_out() -> None:
    tokens = torch.tensor([ids("abcd")])
    inputs = Inputs(tokens, torch.tensor([[1, 1, 2, 0]]))
    (row,) = shown(Targets(inputs, tokens, torch.zeros(1, 4) > 0)).rows
    assert [(cell.document, cell.position) for cell in row.cells] == [(1, 0), (1, 1), (2, 0)]
    assert row.n_padding == 1
    assert row.n_trained == 0


def test_counts_add_up_over_micro_batches() -> None:
    tokens = torch.tensor([ids("abcd")])
    inputs = Inputs(tokens, torch.tensor([[1, 1, 1, 0]]))
    batch = Batch(Targets(inputs, tokens, tokens > 0), tokens < 0, torch.zeros(4))
    counts = panel_counts([batch, batch])["targets"]
    assert (counts.rows, counts.tokens, counts.trained, counts.padding) == (2, 6, 8, 2)
    assert counts.marks == {"is_text": 0}
    assert counts.padding_share == "25.0%"
