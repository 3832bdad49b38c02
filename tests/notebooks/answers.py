"""More answers to the exercises: wrong ones that a check has to refuse, in words that help, and unusual right ones.

The plainest wrong answer and the solution of each exercise stand in its notebook. An answer here goes into the cell to
fill in, below the line "# Exercise …".
"""

from typing import NamedTuple


class Right(NamedTuple):
    what: str
    code: str


class Wrong(NamedTuple):
    what: str
    code: str
    told: str  # a part of what the check says


def collected(calls, name=None):
    """Collect what `calls` causes into my_df; `name`, if there is one, goes into my_name."""
    naming = "" if name is None else f"my_name = {name!r}\n"
    return f"{naming}with TracePipe() as lines:\n    {calls}\nmy_df = lines.to_dataframe()"


def says(message, call="sync", before="", after="", argument=""):
    """Attach a program that prints `message` (C text) at `call`, as my_bpf."""
    return f"""
detach_all()
my_bpf = BPF(text=r'''
int on_call(void *ctx) {{
    {before}
    bpf_trace_printk({message}{argument});
    return 0;
}}
''')
my_bpf.attach_kprobe(event=my_bpf.get_syscall_fnname("{call}"), fn_name="on_call")
{after}"""


PID = ", bpf_get_current_pid_tgid() >> 32"
PIDS = "def pids(frame):\n    return "
MS, SPAN = 'my_df = df.copy()\nmy_df["ms"] = ', '(df["time_ns"].max() - df["time_ns"].min()) / 1e6'
FROM_TEXT = "frame['message'].str.extract(r'pid=(\\d+)', expand=False)"
NUMBERED = says('"pid=%d"', argument=PID)
OTHERS = "from helpers import start; others = start({!r}, times=200, rate=50, name='other')"


def sends(number, probe="TRACEPOINT_PROBE(syscalls, sys_enter_sched_yield)", before="", after=""):
    """Attach a program that sends `number` (C text) from a tracepoint, as yields."""
    context = "ctx" if "ctx" in probe else "args"
    return f"""
detach_all()
yields = BPF(text='''
#include <uapi/linux/ptrace.h>
BPF_PERF_OUTPUT(events);
struct data_t {{ u64 number; }};
{probe} {{
    {before}
    struct data_t data = {{.number = {number}}};
    events.perf_submit({context}, &data, sizeof(data));
    return 0;
}}
''')
{after}"""


KPROBE = "int on_yield(struct pt_regs *ctx)"
ON_KPROBE = "yields.attach_kprobe(event=yields.get_syscall_fnname('sched_yield'), fn_name='on_yield')"

LATENCIES = """import matplotlib.pyplot as plt
fig, points = plt.subplots()
seconds = (together["time_ns"] - together["time_ns"].min()) / 1e9
ms = together["latency_ns"] / 1e6
PLOT
points.set(title="Next to the writer", xlabel="time since the first call (s)", ylabel="latency (ms)");
"""
SUBMIT = "events.perf_submit(ctx, &data, sizeof(data))"
DROPPED = f"""declared = program.replace("BPF_ARRAY(fired", "BPF_ARRAY(dropped, u64, 1);BPF_ARRAY(fired")
my_bpf = load(declared.replace("{SUBMIT};", "COUNT"))
"""
COPIED = """my_bpf = load('''
BPF_RINGBUF_OUTPUT(events, 16);
BPF_ARRAY(events_lost, u64, 1);
struct data_t { u32 pid; u32 cpu; };
int on_call(void *ctx) {
    struct data_t data = {};
    data.pid = bpf_get_current_pid_tgid() >> 32;
    data.cpu = bpf_get_smp_processor_id();
    if (events.ringbuf_output(&data, sizeof(data), 0))
        events_lost.atomic_increment(0);
    return 0;
}
''')
"""
RESERVED = """my_bpf = load('''
BPF_RINGBUF_OUTPUT(events, 16);
BPF_ARRAY(events_lost, u64, 1);
struct data_t { u32 pid; u32 cpu; };
int on_call(void *ctx) {
    struct data_t *data = events.ringbuf_reserve(sizeof(struct data_t));
    if (!data) {
        events_lost.atomic_increment(0);
        return 0;
    }
    data->pid = bpf_get_current_pid_tgid() >> 32;
    data->cpu = bpf_get_smp_processor_id();
    events.ringbuf_submit(data, 0);
    return 0;
}
''')
"""
CPU = "key.cpu = bpf_get_smp_processor_id()"
NAME = "bpf_get_current_comm(&key.comm, sizeof(key.comm));"
REQUESTS = """bpf = load_requests()
counted = requests_of(1, sales=200, mode="WAL").groupby("kind")["value"].sum()
counted = counted.reindex(["data", "metadata", "flush"]).fillna(0)
"""
NOT_EVERY_CALL, NOBODY_READ = "Not every call has its point.", "Of 5,000 events that nobody read, "
NO_WAL = "No database with a WAL was written"


FLAGS = """text = by_prefix.replace("int folder, got", "int folder, flags, got")
text = text.replace("const char *path)", "const char *path, ARGUMENTS)")
flagged = load(text.replace("data.got", "data.flags = flags; data.got"), fn_name="syscall__open")
"""
WHOLE = "whole = load(by_prefix.replace('path[64]', 'path[SIZE]'), fn_name='syscall__open')"
RESERVING = """detach_all()
whole = BPF(text='''
BPF_RINGBUF_OUTPUT(events, 256);
BPF_ARRAY(events_lost, u64, 1);
struct data_t { char path[4096]; };
TRACEPOINT_PROBE(syscalls, sys_enter_openat) {
    struct data_t *data = events.ringbuf_reserve(sizeof(struct data_t));
    if (!data) {
        events_lost.atomic_increment(0);
        return 0;
    }
    bpf_probe_read_user_str(&data->path, sizeof(data->path), args->filename);
    events.ringbuf_submit(data, 0);
    return 0;
}
''')
"""
KILL_POINT = "TRACEPOINT_PROBE(syscalls, sys_enter_kill)"
KILL_FUNCTION = "int syscall__kill(struct pt_regs *ctx, int target, int signal)"
ON_KILL = "kills.attach_kprobe(event=kills.get_syscall_fnname('kill'), fn_name='syscall__kill')"
CALLER = "bpf_get_current_pid_tgid() >> 32"
OTHERS_KILL = (
    "from helpers import start; others = start(lambda: os.kill(os.getpid(), 0), times=200, rate=50, name='other')"
)


def failing(before, after):
    """Load `looking` with a part of it exchanged, as failing."""
    return f"detach_all()\nfailing = BPF(text=looking.replace({before!r}, {after!r}))"


