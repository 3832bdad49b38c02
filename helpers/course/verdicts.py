"""What the verifier's log means: one of eight kinds of refusal, with a sentence and what to write instead.

The kernel's words have changed from version to version; those of Linux 5.4 to 6.18 are known here. A log that fits none
of the eight is of the kind "other", and then nothing is claimed.
"""

import re
from typing import NamedTuple

from helpers.course.verifier import Line, Log, Value

STACK_BYTES = 512
KERNEL_ADDRESSES = 1 << 63  # on x86-64 the kernel's memory is at this address and above; a signed number is below 0
KINDS = ("null", "kernel memory", "user memory", "loop", "index", "stack", "release", "helper")

_NULL = (
    r"R(\d+) (?:invalid mem access '|type=|pointer arithmetic on )(\w+)_or_null\b|NULL pointer passed to \w+ arg(\d)"
)
_NUMBER = r"R(\d+) (?:invalid mem access '|type=)(?:scalar|inv)\b"
_LOOP = (
    r"infinite loop detected|back-edge from insn|The sequence of \d+ jumps|program is too large|\(E2BIG\)|\(EFAULT\)"
)
_INDEX = (
    r"R\d+ unbounded (?:memory access|indirect)|R\d+ (?:min value is (?:negative|outside)|max value is outside)"
    r"|math between \w+ pointer and register with unbounded|makes \w+ pointer be out of bounds"
    r"|(?:variable|unbounded).* stack|invalid access to (?:map value|memory|mem)\b"
)
_STACK = r"invalid (?:\w+ )*(?:stack|to stack|from stack)\b.*?off[= ](-\d+)"
_SIZE = r"invalid (?:write to|read from|indirect access to) stack (R\d+ )?off=?\s*(-?\d+)\S* size=?\s*(\d+)"
_HELPER = (
    r"program of this type cannot use helper (\w+)#|unknown func (bpf_\w+)#|helper call might sleep in a non-sleepable"
    r"|helper call is not allowed in probe|cannot call GPL-restricted function"
)
_KINDS_OF_PROGRAM = {
    1: "a socket filter", 2: "a kprobe", 3: "traffic control (tc)", 5: "a tracepoint", 6: "XDP", 7: "a perf event",
    8: "a cgroup's packets", 17: "a raw tracepoint", 26: "fentry or fexit", 29: "a security module (LSM)",
}  # fmt: skip


class Note(NamedTuple):
    """Something to say beside a line of C; `name` is the variable it is about, if that is known."""

    line: Line
    words: str
    value: Value | None = None


class Verdict(NamedTuple):
    """What was refused: its kind (see `KINDS`), a sentence, notes beside lines of C, and what to write instead.

    In the sentences, {name} stands for the variable, where there is one. `kind` is "memory" where it is memory, but
    not known whether the kernel's or that of user space, and "other" for everything else.
    """

    kind: str
    words: str = ""
    notes: tuple[Note, ...] = ()
    instead: str = ""
    value: Value | None = None

    def said_of(self, name: str, ticks: str = "`") -> tuple[str, str]:
        """Return the sentence, and what to write instead, with the variable's name, or a noun where it has none."""
        noun = {"release": "record", "index": "number"}.get(self.kind, "address")
        this = "This" if self.words.startswith("{name}") else "this"
        words = self.words.replace("{name}", f"{ticks}{name}{ticks}" if name else f"{this} {noun}")
        return words, self.instead.replace("{name}", name or noun)


def verdict(log: Log, function: str = "", program_type: int | None = None) -> Verdict:
    """Read what was refused from a log.

    Args:
        log: the log.
        function: the BPF function's name, as BCC has it; "syscall__…" and "tracepoint__…" tell about its arguments.
        program_type: a number of enum bpf_prog_type, of <linux/bpf.h>.

    Returns:
        The verdict; of the kind "other", without words, where the log is none of the eight.
    """
    said = "\n".join(log.said)
    for read in (_null, _memory, _release, _helper, _loop, _stack, _index):
        if found := read(log, said, function, program_type):
            return found
    return Verdict("other", notes=_here(log, "refused here"))


def _here(log: Log, words: str, value: Value | None = None) -> tuple[Note, ...]:
    return (Note(log.last, words, value),) if log.last else ()


def _since(log: Log, value: Value | None, words: str) -> tuple[Note, ...]:
    line = log.line_of(value)
    return (Note(line, words, value),) if line else ()


def _argument(log: Log) -> str:
    """Return the helper that the last step calls, or ""."""
    found = re.match(r"call (bpf_\w+)#", log.steps[-1].text) if log.steps else None
    return found[1] if found else ""


