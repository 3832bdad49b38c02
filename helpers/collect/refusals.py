"""What the kernel and clang say of a program that they refuse, in full.

BCC prints it to standard error, and its exception does not have it. But the frames of the exception still hold the
compiled program, so the kernel can be asked once more, and clang its text. What BCC printed would not do: after EINVAL
it asks again without the lines of C, and prints that second answer, and after E2BIG it prints none.
"""

import ctypes
import errno
import os
import re
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import FrameType
from typing import Any, NamedTuple

from helpers.collect.interrupts import DeferredInterrupt

LOG_BYTES = 1 << 20  # of a refusal's log the end counts, and the kernel keeps that, since Linux 6.4
MOST_LOG_BYTES = 1 << 25  # before that it keeps the beginning, so all of it has to fit
MOST_STEPS = 1000  # from the end of a log: so many instructions get their line of C

STEP = re.compile(r"^(\d+): \(", re.MULTILINE)
INSTRUCTION_BYTES, JUMP_CLASSES = 8, (5, 6)  # <linux/bpf.h>
LOAD_64, CALL, EXIT, MOVE = 0x18, 0x85, 0x95, 0xB7
RETURN = struct.pack("=BBhi", EXIT, 0, 0, 0)
REFUSED, REFUSED_WORDS = struct.pack("=BBhi", MOVE, 10, 0, 0), "frame pointer is read only"  # r10 = 0


class Refused(NamedTuple):
    """A program that was refused: by the kernel, which gives a log, or by clang, which gives its messages.

    `function` is the BPF function's name and `program_type` its number in enum bpf_prog_type, for the kernel only;
    `text` is the C text that clang was given, as far as it is known. `loops` has the first and the last instruction of
    each loop, where the kernel gave up (E2BIG, EFAULT): then the log is that of one round.
    """

    by: str  # "kernel" or "clang"
    said: str
    function: str = ""
    program_type: int | None = None
    text: str = ""
    loops: tuple[tuple[int, int], ...] = ()


class captured:
    """In a `with` block: what is written to file descriptor 2, also by libraries in C. Then it is in `said`.

    ■ waits while it begins or ends, and while one of `functions` runs, which are to call `__enter__` and `__exit__`.
    """

    def __init__(self, *functions: Callable[..., Any]) -> None:
        self.said, self._functions = "", functions

    def __enter__(self) -> "captured":
        interrupt = DeferredInterrupt(captured.__enter__, captured.__exit__, *self._functions)
        with ExitStack() as closing:
            closing.callback(interrupt.end)
            self._file = closing.enter_context(tempfile.TemporaryFile())
            sys.stderr.flush()
            stderr = os.dup(2)
            closing.callback(os.close, stderr)
            closing.callback(os.dup2, stderr, 2)
            os.dup2(self._file.fileno(), 2)
            interrupt.deliver()
            self._closing = closing.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        with self._closing:
            sys.stderr.flush()
            self._file.seek(0)
            self.said = self._file.read().decode(errors="replace")


def refused(error: BaseException | None, printed: str | None = None) -> Refused | None:
    """Find what was refused, of an exception that BCC raised.

    Args:
        error: the exception; those that it was raised from, or while handling, count too.
        printed: what BCC printed meanwhile, if it was `captured`; without it clang compiles once more.

    Returns:
        What was refused; None if the exception was raised for another reason, or the BPF object has been cleaned up.
    """
    from bcc import BPF

    while error is not None:
        for frame in _frames(error):
            if frame.f_code is BPF.load_func.__code__:
                return _ask_kernel(frame.f_locals, error)
            if frame.f_code is BPF.__init__.__code__ and not getattr(frame.f_locals["self"], "module", None):
                return _ask_clang(frame.f_locals, printed)
        error = error.__cause__ or error.__context__
    return None


def _frames(error: BaseException) -> Iterator[FrameType]:
    """Return the frames of a traceback, the innermost first."""
    found, traceback = [], error.__traceback__
    while traceback is not None:
        found.append(traceback.tb_frame)
        traceback = traceback.tb_next
    return reversed(found)


def _ask_clang(frame: dict[str, Any], printed: str | None) -> Refused | None:
    from bcc.libbcc import lib

    text, flags = frame.get("text"), frame.get("cflags_array")
    if not text or flags is None:
        return None  # it never came to clang
    if printed is None:
        with captured() as clang:
            module = lib.bpf_module_create_c_from_string(
                text, frame["debug"], flags, len(flags), frame["allow_rlimit"], frame["device"]
            )
        if module:
            lib.bpf_module_destroy(module)
        printed = clang.said
    return Refused("clang", printed, text=text.decode(errors="replace"))


