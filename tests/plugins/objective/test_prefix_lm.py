import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from defaults import default

from etude.cli.main import main
from etude.config.registry import build
from etude.data.token_rows import TokenRow
from etude.network.inputs import Inputs
from etude.objective.randomness import TRAIN, rng
from etude.plugins.objective.prefix_lm import split_text

VOCAB = tiny.BYTES.vocab
BOS, EOS = VOCAB.bos, VOCAB.eos
FAMILIES = ["decoder_only", "encoder_decoder"]


def prefix_lm(family: str = "decoder_only", seq_len: int = 16) -> Any:  # the plugin's class
    config = tiny.stack(family)
    given = tiny.tools(architecture=config, seq_len=seq_len)
    return tiny.objective("prefix_lm", tiny.network(config, VOCAB), tools=given)


def row(*documents: list[int]) -> TokenRow:
    ids = np.array([token for document in documents for token in document])
    numbers = np.repeat(np.arange(1, len(documents) + 1), list(map(len, documents)))
    return TokenRow(ids, numbers, 0.0)


def text(n: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(109, 365, n).tolist()


def test_all_cuts_are_equally_likely_and_the_rest_is_not_empty() -> None:
    whole = text(8)
    places = np.zeros(8)
    for seed in range(4000):
        before, after = split_text(whole, np.random.default_rng(seed))
        assert [*before, *after] == whole
        places[len(before)] += 1
    assert ((places - 500) ** 2 / 500).sum() < 24.3  # chi-square, 7 degrees, p = 0.001
    assert split_text([], np.random.default_rng(0)) == ([], [])


@pytest.mark.parametrize("family", FAMILIES)
def test_each_document_is_a_text_and_eos_is_a_target_where_it_ends(family: str) -> None:
    first, second = text(6), text(7, 1)
    example = prefix_lm(family).example(row([*first, EOS], [BOS, *second]), rng(0, TRAIN))
    whole = [[token for token in (*a, *b) if token not in (BOS, EOS)] for a, b in example.pairs]
    assert whole == [first, second]
    assert [after[-1] == EOS for _, after in example.pairs] == [True, False]
    ends = {"decoder_only": (0, BOS), "encoder_decoder": (-1, EOS)}[family]
    assert all(before[ends[0]] == ends[1] for before, _ in example.pairs)
    spelled = [tiny.BYTES.decode(after).encode() for _, after in example.pairs]
    n_text = sum(token != EOS for _, after in example.pairs for token in after)
    assert example.n_bytes == n_text  # a token of this tokenizer is a byte
    assert len(spelled) == 2


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("n", [14, 15, 16, 17])
def test_no_sequence_is_longer_than_seq_len(family: str, n: int) -> None:
    made = prefix_lm(family)
    for ids in ([BOS, *text(n)][:17], [BOS, *text(n)[:15], EOS], text(n)):
        example = made.example(row(ids), rng(0, TRAIN))
        inputs = made.collate([example]).targets.inputs
        assert inputs.tokens.shape[1] <= 16
        assert inputs.source is None or inputs.source.tokens.shape[1] <= 16


def test_the_loss_is_the_nll_of_the_rest_given_a_bidirectional_prefix() -> None:
    """Against one text at a time, without padding, and with an attention mask built by hand."""
    made = prefix_lm()
    examples = [made.example(row([BOS, *text(n, n), EOS]), rng(0, TRAIN, n)) for n in (14, 3, 9)]
    batch, wanted, n = made.collate(examples), torch.zeros((), dtype=torch.float64), 0
    for before, after in (pair for example in examples for pair in example.pairs):
        ids = torch.tensor([[*before, *after]])
        prefix = torch.arange(ids.shape[1] - 1)[None] < len(before)
        log_prob = made.network(Inputs(ids[:, :-1], prefix=prefix)).log_softmax(-1)
        due = ids[0, len(before) :]
        wanted -= log_prob[0, len(before) - 1 :].gather(-1, due[:, None]).sum()
        n += len(due)
    tiny.assert_close(made.loss(batch).total, wanted)
    assert made.count(batch) == n


def test_the_prefix_attends_to_itself_in_both_directions_and_not_to_the_rest() -> None:
    made = prefix_lm()
    targets = made.network.answer([([BOS, *text(5)], text(4, 1))], whole=True)
    states = made.network.states(targets.inputs)
    for place, changes in ((5, True), (6, False)):
        other = targets.inputs.tokens.clone()
        other[0, place] = 109 + (other[0, place] - 108) % 200
        moved = made.network.states(Inputs(other, prefix=targets.inputs.prefix))
        assert bool((moved[0, 0] != states[0, 0]).any()) == changes


@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_without_text_has_no_loss(family: str) -> None:
    made = prefix_lm(family)
    batch = made.collate([made.example(row([EOS], [BOS]), rng(0, TRAIN))])
    assert made.count(batch) == 0
    assert made.loss(batch).total == 0


def test_bits_are_counted_over_the_bytes_of_the_rest() -> None:
    made = prefix_lm()
    batch = made.collate([made.example(row([BOS, *text(9)]), rng(0, TRAIN))])
    with torch.no_grad():
        loss = made.loss(batch)
    count = made.count(batch)
    report = made.report({"loss": loss.total.item() / count, "bytes": float(batch.n_bytes) / count})
    assert report["rest_bits_per_byte"] == pytest.approx(loss.total.item() / math.log(2) / count)
    assert report["perplexity"] == pytest.approx(math.exp(report["loss"]))
    assert math.isnan(made.report({"loss": 1.0, "bytes": 0.0})["rest_bits_per_byte"])


def test_intra_document_is_refused_because_it_has_no_effect() -> None:
    config = tiny.stack()
    with pytest.raises(ValueError, match=r"data\.intra_document has no effect"):
        build(
            default("objective/prefix_lm"),
            tiny.network(config, VOCAB),
            tiny.tools(intra_document=True),
        )


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["llama", "t5"])
def test_a_run_answers_a_prompt(
    architecture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = (
        "debug=fast", "objective=prefix_lm", f"architecture={architecture}",
        f"run={tmp_path / 'run'}", "trainer.accelerator=cpu", "logger=[]",
    )  # fmt: skip
    assert main(["train", *given]) == 0
    capsys.readouterr()
    assert main(["generate", f"run={tmp_path / 'run'}", "prompt=The", "max_new_tokens=4"]) == 0
    assert capsys.readouterr().out