def _null(log: Log, said: str, function: str, program_type: int | None) -> Verdict | None:
    if found := re.search(_NULL, said):
        return _maybe_null(log, log.values.get(f"r{found[1] or int(found[3]) + 1}"))
    found = re.search(_NUMBER, said)
    value = log.values.get(f"r{found[1]}") if found else None
    if value and re.search("lookup|reserve", value.source) and log.is_null(value):
        return Verdict(
            "null",
            "{name} is always NULL here",
            (*_since(log, value, "comes from here"), *_here(log, "only reached when it is NULL", value)),
            "Use it only where it is not NULL: `if ({name}) { … }`",
            value,
        )
    return None


def _maybe_null(log: Log, value: Value | None) -> Verdict:
    helper = value.source if value else ""
    why = "may give NULL"
    line = log.line_of(value)
    if line and "update_elem" in line.text:
        why = "gives NULL when the map is full"
    elif "lookup" in helper:
        why = "gives NULL when there is no such key"
    elif "ringbuf_reserve" in helper:
        why = "gives NULL when the buffer is full"
    used = f"handed to {call}()" if (call := _argument(log)) else "used"
    return Verdict(
        "null",
        "{name} may be NULL, and nothing has checked that it is not",
        (*_since(log, value, why), *_here(log, f"{used} here", value)),
        "Between the two: `if (!{name}) return 0;`",
        value,
    )


def _memory(log: Log, said: str, function: str, program_type: int | None) -> Verdict | None:
    found = re.search(_NUMBER, said)
    value = log.values.get(f"r{found[1]}") if found else None
    kind = _whose_memory(log, value, function) if value else None
    if not kind:
        return None
    of = {"kernel memory": "the kernel's memory", "user memory": "the memory of a program in user space"}.get(
        kind, "memory"
    )
    notes = _since(log, value, "the address comes from here") if log.line_of(value) != log.last else ()
    if log.steps[-1].text.startswith("*("):
        words = f"This writes to {of} by itself, which a BPF program may not"
        return Verdict(kind, words, (*notes, *_here(log, "written here", value)), value=value)
    copy = "`{0}(&copy, sizeof(copy), (void *){{name}})`, or for text `{0}_str(…)`"
    helper = {"kernel memory": copy.format("bpf_probe_read_kernel"), "user memory": copy.format("bpf_probe_read_user")}
    call = _argument(log)
    return Verdict(
        kind,
        f"This reads {of} without a helper: for the verifier the address is a mere number",
        (*notes, *_here(log, f"handed to {call}() here" if call else "read here", value)),
        "Copy it into a variable first: "
        + helper.get(
            kind, "`bpf_probe_read_kernel(…)` for the kernel's memory, `bpf_probe_read_user(…)` for that of user space"
        ),
        value,
    )


def _whose_memory(log: Log, value: Value, function: str) -> str | None:
    """Return whose memory it is, as far as the way that the address took tells; None if it is no address."""
    line = log.line_of(value)
    text = line.text if line else ""
    if value.source == "constant":
        number = value.number or 0
        return "kernel memory" if number < -4096 or number >= KERNEL_ADDRESSES else None
    if value.source in ("bpf_get_current_task", "bpf_get_func_ip"):
        return "kernel memory"
    if "__user" in text:
        return "user memory"
    if value.source == "memory" and value.of == "context":
        if function.startswith("tracepoint__syscalls__sys_enter"):
            return "user memory"
        if re.search(r"\bstruct \w+ \*", text):
            return "kernel memory"
        return "memory"
    if "probe_read" in value.source:
        return "user memory" if function.startswith("syscall__") and "__ctx->" in text else "memory"
    if value.source == "memory" and value.of != "":
        return "memory"
    return None


def _release(log: Log, said: str, function: str, program_type: int | None) -> Verdict | None:
    found = re.search(r"Unreleased reference id=\d+ alloc_insn=(\d+)", said)
    if not found:
        return None
    index = next((i for i, step in enumerate(log.steps) if step.number == int(found[1])), None)
    value = Value(_helper_of(log, index), index) if index is not None else None
    notes = _since(log, value, "reserved here" if value and "ringbuf" in value.source else "taken here")
    own = [check.step for check in log.checks if check.value == value]
    branches = [
        step.line for i, step in enumerate(log.steps)
        if index is not None and i > index and i not in own and step.text.startswith("if ")
    ]  # fmt: skip
    if branches and (line := branches[-1]):
        notes += (Note(line, "one way from here ends without giving it back"),)
    else:
        notes += _here(log, "the program ends here")
    ring = value and "ringbuf" in value.source
    return Verdict(
        "release",
        "{name} was reserved, and one way to the end neither submits nor discards it"
        if ring
        else "{name} was taken, and one way to the end does not give it back",
        notes,
        "Submit it, or discard it, on that way too: `ringbuf_discard({name}, 0);`" if ring else "",
        value,
    )


def _helper_of(log: Log, index: int) -> str:
    found = re.match(r"call (\w+)#", log.steps[index].text)
    return found[1] if found else ""