def _ask_kernel(frame: dict[str, Any], error: BaseException) -> Refused | None:
    from bcc.libbcc import lib

    bpf, name = frame["self"], frame["func_name"]
    if not bpf.module or name in bpf.funcs or not lib.bpf_function_start(bpf.module, name):
        return None  # cleaned up, let in, or no function of that name
    with captured():  # BCC's library prints the log each time
        program = _Program(bpf, name, frame)
        gave_up = next((n for n in (errno.E2BIG, errno.EFAULT) if str(error).endswith(os.strerror(n))), 0)
        loops = program.loops if gave_up else ()
        log = program.round_log() + f"{os.strerror(gave_up)} ({errno.errorcode[gave_up]})\n" if loops else program.log()
    return Refused("kernel", log, name.decode(), frame["prog_type"], loops=loops) if log is not None else None


class _Program:
    """A compiled function that the kernel refuses, and the logs of trying again (bpf(2), BPF_PROG_LOAD)."""

    def __init__(self, bpf: Any, name: bytes, frame: dict[str, Any]) -> None:
        from bcc.libbcc import lib

        self._bpf, self._name, self._frame = bpf, name, frame
        size = lib.bpf_function_size(bpf.module, name)
        self._code = ctypes.string_at(lib.bpf_function_start(bpf.module, name), size)
        self.loops = tuple(_loops(self._code))

    def load(self, size: int, code: bytes | None = None) -> tuple[int, str]:
        """Return the kernel's answer, an errno or 0, and its log, for which there is room for so many bytes."""
        from bcc.libbcc import lib

        buffer = ctypes.create_string_buffer(size)
        code = code or self._code
        module, frame = self._bpf.module, self._frame
        ctypes.set_errno(0)
        fd = lib.bcc_func_load(
            module, frame["prog_type"], self._name, code, len(code), lib.bpf_module_license(module),
            lib.bpf_module_kern_version(module), 1, buffer, size, frame["device"], frame["attach_type"],
        )  # fmt: skip
        if fd >= 0:
            os.close(fd)
            return 0, ""
        return ctypes.get_errno(), buffer.value.decode(errors="replace")

    def log(self) -> str | None:
        """Return the log with its lines of C; None if the kernel takes the program now."""
        size = LOG_BYTES
        answer, log = self.load(size)
        while answer == errno.ENOSPC and "\nprocessed " not in log and size < MOST_LOG_BYTES:
            size *= 4
            answer, log = self.load(size)
        return self._with_lines(log) if answer == errno.EINVAL else log if answer else None

    def round_log(self) -> str:
        """Return the log of one round of each loop. Where the kernel gives up, its own log would take minutes."""
        return "".join(self._log_until(last).partition(REFUSED_WORDS)[0] for _, last in self.loops)

    def _with_lines(self, log: str) -> str:
        """Return a log with the lines of C put in, which BCC's library leaves out when it asks again after EINVAL.

        It does not ask again after EACCES, and what that log says of an instruction's line holds in any other.
        """
        lines: dict[int, str] = {}
        for number in list(dict.fromkeys(map(int, STEP.findall(log))))[: -MOST_STEPS - 1 : -1]:
            if number not in lines:
                lines |= dict(_lines(self._log_until(number)))
        found, now = [], ""
        for row in log.splitlines():
            step = STEP.match(row)
            if step and (line := lines.get(int(step[1]), "")) and line != now:
                found.append(now := line)
            found.append(row)
        return "\n".join(found)

    def _log_until(self, number: int) -> str:
        """Return the log up to an instruction, which is replaced by one that is always refused (EACCES)."""
        place = number * INSTRUCTION_BYTES
        if self._code[place] == LOAD_64:
            return ""  # two instructions long
        end = self._code[place + INSTRUCTION_BYTES :] or RETURN  # a program's last instruction is always this one
        return self.load(LOG_BYTES, self._code[:place] + REFUSED + end)[1]


def _lines(log: str) -> Iterator[tuple[int, str]]:
    """Yield the number of each instruction of a log, and its line of C as the log shows it."""
    line = ""
    for row in log.splitlines():
        if row.startswith("; "):
            line = row
        elif step := STEP.match(row):
            yield int(step[1]), line


def _loops(code: bytes) -> Iterator[tuple[int, int]]:
    """Yield the first and last instruction of each loop: where a jump goes back to, and the jump (<linux/bpf.h>)."""
    for number, (opcode, _, offset, _) in enumerate(struct.iter_unpack("=BBhi", code)):
        if opcode & 7 in JUMP_CLASSES and opcode not in (CALL, EXIT) and offset < 0:
            yield number + 1 + offset, number
