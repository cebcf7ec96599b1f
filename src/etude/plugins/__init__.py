"""The import root of plugins: shipped ones, installed ones, `$ETUDE_PLUGINS` and `./plugins`.

This package joins folders: `etude.plugins.objective.dpo` is `objective/dpo.py` in any of them.
"""

import os
import warnings
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from etude.errors import ConfigError

VARIABLE = "ETUDE_PLUGINS"


def _shipped_folder() -> Path:
    """The checkout's `plugins/`; in an installed wheel, this very folder."""
    here = Path(__file__).resolve().parent
    checkout = here.parents[2]
    return checkout / "plugins" if (checkout / "pyproject.toml").is_file() else here


def _installed_folders() -> list[Path]:
    """The folders of the packages that other distributions declare as `etude.plugins`.

    One that cannot be found is named, and takes nothing from the others.
    """
    found: list[Path] = []
    for entry in entry_points(group="etude.plugins"):
        try:
            spec = find_spec(entry.module)
        except Exception as error:  # whatever the parent of a dotted package raises
            reason = f"{type(error).__name__}: {error}"
            warnings.warn(f"plugins of {entry.value} are left out: {reason}", stacklevel=2)
            continue
        found += [Path(place) for place in (spec and spec.submodule_search_locations) or []]
    return found


def _named_folders() -> list[Path]:
    """The folders of `$ETUDE_PLUGINS`, made absolute there, so that child processes agree."""
    named = [
        Path(entry).resolve() for entry in os.environ.get(VARIABLE, "").split(os.pathsep) if entry
    ]
    for folder in named:
        if not folder.is_dir():
            raise ConfigError(f"${VARIABLE} names {folder}, which is not a folder.")
    if named:
        os.environ[VARIABLE] = os.pathsep.join(str(folder) for folder in named)
    return named


def folders() -> list[str]:
    """Every plugin folder that exists, once. Two files at one address are refused when found."""
    places = [_shipped_folder(), *_installed_folders(), *_named_folders(), Path("plugins")]
    return list(dict.fromkeys(str(place.resolve()) for place in places if place.is_dir()))


__path__ = folders()
