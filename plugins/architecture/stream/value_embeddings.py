"""Value embeddings: some layers add an embedding of each token to the values of their mixer.

Zhou et al. 2024, https://arxiv.org/abs/2410.17897 (values of early layers help later ones); as
tables of the token ids: Jordan et al. 2024 (modded-nanogpt), https://github.com/KellerJordan/
modded-nanogpt, record 14. The gate is that of nanochat (https://github.com/karpathy/nanochat,
`gpt.py`): twice a sigmoid of the first channels of the normalised stream, for each head.
Deviations: the stream is normalised without weights, also if the block has no norm before its
mixer; the gate starts from the architecture's `init` instead of 0.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from etude import Capability, plugin, require
from etude.config import StreamConfig
from etude.network import Inputs, Layers, Stream, StreamParts


@dataclass
class ValueEmbeddingsConfig(StreamConfig):
    every: int = 2
    """Every n-th layer, counted back from the last, has a table. nanochat: 2."""
    gate_dim: int = 32
    """Channels of the residual stream that the gates read; at most all. nanochat: 12-32."""

    def __post_init__(self) -> None:
        for name in ("every", "gate_dim"):
            require(vars(self)[name] >= 1, f"{name} must be at least 1, got {vars(self)[name]}")


@plugin(ValueEmbeddingsConfig, needs={Capability.VALUES})
class ValueEmbeddings(Stream):
    """values + 2 sigmoid(gate(x)) * table[token], in every n-th layer."""

    def __init__(self, config: ValueEmbeddingsConfig, parts: StreamParts) -> None:
        super().__init__()
        self.gate_dim = min(config.gate_dim, parts.dim)
        self.tables = nn.ModuleDict()
        self.gates = nn.ModuleDict()
        for layer in range(parts.n_layers - 1, -1, -config.every):
            shape = parts.kv_shapes[layer]
            assert shape is not None, "a mixer with VALUES has value heads"
            self.tables[str(layer)] = nn.Embedding(parts.n_vocab, shape[0] * shape[1])
            self.gates[str(layer)] = nn.Linear(self.gate_dim, shape[0], bias=False)

    def forward(
        self, x: Float[Tensor, "batch seq dim"], inputs: Inputs, layers: Layers
    ) -> Float[Tensor, "batch seq dim"]:
        for layer in range(len(layers)):
            layers.context.extra_values = self._values(x, inputs, str(layer))
            x = layers.run(layer, x)
        return x

    def _values(self, x: Tensor, inputs: Inputs, layer: str) -> Tensor | None:
        if layer not in self.tables:
            return None
        channels = F.rms_norm(x, x.shape[-1:])[..., : self.gate_dim]
        gates = 2 * self.gates[layer](channels).sigmoid()  # batch seq heads
        values = self.tables[layer](inputs.tokens).unflatten(-1, (gates.shape[-1], -1))
        return (gates[..., None] * values).transpose(1, 2)  # batch heads seq head_dim
