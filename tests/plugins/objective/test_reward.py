import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor

from etude.errors import DataError
from etude.network.inputs import Inputs, last_real, pad_left, pad_right
from etude.network.stack import Stack, StackNetwork
from etude.objective.randomness import TRAIN, rng
from etude.plugins.objective.reward import RewardExample, pairs_of
from etude.records import Feedback, Preference, Ranking, Record
from etude.rl.reward_model import ScoreHead, pair_sums, prompt_sums, rating_sums, score_metrics

FAMILIES = ["decoder_only", "encoder_only", "encoder_decoder"]
RECORDS: list[Preference | Ranking] = [
    Preference("ab", "c", "ddd", margin=0.5, probability=0.75),
    Ranking("x", ("a", "bb", "cccc")),
    Preference("efgh", "ii", "j"),
]
RATED = [Feedback("ab", "c", 1.0), Feedback("d", "ef", -0.5), Feedback("g", "h", 3.0)]


def reward(family: str = "decoder_only", **values: Any) -> Any:  # the plugin's class
    """An objective with a random head, over a byte-level network."""
    config = tiny.stack(family, n_segments=2)
    made = tiny.objective(
        "reward",
        tiny.network(config, vocab=tiny.BYTES.vocab),
        tools=tiny.tools(architecture=config),
        **values,
    ).double()
    with torch.no_grad():
        made.head.weight.normal_(generator=torch.Generator().manual_seed(1))
        made.head.bias.fill_(0.3)
    return made


def batch_of(made: Any, records: Sequence[Record]) -> Any:  # the plugin's class
    return made.collate([made.example(record, rng(0, TRAIN)) for record in records])


def alone(made: Any, prompt: str, completion: str, family: str) -> Tensor:
    """The score of one completion, collated by hand."""
    vocab, encode = tiny.BYTES.vocab, tiny.BYTES.encode
    before, after = [vocab.bos, *encode(prompt).tolist()], [*encode(completion).tolist(), vocab.eos]
    if family == "encoder_decoder":
        source = Inputs(torch.tensor([before]))
        inputs, place = Inputs(torch.tensor([[vocab.pad, *after]]), source=source), -1
    elif family == "encoder_only":
        kinds = [0] * (len(before) + 1) + [1] * len(after)
        inputs, place = Inputs(torch.tensor([[*before, vocab.eos, *after]])), 0
        inputs.segments = torch.tensor([kinds])
    else:
        inputs, place = Inputs(torch.tensor([before + after])), -1
    state = made.network.states(inputs)[0, place]
    return (made.head.weight[0] * state).sum() + made.head.bias[0]


def losses_of(r_w: float, r_l: float, eta: float = 0.0, **values: float) -> float:
    """The loss of one pair with these scores."""
    made = tiny.objective("reward", eta=eta).double()
    record = Preference("p", "a", "b", **values)
    batch = batch_of(made, [record])
    return float(made.score_loss(torch.tensor([r_w, r_l], dtype=torch.float64), batch).total)


def test_golden_values() -> None:
    assert losses_of(1.0, 0.2) == pytest.approx(0.371101, abs=1e-6)
    assert losses_of(1.0, 0.2, margin=0.5) == pytest.approx(0.554355, abs=1e-6)
    assert losses_of(1.0, 0.2, eta=0.01) == pytest.approx(0.385501, abs=1e-6)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)], ids=str
)
def test_a_thousand_random_cases_agree_with_the_formula(
    dtype: torch.dtype, tolerance: float
) -> None:
    draw = np.random.default_rng(0)
    n, eta = 1000, 0.01
    made = tiny.objective("reward", eta=eta, margin=0.2).to(dtype)
    better, worse, margin = draw.normal(0, 2, (3, n)).astype(np.float32).astype(np.float64)
    margin, probability = abs(margin), draw.uniform(0.5, 1, n)
    records = [
        Preference("p", "a", "b", float(m), float(p))
        for m, p in zip(margin, probability, strict=True)
    ]
    scores = torch.from_numpy(np.stack((better, worse), 1).ravel()).to(dtype)
    found = float(made.score_loss(scores, batch_of(made, records)).total)
    d = better - worse - margin - 0.2
    wanted = probability * np.log1p(np.exp(-d)) + (1 - probability) * np.log1p(np.exp(d))
    wanted = wanted + eta * (better + worse) ** 2
    assert found / n == pytest.approx(wanted.mean(), rel=tolerance)


