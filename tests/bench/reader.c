/*
 * What a C program on libbpf does: reader perf|ring EVENTS.BPF.O PAGES FILE.
 * Prints "ready", writes every event to FILE, and ends when its standard input does; then prints the lost events.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static FILE *file;
static unsigned long long lost;

static void on_sample(void *ctx, int cpu, void *data, __u32 size)
{
    fwrite(data, 40, 1, file);
}

static void on_lost(void *ctx, int cpu, __u64 count)
{
    lost += count;
}

static int on_record(void *ctx, void *data, size_t size)
{
    fwrite(data, size, 1, file);
    return 0;
}

int main(int argc, char **argv)
{
    int perf = !strcmp(argv[1], "perf");
    struct bpf_object *object = bpf_object__open(argv[2]);
    struct bpf_program *to_perf = bpf_object__find_program_by_name(object, "to_perf");
    struct bpf_program *to_ring = bpf_object__find_program_by_name(object, "to_ring");
    struct pollfd input = { .fd = 0, .events = POLLIN };
    struct perf_buffer *perf_reader = NULL;
    struct ring_buffer *ring_reader = NULL;

    bpf_program__set_autoload(to_perf, perf);
    bpf_program__set_autoload(to_ring, !perf);
    if (bpf_object__load(object))
        return 1;
    file = fopen(argv[4], "w");
    if (perf)
        perf_reader = perf_buffer__new(bpf_object__find_map_fd_by_name(object, "perf"), atoi(argv[3]), on_sample, on_lost,
                                       NULL, NULL);
    else
        ring_reader = ring_buffer__new(bpf_object__find_map_fd_by_name(object, "ring"), on_record, NULL, NULL);
    if (!file || !(perf ? (void *)perf_reader : (void *)ring_reader) || !bpf_program__attach(perf ? to_perf : to_ring))
        return 1;
    puts("ready");
    fflush(stdout);
    while (!poll(&input, 1, 0))
        perf ? perf_buffer__poll(perf_reader, 20) : ring_buffer__poll(ring_reader, 20);
    perf ? perf_buffer__consume(perf_reader) : ring_buffer__consume(ring_reader);
    if (!perf) {
        __u32 zero = 0;
        bpf_map_lookup_elem(bpf_object__find_map_fd_by_name(object, "lost"), &zero, &lost);
    }
    fclose(file);
    printf("%llu\n", lost);
    return 0;
}
