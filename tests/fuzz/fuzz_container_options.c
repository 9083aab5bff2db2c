/* tests/fuzz/fuzz_container_options.c: any bytes as a volume, as an option and its value, as a size.
 * links: container http
 * SPDX-License-Identifier: Apache-2.0 */
#include "container.h"
#include "fs.h"

static const char *value_of(const char *name)
{
    return strlen(name) % 2 ? "/srv/da ta" : strlen(name) == 4 ? "" : NULL;
}

static void check_text(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] < 0x20)
            BUG("a control character has got through");
}

static void check_volume(struct arena *a, struct str entry)
{
    scoped_err err = {0};
    struct ctr_volume v;
    struct ctr_mount m;
    if (!ctr_volume_parse(a, entry, value_of, &v, &err))
        return;
    check_text(v.source);
    check_text(v.target);
    if (!path_is_abs(v.target) || str_eq(v.target, STR("/")) || str_chr(v.target, ':') != STR_NPOS || str_find(v.target, STR("/../")) != STR_NPOS)
        BUG("a target that is none: %.*s", STR_ARG(v.target));
    if (v.kind == CTR_VOLUME_NAMED && (v.source.len == 0 || v.source.ptr[0] == '-' || str_chr(v.source, '/') != STR_NPOS))
        BUG("a name that is none: %.*s", STR_ARG(v.source));
    /* Nothing of the host is allowed, whatever is asked for. */
    const struct ctr_mount_policy nothing = {.run_dir = STR("/proc/self")};
    if (ctr_volume_resolve(a, STR("app_prd_x"), &v, &nothing, &m, &err) && m.is_bind)
        BUG("a bind of %.*s", STR_ARG(m.source));
}

static void check_option(struct arena *a, struct str key, struct str value)
{
    scoped_err err = {0};
    struct ctr_kv_list options = {0}, allowed = {0};
    struct ctr_limits limits;
    ctr_kv_set(a, &allowed, STR("add-host"), STR("regex:.*"));
    ctr_kv_set(a, &allowed, STR("shm-size"), STR("regex:^[0-9]+m?$"));
    ctr_kv_set(a, &allowed, STR("network"), STR("back"));
    ctr_kv_set(a, &allowed, STR("init"), STR(""));
    ctr_kv_set(a, &options, key, value);
    if (!ctr_options_resolve(a, &options, STR("podman"), &allowed, &limits, &err))
        return;
    if (limits.milli_cpus < 0 || limits.memory_bytes < 0)
        BUG("a limit below nothing");
    vec_foreach(flag, &limits.flags)
    {
        if (!ctr_kv_get(&allowed, flag->key))
            BUG("a flag that nobody has allowed");
        if ((flag->value.len == 0) != str_eq(flag->key, STR("init")) || str_chr(flag->value, '\0') != STR_NPOS)
            BUG("--%.*s with a value that is not allowed", STR_ARG(flag->key));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct str text = str_of(data, size), key, value;
    int64_t n;
    check_volume(&a, text);
    str_cut(text, '=', &key, &value);
    check_option(&a, key, value);
    if (ctr_parse_cpus(text, &n, &err) && n < 1)
        BUG("no CPU");
    if (ctr_parse_memory(text, &n, &err) && n < 1)
        BUG("no memory");
    return 0;
}
