"""Refuses what a trusted program has no use for; no security boundary (PEP 578)."""

import os
import sys

REFUSED = (
    "socket.", "subprocess.", "ctypes.", "signal.", "resource.", "pty.", "shutil.", "os.fork",
    "os.exec", "os.system", "os.posix_spawn", "os.spawn", "os.kill", "os.remove", "os.rename",
    "os.rmdir", "os.mkdir", "os.chmod", "os.chown", "os.link", "os.symlink", "os.truncate",
    "os.utime", "os.chdir", "os.putenv",
)  # fmt: skip
"""Prefixes of audit events."""


def install() -> None:
    """Refuses sockets, processes, ctypes, signals and writing outside the current folder."""
    home, writing = os.path.realpath(".") + os.sep, os.O_ACCMODE | os.O_CREAT | os.O_TRUNC
    real, decode, begins = os.path.realpath, os.fsdecode, str.startswith

    def is_outside(path: str, mode: str | None, flags: int) -> bool:
        is_path = not isinstance(path, int)  # a descriptor was opened before
        return is_path and flags & writing != 0 and not begins(real(decode(path)), home)

    def refuse(event: str, values: tuple) -> None:
        if begins(event, REFUSED) or (event == "open" and is_outside(*values)):
            raise PermissionError(f"{event} is not allowed here")

    sys.addaudithook(refuse)
