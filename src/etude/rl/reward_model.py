"""Reward models: one score per text, read from the state that has seen the whole text.

The parts outside the objective: the score head, the metrics, and loading a finished run.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from etude.config import config_file
from etude.data.chat_template import exchange
from etude.data.tokenizer import Tokenizer
from etude.errors import ConfigError
from etude.formats.model import read_model
from etude.formats.score_head import HEAD
from etude.network.network import Network
from etude.network.precision import to_fp32
from etude.objective.batches import Ids, fit
from etude.objective.loader import chunks
from etude.records import Chat

MEAN = "val/reward_mean"
STD = "val/reward_std"
"""Metrics of a run's scores on held-out texts, which are saved with `model/`."""
N_BINS = 10
"""Number of confidence bins of the calibration error."""
GAP = "_gap_"


class ScoreHead(nn.Linear):
    """weight . state + bias, in at least fp32; weight and bias are initialised to 0."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, 1)
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, input: Float[Tensor, "... dim"]) -> Float[Tensor, "..."]:
        """Multiplies and sums, because autocast lowers the precision of a matrix product."""
        return (to_fp32(input) * self.weight[0]).sum(-1) + self.bias[0]


def prompt_sums(
    scores: Float[Tensor, " batch"], prompt: Int[Tensor, " batch"]
) -> dict[str, Float[Tensor, ""]]:
    """Sums over prompts, for `score_metrics`: mean, square, min and max of their scores."""
    sizes = prompt.bincount()
    share = 1 / sizes[prompt].to(scores)
    zeros = scores.new_zeros(len(sizes))
    extremes = {
        f"reward_{name}": zeros.scatter_reduce(0, prompt, scores, f"a{name}", include_self=False)
        for name in ("min", "max")
    }
    means = {"reward_mean": scores * share, "_square": scores**2 * share}
    return {name: value.sum() for name, value in (means | extremes).items()}


def pair_sums(
    difference: Float[Tensor, " pair"],
    longer: Float[Tensor, " pair"],
    probability: Float[Tensor, " pair"],
    weight: Float[Tensor, " pair"],
) -> dict[str, Float[Tensor, ""]]:
    """Weighted sums over pairs, for `score_metrics`; differences are better minus worse.

    A pair counts as correct with the probability of its label; a tie counts as half correct.
    """
    right = 0.5 + difference.sign() * (probability - 0.5)
    confidence = difference.abs().sigmoid()
    bins = ((confidence - 0.5) * 2 * N_BINS).long().clamp(max=N_BINS - 1)
    gaps = weight.new_zeros(N_BINS).index_add(0, bins, weight * (right - confidence))
    sums = {"accuracy": right, "margin": difference, "_dd": difference**2}
    sums |= {"_dl": difference * longer, "_ll": longer**2}
    weighted = {name: (weight * value).sum() for name, value in sums.items()}
    return weighted | {f"{GAP}{i}": gap for i, gap in enumerate(gaps)}


def rating_sums(
    scores: Float[Tensor, " n"], rating: Float[Tensor, " n"]
) -> dict[str, Float[Tensor, ""]]:
    """Sums, for `score_metrics`, for the correlation of scores and ratings."""
    sums = {"_rating": rating, "_rating_square": rating**2, "_product": scores * rating}
    return {name: value.sum() for name, value in sums.items()}


def score_metrics(means: Mapping[str, float]) -> dict[str, float]:
    """Returns the metrics of scores, from the means of the sums above.

    `reward_min` and `reward_max` are means over prompts of the extremes of their completions. For
    pairs, `calibration_error` is the expected one, the sum of |accuracy - confidence| over bins of
    confidence; `length_bias` is the correlation of score and length differences, each pair in both
    orders. For ratings, `correlation` is the correlation of scores and ratings.
    """
    metrics = {name: value for name, value in means.items() if not name.startswith("_")}
    variance = max(0.0, means["_square"] - means["reward_mean"] ** 2)
    metrics["reward_std"] = math.sqrt(variance)
    if "accuracy" in means:
        gaps = [value for name, value in means.items() if name.startswith(GAP)]
        metrics["calibration_error"] = sum(map(abs, gaps))
        metrics["length_bias"] = _correlation(means["_dl"], means["_dd"], means["_ll"])
    else:
        rating = means["_rating"]
        covariance = means["_product"] - means["reward_mean"] * rating
        rating_variance = max(0.0, means["_rating_square"] - rating**2)
        metrics["correlation"] = _correlation(covariance, variance, rating_variance)
    return metrics


def _correlation(covariance: float, variance: float, other: float) -> float:
    """Correlation from a covariance and two variances; 0 if either variance is 0."""
    return covariance / math.sqrt(variance * other) if variance * other > 0 else 0.0


@dataclass(frozen=True)
class Scorer:
    """A trained reward model. `mean` and `std` are those of its scores on held-out texts."""

    network: Network
    head: ScoreHead
    tokenizer: Tokenizer
    seq_len: int
    mean: float
    std: float

    @torch.no_grad()
    def __call__(
        self, prompts: Sequence[str | Chat], completions: Sequence[str], batch: int = 16
    ) -> Float[Tensor, " n"]:
        """Returns the raw score of each completion; with its prompt, it is cut to `seq_len`."""
        pairs = [self._ids(*pair) for pair in zip(prompts, completions, strict=True)]
        scores: list[Tensor] = []
        for part in chunks(pairs, batch):
            inputs, where = self.network.read(part)
            scores.append(self.head(self.network.states(inputs)[where]))
        return torch.cat(scores) if scores else torch.zeros(0)

    def _ids(self, prompt: str | Chat, completion: str) -> tuple[Ids, Ids]:
        before, after = exchange(self.tokenizer, prompt, completion, with_rest=True)
        before, (after,), _ = fit(before, [after], self.seq_len - 2)
        return before, after


def read_reward_model(folder: str | Path) -> Scorer:
    """Reads the reward model of a finished run. Raises ConfigError if there is none."""
    model = read_model(folder)
    tensors = model.extra_tensors(HEAD)
    facts = model.facts
    if not tensors or MEAN not in facts:
        raise ConfigError(
            f"{folder} is not a reward model: it has no score head.\n"
            "  Name a finished run of objective=reward."
        )
    network = model.network().requires_grad_(False).eval()
    head = ScoreHead(model.architecture.dim)
    head.load_state_dict(tensors)
    seq_len = config_file.load_config(model.folder).data.seq_len
    return Scorer(
        network, head.requires_grad_(False), model.tokenizer, seq_len, facts[MEAN], facts[STD]
    )
