/* container/volume.c: volume entries as users write them, and what they may bind (spec containers.md 6).
 * SPDX-License-Identifier: Apache-2.0 */
#include "container.h"
#include "fs.h"

#include <stdlib.h>

struct lookup {
    struct arena *arena;
    const char *(*getvar)(const char *name);
    struct str missing; /* the first variable that is not set */
};

static struct str lookup_var(void *arg, struct str name)
{
    struct lookup *l = arg;
    const char *z = str_z(l->arena, name);
    const char *value = l->getvar ? l->getvar(z) : getenv(z);
    if (!value && l->missing.len == 0)
        l->missing = name;
    return str_from(value);
}

bool ctr_mount_folder_parse(struct arena *a, struct str entry, const char *(*getvar)(const char *name), struct str *out,
                            struct err *err)
{
    struct lookup l = {.arena = a, .getvar = getvar};
    struct str path = str_expand(a, entry, lookup_var, &l);
    if (l.missing.len > 0)
        return err_set(err, ERR_INVALID, "\"" STR_FMT "\": the variable " STR_FMT " is not set in the server's environment",
                       STR_ARG(entry), STR_ARG(l.missing));
    if (!path_is_abs(path))
        return err_set(err, ERR_INVALID, "\"" STR_FMT "\" must be an absolute path", STR_ARG(entry));
    *out = path;
    return true;
}

static bool has_control(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if ((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7F)
            return true;
    }
    return false;
}

static bool is_volume_name(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool is_word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_word && (i == 0 || (c != '_' && c != '.' && c != '-')))
            return false;
    }
    return s.len > 0 && s.len <= 128;
}

static bool is_relative_bind(struct str s)
{
    return str_starts(s, STR("./")) || str_starts(s, STR("../"));
}

bool ctr_volume_parse(struct arena *a, struct str entry, const char *(*getvar)(const char *name),
                      struct ctr_volume *out, struct err *err)
{
    struct ctr_volume v = {.kind = CTR_VOLUME_UNNAMED};
    struct str rest = entry;
    if (has_control(entry) || entry.len == 0 || entry.len > 4096)
        return err_set(err, ERR_INVALID, "a volume must be one line of at most 4096 bytes, like data:/data");
    if (str_starts(rest, STR("cl_secret:"))) {
        v.kind = CTR_VOLUME_SECRET;
        rest = str_from_off(rest, 10);
    }
    if (str_ends(rest, STR(":ro"))) {
        v.is_read_only = true;
        rest = str_slice(rest, 0, rest.len - 3);
    }
    struct str source = rest, target;
    if (str_cut(rest, ':', &source, &target)) {
        struct lookup l = {.arena = a, .getvar = getvar};
        struct str expanded = str_expand(a, source, lookup_var, &l);
        v.written = str_eq(expanded, source) ? (struct str){0} : source;
        source = expanded;
        if (l.missing.len > 0)
            return err_set(err, ERR_INVALID,
                           "volume \"" STR_FMT "\": the variable " STR_FMT " is not set in the server's "
                           "environment",
                           STR_ARG(entry), STR_ARG(l.missing));
        if (source.len == 0 || has_control(source))
            return err_set(err, ERR_INVALID, "volume \"" STR_FMT "\" has no source before its ':'",
                           STR_ARG(entry));
        if (v.kind != CTR_VOLUME_SECRET)
            v.kind = path_is_abs(source) || is_relative_bind(source) ? CTR_VOLUME_BIND : CTR_VOLUME_NAMED;
        if (v.kind == CTR_VOLUME_NAMED && !is_volume_name(source))
            return err_set(err, ERR_INVALID,
                           "volume \"" STR_FMT
                           "\": a volume name has only letters, digits, '_', '.' and '-'; "
                           "a folder starts with '/' or './'",
                           STR_ARG(entry));
        v.source = source;
    } else if (v.kind == CTR_VOLUME_SECRET) {
        return err_set(err, ERR_INVALID, "volume \"" STR_FMT "\" must be cl_secret:<template>:<target>",
                       STR_ARG(entry));
    } else {
        target = source;
    }
    if (!path_is_abs(target) || target.len < 2 || str_chr(target, ':') != STR_NPOS)
        return err_set(err, ERR_INVALID,
                       "volume \"" STR_FMT "\": its target must be an absolute path in the container",
                       STR_ARG(entry));
    v.target = path_clean(a, target);
    if (str_eq(v.target, STR("/")))
        return err_set(err, ERR_INVALID,
                       "volume \"" STR_FMT "\": nothing can be mounted over the root of the container",
                       STR_ARG(entry));
    *out = v;
    return true;
}

static bool volume_same(const struct ctr_volume *x, const struct ctr_volume *y)
{
    return str_eq(x->source, y->source) && x->is_read_only == y->is_read_only;
}

