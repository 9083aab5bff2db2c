/* tests/fuzz/fuzz_db_time.c: times as databases keep them: what reads, writes back to the same moment.
 * links: db
 * SPDX-License-Identifier: Apache-2.0 */
#include "db.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int64_t ns, again;
    char text[DB_TIME_LEN + 1];
    if (!db_time_parse(str_of(data, size), &ns))
        return 0;
    db_time_format(ns, text);
    if (strlen(text) != DB_TIME_LEN || !db_time_parse(str_from(text), &again) || again != ns)
        abort();
    return 0;
}
