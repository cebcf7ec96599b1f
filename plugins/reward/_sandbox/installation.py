"""Prints what a program sees of the host, one path a line: the standard library and what it needs.

Run by `sandbox` with the Python that runs the programs. The shared libraries are those that the
loader finds for all extension modules of the standard library.
"""

import contextlib
import ctypes
import glob
import os
import sys
from typing import Any


class Loaded(ctypes.Structure):
    """The beginning of `struct dl_phdr_info`, see dl_iterate_phdr(3)."""

    _fields_ = (("address", ctypes.c_void_p), ("path", ctypes.c_char_p))


def main() -> None:
    """Prints the paths; what lies in a folder among them is not repeated."""
    folders = [folder for folder in sys.path if os.path.isdir(folder)]
    for folder in folders:
        for file in glob.glob(f"{glob.escape(folder)}/*.so"):
            if "_tkinter" not in file:  # there is no display, and it needs many libraries
                with contextlib.suppress(OSError):  # some of its libraries are not installed
                    ctypes.CDLL(file)
    inside = tuple(f"{folder}/" for folder in folders)
    for path in dict.fromkeys([*folders, "/dev/null", "/etc/ld.so.cache", *loaded()]):
        if os.path.exists(path) and not path.startswith(inside):
            print(path)


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
