"""Reads JSON files back: a malformed file is an error that names it, never a traceback."""

import hashlib
import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from etude.errors import CheckpointError
from etude.files.atomic import write_atomic
from etude.files.bounded import read_bounded

DIGEST = "sha256"
SHOWN = 200
"""Maximum length of a reason, in characters: it may quote the file."""
PLAIN = (OSError, ValueError, RuntimeError)
"""Errors whose text is a sentence; RuntimeError is torch's for tensors of other shapes."""
MALFORMED = (*PLAIN, LookupError, TypeError, AttributeError, ArithmeticError)
"""What code raises on content of an unexpected form."""


@contextmanager
def reading(file: Path) -> Generator[None]:
    """Converts what code raises on content of an unexpected form to an error that names the file.

    Surrounds every place where the content of a file is parsed or its types are assumed.
    """
    try:
        yield
    except RecursionError as error:
        raise CheckpointError(f"{file} cannot be read: it is nested too deeply.") from error
    except MALFORMED as error:
        plain = str(error.strerror if isinstance(error, OSError) else error)
        reason = plain if isinstance(error, PLAIN) else f"it has an unexpected form ({error!r})"
        raise CheckpointError(f"{file} cannot be read: {reason[:SHOWN]}") from error


def read_json(file: Path) -> dict[str, Any]:
    """Returns the JSON object in a file. Raises CheckpointError if it is anything else."""
    with reading(file):
        content = json.loads(read_bounded(file))
        if not isinstance(content, dict):
            raise ValueError(f"it contains a JSON {type(content).__name__}, not an object")
        return content


def write_signed(file: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON object that contains its own digest, for `read_signed`."""
    write_atomic(file, _signed(content))


def read_signed(file: Path) -> dict[str, Any]:
    """Returns what `write_signed` wrote. Raises CheckpointError if any of it has changed."""
    content = read_json(file)
    content.pop(DIGEST, None)
    if file.read_text(encoding="utf-8") != _signed(content):
        raise CheckpointError(f"{file} has changed since it was written.")
    return content


def _signed(content: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return json.dumps({**content, DIGEST: digest}, indent=2) + "\n"