def kills(probe, numbers, after=""):
    """Attach a program that sends three numbers (C text) for each kill, as kills."""
    return f"""
detach_all()
kills = BPF(text='''
#include <uapi/linux/ptrace.h>
BPF_RINGBUF_OUTPUT(events, 64);
BPF_ARRAY(events_lost, u64, 1);
struct data_t {{ u32 pid; int target, signal; }};
{probe} {{
    struct data_t data = {{{numbers}}};
    if (events.ringbuf_output(&data, sizeof(data), 0))
        events_lost.atomic_increment(0);
    return 0;
}}
''')
{after}"""


def drawn(plot):
    return LATENCIES.replace("PLOT", plot)


def by_cpu(line, fields="u32 pid; char comm[16]; u32 cpu;", name=NAME):
    """Attach a program that counts calls by a key of these fields, as my_bpf."""
    return f"""my_bpf = load('''
struct key_t {{ {fields} }};
BPF_HASH(calls, struct key_t);
int on_call(void *ctx) {{
    struct key_t key = {{}};
    key.pid = bpf_get_current_pid_tgid() >> 32;
    {name}
    {line};
    calls.atomic_increment(key);
    return 0;
}}
''')"""


def in_slots(slot, increment="atomic_increment"):
    """Attach a program that counts the calls of write in slots, as my_bpf."""
    return f"""detach_all()
my_bpf = BPF(text='''
BPF_HISTOGRAM(sizes);
TRACEPOINT_PROBE(syscalls, sys_enter_write) {{ sizes.{increment}({slot}); return 0; }}
''')"""


def dropping(when, count="dropped.atomic_increment(0)", before=""):
    """A program of XDP that drops a packet `when` (C text), as my_bpf; nowhere attached yet."""
    return f"""my_bpf = BPF(text='''
BPF_ARRAY(dropped, u64, 1);
int on_packet(struct xdp_md *ctx) {{{before}
    if (!({when}))
        return XDP_PASS;
    {count};
    return XDP_DROP;
}}
''')"""


def dropped(count, kind="BPF_ARRAY"):
    return DROPPED.replace("BPF_ARRAY(dropped", f"{kind}(dropped").replace("COUNT", count)


def sold(sales=20, commit_every=1, file="/var/tmp/shop.db", mode="DELETE", frame="wal"):
    """The code that sells with one of SQLite's kinds of journal and collects the calls in a frame."""
    return f"""from pathlib import Path
text = Path("/var/tmp/till.py").read_text()
text = text.replace('db.execute("CREATE', 'db.execute("PRAGMA journal_mode={mode}"); db.execute("CREATE')
Path("/var/tmp/till_wal.py").write_text(text)
with RingBuffer(bpf["events"]) as events:
    till = subprocess.Popen([sys.executable, "/var/tmp/till_wal.py", "{sales}", "{commit_every}", "{file}"])
    till.wait()
{frame} = events.to_dataframe().query("pid == @till.pid")
"""


CHECKED = ("data->time", "if (!data)\n        return 0;\n    data->time")
COPY = "__builtin_memcpy(data.parent, parent->comm, sizeof(data.parent));"
READ = "bpf_probe_read_kernel(&data.parent, sizeof(data.parent), parent->comm);"


def mended(name, before, after, *more):
    """The text `name` with something else for `before`, as fixed_`name`; `more` are further pairs."""
    pairs = [*more, (before, after)]
    return f"fixed_{name} = {name}" + "".join(f".replace({one!r}, {other!r}, 1)" for one, other in pairs)


def inside(number):
    """A program that counts fdatasync in the namespace, under this number (C text), as inside_text."""
    return f'''inside_text = """BPF_HASH(calls, u32, u64);
TRACEPOINT_PROBE(syscalls, sys_enter_fdatasync) {{
    struct bpf_pidns_info info = {{}};
    if (bpf_get_ns_current_pid_tgid(DEV, INO, &info, sizeof(info)) == 0)
        calls.increment({number});
    return 0;
}}"""'''


def written(line, where=""):
    """Attach a program that adds to `written` by this line when pwrite64 returns, as my_bpf."""
    return f"""
detach_all()
my_bpf = BPF(text='''
#include <uapi/linux/ptrace.h>
BPF_HASH(written, u32, u64);
int on_return(struct pt_regs *ctx) {{
    u32 pid = bpf_get_current_pid_tgid() >> 32;
    {line}
    return 0;
}}
''')
my_bpf.attach_uretprobe(name="c", sym="pwrite64", fn_name="on_return"{where})"""


ADDED = " if (n > 0) written.increment(pid, n);"
AUDIT = """
detach_all()
usdt = USDT(pid=audited.pid)
usdt.enable_probe("audit", "on_audit")
my_bpf = BPF(text='''
struct name_t { char name[32]; };
BPF_HASH(names, struct name_t);
int on_audit(struct pt_regs *ctx) {
    struct name_t key = {};
    u64 address = 0;
    bpf_usdt_readarg(1, ctx, &address);
    bpf_probe_read_user_str(&key.name, sizeof(key.name), (void *)address);
    names.atomic_increment(key);
    return 0;
}
''', usdt_contexts=[usdt])"""


