"""Direct preference optimisation: learn from preference pairs, with no reward model.

Rafailov et al. 2023, https://arxiv.org/abs/2305.18290, equation 7.
Label smoothing: Mitchell 2023, https://ericmitchell.ai/cdpo.pdf.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from etude import plugin
from etude.batches import (
    PreferenceBatch,
    PreferenceExample,
    preference_batch,
    preference_example,
    prompt_ids,
)
from etude.capability import Capability
from etude.functional import reference_of, sequence_log_prob
from etude.loss import Loss
from etude.network import Network
from etude.objective import Objective, Tools
from etude.records import Preference
from etude.schema import ObjectiveConfig, require


@dataclass
class DpoConfig(ObjectiveConfig):
    beta: float = 0.1
    """Pull towards the reference policy; larger stays closer. Usual range 0.01 to 0.5."""
    label_smoothing: float = 0.0
    """Assumed probability that a label is flipped, in [0, 0.5)."""

    def __post_init__(self) -> None:
        require(self.beta > 0, f"beta must be positive, got {self.beta}")
        require(
            0 <= self.label_smoothing < 0.5,
            f"label_smoothing must be in [0, 0.5), got {self.label_smoothing}",
        )


def dpo_loss(logit: Float[Tensor, " pair"], smoothing: float) -> Float[Tensor, " pair"]:
    """Cross-entropy, in nats, of each label under preference log-odds `logit`."""
    return -(1 - smoothing) * F.logsigmoid(logit) - smoothing * F.logsigmoid(-logit)


@plugin(
    DpoConfig,
    reads={Preference},
    needs={Capability.GENERATE},
    lr=5e-7,
    data="docs_preferences",
)
class Dpo(Objective[DpoConfig, PreferenceBatch]):
    """Raises chosen over rejected completions, relative to a frozen copy of the start."""

    def __init__(self, config: DpoConfig, network: Network, tools: Tools) -> None:
        super().__init__(config, network, tools)
        self.reference = reference_of(network)

    def example(self, record: Preference, rng: np.random.Generator) -> PreferenceExample:
        return preference_example(self.tools.tokenizer, record, self.tools.seq_len)

    def collate(self, examples: Sequence[PreferenceExample]) -> PreferenceBatch:
        return preference_batch(examples, self.network)

    def count(self, batch: PreferenceBatch) -> float:
        return float(len(batch.chosen.ids))

    def loss(self, batch: PreferenceBatch) -> Loss:
        policy = log_odds(self.network, batch)
        margin = self.config.beta * (policy - log_odds(self.reference, batch))
        losses = dpo_loss(margin, self.config.label_smoothing)
        metrics = {
            "accuracy": (margin > 0).sum(),
            "policy_accuracy": (policy > 0).sum(),
            "margin": margin.detach().sum(),
        }
        return Loss(losses.sum(), metrics)

    def show(self, records: Sequence[Preference]) -> list[str]:
        room = self.tools.seq_len // 2
        prompts = [prompt_ids(self.tools.tokenizer, r.prompt, room) for r in records]
        written = self.continuations(prompts, min(64, room))
        return [f"{r.prompt} [...] {w}" for r, w in zip(records, written, strict=True)]


def log_odds(network: nn.Module, batch: PreferenceBatch) -> Float[Tensor, " pair"]:
    """Returns log p(chosen | prompt) - log p(rejected | prompt), in nats."""
    return sequence_log_prob(network, batch.chosen) - sequence_log_prob(network, batch.rejected)
