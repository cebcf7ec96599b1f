"""Text embeddings, trained to find the other half of each pair among those of the global batch.

InfoNCE with in-batch negatives: van den Oord et al. 2018, https://arxiv.org/abs/1807.03748,
equation 4; Henderson et al. 2017, https://arxiv.org/abs/1705.00652, section 4.4; cosine and
temperature as in Gao et al. 2021 (SimCSE), https://arxiv.org/abs/2104.08821, equation 1; hard
negatives: Karpukhin et al. 2020 (DPR), https://arxiv.org/abs/2004.04906, section 3.2;
symmetric: Radford et al. 2021 (CLIP), https://arxiv.org/abs/2103.00020, figure 3; nested sizes:
Kusupati et al. 2022 (Matryoshka), https://arxiv.org/abs/2205.13147, equation 1, as a plain mean.
Validation searches the whole held-out split, so its loss depends on the size of the split; recall
and mean reciprocal rank are among the positives alone, and a tie counts as a miss. An
encoder-decoder reads the text as its source, and its vector is the first state of the decoder: Ni
et al. 2021 (Sentence-T5), https://arxiv.org/abs/2108.08877, section 3.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from etude import Capability, Pair, Preference, plugin, require
from etude.config import ArchitectureConfig, ObjectiveConfig, capabilities_of
from etude.network import Inputs, Network, freeze_head, to_fp32
from etude.objective import HeadObjective, Ids, Loss, ObjectiveContext, Prediction, Query, own_sum

from ._info_nce import info_nce, ranks
from ._pooling import Pooling, pooled


class Similarity(Enum):
    """How two vectors are compared."""

    cosine = "cosine"
    dot = "dot"


@dataclass
class EmbedConfig(ObjectiveConfig):
    temperature: float = 0.05
    """Divides the similarities before the softmax; a smaller one weights close negatives more.
    Typical: 0.01-0.1 for cosine, 1 for dot."""
    similarity: Similarity = Similarity.cosine
    """cosine = vectors of length 1; dot = vectors as they are pooled."""
    pooling: Pooling = Pooling.mean
    """The vector of a text: the mean of its states, the first one (cls) or the last one."""
    symmetric: bool = False
    """Also find the source of each target; the two losses are averaged."""
    matryoshka: list[int] = field(default_factory=list[int])
    """Further vector sizes, such as [16,32]: the first values of a vector are trained as vectors of
    their own, with equal weight. Empty = the whole vector alone."""

    def __post_init__(self) -> None:
        require(self.temperature > 0, f"temperature must be positive, got {self.temperature}")
        n = len(self.matryoshka)
        require(
            all(size > 0 for size in self.matryoshka) and len({*self.matryoshka}) == n,
            f"matryoshka must contain different positive sizes, got {self.matryoshka}",
        )

    def check(self, architecture: ArchitectureConfig) -> None:
        require(
            self.pooling is Pooling.mean
            or Capability.SOURCE_TARGET not in capabilities_of(architecture),
            f"objective.pooling={self.pooling.value} has no effect: the vector of an "
            "encoder-decoder is the first state of its decoder.\n  Leave objective.pooling out",
        )
        require(
            all(size < architecture.dim for size in self.matryoshka),
            f"objective.matryoshka={self.matryoshka} must be smaller than "
            f"architecture.dim={architecture.dim}",
        )


@dataclass
class EmbedBatch:
    """The texts of all samples, row by row."""

    query: Inputs
    positive: Inputs
    negative: Inputs | None = None


def texts_of(record: Pair | Preference) -> Sequence[str]:
    """The query, the text to find for it and, in a preference, one that must not be found."""
    if isinstance(record, Pair):
        return record.source, record.target
    return str(record.prompt), str(record.chosen), str(record.rejected)


@plugin(
    EmbedConfig, reads={Pair, Preference}, needs={Capability.HIDDEN}, lr=3e-4, data="docs_pairs"
)
class Embed(HeadObjective[EmbedConfig, EmbedBatch]):
    """Pulls the two texts of a pair together, and the query away from all other texts."""

    unit = "queries"

    def __init__(self, config: EmbedConfig, network: Network, tools: ObjectiveContext) -> None:
        super().__init__(config, network, tools)
        self.sizes = [*config.matryoshka, network.dim]
        freeze_head(network)

    def _encode(self, texts: Sequence[str]) -> Sequence[Ids]:
        """The ids of each text, without truncation."""
        vocab = self.tools.tokenizer.vocab
        encoded = self.tools.tokenizer.encode_batch(texts)
        return [vocab.document(ids.tolist()) for ids in encoded]

    def _fit(self, texts: Sequence[str]) -> Sequence[Ids]:
        """The ids of each text, cut to fit data.seq_len."""
        end = self.tools.seq_len - 1
        return [[*ids[:-1][:end], ids[-1]] for ids in self._encode(texts)]

    def cuts(self, sample: Pair | Preference) -> Iterable[str]:
        n = sum(len(ids) > self.tools.seq_len for ids in self._encode(texts_of(sample)))
        return ["texts cut to fit data.seq_len"] * n

    def example(self, record: Pair | Preference, rng: np.random.Generator) -> Sequence[Ids]:
        return self._fit(texts_of(record))

    def collate(self, examples: Sequence[Sequence[Ids]]) -> EmbedBatch:
        return EmbedBatch(*(self.network.prompt(texts) for texts in zip(*examples, strict=True)))

    def count(self, batch: EmbedBatch) -> float:
        return float(len(batch.query.tokens))

    def sample_rows(self, batch: EmbedBatch) -> Float[Tensor, "sample text dim"]:
        texts = [t for t in (batch.query, batch.positive, batch.negative) if t is not None]
        return torch.stack([self._vectors(text) for text in texts], 1)

    def _vectors(self, texts: Inputs) -> Float[Tensor, "text dim"]:
        return to_fp32(pooled(self.network.states(texts), texts, self.config.pooling))

    def loss(self, batch: EmbedBatch) -> Loss:
        rows, own = self.all_rows(self.sample_rows(batch))
        if not torch.is_grad_enabled():  # the losses of other samples would only give gradient
            return Loss(self._losses(rows, own).sum(), self._metrics(rows, own))
        every = torch.arange(len(rows), device=own.device)
        return Loss(own_sum(self._losses(rows, every), own), self._metrics(rows.detach(), own))

    def _losses(
        self, rows: Float[Tensor, "sample text dim"], of: Int[Tensor, " n"]
    ) -> Float[Tensor, " n"]:
        """The loss of the samples `of`, over the candidates of all."""
        losses = torch.zeros_like(of, dtype=rows.dtype)
        for size in self.sizes:
            queries, candidates = self._sides(rows[..., :size])
            found = info_nce(queries[of], candidates, of, self.config.temperature)
            if self.config.symmetric:
                back = info_nce(candidates[of], queries, of, self.config.temperature)
                found = (found + back) / 2
            losses = losses + found / len(self.sizes)
        return losses

    def _sides(
        self, rows: Float[Tensor, "sample text dim"]
    ) -> tuple[Float[Tensor, "sample dim"], Float[Tensor, "candidate dim"]]:
        """The queries, and the candidates: all positives, then all negatives."""
        queries, *candidates = self._comparable(rows).unbind(1)
        return queries, torch.cat(candidates)

    def _comparable(self, rows: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        return F.normalize(rows, dim=-1) if self.config.similarity is Similarity.cosine else rows

    def _metrics(
        self, rows: Float[Tensor, "sample text dim"], own: Int[Tensor, " own"]
    ) -> dict[str, Tensor]:
        queries, candidates = self._sides(rows)
        places = ranks(queries[own], candidates, own)
        among_positives = ranks(queries[own], candidates[: len(rows)], own)
        return {
            "accuracy": (places == 1).sum(),
            "recall_at_1": (among_positives == 1).sum(),
            "mrr": (1 / among_positives).sum(),
        }

    def show(self, records: Sequence[Pair | Preference]) -> list[str]:
        batch = self.collate([self.example(r, np.random.default_rng(0)) for r in records])
        batch = self.transfer_batch_to_device(batch, self.device, 0)
        queries, candidates = self._sides(self.sample_rows(batch))
        scores = (queries * candidates[: len(records)]).sum(-1).tolist()
        pairs = [texts_of(record)[:2] for record in records]
        return [f"{a}\n  [{x:+.3f}] {b}" for (a, b), x in zip(pairs, scores, strict=True)]

    def predict(self, queries: Sequence[Query]) -> list[Prediction]:
        inputs = self.network.prompt(self._fit([query.plain for query in queries]))
        vectors = self._comparable(self._vectors(inputs)).tolist()
        return [Prediction({"vector": vector}, [json.dumps(vector)]) for vector in vectors]
