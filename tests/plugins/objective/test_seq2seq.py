import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from defaults import default
from sacrebleu import sentence_chrf

from etude.config.plugin_files import options
from etude.config.registry import build
from etude.config.schema.measure import Measure
from etude.data.token_rows import TokenRow
from etude.errors import ConfigError
from etude.objective.answer_metrics import average_measures, similarity
from etude.objective.randomness import TRAIN, rng
from etude.plugins.objective.seq2seq import smoothed_loss
from etude.records import Pair

VOCAB = tiny.BYTES.vocab


def seq2seq(corruption: str = "span", **values: Any) -> Any:  # the plugin's class
    network = tiny.network(tiny.stack("encoder_decoder"), VOCAB)
    chosen = default(f"objective/corruption/{corruption}")
    return tiny.objective("seq2seq", network, corruption=chosen, **values)


def row(n: int) -> TokenRow:
    ids = np.random.default_rng(n).integers(109, 365, n)
    return TokenRow(np.array([VOCAB.bos, *ids, VOCAB.eos]), np.ones(n + 2, np.int64), float(n))


def test_special_tokens_are_never_noise_and_both_sides_end_with_eos() -> None:
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


def test_the_loss_is_the_sum_of_what_transformers_averages() -> None:
    made = seq2seq()
    batch = made.collate([made.example(row(n), rng(0, TRAIN, n)) for n in (14, 5, 9)])
    logits = made.network(batch.targets.inputs)
    labels = batch.targets.ids.masked_fill(~batch.targets.where, -100)
    wanted = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), reduction="sum"
    )
    torch.testing.assert_close(made.loss(batch).total, wanted)


def test_a_text_too_short_to_corrupt_has_only_eos_as_target() -> None:
    made = seq2seq()
    example = made.example(row(0), rng(0, TRAIN))
    assert (list(example.source), list(example.target)) == ([VOCAB.eos], [VOCAB.eos])
    assert made.count(made.collate([example])) == 1


@pytest.mark.parametrize("corruption", options("objective/corruption"))
@pytest.mark.parametrize("n", [0, 1, 2, 3, 14])
def test_every_corruption_fits_in_a_row_and_depends_only_on_its_key(
    corruption: str, n: int
) -> None:
    made = seq2seq(corruption)
    for seed in range(20):
        example = made.example(row(n), rng(seed, TRAIN))
        again = made.example(row(n), rng(seed, TRAIN))
        assert (example.source, example.target) == (again.source, again.target)
        assert max(len(example.source), len(example.target)) <= 16
        assert set(example.source) & VOCAB.special <= {VOCAB.eos, VOCAB.mask, *VOCAB.sentinels}
        assert example.source[-1] == example.target[-1] == VOCAB.eos
    blank = TokenRow(np.array([VOCAB.bos, VOCAB.eos] * n, np.int64), np.ones(2 * n, np.int64), 0.0)
    example = made.example(blank, rng(0, TRAIN))
    assert (list(example.source), list(example.target)) == ([VOCAB.eos], [VOCAB.eos])


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_label_smoothing_is_that_of_torch_and_does_not_change_nll(smoothing: float) -> None:
    made = seq2seq(label_smoothing=smoothing)
    batch = made.collate([made.example(row(n), rng(0, TRAIN, n)) for n in (14, 5, 9)])
    where = batch.targets.where
    logits, ids = made.network(batch.targets.inputs)[where], batch.targets.ids[where]
    wanted = torch.nn.functional.cross_entropy(
        logits, ids, label_smoothing=smoothing, reduction="sum"
    )
    loss, plain = made.loss(batch), seq2seq().loss(batch)
    torch.testing.assert_close(loss.total, wanted)
    torch.testing.assert_close(loss.metrics["nll"], plain.total.detach())


def test_the_smoothed_loss_is_minimal_at_the_smoothed_labels() -> None:
    n, smoothing = 5, 0.2
    best = torch.full((n,), smoothing / n, dtype=torch.float64)
    best[2] += 1 - smoothing
    nll, total = smoothed_loss(best.log()[None], torch.tensor([2]), smoothing)
    torch.testing.assert_close(total, -(best * best.log()).sum())
    torch.testing.assert_close(nll, -best[2].log())


def test_perplexity_is_computed_from_the_unsmoothed_nll() -> None:
    found = seq2seq().report({"loss": 3.0, "nll": math.log(8)})
    assert found == {"loss": 3.0, "nll": math.log(8), "perplexity": pytest.approx(8.0)}
    assert math.isfinite(seq2seq().report({"loss": 1.0, "nll": 1e4})["perplexity"])


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_smoothing_outside_its_range_is_refused(smoothing: float) -> None:
    with pytest.raises(ValueError, match=r"label_smoothing must be in \[0, 1\), got"):
        seq2seq(label_smoothing=smoothing)


