"""Hyper-connections: several residual streams, mixed around each layer by learned weights.

Zhu et al. 2024, https://arxiv.org/abs/2409.19606: static weights (equations 1 to 5), plus dynamic
ones that depend on the token (equations 10 to 13); initial weights as in equation 14, with
dynamic parts 0. Deviations: a layer is a whole block, h -> block(h), whose branch is block(h) - h,
not each of its sublayers; the streams are averaged at the end, not summed, so that the network
starts as the plain one also without a final norm.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from etude import plugin, require
from etude.config import StreamConfig
from etude.network import Inputs, Layers, Stream, StreamParts

DYNAMIC_SCALE = 0.01
"""Initial scale of the dynamic weights."""


@dataclass
class HyperConnectionsConfig(StreamConfig):
    n_streams: int = 4
    """Number of residual streams; memory of activations grows with it. Typical: 2-4."""

    def __post_init__(self) -> None:
        require(self.n_streams >= 1, f"n_streams must be at least 1, got {self.n_streams}")


class Connection(nn.Module):
    """The weights around one layer: what it reads, where it writes, how the streams mix."""

    def __init__(self, n: int, layer: int, parts: StreamParts) -> None:
        super().__init__()
        read = torch.zeros(n, 1)
        read[layer % n] = 1.0
        self.norm = parts.norm()
        self.mix = nn.Parameter(torch.cat((read, torch.eye(n)), dim=1))  # stream -> layer | stream
        self.write = nn.Parameter(torch.ones(n))
        self.dynamic_mix = nn.Parameter(torch.zeros(parts.dim, n + 1))
        self.dynamic_write = nn.Parameter(torch.zeros(parts.dim))
        self.mix_scale = nn.Parameter(torch.full((1,), DYNAMIC_SCALE))
        self.write_scale = nn.Parameter(torch.full((1,), DYNAMIC_SCALE))

    def forward(
        self, streams: Float[Tensor, "batch seq streams dim"]
    ) -> tuple[
        Float[Tensor, "batch seq dim"],
        Float[Tensor, "batch seq streams dim"],
        Float[Tensor, "batch seq streams 1"],
    ]:
        """Returns the input of the layer, the mixed streams, and the weight of each write."""
        normed = self.norm(streams)
        mix = self.mix + self.mix_scale * (normed @ self.dynamic_mix).tanh()
        write = self.write + self.write_scale * (normed @ self.dynamic_write).tanh()
        mixed = mix.mT @ streams
        return mixed[..., 0, :], mixed[..., 1:, :], write[..., None]


@plugin(HyperConnectionsConfig)
class HyperConnections(Stream):
    """streams -> mix(streams) + write * (block(h) - h), where h is a mixture of the streams."""

    def __init__(self, config: HyperConnectionsConfig, parts: StreamParts) -> None:
        super().__init__()
        self.n_streams = config.n_streams
        self.connections = nn.ModuleList(
            Connection(config.n_streams, layer, parts) for layer in range(parts.n_layers)
        )

    def forward(
        self, x: Float[Tensor, "batch seq dim"], inputs: Inputs, layers: Layers
    ) -> Float[Tensor, "batch seq dim"]:
        streams = x[:, :, None].expand(-1, -1, self.n_streams, -1)
        for layer, connection in enumerate(self.connections):
            h, mixed, write = connection(streams)
            branch = layers.run(layer, h) - h
            streams = mixed + write * branch[:, :, None]
        return streams.mean(dim=2)
