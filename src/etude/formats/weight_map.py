"""Maps the tensors of Hugging Face's model folders to ours, and converts them both ways."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from etude.errors import CheckpointError

TABLE = "embedding.weight"
HEAD = "head.out.weight"
TABLES = (TABLE, HEAD, "head.out.bias")
"""Our tensors with one row per token of the vocabulary."""
OLD_NAMES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
"""Names of layer norm parameters in the first BERT models."""
ZEROS = ("final_logits_bias",)
"""Suffixes of their tensors that have no effect if they are all zeros."""

BESIDE = "heads.safetensors"
"""The objective's own tensors, such as heads, by its names; not part of the model's weights."""


@dataclass(frozen=True)
class WeightMapping:
    """Maps one of their tensors to ours; several of ours are theirs split along the output axis."""

    theirs: str
    ours: tuple[str, ...]
    transposed: bool = False
    """Whether theirs is stored as [in, out], as in GPT-2."""
    also: tuple[str, ...] = ()
    """Alternative names of the same tensor, accepted when reading and never written."""
    offset: int = 0
    """Extra rows at the start of theirs, as in BART's position embedding."""
    groups: int = 1
    """Times ours are interleaved in theirs: in BLOOM, queries, keys and values once per head."""

    def to_ours(self, tensor: Tensor, sizes: Sequence[int]) -> list[Tensor]:
        """Splits theirs into ours, `sizes` rows each."""
        straight = (tensor.t() if self.transposed else tensor)[self.offset :]
        if self.ours[0] in TABLES:
            return [_fitted(straight, sizes[0])]
        turns = straight.unflatten(0, (self.groups, -1)).split([n // self.groups for n in sizes], 1)
        return [turn.flatten(0, 1) for turn in turns]

    def to_theirs(self, tensors: Sequence[Tensor]) -> Tensor:
        """Joins ours into theirs."""
        turns = [tensor.unflatten(0, (self.groups, -1)) for tensor in tensors]
        joined = torch.cat(turns, dim=1).flatten(0, 1)
        joined = torch.cat((joined.new_zeros(self.offset, *joined.shape[1:]), joined))
        return (joined.t() if self.transposed else joined).contiguous()


def mappings(modules: Mapping[str, str], *kinds: str) -> Iterator[WeightMapping]:
    """Yields mappings of the `kinds` (such as weight and bias) of modules, from theirs to ours."""
    for theirs, ours in modules.items():
        for kind in kinds:
            yield WeightMapping(f"{theirs}.{kind}", (f"{ours}.{kind}",))


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Returns every tensor of a model folder, sharded or not, without the objective's own."""
    files = sorted(file for file in folder.glob("*.safetensors") if file.name != BESIDE)
    if not files:
        raise CheckpointError(
            f"{folder} has no *.safetensors; other formats can hold code and are not read."
        )
    found: dict[str, Tensor] = {}
    for file in files:
        try:
            found |= {_renamed(name): tensor for name, tensor in load_file(file).items()}
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{file} cannot be read: {error}") from error
    return found


def to_ours(
    weight_map: Iterable[WeightMapping],
    dropped: tuple[str, ...],
    theirs: Mapping[str, Tensor],
    ours: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """Renames and splits their tensors to the names and sizes of `ours`, a state_dict.

    Token tables get one row per id of the tokenizer: extra rows are dropped, and missing rows are
    initialised to the mean of the others. Tensors whose names begin or end with one of `dropped`,
    and zeros without effect, are ignored. Raises CheckpointError for a tensor that is missing,
    unexpected, or of the wrong shape.
    """
    left = set(theirs)
    found: dict[str, Tensor] = {}
    for tie in weight_map:
        names = (tie.theirs, *tie.also)
        names += tuple(name.partition(".")[2] for name in names)  # if saved without a head
        present = [name for name in names if name in theirs]
        if not present:
            raise CheckpointError(f"The model has no tensor {tie.theirs}.")
        left -= set(present)
        rows = [ours[name].shape[0] for name in tie.ours]
        for name, part in zip(tie.ours, tie.to_ours(theirs[present[0]], rows), strict=True):
            found[name] = part
            if part.shape != ours[name].shape:
                raise CheckpointError(
                    f"{tie.theirs} gives {tuple(part.shape)} for {name}, {tuple(ours[name].shape)}."
                )
    left -= {name for name in left if name.endswith(ZEROS) and not theirs[name].any()}
    strangers = [n for n in left if not n.endswith(dropped) and not n.startswith(dropped)]
    if strangers:
        names = ", ".join(sorted(strangers)[:8])
        raise CheckpointError(f"Unexpected tensors in the checkpoint: {names}.")
    return {HEAD: found[TABLE], **found}  # one tensor if the head is tied to the table


def to_theirs(weight_map: Iterable[WeightMapping], ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Converts a state_dict to the names and shapes of a model family."""
    return {tie.theirs: tie.to_theirs([ours[name] for name in tie.ours]) for tie in weight_map}


def _renamed(name: str) -> str:
    for old, new in OLD_NAMES.items():
        name = name.replace(old, new)
    return name


def _fitted(table: Tensor, rows: int) -> Tensor:
    missing = max(0, rows - table.shape[0])
    mean = table.mean(dim=0, keepdim=True)
    return torch.cat((table[:rows], mean.expand(missing, *table.shape[1:])))
