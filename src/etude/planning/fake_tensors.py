"""An experiment as shapes alone: everything that trains, without memory for a single weight.

What is built is what `assemble` builds. Weights are fake tensors of torch's; samples stay real,
so that a loss may look at ids, masks and lengths, and whatever a weight touches has only a shape.
"""

import warnings
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from etude.config.schema.experiment import ExperimentConfig
from etude.data.corpus import Corpus
from etude.objective.ranks import Ranks
from etude.training.assemble import Assembled, assemble

LOW = "bf16-true"
"""The precision in which the weights themselves are of another type."""


def shaped(config: ExperimentConfig, corpus: Corpus) -> Assembled:
    """Assembles a run of fake weights. Raises ConfigError for what cannot be built."""
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.filterwarnings("ignore", message=".*copying from a non-meta parameter.*")
        made = assemble(config, corpus, Ranks(0, config.trainer.devices))
        if config.trainer.precision == LOW:
            made.objective.to(torch.bfloat16)  # as Lightning does before the first step
    _fake(made.objective)
    return made


def modules(root: nn.Module) -> Iterator[nn.Module]:
    """Every module once, with those that a tuple hides from `state_dict`."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        module = waiting.pop()
        if id(module) not in seen:
            seen.add(id(module))
            yield module
            waiting += module.children()
            for value in vars(module).values():
                held = value if isinstance(value, tuple) else (value,)
                waiting += [item for item in held if isinstance(item, nn.Module)]


def tensors(root: nn.Module) -> list[Tensor]:
    """Every parameter and buffer once."""
    found = {
        id(tensor): tensor
        for module in modules(root)
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False))
    }
    return list(found.values())


def _fake(root: nn.Module) -> None:
    """Puts a fake tensor of the CPU in the place of each that has only a shape; ties stay."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    made: dict[Tensor, Tensor] = {}

    def faked(tensor: Tensor) -> Tensor:
        if tensor not in made:
            with mode:
                fake = torch.empty_like(tensor, device="cpu")
            is_weight = isinstance(tensor, nn.Parameter)
            made[tensor] = nn.Parameter(fake, tensor.requires_grad) if is_weight else fake
        return made[tensor]

    for module in modules(root):
        weights = module.named_parameters(recurse=False)
        for name, tensor in (*weights, *module.named_buffers(recurse=False)):
            if tensor.is_meta:
                setattr(module, name, faked(tensor))
