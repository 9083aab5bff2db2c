/* tests/fuzz/fuzz_containerfile.c: any bytes as a Containerfile, and as a volume entry, a size and a CPU count.
 * links: container http
 * SPDX-License-Identifier: Apache-2.0 */
#include "container.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct str text = str_of(data, size);
    struct ctr_kv_list args = {0};
    struct ctr_file f;
    struct ctr_volume v;
    int64_t n;
    arena_init(&a, 0);
    ctr_kv_set(&a, &args, STR("V"), STR("3.14"));
    if (ctr_file_parse(&a, text, &args, &f, &err)) {
        if (f.n_stages == 0 || f.n_ports > CTR_FILE_MAX_LIST || f.images.len > CTR_FILE_MAX_LIST)
            BUG("a ceiling was crossed");
        for (size_t i = 0; i < f.n_stages; i++) {
            if (f.stages[i].base_stage >= (int)i)
                BUG("a stage builds on a later one");
        }
    }
    if (a.used > 64u << 20)
        BUG("%zu bytes of text took %zu bytes", size, a.used);
    if (ctr_volume_parse(&a, text, NULL, &v, &err) && (v.target.len < 2 || v.target.ptr[0] != '/'))
        BUG("a target that is not absolute");
    if (ctr_parse_memory(text, &n, &err) && n < 1)
        BUG("memory of nothing");
    if (ctr_parse_cpus(text, &n, &err) && (n < 1 || n > 1000000))
        BUG("cpus out of range");
    return 0;
}