bool ctr_volumes_parse(struct arena *a, const struct str_list *entries, struct ctr_volume **out, size_t *n,
                       struct err *err)
{
    VEC(struct ctr_volume) list = {0};
    for (size_t i = 0; i < entries->len; i++) {
        struct ctr_volume v;
        if (!ctr_volume_parse(a, entries->items[i], NULL, &v, err))
            return false;
        struct ctr_volume *same = NULL;
        vec_foreach(o, &list) {
            if (str_eq(o->target, v.target))
                same = o;
        }
        if (!same)
            *vec_push(a, &list) = v;
        else if (!(same->kind == CTR_VOLUME_SECRET && v.kind != CTR_VOLUME_SECRET && volume_same(same, &v)))
            *same = v;
    }
    *out = list.items;
    *n = list.len;
    return true;
}

/* True if `path` (real) is `dir` or below it, once dir's own symlinks are resolved. */
static bool is_below(struct arena *a, struct str dir, struct str path)
{
    struct str real;
    scoped_err ignored = {0};
    return dir.len > 0 && fs_real_path(a, dir, &real, &ignored) && path_is_within(real, path);
}

/* True if `real` is where we have made it: a container that mounts one copy may have put links into it. */
static bool is_as_made(struct arena *a, struct str run_dir, struct str path, struct str real)
{
    struct str dir, rel = path_rel(a, run_dir, path);
    scoped_err ignored = {0};
    return rel.len > 0 && fs_real_path(a, run_dir, &dir, &ignored) && str_eq(real, path_join(a, dir, rel));
}

static bool bind_resolve(struct arena *a, const struct ctr_volume *v, const struct ctr_mount_policy *policy,
                         struct str *out, struct err *err)
{
    struct str path = v->source, real;
    bool is_relative = !path_is_abs(path);
    if (is_relative) {
        if (policy->source_dir.len == 0)
            return err_set(err, ERR_INVALID,
                           "volume source \"" STR_FMT "\" is relative, but the app has no source folder",
                           STR_ARG(ctr_volume_shown(v)));
        path = path_join(a, policy->source_dir, path);
        if (!path_is_within(path_clean(a, policy->source_dir), path))
            return err_set(err, ERR_FORBIDDEN,
                           "volume source \"" STR_FMT "\": path must stay within its root",
                           STR_ARG(ctr_volume_shown(v)));
    }
    scoped_err e = {0}; /* it has the path as it is */
    if (!fs_real_path(a, path, &real, &e))
        return err_set(err, e.code, "volume source \"" STR_FMT "\": %s", STR_ARG(ctr_volume_shown(v)),
                       e.code == ERR_NOT_FOUND ? "there is no such file or folder" : "it cannot be looked at");
    if (!str_is_utf8(real)) /* on its way to the engine it would become another path */
        return err_set(err, ERR_INVALID, "volume source \"" STR_FMT "\": its path is not UTF-8", STR_ARG(ctr_volume_shown(v)));
    if (is_relative) {
        if (!is_below(a, policy->source_dir, real))
            return err_set(err, ERR_FORBIDDEN,
                           "volume source \"" STR_FMT "\": path must stay within its root",
                           STR_ARG(ctr_volume_shown(v)));
        *out = real;
        return true;
    }
    bool ok = v->is_made ? is_as_made(a, policy->run_dir, path, real) : is_below(a, policy->app_source, real);
    for (size_t i = 0; !ok && policy->allowed && i < policy->allowed->len; i++)
        ok = is_below(a, policy->allowed->items[i], real);
    if (!ok)
        return err_set(err, ERR_FORBIDDEN,
                       "source path " STR_FMT " is not within an allowed mount directory; an administrator "
                       "may list its folder in security.allowed_mounts",
                       STR_ARG(ctr_volume_shown(v)));
    *out = real;
    return true;
}

bool ctr_mounts_check(const struct ctr_mount *mounts, size_t n, struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        scoped_arena a = {0};
        scoped_err e = {0}; /* it has the path as it is */
        struct str real;
        if (!mounts[i].is_bind)
            continue;
        if (!fs_real_path(&a, mounts[i].source, &real, &e))
            return err_set(err, e.code, "what the container mounts at " STR_FMT " %s", STR_ARG(mounts[i].target),
                           e.code == ERR_NOT_FOUND ? "is no longer there" : "cannot be looked at");
        if (!str_eq(real, mounts[i].source))
            return err_set(err, ERR_FORBIDDEN,
                           "what the container mounts at " STR_FMT " has been replaced by a link since the app was loaded: put back "
                           "what was there, or reload the app",
                           STR_ARG(mounts[i].target));
    }
    return true;
}

bool ctr_volume_resolve(struct arena *a, struct str app_id, const struct ctr_volume *v,
                        const struct ctr_mount_policy *policy, struct ctr_mount *out, struct err *err)
{
    struct ctr_mount m = {.target = v->target, .is_read_only = v->is_read_only};
    switch (v->kind) {
    case CTR_VOLUME_NAMED:
    case CTR_VOLUME_UNNAMED:
        m.name = v->kind == CTR_VOLUME_NAMED ? v->source : v->target;
        m.source = ctr_volume_name(a, app_id, m.name);
        break;
    case CTR_VOLUME_BIND:
    case CTR_VOLUME_SECRET:
        m.is_bind = true;
        if (!bind_resolve(a, v, policy, &m.source, err))
            return false;
        break;
    }
    *out = m;
    return true;
}
