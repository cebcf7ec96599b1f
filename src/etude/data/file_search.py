"""Finds the data files that a path names: a file, a folder or a pattern.

A folder is read like the pattern `**/*`, limited to some suffixes, so both find the same files in
the same order. Symbolic links are followed, and each file is read once. Below the named folder,
hidden files, runs, models, the cache and the folders of experiment trackers are never data.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from etude.errors import DataError
from etude.files import cache
from etude.files.run_folder import CONFIG, STEPS
from etude.files.sweep_folder import JOBS

COMPRESSED: Final = (".gz", ".bz2", ".xz", ".zst")
"""Suffixes that a data file may have after its own; `compression` reads these formats."""
_TRACKERS: Final = re.compile("wandb|mlruns|lightning_logs")
_MARKERS: Final = {
    "run folders": (CONFIG, STEPS),
    "sweep folders": (JOBS, "leaderboard.md"),
    "model folders": ("config.json", "tokenizer_config.json"),
}
"""Folders whose files are not data, and the names that each of them contains."""


@dataclass(frozen=True)
class FileList:
    """The files that a source reads, sorted, each under one name."""

    paths: tuple[Path, ...] = ()
    skipped: Mapping[str, int] = field(default_factory=dict[str, int])
    """What was found but is not read, by kind: `hidden files`, `run folders`, `.csv files`."""


def find_files(path: str, suffixes: tuple[str, ...]) -> FileList:
    """The files that `path` names; in a folder, those with a suffix, compressed or not.

    A file named literally is always read. Raises DataError if there is no file.
    """
    place = Path(os.path.expanduser(path))  # unlike Path.expanduser, leaves `~notes.txt` alone
    try:
        if place.is_file():
            return FileList((place,))
        root = next(folder for folder in (place, *place.parents) if folder.is_dir())
        pattern = place.relative_to(root).parts
        search = _Search(pattern, suffixes)
        found = sorted(search.matches(root, pattern or ("**", "*")))
    except OSError as error:
        raise DataError(f"data.path={path} cannot be read: {error}") from error
    unique = {file.resolve(): file for file in reversed(found)}
    skipped = Counter(search.skipped.values())
    skipped += Counter({"links to files that are read": len(found) - len(unique)})
    if not found:
        raise DataError(_nothing_found(path, bool(pattern), suffixes, skipped))
    return FileList(tuple(sorted(unique.values())), dict(skipped.most_common()))


class _Search:
    """One search, with what it skipped."""

    def __init__(self, pattern: tuple[str, ...], suffixes: tuple[str, ...]) -> None:
        compressed = (suffix + end for suffix in suffixes for end in ("", *COMPRESSED))
        self._suffixes = ("",) if pattern else tuple(compressed)
        self._visited: set[tuple[Path, tuple[str, ...]]] = set()
        self.skipped: dict[Path, str] = {}

    def matches(self, folder: Path, pattern: tuple[str, ...]) -> Iterator[Path]:
        """Yields the files below a folder that match a pattern; `**` matches any folders."""
        step = (folder.resolve(), pattern)
        if step in self._visited or self._is_no_data(folder):
            return
        self._visited.add(step)  # links between n folders make n! paths
        head, rest = pattern[0], pattern[1:]
        entries = sorted(folder.iterdir())
        if head == "**":
            yield from self.matches(folder, rest or ("*",))
            entries = [entry for entry in entries if entry.is_dir()]
        for entry in entries:
            if head in ("**", entry.name) or fnmatchcase(entry.name, head):
                yield from self._below(entry, pattern if head == "**" else rest, head)

    def _below(self, entry: Path, pattern: tuple[str, ...], matched: str) -> Iterator[Path]:
        """The entry itself if it ends the pattern, or the files below it that match the rest."""
        is_folder = entry.is_dir()
        if entry.name.startswith(".") and not matched.startswith("."):
            self.skipped[entry] = "hidden folders" if is_folder else "hidden files"
        elif is_folder and pattern and _TRACKERS.fullmatch(entry.name):
            self.skipped[entry] = "folders of experiment trackers"
        elif is_folder and entry.parent.resolve().is_relative_to(entry.resolve()):
            self.skipped[entry] = "links to a folder above"
        elif is_folder and pattern:
            yield from self.matches(entry, pattern)
        elif is_folder or pattern:
            return
        elif not entry.is_file():
            self.skipped[entry] = "broken links and special files"
        elif entry.name.lower().endswith(self._suffixes):
            yield entry
        else:
            self.skipped[entry] = f"{entry.suffix.lower() or 'suffixless'} files"

    def _is_no_data(self, folder: Path) -> bool:
        kinds = ["caches of étude"] if folder.resolve() == cache.root() else []
        kinds += [k for k, names in _MARKERS.items() if all((folder / n).exists() for n in names)]
        for kind in kinds:
            self.skipped[folder] = kind
        return bool(kinds)


def _nothing_found(
    path: str, is_pattern: bool, suffixes: tuple[str, ...], skipped: Mapping[str, int]
) -> str:
    what = (
        "matches no file"
        if is_pattern
        else f"contains no file with suffix {', '.join(suffixes)} (or {', '.join(COMPRESSED)})"
    )
    found = f" Not read: {describe_skipped(skipped)}." if skipped else ""
    return (
        f"data.path={path} {what}.{found}\n  Relative paths start at {Path.cwd()}. "
        "A file that is named itself is read whatever its name; a pattern names files, "
        "and folder/** every file below a folder."
    )


def describe_skipped(skipped: Mapping[str, int]) -> str:
    """The kinds of files and folders that were skipped, in one line; other suffixes last."""
    kinds = sorted(skipped, key=lambda kind: (kind.startswith("."), -skipped[kind]))
    more = [f"and {len(kinds) - 6} more kinds"] if len(kinds) > 6 else []
    return ", ".join([f"{kind} ({skipped[kind]:,})" for kind in kinds[:6]] + more)
