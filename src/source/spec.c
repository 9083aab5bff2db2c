/* source/spec.c: app specs: the bundled ones, and those in $OPENRUN_HOME/config/appspecs.
 * SPDX-License-Identifier: Apache-2.0 */
#include "source_int.h"
#include "specs_gen.h"

#include <errno.h>

enum {
    NAME_LEN_MAX = 64,
    SPEC_FILES_MAX = 1000,
    SPEC_FILE_MAX = 4 << 20, /* bytes; contents are copied into each app's metadata */
};

/* One path component, which no file system and no URL sees as anything else. */
static bool is_spec_name(struct str name)
{
    if (str_is_empty(name) || name.len > NAME_LEN_MAX || name.ptr[0] == '.' || name.ptr[0] == '-')
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
              c == '_' || c == '-'))
            return false;
    }
    return true;
}

static struct str override_root(struct arena *a, struct str home)
{
    return path_join(a, home, STR("config/appspecs"));
}

struct spec_items {
    struct src_file *items;
    size_t len, cap;
};

/* The regular files of a folder; what cannot be read is left out. False if the folder cannot be read. */
static bool load_folder(struct arena *a, struct str dir, struct spec_items *items)
{
    scoped_err ignored = {0};
    struct fs_items found = {0};
    if (!fs_list(a, dir, SPEC_FILES_MAX, &found, &ignored))
        return false;
    vec_foreach(f, &found)
    {
        struct str content;
        if (f->info.kind == FS_FILE && src_disk_read(a, dir, f->name, SPEC_FILE_MAX, &content, &ignored))
            *vec_push(a, items) =
                (struct src_file){.name = f->name, .content = content.ptr ? content.ptr : "", .size = content.len};
    }
    return true;
}

/* Files of the binary: rows "NAME/file". */
static void load_bundled(struct arena *a, struct str name, struct spec_items *items)
{
    for (size_t i = 0; i < specs_gen_len; i++) {
        const struct embedded_file *f = &specs_gen[i];
        if (f->name.len > name.len && str_starts(f->name, name) && f->name.ptr[name.len] == '/')
            *vec_push(a, items) = (struct src_file){
                .name = str_from_off(f->name, name.len + 1), .content = f->data.ptr, .size = f->data.len};
    }
}

static bool unknown_spec(struct str home, struct str name, struct err *err)
{
    scoped_arena scratch = {0};
    struct str_list all = {0};
    src_spec_list(&scratch, home, &all);
    err_set(err, ERR_INVALID, "invalid app spec %.*s", (int)MIN(name.len, 100), name.ptr);
    struct str near = str_nearest(name, all.items, all.len);
    if (!str_is_empty(near))
        err_append(err, ", did you mean " STR_FMT "?", STR_ARG(near));
    for (size_t i = 0; i < all.len; i++)
        err_append(err, "%s" STR_FMT, i == 0 ? " (specs: " : ", ", STR_ARG(all.items[i]));
    if (all.len > 0)
        err_append(err, ")");
    return false;
}

bool src_spec_is_of_user(struct arena *a, struct str home, struct str name)
{
    return !str_is_empty(home) && is_spec_name(name) && fs_is_dir(path_join(a, override_root(a, home), name));
}

bool src_spec_load(struct arena *a, struct str home, struct str name, struct src_files *out, struct err *err)
{
    struct spec_items items = {0};
    if (!is_spec_name(name))
        return unknown_spec(home, name, err);
    bool is_override = false;
    if (!str_is_empty(home)) {
        struct str dir = path_join(a, override_root(a, home), name);
        is_override = fs_is_dir(dir) && load_folder(a, dir, &items);
    }
    if (!is_override) {
        items.len = 0;
        load_bundled(a, name, &items);
        if (items.len == 0)
            return unknown_spec(home, name, err);
    }
    return src_files_make(a, items.items, items.len, out, err);
}

static void add_name(struct arena *a, struct str_list *names, struct str name)
{
    if (is_spec_name(name) && !str_list_has(names, name))
        str_list_add(a, names, name);
}

void src_spec_list(struct arena *a, struct str home, struct str_list *out)
{
    struct str_list names = {0};
    for (size_t i = 0; i < specs_gen_len; i++) {
        struct str name;
        if (str_cut(specs_gen[i].name, '/', &name, NULL))
            add_name(a, &names, name);
    }
    scoped_err ignored = {0};
    struct fs_items own = {0};
    if (!str_is_empty(home))
        fs_list(a, override_root(a, home), SPEC_FILES_MAX, &own, &ignored);
    vec_foreach(e, &own)
        if (e->info.kind == FS_DIR)
            add_name(a, &names, e->name);
    str_sort(names.items, names.len);
    *out = names;
}
