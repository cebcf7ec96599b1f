"""Checks that each file of a run or model folder is what was written, by its digest.

    etude verify run=outputs/lora

`run` is a run folder, a model folder that étude wrote, or a checkpoint. Each file is ok, changed,
missing, or a link out of the folder. The exit code is 0 if all are ok, else 4.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from etude.cli.arguments import parse
from etude.errors import CheckpointError, ConfigError
from etude.files.manifest import MANIFEST, faults_of
from etude.files.run_folder import (
    ADAPTER,
    BASE,
    BEST,
    CHECKPOINTS,
    CONFIG,
    LOCK,
    MODEL,
    TOKENIZER,
    links_out,
)
from etude.files.seal import SEAL, newest_checkpoint, sealed_fault, sealed_files

KEYS = ("run",)
SEALED = (TOKENIZER, MODEL, ADAPTER, BASE, BEST, f"{CHECKPOINTS}/*")
"""Subfolders of a run that have a manifest."""


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code."""
    values = parse("verify", KEYS, arguments)
    if "run" not in values:
        raise ConfigError("etude verify needs a folder: run=<folder>.")
    folder = Path(values["run"])
    if not any((folder / name).exists() for name in (CONFIG, SEAL, MANIFEST)):
        raise ConfigError(
            f"run={folder} contains neither {SEAL} nor {MANIFEST}: étude did not write it."
        )
    found = dict(_faults(folder)) | dict.fromkeys(links_out(folder), "is a link out of the folder")
    for path, fault in found.items():
        print(f"{_state(fault):<8} {path.relative_to(folder)}{f': it {fault}' if fault else ''}")
    others = {path for path in folder.rglob("*") if path.is_file()} - found.keys()
    others -= {folder / LOCK}
    counts = Counter(map(_state, found.values()))
    print(", ".join(f"{n} {state}" for state, n in counts.items()), end="")
    print(f"; {len(others)} other files have no digest" if others else "")
    return 0 if set(counts) <= {"ok"} else CheckpointError.exit_code


def _faults(folder: Path) -> Iterator[tuple[Path, str | None]]:
    """Yields each file with what is wrong with it, or None."""
    places = [folder]
    if (folder / SEAL).exists() or (folder / CONFIG).exists():
        try:
            yield from ((file, sealed_fault(file)) for file in sealed_files(folder))
            yield folder / SEAL, None
            step = newest_checkpoint(folder)
        except CheckpointError:
            yield folder / SEAL, _unreadable(folder / SEAL)
            step = None
        places = [place for name in SEALED for place in sorted(folder.glob(name))]
        if step is not None and not any(folder.glob(f"{CHECKPOINTS}/*")):
            yield folder / CHECKPOINTS, "is missing"
    for place in places:
        try:
            yield from ((place / name, fault) for name, fault in faults_of(place).items())
            yield place / MANIFEST, None
        except CheckpointError:
            yield place / MANIFEST, _unreadable(place / MANIFEST)


def _unreadable(file: Path) -> str:
    return "has changed since it was written" if file.exists() else "is missing"


def _state(fault: str | None) -> str:
    if fault is None:
        return "ok"
    return next((word for word in ("missing", "link") if word in fault), "changed")
