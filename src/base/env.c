/* base/env.c: `$NAME` and `${NAME}` in configuration values.
 * SPDX-License-Identifier: Apache-2.0 */
#include "buf.h"
#include "fs.h"

#include <stdlib.h>

static bool is_name_byte(char c, bool first)
{
    return c == '_' || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (!first && c >= '0' && c <= '9');
}

/* The name that `s`, what follows a '$', starts with; *used is what it takes of `s`. Empty if none. */
static struct str name_at(struct str s, size_t *used)
{
    bool braced = s.len > 0 && s.ptr[0] == '{';
    size_t start = braced ? 1 : 0, i = start;
    while (i < s.len && is_name_byte(s.ptr[i], i == start))
        i++;
    if (i == start || (braced && (i == s.len || s.ptr[i] != '}')))
        return (struct str){0};
    *used = braced ? i + 1 : i;
    return str_slice(s, start, i);
}

struct str str_expand(struct arena *a, struct str s, struct str (*lookup)(void *arg, struct str name), void *arg)
{
    if (str_chr(s, '$') == STR_NPOS)
        return s;
    scoped_buf out = BUF_INIT(SIZE_MAX / 4);
    while (s.len > 0) {
        size_t at = MIN(str_chr(s, '$'), s.len);
        buf_add(&out, s.ptr, at);
        s = str_from_off(s, at);
        if (s.len == 0)
            break;
        size_t used = 0;
        struct str name = name_at(str_from_off(s, 1), &used);
        buf_add_str(&out, name.len > 0 ? lookup(arg, name) : STR("$"));
        s = str_from_off(s, 1 + used);
    }
    return str_dup(a, buf_str(&out));
}

static struct str from_environment(void *arg, struct str name)
{
    return str_from(getenv(str_z(arg, name)));
}

struct str str_expand_env(struct arena *a, struct str s)
{
    return str_expand(a, s, from_environment, a);
}
