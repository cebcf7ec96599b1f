from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pairs
import pytest
import scripted
import tiny
import torch

from etude.config.composition import compose
from etude.config.config_file import to_experiment
from etude.errors import DataError
from etude.objective.loader import Ranks
from etude.plugins.objective._policy_gradient import clipped_objective, k1, k3, nan_std
from etude.plugins.objective._policy_gradient import group_advantages as advantages_of
from etude.plugins.objective.grpo import Average, Ratio, Scale, Surrogate, Truncated
from etude.rl.completions import Completion, zero_variance
from etude.rl.rollout import RolloutSource

REWARD = {"exact_answer": tiny.part("reward", "exact_answer")}
GOLDEN = torch.tensor([[1.0, 0, 0, 1, 0, 0, 0, 0]], dtype=torch.float64)
NAN = float("nan")


def test_golden_advantages() -> None:
    assert float(nan_std(GOLDEN)) == pytest.approx(0.462910, abs=1e-6)
    exact = advantages_of(GOLDEN, nan_std(GOLDEN) - 1e-4)[0].tolist()
    assert exact[:2] == pytest.approx([1.620185, -0.540062], abs=1e-6)
    found = advantages_of(GOLDEN, nan_std(GOLDEN))[0].tolist()
    assert found[:2] == pytest.approx([1.619835, -0.540062 * 0.462910 / 0.463010], abs=1e-6)
    assert advantages_of(GOLDEN, None)[0, :2].tolist() == [0.75, -0.25]


def test_advantages_of_a_group_sum_to_zero_and_vanish_for_equal_rewards() -> None:
    rewards = torch.rand(50, 8, dtype=torch.float64)
    for deviation in (nan_std(rewards), nan_std(rewards.view(1, -1)), None):
        assert advantages_of(rewards, deviation).sum(1).abs().max() < 1e-12
    same = torch.full((2, 4), 0.3)
    assert not advantages_of(same, nan_std(same)).any()


def test_a_completion_with_a_nan_reward_does_not_affect_the_others() -> None:
    rewards = torch.rand(50, 8, dtype=torch.float64)
    holed = torch.cat([rewards, torch.full((50, 3), NAN, dtype=torch.float64)], dim=1)
    found = advantages_of(holed, nan_std(holed))
    torch.testing.assert_close(found[:, :8], advantages_of(rewards, nan_std(rewards)))
    assert found[:, 8:].isnan().all()
    rewards = torch.tensor([[1.0, NAN, 1.0], [1.0, NAN, 0.0], [NAN, NAN, NAN]])
    assert zero_variance(rewards).tolist() == [True, False, True]
    assert nan_std(torch.tensor([[1.0, NAN], [NAN, NAN]])).tolist() == [[0.0], [0.0]]


def test_deviations_are_those_of_trl() -> None:
    from trl.trainer.utils import nanstd

    rewards = torch.randn(200, 8, dtype=torch.float64)
    rewards[torch.rand(200, 8) < 0.3] = NAN
    rewards = rewards[(~rewards.isnan()).sum(1) > 1]
    torch.testing.assert_close(nan_std(rewards)[:, 0], nanstd(rewards, dim=1))


def test_kl_estimators_by_hand() -> None:
    policy, reference = torch.tensor([-1.2]).double(), torch.tensor([-1.0]).double()
    assert float(k1(policy, reference)) == pytest.approx(-0.2)
    assert float(k3(policy, reference)) == pytest.approx(0.021403, abs=1e-6)
    assert float(k3(policy, policy)) == 0
    torch.manual_seed(0)
    p, q = torch.randn(2, 6, dtype=torch.float64).log_softmax(-1)
    exact = (p.exp() * (p - q)).sum()
    for estimate in (k1, k3):  # their expectation is the divergence
        torch.testing.assert_close((p.exp() * estimate(p, q)).sum(), exact)


@pytest.mark.parametrize(
    ("ratio", "advantage", "gain", "slope"),
    [
        (1.0, 2.0, 2.0, 2.0),
        (1.5, 2.0, 2.6, 0.0),  # clipped: the ratio is already above
        (0.5, 2.0, 1.0, 2.0),
        (1.5, -2.0, -3.0, -2.0),
        (0.5, -2.0, -1.6, 0.0),  # clipped: the ratio is already below
    ],
)
def test_the_clipped_objective_by_hand(
    ratio: float, advantage: float, gain: float, slope: float
) -> None:
    rho = torch.tensor([ratio], dtype=torch.float64, requires_grad=True)
    found = clipped_objective(rho.log(), torch.tensor([advantage], dtype=torch.float64), 0.2, 0.3)
    assert float(found.detach()) == pytest.approx(gain)
    (grad,) = torch.autograd.grad(found.sum(), rho)
    assert float(grad) == pytest.approx(slope)


VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "grpo": ({"beta": 0.04}, {}),
    "dr_grpo": ({"average": Average.constant}, {"loss_type": "dr_grpo"}),
    "dapo": (
        {"epsilon_high": 0.28, "average": Average.token},
        {"epsilon_high": 0.28, "loss_type": "dapo"},
    ),
    "gspo": (
        {"epsilon": 0.01, "epsilon_high": 0.02, "ratio": Ratio.sequence, "beta": 0.1},
        {"epsilon_low": 0.01, "epsilon_high": 0.02, "importance_sampling_level": "sequence"},
    ),
    "two-sided": ({"delta": 1.4, "beta": 0.04}, {"delta": 1.4}),
    "cispo": (
        {"surrogate": Surrogate.cispo, "epsilon_high": 0.3, "average": Average.token},
        {"loss_type": "cispo", "epsilon_high": 1.3},  # TRL's is the bound itself
    ),
}
"""Our settings and those of TRL, by variant."""


@pytest.mark.parametrize("replies", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_thousand_random_cases_agree_with_trl(
    variant: str, dtype: torch.dtype, replies: bool
) -> None:
    """Loss, its gradient by every logit, and the metrics of clips, divergence and entropy.

    With replies, the completions have holes of tokens that the policy did not write.
    """
    from trl.trainer.grpo_trainer import GRPOTrainer

    ours, theirs = VARIANTS[variant]
    play = scripted.ScriptedCompletions(dtype)
    mask = play.where.long()
    own = torch.rand(mask.shape, generator=torch.Generator().manual_seed(1)) < 0.6
    own[:, 0] = True  # a completion begins with a turn
    if replies:
        play.where = play.where & own
    config = {"beta": 0.0, "max_new_tokens": scripted.LENGTH} | ours
    made = play.objective("grpo", **config)
    batch = play.batch()
    loss = made.loss(batch)
    value = loss.total / made.count(batch)
    value.backward()

    logits = play.logits.detach().clone().requires_grad_()
    log_probs, entropies = play.log_probs_and_entropies(logits)
    given = {"epsilon_low": 0.2, "epsilon_high": 0.2, "loss_type": "grpo", "delta": None}
    given |= {"importance_sampling_level": "token", "beta": config["beta"]} | theirs
    trainer = SimpleNamespace(
        args=SimpleNamespace(
            delta=given.pop("delta"), use_bias_correction_kl=False, steps_per_generation=1
        ),
        model=SimpleNamespace(training=True),
        accelerator=pairs.SingleProcess(),
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        use_vllm=False,
        aux_loss_enabled=False,
        _entropy_bonus_enabled=False,
        current_gradient_accumulation_steps=1,
        max_completion_length=scripted.LENGTH,
        _metrics={"train": defaultdict(list)},
        _get_per_token_logps_and_entropies=lambda *_, **__: (log_probs, entropies, None),
        **given,
    )
    inputs = {
        "prompt_ids": mask[:, :1], "prompt_mask": mask[:, :1], "completion_ids": mask,
        "completion_mask": mask, "advantages": batch.advantage,
        "num_items_in_batch": play.where.sum(),
        "old_per_token_logps": play.scatter(batch.log_prob),
        "ref_per_token_logps": play.log_probs_and_entropies(play.reference)[0],
    }  # fmt: skip
    if replies:
        inputs["tool_mask"] = own.long()
    wanted = GRPOTrainer._compute_loss(trainer, None, inputs)  # type: ignore[arg-type]
    wanted.backward()
    torch.testing.assert_close(value, wanted, **pairs.tolerance(dtype))
    torch.testing.assert_close(play.logits.grad, logits.grad, **pairs.tolerance(dtype))
    logged = {name: values[0] for name, values in trainer._metrics["train"].items()}
    metrics = made.report(
        {name: float(sums) for name, sums in loss.metrics.items()} | {"loss": 0.0}
    )
    names = {"entropy": "entropy", "kl": "kl"}
    if variant != "cispo":
        names |= {
            "clip_ratio/low_mean": "clip_fraction_low",
            "clip_ratio/high_mean": "clip_fraction_high",
        }
    for name in names.keys() & logged.keys():
        if variant != "gspo" or not name.startswith("clip"):  # TRL's is over sequences
            assert metrics[names[name]] == pytest.approx(logged[name], rel=1e-5)
    assert metrics["clip_fraction_high"] > 0


def completion(n: int, advantage: float, old: list[float]) -> Completion:
    written = [int(token) for token in np.random.default_rng(n).integers(109, 365, n)]
    return Completion([2, 200, 201], written, np.array(old), 0.5, False, False, 0.0, advantage)


COMPLETIONS = [completion(2, 1.5, [-6.0, -5.5]), completion(3, -0.5, [-6.5, -5.0, -6.0])]


def moved(**config: Any) -> Any:
    """An objective whose policy has moved away from its reference."""
    made = tiny.objective("grpo", beta=0.5, max_new_tokens=4, **config)
    with torch.no_grad():
        for parameter in made.network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return made


def test_the_loss_averages_tokens_then_completions() -> None:
    made = moved()
    with torch.no_grad():
        total = torch.zeros((), dtype=torch.float64)
        for one in COMPLETIONS:
            targets = made.network.answer([(one.prompt, one.completion)])
            due = targets.ids[targets.where]
            new, first = (
                net(targets.inputs, targets.where).log_softmax(-1)[range(len(due)), due]
                for net in (made.network, made.reference)
            )
            ratio = (new - torch.tensor(one.log_prob)).exp()
            gain = torch.minimum(
                ratio * one.advantage, ratio.clamp(0.8, 1.2) * one.advantage
            ) - 0.5 * ((first - new).exp() - (first - new) - 1)
            total -= gain.mean()
        batch = made.collate(COMPLETIONS)
        loss = made.loss(batch)
    torch.testing.assert_close(loss.total, total)
    assert made.count(batch) == 2
    assert (
        made.report({k: float(v) for k, v in loss.metrics.items()} | {"loss": 0.0})[
            "response_length"
        ]
        == 2.5
    )


@pytest.mark.parametrize(
    ("average", "count"), [("sequence", 2.0), ("token", 5.0), ("constant", 8.0)]
)
def test_excluded_completions_are_in_no_sum(average: str, count: float) -> None:
    made = moved(average=Average(average))
    excluded = [completion(1, NAN, [-6.0]), completion(4, NAN, [-1.0] * 4)]
    few, many = made.collate(COMPLETIONS), made.collate([*excluded, *COMPLETIONS])
    assert made.count(few) == made.count(many) == count
    losses = [made.loss(batch).total for batch in (few, many)]
    grads = [torch.autograd.grad(loss, made.network.embedding.weight)[0] for loss in losses]
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*grads)
    assert made.count(made.collate(excluded)) == 0


