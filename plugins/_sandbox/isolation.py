"""Namespaces, a file system and the rights of a process in the sandbox; Linux only.

Sources: user_namespaces(7), pid_namespaces(7), pivot_root(2), capabilities(7), prctl(2).
"""

import ctypes
import errno
import os
from collections.abc import Sequence

LIBC = ctypes.CDLL(None, use_errno=True)
NOBODY = 65534
NEW_MOUNTS, NEW_IPC, NEW_USER = 0x20000, 0x08000000, 0x10000000
NEW_PROCESSES, NEW_NETWORK = 0x20000000, 0x40000000
READ_ONLY, NO_SUID, NO_DEVICES, NO_PROGRAMS, REMOUNT, BIND = 1, 2, 4, 8, 32, 4096
RECURSIVE, PRIVATE, DETACH = 1 << 14, 1 << 18, 2
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
CAPABILITY_VERSION = 0x20080522
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS, SIGKILL = 1, 4, 38, 9
NEW_ROOT = "/proc"
"""Where the new file system is built: a folder that every system has, with nothing to show."""


def check(result: int, call: str) -> None:
    """Raises OSError if a function of the C library failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")


def enter_namespaces() -> None:
    """Makes the next child of this process number 1 of new namespaces."""
    if os.uname().machine not in PIVOT_ROOT:
        raise OSError(errno.ENOSYS, f"the system calls of {os.uname().machine} are not known")
    waiting, start = os.pipe()
    process, uid, gid = os.getpid(), os.getuid(), os.getgid()
    helper = os.fork()  # only a process outside may map a second user
    if helper == 0:
        os.close(start)
        if os.read(waiting, 1):
            map_users(f"/proc/{process}", uid, gid)
        os._exit(0)
    os.close(waiting)
    check(LIBC.unshare(NEW_MOUNTS | NEW_IPC | NEW_USER | NEW_PROCESSES | NEW_NETWORK), "unshare")
    os.write(start, b"1")
    os.close(start)
    if os.waitpid(helper, 0)[1]:
        raise OSError(errno.EPERM, "the users of the namespace cannot be mapped")


def leave_network() -> None:
    """Leaves this process without a network, where the system allows that."""
    LIBC.unshare(NEW_USER | NEW_NETWORK)


def map_users(process: str, uid: int, gid: int) -> None:
    """Makes this user nobody in the namespace; root stays root, for now, with nobody beside it.

    Root is exempt from the limit of processes, so a program must not run as root in any namespace.
    """
    if uid == 0 and maps_two(process):
        return
    write(f"{process}/setgroups", "deny")
    write(f"{process}/uid_map", f"{NOBODY} {uid} 1")
    write(f"{process}/gid_map", f"{NOBODY} {gid} 1")


def maps_two(process: str) -> bool:
    """Whether root and nobody could be mapped; a container may lack the second."""
    try:
        write(f"{process}/uid_map", f"0 0 1\n{NOBODY} {NOBODY} 1")
    except OSError:
        return False
    write(f"{process}/gid_map", f"0 0 1\n{NOBODY} {NOBODY} 1")
    return True


def write(file: str, text: str) -> None:
    """Writes a file of /proc, in one call."""
    with open(file, "wb", buffering=0) as opened:
        opened.write(text.encode())


def die_with_parent() -> None:
    """Has the kernel kill this process when its parent ends, however it ends."""
    check(LIBC.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), "prctl")


def mount(source: str | None, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """Mounts as the manual's page of this name says, section 2."""
    names = (text.encode() if text is not None else None for text in (source, target, kind))
    check(LIBC.mount(*names, ctypes.c_ulong(flags), options.encode()), f"mount {target}")


def hide_host(view: Sequence[str]) -> None:
    """Replaces the file system by `view`, read-only, and an empty /tmp of 2 MiB."""
    os.umask(0o022)
    mount(None, "/", None, RECURSIVE | PRIVATE)
    mount("sandbox", NEW_ROOT, "tmpfs", NO_SUID | NO_DEVICES, "size=1m,mode=755")
    os.chdir(NEW_ROOT)
    os.mkdir("tmp")
    limits = "size=2m,nr_inodes=1k,mode=1777"
    mount("sandbox", "tmp", "tmpfs", NO_SUID | NO_DEVICES | NO_PROGRAMS, limits)
    for path in view:
        show(path)
    check(LIBC.syscall(PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    check(LIBC.umount2(b".", DETACH), "umount")
    mount(None, "/", None, REMOUNT | BIND | READ_ONLY | NO_SUID | NO_DEVICES)
    os.chdir("/tmp")


def show(path: str) -> None:
    """Shows a file or folder of the host at the same place below the new root, read-only."""
    target = f".{path}"
    if os.path.isdir(path):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT))
    mount(path, target, None, BIND)
    inherited = os.statvfs(target).f_flag & (NO_DEVICES | NO_PROGRAMS)  # these may not be lifted
    mount(None, target, None, REMOUNT | BIND | READ_ONLY | NO_SUID | inherited)
    for name in ("site-packages", "dist-packages"):
        if os.path.isdir(f"{target}/{name}"):
            mount("sandbox", f"{target}/{name}", "tmpfs", READ_ONLY, "size=4k,mode=755")


def drop_rights() -> None:
    """Becomes nobody, without capabilities, for good."""
    if os.getuid() == 0:
        os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    check(LIBC.capset(header, (ctypes.c_uint32 * 6)()), "capset")
    die_with_parent()  # anew, as a change of rights ends this
    check(LIBC.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl")  # no core dump on the host
    check(LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