# fmt: off
ANSWERS = {
    "0a": [
        Wrong("eight calls of one process", collected('run("sync", times=8)'), "Eight runs are eight processes"),
        Wrong("eight calls of a namesake", collected('run("sync", times=8, name="me")'), "Somebody else called, too: me."),
        Wrong("no frame", "my_df = run_sync(times=8)", "This should be a DataFrame"),
        Wrong("the frame of the runs", "my_df = pd.DataFrame(run_sync(times=8))", "The frame has no column `task`"),
        Right("two halves", collected("run_sync(times=5); run_sync(times=3)")),
        Right("with a column more", collected("run_sync(times=8)") + '\nmy_df["ms"] = my_df["time_ns"] / 1e6'),
        Right("a shell's", collected('os.system("for i in 1 2 3 4 5 6 7 8; do sync; done")')),
    ],
    "0b": [
        Wrong("a part of the name", collected('run("sync", times=4, name="kimberley")', "kim"), "You are `kim`, but"),
        Wrong("no name", collected('run("sync", times=4, name="kim")', ""), "You are ``, but `kim` called."),
        Wrong("the command", collected("run_sync(times=4)", "sync"), "This is the name of the command"),
        Wrong("four namesakes", collected('run("sync", name="kim", processes=4)', "kim"), "4 processes called"),
        Wrong("two names", collected('run("sync", times=2, name=["kim", "lee"])', "kim"), "You are `kim`, but `"),
        Wrong("no string", collected('run("sync", times=4, name="kim")', 5), "`my_name` should be your name, as a string."),
        Right("alice", collected('run("sync", times=4, name="alice")', "alice")),
        Right("another alphabet", collected('run("sync", times=4, name="小明")', "小明")),
        Right("a blank in it", collected('run("sync", times=4, name="Mary Ann")', "Mary Ann")),
        Right("by hand", collected("Path('/proc/self/comm').write_text('kim'); [os.sync() for _ in range(4)]", "kim")
              .replace("my_name", "from pathlib import Path\nmy_name")),
    ],
    "1c": [
        Wrong("the notebook's own number",
              says('"pid OURS"').replace("''')", "'''.replace('OURS', str(os.getpid())))"), "Thread "),
        Wrong("both numbers", says('"pid %d %d"', argument=PID + ", (u32) bpf_get_current_pid_tgid()"), "Thread "),
        Right("the article's newline", says(r'"pid %d\n"', argument=PID)),
        Right("in two steps", says('"pid %u"', before="u32 pid = bpf_get_current_pid_tgid() >> 32;", argument=", pid")),
        Right("while others call", says('"pid %d"', argument=PID, after=OTHERS.format("sync"))),
    ],
    "1d": [
        Wrong("the right name in the wrong place", "call = 'fsync'" + says('"Hello"', "fdatasync"), "gave no lines."),
        Wrong("the wrong name in the right place", "call = 'fdatasync'" + says('"Hello"', "fsync"),
              "The probe is in the right place, but that is not `fdatasync`."),
        Wrong("all three calls", """
detach_all()
my_bpf, call = BPF(text=hello), "fsync"
for name in ("syncfs", "fdatasync", "fsync"):
    my_bpf.attach_kprobe(event=my_bpf.get_syscall_fnname(name), fn_name="hello")""", "by fdatasync should give 0"),
        Wrong("all three, each with its object", """
detach_all()
call = "fsync"
for name in ("syncfs", "fdatasync", "fsync"):
    my_bpf = BPF(text=hello)
    my_bpf.attach_kprobe(event=my_bpf.get_syscall_fnname(name), fn_name="hello")""", "by fdatasync should give 0"),
        Right("while another process calls fsync", "call = 'fsync'" + says('"Hello"', "fsync", after=OTHERS.format("fsync"))),
    ],
    "2a": [
        Wrong("backwards", MS + '(df["time_ns"].max() - df["time_ns"]) / 1e6', "not every event has the milliseconds"),
        Wrong("evenly spread", f"import numpy as np\n{MS}np.linspace(0, {SPAN}, len(df))", "not every event has the"),
        Right("whole milliseconds", MS + '(df["time_ns"] - df["time_ns"].min()) // 1_000_000'),
        Right("by a Timedelta",
              't = pd.to_timedelta(df["time_ns"])\nmy_df = df.assign(ms=(t - t.min()) / pd.Timedelta("1ms"))'),
    ],
    "2c": [
        Wrong("the thread's number", NUMBERED + PIDS + "frame['tid']", "The processes were"),
        Wrong("text", NUMBERED + PIDS + FROM_TEXT, "`pids` should return a Series of integers."),
        Wrong("decimals", NUMBERED + PIDS + FROM_TEXT + ".astype(float)", "`pids` should return a Series of integers."),
        Wrong("a list", NUMBERED + PIDS + f"{FROM_TEXT}.astype(int).tolist()", "`pids` should return a Series of integers."),
        Wrong("a frame", NUMBERED + PIDS + "frame['message'].str.extract(r'(\\d+)').astype(int)",
              "`pids` should return a Series of integers."),
        Right("Int64", NUMBERED + PIDS + FROM_TEXT + ".astype('Int64')"),
        Right("uint32", NUMBERED + PIDS + FROM_TEXT + ".astype('uint32')"),
        Right("apply", NUMBERED + PIDS + "frame['message'].apply(lambda text: int(text.split('=')[1]))"),
        Right("another wording", says(r'"process number %d\n"', argument=PID) + PIDS
              + "pd.to_numeric(frame['message'].str.split().str[-1])"),
    ],
    "2d": [
        Wrong("text", 'who, longest_ms = df["task"][gap_ms.idxmax()], f"{gap_ms.max():.1f}"',
              "`longest_ms` should be a number."),
        Wrong("a Series", 'who, longest_ms = df["task"][[gap_ms.idxmax()]], gap_ms.max()', "`who` should be a name from"),
        Right("the largest of each", 'each = gap_ms.groupby(df["task"]).max()\nwho, longest_ms = each.idxmax(), each.max()'),
        Right("rounded", 'who, longest_ms = df["task"][gap_ms.idxmax()], round(gap_ms.max())'),
    ],
    "3c": [
        Wrong("a kprobe with a constant", sends("24", KPROBE, after=ON_KPROBE), "24 is right, but this probe is not a"),
        Wrong("a tracepoint with a constant", sends("24"), "24 is right, but your program should read it"),
        Right("while others call", sends("args->__syscall_nr", after=OTHERS.format("sched_yield"))),
        Right("as the call returns",
              sends("args->__syscall_nr", "TRACEPOINT_PROBE(syscalls, sys_exit_sched_yield)")),
        Right("by a helper", sends("number", before="int number = 0;\n"
              "bpf_probe_read_kernel(&number, sizeof(number), &args->__syscall_nr);")),
    ],
    "3d": [
        Wrong("a table of what was tried", "rule = {12: 12, 13: 20}.get", "For "),
        Wrong("a longer one", "rule = lambda n: 12 if n <= 12 else 20 if n <= 20 else 28 if n <= 28 else 36", "For "),
        Right("in one line", "rule = lambda length: -(-(length + 4) // 8) * 8 - 4"),
        Right("by NumPy", "import numpy as np\ndef rule(length):\n    return np.ceil((length + 4) / 8) * 8 - 4"),
    ],
    "4b": [
        Wrong("of all calls", "def late(df, ms):\n    return set(calls[calls['latency_ms'] > ms]['comm'])", "it finds "),
        Wrong("a list", "def late(df, ms):\n    return list(df[df['latency_ns'] / 1e6 > ms]['comm'])", "`late` returns a list"),
        Right("the longest of each", """def late(df, ms):
    longest = df.groupby("comm", observed=True)["latency_ns"].max() / 1e6
    return set(longest[longest > ms].index)"""),
    ],
    "4c": [
        Wrong("nanoseconds labelled ms", drawn('points.plot(seconds, together["latency_ns"], ".")'), NOT_EVERY_CALL),
        Wrong("the latencies sorted", drawn('points.plot(seconds, ms.sort_values(), ".")'), NOT_EVERY_CALL),
        Wrong("every second call", drawn('points.plot(seconds[::2], ms[::2], ".")'), NOT_EVERY_CALL),
        Wrong("the bystander only", drawn("""
mine = together["comm"] == "bystander"
points.plot(seconds[mine], ms[mine], ".")"""), NOT_EVERY_CALL),
        Wrong("a line", drawn("points.plot(seconds, ms)"), "The plot has no points, only lines or bars."),
        Wrong("bars", drawn("points.bar(seconds, ms)"), "The plot has no points, only lines or bars."),
        Right("a line with points on it", drawn('points.plot(seconds, ms, ".-")')),
        Right("one more line, for reference", drawn('points.plot(seconds, ms, "."); points.axhline(ms.median())')),
        Right("scatter on a log axis", drawn('points.scatter(seconds, ms); points.set_yscale("log")')),
        Right("a colour for each caller", drawn("""
for who in set(together["comm"]):
    points.plot(seconds[together["comm"] == who], ms[together["comm"] == who], ".", label=who)""")),
        Right("drawn by pandas", """my = together.sort_values("time_ns").reset_index()
my["s"] = (my["time_ns"] - my["time_ns"].iloc[0]) / 1e9
my["ms"] = my["latency_ns"] / 1e6
points = my.plot.scatter("s", "ms", title="Next to the writer")"""),
    ],
    "5b": [
        Wrong("an array in which nobody counts", dropped(f"{SUBMIT};"), NOBODY_READ),
        Wrong("counts every event", dropped(f"{SUBMIT}; dropped.atomic_increment(0);"), NOBODY_READ),
        Wrong("no array", "my_bpf = load(program)", "The program has no array `dropped`."),
        Wrong("a hash", dropped(f"int key = 0; if ({SUBMIT}) dropped.atomic_increment(key);").replace(
            "BPF_ARRAY(dropped, u64, 1)", "BPF_HASH(dropped, int, u64)"), "The program has no array `dropped`."),
        Right("u32", dropped(f"if ({SUBMIT} == -28) dropped.increment(0);").replace("dropped, u64", "dropped, u32")),
        Right("counted on each CPU", dropped(f"int e = {SUBMIT}; if (e < 0) dropped.increment(0);", "BPF_PERCPU_ARRAY")),
    ],
    "6b": [
        Wrong("ringbuf_output", COPIED, "The program does not call `ringbuf_reserve`."),
        Wrong("a perf buffer", COPIED.replace("BPF_RINGBUF_OUTPUT(events, 16)", "BPF_PERF_OUTPUT(events)").replace(
            "ringbuf_output(&data, sizeof(data), 0)", "perf_submit(ctx, &data, sizeof(data))"),
            "The program does not call `ringbuf_reserve`."),
        Wrong("counts no loss", RESERVED.replace("BPF_ARRAY(events_lost, u64, 1);", "").replace(
            "events_lost.atomic_increment(0);", ""), "The program has no array `events_lost`."),
        Wrong("counts what went in", RESERVED.replace("events_lost.atomic_increment(0);", "").replace(
            "events.ringbuf_submit", "events_lost.atomic_increment(0); events.ringbuf_submit"),
            "Of 4,097 events that nobody read, "),
        Wrong("the thread", RESERVED.replace(" >> 32", ""), "A thread of process "),
        Wrong("a single page", RESERVED.replace("events, 16", "events, 1"), "The ring buffer should have 16 pages, and has 1."),
        Right("with a time", RESERVED.replace(
            "u32 cpu;", "u32 cpu; u64 time_ns;").replace("data->cpu", "data->time_ns = bpf_ktime_get_ns(); data->cpu")),
    ],
    "6c": [
        Right("NumPy's integer", "import numpy as np\nanns = np.int64(0)"),
        Wrong("no number", "anns = [0]", "`anns` should be a number of events."),
    ],
    "7a": [
        Right("NumPy's integer", "import numpy as np\ncommit_every = np.int64(20)"),
        Wrong("a single commit", "commit_every = 100", "Few enough, but 99 would do"),
        Wrong("never", "commit_every = 0", "`commit_every` should be 1 to 100 sales."),
    ],
    "7b": [
        Wrong("a single commit", sold(commit_every=20, file="/dev/shm/shop.db", frame="memory"),
              "The frame should have 84 rows, but it has 8."),
        Right("another name, and `df` overwritten", sold(file="/dev/shm/tea.sqlite", frame="memory") + "df = memory"),
    ],
    "7c": [
        Wrong("the old journal, a commit every second sale", sold(commit_every=2), NO_WAL),
        Wrong("a journal in memory", sold(mode="MEMORY"), NO_WAL),
        Wrong("no journal", sold(mode="OFF"), NO_WAL),
        Wrong("a commit every second sale", sold(commit_every=2, mode="WAL"), "One file was flushed 15 times at most"),
        Wrong("forty sales", sold(sales=40, commit_every=2, mode="WAL"), "There are 40 sales in the database, not 20."),
        Right("another name", sold(file="/var/tmp/tea.sqlite", mode="wal")),
    ],
    "8a": [
        Wrong("a text", "flagged = by_prefix", "This should be what `BPF(text=…)` returns"),
        Wrong("the fourth argument", FLAGS.replace("ARGUMENTS", "int mode, int flags"), "A file was opened with the flags"),
        Wrong("the kernel's own registers", FLAGS.replace("ARGUMENTS", "int flags").replace("by_prefix", "obvious").replace(
            "syscall__open", "on_open"), "One file was opened, but 0 rows have its path."),
        Wrong("no field", "flagged = load(by_prefix, fn_name='syscall__open')", "The frame has no column `flags`"),
        Right("another name in C", FLAGS.replace("ARGUMENTS", "unsigned how").replace("= flags", "= how")),
        Right("the tracepoint", """detach_all()
text = by_name.replace("int folder, got", "int folder, flags, got")
flagged = BPF(text=text.replace("data.got", "data.flags = args->flags; data.got"))"""),
        Right("a perf buffer", FLAGS.replace("ARGUMENTS", "int flags").replace("by_prefix", """by_prefix.replace(
    "BPF_RINGBUF_OUTPUT(events, 64)", "BPF_PERF_OUTPUT(events)").replace("ringbuf_output(", "perf_submit(ctx, ").replace(
    "sizeof(data), 0)", "sizeof(data))")""")),
        Wrong("no table", """detach_all()
flagged = load("int syscall__open(void *ctx) { return 0; }", fn_name="syscall__open")""", "The program has no table `events`"),
        Right("by hand", """text = by_hand.replace("int folder, got", "int folder, flags, got")
flagged = load(text.replace("data.got", "data.flags = PT_REGS_PARM3(&theirs); data.got"))"""),
    ],
    "8b": [
        Wrong("128 bytes", WHOLE.replace("SIZE", "128"), "Of 255 characters, 127 arrived"),
        Wrong("a longer field of which 64 bytes are filled",
              WHOLE.replace("SIZE]')", "256]').replace('sizeof(data.path)', '64')"), "Of 255 characters, 63 arrived"),
        Right("300 bytes", WHOLE.replace("SIZE", "300")),
        Right("the tracepoint", "detach_all()\nwhole = BPF(text=by_name.replace('path[64]', 'path[256]'))"),
        Right("reserved, for the longest path", RESERVING),
    ],
    "8c": [
        Wrong("cleaned up", failing("if (events.", "if (ret < 0 && events.") + "\ndetach_all()", "has been cleaned up"),
        Wrong("everything", "detach_all()\nfailing = BPF(text=looking)", "The program also sends calls that did not fail."),
        Wrong("what did not fail", failing("if (events.", "if (ret >= 0 && events."), "but the program sent neither."),
        Wrong("open only", failing("if (events.", "if (ret < 0 && data->call[0] == 'o' && events."), "sent open."),
        Wrong("decided before it is forgotten",
              failing("return leave(&data, args->ret);", "return args->ret < 0 ? leave(&data, args->ret) : 0;"),
              "left its entry in the map `running`."),
        Wrong("one kind of failure", failing("if (events.", "if (ret == -2 && events."), "failed, as `/etc/hostname` is no folder"),
        Right("in one condition", failing("if (events.", "if (ret < 0 && events.")),
        Right("decided in front", failing(
            "    data->time_ns", "    if (ret >= 0)\n        running.delete(&tid);\n    if (ret >= 0)\n        return 0;\n    data->time_ns")),
    ],
    "8d": [
        Wrong("signals that arrive", kills("TRACEPOINT_PROBE(signal, signal_generate)", f"{CALLER}, args->pid, args->sig"),
              "fresh calls by sender and a second thread"),
        Wrong("the wrong way round", kills(KILL_POINT, f"{CALLER}, args->sig, args->pid"), "The calls were aimed at process "),
        Wrong("the thread", kills(KILL_POINT, "bpf_get_current_pid_tgid(), args->pid, args->sig"), "`pid` should be the process"),
        Wrong("the call's number", kills(KILL_POINT, f"{CALLER}, args->pid, args->__syscall_nr"), "but `signal` is {62}"),
        Wrong("what it returned", kills(KILL_POINT.replace("enter", "exit"), f"{CALLER}, args->ret, 0"),
              "The calls were aimed at process "),
        Right("a kprobe", kills(KILL_FUNCTION, f"{CALLER}, target, signal", ON_KILL)),
        Right("a perf buffer", kills(KILL_POINT, f"{CALLER}, args->pid, args->sig").replace(
            "BPF_RINGBUF_OUTPUT(events, 64)", "BPF_PERF_OUTPUT(events)").replace(
            "if (events.ringbuf_output(&data, sizeof(data), 0))\n        events_lost.atomic_increment(0);",
            "events.perf_submit(args, &data, sizeof(data));")),
        Right("while others do", kills(KILL_POINT, f"{CALLER}, args->pid, args->sig", OTHERS_KILL)),
    ],
    "9a": [
        Wrong("as it was", "fixed_sending = sending", "still refused: `data` may be NULL"),
        Wrong("no text", "fixed_sending = 3", "a C text"),
        Wrong("a check that goes on", mended("sending", "data->time", "if (!data) bpf_get_prandom_u32();\n data->time"), "always NULL"),
        Wrong("given back", mended("sending", "events.ringbuf_submit", "if (data->pid) events.ringbuf_discard(data, 0); "
                                   "else events.ringbuf_submit", CHECKED), "gave no events"),
        Wrong("kept", mended("sending", "events.ringbuf_submit(data, 0);", "", CHECKED), "neither submits nor discards"),
        Wrong("no time", mended("sending", "bpf_ktime_get_ns()", "0", CHECKED), "not the time of these calls"),
        Wrong("a time to come", mended("sending", "bpf_ktime_get_ns()", "1ULL << 62", CHECKED), "not the time of these calls"),
        Wrong("the thread", mended("sending", " >> 32", " + 1", CHECKED), "not the process that called"),
        Wrong("does not compile", mended("sending", "u32 pid", "pid_t", CHECKED), "clang could not compile"),
        Wrong("another name in C", mended("sending", "on_sync", "on_call", CHECKED), "the function `on_sync`"),
        Right("one more column", mended("sending", "u32 pid;", "u32 pid; u32 cpu;", CHECKED)),
        Right("compared with 0", mended("sending", "data->time", "if (data == 0) { return 0; }\n    data->time")),
        Right("all inside an if", mended("sending", "data->time", "if (data) {\n data->time", ("    return", "    }\n    return"))),
        Right("no reservation", "fixed_sending = '\\n'.join(['BPF_RINGBUF_OUTPUT(events, 8);', "
              "'struct data_t { u64 time_ns; u32 pid; };', 'int on_sync(struct pt_regs *ctx) {', "
              "'struct data_t data = {.time_ns = bpf_ktime_get_ns(), .pid = bpf_get_current_pid_tgid() >> 32};', "
              "'events.ringbuf_output(&data, sizeof(data), 0); return 0;', '}'])"),
    ],
    "9b": [
        Wrong("as it was", "fixed_parents = parents", "still refused"),
        Wrong("nothing copied", mended("parents", COPY, ""), "your program says ''"),
        Wrong("a constant", mended("parents", COPY, '__builtin_memcpy(data.parent, "python", 7);'), "your program says 'python'"),
        Wrong("the grandparent", mended("parents", COPY, READ.replace("parent->comm", "parent->real_parent->comm")), "your program says"),
        Wrong("its own name", mended("parents", COPY, READ.replace("parent->comm", "task->comm")), "your program says 'sync'"),
        Wrong("user space's helper", mended("parents", COPY, READ.replace("_kernel", "_user")), "your program says ''"),
        Right("as text", mended("parents", COPY, READ.replace("_kernel", "_kernel_str"))),
        Right("the old helper", mended("parents", COPY, READ.replace("_kernel", ""))),
        Right("in one go", mended("parents", COPY, READ.replace("parent->comm", "task->real_parent->comm"))),
        Right("its address", mended("parents", COPY, READ.replace("parent->comm", "&parent->comm"))),
        Right("the whole number", mended("parents", COPY, READ.replace("sizeof(data.parent)", "16"))),
    ],
    "9c": [
        Wrong("one more", "largest = 497", "ends the process"),
        Wrong("one less", "largest = 495", "so does one more"),
        Wrong("text", "largest = '496'", "a number of bytes"),
        Right("calculated", "largest = 62 * 8"),
        Right("NumPy's integer", "import numpy as np\nlargest = np.int64(496)"),
    ],
    "10a": [
        Wrong("a text", "my_bpf = counting", "This should be what `BPF(text=…)` returns"),
        Wrong("always the first CPU", by_cpu("key.cpu = 0"), "`two` stayed on CPU 1, but `cpu` is {0}."),
        Wrong("instead of the name", by_cpu(CPU, "u32 pid; u32 cpu;", ""), "The frame has no column `comm`;"),
        Wrong("counts twice", by_cpu(CPU + "; calls.increment(key)"), "Is an older program still attached?"),
        Right("16 bits", by_cpu(CPU, "u32 pid; u16 cpu; u16 none; char comm[16];")),
        Right("64 bits, at the front, in a larger map", by_cpu(CPU, "u64 cpu; u64 pid; char comm[16];").replace(
            "struct key_t);", "struct key_t, u64, 20000);")),
        Right("a value for each CPU, too", by_cpu(CPU).replace(
            "BPF_HASH(calls, struct key_t)", 'BPF_TABLE("percpu_hash", struct key_t, u64, calls, 1000)').replace(
            "calls.atomic_increment(key)", "u64 zero = 0, *n = calls.lookup_or_try_init(&key, &zero); if (n) (*n)++")),
    ],
    "10b": [
        Wrong("slots of a hundred bytes", in_slots("args->count / 100"), "gave no counts."),
        Wrong("one slot too far", in_slots("bpf_log2l(args->count) + 1"), "gave no counts."),
        Wrong("the wrong argument", in_slots("bpf_log2l(args->fd)"), "gave no counts."),
        Wrong("what was written", in_slots("bpf_log2l(args->ret)").replace("enter", "exit"), "gave no counts."),
        Right("not atomic", in_slots("bpf_log2l(args->count)", "increment")),
        Right("a hash", in_slots("bpf_log2l(args->count)").replace("HISTOGRAM(sizes)", "HASH(sizes, u32, u64)")),
        Right("its own arithmetic", in_slots("({ u32 n = 1; for (u64 size = args->count; size > 1 && n < 64; size >>= 1) n++; n; })")),
        Right("a kernel probe", """detach_all()
my_bpf = BPF(text='''
#include <uapi/linux/ptrace.h>
BPF_HISTOGRAM(sizes);
int syscall__write(struct pt_regs *ctx, int fd, const char *from, size_t size) {
    sizes.atomic_increment(bpf_log2l(size));
    return 0;
}
''')
my_bpf.attach_kprobe(event=my_bpf.get_syscall_fnname("write"), fn_name="syscall__write")"""),
    ],
    "10c": [
        Wrong("for all sales together", REQUESTS + "wal = counted.to_dict()", "With `data` something is not right"),
        Wrong("the old journal", REQUESTS.replace("WAL", "DELETE") + "wal = (counted / 201).to_dict()", "is not right"),
        Wrong("one number for all", "wal = 5", "Each of the three kinds needs a number."),
        Wrong("two of three", "wal = {'data': 1, 'flush': 1}", "Each of the three kinds needs a number."),
        Wrong("not a number", "wal = dict.fromkeys(['data', 'metadata', 'flush'], float('nan'))", "With `data` something is not right"),
        Right("more sales, not rounded", REQUESTS.replace("200", "300") + "wal = (counted / 301).to_dict()"),
        Right("a Series", REQUESTS + "wal = counted / 200"),
    ],
    "11a": [
        Wrong("finds other functions, too", """def spent_in(folded, function):
    return folded.loc[folded["stack"].str.contains(function + "_[k]", regex=False), folded.columns[-1]].sum()""", "yours says 50001"),
        Wrong("user space's, too", """def spent_in(folded, function):
    names = folded["stack"].str.replace("_[k]", "").str.split(";")
    return folded.loc[[function in each for each in names], folded.columns[-1]].sum()""", "yours says 301"),
        Wrong("counts a function twice that calls itself", """def spent_in(folded, function):
    boxes = folded.assign(box=folded["stack"].str.split(";")).explode("box")
    return boxes.loc[boxes["box"] == function + "_[k]", folded.columns[-1]].sum()""", "yours says 8001"),
        Right("by an expression", """import re
def spent_in(folded, function):
    through = folded["stack"].str.contains(rf"(?:^|;){re.escape(function)}_\\[k\\](?:;|$)")
    return folded[through].iloc[:, -1].sum()"""),
        Right("in a loop", """def spent_in(folded, function):
    return sum(row[-1] for row in folded.itertuples(index=False) if function + "_[k]" in row[0].split(";"))"""),
        Right("in the frame itself", """def spent_in(folded, function):
    folded["stack"] = [function + "_[k]" in stack.split(";") for stack in folded["stack"]]
    return folded[folded["stack"]].iloc[:, -1].sum()"""),
    ],
    "11b": [
        Wrong("a list", "tell = ['do_nanosleep', 'vfs_read', 'do_wait']", "`tell` should be a dict"),
        Wrong("exchanged", "tell = {'sleep': 'do_wait', 'pipe': 'vfs_read', 'child': 'do_nanosleep'}",
              "`do_wait` is not in the stack where sleep waits longest"),
        Wrong("what all have", "tell = {'sleep': 'do_nanosleep', 'pipe': 'do_syscall_64', 'child': 'do_wait'}", "too."),
        Right("marked as the kernel's", "tell = {'sleep': 'hrtimer_nanosleep_[k]', 'pipe': 'vfs_read_[k]', 'child': 'do_wait_[k]'}"),
        Right("found by a program", """
stacks = {way: set(waits(code)["stack"].iloc[0].split(";")) for way, code in ways.items()}
tell = {way: min(names - set().union(*(stacks[other] for other in ways if other != way))) for way, names in stacks.items()}"""),
        Right("the call's own function", """
tell = {way: waits(code)["stack"].iloc[0].split(";")[2] for way, code in ways.items()}"""),
    ],
    "11c": [
        Wrong("whoever has the number", """def family(lives, pid):
    found, size = {pid}, 0
    while len(found) > size:
        size = len(found)
        found |= set(lives.loc[lives["parent"].isin(found), "pid"])
    return found""", "the family of 9 is"),
        Wrong("a list", "def family(lives, pid):\n    return [pid]", "`family` should return a set"),
        Wrong("younger than the first only", """def family(lives, pid):
    young = lives[lives["fork_ns"] > lives.set_index("pid")["fork_ns"][pid]]
    found, size = {pid}, 0
    while len(found) > size:
        size = len(found)
        found |= set(young.loc[young["parent"].isin(found), "pid"])
    return found""", "the family of 9 is"),
        Wrong("as the rows come", """def family(lives, pid):
    found = {pid}
    for life in lives.itertuples():
        if life.parent in found:
            found.add(life.pid)
    return found""", "the family of 9 is"),
        Right("calls itself", """def family(lives, pid):
    born = lives.set_index("pid")["fork_ns"][pid]
    children = lives.loc[(lives["parent"] == pid) & (lives["fork_ns"] > born), "pid"]
    return frozenset({pid}).union(*(family(lives, child) for child in children))"""),
        Right("calls itself, and gives a set", """def family(lives, pid):
    born = lives.set_index("pid")["fork_ns"][pid]
    children = lives.loc[(lives["parent"] == pid) & (lives["fork_ns"] > born), "pid"]
    return {pid}.union(*(family(lives, child) for child in children))"""),
    ],
    "12a": [
        Wrong("minus one is taken for very many", written("if (PT_REGS_RC(ctx) > 0) written.increment(pid, PT_REGS_RC(ctx));"),
              "three times 500 bytes to /dev/full"),
        Wrong("by thread", written("long n = PT_REGS_RC(ctx); pid = bpf_get_current_pid_tgid();" + ADDED), "`written` has 0"),
        Wrong("counts calls", written("if ((long)PT_REGS_RC(ctx) > 0) written.increment(pid);"), "`written` has 3"),
        Wrong("in the notebook only", written("long n = PT_REGS_RC(ctx);" + ADDED, ", pid=os.getpid()"), "`written` has 0"),
        Wrong("what was asked for", """
detach_all()
my_bpf = BPF(text='''
BPF_HASH(asked, u64, u64);
BPF_HASH(written, u32, u64);
TRACEPOINT_PROBE(syscalls, sys_enter_pwrite64) {
    u64 id = bpf_get_current_pid_tgid(), count = args->count;
    asked.update(&id, &count);
    return 0;
}
TRACEPOINT_PROBE(syscalls, sys_exit_pwrite64) {
    u64 id = bpf_get_current_pid_tgid(), *count = asked.lookup(&id);
    if (count && args->ret > 0)
        written.increment(id >> 32, *count);
    return 0;
}
''')""", "6000 bytes were taken; under its PID `written` has 9000"),
        Right("by the whole path, with a check of its own", written("s64 n = PT_REGS_RC(ctx); if (n < 0) return 0;" + ADDED).replace(
            'name="c"', "name=LIBC")),
        Right("a larger key, and a sum by hand", written("""
    u64 zero = 0, *sum = written.lookup_or_try_init(&pid, &zero);
    long n = PT_REGS_RC(ctx);
    if (sum && n > 0) lock_xadd(sum, n);""").replace("BPF_HASH(written, u32, u64)", "BPF_HASH(written)").replace("u32 pid", "u64 pid")),
        Right("where the kernel does it", """
detach_all()
my_bpf = BPF(text='''
BPF_HASH(written, u32, u64);
TRACEPOINT_PROBE(syscalls, sys_exit_pwrite64) {
    u32 pid = bpf_get_current_pid_tgid() >> 32;
    if (args->ret > 0)
        written.increment(pid, args->ret);
    return 0;
}
''')"""),
    ],
    "12b": [
        Wrong("as words", "deepest = '64'", "should be a whole number"),
        Wrong("one too many", "deepest = 65", "At depth 65, returns are missed"),
        Wrong("where Python gives up", "deepest = 1000", "try less"),
        Right("a NumPy integer", "import numpy as np\ndeepest = np.int64(64)"),
        Right("by halves", """
low, high = 1, 128
while high - low > 1:
    middle = (low + high) // 2
    low, high = (low, middle) if missed(middle) else (middle, high)
deepest = low"""),
    ],
    "12c": [
        Wrong("the wrong process", AUDIT.replace("audited.pid", "os.getpid()"), "has 0 more of `os.listdir`"),
        Wrong("another name", AUDIT.replace("char name[32]", "char text[32]").replace("key.name", "key.text"), "a field `name`"),
        Wrong("counts twice", AUDIT.replace("names.atomic", "names.increment(key); names.atomic"), "has 6 more of `os.listdir`"),
        Right("by itself", AUDIT),
        Right("with the provider's name, and a longer field", AUDIT.replace('"audit"', '"python:audit"').replace("[32]", "[64]")),
        Right("not atomic", AUDIT.replace("atomic_increment(key)", "increment(key, 1)")),
    ],
    "13a": [
        Wrong("of one struct, the first and the last", """def established_ms(changes):
    rows = changes[changes["after"] == "ESTABLISHED"].groupby("socket")["time_ns"].min()
    return ((changes.groupby("socket")["time_ns"].max() - rows) / 1e6).tolist()""", "yours says"),
        Wrong("with what is still open", """def established_ms(changes):
    until = changes.groupby("socket")["time_ns"].shift(-1).fillna(changes["time_ns"].max())
    return ((until - changes["time_ns"])[changes["after"] == "ESTABLISHED"] / 1e6).tolist()""", "yours says"),
        Wrong("in ns", """def established_ms(changes):
    until = changes.groupby("socket")["time_ns"].shift(-1)
    return (until - changes["time_ns"])[changes["after"] == "ESTABLISHED"].dropna().tolist()""", "yours says [5000000.0"),
        Right("in a loop", """def established_ms(changes):
    since, found = {}, []
    for row in changes.itertuples():
        if row.socket in since:
            found.append((row.time_ns - since.pop(row.socket)) / 1e6)
        if row.after == "ESTABLISHED":
            since[row.socket] = row.time_ns
    return found"""),
        Right("a Series", """def established_ms(changes):
    times = changes.groupby("socket")["time_ns"]
    return ((times.shift(-1) - changes["time_ns"]) / 1e6)[changes["after"] == "ESTABLISHED"].dropna()"""),
        Right("from the end of it, by the state before", """def established_ms(changes):
    since = changes.groupby("socket")["time_ns"].shift()
    return ((changes["time_ns"] - since)[changes["before"] == "ESTABLISHED"] / 1e6).tolist()"""),
        Right("life by life", """def established_ms(changes):
    until = changes.groupby(["socket", "life"])["time_ns"].shift(-1)
    return ((until - changes["time_ns"])[changes["after"] == "ESTABLISHED"] / 1e6).dropna().to_numpy()"""),
    ],
    "13b": [
        Wrong("as it was", "my_ask = ask", "the wait is still there"),
        Wrong("the body only", "def my_ask(shop):\n    shop.sendall(b'b' * 100)\n    shop.recv(100)", "The shop answers when"),
        Wrong("three small writes", "def my_ask(shop):\n    for size in (20, 50, 50):\n        shop.sendall(bytes(size))\n"
              "    shop.recv(100)", "the wait is still there"),
        Wrong("each order twice", "def my_ask(shop):\n    for _ in range(2):\n        shop.sendall(b'b' * 120)\n"
              "        shop.recv(100)", "it got 4800"),
        # Which of the checks refuses it is by chance.
        Wrong("does not wait for the answer", "def my_ask(shop):\n    shop.sendall(bytes(120))", ""),
        Wrong("switched on for a moment only", """def my_ask(shop):
    shop.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ask(shop)
    shop.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)""", "should come in one segment"),
        Right("two parts at once", "def my_ask(shop):\n    shop.sendmsg([b'h' * 20, b'b' * 100])\n    shop.recv(100)"),
        Right("more is to come", "def my_ask(shop):\n    shop.send(b'h' * 20, socket.MSG_MORE)\n    shop.sendall(b'b' * 100)\n"
              "    shop.recv(100)"),
        Right("a cork", """def my_ask(shop):
    shop.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    shop.sendall(b"h" * 20)
    shop.sendall(b"b" * 100)
    shop.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
    shop.recv(100)"""),
        Right("a file with a buffer", """def my_ask(shop):
    with shop.makefile("wb") as file:
        file.write(b"h" * 20)
        file.write(b"b" * 100)
    shop.recv(100)"""),
    ],
    "13c": [
        Wrong("all of them", dropping("1"), "does it drop all of them?"),
        Wrong("none of them", dropping("0"), "42 bytes of headers"),
        Wrong("one byte too early", dropping("ctx->data_end - ctx->data >= 142"), "42 bytes of headers"),
        Wrong("one byte too late", dropping("ctx->data_end - ctx->data > 143"), "42 bytes of headers"),
        Wrong("uncounted", dropping("ctx->data_end - ctx->data > 142", count=""), "`dropped` grew by 0"),
        Wrong("counts what it lets pass", dropping("ctx->data_end - ctx->data > 142", count="").replace(
            "return XDP_PASS", "{ dropped.atomic_increment(0); return XDP_PASS; }"), "`dropped` grew by"),
        Right("by the end", dropping("(void *)(long)ctx->data + 142 < (void *)(long)ctx->data_end")),
        Right("by UDP's own length", dropping("ntohs(packet->length) > 108", before="""
    struct packet_t { u8 before[38]; u16 length, sum; } *packet = (void *)(long)ctx->data;
    if ((void *)(packet + 1) > (void *)(long)ctx->data_end)
        return XDP_PASS;""")),
        Right("for each CPU", dropping("ctx->data_end - ctx->data > 142", count="dropped.increment(0)").replace(
            "BPF_ARRAY", "BPF_PERCPU_ARRAY")),
    ],
    "13d": [
        Wrong("the IP packet's length", "largest = 1500", "1500 bytes are sent in 2 packets."),
        Wrong("one more", "largest = 1473", "1473 bytes are sent in 2 packets."),
        Wrong("one less", "largest = 1471", "1471 bytes fit into one packet, but 1472 do, too."),
        Wrong("text", "largest = '1472'", "should be a number of bytes"),
        Right("calculated", "largest = 1500 - 20 - 8"),
        Right("by halves", """low, high = 1400, 1500
while high - low > 1:
    middle = (low + high) // 2
    low, high = (middle, high) if packets_for([middle]) == [2] else (low, middle)
largest = low"""),
    ],
    "14a": [
        Wrong("a number", "line_a = 4", "`line_a` should be a text"),
        Wrong("everybody's calls", "line_a = 'tracepoint:syscalls:sys_enter_pwrite64 { @calls = count(); }'", "and your line counts"),
        Wrong("another map", "line_a = 'tracepoint:syscalls:sys_enter_pwrite64 /pid == cpid/ { @n = count(); }'", "no map `@calls`"),
        Wrong("no such tracepoint", "line_a = 'tracepoint:syscalls:sys_enter_pwrite /pid == cpid/ { @calls = count(); }'", "no map `@calls`"),
        Right("a kprobe", "line_a = 'kprobe:__x64_sys_pwrite64 /pid == cpid/ { @calls = count(); }'"),
        Right("counted by hand, on the return", "line_a = 'tracepoint:syscalls:sys_exit_pwrite64 { if (pid == cpid) { @calls++; } }'"),
        Right("from the notebook's own line", """
line_a = f"kprobe:{function.replace('fdatasync', 'pwrite64')} /pid == cpid/ {{ @calls = sum(1); }}\""""),
    ],
    "14b": [
        Wrong("a text", "start_time_at = '2688'", "should be a number"),
        Wrong("another field", "start_time_at = 0", "has something else"),
        Right("a NumPy integer", """import numpy as np
[found] = [text for text in task if text.split()[0] == "'start_time'"]
start_time_at = np.int64(found.rpartition("bits_offset=")[2]) // 8"""),
        Right("with a point", """
[found] = [text for text in task if text.split()[0] == "'start_time'"]
start_time_at = int(found.rpartition("bits_offset=")[2]) / 8"""),
        Right("as JSON", """
dump = subprocess.run(["bpftool", "-j", "btf", "dump", "file", "/sys/kernel/btf/vmlinux"], capture_output=True).stdout
[struct] = [one for one in json.loads(dump)["types"] if one["kind"] == "STRUCT" and one["name"] == "task_struct"]
start_time_at = {one["name"]: one["bits_offset"] // 8 for one in struct["members"]}["start_time"]"""),
    ],
    "14c": [
        Wrong("counts the one outside, too", '''inside_text = """BPF_HASH(calls, u32, u64);
KFUNC_PROBE(__x64_sys_fdatasync) {
    struct bpf_pidns_info info = {};
    bpf_get_ns_current_pid_tgid(DEV, INO, &info, sizeof(info));
    calls.increment(info.tgid);
    return 0;
}"""''', "and one outside should give"),
        Wrong("not attached", '''inside_text = """BPF_HASH(calls, u32, u64);
int enter(void *ctx) { calls.increment(1); return 0; }"""''', "counted nothing"),
        Right("by the tracepoint", inside("info.tgid")),
        Wrong("by thread", inside("info.pid"), "and your keys are"),
        Wrong("always one", inside("1"), "and your keys are [1]"),
        Right("attaches itself by its name", '''inside_text = """BPF_HASH(calls, u32, u64);
int kprobe____x64_sys_fdatasync(void *ctx) {
    struct bpf_pidns_info info;
    long failed = bpf_get_ns_current_pid_tgid(DEV, INO, &info, sizeof(info));
    if (failed)
        return 0;
    u32 pid = info.tgid;
    calls.atomic_increment(pid);
    return 0;
}"""'''),
    ],
}
# fmt: on
