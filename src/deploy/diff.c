/* deploy/diff.c: what a promote would change: an app's staging against its production.
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_int.h"

enum {
    FILE_MAX = 1 << 20,  /* bytes of a file that is compared line by line */
    DIFF_MAX = 1 << 20,  /* bytes of one file's diff */
    TOTAL_MAX = 8 << 20, /* of all of them */
};

struct diff {
    struct op *op;
    json_t *files;
    size_t total;
    struct err *err;
    bool has_failed;
};

/* The text of one side, empty if it lacks the file. False: it has no lines to compare. */
static bool read_side(struct diff *d, const struct src_file *f, struct str *out)
{
    *out = STR("");
    if (!f)
        return true;
    if (f->size > FILE_MAX)
        return false;
    if (!src_file_read(&d->op->arena, f, out, d->err)) {
        d->has_failed = true;
        return false;
    }
    return str_is_utf8(*out) && memchr(out->ptr ? out->ptr : "", '\0', out->len) == NULL;
}

static void add_head(struct buf *b, const char *mark, const char *side, const struct src_file *f)
{
    if (f)
        buf_printf(b, "%s %s/" STR_FMT "\n", mark, side, STR_ARG(f->name));
    else
        buf_printf(b, "%s /dev/null\n", mark);
}

/* The unified diff of one file. */
static void write_diff(struct diff *d, struct buf *b, const struct src_file *old, const struct src_file *now)
{
    struct str was, is;
    scoped_arena scratch = {0};
    const struct src_file *any = old ? old : now;
    bool has_text = read_side(d, old, &was) && read_side(d, now, &is);
    if (has_text && d->total < TOTAL_MAX) {
        add_head(b, "---", "production", old);
        add_head(b, "+++", "staging", now);
        if (textdiff(&scratch, was, is, b))
            return;
    }
    buf_clear(b);
    buf_printf(b, "%s " STR_FMT " differ\n", has_text ? "Long files" : "Binary files", STR_ARG(any->name));
}

static void diff_file(void *arg, const struct src_file *old, const struct src_file *now)
{
    struct diff *d = arg;
    if (d->has_failed || (old && now && str_eq(old->sha, now->sha)))
        return;
    scoped_buf b = BUF_INIT(DIFF_MAX);
    write_diff(d, &b, old, now);
    d->total += b.len;
    json_t *j = json_object();
    json_set_str(j, "name", old ? old->name : now->name);
    json_set_z(j, "change", !old ? "added" : !now ? "removed" : "changed");
    json_set_int(j, "old_size", old ? (int64_t)old->size : 0);
    json_set_int(j, "new_size", now ? (int64_t)now->size : 0);
    json_set_str(j, "diff", buf_str(&b));
    json_array_append_new(d->files, j);
}

static bool find_unit(struct op *op, struct unit **out, struct err *err)
{
    struct store_app *app = arena_new(&op->arena, struct store_app), *main = app;
    if (!op_find(op, op->opts->app, app, err))
        return false;
    if (app->is_dev)
        return err_set(err, ERR_INVALID, "a dev app has no staging: what is in its folder is served");
    if (store_app_kind(app->id) == STORE_PREVIEW)
        return err_set(err, ERR_INVALID, "a preview app has no staging: name its main app");
    scoped_store_tx *tx = store_read(op->deploy->config.store, err);
    if (!tx)
        return false;
    if (!str_is_empty(app->main_app)) {
        main = arena_new(&op->arena, struct store_app);
        if (!store_app_get_by_id(tx, &op->arena, app->main_app, main, err))
            return false;
    }
    return unit_read(op, tx, main, out, err);
}

static bool read_files(struct op *op, const struct store_app *app, struct src_files **out, struct err *err)
{
    *out = NULL;
    return unit_is_on_disk(app) ||
           unit_stored_files(op, app->id, app->metadata.version_metadata.version, out, err);
}

bool deploy_diff(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o, json_t *body,
                 json_t **reply, struct err *err)
{
    scoped_op op;
    op_open(&op, d, who, o, "read");
    struct unit *u;
    struct src_files *old, *now;
    if (!find_unit(&op, &u, err) || !read_files(&op, u->main.app, &old, err) ||
        !read_files(&op, u->stage.app, &now, err))
        return false;
    scoped_json *fields = changes_metadata(&op.arena, &u->main.app->metadata, &u->stage.app->metadata);
    scoped_json *files = json_array();
    struct diff diff = {.op = &op, .files = files, .err = err};
    changes_each_file(old, now, diff_file, &diff);
    if (diff.has_failed)
        return false;
    json_t *j = json_object();
    json_object_set_new(j, "app_path_domain", wire_path(u->main.app));
    json_object_set_new(j, "stage_path_domain", wire_path(u->stage.app));
    json_set_int(j, "version", u->main.app->metadata.version_metadata.version);
    json_set_int(j, "stage_version", u->stage.app->metadata.version_metadata.version);
    json_set_bool(j, "is_different", json_array_size(fields) + json_array_size(files) > 0);
    json_object_set(j, "fields", fields);
    json_object_set(j, "files", files);
    *reply = j;
    return true;
}
