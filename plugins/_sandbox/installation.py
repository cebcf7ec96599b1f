"""Prints what a program sees of the host, one path a line: Python and the libraries that it needs.

`sandbox` runs it with the Python of the programs. The shared libraries are those that the loader
finds for all extension modules of the standard library and for the packages that a scorer uses.
"""

import contextlib
import ctypes
import glob
import importlib
import os
import sys
from typing import Any


class Loaded(ctypes.Structure):
    """The beginning of `struct dl_phdr_info`, see dl_iterate_phdr(3)."""

    _fields_ = (("address", ctypes.c_void_p), ("path", ctypes.c_char_p))


def main() -> None:
    """Prints the paths; what lies in a folder among them is not repeated.

    Arguments: a folder of packages and the names of those that are used of it, if any.
    """
    folders = [folder for folder in sys.path if os.path.isdir(folder)]
    for folder in folders:
        for file in glob.glob(f"{glob.escape(folder)}/*.so"):
            if "_tkinter" not in file:  # there is no display, and it needs many libraries
                with contextlib.suppress(OSError):  # some of its libraries are not installed
                    ctypes.CDLL(file)
    packages, names = sys.argv[1:2], sys.argv[2:]
    sys.path += packages
    for name in names:
        importlib.import_module(name)
    inside = tuple(f"{folder}/" for folder in (*folders, *packages))
    files = [file for file in ("/dev/null", "/etc/ld.so.cache", *loaded()) if os.path.exists(file)]
    outside = [path for path in (*folders, *files) if not path.startswith(inside)]
    print("\n".join(dict.fromkeys((*outside, *packages))))


def loaded() -> list[str]:
    """The shared libraries of this process, each at the path where the loader found it."""
    paths: list[str] = []

    def add(info: Any, size: int, data: None) -> int:  # a pointer to `Loaded`
        path = os.fsdecode(info.contents.path)
        paths.extend([os.path.normpath(path)] if path.startswith("/") else [])
        return 0

    pointer = ctypes.POINTER(Loaded)
    callback = ctypes.CFUNCTYPE(ctypes.c_int, pointer, ctypes.c_size_t, ctypes.c_void_p)
    ctypes.CDLL(None).dl_iterate_phdr(callback(add), None)
    return paths
