"""Supervised fine-tuning: trains on conversations with good answers.

Ouyang et al. 2022, https://arxiv.org/abs/2203.02155, section 3.5. The run's `template` formats a
conversation; the loss is on the assistant's turns: what follows the header, up to and including the
token that ends the turn. If a network reads a source, each answer is a separate target, and its
source is the conversation so far. Noise: Jain et al. 2023 (NEFTune),
https://arxiv.org/abs/2310.05914, equation 1; the length is that of a row without its padding.

A conversation that is too long keeps its start (as a source: its first token and its end). Those
without a token to train on, or rejected by the template, are dropped and counted. Greedy answers to
the last turn of held-out conversations are scored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch.nn.functional as F
from torch import nn

from etude import Capability, Chat, only_with, plugin, require
from etude.config import ArchitectureConfig, Measure, ObjectiveConfig, capabilities_of
from etude.data import Samples, TokenRow
from etude.network import Inputs, Network, Targets, pad_right, to_fp32
from etude.objective import (
    HeldOutPrompts,
    Loss,
    Objective,
    ObjectiveContext,
    Ranks,
    StepSource,
    average_measures,
    perplexity,
    score_answers,
    similarity,
)

from ._sft.conversations import ConversationEncoder, TrainingSpan, TrainOn, encode_conversations
from ._sft.labels import labels_of
from ._sft.neftune import neftune_hook
from ._sft.replay import Mixture, pretraining_text


@dataclass
class SftConfig(ObjectiveConfig):
    train_on: TrainOn = TrainOn.all
    """all = all turns of the assistant; last = its last turn; everything = every token."""
    pack: bool = False
    """Pack conversations into rows, with attention confined to each one; false pads each."""
    replay: str | None = None
    """Folder of the run that pretrained the base model; its text is mixed in to reduce
    forgetting; null = none."""
    replay_share: float = only_with("replay", 0.25)
    """Fraction of replayed text among all samples, in (0, 1)."""
    neftune_alpha: float = 0.0
    """NEFTune noise scale on the embeddings in training; 0 disables it. Typical: 5."""
    max_new_tokens: int = 64
    """Maximum tokens of an answer generated for metrics and samples; 0 disables generation."""
    measures: list[Measure] = only_with("max_new_tokens>0", [Measure.exact_match])
    """Metrics of generated held-out answers; chrf and rouge_l need the extra `text`."""

    def __post_init__(self) -> None:
        for name in ("neftune_alpha", "max_new_tokens"):
            value = getattr(self, name)
            require(value >= 0, f"{name} must be 0 or more, got {value}")
        share = self.replay_share
        require(0 < share < 1, f"replay_share must be in (0, 1), got {share}")

    @property
    def rereads(self) -> dict[str, str | None]:
        return {"replay": self.replay}

    def check(self, architecture: ArchitectureConfig) -> None:
        if Capability.SOURCE_TARGET in capabilities_of(architecture):
            why = "a network that reads a source has each answer as a separate target"
            everything = self.train_on is TrainOn.everything
            require(not everything, f"objective.train_on=everything cannot be used: {why}")
            require(not self.pack, f"objective.pack=true has no effect: {why}")
            require(self.replay is None, f"objective.replay={self.replay} cannot be used: {why}")


@dataclass
class SftBatch:
    """Tokens to predict; for held-out data, also the prompts to answer."""

    targets: Targets
    prompts: HeldOutPrompts | None = None


@plugin(SftConfig, reads={Chat}, needs={Capability.GENERATE}, lr=1e-4, data="docs_chat")
class Sft(Objective[SftConfig, SftBatch]):
    """Learns p(answer | conversation so far); the loss is a mean over the tokens trained on."""

    def __init__(self, config: SftConfig, network: Network, tools: ObjectiveContext) -> None:
        super().__init__(config, network, tools)
        self.reads_source = Capability.SOURCE_TARGET in capabilities_of(tools.architecture)
        limits = tools.seq_len, self.reads_source
        self.encoder = ConversationEncoder(tools.tokenizer, config.train_on, *limits)
        for measure in config.measures:
            similarity(measure)  # fails early if it is unavailable
        if config.neftune_alpha:
            tables = (m for m in network.modules() if isinstance(m, nn.Embedding))
            table = next(m for m in tables if m.num_embeddings == network.vocab.size)
            hook = partial(neftune_hook, alpha=config.neftune_alpha, pad=network.vocab.pad)
            table.register_forward_hook(hook)

    def select_samples(self, samples: Samples) -> Samples:
        """The conversations with tokens to train on, as rows; counts what was dropped."""
        rows, lost = encode_conversations(samples, self.encoder, self.config.pack)
        self.lost += lost
        self.notes += rows.notes
        return rows

    def source(self, samples: Samples, global_batch: int, seed: int, ranks: Ranks) -> StepSource:
        config = self.config
        tools = self.tools
        if config.replay is not None:
            text = pretraining_text(config.replay, tools.tokenizer, tools.seq_len)
            samples = Mixture(samples, text, config.replay_share)
        return super().source(samples, global_batch, seed, ranks)

    def spans(self, record: Chat | TokenRow | list[TrainingSpan]) -> list[TrainingSpan]:
        """The spans of a record, encoded if necessary; a text is one fully trained span."""
        if isinstance(record, TokenRow):
            return [TrainingSpan(record.tokens, np.ones(len(record.tokens), bool))]
        return self.encoder.spans(record) if isinstance(record, Chat) else record

    def example(
        self, record: Chat | TokenRow | list[TrainingSpan], rng: np.random.Generator
    ) -> list[TrainingSpan]:
        return self.spans(record)

    def token_labels(self, example: list[TrainingSpan]) -> list[str]:
        return [] if self.reads_source else labels_of(example, self.tools.tokenizer)

    def collate(self, examples: Sequence[list[TrainingSpan]]) -> SftBatch:
        if self.reads_source:
            spans = [span for example in examples for span in example]
            pairs = [(s.ids[~s.trained].tolist(), s.ids[s.trained].tolist()) for s in spans]
            return SftBatch(self.network.answer(pairs))
        return SftBatch(self._packed_targets(examples))

    def _packed_targets(self, examples: Sequence[list[TrainingSpan]]) -> Targets:
        """Conversations packed in a row, each a document whose first token is not a target."""
        pad = self.tools.tokenizer.vocab.pad
        ids = [np.concatenate([span.ids for span in row]).tolist() for row in examples]
        masks = [np.concatenate([span.trained for span in row]).tolist() for row in examples]
        tokens = pad_right(ids, pad).tokens
        trained = pad_right(masks, 0).tokens.bool()
        numbers = [np.repeat(range(1, len(e) + 1), [len(s.ids) for s in e]) for e in examples]
        documents = pad_right([row.tolist() for row in numbers], 0).tokens
        # The last token of a row has nothing to predict.
        seen = documents[:, :-1].masked_fill(documents[:, 1:] == 0, 0)
        inputs = Inputs(tokens[:, :-1], None if bool((seen == 1).all()) else seen)
        return Targets(inputs, tokens[:, 1:], trained[:, 1:])

    def held_out_batch(
        self, records: Sequence[Chat | list[TrainingSpan]], rngs: Sequence[np.random.Generator]
    ) -> SftBatch:
        examples = [self.example(*pair) for pair in zip(records, rngs, strict=True)]
        batch = self.collate(examples)
        answers = [span.answer for example in examples for span in example]
        batch.prompts = HeldOutPrompts([pair for pair in answers if pair is not None])
        return batch

    def count(self, batch: SftBatch) -> float:
        return float(batch.targets.where.sum())

    def loss(self, batch: SftBatch) -> Loss:
        targets = batch.targets
        logits = to_fp32(self.network(targets.inputs, targets.where))
        due = targets.ids[targets.where]
        right = (logits.argmax(dim=-1) == due).sum()
        return Loss(F.cross_entropy(logits, due, reduction="sum"), {"token_accuracy": right})

    def evaluate(self, batch: SftBatch) -> tuple[Loss, float]:
        loss = self.loss(batch)
        config = self.config
        scores = score_answers(self, batch.prompts, config.max_new_tokens, config.measures)
        return Loss(loss.total, {**loss.metrics, **scores}), self.count(batch)

    def report(self, means: Mapping[str, float]) -> dict[str, float]:
        return {
            **average_measures(means, self.config.measures),
            "perplexity": perplexity(means["loss"]),
        }

    def show(self, records: Sequence[Chat | list[TrainingSpan]]) -> list[str]:
        longest = min(self.config.max_new_tokens, self.tools.seq_len // 2)
        answers = [span.answer for record in records for span in self.spans(record)]
        whole = [pair[0] for pair in answers if pair is not None]
        if not whole or longest == 0:
            return []
        room = self.tools.seq_len - longest
        prompts = [[*ids[:1], *ids[1:][max(0, len(ids) - room) :]] for ids in whole]
        written = self.continuations(prompts, longest)
        texts = [self.tools.tokenizer.decode(ids).strip() for ids in prompts]
        return [f"{text} [...] {answer}" for text, answer in zip(texts, written, strict=True)]
