"""The system calls that a program in the sandbox may make: a seccomp filter, seccomp(2).

The numbers are those of Linux's asm/unistd_64.h (x86-64) and asm-generic/unistd.h (ARM64).
"""

import ctypes
import os
import struct
from collections.abc import Iterator

ALLOWED = """
read 0 63, write 1 64, readv 19 65, writev 20 66, pread64 17 67, pwrite64 18 68, preadv 295 69,
pwritev 296 70, lseek 8 62, sendfile 40 71, copy_file_range 326 285, open 2 -, creat 85 -,
openat 257 56, close 3 57, close_range 436 436, dup 32 23, dup2 33 -, dup3 292 24, fcntl 72 25,
ioctl 16 29, flock 73 32, fsync 74 82, fdatasync 75 83, truncate 76 45, ftruncate 77 46,
fallocate 285 47, stat 4 -, lstat 6 -, fstat 5 80, newfstatat 262 79, statx 332 291,
access 21 -, faccessat 269 48, faccessat2 439 439, readlink 89 -, readlinkat 267 78,
statfs 137 43, fstatfs 138 44, getdents64 217 61, getcwd 79 17, chdir 80 49, fchdir 81 50,
mkdir 83 -, mkdirat 258 34, rmdir 84 -, unlink 87 -, unlinkat 263 35, rename 82 -,
renameat 264 38, renameat2 316 276, link 86 -, linkat 265 37, symlink 88 -, symlinkat 266 36,
chmod 90 -, fchmod 91 52, fchmodat 268 53, umask 95 166, utimensat 280 88, mmap 9 222,
munmap 11 215, mprotect 10 226, mremap 25 216, madvise 28 233, msync 26 227, brk 12 214,
futex 202 98, set_robust_list 273 99, rseq 334 293, sched_yield 24 124,
sched_getaffinity 204 123, set_tid_address 218 96, exit 60 93, exit_group 231 94,
rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139, rt_sigpending 127 136,
rt_sigsuspend 130 133, rt_sigtimedwait 128 137, sigaltstack 131 132, restart_syscall 219 128,
pause 34 -, kill 62 129, tkill 200 130, tgkill 234 131, alarm 37 -, setitimer 38 103,
getitimer 36 102, nanosleep 35 101, clock_nanosleep 230 115, clock_gettime 228 113,
clock_getres 229 114, gettimeofday 96 169, time 201 -, times 100 153, poll 7 -, ppoll 271 73,
select 23 -, pselect6 270 72, epoll_create1 291 20, epoll_ctl 233 21, epoll_wait 232 -,
epoll_pwait 281 22, pipe 22 -, pipe2 293 59, socketpair 53 199, sendto 44 206, recvfrom 45 207,
getpid 39 172, getppid 110 173, gettid 186 178, getuid 102 174, geteuid 107 175, getgid 104 176,
getegid 108 177, getgroups 115 158, getpgrp 111 -, getpgid 121 155, getsid 124 156,
uname 63 160, sysinfo 99 179, getrlimit 97 163, prlimit64 302 261, getrusage 98 165,
getrandom 318 278, getpriority 140 141
"""
"""Each call with its numbers on x86-64 and on ARM64, which lacks some old calls.

They reach the program's own files, memory, threads, signals and clock; asyncio needs socketpair.
None starts a process, changes a right or a mount, or reaches a network or another process.
"""
MACHINES = {"x86_64": (0, 0xC000003E, 56), "aarch64": (1, 0xC00000B7, 220)}
"""Of each machine: the column of `ALLOWED`, the kernel's name of it (AUDIT_ARCH), clone's number"""
CLONE_THREAD = 0x10000
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
LOAD, IS_EQUAL, HAS_BIT, RETURN = 0x20, 0x15, 0x45, 0x06
"""Instructions of a filter (BPF): load 32 bits, two conditional jumps, return."""
KILL, ALLOW, UNKNOWN = 0x80000000, 0x7FFF0000, 0x00050000 | 38
"""Results of a filter; a call that is not allowed fails as if the kernel did not have it (ENOSYS),
so that the C library uses an older call where it can."""
NUMBER, MACHINE, FIRST_ARGUMENT = 0, 4, 16
"""Offsets in what a filter reads, `struct seccomp_data`."""


def instructions() -> Iterator[tuple[int, int, int, int]]:
    """Yields (operation, jump if true, jump if false, operand); a jump skips that many."""
    column, machine, clone = MACHINES[os.uname().machine]
    yield LOAD, 0, 0, MACHINE
    yield IS_EQUAL, 1, 0, machine
    yield RETURN, 0, 0, KILL  # the same number may be another call on another machine
    yield LOAD, 0, 0, NUMBER
    for call in ALLOWED.split(","):
        number = call.split()[1 + column]
        if number != "-":
            yield IS_EQUAL, 0, 1, int(number)
            yield RETURN, 0, 0, ALLOW
    yield IS_EQUAL, 0, 3, clone
    yield LOAD, 0, 0, FIRST_ARGUMENT
    yield HAS_BIT, 0, 1, CLONE_THREAD
    yield RETURN, 0, 0, ALLOW
    yield RETURN, 0, 0, UNKNOWN


def forbid_all_others(libc: ctypes.CDLL) -> None:
    """Installs the filter, for good, in this thread and those that it starts."""
    code = b"".join(struct.pack("HBBI", *one) for one in instructions())
    kept = ctypes.create_string_buffer(code)
    program = struct.pack("HP", len(code) // 8, ctypes.addressof(kept))
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.c_char_p(program), 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp filters are not available")
