"""Reinforcement learning on the policy's own completions: rollouts, rewards, judges, verifiers."""

from etude.rl.completions import (
    Completion,
    CompletionBatch,
    completion_batch,
    metric_means,
    metric_sums,
    penalised_rewards,
)
from etude.rl.episode import Keys, targets_of, text_of
from etude.rl.http import Server, check_server
from etude.rl.judge import AnswerCache, Comparison, check_question, in_both_orders
from etude.rl.numbers import last_number
from etude.rl.on_policy import OnPolicyObjective, PromptBatch, random_state
from etude.rl.reward_model import (
    HEAD,
    ScoreHead,
    Scorer,
    pair_sums,
    prompt_sums,
    rating_sums,
    read_reward_model,
    score_metrics,
)
from etude.rl.rewards import reward_weights
from etude.rl.rollout import RolloutSource
from etude.rl.verifier import AnswerVerifier, Bench, Verifier, code_of, require_references
