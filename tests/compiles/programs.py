"""Programs that have to come out the same with precompiled headers and without: to the bit, or to the letter of an error."""

from typing import NamedTuple


class Program(NamedTuple):
    name: str
    text: str
    cflags: tuple[str, ...] = ()


def body(statements: str, head: str = "", before: str = "") -> str:
    return f"{before}{head}\nint f(struct pt_regs *ctx) {{\n    {statements}\n    return 0;\n}}\n"


def including(*headers: str) -> str:
    return "".join(f"#include <{name}>\n" for name in headers)


EVENT = "struct event { u64 time_ns; u32 pid; char comm[16]; };\nBPF_PERF_OUTPUT(events);\n"
SUBMIT = """struct event event = { bpf_ktime_get_ns(), bpf_get_current_pid_tgid() >> 32 };
    bpf_get_current_comm(&event.comm, sizeof(event.comm));
    events.perf_submit(ctx, &event, sizeof(event));"""
TASK = 'struct task_struct *task = (void *)bpf_get_current_task(); bpf_trace_printk("%d", task->real_parent->tgid);'

# What a header that a program did not ask for would be in the way of.
OTHERS_NAMES = """yield schedule wake_up sleep kill current get_task fork exec read write open close poll select sync send recv
    bind listen accept connect socket queue lock unlock init start stop add remove find insert delete list node page file inode
    task thread process event events count total rate size data key value hash table log trace probe print min max swap""".split()

# fmt: off
GOOD = [
    Program("hello", 'int hello(void *ctx) { bpf_trace_printk("Hello World!"); return 0; }\n'),
    Program("perf", body(SUBMIT, EVENT, including("uapi/linux/ptrace.h"))),
    Program("hash and histogram", body("u32 key = 1; calls.increment(key); sizes.increment(bpf_log2l(4096));",
                                       "BPF_HASH(calls, u32, u64);\nBPF_HISTOGRAM(sizes);")),
    Program("ring buffer", body("u64 one = 1; ring.ringbuf_output(&one, sizeof(one), 0);", "BPF_RINGBUF_OUTPUT(ring, 8);")),
    Program("stacks", body("int id = stacks.get_stackid(ctx, 0); bpf_trace_printk(\"%d\", id);", "BPF_STACK_TRACE(stacks, 64);")),
    Program("tracepoint", 'TRACEPOINT_PROBE(raw_syscalls, sys_enter) { bpf_trace_printk("%d", args->id); return 0; }\n'),
    Program("arguments", including("uapi/linux/ptrace.h") + "int f(struct pt_regs *ctx, int fd, const char *name) {\n"
            "    char text[16]; bpf_probe_read_user_str(text, 16, (void *)name); bpf_trace_printk(\"%s %d\", text, fd); return 0;\n}\n"),
    Program("task", body(TASK, "", including("linux/sched.h"))),
    Program("task without its header's name on top", body(TASK, "#define N 3\n", "") .replace("#define N 3", "#define N 3\n#include <linux/sched.h>")),
    Program("several heavy ones", body(TASK, EVENT, including("uapi/linux/ptrace.h", "linux/sched.h", "linux/fs.h", "linux/dcache.h"))),
    Program("request", body("struct request *r = (void *)ctx; bpf_trace_printk(\"%d\", r->__data_len);", "",
                            including("linux/blkdev.h", "linux/blk-mq.h"))),
    Program("socket", body("struct sock *sk = (void *)ctx; bpf_trace_printk(\"%d\", sk->__sk_common.skc_dport);", "",
                           including("net/sock.h", "bcc/proto.h"))),
    Program("comments around it", "/* one\n two */ // three\n  # include <linux/sched.h> /* four */\n" + body(TASK)),
    Program("a macro from the command line", body('bpf_trace_printk("%d", N);'), ("-DN=42",)),
    Program("a macro of the headers", body('bpf_trace_printk("%d", sizeof(struct task_struct));', "", including("linux/sched.h")),
            ("-DDEBUG", "-DCONFIG_SMP=1")),
    Program("a warning", body("int unused = 1; char *p = 5; bpf_trace_printk(\"%p\", p);")),
    Program("a macro defined again", "#define KBUILD_MODNAME \"mine\"\n" + body("bpf_trace_printk(KBUILD_MODNAME);")),
    Program("not optimized", body('bpf_trace_printk("x");'), ("-O0",)),
    Program("another standard", body('bpf_trace_printk("x");'), ("-std=gnu11",)),
    Program("an old standard", body('bpf_trace_printk("x");', "", including("linux/sched.h")), ("-std=c89",)),
    Program("another processor", body('bpf_trace_printk("x");'), ("-march=native",)),
    Program("all warnings", body('int unused; bpf_trace_printk("x");'), ("-Wall", "-Wextra")),
    Program("a flag that is none", body('bpf_trace_printk("x");'), ("-frobnicate",)),
    Program("warnings are errors", body('int unused; char *p = 5; bpf_trace_printk("x");'), ("-Werror",)),
    *(Program(f"a function named {name}", f"static int {name}(int n) {{ return n * 2; }}\n" + body(f"int n = {name}(3); bpf_trace_printk(\"%d\", n);"))
      for name in OTHERS_NAMES),
]
# fmt: on

