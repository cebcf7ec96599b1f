"""Objectives: losses as exact sums, and the batches that they are computed from."""

from etude.objective.answer_metrics import (
    HeldOutPrompts,
    Measure,
    average_measures,
    score_answers,
    similarity,
)
from etude.objective.batches import (
    Ids,
    PreferenceBatch,
    PreferenceExample,
    TextBatch,
    completion_ids,
    document_tokens,
    next_token_batch,
    preference_batch,
    preference_example,
)
from etude.objective.context import ObjectiveContext
from etude.objective.corruption import Corruption
from etude.objective.environment import Environment, Reply, State
from etude.objective.gathered_rows import own_sum
from etude.objective.head_objective import HeadObjective, Prediction, Query
from etude.objective.loader import EpochSource, MicroBatch, StepLoader, StepSource, chunks
from etude.objective.log_probs import (
    entropy_of,
    log_prob_of,
    perplexity,
    preference_loss,
    row_means,
    sequence_log_prob,
    sum_rows,
    target_logits,
    token_log_prob,
)
from etude.objective.loss import Loss
from etude.objective.objective import Objective
from etude.objective.preferences import (
    PreferenceConfig,
    PreferenceObjective,
    Reduction,
    ReferenceConfig,
    refuse_empty,
    show_continuations,
)
from etude.objective.randomness import SAMPLE, epoch_order, rng
from etude.objective.ranks import Ranks, all_gather
from etude.objective.reference import Frozen, IdPair, Reference, reference_of
from etude.objective.reward import ChatReward, Reward, scores_of
from etude.objective.step_size import Ramp, StepSize
