"""UL2: the same corrupted texts for decoders, as a prefix, and for encoder-decoders."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
import torch.nn.functional as F

from etude.data.token_rows import TokenRow
from etude.network.inputs import Inputs
from etude.objective.randomness import TRAIN, rng

SEQ_LEN = 32


def objective(family: str, corruption: str = "ul2") -> Any:  # the plugin's class
    config = tiny.stack(family)
    context = tiny.tools(seq_len=SEQ_LEN, architecture=config)
    made = tiny.network(config, vocab=tiny.BYTES.vocab)
    part = tiny.part("objective/corruption", corruption)
    return tiny.objective("ul2", made, tools=context, corruption=part)


def row(made: Any, seed: int = 0) -> TokenRow:
    tokens = tiny.tokens(1, made.n_raw_tokens, seed=seed, vocab=tiny.BYTES.vocab)[0].numpy()
    return TokenRow(tokens, np.ones(len(tokens), np.int64), float(len(tokens)))


def pair(made: Any, seed: int = 0) -> tuple[list[int], list[int]]:
    return made.example(row(made, seed), rng(0, TRAIN, 0, seed))[0]


def test_a_decoder_predicts_the_target_after_a_prefix_that_it_reads_as_a_whole() -> None:
    made = objective("decoder_only")
    source, target = pair(made)
    loss = made.loss(made.collate([((source, target), 1.0)])).total
    ids = torch.tensor([[*source, *target]])
    prefix = torch.arange(ids.shape[1] - 1)[None] < len(source)
    logits = made.network(Inputs(ids[:, :-1], prefix=prefix))[0, len(source) - 1 :]
    tiny.assert_close(loss, F.cross_entropy(logits, torch.tensor(target), reduction="sum"))


def test_an_encoder_decoder_predicts_the_target_from_its_source() -> None:
    made = objective("encoder_decoder")
    source, target = pair(made)
    loss = made.loss(made.collate([((source, target), 1.0)])).total
    start = torch.tensor([[made.network.start, *target[:-1]]])
    logits = made.network(Inputs(start, source=Inputs(torch.tensor([source]))))[0]
    tiny.assert_close(loss, F.cross_entropy(logits, torch.tensor(target), reduction="sum"))


@pytest.mark.parametrize("family", ["decoder_only", "encoder_decoder"])
@pytest.mark.parametrize("corruption", ["ul2", "span", "bart"])
def test_rows_fit_the_network_with_any_corruption(family: str, corruption: str) -> None:
    made = objective(family, corruption)
    for seed in range(30):
        source, target = pair(made, seed)
        assert target[-1] == tiny.BYTES.vocab.eos
        if family == "decoder_only":
            assert len(source) + len(target) <= SEQ_LEN + 1
        else:
            assert max(len(source), len(target)) <= SEQ_LEN


def test_noise_depends_on_the_key_of_the_sample_alone() -> None:
    made = objective("decoder_only")
    sample = row(made)
    assert made.example(sample, rng(0, TRAIN, 0, 1)) == made.example(sample, rng(0, TRAIN, 0, 1))
    different = {str(made.example(sample, rng(0, TRAIN, 0, i))) for i in range(8)}
    assert len(different) > 4


def test_a_run_learns_from_denoising_and_its_prompt_is_bidirectional(tmp_path: Path) -> None:
    from etude.config.registry import plugin_of

    config = tiny.experiment("ul2", tmp_path, trainer={"max_steps": 3})
    lines = tiny.fit(config, tiny.training_parts(config), tmp_path / "run")
    assert lines[-1]["val/loss"] < lines[0]["loss"]
    assert plugin_of(config.objective).declaration.whole_prompt


def test_shown_texts_begin_with_their_corrupted_source() -> None:
    made = objective("decoder_only")
    (shown,) = made.show([row(made)])
    assert "<sentinel_" in shown
    assert "[...]" in shown


def test_attention_within_documents_is_refused() -> None:
    with pytest.raises(ValueError, match=r"data\.intra_document has no effect"):
        tiny.objective("ul2", tools=tiny.tools(intra_document=True))
