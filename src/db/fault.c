/* db/fault.c: numbered points at which a test can kill the process.
 * SPDX-License-Identifier: Apache-2.0 */
#include "db.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct {
    pthread_once_t once;
    bool is_armed;
    struct str prefix;
    uint64_t at;
    atomic_uint_fast64_t count;
} fault = {.once = PTHREAD_ONCE_INIT};

static void read_environment(void)
{
    struct str s = str_from(getenv("OPENRUN_FAULT_POINT"));
    struct str number = s;
    size_t colon = str_rchr(s, ':');
    if (colon != STR_NPOS) {
        fault.prefix = str_slice(s, 0, colon);
        number = str_from_off(s, colon + 1);
    }
    fault.is_armed = str_to_u64(number, &fault.at) && fault.at > 0;
}

void db_fault_point(const char *name)
{
    pthread_once(&fault.once, read_environment);
    if (LIKELY(!fault.is_armed) || !str_starts(str_from(name), fault.prefix))
        return;
    if (atomic_fetch_add(&fault.count, 1) + 1 != fault.at)
        return;
    fprintf(stderr, "openrun: fault point %llu: %s\n", (unsigned long long)fault.at, name);
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}
