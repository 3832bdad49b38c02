"""Programs that the verifier refuses: for each of the eight kinds that `explain` knows at least three, and others.

In the C, HERE stands in the line that is refused, and FROM in the line where the value came from.
"""

from typing import NamedTuple

HEAD = """
#include <uapi/linux/ptrace.h>
#include <linux/sched.h>
struct big { u64 numbers[16]; u32 n; };
BPF_HASH(started, u32, u64);
BPF_HASH(bigs, u32, struct big);
BPF_PERCPU_ARRAY(scratch, struct big, 4);
BPF_RINGBUF_OUTPUT(ring, 8);
BPF_PERF_OUTPUT(events);
"""
KPROBE, SOCKET_FILTER, TRACEPOINT, XDP = 2, 1, 5, 6  # <linux/bpf.h>, enum bpf_prog_type


class Program(NamedTuple):
    name: str
    kind: str
    text: str
    type: int


def programs(kind, text, type=KPROBE, args="struct pt_regs *ctx", name="{}"):
    """Programs of a kind from a text: `name:`, then the lines of its function. An empty line ends one."""
    for block in text.strip("\n").split("\n\n"):
        head, _, body = block.partition("\n")
        function = name.format(head.strip(" :"))
        yield Program(function, kind, f"int {function}({args}) {{\n{body}\n    return 0;\n}}\n", type)


