"""Draws what a run stands on, each with its digest and whether it still is what it was.

    etude lineage outputs/grpo/2026-01-31_12-00-00
    etude lineage run=outputs/chain/grpo children=outputs

Models, teachers, reward models, replay, tokenizer, data, and the runs that wrote the data, down to
the first of them. Plugins are named where their files have changed. With children=<folder>, also
the runs in that folder that stand on this one. Exit code 4 if something is missing, changed or
damaged.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from etude.cli.arguments import answered
from etude.errors import ConfigError

if TYPE_CHECKING:  # torch is loaded only once nothing can be refused any more
    from etude.experiments.lineage import Artefact

KEYS = ("run", "children")
SHOWN = 12
"""Letters of a digest that are shown."""


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code."""
    given = answered("lineage", KEYS, arguments)
    folder = Path(given["run"])
    below = None if "children" not in given else Path(given["children"])
    for key, place in (("run", folder), ("children", below)):
        if place is not None and not place.is_dir():
            raise ConfigError(f"{key}={place} is no folder.")
    return _draw(folder, below)


def _draw(folder: Path, below: Path | None) -> int:
    from etude.experiments.lineage import FAULTS, children, lineage

    root = lineage(folder)
    print("\n".join(drawn(root)))
    if below is not None:
        standing = children(folder, below)
        print(f"\nstanding on it, in {below}: {len(standing) or 'nothing'}")
        print("\n".join(line for one in standing for line in drawn(one)))
    faults = [one for one in root.walk() if one.state in FAULTS]
    if faults:
        print()
        for one in faults:
            print(f"{one.state.value}: {one.key}={one.place}{one.said and f' ({one.said})'}")
    return 4 if faults else 0


def drawn(one: "Artefact", before: str = "", joint: str = "", under: str = "") -> list[str]:
    """The lines of a tree."""
    said = "  ".join(filter(None, (one.digest[:SHOWN], one.state.value, one.said)))
    lines = [f"{before}{joint}{one.key} {one.place}  {said}"]
    for number, parent in enumerate(one.parents, start=1):
        last = number == len(one.parents)
        corner, rest = ("└── ", "    ") if last else ("├── ", "│   ")
        lines += drawn(parent, before + under, corner, rest)
    return lines
