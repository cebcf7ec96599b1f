"""Prompt tuning: learned vectors are prepended to the embedded text; nothing else is trained.

Lester et al. 2021, https://arxiv.org/abs/2104.08691, section 2; they start as the embeddings of
random tokens (section 3.2). In an encoder-decoder they precede the source.
Deviations: the stack does not return the states of the learned vectors, so cross-attention does
not see them. Left padding stays to the left of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from etude import plugin, require
from etude.config import AdapterConfig
from etude.formats import Fields, Joined, PeftForm, Theirs, refuse_others
from etude.network import AdapterLayer, Inputs, KvCache, Memory, Network, Stack, insert, places

TABLE = "prompt_embeddings"


@dataclass
class PromptTuningConfig(AdapterConfig):
    length: int = 16
    """Number of learned vectors; each takes one position before the text. Typical: 5-100."""

    def __post_init__(self) -> None:
        require(self.length >= 1, f"length must be at least 1, got {self.length}")

    @property
    def n_places(self) -> int:
        return self.length

    def form(self) -> "PromptForm":
        return PromptForm()


@plugin(PromptTuningConfig)
def prompt_tuning(config: PromptTuningConfig, network: Network) -> Network:
    """Prepends learned vectors to the input of the first stack."""
    stacks = [place.name for place in places(network) if isinstance(place.innermost, Stack)]
    require(len(stacks) > 0, "the network has no stack of blocks to read learned vectors")
    tables = [m for m in network.children() if isinstance(m, nn.Embedding)]
    table = tables[0].weight.detach()
    start = table[torch.randint(len(table), (config.length,))]
    return insert(
        network, stacks[:1], lambda m: isinstance(m, Stack), lambda base: Prompted(start, base)
    )


def order(before: Int[Tensor, " batch"], n: int, length: int) -> Int[Tensor, "batch all"]:
    """Indices that move n prepended vectors to the right of each row's left padding.

    `before` is the number of padding tokens at the start of each row; `all` is n + length.
    """
    place = torch.arange(n + length, device=before.device)[None]
    start = before[:, None]
    return torch.where(
        place < start, place + n, torch.where(place < start + n, place - start, place)
    )


class Prompted(AdapterLayer):
    """A stack with learned vectors before its input; returns the states of the text only."""

    def __init__(self, start: Float[Tensor, "n width"], base: nn.Module) -> None:
        super().__init__(base)
        self.vectors = nn.Parameter(start.clone())

    def forward_adapted(
        self,
        x: Float[Tensor, "batch seq width"],
        inputs: Inputs,
        cache: KvCache | None = None,
        memory: Memory | None = None,
    ) -> Float[Tensor, "batch seq dim"]:
        if cache is not None and cache.length > 0:
            return self.base(x, inputs, cache, memory)
        n = len(self.vectors)
        if cache is not None:
            cache.max_len += n
        documents = inputs.documents
        real = torch.ones_like(inputs.tokens) if documents is None else (documents > 0).long()
        read = order((real.cumsum(dim=1) == 0).sum(dim=1), n, x.shape[1])
        vectors = self.vectors.to(x.dtype).expand(x.shape[0], -1, -1)
        both = torch.cat((vectors, x), dim=1).take_along_dim(read[..., None], dim=1)
        states = self.base(both, self._longer(inputs, read), cache, memory)
        back = read.argsort(dim=1)[:, n:]
        return states.take_along_dim(back[..., None], dim=1)

    def _longer(self, inputs: Inputs, read: Tensor) -> Inputs:
        """The inputs with the learned vectors added to the first document and to the prefix."""
        n = len(self.vectors)

        def longer(part: Tensor | None, value: int) -> Tensor | None:
            return (
                None
                if part is None
                else F.pad(part, (n, 0), value=value).take_along_dim(read, dim=1)
            )

        tokens = longer(inputs.tokens, 0)
        assert tokens is not None
        return replace(
            inputs,
            tokens=tokens,
            documents=longer(inputs.documents, 1),
            prefix=longer(inputs.prefix, 1),
            segments=longer(inputs.segments, 0),
        )


class PromptForm(PeftForm):
    """One table of vectors, for decoder-only networks."""

    peft_type = "PROMPT_TUNING"

    def write(self, theirs: Theirs) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        [vectors] = [held for name, held in theirs.state.items() if name.endswith(".vectors")]
        if theirs.task != "CAUSAL_LM":
            return None
        fields = {
            "num_virtual_tokens": len(vectors),
            "token_dim": vectors.shape[1],
            "num_layers": theirs.architecture.n_layers,
            "num_attention_heads": theirs.architecture.n_heads,
            "num_transformer_submodules": 1,
        }
        return fields, {TABLE: vectors}

    def read(
        self, theirs: Theirs, fields: Fields, found: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        return {name: found[TABLE] for name in theirs.state if name.endswith(".vectors")}

    def config(self, fields: Fields, linears: Sequence[Joined]) -> PromptTuningConfig:
        refuse_others(fields, {"task_type": "CAUSAL_LM"})
        return PromptTuningConfig(length=fields["num_virtual_tokens"])
