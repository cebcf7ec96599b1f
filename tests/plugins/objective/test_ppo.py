"""PPO with a scripted policy and reward, computed by hand, and laws of whole runs.

The policy depends only on the last token. After `:` it writes a or b, and then the other letter or
eos; the reference is the policy before the rows of a and b were changed.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from statistics import fmean, pstdev
from threading import Barrier
from typing import Any

import adapters
import lightning.pytorch as pl
import numpy as np
import pytest
import tiny
import torch
import torch.nn.functional as F
import two_processes as two
from torch import Tensor, nn

import etude.plugins
from etude.config.schema.on_policy import OnPolicyConfig
from etude.network.adapter import WithoutAdapter, adapt
from etude.network.inputs import Inputs
from etude.network.network import Network
from etude.objective.randomness import ROLLOUT
from etude.plugins.objective._ppo.experience import Experience
from etude.plugins.objective._ppo.reward_shaping import (
    Controller,
    KlEstimator,
    RewardScaling,
    Unfinished,
)
from etude.plugins.objective._ppo.value_function import ValueKind
from etude.plugins.objective.ppo import PpoConfig
from etude.records import Prompt

REWARD = {"exact_answer": tiny.part("reward", "exact_answer")}
VOCAB = tiny.BYTES.vocab
COLON, A, B = (int(tiny.BYTES.encode(text)[0]) for text in ":ab")
EOS = VOCAB.eos
BETA = 0.5
FIRST = {COLON: {A: 0.5, B: 0.5}, A: {B: 0.5, EOS: 0.5}, B: {A: 0.5, EOS: 0.5}}
NOW = FIRST | {A: {B: 0.75, EOS: 0.25}, B: {A: 0.25, EOS: 0.75}}
V = {COLON: 0.5, A: 0.25, B: -0.25}
"""The value of the state after each token."""
UP, DOWN = math.log(1.5), math.log(0.5)
"""log p / p_ref of a token that became more likely, and of one that became less likely."""
TABLE: dict[tuple[int, ...], tuple[float, list[float], list[float]]] = {
    (A, EOS): (1.0, [0.0, DOWN], [0.125 - BETA * DOWN / 2, 0.75 - BETA * DOWN]),
    (B, EOS): (0.0, [0.0, UP], [-0.625 - BETA * UP / 2, 0.25 - BETA * UP]),
    (A, B, EOS): (
        2.0,
        [0.0, UP, UP],
        [
            -0.25 + (-0.5 - BETA * UP) / 2 + (2.25 - BETA * UP) / 4,
            -0.5 - BETA * UP + (2.25 - BETA * UP) / 2,
            2.25 - BETA * UP,
        ],
    ),
    (B, A, EOS): (
        2.0,
        [0.0, DOWN, DOWN],
        [
            -0.75 + (0.5 - BETA * DOWN) / 2 + (1.75 - BETA * DOWN) / 4,
            0.5 - BETA * DOWN + (1.75 - BETA * DOWN) / 2,
            1.75 - BETA * DOWN,
        ],
    ),
    (A, B, A): (  # truncated, so 0.5 is subtracted from its score
        2.5,
        [0.0, UP, DOWN],
        [
            -0.25 + (-0.5 - BETA * UP) / 2 + (2.75 - BETA * DOWN) / 4,
            -0.5 - BETA * UP + (2.75 - BETA * DOWN) / 2,
            2.75 - BETA * DOWN,
        ],
    ),
    (B, A, B): (
        2.5,
        [0.0, DOWN, UP],
        [
            -0.75 + (0.5 - BETA * DOWN) / 2 + (2.25 - BETA * UP) / 4,
            0.5 - BETA * DOWN + (2.25 - BETA * UP) / 2,
            2.25 - BETA * UP,
        ],
    ),
}
"""Every possible completion: its score, and each token's divergence and advantage, with gamma 1,
lambda 0.5, and delta_t = reward_t + V_t+1 - V_t written out."""
REWARDS = {"a": 1.0, "b": 0.0, "ab": 2.0, "ba": 2.0, "aba": 3.0, "bab": 3.0}


class Scripted(Network):
    """Next-token probabilities from a table; a state is the one-hot vector of the last token."""

    def __init__(self) -> None:
        super().__init__()
        self.vocab, self.dim = VOCAB, VOCAB.size
        self.table = nn.Embedding(VOCAB.size, VOCAB.size)
        self.become(FIRST)

    def become(self, chances: dict[int, dict[int, float]]) -> None:
        with torch.no_grad():
            self.table.weight.fill_(-1e4)
            for token, row in chances.items():
                for follower, chance in row.items():
                    self.table.weight[token, follower] = math.log(chance)

    def states(self, inputs: Inputs, cache: Any = None) -> Tensor:
        if cache is not None:
            cache.advance(inputs)
        return F.one_hot(inputs.tokens, VOCAB.size).to(self.table.weight)

    def logits(self, states: Tensor) -> Tensor:
        return states @ self.table.weight


def table_reward(
    prompts: Sequence[str], completions: Sequence[str], references: Sequence[str | None]
) -> list[float]:
    return [REWARDS[completion] for completion in completions]


def scripted(**values: Any) -> Any:  # the plugin's class
    """PPO after the policy has moved from FIRST to NOW, with the values of `V`."""
    given = {"beta": BETA, "gae_lambda": 0.5, "max_new_tokens": 3}
    given |= {"unfinished": Unfinished.subtract, "unfinished_penalty": 0.5}
    tools = tiny.tools(seq_len=32, reward=table_reward)
    made = tiny.objective("ppo", Scripted(), tools=tools, **(given | values)).double()
    made.network.become(NOW)
    with torch.no_grad():
        for token, value in V.items():
            made.value.head.weight[0, token] = value
    return eval_mode(made)


def eval_mode(made: Any) -> Any:
    """Gives an objective a trainer."""
    made.trainer = pl.Trainer(
        accelerator="cpu", precision="64-true", logger=False, enable_checkpointing=False
    )
    return made


def prompts(n: int = 17) -> list[Prompt]:
    """Prompts whose padding in one batch is 16, 15, ..., 0 tokens."""
    return [Prompt("x" * i + ":") for i in range(n)]


def rollout_of(made: Any, seed: int = 0) -> list[Experience]:
    given = prompts()
    return made.rollout(given, [(seed, ROLLOUT, i) for i in range(len(given))])


@pytest.mark.parametrize("generation_batch", [1, 5, 17])
def test_a_rollout_matches_the_table_computed_by_hand_for_any_padding(
    generation_batch: int,
) -> None:
    made = scripted(generation_batch=generation_batch, group_size=2)
    samples = rollout_of(made)
    assert {tuple(s.completion) for s in samples} == TABLE.keys()
    every = [x for s in samples for x in TABLE[tuple(s.completion)][2]]
    mean, deviation = fmean(every), math.sqrt(pstdev(every) ** 2 + 1e-8)
    for s in samples:
        _, divergence, advantage = TABLE[tuple(s.completion)]
        read = [COLON, *s.completion][:-1]
        assert s.log_prob == pytest.approx(
            [math.log(NOW[r][w]) for r, w in zip(read, s.completion, strict=True)], abs=1e-12
        )
        assert s.kl == pytest.approx(sum(divergence), abs=1e-12)
        value = [V[r] for r in read]
        white = [(x - mean) / deviation for x in advantage]
        returns = [x + v for x, v in zip(advantage, value, strict=True)]
        found = s.estimates.T.tolist()
        for column, wanted in zip(found, (value, white, returns), strict=True):
            assert column == pytest.approx(wanted, abs=1e-10)
        assert s.is_finished == (s.completion[-1] == EOS)
        assert s.beta == BETA


def test_without_kl_penalty_or_discount_the_return_is_the_score() -> None:
    made = scripted(beta=0.0, gae_lambda=1.0)
    assert made.reference is None
    for s in rollout_of(made):
        score = TABLE[tuple(s.completion)][0]
        value, _, returns = s.estimates.T
        assert returns == pytest.approx(np.full_like(value, score), abs=1e-12)
        assert s.kl == 0.0


def test_a_policy_other_than_the_one_that_sampled_is_detected() -> None:
    made = scripted()
    batch = made.collate(rollout_of(made))
    made.is_fresh = True
    assert float(made.loss(batch).metrics["ratio"]) == made.count(batch)
    made.network.become(FIRST)
    with pytest.raises(AssertionError, match="not the one that sampled"):
        made.loss(batch)


def test_beta_is_updated_for_the_next_rollout() -> None:
    made = scripted(kl_target=0.01, kl_horizon=100.0)
    first = rollout_of(made)
    kl = fmean(s.kl for s in first)
    error = min(max(kl / 0.01 - 1, -0.2), 0.2)
    second = rollout_of(made, seed=1)
    assert {s.beta for s in first} == {BETA}
    (beta,) = {s.beta for s in second}
    assert beta == pytest.approx(BETA * (1 + error * 17 / 100), abs=1e-12)


def test_a_checkpoint_restores_the_controller() -> None:
    made, other = scripted(kl_horizon=100.0), scripted(kl_horizon=100.0)
    rollout_of(made)
    checkpoint: dict[str, Any] = {}
    made.on_save_checkpoint(checkpoint)
    other.on_load_checkpoint(checkpoint)
    assert made.shaping.beta == other.shaping.beta != BETA
    assert made.shaping.reward_moments == other.shaping.reward_moments


def test_completions_without_a_verdict_are_excluded() -> None:
    def without_b(given: Any, completions: Any, references: Any) -> list[float]:
        scores = table_reward(given, completions, references)
        return [math.nan if c == "b" else s for c, s in zip(completions, scores, strict=True)]

    made = scripted()
    made.tools = replace(made.tools, reward=without_b)
    samples = rollout_of(made)
    known = [s for s in samples if tuple(s.completion) != (B, EOS)]
    assert 0 < len(known) < len(samples)
    whole, part = made.collate(samples), made.collate(known)
    assert made.count(whole) == made.count(part) == sum(len(s.completion) for s in known)
    exact, wanted = made.loss(whole), made.loss(part)
    tiny.assert_close(exact.total, wanted.total)
    none = made.collate([s for s in samples if s not in known])
    assert made.count(none) == 0
    assert not made.loss(none).total
    white = np.concatenate([s.estimates[:, 1] for s in known])
    assert white.mean() == pytest.approx(0, abs=1e-12)


def test_the_loss_by_hand() -> None:
    made = scripted(entropy_weight=0.01, value_weight=0.3)
    samples = rollout_of(made)[:4]
    rng = np.random.default_rng(0)
    for s in samples:  # as if the policy and its values had changed since
        s.log_prob = s.log_prob + rng.normal(0, 0.3, len(s.log_prob))
        s.estimates = (
            s.estimates
            + np.stack([rng.normal(0, 0.4, len(s.estimates)), *np.zeros((2, len(s.estimates)))]).T
        )
    total = policy = 0.0
    for s in samples:
        for i, token in enumerate(s.completion):
            read = [COLON, *s.completion][i]
            before, advantage, returns = s.estimates[i]
            ratio = NOW[read][token] / math.exp(s.log_prob[i])
            gain = min(ratio * advantage, min(max(ratio, 0.8), 1.2) * advantage)
            bound = before + min(max(V[read] - before, -0.2), 0.2)
            missed = max((V[read] - returns) ** 2, (bound - returns) ** 2) / 2
            entropy = -sum(p * math.log(p) for p in NOW[read].values())
            policy -= gain
            total += 0.3 * missed - gain - 0.01 * entropy
    batch = made.collate(samples)
    loss = made.loss(batch)
    assert float(loss.total.detach()) == pytest.approx(total, abs=1e-10)
    assert float(loss.metrics["policy_loss"]) == pytest.approx(policy, abs=1e-10)
    assert made.count(batch) == sum(len(s.completion) for s in samples)
    means = {name: float(value) / made.count(batch) for name, value in loss.metrics.items()}
    metrics = made.report(means)  # per completion, per token
    assert metrics["sequence_kl"] == pytest.approx(sum(s.kl for s in samples) / 4, abs=1e-10)
    assert metrics["policy_loss"] == pytest.approx(policy / made.count(batch), abs=1e-10)


@pytest.mark.parametrize("family", ["decoder_only", "encoder_decoder"])
@pytest.mark.parametrize("kind", ValueKind)
def test_padding_does_not_change_a_rollout(family: str, kind: ValueKind) -> None:
    found: list[list[Experience]] = []
    for generation_batch in (1, 17):
        config = tiny.stack(family, n_layers=1)
        made = tiny.objective(
            "ppo",
            tiny.network(config, vocab=VOCAB),
            tools=tiny.tools(seq_len=32, reward=tiny.remainder, architecture=config),
            max_new_tokens=4,
            generation_batch=generation_batch,
            value=kind,
        ).double()
        nn.init.normal_(made.value.head.weight, generator=torch.Generator().manual_seed(1))
        for parameter in made.network.parameters():
            parameter.data.add_(0.02)  # moves it away from the reference
        found.append(rollout_of(eval_mode(made)))
    for one, other in zip(*found, strict=True):
        assert list(one.completion) == list(other.completion)
        assert one.estimates == pytest.approx(other.estimates, abs=1e-10)
        assert one.kl == pytest.approx(other.kl, abs=1e-10)
        assert abs(one.kl) > 1e-6


def trained(folder: Path, **given: Any) -> tuple[Any, list[dict[str, Any]]]:
    config = tiny.experiment("ppo", folder, reward=REWARD, **given)
    made = tiny.training_parts(config, tiny.remainder)
    return made, tiny.fit(config, made, folder / "run")


def test_the_first_step_after_a_rollout_has_ratio_1_and_clips_nothing(tmp_path: Path) -> None:
    _, lines = trained(
        tmp_path, epochs=2, batches_per_rollout=2, epsilon=0.001, trainer={"max_steps": 5}
    )
    clipped = [line["clip_fraction_low"] + line["clip_fraction_high"] for line in lines]
    assert [line["ratio"] == pytest.approx(1, abs=1e-12) for line in lines] == [
        step % 4 == 0 for step in range(5)
    ]
    assert [share == 0 for share in clipped] == [step % 4 == 0 for step in range(5)]
    assert lines[0]["sequence_kl"] == pytest.approx(0, abs=1e-12)
    assert lines[4]["sequence_kl"] != 0
    assert lines[4]["beta"] != lines[0]["beta"] == lines[3]["beta"]


@pytest.mark.parametrize("kind", ValueKind)
def test_the_policy_is_frozen_during_value_warm_up(kind: ValueKind, tmp_path: Path) -> None:
    given = {"value": kind, "value_warmup_steps": 3, "epochs": 1}
    trainer = {"max_steps": 4}
    config = tiny.experiment("ppo", tmp_path, reward=REWARD, trainer=trainer, **given)
    parts = tiny.training_parts(config, tiny.remainder)
    made = replace(parts, plan=parts.plan.until(3))
    lines = tiny.fit(config, made, tmp_path / "run")
    fresh = tiny.training_parts(tiny.experiment("ppo", tmp_path, reward=REWARD, **given)).objective
    for parameter, before in zip(
        made.objective.network.parameters(), fresh.network.parameters(), strict=True
    ):
        assert torch.equal(parameter, before)
    trained_value: Any = made.objective.value
    assert trained_value.head.weight.any()
    assert [line["ratio"] for line in lines] == [1.0] * 3
    assert lines[2]["value_loss"] < lines[0]["value_loss"]
    later, _ = trained(tmp_path / "later", trainer={"max_steps": 4}, **given)
    held, moved = (one.network.state_dict() for one in (fresh, later.objective))
    assert not torch.equal(held["embedding.weight"], moved["embedding.weight"])


class ThreadRanks:
    """Ranks as threads of one process: each waits for the values of all and sums them."""

    def __init__(self, size: int) -> None:
        self.barrier = Barrier(size)
        self.values: dict[int, Tensor] = {}

    def over_ranks(self, rank: int, value: Tensor) -> Tensor:
        self.values[rank] = value
        self.barrier.wait(timeout=20)
        total = torch.stack([self.values[i] for i in sorted(self.values)]).sum(0)
        self.barrier.wait(timeout=20)
        return total


def test_two_ranks_whiten_scale_and_adapt_like_one() -> None:
    """On two consecutive rollouts, so that moments and beta continue from the first."""
    given = {"kl_horizon": 50.0, "reward_scaling": RewardScaling.running, "whiten_rewards": True}
    ranks, halves = ThreadRanks(2), (range(9), range(9, 17))
    all_prompts = prompts()

    def two_rollouts(made: Any, places: Sequence[int]) -> list[Experience]:
        rolls = [
            made.rollout([all_prompts[i] for i in places], [(seed, ROLLOUT, i) for i in places])
            for seed in (0, 1)
        ]
        return [sample for roll in rolls for sample in roll]

    built = [scripted(**given) for _ in halves]  # not by the threads: `ast.parse` is not safe

    def rank(number: int) -> list[Experience]:
        made = built[number]
        made.over_ranks = partial(ranks.over_ranks, number)
        return two_rollouts(made, halves[number])

    default = torch.get_default_dtype()
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(rank, range(2))
    torch.set_default_dtype(default)  # shared by threads: overlapping contexts change it
    both = first[:9] + second[:8] + first[9:] + second[8:]
    for mine, theirs in zip(two_rollouts(scripted(**given), range(17)), both, strict=True):
        assert list(mine.completion) == list(theirs.completion)
        assert mine.estimates == pytest.approx(theirs.estimates, abs=1e-12)
        assert mine.beta == pytest.approx(theirs.beta, abs=1e-15)


@pytest.mark.parametrize("family", ["decoder_only", "encoder_decoder"])
def test_with_an_adapter_there_is_one_copy_of_the_weights(family: str) -> None:
    policy = tiny.network(tiny.stack(family), vocab=VOCAB)
    adapt(policy, adapters.choice("lora"))
    made = tiny.objective("ppo", policy, max_new_tokens=4)
    assert isinstance(made.reference, WithoutAdapter)
    own = {id(p) for p in made.parameters()} - {id(p) for p in policy.parameters()}
    assert own == {id(p) for p in made.value.head.parameters()}


KEYS: dict[str, tuple[Any, dict[str, Any]]] = {
    "beta": (0.5, {}),
    "kl_estimator": (KlEstimator.k3, {}),
    "controller": (Controller.fixed, {}),
    "kl_target": (0.1, {"kl_horizon": 10.0, "kl_target": 1e-6}),
    "kl_horizon": (10.0, {}),
    "reward_scaling": (RewardScaling.running, {}),
    "reward_mean": (0.5, {}),
    "reward_std": (0.5, {}),
    "unfinished": (Unfinished.replace, {}),
    "unfinished_score": (-3.0, {"unfinished": Unfinished.replace}),
    "unfinished_penalty": (3.0, {"unfinished": Unfinished.subtract}),
    "whiten_rewards": (True, {}),
    "epsilon": (0.001, {"epochs": 4}),
    "entropy_weight": (0.1, {}),
    "value": (ValueKind.network, {}),
    "value_weight": (1.0, {}),
    "value_epsilon": (0.001, {"epochs": 4}),
    "value_warmup_steps": (2, {}),
    "gamma": (0.5, {}),
    "gae_lambda": (0.5, {}),
}
"""Another value of each key of PPO alone, and the settings that it needs."""


def test_every_key_is_tested() -> None:
    own = {item.name for item in fields(PpoConfig)} - {item.name for item in fields(OnPolicyConfig)}
    assert KEYS.keys() == own - {"min_new_tokens"}  # see test_reward_shaping.py


@pytest.mark.slow
@pytest.mark.parametrize("key", KEYS)
def test_another_value_of_a_key_changes_the_run(key: str, tmp_path: Path) -> None:
    other, needed = KEYS[key]
    given = {"epochs": 1, "trainer": {"max_steps": 4}} | needed
    first = tiny.experiment("ppo", tmp_path, reward=REWARD, **given)
    second = replace(first, objective=replace(first.objective, **{key: other}))
    lines = [
        tiny.fit(config, tiny.training_parts(config, tiny.remainder), tmp_path / str(number))
        for number, config in enumerate((first, second))
    ]
    assert lines[0] != lines[1]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ValueKind)
def test_two_processes_have_the_loss_curve_of_one(
    kind: ValueKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "plugins" / "reward" / "toy_remainder.py"
    file.parent.mkdir(parents=True)
    file.write_text(tiny.REWARD)
    monkeypatch.setenv(etude.plugins.VARIABLE, str(tmp_path / "plugins"))
    ppo = (
        "objective=ppo", "reward=toy_remainder", "objective.max_new_tokens=4",
        "objective.epochs=2", f"objective.value={kind.value}", "trainer.precision=64",
        "optimizer.lr=0.001", "objective.kl_horizon=100", "objective.reward_scaling=running",
    )  # fmt: skip
    ddp = ("strategy=ddp", "trainer.devices=2", "trainer.accelerator=cpu")
    for name, more in (("one", ()), ("two", ddp)):
        ended = two.train(tmp_path / name, *ppo, *more)
        assert ended.returncode == 0, ended.stderr
    for mine, theirs in zip(
        two.untimed_steps(tmp_path / "one"), two.untimed_steps(tmp_path / "two"), strict=True
    ):
        numbers = {name: value for name, value in mine.items() if name != "samples"}
        assert {name: theirs[name] for name in numbers} == pytest.approx(numbers, rel=1e-9)
    betas = {line["beta"] for line in two.untimed_steps(tmp_path / "one")}
    assert len(betas) == 4
