"""The policy as it was when training began: asked at every step, or once and for all before."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from etude import cache, context, functional, network, stack
from etude.batches import Ids
from etude.config_file import nodes
from etude.functional import reference_of, sequence_log_prob
from etude.inputs import Targets
from etude.network import Network
from etude.objective import Objective, Tools
from etude.ranks import gathered
from etude.registry import plugin_of
from etude.window import cut

Row = tuple[Ids, Ids]
"""A prompt and a completion."""
TOKENS_AT_ONCE = 8192


class Reference(nn.Module):
    """log p(completion | prompt), in nats, under the network as it is when this is built.

    With `precompute`, `work_out` asks it all that it will ever be asked, keeps the answers in the
    cache and lets the network go. They are named by its weights, its code and the ids.
    """

    def __init__(self, policy: Network, tools: Tools, *, precompute: bool) -> None:
        super().__init__()
        self.network: nn.Module | None = reference_of(policy)
        self.precompute = precompute
        self.told: dict[bytes, float] = {}
        self._name = _digest(policy, tools) if precompute else ""

    def forward(self, targets: Targets) -> Float[Tensor, " batch"]:
        assert self.network is not None, "it was let go"
        with torch.no_grad():
            return sequence_log_prob(self.network, targets)

    def recall(self, rows: Sequence[Row]) -> Float[Tensor, "side batch"] | None:
        """What it said of rows, those of one side after those of the other; None before."""
        if not self.told:
            return None
        said = [self.told[_key(row)] for row in rows]
        return torch.tensor(said, dtype=torch.float64).unflatten(0, (2, -1))

    def work_out(self, objective: Objective[Any, Any], rows: Sequence[Row]) -> None:
        """Asks it of every row, unless the cache knows; all ranks do, since one may hold a part."""
        rows = list({_key(row): row for row in rows}.values())
        keys = [_key(row) for row in rows]
        name = cache.digest_of(self._name, objective.trainer.precision, [k.hex() for k in keys])
        said: list[float] = []
        if not all(gathered((cache.root() / "reference" / name).is_dir())):
            said = self._ask(objective, rows)

        def write(folder: Path) -> None:
            np.save(folder / "log_probs.npy", np.array(said))

        kept = np.load(cache.cached(f"reference/{name}", write) / "log_probs.npy")
        self.told = dict(zip(keys, kept.tolist(), strict=True))
        self.network = None

    def _ask(self, objective: Objective[Any, Any], rows: Sequence[Row]) -> list[float]:
        said: list[float] = []
        with objective.trainer.precision_plugin.forward_context():
            for part in cut(rows, max(1, TOKENS_AT_ONCE // objective.tools.seq_len)):
                targets = objective.network.answer(part)
                targets = objective.transfer_batch_to_device(targets, objective.device, 0)
                said += self(targets).double().tolist()
        return said


def _key(row: Row) -> bytes:
    prompt, completion = (np.asarray(ids, np.int64) for ids in row)
    return hashlib.sha256(np.concatenate(([len(prompt)], prompt, completion)).tobytes()).digest()


def _digest(policy: Network, tools: Tools) -> str:
    """Changes whenever the network's answers would: by its weights, its shape or its code."""
    weights = hashlib.sha256()
    for name, tensor in policy.state_dict().items():
        weights.update(f"{name} {tensor.dtype}\0".encode())
        weights.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    code = [plugin_of(part).file for _, part in nodes(tools.architecture)]
    return cache.digest_of(
        weights.hexdigest(),
        repr(tools.architecture),
        cache.code_digest(context, functional, network, stack, *code),
    )
