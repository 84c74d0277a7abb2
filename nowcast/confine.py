"""Walls around a process that parses files nobody vouches for.

Linux; each wall that the kernel lacks is left out, and said:

- resource limits: address space, CPU seconds, no file writes, few open files, no core dumps;
- seccomp: no sockets, no new programs, no signals to others, no tracing (the system calls answer EPERM);
- Landlock: reads only beneath given folders, no writes anywhere, no TCP.

None needs privileges; all are inherited and cannot be taken back. See Documentation/userspace-api of the Linux kernel,
landlock.rst and seccomp_filter.rst.
"""

import ctypes
import os
import platform
import resource
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

PR_SET_NO_NEW_PRIVS = 38
SECCOMP_SET_MODE_FILTER, SECCOMP_TSYNC = 1, 1
ALLOW, DENY = 0x7FFF0000, 0x00050001
LOAD, JUMP_EQUAL, JUMP_AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
X32 = 0x40000000
SECCOMP = {"x86_64": 317, "aarch64": 277}
ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
DENIED = (  # name, number on x86_64, number on aarch64
    ("socket", 41, 198),
    ("socketpair", 53, 199),
    ("connect", 42, 203),
    ("bind", 49, 200),
    ("listen", 50, 201),
    ("accept", 43, 202),
    ("accept4", 288, 242),
    ("sendto", 44, 206),
    ("sendmsg", 46, 211),
    ("execve", 59, 221),
    ("execveat", 322, 281),
    ("fork", 57, None),
    ("vfork", 58, None),
    ("kill", 62, 129),
    ("ptrace", 101, 117),
    ("process_vm_readv", 310, 270),
    ("process_vm_writev", 311, 271),
    ("unshare", 272, 97),
    ("setns", 308, 268),
    ("keyctl", 250, 219),
    ("bpf", 321, 280),
    ("userfaultfd", 323, 282),
    ("perf_event_open", 298, 241),
    ("open_by_handle_at", 304, 265),
    ("pidfd_send_signal", 424, 424),
    ("pidfd_getfd", 438, 438),
    ("io_uring_setup", 425, 425),
)
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
READ_FILE, READ_DIR = 1 << 2, 1 << 3
FS_RIGHTS_BY_ABI = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
NET_SINCE, NET_RIGHTS = 4, 0b11


@dataclass(frozen=True)
class Limits:
    """What a parsing process may use.

    Attributes
    ----------
    memory
        Bytes of address space, libraries included.
    seconds
        Wall seconds (the parent kills) and CPU seconds (the kernel kills) of one file.
    open_files
        File descriptors.
    file_bytes
        Largest file that is looked at.
    """

    memory: int = 1 << 30
    seconds: float = 20.0
    open_files: int = 64
    file_bytes: int = 1 << 28

    def __post_init__(self) -> None:
        if min(self.memory, self.seconds, self.open_files, self.file_bytes) <= 0:
            raise ValueError(f"limits must be > 0, got {self}")


def limit(limits: Limits) -> None:
    """Set the resource limits of this process; CPU time is set anew for each file by `allow_cpu`."""
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory, limits.memory))
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits.open_files, limits.open_files))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def allow_cpu(seconds: float) -> None:
    """Let this process use `seconds` more of CPU time than it has used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(usage.ru_utime + usage.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def confine(readable: list[Path]) -> list[str]:
    """Put up what walls there are and return their names; reads are allowed beneath `readable` and Python's folders."""
    if sys.platform != "linux":
        return []
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return []
    walls = []
    if _landlock(libc, readable):
        walls.append("landlock")
    if _seccomp(libc):
        walls.append("seccomp")
    return walls


def _seccomp(libc: ctypes.CDLL) -> bool:
    machine = platform.machine()
    if machine not in SECCOMP:
        return False
    both = ((intel, arm) for _, intel, arm in DENIED)
    numbers = [n for intel, arm in both if (n := intel if machine == "x86_64" else arm) is not None]
    program = [
        (LOAD, 0, 0, 4),
        (JUMP_EQUAL, 1, 0, ARCHITECTURE[machine]),
        (RETURN, 0, 0, DENY),
        (LOAD, 0, 0, 0),
        (JUMP_AT_LEAST, len(numbers) + 1, 0, X32),
        *((JUMP_EQUAL, len(numbers) - at, 0, number) for at, number in enumerate(numbers)),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, DENY),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in program))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(code)))
    return bool(libc.syscall(SECCOMP[machine], SECCOMP_SET_MODE_FILTER, SECCOMP_TSYNC, header) == 0)


def _landlock(libc: ctypes.CDLL, readable: list[Path]) -> bool:
    abi = int(libc.syscall(CREATE_RULESET, None, 0, 1))
    if abi < 1:
        return False
    rights = (1 << FS_RIGHTS_BY_ABI[min(abi, max(FS_RIGHTS_BY_ABI))]) - 1
    handled = struct.pack("=Q", rights) + (struct.pack("=Q", NET_RIGHTS) if abi >= NET_SINCE else b"")
    ruleset = int(libc.syscall(CREATE_RULESET, handled, len(handled), 0))
    if ruleset < 0:
        return False
    for path in [*readable, *_runtime()]:
        _allow(libc, ruleset, path, READ_FILE | READ_DIR)
    for entry in sys.path:  # names only: an editable install's root holds more than our package
        _allow(libc, ruleset, Path(entry), READ_DIR)
    done = bool(libc.syscall(RESTRICT_SELF, ruleset, 0) == 0)
    os.close(ruleset)
    return done


def _runtime() -> list[Path]:
    """Return the folders and files that Python and its libraries are loaded from."""
    package = Path(__file__).parent
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, *(p for p in sys.path if p.endswith("site-packages"))}
    system = ("/usr", "/lib", "/lib64", "/etc", "/dev/null", "/dev/urandom", "/proc/cpuinfo", "/proc/meminfo")
    return [package, *map(Path, prefixes), *map(Path, system), Path("/sys/devices/system/cpu")]


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, access: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    access &= READ_FILE | (READ_DIR if path.is_dir() else 0)
    if not path.is_dir():
        access = READ_FILE
    libc.syscall(ADD_RULE, ruleset, 1, struct.pack("=Qi", access, descriptor), 0)
    os.close(descriptor)
