/* The program of programs.py, once more for libbpf. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct event {
    __u64 time_ns;
    __u32 pid, tid;
    __u64 seq;
    char comm[16];
};

struct { __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); __uint(key_size, 4); __uint(value_size, 4); } perf SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 1 << 22); } ring SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, __u64); } lost SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, __u64); } seq SEC(".maps");

static __always_inline void fill(struct event *event)
{
    __u32 zero = 0;
    __u64 id = bpf_get_current_pid_tgid(), *count = bpf_map_lookup_elem(&seq, &zero);

    event->time_ns = bpf_ktime_get_ns();
    event->pid = id >> 32;
    event->tid = id;
    event->seq = count ? (*count)++ : 0;
    bpf_get_current_comm(event->comm, sizeof(event->comm));
}

SEC("tracepoint/syscalls/sys_enter_sched_get_priority_max")
int to_perf(void *ctx)
{
    struct event event = {};

    fill(&event);
    bpf_perf_event_output(ctx, &perf, BPF_F_CURRENT_CPU, &event, sizeof(event));
    return 0;
}

static __always_inline int submit(__u64 flags)
{
    struct event event = {};
    __u32 zero = 0;
    __u64 *count;

    fill(&event);
    if (bpf_ringbuf_output(&ring, &event, sizeof(event), flags) && (count = bpf_map_lookup_elem(&lost, &zero)))
        __sync_fetch_and_add(count, 1);
    return 0;
}

SEC("tracepoint/syscalls/sys_enter_sched_get_priority_max")
int to_ring(void *ctx)
{
    return submit(0);
}

SEC("tracepoint/syscalls/sys_enter_sched_get_priority_max")
int to_ring_quietly(void *ctx)
{
    return submit(BPF_RB_NO_WAKEUP);
}

char _license[] SEC("license") = "GPL";
