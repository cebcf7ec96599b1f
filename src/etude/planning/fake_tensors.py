"""Assembles an experiment on fake tensors, without allocating memory for weights.

The result is that of `assemble` with torch's fake tensors as weights. Samples stay real, so a loss
may read ids, masks and lengths; anything computed from weights has only a shape.
"""

import warnings
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from etude.config.schema.experiment import ExperimentConfig
from etude.data.corpus import Corpus
from etude.objective.ranks import Ranks
from etude.training.assemble import TrainingParts, assemble

LOW = "bf16-true"
"""The precision that also stores the weights in bfloat16."""


def assemble_fake(config: ExperimentConfig, corpus: Corpus) -> TrainingParts:
    """Assembles a run with fake weights. Raises ConfigError for a config it cannot build."""
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.filterwarnings("ignore", message=".*copying from a non-meta parameter.*")
        parts = assemble(config, corpus, Ranks(0, config.trainer.devices))
        if config.trainer.precision == LOW:
            parts.objective.to(torch.bfloat16)  # as Lightning does before the first step
    _fake(parts.objective)
    return parts


def modules(root: nn.Module) -> Iterator[nn.Module]:
    """Yields every module once, including those in a tuple, which `state_dict` does not see."""
    seen: set[int] = set()
    queue = [root]
    while queue:
        module = queue.pop()
        if id(module) not in seen:
            seen.add(id(module))
            yield module
            queue += module.children()
            for value in vars(module).values():
                held = value if isinstance(value, tuple) else (value,)
                queue += [item for item in held if isinstance(item, nn.Module)]


def tensors(root: nn.Module) -> list[Tensor]:
    """Returns every parameter and buffer once."""
    found = {
        id(tensor): tensor
        for module in modules(root)
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False))
    }
    return list(found.values())


def _fake(root: nn.Module) -> None:
    """Replaces each meta tensor with a fake CPU tensor; tied weights stay tied."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    fakes: dict[Tensor, Tensor] = {}

    def fake_of(tensor: Tensor) -> Tensor:
        if tensor not in fakes:
            with mode:
                fake = torch.empty_like(tensor, device="cpu")
            is_weight = isinstance(tensor, nn.Parameter)
            fakes[tensor] = nn.Parameter(fake, tensor.requires_grad) if is_weight else fake
        return fakes[tensor]

    for module in modules(root):
        weights = module.named_parameters(recurse=False)
        for name, tensor in (*weights, *module.named_buffers(recurse=False)):
            if tensor.is_meta:
                setattr(module, name, fake_of(tensor))
