"""Replay: mixes text of an earlier run into the samples of a later one, to reduce forgetting.

Rebuffi et al. 2017 (iCaRL), https://arxiv.org/abs/1611.07725; for language models: Scialom et al.
2022, https://arxiv.org/abs/2205.12393. The rows come from the earlier run's training split.
"""

from dataclasses import replace
from typing import Any

from etude import ConfigError
from etude.config import config_of_parent, text_config
from etude.data import Samples, Tokenizer, prepare


class Mixture:
    """Samples plus a share of others, which are picked at even intervals."""

    def __init__(self, samples: Samples, others: Samples, share: float) -> None:
        self.samples = samples
        self.others = others
        self.n_others = round(len(samples) * share / (1 - share))

    def __len__(self) -> int:
        return len(self.samples) + self.n_others

    def __getitem__(self, index: int) -> Any:
        i = index - len(self.samples)
        if i < 0:
            return self.samples[index]
        return self.others[i * len(self.others) // self.n_others % len(self.others)]


def pretraining_text(run: str, tokenizer: Tokenizer, seq_len: int) -> Samples:
    """Rows of the text that a run was trained on.

    Raises ConfigError if it is not a run, or was not trained on raw text.
    """
    config = config_of_parent("objective.replay", run)
    if text_config(config.data) is None:
        raise ConfigError(
            f"objective.replay={run} cannot be replayed: it was not trained on raw text.\n"
            "  Name the run that pretrained the base model."
        )
    config = replace(config, data=replace(config.data, seq_len=seq_len))
    return prepare(config, tokenizer).train
