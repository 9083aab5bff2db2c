/* base/path.c: paths as text; nothing here looks at the disk.
 * SPDX-License-Identifier: Apache-2.0 */
#include "fs.h"

/* Invariant of the loop: out[0..w) is clean, and nothing before out[stop] may be taken back by "..". */
struct str path_clean(struct arena *a, struct str path)
{
    if (path.len == 0)
        return STR(".");
    bool rooted = path_is_abs(path);
    char *out = arena_alloc(a, path.len);
    size_t w = 0, stop = 0;
    if (rooted)
        out[w++] = '/', stop = 1;
    struct str rest = path, part;
    while (str_next(&rest, '/', &part)) {
        if (part.len == 0 || str_eq(part, STR(".")))
            continue;
        if (str_eq(part, STR(".."))) {
            if (w > stop) {
                w--;
                while (w > stop && out[w] != '/')
                    w--;
                continue;
            }
            if (rooted)
                continue;
        }
        if (w > (rooted ? 1u : 0u))
            out[w++] = '/';
        memcpy(out + w, part.ptr, part.len);
        w += part.len;
        if (str_eq(part, STR("..")))
            stop = w;
    }
    return w > 0 ? str_of(out, w) : STR(".");
}

struct str path_join_n(struct arena *a, const struct str *parts, size_t n)
{
    size_t len = 0;
    for (size_t i = 0; i < n; i++)
        len += parts[i].len + 1;
    char *joined = arena_alloc(a, len);
    size_t w = 0;
    for (size_t i = 0; i < n; i++) {
        if (parts[i].len == 0)
            continue;
        if (w > 0)
            joined[w++] = '/';
        memcpy(joined + w, parts[i].ptr, parts[i].len);
        w += parts[i].len;
    }
    return w > 0 ? path_clean(a, str_of(joined, w)) : (struct str){0};
}

struct str path_base(struct str path)
{
    if (path.len == 0)
        return STR(".");
    struct str p = str_trim_right(path, '/');
    if (p.len == 0)
        return STR("/");
    size_t at = str_rchr(p, '/');
    return at == STR_NPOS ? p : str_from_off(p, at + 1);
}

struct str path_dir(struct str path)
{
    struct str p = str_trim_right(path, '/');
    size_t at = str_rchr(p, '/');
    if (at == STR_NPOS)
        return path_is_abs(path) ? STR("/") : STR(".");
    p = str_trim_right(str_slice(p, 0, at), '/');
    return p.len > 0 ? p : STR("/");
}

struct str path_ext(struct str path)
{
    struct str base = path_base(path);
    size_t at = str_rchr(base, '.');
    return at == STR_NPOS ? (struct str){0} : str_from_off(base, at);
}

struct str path_rel(struct arena *a, struct str dir, struct str path)
{
    struct str d = path_clean(a, dir), p = path_clean(a, path);
    if (path_is_abs(d) != path_is_abs(p))
        return (struct str){0};
    if (str_eq(d, p))
        return STR(".");
    if (str_eq(d, STR("/")))
        return str_from_off(p, 1);
    if (str_eq(d, STR(".")))
        return str_eq(p, STR("..")) || str_starts(p, STR("../")) ? (struct str){0} : p;
    /* A `dir` of "../.." holds "../../x", but not "../../..". */
    if (!str_starts(p, d) || p.ptr[d.len] != '/')
        return (struct str){0};
    struct str rel = str_from_off(p, d.len + 1);
    return str_eq(rel, STR("..")) || str_starts(rel, STR("../")) ? (struct str){0} : rel;
}

bool path_is_within(struct str dir, struct str path)
{
    scoped_arena a = {0};
    return path_rel(&a, dir, path).len > 0;
}

bool path_is_local(struct str path)
{
    if (path.len == 0 || path_is_abs(path) || memchr(path.ptr, '\0', path.len))
        return false;
    size_t depth = 0;
    struct str rest = path, part;
    while (str_next(&rest, '/', &part)) {
        if (part.len == 0 || str_eq(part, STR(".")))
            continue;
        if (!str_eq(part, STR("..")))
            depth++;
        else if (depth-- == 0)
            return false;
    }
    return true;
}
