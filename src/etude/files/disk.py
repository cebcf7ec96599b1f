"""Full disks: how libraries report them, and the one error they become."""

import errno
import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from etude.errors import DiskFullError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_AS_TEXT = re.compile(r"\d+ requested and \d+ written|\[Errno 28\]")
"""What numpy and shutil say in an OSError without a number."""


def is_full(error: OSError) -> bool:
    """Whether a file could not be written because of the size of the disk, a quota or a limit."""
    return error.errno in FULL or (error.errno is None and bool(_AS_TEXT.search(str(error))))


@contextmanager
def disk_full_error(place: Path | None = None) -> Generator[None]:
    """Converts the OSError of a full disk to a DiskFullError that names `place`, or the file."""
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        what = "The file is too large" if error.errno == errno.EFBIG else "No space left"
        raise DiskFullError(
            f"{what} while writing {place or error.filename or 'a file'}.\n  Everything saved "
            "before is intact. Free some space and run the same command again."
        ) from error
