"""Reinforcement learning on the policy's own completions: rollouts, rewards, judges, verifiers."""

from etude.rl.completions import (
    Completion,
    CompletionBatch,
    completion_batch,
    metric_means,
    metric_sums,
    rewards_of,
)
from etude.rl.http import Server, check_server
from etude.rl.judge import QUESTION, Answers, Comparison, check_question, in_both_orders
from etude.rl.on_policy import OnPolicyObjective, random_state
from etude.rl.reward_model import (
    HEAD,
    ScoreHead,
    Scorer,
    measures,
    pair_sums,
    prompt_sums,
    rating_sums,
    read_reward,
)
from etude.rl.rollout import OnPolicyConfig, RolloutSource
from etude.rl.verifier import AnswerVerifier, Bench, Verifier, answers, code_of