# What is wrong is said in the name.
# fmt: off
BROKEN_TEXTS = {
    "nothing but a word": "hello",
    "no closing brace": "int f(void *ctx) { return 0;",
    "no opening brace": "int f(void *ctx) return 0; }",
    "no semicolon": body("int n = 1\n    n++;"),
    "no closing parenthesis": body('bpf_trace_printk("x";'),
    "no closing quote": body('bpf_trace_printk("x);'),
    "a comment without end": body("/* n = 1;"),
    "a directive that is none": "#inclued <linux/sched.h>\n" + body(""),
    "an #if without end": "#if 1\n" + body(""),
    "an #endif too many": body("") + "#endif\n",
    "an #error": "#error not today\n" + body(""),
    "a header that is not there": "#include <linux/schedule.h>\n" + body(""),
    "a header of user space": "#include <stdio.h>\n" + body(""),
    "a header that is quoted and not there": '#include "mine.h"\n' + body(""),
    "a name nobody declared": body("n = 1;"),
    "a function nobody declared": body("frobnicate(1);"),
    "printf": body('printf("x");'),
    "a misspelt helper": body('bpf_trace_prinkt("x");'),
    "a type nobody declared": body("event_t event = {};"),
    "a struct nobody defined": body("struct event event = {};"),
    "a field that is not there": body("struct event event = {}; event.tid = 1;", EVENT),
    "task_struct without its header": body(TASK),
    "task_struct without its header, beside another": body(TASK, "", including("uapi/linux/ptrace.h")),
    "task_struct in a comment's header": "// #include <linux/sched.h>\n" + body(TASK),
    "task_struct in a block comment's header": "/*\n#include <linux/sched.h>\n*/\n" + body(TASK),
    "task_struct in a header that #if leaves out": "#if 0\n#include <linux/sched.h>\n#endif\n" + body(TASK),
    "task_struct on an #include's own line": "#include <uapi/linux/ptrace.h> #include <linux/sched.h>\n" + body(TASK),
    "task_struct in a string": 'static char *s = "\\\n#include <linux/sched.h>\\\n";\n' + body(TASK),
    "request without its header": body("struct request *r = (void *)ctx; return r->__data_len;", "", including("linux/sched.h")),
    "sock without its header": body("struct sock *sk = (void *)ctx; return sk->sk_type;", "", including("linux/fs.h")),
    "inode without its header": body("struct inode *inode = (void *)ctx; return inode->i_ino;", "", including("linux/sched.h")),
    "a field that is not in task_struct": body("struct task_struct *t = (void *)bpf_get_current_task(); return t->nothing;", "",
                                              including("linux/sched.h")),
    "task_struct defined again": including("linux/sched.h") + "struct task_struct { int mine; };\n" + body(""),
    "a constant defined again": including("linux/sched.h") + "enum { TASK_COMM_LEN = 3 };\n" + body(""),
    "a function of the header defined again": including("linux/sched.h") + "int wake_up_process(int n) { return n; }\n" + body(""),
    "a function of fs.h defined again": including("linux/fs.h") + "static int inode_init_once(void) { return 1; }\n" + body(""),
    "a helper defined again": "static int bpf_ktime_get_ns = 3;\n" + body(""),
    "a type defined again": "typedef char u64;\n" + body(""),
    "a function defined twice": body("") + body(""),
    "a variable defined twice": body("int n; long n;"),
    "a parameter twice": "int f(struct pt_regs *ctx, int a, int a) { return 0; }\n",
    "too few arguments": body("bpf_get_current_comm();"),
    "too many arguments": body("u64 t = bpf_ktime_get_ns(1, 2, 3, 4);"),
    "an argument of another type": body("struct event event = {}; return bpf_log2l(event);", EVENT),
    "a number as a pointer's target": body("int n = 1; return *n;"),
    "a member of a number": body("int n = 1; return n.pid;"),
    "an arrow for a dot": body("struct event event = {}; return event->pid;", EVENT),
    "a struct as a condition": body("struct event event = {}; if (event) return 1;", EVENT),
    "an assignment to a constant": body("const int n = 1; n = 2;"),
    "a break outside of a loop": body("break;"),
    "a label that is not there": body("goto out;"),
    "a case outside of a switch": body("case 1: return 1;"),
    "two cases alike": body("switch (1) { case 1: break; case 1: break; }"),
    "a negative array": body("char text[-1];"),
    "a table nobody declared": body("u32 key = 1; calls.increment(key);"),
    "a method that tables lack": body("u32 key = 1; calls.incremnt(key);", "BPF_HASH(calls, u32, u64);"),
    "a key by value": body("u32 key = 1; calls.lookup(key);", "BPF_HASH(calls, u32, u64);"),
    "a key of another type": body("u64 key = 1; char *p = calls.lookup(&key, 3, 4);", "BPF_HASH(calls, u32, u64);"),
    "a table twice": body("", "BPF_HASH(calls, u32, u64);\nBPF_HASH(calls, u32, u64);"),
    "a table of no known type": body("", 'BPF_TABLE("hush", u32, u64, calls, 10);'),
    "a table's type forgotten": body("", "BPF_HASH(calls, event_t, u64);"),
    "a perf output without its table": body("u64 n = 1; events.perf_submit(ctx, &n, sizeof(n));"),
    "a perf output with too little": body("u64 n = 1; events.perf_submit(ctx);", "BPF_PERF_OUTPUT(events);"),
    "a ring buffer without a size": body("", "BPF_RINGBUF_OUTPUT(ring);"),
    "a helper inside a macro": body("STORE;", "BPF_HASH(calls, u32, u64);\n#define STORE calls.increment(1)"),
    "an own function that is not static": "int twice(int n) { return n * 2; }\n" + body("return twice(3);"),
    "a loop without end": body("for (;;) ;") + "int g(void *ctx) { while (1) g(ctx); }\n",
    "too much stack": body("char text[1024] = {}; bpf_trace_printk(text);"),
    "seven arguments": "int f(struct pt_regs *ctx, int a, int b, int c, int d, int e, int g, int h) { return h; }\n",
    "a division by zero": body("int n = 1 / 0; return n;"),
    "a float": body("float x = 1.5; return x * 2;"),
    "assembler that is none": body('asm("frobnicate r0");'),
    "a tracepoint that is not there": "TRACEPOINT_PROBE(syscalls, sys_enter_nothing) { return args->fd; }\n",
    "a tracepoint's field that is not there": "TRACEPOINT_PROBE(raw_syscalls, sys_enter) { return args->nothing; }\n",
    "no text": "",
}
# fmt: on
BROKEN = [Program(name, text) for name, text in BROKEN_TEXTS.items()]