def _helper(log: Log, said: str, function: str, program_type: int | None) -> Verdict | None:
    found = re.search(_HELPER, said)
    if not found:
        return None
    helper = found[1] or found[2] or _argument(log)
    of = f" ({kind})" if program_type is not None and (kind := _KINDS_OF_PROGRAM.get(program_type)) else ""
    words, instead = f"{helper}() may not be called by this kind of program{of}", ""
    if "GPL" in said:
        words = f"{helper}() may only be called by a program under the GPL"
        instead = "Leave out BPF_LICENSE, or name a licence that fits: `#define BPF_LICENSE GPL`"
    elif "sleep" in said:
        words = f"{helper}() may have to wait, and a program of this kind{of} must not"
        instead = "bpf_probe_read_user() copies what is in memory already." if "copy_from_user" in helper else ""
    return Verdict("helper", words, _here(log, "called here"), instead)


def _loop(log: Log, said: str, function: str, program_type: int | None) -> Verdict | None:
    if not re.search(_LOOP, said, re.IGNORECASE):
        return None
    loops = list(log.loops)
    if back := re.search(r"back-edge from insn (\d+) to (\d+)", said):
        loops = [(int(back[2]), int(back[1]))]
    rounds = [[step for step in log.steps if first <= step.number <= last] for first, last in loops]
    if not rounds and not (rounds := [log.loop()])[0]:
        return None
    heads = [next((step.line for step in steps if step.line), None) for steps in rounds]
    words = "The verifier gave up before it saw the end of this loop"
    if len(heads) > 1:
        words = "The verifier gave up before it saw the end of one of these loops"
    elif "infinite" in said:
        words = "This loop may go on for ever: a round can end just as it began"
    return Verdict(
        "loop",
        words,
        tuple(Note(head, "this loop") for head in heads if head),
        "Bound it by a small constant, `for (int i = 0; i < 64; i++) { … }`, and leave it early with `break`.",
    )


def _stack(log: Log, said: str, function: str, program_type: int | None) -> Verdict | None:
    found = re.search(_STACK, said)
    together = re.search(r"combined stack size of \d+ calls is (\d+)", said)
    if not together and not (found and int(found[1]) < -STACK_BYTES and "variable-offset" not in said):
        return None
    words = f"The local variables need more than the {STACK_BYTES} bytes of stack that a program has"
    if together:
        words = f"Functions that call each other need {together[1]} bytes of stack together, and have {STACK_BYTES}"
    return Verdict("stack", words, _here(log, "here the stack ends"), OFF_THE_STACK)


OFF_THE_STACK = (
    "Keep what is large in a map: `BPF_PERCPU_ARRAY(scratch, struct data_t, 1);` and `scratch.lookup(&zero)`"
)


def _index(log: Log, said: str, function: str, program_type: int | None) -> Verdict | None:
    found = re.search(_INDEX, said)
    size = re.search(_SIZE, said)
    if size and not found:
        begin, count = int(size[2]), int(size[3])
        if begin + count <= 0 or (begin >= 0 and not count):
            return None
        return Verdict(
            "index",
            f"{count} bytes are asked for where {-begin} are left"
            if begin < 0
            else "This is past the end of the variable",
            _here(log, "here"),
            "Give the size of the variable itself:  sizeof(name)",
        )
    if not found or "packet" in said:
        return None
    room = re.search(r"(?:value_size|mem_size)=(\d+) off=(-?\d+) size=(\d+)", said)
    is_size = bool(_argument(log)) and not room
    value = _index_value(log, said, is_size)
    what = "a size" if is_size else "an index"
    if room and value is None:
        words = f"This reaches for {room[3]} bytes at offset {room[2]} of a value that has {room[1]}"
    elif room:
        words = f"{{name}} is not bounded well enough: {room[3]} bytes at offset {room[2]} of {room[1]} are possible"
    else:
        words = f"{{name}} is used as {what}, and the verifier knows no bound for it"
    notes = _since(log, value, "the number comes from here")
    bound = next((check for check in reversed(log.checks) if value and check.value == value), None)
    if bound and (line := log.steps[bound.step].line):
        signed = bound.holds.startswith("s") and "<" in bound.holds
        notes += (Note(line, "it may still be negative" if signed else "this check lets too much through", value),)
    notes += _here(log, "used here", value if value is not None else None)
    return Verdict(
        "index",
        words,
        notes,
        "Declare it unsigned (u32), and check it before, where N is how many "
        + ("bytes fit: `if ({name} > N) return 0;`" if is_size else "there are: `if ({name} >= N) return 0;`"),
        value,
    )


def _index_value(log: Log, said: str, is_size: bool) -> Value | None:
    """Return the number that makes an address, or a size, go too far."""
    found = re.search(r"\bR(\d+)\b", said)
    base = log.values.get(f"r{found[1]}") if found else None
    if is_size:
        return base
    if added := re.match(r"[rw](\d+) \+= [rw](\d+)$", log.steps[-1].text):
        return log.index_of(log.values.get(f"r{added[1]}"), log.values.get(f"r{added[2]}"))[1]
    return next((number for address, number in reversed(log.added) if base and address.source == base.source), None)
