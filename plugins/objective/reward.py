"""Reward models: a score for the quality of a completion, trained on preferences.

Bradley-Terry: Stiennon et al. 2020, https://arxiv.org/abs/2009.01325, equation 1; all pairs of a
ranking, averaged, are one element: Ouyang et al. 2022, https://arxiv.org/abs/2203.02155. Margin:
Touvron et al. 2023, https://arxiv.org/abs/2307.09288, equation 2. Centering: Eisenstein et al.
2023, https://arxiv.org/abs/2312.09244, as (r_better + r_worse)^2 of each pair. A probability below
1 is a soft label: Lee et al. 2023, https://arxiv.org/abs/2309.00267. Ratings: squared error.
Deviations: the head starts at 0, so the loss of a pair starts at ln 2; it has a bias for ratings.
Records longer than data.seq_len are dropped and counted, not truncated (TRL).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from etude import Capability, Chat, Feedback, Message, Preference, Ranking, plugin, require
from etude.config import ComparisonConfig
from etude.data import Samples, Tokenizer, exchange
from etude.network import Inputs, Network, freeze_head
from etude.objective import Ids, Loss, Objective, ObjectiveContext, preference_loss
from etude.rl import HEAD, ScoreHead, pair_sums, prompt_sums, rating_sums, score_metrics

RewardRecord = Preference | Ranking | Feedback
numbers = partial(torch.tensor, dtype=torch.float64)


@dataclass
class RewardModelConfig(ComparisonConfig):
    margin: float = 0.0
    """Minimum score difference, added to the margin of each preference. Typical: 0-1."""
    eta: float = 0.0
    """Weight of the squared sum of both scores, which centres them; 0 = off. Typical: 0.01."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.margin >= 0, f"margin must be 0 or more, got {self.margin}")
        require(self.eta >= 0, f"eta must be 0 or more, got {self.eta}")


@dataclass
class RewardExample:
    """A prompt and its completions, best first, each with eos; or one completion and its rating."""

    prompt: Ids
    completions: Sequence[Ids]
    margin: float = 0.0
    probability: float = 1.0
    rating: float | None = None


@dataclass
class Pairs:
    """Rows of a batch to compare; the weights of a prompt's pairs sum to 1."""

    better: Int[Tensor, " pair"]
    worse: Int[Tensor, " pair"]
    weight: Float[Tensor, " pair"]
    margin: Float[Tensor, " pair"]
    probability: Float[Tensor, " pair"]


@dataclass
class RewardBatch:
    """Completions, one per row: scored position, prompt index, length, and labels."""

    inputs: Inputs
    where: Bool[Tensor, "batch seq"]
    prompt: Int[Tensor, " batch"]
    length: Float[Tensor, " batch"]
    pairs: Pairs | None
    rating: Float[Tensor, " batch"] | None


def pairs_of(examples: Sequence[RewardExample]) -> Pairs:
    """All pairs of the completions of each prompt, which are ordered best first, row by row."""
    rows: list[tuple[int, int, float, float, float]] = []
    end = 0
    for e in examples:
        places = range(end, end := end + len(e.completions))
        share = 1 / math.comb(len(places), 2)
        rows += [(*pair, share, e.margin, e.probability) for pair in combinations(places, 2)]
    better, worse, *columns = zip(*rows, strict=True)
    return Pairs(torch.tensor(better), torch.tensor(worse), *map(numbers, columns))


def parts_of(record: RewardRecord) -> tuple[str | Chat, Sequence[str | Message]]:
    """The prompt of a record, and its completions, best first."""
    match record:
        case Preference(prompt, chosen, rejected):
            return prompt, (chosen, rejected)
        case Ranking(prompt, completions):
            return prompt, completions
        case Feedback(prompt, completion):
            return prompt, (completion,)


def encode_record(record: RewardRecord, tokenizer: Tokenizer) -> RewardExample:
    """Encodes a whole record as ids, up to the end of what the template writes, as TRL does."""
    prompt, completions = parts_of(record)
    sides = [exchange(tokenizer, prompt, text, with_rest=True) for text in completions]
    example = RewardExample(sides[0][0], [completion for _, completion in sides])
    if isinstance(record, Feedback):
        return replace(example, rating=record.score)
    if isinstance(record, Preference):
        return replace(example, margin=record.margin, probability=record.probability)
    return example