def trained(folder: Path, reward: Any = tiny.remainder, **given: Any) -> tuple[Any, Any]:
    made = tiny.training_parts(tiny.experiment("grpo", folder, reward=REWARD, **given), reward)
    return made, tiny.fit(
        tiny.experiment("grpo", folder, reward=REWARD, **given), made, folder / "run"
    )


def by_prompt(prompts: Any, completions: Any, references: Any) -> list[float]:
    """Half of the prompts always get 0; some completions have no verdict."""
    rewards = tiny.remainder(prompts, completions, references)
    keys = [len(p) + ord(p[0]) for p in prompts]
    return [0.0 if k % 2 else NAN if r > 0.9 else r for k, r in zip(keys, rewards, strict=True)]


def test_metrics_describe_the_sampled_completions(tmp_path: Path) -> None:
    given = {
        "truncated": Truncated.mask,
        "stop": list("abcdefghijklm"),
        "trainer": {"max_steps": 1},
    }
    made, lines = trained(tmp_path, by_prompt, **given)
    samples = made.loader.source.samples
    rewards = np.array([s.reward for s in samples])
    assert np.isnan(rewards).any()
    (line,) = lines
    assert line["reward"] == pytest.approx(np.nanmean(rewards))
    assert line["reward_std"] == pytest.approx(np.nanstd(rewards))
    assert line["response_length"] == np.mean([len(s.completion) for s in samples])
    assert line["truncated"] == np.mean([not s.is_finished for s in samples])
    excluded = [np.isnan(s.advantage) for s in samples]
    assert excluded == [np.isnan(s.reward) or not s.is_finished for s in samples]
    assert line["excluded"] == np.mean(excluded)
    alone = [len(set(rewards[i : i + 4][~np.isnan(rewards[i : i + 4])])) < 2 for i in (0, 4)]
    assert line["zero_variance"] == np.mean(alone)
    assert 0 < line["entropy"] < np.log(tiny.BYTES.vocab.size)
    assert np.isfinite(line["loss"])
    assert np.isfinite(lines[-1]["val/reward"])