def test_a_thousand_random_cases_agree_with_trl() -> None:
    trainer = pytest.importorskip("trl.trainer.reward_trainer").RewardTrainer
    from collections import defaultdict

    torch.manual_seed(0)
    better, worse, margin = torch.randn(3, 1000, dtype=torch.float64).unbind()
    margin = margin.abs()
    logits = torch.cat((better, worse))[:, None]
    model = lambda **given: SimpleNamespace(logits=logits)  # noqa: E731
    stand_in = SimpleNamespace(
        model=SimpleNamespace(training=False),
        args=SimpleNamespace(center_rewards_coefficient=0.01),
        accelerator=SimpleNamespace(gather=lambda x: x, gather_for_metrics=lambda x: x),
        _metrics={"eval": defaultdict(list)},
        _total_train_tokens=0,
    )
    wanted = trainer.compute_loss(stand_in, model, {"margin": margin})
    made = tiny.objective("reward", eta=0.01).double()
    batch = batch_of(made, [Preference("p", "a", "b", float(m)) for m in margin])
    loss = made.score_loss(torch.stack((better, worse), 1).flatten(), batch)
    logged = {name: values[0] for name, values in stand_in._metrics["eval"].items()}
    found = score_metrics({name: float(value) / 1000 for name, value in loss.metrics.items()})
    assert float(loss.total) / 1000 == pytest.approx(float(wanted), rel=1e-12)
    for ours, theirs in (
        ("accuracy", "accuracy"),
        ("margin", "margin"),
        ("reward_mean", "mean_reward"),
    ):
        assert found[ours] == pytest.approx(logged[theirs], rel=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_of_an_untrained_head_is_ln_2_per_prompt(family: str) -> None:
    config = tiny.stack(family)
    network = tiny.network(config, vocab=tiny.BYTES.vocab)
    made = tiny.objective("reward", network, tools=tiny.tools(architecture=config)).double()
    batch = batch_of(made, [RECORDS[1], RECORDS[2]])
    assert made.count(batch) == 2
    assert float(made.loss(batch).total.detach()) == pytest.approx(2 * math.log(2), abs=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_the_loss_is_that_of_scores_computed_one_by_one(family: str) -> None:
    """So neither padding, other rows nor a pad token equal to eos changes a score."""
    made = reward(family, margin=0.1, eta=0.01)
    wanted = torch.zeros((), dtype=torch.float64)
    for record in RECORDS:
        texts = (
            record.completions if isinstance(record, Ranking) else (record.chosen, record.rejected)
        )
        scores = [alone(made, record.prompt, text, family) for text in texts]  # type: ignore[arg-type]
        margin = getattr(record, "margin", 0.0) + 0.1
        probability = getattr(record, "probability", 1.0)
        pairs = [(a, b) for i, a in enumerate(scores) for b in scores[i + 1 :]]
        wanted += sum(
            -probability * (a - b - margin).sigmoid().log()
            - (1 - probability) * (b - a + margin).sigmoid().log()
            + 0.01 * (a + b) ** 2
            for a, b in pairs
        ) / len(pairs)  # fmt: skip
    loss = made.loss(batch_of(made, RECORDS))
    tiny.assert_close(loss.total, wanted)
    wanted = sum((alone(made, r.prompt, r.completion, family) - r.score) ** 2 for r in RATED)  # type: ignore[arg-type]
    tiny.assert_close(made.loss(batch_of(made, RATED)).total, torch.as_tensor(wanted))


@torch.no_grad()
def test_the_last_token_is_found_with_padding_on_either_side_even_if_pad_is_eos() -> None:
    network = tiny.network()
    eos = tiny.VOCAB.eos
    rows = [[2, 20, 21, eos], [2, 30, eos, eos], [2, eos]]
    found: list[Tensor] = []
    for padded in (pad_right(rows, eos), pad_left(rows, eos)):
        where = last_real(padded)
        assert where.sum(dim=1).tolist() == [1, 1, 1]
        found.append(network.states(padded)[where])
    wanted = [network.states(Inputs(torch.tensor([row])))[0, -1] for row in rows]
    for states in found:
        tiny.assert_close(states, torch.stack(wanted))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_gradient_agrees_with_finite_differences(family: str) -> None:
    made = reward(family, eta=0.05)
    batch = batch_of(made, RECORDS)
    made.loss(batch).total.backward()
    step = 1e-6
    for parameter in (made.head.weight, made.head.bias, made.network.embedding.weight):
        place = int(parameter.grad.abs().argmax())
        flat, slope = parameter.data.view(-1), float(parameter.grad.view(-1)[place])
        sides = []
        for sign in (1, -2):
            flat[place] += sign * step
            sides.append(float(made.loss(batch).total.detach()))
        assert (sides[0] - sides[1]) / (2 * step) == pytest.approx(slope, rel=1e-5)


def test_the_language_model_head_is_frozen() -> None:
    made = tiny.objective("reward", tiny.network(tiny.stack(tie=False), vocab=tiny.BYTES.vocab))
    trained = {name for name, p in made.named_parameters() if p.requires_grad}
    assert {"head.weight", "head.bias", "network.embedding.weight"} <= trained
    assert not any(name.startswith("network.head") for name in trained)


def test_a_ranking_is_all_its_pairs_with_the_weight_of_one_pair() -> None:
    examples = [RewardExample([2], [[20, 3], [21, 3]], 0.5, 0.8)]
    examples += [RewardExample([2], [[20, 3], [21, 3], [22, 3], [23, 3]])]
    pairs = pairs_of(examples)
    assert list(zip(pairs.better.tolist(), pairs.worse.tolist(), strict=True)) == [
        (0, 1), (2, 3), (2, 4), (2, 5), (3, 4), (3, 5), (4, 5)
    ]  # fmt: skip
    assert pairs.weight.tolist() == pytest.approx([1, *[1 / 6] * 6])
    assert pairs.margin.tolist() == [0.5, *[0] * 6]
    assert pairs.probability.tolist() == [0.8, *[1] * 6]


def test_long_records_and_duplicate_completions_are_dropped_and_counted() -> None:
    made = tiny.objective("reward", tools=tiny.tools(seq_len=8))
    kept = Preference("abc", "abc", "a")  # bos, three, three, eos
    records = [kept, Preference("abc", "abcd", "a"), Preference("abc", "a", "abcd")]
    left = made.select_samples([*records, Preference("a", "b", "b")])
    assert [left[i] for i in range(len(left))] == [kept]
    assert made.lost == {
        "longer than data.seq_len=8": 2,
        "two completions have the same tokens": 1,
    }
    with pytest.raises(DataError, match="No sample is left"):
        made.select_samples(records[1:])


@pytest.mark.parametrize(("family", "n"), [("decoder_only", 8), ("encoder_only", 9)])
def test_the_length_limit_applies_to_the_input_of_each_family(family: str, n: int) -> None:
    network = tiny.network(tiny.stack(family), vocab=tiny.BYTES.vocab)
    for seq_len, fits in ((n, True), (n - 1, False)):
        made = tiny.objective("reward", network, tools=tiny.tools(seq_len=seq_len))
        assert (made.drop_reason(Preference("abc", "abc", "a")) is None) == fits


def test_dropout_is_that_of_the_objective(tmp_path: Path) -> None:
    for given, wanted in ((0.0, 0.0), (0.25, 0.25)):
        config = tiny.experiment("reward", tmp_path, dropout=0.5)
        config = replace(config, objective=tiny.part("objective", "reward", dropout=given))
        network = tiny.training_parts(config).objective.network
        assert isinstance(network, StackNetwork)
        assert isinstance(network.stack, Stack)
        assert network.stack.dropout.p == wanted


def test_scores_are_fp32_under_autocast() -> None:
    head = ScoreHead(8)
    with torch.no_grad():
        head.weight.normal_()
    states = torch.randn(64, 8)
    with torch.autocast("cpu", torch.bfloat16):
        found = head(states)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, states @ head.weight[0] + head.bias, rtol=0, atol=1e-6)


def pair_metrics(
    difference: Sequence[float], longer: Sequence[float], **more: Any
) -> dict[str, float]:
    n = len(difference)
    by, more_tokens = (torch.tensor(x, dtype=torch.float64) for x in (difference, longer))
    probability = torch.tensor(more.get("probability", [1.0] * n), dtype=torch.float64)
    sums = pair_sums(by, more_tokens, probability, torch.ones(n, dtype=torch.float64))
    return score_metrics(
        {"reward_mean": 0.0, "_square": 0.0} | {k: float(v) / n for k, v in sums.items()}
    )


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    logit = math.log(0.78 / 0.22)
    assert pair_metrics([logit] * 50, [0.0] * 50)["calibration_error"] == pytest.approx(0.22)
    mixed = pair_metrics([logit] * 39 + [-logit] * 11, [0.0] * 50)
    assert mixed["calibration_error"] == pytest.approx(0.0, abs=1e-12)
    assert mixed["accuracy"] == pytest.approx(0.78)
    two = pair_metrics([logit, -logit, 10.0, -10.0], [0.0] * 4)  # one bin is 0.28 off, one 0.5
    assert two["calibration_error"] == pytest.approx(
        (0.28 + float(torch.tensor(10.0).sigmoid()) - 0.5) / 2
    )
    soft = pair_metrics([logit], [0.0], probability=[0.78])
    assert (soft["accuracy"], soft["calibration_error"]) == pytest.approx((0.78, 0.0), abs=1e-12)
    tie = pair_metrics([0.0], [1.0])
    assert (tie["accuracy"], tie["calibration_error"], tie["length_bias"]) == (0.5, 0.0, 0.0)


def test_calibration_error_agrees_with_bins_counted_one_by_one() -> None:
    d = np.random.default_rng(0).normal(0.2, 1, 60)  # few, so that bins err in both directions
    confidence, right = 1 / (1 + np.exp(-abs(d))), d > 0
    wanted = sum(
        inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
        for low in np.arange(10) / 20 + 0.5
        if (inside := (confidence >= low) & (confidence < low + 0.05)).any()
    )
    assert pair_metrics(d.tolist(), [0.0] * 60)["calibration_error"] == pytest.approx(
        wanted, abs=1e-9
    )


def test_length_bias_is_the_correlation_over_pairs_in_both_orders() -> None:
    draw = np.random.default_rng(0)
    longer = draw.integers(-9, 9, 200).astype(float)
    d = 0.3 * longer + draw.normal(0, 1, 200)
    both = np.corrcoef([*d, *-d], [*longer, *-longer])[0, 1]
    assert pair_metrics(d.tolist(), longer.tolist())["length_bias"] == pytest.approx(
        both, abs=1e-12
    )
    assert pair_metrics([2.0, -1.0], [2.0, -1.0])["length_bias"] == pytest.approx(1.0)


def test_reward_metrics_are_means_over_prompts_and_ratings_are_correlated() -> None:
    scores = torch.tensor([1.0, 3.0, 0.0, 1.0, 5.0], dtype=torch.float64)
    sums = prompt_sums(scores, torch.tensor([0, 0, 1, 1, 1]))
    found = {name: float(value) / 2 for name, value in sums.items()}
    assert found["reward_mean"] == pytest.approx(2.0)
    assert (found["reward_min"], found["reward_max"]) == (0.5, 4.0)
    rating = torch.tensor([2.0, 2.0, 0.0, 1.0, 3.0], dtype=torch.float64)
    sums = prompt_sums(scores, torch.arange(5)) | rating_sums(scores, rating)
    metrics = score_metrics({name: float(value) / 5 for name, value in sums.items()})
    assert metrics["correlation"] == pytest.approx(np.corrcoef(scores, rating)[0, 1])
    assert metrics["reward_std"] == pytest.approx(scores.std(correction=0))


def test_samples_show_each_completion_after_its_score() -> None:
    made = reward()
    with torch.no_grad():
        (text,) = made.show([RECORDS[1]])
        score = float(alone(made, "x", "bb", "decoder_only"))
    assert text.splitlines()[0] == "x"
    assert text.splitlines()[2] == f"  [{score:+.3f}] bb"


@pytest.mark.parametrize(("key", "value"), [("margin", -1.0), ("eta", -0.1), ("dropout", 1.0)])
def test_bad_values_are_refused_by_name(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{key} must be"):
        tiny.part("objective", "reward", **{key: value})
