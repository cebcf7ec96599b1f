"""Multi-token prediction: causal language modelling that also predicts later tokens in training.

DeepSeek-AI 2024 (DeepSeek-V3), https://arxiv.org/abs/2412.19437, section 2.2, equations 21 to 25:
module k reads the states of module k - 1 and the embedding of the token k ahead, has one layer, and
shares the embedding and the head of the network. `heads=parallel`: Gloeckle et al. 2024,
https://arxiv.org/abs/2404.19737, section 2: each module is a layer on the states of the network.
Deviations: the modules read states after the final norm, and add layers instead of taking them from
the network. They belong to the objective: checkpoints hold them, and `model/` is the network alone.
No prediction crosses the end of a document. The validation loss is that of the next token alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from etude import Capability, Text, plugin, require
from etude.config import ArchitectureConfig, ObjectiveConfig, StackConfig, build
from etude.data import TokenRow, Vocab
from etude.network import Inputs, Network, Parts, Stack, StackNetwork, Targets, innermost, to_fp32
from etude.objective import (
    Loss,
    Objective,
    ObjectiveContext,
    TextBatch,
    next_token_batch,
    perplexity,
)


class Heads(Enum):
    """What the module of a later token reads: the previous module, or the network alone."""

    sequential = "sequential"
    parallel = "parallel"


@dataclass
class MtpConfig(ObjectiveConfig):
    n_future: int = 1
    """Later tokens to predict besides the next one, each by a module of its own. Typical: 1-3."""
    weight: float = 0.3
    """Weight of the mean loss of the later tokens; 0 = that of objective=clm. DeepSeek-V3: 0.3."""
    heads: Heads = Heads.sequential
    """sequential = a module also reads the tokens before its own (DeepSeek-V3); parallel = all read
    the states of the network (Gloeckle et al.)."""

    def __post_init__(self) -> None:
        require(self.n_future >= 1, f"n_future must be at least 1, got {self.n_future}")
        require(self.weight >= 0, f"weight must be 0 or more, got {self.weight}")

    def check(self, architecture: ArchitectureConfig) -> None:
        require(isinstance(architecture, StackConfig), "its modules are layers of a stack")


def shifted(values: Tensor, by: int) -> Tensor:
    """A row's values from position `by` on, with zeros after them."""
    return F.pad(values, (0, by))[:, by:]


def later_targets(targets: Targets, depth: int) -> Targets:
    """The tokens `depth` after the next ones, where all tokens up to them are of one document."""
    where = torch.stack([shifted(targets.where, k) for k in range(depth + 1)]).all(0)
    return Targets(targets.inputs, shifted(targets.ids, depth), where)


class FutureModule(nn.Module):
    """A layer like the last of the network; a sequential one also reads the later tokens."""

    def __init__(self, config: StackConfig, vocab: Vocab, heads: Heads) -> None:
        super().__init__()
        single = replace(
            config,
            n_groups=None,
            embedding_dim=None,
            norm_embedding=False,
            scale_embedding=False,
            n_segments=0,
        )
        whole: nn.Module = build(single, vocab)  # so that its weights are drawn as a network's
        self.stack = next(part for part in whole.children() if isinstance(part, Stack))
        self.stack.keep_last_layer()
        self.join: nn.Module | None = None
        if heads is Heads.sequential:
            widths = (config.dim, config.table_dim)
            self.norms = nn.ModuleList(
                build(config.norm, Parts(width, config.n_heads)) for width in widths
            )
            self.join = nn.Linear(sum(widths), config.dim, bias=False)

    def forward(
        self,
        states: Float[Tensor, "batch seq dim"],
        embedded: Float[Tensor, "batch seq table_dim"],
        inputs: Inputs,
    ) -> Float[Tensor, "batch seq dim"]:
        if self.join is not None:
            parts = zip(self.norms, (states, embedded), strict=True)
            states = self.join(torch.cat([norm(part) for norm, part in parts], dim=-1))
        return self.stack(states, inputs)


