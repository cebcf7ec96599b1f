import math
from collections.abc import Sequence
from typing import Any

import pairs
import pytest
import tiny
import torch
from pairs import PAIRS
from torch import Tensor

from etude.config.schema.preferences import Reduction
from etude.network.network import Network
from etude.objective.log_probs import preference_loss, sequence_log_prob
from etude.objective.randomness import TRAIN, rng
from etude.objective.reference import reference_of
from etude.records import Preference


def log_prob(network: Network, prompt: Sequence[int], completion: Sequence[int]) -> Tensor:
    """The log-probability of one completion, token by token."""
    from etude.network.network import Inputs

    row = [*prompt, *completion]
    logits = network(Inputs(torch.tensor([row[:-1]])))[0].log_softmax(-1)
    places = range(len(prompt) - 1, len(row) - 1)
    return torch.stack([logits[place, row[place + 1]] for place in places]).sum()


def test_golden_values() -> None:
    assert pairs.golden_loss("dpo") == pytest.approx(0.598139, abs=1e-6)
    assert pairs.golden_loss("dpo", label_smoothing=0.1) == pytest.approx(0.618139, abs=1e-6)


def test_a_thousand_random_cases_agree_with_the_formula() -> None:
    policy, reference, lengths = pairs.cases(torch.float64)
    for smoothing, nll in ((0.0, 0.0), (0.1, 0.5), (0.49, 0.0)):
        ratio = (policy - reference).sum(-1)
        margin = 0.1 * (ratio[0] - ratio[1])
        wanted = (1 - smoothing) * (1 + (-margin).exp()).log()
        wanted += smoothing * (1 + margin.exp()).log() - nll * policy[0].sum(-1) / lengths[0]
        losses, _ = pairs.losses_and_gradients(
            "dpo", torch.float64, label_smoothing=smoothing, nll_weight=nll
        )
        torch.testing.assert_close(losses, wanted, **pairs.tolerance(torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_thousand_random_cases_agree_with_trl(dtype: torch.dtype) -> None:
    pairs.assert_as_trl("dpo", "sigmoid", dtype, beta=0.1)
    pairs.assert_as_trl("dpo", "sigmoid_norm", dtype, beta=5.0, log_prob=Reduction.mean)


def test_the_loss_of_an_untrained_policy_is_log_2_per_pair() -> None:
    made = tiny.objective("dpo")
    batch = made.collate(PAIRS)
    loss = made.loss(batch)
    assert float(loss.total.detach()) == pytest.approx(2 * math.log(2), abs=1e-12)
    assert loss.metrics["margin"] == loss.metrics["accuracy"] == 0
    assert made.count(batch) == 2


def test_the_margin_is_beta_times_the_change_in_log_odds() -> None:
    made = tiny.objective("dpo", beta=0.3, label_smoothing=0.1)
    start = tiny.network(vocab=tiny.BYTES.vocab)
    with torch.no_grad():
        for parameter in made.network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        odds = [
            [log_prob(n, p.prompt, p.chosen) - log_prob(n, p.prompt, p.rejected) for p in PAIRS]
            for n in (made.network, start)
        ]
        policy, reference = map(torch.stack, odds)
        margin = 0.3 * (policy - reference)
        loss = made.loss(made.collate(PAIRS))
    torch.testing.assert_close(loss.total, preference_loss(margin, 0.1).sum())
    torch.testing.assert_close(loss.metrics["margin"], margin.sum())
    assert loss.metrics["accuracy"] == (margin > 0).sum()
    assert loss.metrics["policy_accuracy"] == (policy > 0).sum()


def test_the_reference_is_not_trained_or_saved_and_follows_every_cast() -> None:
    made = tiny.objective("dpo")
    held = made.reference.network._network[0]
    own = {id(p) for p in made.network.parameters()}
    assert {id(p) for p in made.parameters()} == own
    assert all(name.startswith("network.") for name in made.state_dict())
    assert not any(p.requires_grad for p in held.parameters())
    assert not held.training
    made.train()
    assert not held.training
    made.float()
    assert {p.dtype for p in held.parameters()} == {torch.float32}
    made.to("meta")
    assert {p.device.type for p in held.parameters()} == {"meta"}


def test_a_reference_keeps_tied_tables_tied() -> None:
    held: Any = reference_of(tiny.network())._network[0]
    assert held.head.out.weight is held.embedding.weight


def test_only_the_completion_counts_and_shared_prompts_are_equal() -> None:
    made = tiny.objective("dpo")
    record = Preference("abc", "de", "f")
    example = made.example(record, rng(0, TRAIN))
    encode = tiny.BYTES.encode
    assert example.prompt == [tiny.BYTES.vocab.bos, *encode("abc")]
    assert list(example.chosen) == [*encode("de"), tiny.BYTES.vocab.eos]
    batch = made.collate([example])
    assert batch.chosen.where.sum() == 3
    assert batch.rejected.where.sum() == 2


def test_a_long_prompt_keeps_its_end_and_a_long_completion_its_start_without_an_eos() -> None:
    made = tiny.objective("dpo")
    example = made.example(Preference("p" * 30 + "?", "c" * 5, "r" * 30), rng(0, TRAIN))
    batch = made.collate([example])
    assert batch.rejected.inputs.tokens.shape[1] == 16
    vocab, decode = tiny.BYTES.vocab, tiny.BYTES.decode
    assert (example.prompt[0], len(example.prompt)) == (vocab.bos, 8)
    assert decode(example.prompt) == "p" * 6 + "?"
    assert (decode(example.chosen), example.chosen[-1]) == ("c" * 5, vocab.eos)
    assert (decode(example.rejected), example.rejected[-1]) == ("r" * 9, tiny.BYTES.encode("r"))


@pytest.mark.parametrize("architecture", ["decoder_only", "encoder_decoder"])
def test_log_probabilities_of_a_batch_are_those_of_each_row(architecture: str) -> None:
    network = tiny.network(tiny.stack(architecture))
    pairs = [([20, 21, 22], [23, 3]), ([24], [25, 26, 27, 3])]
    together = sequence_log_prob(network, network.answer(pairs))
    alone = [sequence_log_prob(network, network.answer([pair]))[0] for pair in pairs]
    torch.testing.assert_close(together, torch.stack(alone))


@pytest.mark.parametrize(("key", "value"), [("beta", 0.0), ("label_smoothing", 0.5)])
def test_values_outside_their_range_are_refused(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=key):
        tiny.part("objective", "dpo", **{key: value})
