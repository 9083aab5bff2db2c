/* tests/fuzz/fuzz_app_router.c: lines "METHOD /pattern", an empty line, then lines "METHOD /path" that are
 * matched. links: app
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_int.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct route_match *m, struct str path)
{
    for (size_t i = 0; m->target && i < m->n_params; i++) {
        struct str v = m->params[i].value;
        if (v.len > 0 && (v.ptr < path.ptr || v.ptr + v.len > path.ptr + path.len))
            abort(); /* values are slices of the path */
    }
    if (m->n_params > ROUTE_PARAMS_MAX)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    scoped_arena a = {0};
    struct router *r = router_new(&a);
    struct str rest = str_of(data, size), line, method, path;
    bool is_matching = false;
    for (int n = 0; n < 200 && size > 0 && str_next(&rest, '\n', &line); n++) {
        scoped_err err = {0};
        str_cut(line, ' ', &method, &path);
        if (str_is_empty(line)) {
            is_matching = true;
        } else if (!is_matching) {
            router_add(r, method, path, r, &err);
        } else if (str_starts(path, STR("/")) && path.len < 2000) {
            struct route_match m;
            path = http_path_clean(&a, path);
            router_match(r, &a, method, path, &m);
            check(&m, path);
        }
    }
    return 0;
}
