"""Replaced-token detection: a small generator fills masks, the network detects replacements.

Clark et al. 2020 (ELECTRA), https://arxiv.org/abs/2003.10555, section 2: the generator is trained
by maximum likelihood; the discriminator's loss reaches it only through the shared token table. A
token that the generator restores counts as original. As in their code, the binary loss is a mean
over all tokens, and 50 times it is added to the mean over the masked ones.
Normalisation: the loss is a sum over text tokens, and the generator's loss of a row is a mean over
its masked tokens, weighted by its text tokens. That equals the mean over all masked tokens, except
for the rounding of each row's budget.
Deviations: the token table is shared, positions and segments are not; special tokens are not
classified; the last layer of the discriminator's head starts at 0, so its loss starts at ln 2.
The network's own head is unused here, so its weights are frozen unless shared with the table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from torch import Tensor, nn

from etude import Capability, Text, option, plugin, require
from etude.config import MaskingConfig, StackConfig, build
from etude.data import TokenRow
from etude.network import Ancestral, Inputs, Network, StackNetwork, Targets, freeze_head, to_fp32
from etude.objective import SAMPLE, Loss, Objective, ObjectiveContext, rng, row_means

from ._binary_head import BinaryHead
from ._masking import MaskedConfig, MaskedRow, Masking, masked_row, masked_targets

DRAWS = 2**24
"""Draws are integers below this: exact in fp32, so a transfer to a device never rounds them."""


@dataclass
class ElectraConfig(MaskedConfig):
    masking: MaskingConfig = option("token")
    mask_share: float = 1.0
    """Fraction of the selected tokens replaced by the mask token, in [0, 1] (their code: 0.85)."""
    random_share: float = 0.0
    """Fraction of the selected tokens replaced by a random token, in [0, 1]."""
    generator_ratio: float = 0.25
    """Generator heads (and width) relative to the network's, in (0, 1]. Typical: 0.25-0.5."""
    discriminator_weight: float = 50.0
    """Weight of the discriminator's loss relative to the generator's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        ratio = self.generator_ratio
        weight = self.discriminator_weight
        require(0 < ratio <= 1, f"generator_ratio must be in (0, 1], got {ratio}")
        require(weight > 0, f"discriminator_weight must be positive, got {weight}")


@dataclass
class ElectraExample:
    """A row with masked tokens, and a random draw for each of them."""

    row: MaskedRow
    draws: Int[np.ndarray, " n"]


@dataclass
class ElectraBatch:
    """The generator's targets, the draws that sample from it, and which tokens are text."""

    hidden: Targets
    draws: Int[Tensor, " n"]
    text: Bool[Tensor, "batch seq"]


def generator_config(config: StackConfig, ratio: float) -> StackConfig:
    """The same stack with fewer heads of the same size, and a token table as wide as before."""
    n_heads = max(1, round(ratio * config.n_heads))
    dim = config.dim // config.n_heads * n_heads
    return replace(config, n_heads=n_heads, dim=dim, embedding_dim=config.table_dim)


def network_sharing_table(config: StackConfig, network: StackNetwork) -> StackNetwork:
    """Builds a network that shares the token table of another."""
    shared: StackNetwork = build(config, network.vocab)
    shared.embedding = network.embedding
    if config.tie:
        shared.head.out.weight = network.embedding.weight
    return shared