def test_dynamic_sampling_continues_until_rewards_differ_in_every_group(tmp_path: Path) -> None:
    made, lines = trained(tmp_path, by_prompt, max_draws=20)
    assert [line["zero_variance"] for line in lines] == [0.0] * 5
    source = made.loader.source
    assert source.n_drawn > 5 * source.n_prompts
    again = RolloutSource(made.objective, source.prompts, 8, 0, Ranks())
    again.load_state_dict([source.state_dict()])
    for _ in range(3):
        assert source.next_step_batch().ids == again.next_step_batch().ids
        assert source.n_drawn == again.n_drawn
        both = [[(list(s.prompt), list(s.completion)) for s in x.samples] for x in (source, again)]
        assert both[0] == both[1]


def test_prompts_without_a_learning_signal_are_an_error_and_not_an_endless_loop(
    tmp_path: Path,
) -> None:
    with pytest.raises(DataError, match=r"max_draws=3: a rollout needs 2 prompts .* only 0 of 6"):
        trained(tmp_path, lambda prompts, *_: [0.5] * len(prompts), max_draws=3)


def test_a_policy_changed_before_its_first_step_is_detected(tmp_path: Path) -> None:
    made, _ = trained(tmp_path, trainer={"max_steps": 1})
    batch = made.objective.collate(made.loader.source.samples)
    made.objective.is_fresh = True
    with pytest.raises(AssertionError, match="not the one that sampled"):
        made.objective.loss(batch)  # after a step


@pytest.mark.parametrize("scale", Scale)
def test_advantages_are_divided_by_the_configured_deviation(scale: Scale, tmp_path: Path) -> None:
    made, _ = trained(tmp_path, scale=scale, trainer={"max_steps": 1})
    samples = made.loader.source.samples
    rewards = torch.tensor([s.reward for s in samples], dtype=torch.float64).view(2, 4)
    divisor = {
        Scale.group: rewards.std(dim=1, keepdim=True) + 1e-4,
        Scale.batch: rewards.std() + 1e-4,
        Scale.none: torch.ones(()),
    }[scale]
    wanted = (rewards - rewards.mean(dim=1, keepdim=True)) / divisor
    assert [s.advantage for s in samples] == pytest.approx(wanted.flatten().tolist())


def test_presets_are_settings_of_grpo() -> None:
    names = ("dr_grpo", "dapo", "gspo", "cispo")
    made: dict[str, Any] = {
        n: to_experiment(compose("train", [f"objective={n}"]).config).objective for n in names
    }
    assert {type(config) for config in made.values()} == {type(tiny.part("objective", "grpo"))}
    assert all(config.beta == 0 for config in made.values())
    assert (made["dr_grpo"].scale, made["dr_grpo"].average) == (Scale.none, Average.constant)
    assert (made["dapo"].epsilon, made["dapo"].upper, made["dapo"].max_draws) == (0.2, 0.28, 10)
    assert (made["gspo"].ratio, made["gspo"].epsilon) == (Ratio.sequence, 3e-4)
    assert made["cispo"].surrogate is Surrogate.cispo


def test_with_beta_0_there_is_no_reference() -> None:
    assert tiny.objective("grpo", beta=0.0, max_new_tokens=4).reference is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("beta", -0.1), ("epsilon", 0.0), ("epsilon", 1.0), ("group_size", 1), ("temperature", 0.0),
        ("epsilon_high", 0.0), ("delta", 1.1), ("max_draws", 0), ("dropout", 1.0),
    ],
)  # fmt: skip
def test_values_outside_their_range_are_refused(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=key):
        tiny.part("objective", "grpo", **{key: value})


def test_prompt_and_completion_share_seq_len() -> None:
    with pytest.raises(ValueError, match=r"max_new_tokens must be below data\.seq_len"):
        tiny.objective("grpo", max_new_tokens=16)