@pytest.mark.parametrize("corruption", ["span", "infilling"])
def test_packed_rows_need_no_padding_after_corruption(corruption: str, tmp_path: Path) -> None:
    config = tiny.experiment(
        "seq2seq", tmp_path, corruption=default(f"objective/corruption/{corruption}")
    )
    made = tiny.training_parts(config)
    rows = made.validation.samples
    room = build(config.objective.corruption, tiny.BYTES).raw_length(16)  # type: ignore[attr-defined]
    assert {len(rows[i].tokens) for i in range(len(rows) - 1)} == {room}
    assert not np.isin(
        np.concatenate([rows[i].tokens for i in range(4)]), list(VOCAB.special)
    ).any()
    batch = made.objective.collate([made.objective.example(rows[i], rng(0, i)) for i in range(8)])
    side = batch.targets.inputs.source if corruption == "span" else batch.targets.inputs
    assert side.documents is None
    assert side.tokens.shape == (8, 16)


def test_pairs_need_no_sentinels_and_long_rows_are_refused_without_them(tmp_path: Path) -> None:
    config = tiny.experiment("seq2seq", tmp_path)
    long = replace(config, data=replace(config.data, seq_len=4096))
    with pytest.raises(ConfigError, match=r"needs 227 sentinels.* has 100"):
        tiny.training_parts(long)
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(f'{{"source": "{i}", "target": "b{i}"}}\n' for i in range(20)))
    pairs = tiny.part("data", "jsonl_pairs", path=str(file), seq_len=4096)
    assert tiny.training_parts(replace(config, data=pairs)).plan.steps == 5


def test_a_pair_is_used_uncorrupted() -> None:
    made = seq2seq()
    example = made.example(Pair("ab", "c <eos>"), rng(0, TRAIN))
    assert example.source == [*tiny.BYTES.encode("ab").tolist(), VOCAB.eos]
    assert example.target == [*tiny.BYTES.encode("c <eos>").tolist(), VOCAB.eos]
    assert example.n_bytes == 7


def test_a_long_pair_is_truncated_and_counted() -> None:
    made = seq2seq()
    made.tools = tiny.tools(seq_len=4)
    pairs = [Pair("abcdef", "gh"), Pair("a", "b"), Pair("abc", "defg")]
    assert made.select_samples(pairs) == pairs
    assert made.lost == {"sources truncated": 1, "targets truncated": 1}
    example = made.example(pairs[0], rng(0, TRAIN))
    assert tiny.BYTES.decode(example.source) == "abcd"


def test_a_corruption_is_refused_for_pairs_because_it_has_no_effect() -> None:
    assert seq2seq().select_samples([Pair("a", "b")]) == [Pair("a", "b")]
    heavier = default("objective/corruption/span", noise_density=0.5)
    network = tiny.network(tiny.stack("encoder_decoder"), VOCAB)
    for made in (seq2seq("bart"), tiny.objective("seq2seq", network, corruption=heavier)):
        with pytest.raises(ConfigError, match="has no effect: pairs are not corrupted"):
            made.select_samples([Pair("a", "b")])


@pytest.mark.slow
def test_memorised_pairs_are_generated_correctly(tmp_path: Path) -> None:
    config = tiny.experiment("seq2seq", tmp_path, trainer={"max_steps": 150, "precision": "32"})
    config = replace(
        config,
        architecture=tiny.stack("encoder_decoder", dim=64, n_layers=1, position="rope"),
        data=tiny.part("data", "arithmetic", digits=1, n_problems=20, seq_len=16),
        optimizer=tiny.part("optimizer", "adamw", lr=1e-2),
    )
    made = tiny.training_parts(config)
    tiny.fit(config, made, tmp_path / "run")
    seen = replace(made.validation, samples=made.train, n_samples=16)
    measured = seen.measure(made.objective)
    assert measured["val/exact_match"] > 0.9
    assert measured["val/perplexity"] == pytest.approx(math.exp(measured["val/nll"]))
    assert "[...]" in made.objective.eval().show([made.train[0]])[0]


def test_measures_agree_with_their_libraries() -> None:
    answer, reference = "the cat sat on a mat", "the cats sit on the mat"
    assert similarity(Measure.exact_match)(answer, reference) == 0
    assert similarity(Measure.exact_match)(reference, reference) == 1
    assert (
        similarity(Measure.chrf)(answer, reference)
        == sentence_chrf(answer, [reference]).score / 100
    )
    # Stemmed: the cat[s] _ on _ mat, four in order, of six words on both sides.
    assert similarity(Measure.rouge_l)(answer, reference) == pytest.approx(4 / 6)


def test_measures_are_means_over_prompts() -> None:
    means = {"loss": 2.0, "n_prompts": 0.5, "exact_match": 0.25, "chrf": 0.375}
    measures = [Measure.exact_match, Measure.chrf]
    assert average_measures(means, measures) == {"loss": 2.0, "exact_match": 0.5, "chrf": 0.75}
