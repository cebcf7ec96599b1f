"""Shows everything a run depends on, with digests, and whether any of it has changed.

    etude lineage outputs/grpo/2026-01-31_12-00-00
    etude lineage run=outputs/chain/grpo children=outputs

Includes models, teachers, reward models, replay, tokenizer, data, and the runs that wrote the
data, recursively. Lists plugins whose files have changed. With children=<folder>, also shows the
runs in that folder that depend on this one. The exit code is 4 if something is missing, changed or
damaged.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from etude.cli.arguments import parse
from etude.errors import ConfigError

if TYPE_CHECKING:  # imports torch: only after all checks
    from etude.experiments.lineage import Artefact

KEYS = ("run", "children")
SHOWN = 12
"""Number of characters of a digest that are shown."""


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit code."""
    given = parse("lineage", KEYS, arguments)
    folder = Path(given["run"])
    below = None if "children" not in given else Path(given["children"])
    for key, place in (("run", folder), ("children", below)):
        if place is not None and not place.is_dir():
            raise ConfigError(f"{key}={place} is not a folder.")
    return _draw(folder, below)


def _draw(folder: Path, below: Path | None) -> int:
    from etude.experiments.lineage import FAULTS, children, lineage

    root = lineage(folder)
    print("\n".join(tree_lines(root)))
    if below is not None:
        standing = children(folder, below)
        print(f"\nstanding on it, in {below}: {len(standing) or 'nothing'}")
        print("\n".join(line for one in standing for line in tree_lines(one)))
    faults = [one for one in root.walk() if one.state in FAULTS]
    if faults:
        print()
        for one in faults:
            print(f"{one.state.value}: {one.key}={one.place}{one.said and f' ({one.said})'}")
    return 4 if faults else 0


def tree_lines(one: "Artefact", before: str = "", joint: str = "", under: str = "") -> list[str]:
    """Returns the lines of the tree drawing."""
    said = "  ".join(filter(None, (one.digest[:SHOWN], one.state.value, one.said)))
    lines = [f"{before}{joint}{one.key} {one.place}  {said}"]
    for number, parent in enumerate(one.parents, start=1):
        last = number == len(one.parents)
        corner, rest = ("└── ", "    ") if last else ("├── ", "│   ")
        lines += tree_lines(parent, before + under, corner, rest)
    return lines
