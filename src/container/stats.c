/* container/stats.c: what a container uses, from the API's JSON or a program's text.
 * SPDX-License-Identifier: Apache-2.0 */
#include "container_int.h"

#include <math.h>
#include <stdlib.h>

/* --- The API: counters --------------------------------------------------------------------------------- */

static double number(const json_t *j, const char *key)
{
    const json_t *v = json_get(j, key);
    double d = json_is_number(v) ? json_number_value(v) : 0;
    return d > 0 && isfinite(d) ? d : 0;
}

static int64_t whole(double d)
{
    return d >= 9.2e18 ? INT64_MAX : d > 0 ? (int64_t)d : 0;
}

static void add(int64_t *sum, int64_t n)
{
    if (__builtin_add_overflow(*sum, n, sum))
        *sum = INT64_MAX;
}

/* Memory without what the kernel would give up at once: the page cache that is not in use (cgroup 2, then 1). */
static int64_t memory(const json_t *m)
{
    double usage = number(m, "usage"), cache = number(json_get(m, "stats"), "inactive_file");
    if (cache == 0)
        cache = number(json_get(m, "stats"), "total_inactive_file");
    return whole(cache < usage ? usage - cache : usage);
}

static double cpu_percent(const json_t *j)
{
    const json_t *now = json_get(j, "cpu_stats"), *before = json_get(j, "precpu_stats");
    double used = number(json_get(now, "cpu_usage"), "total_usage") - number(json_get(before, "cpu_usage"), "total_usage");
    double all = number(now, "system_cpu_usage") - number(before, "system_cpu_usage");
    double cpus = number(now, "online_cpus");
    bool has_before = number(before, "system_cpu_usage") > 0;
    double percent = has_before && all > 0 && used > 0 ? used / all * (cpus > 0 ? cpus : 1) * 100 : 0;
    return isfinite(percent) ? percent : 0;
}

void ctr_stats_from_json(const json_t *j, struct ctr_stats *out)
{
    const char *name;
    json_t *one;
    size_t i;
    *out = (struct ctr_stats){
        .cpu_percent = cpu_percent(j),
        .cpu_ns = whole(number(json_get(json_get(j, "cpu_stats"), "cpu_usage"), "total_usage")),
        .mem_bytes = memory(json_get(j, "memory_stats")),
        .mem_limit = whole(number(json_get(j, "memory_stats"), "limit")),
        .pids = whole(number(json_get(j, "pids_stats"), "current")),
    };
    json_object_foreach(json_get(j, "networks"), name, one) {
        add(&out->net_in, whole(number(one, "rx_bytes")));
        add(&out->net_out, whole(number(one, "tx_bytes")));
    }
    json_array_foreach(json_get(json_get(j, "blkio_stats"), "io_service_bytes_recursive"), i, one) {
        struct str op = json_get_str(one, "op", (struct str){0});
        int64_t bytes = whole(number(one, "value"));
        if (str_eq_nocase(op, STR("read")))
            add(&out->block_read, bytes);
        else if (str_eq_nocase(op, STR("write")))
            add(&out->block_write, bytes);
    }
}

/* --- Programs: text ------------------------------------------------------------------------------------ */

/* "1.5MiB", "312kB", "0B", "--" */
int64_t ctr_size_parse(struct str s)
{
    static const struct {
        const char *unit;
        double factor;
    } units[] = {
        {"b", 1}, {"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"tb", 1e12}, {"kib", 1024.0}, {"mib", 1048576.0},
        {"gib", 1073741824.0}, {"tib", 1099511627776.0},
    };
    char text[32];
    s = str_trim(s);
    size_t n = 0;
    while (n < s.len && ((s.ptr[n] >= '0' && s.ptr[n] <= '9') || s.ptr[n] == '.'))
        n++;
    if (n == 0 || n >= sizeof text)
        return 0;
    memcpy(text, s.ptr, n);
    text[n] = '\0';
    struct str unit = str_trim(str_from_off(s, n));
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (str_eq_nocase(unit, str_from(units[i].unit)))
            return whole(strtod(text, NULL) * units[i].factor);
    }
    return 0;
}

static void pair(struct str text, int64_t *first, int64_t *second)
{
    struct str a, b;
    if (!str_cut(text, '/', &a, &b))
        return;
    *first = ctr_size_parse(a);
    *second = ctr_size_parse(b);
}

static struct str either(const json_t *j, const char *docker, const char *podman)
{
    return json_get_str(j, docker, json_get_str(j, podman, (struct str){0}));
}

void ctr_stats_from_text(const json_t *j, struct ctr_stats *out)
{
    char text[32] = "";
    uint64_t pids = 0;
    struct str cpu = str_trim(either(j, "CPUPerc", "cpu_percent"));
    *out = (struct ctr_stats){0};
    memcpy(text, cpu.ptr ? cpu.ptr : "", MIN(cpu.len, sizeof text - 1));
    double percent = strtod(text, NULL); /* stops at the sign */
    out->cpu_percent = isfinite(percent) && percent > 0 ? percent : 0;
    pair(either(j, "MemUsage", "mem_usage"), &out->mem_bytes, &out->mem_limit);
    pair(either(j, "NetIO", "net_io"), &out->net_in, &out->net_out);
    pair(either(j, "BlockIO", "block_io"), &out->block_read, &out->block_write);
    if (str_to_u64(str_trim(either(j, "PIDs", "pids")), &pids))
        out->pids = (int64_t)MIN(pids, (uint64_t)INT32_MAX);
}
