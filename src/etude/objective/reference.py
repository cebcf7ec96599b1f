"""The reference policy: the initial policy, evaluated at each step or precomputed."""

import copy
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from etude.config.config_file import nodes
from etude.config.plugin_files import source_files
from etude.config.registry import plugin_of
from etude.files import cache
from etude.network import context, network, stack
from etude.network.adapter import WithoutAdapter, is_base_intact
from etude.network.inputs import Inputs, Targets
from etude.network.network import Network
from etude.objective import log_probs
from etude.objective.batches import Ids
from etude.objective.context import ObjectiveContext
from etude.objective.loader import chunks
from etude.objective.log_probs import sequence_log_prob
from etude.objective.objective import Objective
from etude.objective.ranks import all_gather

IdPair = tuple[Ids, Ids]
"""A prompt and a completion."""
TOKENS_PER_BATCH = 8192


class Reference(nn.Module):
    """log p(completion | prompt), in nats, under the policy as it is when this is built.

    With `precompute`, `compute_all` computes all log-probabilities that training needs, caches
    them and frees the network. The cache key covers its weights, its code and the ids.
    """

    def __init__(self, policy: Network, tools: ObjectiveContext, *, precompute: bool) -> None:
        super().__init__()
        self.network: nn.Module | None = reference_of(policy)
        self.precompute = precompute
        self.precomputed: dict[bytes, float] = {}
        self._digest = _digest(policy, tools) if precompute else ""

    def forward(self, targets: Targets) -> Float[Tensor, " batch"]:
        assert self.network is not None, "the network was freed after precomputing"
        with torch.no_grad():
            return sequence_log_prob(self.network, targets)

    def lookup(self, rows: Sequence[IdPair]) -> Float[Tensor, "side batch"] | None:
        """Returns the precomputed values of rows, all of one side first; None if there are none."""
        if not self.precomputed:
            return None
        values = [self.precomputed[_key(row)] for row in rows]
        return torch.tensor(values, dtype=torch.float64).unflatten(0, (2, -1))

    def compute_all(self, objective: Objective[Any, Any], rows: Sequence[IdPair]) -> None:
        """Computes all rows unless they are cached; on all ranks, as the network may be sharded."""
        rows = list({_key(row): row for row in rows}.values())
        keys = [_key(row) for row in rows]
        name = cache.digest_of(self._digest, objective.trainer.precision, [k.hex() for k in keys])
        values: list[float] = []
        if not all(all_gather(cache.is_cached(f"reference/{name}"))):
            values = self._compute(objective, rows)

        def write(folder: Path) -> None:
            np.save(folder / "log_probs.npy", np.array(values))

        loaded = np.load(cache.cached_folder(f"reference/{name}", write) / "log_probs.npy")
        self.precomputed = dict(zip(keys, loaded.tolist(), strict=True))
        self.network = None

    def _compute(self, objective: Objective[Any, Any], rows: Sequence[IdPair]) -> list[float]:
        values: list[float] = []
        with objective.trainer.precision_plugin.forward_context():
            for part in chunks(rows, max(1, TOKENS_PER_BATCH // objective.tools.seq_len)):
                targets = objective.network.answer(part)
                targets = objective.transfer_batch_to_device(targets, objective.device, 0)
                values += self(targets).double().tolist()
        return values


def _key(row: IdPair) -> bytes:
    prompt, completion = (np.asarray(ids, np.int64) for ids in row)
    return hashlib.sha256(np.concatenate(([len(prompt)], prompt, completion)).tobytes()).digest()


def _digest(policy: Network, tools: ObjectiveContext) -> str:
    """Returns a hash of all that determines the outputs: weights, architecture and code."""
    weights = hashlib.sha256()
    for name, tensor in policy.state_dict().items():
        weights.update(f"{name} {tensor.dtype}\0".encode())
        weights.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    plugins = [plugin_of(part).file for _, part in nodes(tools.architecture)]
    code = [file for plugin in plugins for file in source_files(plugin)]
    return cache.digest_of(
        weights.hexdigest(),
        repr(tools.architecture),
        cache.code_digest(context, log_probs, network, stack, *code),
    )


class Frozen(nn.Module):
    """A network that is never trained: eval mode, no gradients, in no `state_dict`.

    It moves between devices with its owner. A resumed run rebuilds it from the run's initial
    weights.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._network = (network.requires_grad_(False).eval(),)  # a tuple hides it from state_dict

    def forward(
        self, inputs: Inputs, where: Bool[Tensor, "batch seq"] | None = None
    ) -> Float[Tensor, "... vocab"]:
        with torch.no_grad():
            return self._network[0](inputs, where)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Frozen":
        self._network[0]._apply(fn, recurse)
        return super()._apply(fn, recurse)


def reference_of(network: Network) -> Frozen | WithoutAdapter:
    """Returns the reference policy: a frozen copy of the current policy.

    If only an adapter is trained, it is the policy with its adapter off, without a copy.
    """
    return WithoutAdapter(network) if is_base_intact(network) else Frozen(copy.deepcopy(network))