@plugin(
    RewardModelConfig,
    reads={Preference, Ranking, Feedback},
    needs={Capability.HIDDEN},
    lr=1e-4,
    data="docs_preferences",
    example={"data.seq_len": 256},
)
class RewardModel(Objective[RewardModelConfig, RewardBatch]):
    """Trains a linear head on one state, in fp32, to rank completions or to predict ratings."""

    unit = "prompts"
    exported_modules = (HEAD,)

    def __init__(
        self, config: RewardModelConfig, network: Network, tools: ObjectiveContext
    ) -> None:
        super().__init__(config, network, tools)
        self.head = ScoreHead(network.dim)
        freeze_head(network)

    def select_samples(self, samples: Samples) -> Samples:
        kept = self.drop_samples(samples, self.drop_reason)
        # Differences of scores do not depend on the bias, and transformers' heads have none.
        self.head.bias.requires_grad_(isinstance(kept[0], Feedback))
        return kept

    def drop_reason(self, record: RewardRecord) -> str | None:
        """Why a record is dropped; None if it is kept."""
        example = encode_record(record, self.tools.tokenizer)
        if len({tuple(c) for c in example.completions}) < len(example.completions):
            return "two completions have the same tokens"
        inputs, _ = self.network.read([(example.prompt, max(example.completions, key=len))])
        sides = [inputs] if inputs.source is None else [inputs, inputs.source]
        fits = max(side.tokens.shape[1] for side in sides) <= self.tools.seq_len
        return None if fits else f"longer than data.seq_len={self.tools.seq_len}"

    def example(self, record: RewardRecord, rng: np.random.Generator) -> RewardExample:
        return encode_record(record, self.tools.tokenizer)

    def collate(self, examples: Sequence[RewardExample]) -> RewardBatch:
        rows = [(i, e, c) for i, e in enumerate(examples) for c in e.completions]
        inputs, where = self.network.read([(e.prompt, c) for _, e, c in rows])
        rated = [e.rating for e in examples if e.rating is not None]
        prompt = torch.tensor([i for i, _, _ in rows])
        length = numbers([len(c) for _, _, c in rows])
        labels = (None, numbers(rated)) if rated else (pairs_of(examples), None)
        return RewardBatch(inputs, where, prompt, length, *labels)

    def count(self, batch: RewardBatch) -> float:
        return float(batch.prompt[-1]) + 1.0

    def scores(self, batch: RewardBatch) -> Float[Tensor, " batch"]:
        """The score of each completion."""
        return self.head(self.network.states(batch.inputs)[batch.where])

    def loss(self, batch: RewardBatch) -> Loss:
        return self.score_loss(self.scores(batch), batch)

    def score_loss(self, scores: Float[Tensor, " batch"], batch: RewardBatch) -> Loss:
        """Loss and metrics of the scores."""
        metrics = prompt_sums(scores.detach(), batch.prompt)
        if batch.pairs is None:
            assert batch.rating is not None
            metrics |= rating_sums(scores.detach(), batch.rating)
            return Loss((scores - batch.rating).square().sum(), metrics)
        pairs = batch.pairs
        better, worse = scores[pairs.better], scores[pairs.worse]
        logit = better - worse - pairs.margin - self.config.margin
        losses = preference_loss(logit, 1 - pairs.probability)
        losses = losses + self.config.eta * (better + worse) ** 2
        longer = batch.length[pairs.better] - batch.length[pairs.worse]
        metrics |= pair_sums((better - worse).detach(), longer, pairs.probability, pairs.weight)
        return Loss((losses * pairs.weight).sum(), metrics)

    def report(self, means: Mapping[str, float]) -> dict[str, float]:
        return score_metrics(means)

    def show(self, records: Sequence[RewardRecord]) -> list[str]:
        batch = self.collate([encode_record(record, self.tools.tokenizer) for record in records])
        scores = iter(self.scores(self.transfer_batch_to_device(batch, self.device, 0)).tolist())
        return [
            "\n".join([str(prompt), *(f"  [{next(scores):+.3f}] {text}" for text in completions)])
            for prompt, completions in map(parts_of, records)
        ]