@plugin(MtpConfig, reads={Text}, needs={Capability.NEXT_TOKEN}, lr=1e-3, data="python_docs")
class Mtp(Objective[MtpConfig, TextBatch]):
    """-log p(next token) + weight x the mean over k of -log p(token k after it), in nats."""

    def __init__(self, config: MtpConfig, network: Network, tools: ObjectiveContext) -> None:
        super().__init__(config, network, tools)
        architecture = tools.architecture
        assert isinstance(architecture, StackConfig), "`check` refuses others"
        self.future = nn.ModuleList(
            FutureModule(architecture, network.vocab, config.heads) for _ in range(config.n_future)
        )
        self._states: list[Tensor] = []
        stack = next(part for part in network.children() if isinstance(innermost(part), Stack))
        stack.register_forward_hook(self._keep_states)

    def _keep_states(self, stack: nn.Module, arguments: Any, states: Tensor) -> None:
        """Keeps the states of the network's forward pass."""
        self._states = [states]

    def example(self, record: TokenRow, rng: np.random.Generator) -> TokenRow:
        return record

    def collate(self, examples: Sequence[TokenRow]) -> TextBatch:
        return next_token_batch(
            examples, self.tools.tokenizer.vocab.pad, intra_document=self.tools.intra_document
        )

    def count(self, batch: TextBatch) -> float:
        return float(batch.targets.where.sum())

    def loss(self, batch: TextBatch) -> Loss:
        nll = self._nll(self.network(batch.targets.inputs, batch.targets.where), batch.targets)
        later = self._later_nll(batch.targets)
        metrics = {"nll": nll.detach(), "bytes": batch.n_bytes}
        for k, (loss, n) in enumerate(later, 2):
            metrics |= {f"nll_{k}": loss.detach(), f"n_{k}": n}
        mean = torch.stack([loss for loss, _ in later]).mean()
        return Loss(nll + self.config.weight * mean, metrics)

    def _later_nll(self, targets: Targets) -> list[tuple[Tensor, Tensor]]:
        """The summed loss of the later tokens, and their number, for each module."""
        found: list[tuple[Tensor, Tensor]] = []
        network = self.network
        assert isinstance(network, StackNetwork), "`check` refuses others"
        states = first = self._states.pop()
        for depth, module in enumerate(self.future, 1):
            before = first if self.config.heads is Heads.parallel else states
            embedded = network.embedding(shifted(targets.inputs.tokens, depth))
            states = module(before, embedded, targets.inputs)
            later = later_targets(targets, depth)
            nll = self._nll(network.logits_at(states, later.where), later)
            found.append((nll, later.where.sum()))
        return found

    def _nll(self, logits: Float[Tensor, "n vocab"], targets: Targets) -> Float[Tensor, ""]:
        return F.cross_entropy(to_fp32(logits), targets.ids[targets.where], reduction="sum")

    def evaluate(self, batch: TextBatch) -> tuple[Loss, float]:
        metrics = self.loss(batch).metrics
        return Loss(metrics["nll"], metrics), self.count(batch)

    def report(self, means: Mapping[str, float]) -> dict[str, float]:
        later = range(2, self.config.n_future + 2)
        return {
            "loss": means["loss"],
            "perplexity": perplexity(means["nll"]),
            "bits_per_byte": means["nll"] / math.log(2) / means["bytes"],
            **{f"nll_{k}": means[f"nll_{k}"] / (means[f"n_{k}"] or math.nan) for k in later},
        }

    def show(self, records: Sequence[TokenRow]) -> list[str]:
        seq_len = self.tools.seq_len  # the network may have no positions beyond it
        starts = [row.tokens[: min(32, seq_len // 2)].tolist() for row in records]
        decode = self.tools.tokenizer.decode
        written = self.continuations(starts, min(96, seq_len - seq_len // 2))
        return [f"{decode(s)} [...] {w}" for s, w in zip(starts, written, strict=True)]
