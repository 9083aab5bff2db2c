/* tests/fuzz/fuzz_cron.c: schedules, in a zone whose offset the input chooses.
 * links: base
 * SPDX-License-Identifier: Apache-2.0 */
#include "base.h"
#include "cron.h"

#include <stdlib.h>

struct zone {
    int64_t change_s;
    int32_t before, after;
};

static int32_t offset(const void *arg, int64_t s)
{
    const struct zone *z = arg;
    return s < z->change_s ? z->before : z->after;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    scoped_err err = {0};
    struct cron c;
    uint32_t seed[3] = {0};
    if (size < sizeof seed)
        return 0;
    memcpy(seed, data, sizeof seed);
    if (!cron_parse(str_of(data + sizeof seed, size - sizeof seed), &c, &err)) {
        if (!err_is_set(&err))
            abort();
        return 0;
    }
    int64_t after = seed[0], next, last = after;
    struct zone z = {after + seed[1] % (3 * 86400), (int32_t)(seed[2] % 97) * 900 - 43200,
                     (int32_t)(seed[2] / 97 % 97) * 900 - 43200};
    /* Times come one after the other, each on a full minute that the schedule names (but for skipped ones). */
    for (int i = 0; i < 5 && cron_next(&c, last, offset, &z, &next); i++) {
        if (next <= last || next % 60 != 0)
            abort();
        struct time_fields f;
        time_split((next + offset(&z, next)) * 1000000000, &f);
        bool is_named = c.minutes >> f.minute & 1 && c.hours >> f.hour & 1 && c.months >> f.month & 1;
        if (!is_named && next != z.change_s - z.change_s % 60 && next != z.change_s - z.change_s % 60 + 60)
            abort();
        last = next;
    }
    return 0;
}
