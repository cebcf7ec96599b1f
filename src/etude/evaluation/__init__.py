"""What a model is worth: evaluators, prompting, scorers, results and their comparison."""

from etude.evaluation.evaluate import Evaluation, joined, task_config
from etude.evaluation.evaluator import Evaluator
from etude.evaluation.item import (
    OUTCOMES,
    Case,
    Item,
    Metric,
    best_outcome,
    outcome_values,
    rounded,
    shares,
)
from etude.evaluation.prompting import Examples, Prompting
from etude.evaluation.scorer import AnswerScorer
from etude.evaluation.subject import DTYPES, Continuation, Output, Subject
