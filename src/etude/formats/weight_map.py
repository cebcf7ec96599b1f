"""Maps the tensors of Hugging Face's model folders to ours, and converts them both ways."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from etude.errors import CheckpointError
from etude.files.json_file import read_json, reading
from etude.formats.state_tree import tensors_of

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
TABLE = "embedding.weight"
HEAD = "head.out.weight"
TABLES = (TABLE, HEAD, "head.out.bias")
"""Our tensors with one row per token of the vocabulary."""
OLD_NAMES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
"""Names of layer norm parameters in the first BERT models."""
ZEROS = ("final_logits_bias",)
"""Suffixes of their tensors that have no effect if they are all zeros."""
NEW_ROW_NOISE = 0.1
"""Standard deviation of the new rows of a token table, relative to that of its rows."""

EXTRA_TENSORS = "heads.safetensors"
"""The objective's own tensors, such as heads, by its names; not part of the model's weights."""


@dataclass(frozen=True)
class WeightMapping:
    """Maps one of their tensors to ours; several of ours are theirs split along the output axis."""

    theirs: str
    ours: tuple[str, ...]
    transposed: bool = False
    """Whether theirs is stored as [in, out], as in GPT-2."""
    aliases: tuple[str, ...] = ()
    """Alternative names of the same tensor, accepted when reading and never written."""
    offset: int = 0
    """Extra rows at the start of theirs, as in BART's position embedding."""
    groups: int = 1
    """Number of interleaved groups in theirs: in BLOOM, one group of q, k and v per head."""
    stacked: bool = False
    """Whether transformers stacks it with others when it loads them, as experts of a layer."""

    def to_ours(self, tensor: Tensor, sizes: Sequence[int]) -> list[Tensor]:
        """Splits theirs into ours, `sizes` rows each."""
        rows = (tensor.t() if self.transposed else tensor)[self.offset :]
        if self.ours[0] in TABLES:
            return [_resize_table(rows, sizes[0])]
        if len(rows) != sum(sizes):
            raise CheckpointError(
                f"Size mismatch for {self.theirs}: {len(rows)} rows, not {sum(sizes)}."
            )
        parts = rows.unflatten(0, (self.groups, -1)).split([n // self.groups for n in sizes], 1)
        return [part.flatten(0, 1) for part in parts]

    def to_theirs(self, tensors: Sequence[Tensor]) -> Tensor:
        """Joins ours into theirs."""
        parts = [tensor.unflatten(0, (self.groups, -1)) for tensor in tensors]
        joined = torch.cat(parts, dim=1).flatten(0, 1)
        joined = torch.cat((joined.new_zeros(self.offset, *joined.shape[1:]), joined))
        return (joined.t() if self.transposed else joined).contiguous()


def mappings(modules: Mapping[str, str], *kinds: str) -> Iterator[WeightMapping]:
    """Yields mappings of the `kinds` (such as weight and bias) of modules, from theirs to ours."""
    for theirs, ours in modules.items():
        for kind in kinds:
            yield WeightMapping(f"{theirs}.{kind}", (f"{ours}.{kind}",))


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Returns the tensors of `weight_files`. Raises CheckpointError if one cannot be read."""
    found: dict[str, Tensor] = {}
    for file in weight_files(folder):
        found |= {_current_name(name): tensor for name, tensor in tensors_of(file).items()}
    return found


def weight_files(folder: Path) -> list[Path]:
    """The files that transformers reads: model.safetensors, else the shards that the index names.

    Other files may be left over from an earlier save. Raises CheckpointError if one is missing.
    """
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    index = folder / INDEX
    if not index.is_file():
        raise CheckpointError(
            f"{folder} contains neither {WEIGHTS} nor {INDEX}; other formats may run code and are "
            "not read.\n  Save the model with transformers' save_pretrained."
        )
    with reading(index):
        names = {str(name) for name in read_json(index)["weight_map"].values()}
    files = [folder / name for name in sorted(names)]
    if missing := [file for file in files if not file.is_file()]:
        raise CheckpointError(f"{index} names {missing[0].name}, but {missing[0]} does not exist.")
    return files


def to_ours(
    weight_map: Iterable[WeightMapping],
    dropped: tuple[str, ...],
    theirs: Mapping[str, Tensor],
    ours: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """Renames and splits their tensors to the names and sizes of `ours`, a state_dict.

    Token tables get one row per id of the tokenizer: extra rows are dropped, and missing rows start
    near the mean of the others. Tensors whose names begin or end with one of `dropped`,
    and zeros without effect, are ignored. Raises CheckpointError for a tensor that is missing,
    unexpected, or of the wrong shape.
    """
    left = set(theirs)
    found: dict[str, Tensor] = {}
    for one in weight_map:
        names = (one.theirs, *one.aliases)
        names += tuple(name.partition(".")[2] for name in names)  # saved without a head
        present = [name for name in names if name in theirs]
        if not present:
            raise CheckpointError(f"Missing tensor in the checkpoint: {one.theirs}.")
        left -= set(present)
        rows = [ours[name].shape[0] for name in one.ours]
        for name, part in zip(one.ours, one.to_ours(theirs[present[0]], rows), strict=True):
            found[name] = part
            if part.shape != ours[name].shape:
                raise CheckpointError(
                    f"Size mismatch for {name}: {tuple(part.shape)}, not {tuple(ours[name].shape)}."
                )
    left -= {name for name in left if name.endswith(ZEROS) and not theirs[name].any()}
    unexpected = [n for n in left if not n.endswith(dropped) and not n.startswith(dropped)]
    if unexpected:
        names = ", ".join(sorted(unexpected)[:8])
        raise CheckpointError(f"Unexpected tensors in the checkpoint: {names}.")
    return {HEAD: found[TABLE], **found}  # one tensor if the head is tied to the table


def to_theirs(weight_map: Iterable[WeightMapping], ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Converts a state_dict to the names and shapes of a model family."""
    return {one.theirs: one.to_theirs([ours[name] for name in one.ours]) for one in weight_map}


def _current_name(name: str) -> str:
    for old, new in OLD_NAMES.items():
        name = name.replace(old, new)
    return name


def _resize_table(table: Tensor, rows: int) -> Tensor:
    """Drops rows, or adds some near the mean, which differ so that a network can tell them apart.

    Hewitt 2021, https://nlp.stanford.edu/~johnhew/vocab-expansion.html. The same table always gets
    the same rows, since a base is read anew whenever its adapter is.
    """
    if rows <= len(table):
        return table[:rows]
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn((rows - len(table), *table.shape[1:]), generator=generator)
    spread = NEW_ROW_NOISE * table.std(dim=0, correction=0) if table.ndim > 1 else 0.0
    return torch.cat((table, table.mean(dim=0) + spread * noise.to(table)))
