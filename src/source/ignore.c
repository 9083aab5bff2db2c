/* source/ignore.c: .openrunignore: which files of a folder are no part of the app.
 *
 * A line is a pattern as of .gitignore: one with a '/' before its end is of the path from the top, any other
 * of a name at any depth; '/' at the end means folders only; '!' takes out of what earlier lines have left
 * out; '#' starts a comment. The last line that fits decides, and what is in a folder that is left out stays
 * out.
 * SPDX-License-Identifier: Apache-2.0 */
#include "source_int.h"

enum { IGNORE_MAX = 64 << 10, LINES_MAX = 1000 };

struct rule {
    struct src_glob *glob;
    bool is_negated, is_folder;
};

struct ignore {
    struct rule rules[LINES_MAX];
    size_t len;
};

static bool read_line(struct arena *a, struct ignore *g, struct str line, struct err *err)
{
    struct rule r = {0};
    line = str_trim_right(str_trim_right(line, '\r'), ' ');
    if (str_is_empty(line) || line.ptr[0] == '#')
        return true;
    if (line.ptr[0] == '!') {
        r.is_negated = true;
        line = str_from_off(line, 1);
    }
    r.is_folder = str_ends(line, STR("/"));
    line = str_trim_right(line, '/');
    bool is_anchored = str_chr(line, '/') != STR_NPOS;
    while (str_starts(line, STR("/")))
        line = str_from_off(line, 1);
    if (str_is_empty(line))
        return true;
    if (g->len == LINES_MAX)
        return err_set(err, ERR_TOO_LARGE, "it has more than %d patterns", LINES_MAX);
    r.glob = src_glob_compile(a, is_anchored ? line : str_cat(a, STR("**/"), line), err);
    g->rules[g->len++] = r;
    return r.glob != NULL;
}

bool ignore_read(struct arena *a, struct str dir, struct ignore **out, struct err *err)
{
    struct str path = path_join(a, dir, STR(SRC_IGNORE_FILE)), text, line;
    struct fs_info info;
    scoped_err none = {0};
    *out = NULL;
    if (!fs_lstat(path, &info, &none) || info.kind != FS_FILE)
        return true;
    if (!src_disk_read(a, dir, STR(SRC_IGNORE_FILE), IGNORE_MAX, &text, err))
        return false;
    struct ignore *g = arena_new(a, struct ignore);
    for (unsigned n = 1; str_next(&text, '\n', &line); n++)
        if (!read_line(a, g, line, err))
            return err_wrap(err, SRC_IGNORE_FILE " line %u", n);
    *out = g;
    return true;
}

bool ignore_has(const struct ignore *g, struct str path, bool is_folder)
{
    for (size_t i = g ? g->len : 0; i > 0; i--) {
        const struct rule *r = &g->rules[i - 1];
        if ((is_folder || !r->is_folder) && src_glob_match(r->glob, path))
            return !r->is_negated;
    }
    return false;
}
