/*
 * What a C program on libbpf does: reader perf|perf-tuned|ring|ring-tuned EVENTS.BPF.O PAGES FILE.
 * The tuned ones do as ours: a perf buffer wakes its reader when a quarter is full, a ring buffer nobody who looks every 2 ms.
 * Prints "ready", writes every event to FILE, and ends when its standard input does; then prints the lost events.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/perf_event.h>
#include <poll.h>
#include <stdbool.h>
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

static enum bpf_perf_event_ret on_event(void *ctx, int cpu, struct perf_event_header *event)
{
    struct sample { struct perf_event_header header; __u32 size; char data[]; } *sample = (void *)event;
    struct loss { struct perf_event_header header; __u64 id, count; } *loss = (void *)event;

    if (event->type == PERF_RECORD_SAMPLE)
        on_sample(ctx, cpu, sample->data, sample->size);
    else if (event->type == PERF_RECORD_LOST)
        on_lost(ctx, cpu, loss->count);
    return LIBBPF_PERF_EVENT_CONT;
}

static int on_record(void *ctx, void *data, size_t size)
{
    fwrite(data, size, 1, file);
    return 0;
}

int main(int argc, char **argv)
{
    bool perf = !strncmp(argv[1], "perf", 4), tuned = strstr(argv[1], "tuned");
    int pages = atoi(argv[3]), map;
    const char *chosen = perf ? "to_perf" : tuned ? "to_ring_quietly" : "to_ring";
    struct bpf_object *object = bpf_object__open(argv[2]);
    struct bpf_program *program;
    struct pollfd input = { .fd = 0, .events = POLLIN };
    struct perf_buffer *perf_reader = NULL;
    struct ring_buffer *ring_reader = NULL;
    struct perf_event_attr attributes = {
        .size = sizeof(attributes), .type = PERF_TYPE_SOFTWARE, .config = PERF_COUNT_SW_BPF_OUTPUT,
        .sample_type = PERF_SAMPLE_RAW, .sample_period = 1,
        .watermark = 1, .wakeup_watermark = pages * sysconf(_SC_PAGESIZE) / 4,
    };

    bpf_object__for_each_program(program, object)
        bpf_program__set_autoload(program, !strcmp(bpf_program__name(program), chosen));
    if (bpf_object__load(object))
        return 1;
    file = fopen(argv[4], "w");
    map = bpf_object__find_map_fd_by_name(object, perf ? "perf" : "ring");
    if (perf && tuned)
        perf_reader = perf_buffer__new_raw(map, pages, &attributes, on_event, NULL, NULL);
    else if (perf)
        perf_reader = perf_buffer__new(map, pages, on_sample, on_lost, NULL, NULL);
    else
        ring_reader = ring_buffer__new(map, on_record, NULL, NULL);
    if (!file || !(perf ? (void *)perf_reader : (void *)ring_reader) ||
        !bpf_program__attach(bpf_object__find_program_by_name(object, chosen)))
        return 1;
    puts("ready");
    fflush(stdout);
    while (!poll(&input, 1, perf || !tuned ? 0 : 2))
        if (perf)
            perf_buffer__poll(perf_reader, 20);
        else if (tuned)
            ring_buffer__consume(ring_reader);
        else
            ring_buffer__poll(ring_reader, 20);
    perf ? perf_buffer__consume(perf_reader) : ring_buffer__consume(ring_reader);
    if (!perf) {
        __u32 zero = 0;
        bpf_map_lookup_elem(bpf_object__find_map_fd_by_name(object, "lost"), &zero, &lost);
    }
    fclose(file);
    printf("%llu\n", lost);
    return 0;
}