PROGRAMS = [
    *programs("null", """
null_print:
    u32 tid = bpf_get_current_pid_tgid();
    u64 *begin = started.lookup(&tid); // FROM
    bpf_trace_printk("%d", *begin); // HERE

null_difference:
    u32 tid = bpf_get_current_pid_tgid();
    u64 *begin = started.lookup(&tid); // FROM
    u64 took = bpf_ktime_get_ns() - *begin; // HERE
    started.update(&tid, &took);

null_count:
    u32 pid = bpf_get_current_pid_tgid() >> 32;
    u64 *count = started.lookup(&pid); // FROM
    *count += 1; // HERE

null_field:
    u32 cpu = bpf_get_smp_processor_id();
    struct big *b = bigs.lookup(&cpu); // FROM
    b->n = 7; // HERE

null_percpu:
    u32 number = bpf_get_prandom_u32() & 3;
    struct big *b = scratch.lookup(&number); // FROM
    b->numbers[0]++; // HERE

null_record:
    u64 *record = ring.ringbuf_reserve(sizeof(u64)); // FROM
    *record = 5; // HERE
    ring.ringbuf_submit(record, 0);

null_submit:
    u64 *record = ring.ringbuf_reserve(sizeof(u64)); // FROM
    ring.ringbuf_submit(record, 0); // HERE

null_to_helper:
    u32 cpu = bpf_get_smp_processor_id();
    struct big *b = bigs.lookup(&cpu); // FROM
    bpf_get_current_comm(b, 16); // HERE

null_to_perf:
    u32 cpu = bpf_get_smp_processor_id();
    struct big *b = bigs.lookup(&cpu); // FROM
    events.perf_submit(ctx, b, sizeof(*b)); // HERE

null_other_one:
    u32 tid = bpf_get_current_pid_tgid(), other = tid + 1;
    u64 *begin = started.lookup(&tid);
    u64 *end = started.lookup(&other); // FROM
    if (!begin)
        return 0;
    bpf_trace_printk("%d", *end - *begin); // HERE

null_one_way:
    u32 tid = bpf_get_current_pid_tgid();
    u64 *begin = started.lookup(&tid); // FROM
    if (bpf_get_prandom_u32() & 1)
        if (!begin)
            return 0;
    bpf_trace_printk("%d", *begin); // HERE
"""),
    *programs("kernel memory", """
kernel_first:
    u64 task = bpf_get_current_task(); // FROM
    u64 first = *(u64 *)task; // HERE
    bpf_trace_printk("%d", first);

kernel_copy:
    char name[16];
    struct task_struct *task = (struct task_struct *)bpf_get_current_task(); // FROM
    __builtin_memcpy(name, task->comm, 16); // HERE
    bpf_trace_printk("%s", name);

kernel_constant:
    u64 *p = (u64 *)0xffffffff81000000;
    bpf_trace_printk("%d", *p); // HERE

kernel_write:
    u64 task = bpf_get_current_task(); // FROM
    *(u64 *)task = 1; // HERE

kernel_to_perf:
    u64 task = bpf_get_current_task(); // FROM
    events.perf_submit(ctx, (void *)task, 16); // HERE

kernel_as_key:
    u64 task = bpf_get_current_task(); // FROM
    started.delete((u32 *)task); // HERE

kernel_offset:
    u64 task = bpf_get_current_task() + 128; // FROM
    bpf_trace_printk("%d", *(u32 *)task); // HERE
"""),
    *programs("user memory", """
cast:
    u64 address = (u64)path;
    bpf_trace_printk("%d", *(char *)address); // HERE

copy:
    char name[16];
    __builtin_memcpy(name, path, 16); // HERE
    bpf_trace_printk("%s", name);

to_perf:
    events.perf_submit(ctx, (void *)path, 16); // HERE

as_value:
    u32 key = 1;
    started.update(&key, (u64 *)path); // HERE

as_key:
    started.delete((u32 *)path); // HERE

written:
    u64 address = (u64)path;
    *(u64 *)address = 1; // HERE
""", args="struct pt_regs *ctx, int folder, const char __user *path", name="syscall__{}"),
    *programs("memory", """
memory_of_memory:
    u64 task = bpf_get_current_task(), next;
    bpf_probe_read_kernel(&next, sizeof(next), (void *)task);
    bpf_trace_printk("%d", *(u32 *)next); // HERE

memory_argument:
    u64 address = PT_REGS_PARM1(ctx); // FROM
    u64 value = *(u64 *)address; // HERE
    bpf_trace_printk("%d", value);
"""),
    *programs("loop", """
loop_for_ever:
    u64 n = 0;
    while (1) { // HERE
        n += bpf_get_prandom_u32() & 0;
        if (n == 5)
            break;
    }

loop_chance:
    while (bpf_get_prandom_u32() != 7) // HERE
        ;

loop_wait:
    u64 begin = bpf_ktime_get_ns();
    while (bpf_ktime_get_ns() < begin + 1000000) // HERE
        ;

loop_do:
    u32 number;
    do { // HERE
        number = bpf_get_prandom_u32();
    } while (number > 3);

loop_goto:
again: // HERE
    bpf_get_prandom_u32();
    goto again;

loop_list:
    u64 next = bpf_get_current_task();
    while (next) // HERE
        bpf_probe_read_kernel(&next, sizeof(next), (void *)next);

loop_behind_another:
    u32 sum = 0;
    for (int i = 0; i < 20; i++)
        sum += bpf_get_prandom_u32();
    bpf_trace_printk("%d", sum);
    while (bpf_get_prandom_u32()) // HERE
        ;
"""),
    *programs("index", """
index_map:
    u32 key = 0, i = bpf_get_prandom_u32();
    struct big *b = bigs.lookup(&key);
    if (!b)
        return 0;
    b->numbers[i]++; // HERE

index_one_too_many:
    u32 key = 0;
    u32 i = bpf_get_prandom_u32(); // FROM
    struct big *b = bigs.lookup(&key);
    if (!b || i > 17)
        return 0;
    b->numbers[i]++; // HERE

index_signed:
    u32 key = 0;
    int i = bpf_get_prandom_u32(); // FROM
    struct big *b = bigs.lookup(&key);
    if (!b || i > 15)
        return 0;
    b->numbers[i]++; // HERE

index_stack:
    char name[16];
    bpf_get_current_comm(name, sizeof(name));
    u32 i = bpf_get_prandom_u32(); // FROM
    bpf_trace_printk("%d", name[i]); // HERE

index_stack_write:
    char name[16] = {};
    u32 i = bpf_get_prandom_u32(); // FROM
    name[i] = 'x'; // HERE
    bpf_trace_printk("%s", name);

index_stack_too_far:
    char name[16];
    bpf_get_current_comm(name, sizeof(name));
    u32 i = bpf_get_prandom_u32(); // FROM
    if (i > 600)
        return 0;
    bpf_trace_printk("%d", name[i]); // HERE

index_size:
    char name[16];
    u32 n = bpf_get_prandom_u32(); // FROM
    u64 task = bpf_get_current_task();
    bpf_probe_read_kernel(name, n, (void *)task); // HERE

index_size_signed:
    u32 key = 0;
    int n = bpf_get_prandom_u32(); // FROM
    u64 task = bpf_get_current_task();
    struct big *b = bigs.lookup(&key);
    if (!b || n > 100)
        return 0;
    bpf_probe_read_kernel(b, n, (void *)task); // HERE

index_constant:
    u32 key = 0;
    struct big *b = bigs.lookup(&key);
    if (!b)
        return 0;
    b->numbers[20] = 1; // HERE

index_size_constant:
    u32 key = 0;
    u64 task = bpf_get_current_task();
    struct big *b = bigs.lookup(&key);
    if (!b)
        return 0;
    bpf_probe_read_kernel(b, 200, (void *)task); // HERE

index_comm_too_long:
    char name[16];
    bpf_get_current_comm(name, 24); // HERE
    bpf_trace_printk("%s", name);

index_record:
    u32 i = bpf_get_prandom_u32(); // FROM
    u64 *record = ring.ringbuf_reserve(64);
    if (!record)
        return 0;
    record[i] = 5; // HERE
    ring.ringbuf_submit(record, 0);

index_record_constant:
    u64 *record = ring.ringbuf_reserve(64);
    if (!record)
        return 0;
    record[8] = 5; // HERE
    ring.ringbuf_submit(record, 0);

index_letter:
    char name[16];
    bpf_get_current_comm(&name, sizeof(name));
    u32 key = 0;
    u32 number = name[0] - 'a'; // FROM
    struct big *b = bigs.lookup(&key);
    if (!b)
        return 0;
    b->numbers[number]++; // HERE
"""),
    *programs("release", """
release_never:
    u64 *record = ring.ringbuf_reserve(sizeof(u64)); // FROM
    if (!record)
        return 0;
    *record = 1;

release_not_always:
    u64 *record = ring.ringbuf_reserve(sizeof(u64)); // FROM
    if (!record)
        return 0;
    *record = bpf_ktime_get_ns();
    if (*record & 1) // HERE
        return 0;
    ring.ringbuf_submit(record, 0);

release_first_of_two:
    u64 *first = ring.ringbuf_reserve(sizeof(u64)); // FROM
    if (!first)
        return 0;
    u64 *second = ring.ringbuf_reserve(sizeof(u64));
    if (!second) // HERE
        return 0;
    ring.ringbuf_submit(first, 0);
    ring.ringbuf_submit(second, 0);

release_forgotten_name:
    u64 *record = ring.ringbuf_reserve(sizeof(u64)); // FROM
    if (!record)
        return 0;
    record = ring.ringbuf_reserve(sizeof(u64));
    if (record) // HERE
        ring.ringbuf_submit(record, 0);

release_by_filter:
    struct big *record = ring.ringbuf_reserve(sizeof(*record)); // FROM
    if (!record)
        return 0;
    record->n = bpf_get_current_pid_tgid() >> 32;
    if (record->n < 100) // HERE
        return 0;
    ring.ringbuf_submit(record, 0);
"""),
    *programs("helper", """
helper_packet_head:
    bpf_xdp_adjust_head((void *)ctx, 4); // HERE

helper_redirect:
    bpf_redirect(1, 0); // HERE

helper_packet_bytes:
    char bytes[4];
    bpf_skb_load_bytes((void *)ctx, 0, bytes, 4); // HERE

helper_may_sleep:
    char bytes[4];
    bpf_copy_from_user(bytes, 4, (void *)16); // HERE
"""),
    *programs("helper", """
helper_override:
    bpf_override_return((void *)ctx, 1); // HERE
""", type=TRACEPOINT),
    *programs("helper", """
helper_stack_of_packet:
    bpf_xdp_adjust_head((void *)ctx, 4); // HERE
""", type=SOCKET_FILTER),
    *programs("other", """
other_context_written:
    *(u64 *)ctx = 0; // HERE

other_context_end:
    u64 x = *(u64 *)((char *)ctx + 10000); // HERE
    bpf_trace_printk("%d", x);

other_pointer_doubled:
    u64 x = (u64)ctx * 2; // HERE
    started.update((u32 *)&x, &x);

other_submitted_twice:
    u64 *record = ring.ringbuf_reserve(sizeof(u64));
    if (!record)
        return 0;
    ring.ringbuf_submit(record, 0);
    ring.ringbuf_submit(record, 0); // HERE

other_used_after_submit:
    u64 *record = ring.ringbuf_reserve(sizeof(u64));
    if (!record)
        return 0;
    ring.ringbuf_submit(record, 0);
    *record = 1; // HERE

other_submits_a_map_value:
    u32 key = 0;
    struct big *b = bigs.lookup(&key);
    if (!b)
        return 0;
    ring.ringbuf_submit(b, 0); // HERE

other_size_not_constant:
    u64 *record = ring.ringbuf_reserve(bpf_get_prandom_u32() & 63); // HERE
    if (record)
        ring.ringbuf_submit(record, 0);

other_key_by_value:
    u64 tid = bpf_get_current_pid_tgid();
    started.delete((u32 *)tid); // HERE

other_string:
    char *text = "hello";
    events.perf_submit(ctx, text, 6); // HERE

other_no_memory:
    u64 *nothing = (u64 *)8;
    bpf_trace_printk("%d", *nothing); // HERE
"""),
    *programs("other", """
other_packet:
    char *data = (void *)(long)ctx->data;
    return data[12]; // HERE
""", type=XDP, args="struct xdp_md *ctx"),
]  # fmt: skip

