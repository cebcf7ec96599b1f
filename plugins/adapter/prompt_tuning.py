"""Prompt tuning: trains vectors that are prepended to the embedded text, and nothing else.

Lester et al. 2021, https://arxiv.org/abs/2104.08691, section 2; they start as the embeddings of
random tokens (section 3.2). In an encoder-decoder they precede the source.
Deviations: the stack does not return the states of the learned vectors, so cross-attention does
not see them. Left padding stays to the left of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from etude import plugin, require
from etude.config import AdapterConfig
from etude.formats import Fields, HFLinear, PeftFiles, PeftFormat, TransformersView, require_values
from etude.network import (
    AdapterLayer,
    Inputs,
    KvCache,
    Memory,
    Network,
    Stack,
    insert,
    module_slots,
)

TABLE = "prompt_embeddings"


@dataclass
class PromptTuningConfig(AdapterConfig):
    length: int = 16
    """Number of learned vectors; each takes one position before the text. Typical: 5-100."""

    def __post_init__(self) -> None:
        require(self.length >= 1, f"length must be at least 1, got {self.length}")

    @property
    def n_virtual_tokens(self) -> int:
        return self.length

    def peft_format(self) -> "PromptFormat":
        return PromptFormat()


@plugin(PromptTuningConfig, starts_as_base=False)
def prompt_tuning(config: PromptTuningConfig, network: Network) -> Network:
    """Prepends learned vectors to the input of the first stack."""
    stacks = [slot.name for slot in module_slots(network) if isinstance(slot.innermost, Stack)]
    require(len(stacks) > 0, "the network has no stack of blocks to prepend learned vectors to")
    tables = [m for m in network.children() if isinstance(m, nn.Embedding)]
    table = tables[0].weight.detach()
    start = table[torch.randint(len(table), (config.length,))]
    return insert(
        network, stacks[:1], lambda m: isinstance(m, Stack), lambda base: PromptedStack(start, base)
    )


def order(before: Int[Tensor, " batch"], n: int, length: int) -> Int[Tensor, "batch all"]:
    """Returns the indices that move n prepended vectors after each row's left padding.

    `before` is the number of padding tokens at the start of each row; `all` is n + length.
    """
    index = torch.arange(n + length, device=before.device)[None]
    start = before[:, None]
    return torch.where(
        index < start, index + n, torch.where(index < start + n, index - start, index)
    )


class PromptedStack(AdapterLayer):
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
        indices = order((real.cumsum(dim=1) == 0).sum(dim=1), n, x.shape[1])
        vectors = self.vectors.to(x.dtype).expand(x.shape[0], -1, -1)
        joined = torch.cat((vectors, x), dim=1).take_along_dim(indices[..., None], dim=1)
        states = self.base(joined, self._extend(inputs, indices), cache, memory)
        inverse = indices.argsort(dim=1)[:, n:]
        return states.take_along_dim(inverse[..., None], dim=1)

    def _extend(self, inputs: Inputs, indices: Tensor) -> Inputs:
        """Returns the inputs with the learned vectors in the first document and in the prefix."""
        n = len(self.vectors)

        def extend(part: Tensor | None, value: int) -> Tensor | None:
            return (
                None
                if part is None
                else F.pad(part, (n, 0), value=value).take_along_dim(indices, dim=1)
            )

        tokens = extend(inputs.tokens, 0)
        assert tokens is not None
        return replace(
            inputs,
            tokens=tokens,
            documents=extend(inputs.documents, 1),
            prefix=extend(inputs.prefix, 1),
            segments=extend(inputs.segments, 0),
        )


class PromptFormat(PeftFormat):
    """One table of vectors, for decoder-only networks."""

    peft_type = "PROMPT_TUNING"

    def write(self, theirs: TransformersView) -> PeftFiles | str:
        [vectors] = [tensor for name, tensor in theirs.state.items() if name.endswith(".vectors")]
        if theirs.task != "CAUSAL_LM":
            return "prompt tuning is written for causal language models only"
        fields = {
            "num_virtual_tokens": len(vectors),
            "token_dim": vectors.shape[1],
            "num_layers": theirs.architecture.n_layers,
            "num_attention_heads": theirs.architecture.n_heads,
            "num_transformer_submodules": 1,
        }
        return fields, {TABLE: vectors}

    def read(
        self, theirs: TransformersView, fields: Fields, found: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        return {name: found[TABLE] for name in theirs.state if name.endswith(".vectors")}

    def config(self, fields: Fields, linears: Sequence[HFLinear]) -> PromptTuningConfig:
        require_values(fields, {"task_type": "CAUSAL_LM"})
        return PromptTuningConfig(length=fields["num_virtual_tokens"])
