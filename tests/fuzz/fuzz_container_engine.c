/* tests/fuzz/fuzz_container_engine.c: any bytes as what an engine says: its events, an inspect, statistics, lists, sizes;
 * and as what the kernel says of its control groups.
 * links: container http
 * SPDX-License-Identifier: Apache-2.0 */
#include "service_int.h"

#include <math.h>

static void on_event(void *arg, const struct ctr_event *event)
{
    if (event->name.len == 0 || event->kind > CTR_EVENT_STARTED)
        BUG("an event of nothing");
    ++*(size_t *)arg;
}

/* The same events come however the stream is cut. */
static void feed(struct str text, size_t piece, size_t *count)
{
    struct ctr_event_feed f = {.fn = on_event, .arg = count, .line = BUF_INIT(CTR_EVENT_LINE_MAX)};
    for (size_t at = 0; at < text.len; at += piece)
        ctr_events_feed(&f, str_slice(text, at, MIN(at + piece, text.len)));
    buf_release(&f.line);
}

static void check_stats(const struct ctr_stats *s)
{
    if (!isfinite(s->cpu_percent) || s->cpu_percent < 0 || s->mem_bytes < 0 || s->mem_limit < 0 || s->net_in < 0 || s->net_out < 0 ||
        s->block_read < 0 || s->block_write < 0 || s->pids < 0)
        BUG("use below nothing");
}

/* Whatever the groups are called, only files of the kernel's own are opened. */
static void check_freezer(struct arena *a, struct str text)
{
    struct str path, id = STR("0123456789ab");
    freezer_parse(text);
    if (freezer_path(a, text, id, &path) && (!str_starts(path, STR("/sys/fs/cgroup/")) || str_find(path, STR("/../")) != STR_NPOS ||
                                            str_find(path, id) == STR_NPOS))
        BUG("a freezer at %.*s", STR_ARG(path));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct str text = str_of(data, size), digest;
    struct ctr_event event;
    struct ctr_info info;
    struct ctr_stats stats;
    struct ctr_image_list images = {0};
    size_t whole = 0, cut = 0;
    arena_init(&a, 0);
    feed(text, SIZE_MAX / 2, &whole);
    feed(text, 1 + size % 7, &cut);
    if (whole != cut)
        BUG("%zu events in one piece, %zu in several", whole, cut);
    ctr_event_parse(&a, text, &event);
    if (ctr_size_parse(text) < 0)
        BUG("a size below nothing");
    check_freezer(&a, text);
    scoped_json *j = json_parse(text, &err);
    if (!j)
        return 0;
    if (ctr_info_from_json(&a, j, 8080, &info) && info.at.ip && info.at.port == 0)
        BUG("an address without a port");
    ctr_stats_from_json(j, &stats);
    check_stats(&stats);
    ctr_stats_from_text(j, &stats);
    check_stats(&stats);
    ctr_image_from_json(&a, j, &images);
    ctr_digest_from_json(&a, j, &digest);
    ctr_ports_of_inspect(&a, j);
    ctr_ports_of_list(&a, j);
    return 0;
}