@plugin(
    ElectraConfig,
    reads={Text},
    needs={Capability.BOTH_SIDES, Capability.HIDDEN},
    lr=5e-4,
    data="python_docs",
    tokens={"mask"},
)
class Electra(Objective[ElectraConfig, ElectraBatch]):
    """The network is the discriminator; the generator is discarded when the run ends."""

    unit = "text tokens"

    def __init__(self, config: ElectraConfig, network: Network, tools: ObjectiveContext) -> None:
        super().__init__(config, network, tools)
        architecture = tools.architecture
        assert isinstance(network, StackNetwork), "only a stack provides BOTH_SIDES"
        assert isinstance(architecture, StackConfig)
        self.select: Masking = build(config.masking, tools.tokenizer)
        small = generator_config(architecture, config.generator_ratio)
        self.generator = network_sharing_table(small, network)
        self.detector = BinaryHead(network.dim, nn.GELU())
        freeze_head(network)

    def example(self, record: TokenRow, rng: np.random.Generator) -> ElectraExample:
        tokenizer = self.tools.tokenizer
        seq_len = self.tools.seq_len
        row = masked_row(record, seq_len, tokenizer, self.select, self.config, rng)
        return ElectraExample(row, rng.integers(DRAWS, size=int(row.selected.sum())))

    def collate(self, examples: Sequence[ElectraExample]) -> ElectraBatch:
        vocab = self.tools.tokenizer.vocab
        rows = [example.row for example in examples]
        hidden = masked_targets(rows, vocab.pad, intra_document=self.tools.intra_document)
        draws = torch.from_numpy(np.concatenate([e.draws for e in examples]))
        text = torch.isin(hidden.ids, torch.tensor(sorted(vocab.special)), invert=True)
        return ElectraBatch(hidden, draws, text)

    def count(self, batch: ElectraBatch) -> float:
        return float(batch.text.sum())

    def loss(self, batch: ElectraBatch) -> Loss:
        where = batch.hidden.where
        text = batch.text
        weights = text.sum(dim=1)
        ids = batch.hidden.ids[where]
        logits = to_fp32(self.generator(batch.hidden.inputs, where))
        nll = row_means(F.cross_entropy(logits, ids, reduction="none"), where) @ weights.to(logits)
        filled = self.fill(batch, logits.detach())
        replaced = (filled.tokens != batch.hidden.ids)[text]
        scores = self.detector(self.network.states(filled)[text])
        binary = F.binary_cross_entropy_with_logits(scores, replaced.to(scores), reduction="sum")
        detected = scores > 0
        is_correct = (logits.argmax(-1) == ids).to(logits)
        metrics = {
            "generator_loss": nll.detach(),
            "generator_accuracy": row_means(is_correct, where) @ weights.to(logits),
            "discriminator_loss": binary.detach(),
            "accuracy": (detected == replaced).sum(),
            "replaced": replaced.sum(),
            "found": (detected & replaced).sum(),
        }
        return Loss(nll + self.config.discriminator_weight * binary, metrics)

    def fill(self, batch: ElectraBatch, logits: Tensor) -> Inputs:
        """The text with tokens sampled from the generator at the masked positions."""
        tokens = batch.hidden.ids.clone()
        tokens[batch.hidden.where] = Ancestral().choose(logits, batch.draws.float() / DRAWS)
        return replace(batch.hidden.inputs, tokens=tokens)

    def report(self, means: Mapping[str, float]) -> dict[str, float]:
        rest = {name: value for name, value in means.items() if name != "found"}
        return {**rest, "recall": means["found"] / means["replaced"] if means["replaced"] else 0.0}

    def show(self, records: Sequence[TokenRow]) -> list[str]:
        return [self._marked_text(record, i) for i, record in enumerate(records)]

    def _marked_text(self, record: TokenRow, number: int) -> str:
        """A filled text, with the tokens classified as replaced in double brackets."""
        batch = self.collate([self.example(record, rng(self.tools.seed, SAMPLE, number))])
        batch = self.transfer_batch_to_device(batch, self.device, 0)
        filled = self.fill(batch, to_fp32(self.generator(batch.hidden.inputs, batch.hidden.where)))
        flagged = (self.detector(self.network.states(filled)) > 0) & batch.text
        pieces = self.tools.tokenizer.pieces(filled.tokens[0].tolist())
        marks = zip(pieces, flagged[0].tolist(), strict=True)
        return "".join(f"[[{piece}]]" if mark else piece for piece, mark in marks)
