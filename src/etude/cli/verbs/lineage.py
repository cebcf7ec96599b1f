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
    values = parse("lineage", KEYS, arguments)
    run = Path(values["run"])
    children = None if "children" not in values else Path(values["children"])
    for key, folder in (("run", run), ("children", children)):
        if folder is not None and not folder.is_dir():
            raise ConfigError(f"{key}={folder} is not a folder.")
    return _draw(run, children)


def _draw(run: Path, folder: Path | None) -> int:
    """Prints the trees; returns the exit code. `folder` is searched for runs that depend on it."""
    from etude.experiments.lineage import FAULTS, children, lineage

    root = lineage(run)
    print("\n".join(tree_lines(root)))
    if folder is not None:
        dependents = children(run, folder)
        print(f"\nruns in {folder} that depend on it: {len(dependents) or 'none'}")
        print("\n".join(line for one in dependents for line in tree_lines(one)))
    faults = [one for one in root.walk() if one.state in FAULTS]
    if faults:
        print()
        for one in faults:
            print(f"{one.state.value}: {one.key}={one.place}{one.note and f' ({one.note})'}")
    return 4 if faults else 0


def tree_lines(one: "Artefact", prefix: str = "", corner: str = "", below: str = "") -> list[str]:
    """Returns the lines of the tree drawing."""
    details = "  ".join(filter(None, (one.digest[:SHOWN], one.state.value, one.note)))
    lines = [f"{prefix}{corner}{one.key} {one.place}  {details}"]
    for number, parent in enumerate(one.parents, start=1):
        last = number == len(one.parents)
        joint, indent = ("└── ", "    ") if last else ("├── ", "│   ")
        lines += tree_lines(parent, prefix + below, joint, indent)
    return lines
