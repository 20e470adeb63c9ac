"""Linux's ``renameat2`` by ctypes: two names of one directory change places in one step.

Python has no call for it. It is made without letting go of the interpreter lock: between the last look at
config.json and the exchange no other thread of ours may run, or the window would be a scheduler's slice
(5 ms) instead of microseconds.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from collections.abc import Callable

_EXCHANGE = 2
_SYSCALL_NUMBERS = {
    "x86_64": 316,
    "aarch64": 276,
    "armv7l": 382,
    "armv6l": 382,
    "i686": 353,
    "ppc64le": 357,
    "riscv64": 276,
    "s390x": 347,
}
"""``__NR_renameat2`` by machine, for a C library that has no wrapper (musl before 1.2.6).

Source: linux: the syscall tables under arch/ and include/uapi/asm-generic/unistd.h.
"""

UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM})
"""What a kernel, filesystem or seccomp filter without the exchange answers. EPERM also has other causes: the
plain rename that follows then fails in the same way, and its error is the one that is reported."""


def _bind() -> Callable[[int, bytes, bytes], int] | None:
    libc = ctypes.PyDLL(None, use_errno=True)
    arguments = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    wrapper = getattr(libc, "renameat2", None)
    if wrapper is not None:
        wrapper.argtypes = arguments
        return lambda fd, one, other: int(wrapper(fd, one, fd, other, _EXCHANGE))
    number = _SYSCALL_NUMBERS.get(platform.machine())
    if number is None:
        return None
    syscall = libc.syscall
    syscall.restype = ctypes.c_long
    syscall.argtypes = (ctypes.c_long, *arguments)
    return lambda fd, one, other: int(syscall(number, fd, one, fd, other, _EXCHANGE))


_renameat2 = _bind()


def exchange(dir_fd: int, one: str, other: str) -> None:
    """Swap what two names of a directory stand for, atomically.

    Args:
        dir_fd: Descriptor of the directory.
        one: First name; must exist.
        other: Second name; must exist.

    Raises:
        OSError: As ``renameat2(2)`` says; an errno in :data:`UNSUPPORTED` where there is no such call.
    """
    if _renameat2 is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), one)
    if _renameat2(dir_fd, os.fsencode(one), os.fsencode(other)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), one)