# The verifier looks at a million instructions before it refuses these: seconds, but minutes by software emulation.
SLOW = [
    *programs("loop", """
loop_counted:
    u32 n = 0;
    while (bpf_get_prandom_u32() != 7) // HERE
        n++;
    bpf_trace_printk("%d", n);

loop_by_number:
    u32 n = bpf_get_prandom_u32(), sum = 0;
    for (u32 i = 0; i < n; i++) // HERE
        sum += bpf_get_prandom_u32();
    bpf_trace_printk("%d", sum);
"""),
]  # fmt: skip

# clang's own limit: it ends the process that it is in.
TOO_LARGE = [
    *programs("stack", """
stack_text:
    char text[1024] = {};
    bpf_trace_printk("%s", text);

stack_struct:
    struct { char path[256], other[256]; u32 pid; } data = {};
    data.pid = bpf_get_current_pid_tgid() >> 32;
    events.perf_submit(ctx, &data, sizeof(data));

stack_sum:
    char one[300], two[300];
    bpf_get_current_comm(one, sizeof(one));
    bpf_get_current_comm(two, sizeof(two));
    bpf_trace_printk("%s", one);
    bpf_trace_printk("%s", two);
"""),
]  # fmt: skip


def text_of(programs):
    """One C text with all these programs."""
    return HEAD + "\n".join(program.text for program in programs)
