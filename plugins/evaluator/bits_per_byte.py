"""Bits per byte of held-out text: a loss that models with different tokenizers share.

Gao et al. 2020 (The Pile), https://arxiv.org/abs/2101.00027, section 3.1. Bytes are those of the
text in UTF-8; the end of a document is not predicted.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from etude import Capability, Text, plugin
from etude.evaluation import Metric

from ._windows import Windows, WindowsConfig


@dataclass
class BitsPerByteConfig(WindowsConfig):
    """No knobs of its own."""


@plugin(BitsPerByteConfig, reads={Text}, needs={Capability.NEXT_TOKEN})
class BitsPerByte(Windows[BitsPerByteConfig]):
    """-log2 p of all documents / their bytes."""

    @property
    def metrics(self) -> Sequence[Metric]:
        scale = 1 / math.log(2)
        return [Metric("bits_per_byte", "nats", "bytes", scale, higher_is_better=False)]
