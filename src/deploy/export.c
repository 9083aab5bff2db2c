/* deploy/export.c: apps as a declarative file: what `apply` makes the same apps of on an empty server.
 *
 * Each app is written on one line, and the formatter gives it its layout; so the file is as `openrun fmt` has
 * it. Production is what is exported. What a file cannot say is told in comments at its head.
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_int.h"
#include "starlark.h"

#include <stdlib.h>

enum {
    TEXT_LIMIT = 15 << 20, /* the formatter takes no more */
    DEPTH_LIMIT = 50,
};

struct export
{
    struct op *op;
    struct buf text;
    struct map by_id; /* all entries: id -> struct store_app * */
    bool is_exact_auth, is_exact_commit;
    bool uses_default_auth;
    struct str_list git_auths, auths, folders, warnings;
};

/* --- text --- */

static void add_quoted(struct buf *b, struct str s)
{
    buf_add_char(b, '"'); /* a JSON string is a Starlark string */
    buf_add_json(b, s);
    buf_add_char(b, '"');
}

static void add_name(struct export *x, const char *name)
{
    buf_printf(&x->text, ", %s=", name);
}

/* Nothing for an empty value, which is what leaving it out means. */
static void add_text(struct export *x, const char *name, struct str value)
{
    if (str_is_empty(value))
        return;
    add_name(x, name);
    add_quoted(&x->text, value);
}

static void add_flag(struct export *x, const char *name, bool value)
{
    if (value)
        buf_printf(&x->text, ", %s=True", name);
}

static void add_list(struct export *x, const char *name, const struct str_list *list)
{
    if (list->len == 0)
        return;
    add_name(x, name);
    for (size_t i = 0; i < list->len; i++) {
        buf_add_z(&x->text, i == 0 ? "[" : ", ");
        add_quoted(&x->text, list->items[i]);
    }
    buf_add_char(&x->text, ']');
}

static void PRINTF_LIKE(3, 4) warn(struct export *x, const struct store_app *app, const char *fmt, ...)
{
    struct arena *a = &x->op->arena;
    va_list ap;
    va_start(ap, fmt);
    struct str what = str_vprintf(a, fmt, ap);
    va_end(ap);
    str_list_add(a, &x->warnings,
                 str_printf(a, "app " STR_FMT ": " STR_FMT,
                            STR_ARG(store_path_domain(a, app->path, app->domain)), STR_ARG(what)));
}

/* A name from outside as it may stand in a comment. */
static struct str shown(struct export *x, struct str name)
{
    scoped_buf b = BUF_INIT(64 << 10);
    add_quoted(&b, name);
    return str_dup(&x->op->arena, buf_str(&b));
}

/* --- maps --- */

struct member {
    struct str key, value;
};

static int by_key(const void *x, const void *y)
{
    return str_cmp(((const struct member *)x)->key, ((const struct member *)y)->key);
}

static struct member *sorted(struct arena *a, const struct map *m, size_t *n)
{
    struct member *all = arena_array(a, struct member, map_len(m));
    *n = 0;
    map_foreach(e, m) all[(*n)++] = (struct member){e->key, *(const struct str *)e->value};
    qsort(all, *n, sizeof *all, by_key);
    return all;
}

static void warn_secret(struct export *x, const struct store_app *app, const char *what, struct str key,
                        struct str value)
{
    if (declare_is_secret(key) && !str_is_empty(value) && str_find(value, STR("{{")) == STR_NPOS)
        warn(x, app, "%s[" STR_FMT "] looks like a secret, and is here in clear text", what,
             STR_ARG(shown(x, key)));
}

static void add_map(struct export *x, const struct store_app *app, const char *name, const struct map *m)
{
    size_t n;
    struct member *all = sorted(&x->op->arena, m, &n);
    if (n == 0)
        return;
    add_name(x, name);
    for (size_t i = 0; i < n; i++) {
        warn_secret(x, app, name, all[i].key, all[i].value);
        buf_add_z(&x->text, i == 0 ? "{" : ", ");
        add_quoted(&x->text, all[i].key);
        buf_add_z(&x->text, ": ");
        add_quoted(&x->text, all[i].value);
    }
    buf_add_char(&x->text, '}');
}

static bool add_toml(struct buf *b, const struct toml_value *v, int depth);

static bool add_toml_items(struct buf *b, const struct toml_value *v, int depth)
{
    bool ok = true, is_first = true;
    bool is_table = v->kind == TOML_TABLE;
    buf_add_char(b, is_table ? '{' : '[');
    if (is_table) {
        map_foreach(e, &v->table)
        {
            buf_add_z(b, is_first ? "" : ", ");
            is_first = false;
            add_quoted(b, e->key);
            buf_add_z(b, ": ");
            ok = add_toml(b, e->value, depth + 1) && ok;
        }
    }
    for (size_t i = 0; !is_table && i < v->array.len; i++) {
        buf_add_z(b, i == 0 ? "" : ", ");
        /* A table in a list has no other form in an apply file. */
        ok = add_toml(b, v->array.items[i], depth + 1) && v->array.items[i]->kind != TOML_TABLE && ok;
    }
    buf_add_char(b, is_table ? '}' : ']');
    return ok;
}

/* A TOML value as Starlark. False if it does not come back as it was: times, which are written as text. */
static bool add_toml(struct buf *b, const struct toml_value *v, int depth)
{
    switch (v->kind) {
    case TOML_STRING: add_quoted(b, v->s); return true;
    case TOML_INT: buf_printf(b, "%lld", (long long)v->i); return true;
    case TOML_BOOL: buf_add_z(b, v->b ? "True" : "False"); return true;
    case TOML_FLOAT: {
        scoped_arena a = {0};
        if (v->f - v->f != 0) {
            buf_printf(b, "float(\"%s\")", v->f > 0 ? "inf" : v->f < 0 ? "-inf" : "nan");
            return v->f == v->f;
        }
        return star_repr(b, star_float(&a, v->f));
    }
    case TOML_ARRAY:
    case TOML_TABLE:
        if (depth < DEPTH_LIMIT)
            return add_toml_items(b, v, depth);
        buf_add_z(b, "None");
        return false;
    default: add_quoted(b, v->s); return false;
    }
}

static void add_appconfig(struct export *x, const struct store_app *app)
{
    size_t n;
    struct arena *a = &x->op->arena;
    struct member *all = sorted(a, &app->metadata.appconfig, &n);
    if (n == 0)
        return;
    add_name(x, "app_config");
    for (size_t i = 0; i < n; i++) {
        struct toml_value v;
        scoped_err err = {0};
        buf_add_z(&x->text, i == 0 ? "{" : ", ");
        add_quoted(&x->text, all[i].key);
        buf_add_z(&x->text, ": ");
        if (!toml_parse_value(a, all[i].value, &v, &err)) { /* of a database made elsewhere */
            add_quoted(&x->text, all[i].value);
            warn(x, app, "app_config[" STR_FMT "] is not TOML and is exported as text",
                 STR_ARG(shown(x, all[i].key)));
        } else {
            if (v.kind == TOML_STRING)
                warn_secret(x, app, "app_config", all[i].key, v.s);
            if (!add_toml(&x->text, &v, 0))
                warn(x, app, "app_config[" STR_FMT "] has no exact form in a declarative file",
                     STR_ARG(shown(x, all[i].key)));
        }
    }
    buf_add_char(&x->text, '}');
}

/* --- apps --- */

/* What `stage_at` must say to have the stage where it is; empty if the server's setting does. */
static struct str stage_at_of(struct export *x, const struct store_app *app, const struct store_app *stage)
{
    const struct deploy_config *c = &x->op->deploy->config;
    struct src_apppath main = {.domain = app->domain, .path = app->path},
                       at = {.domain = stage->domain, .path = stage->path};
    const struct str tries[] = {c->stage_at, STR("domain"), STR("path"), stage->domain};
    for (size_t i = 0; i < ARRAY_LEN(tries); i++) {
        struct src_apppath made;
        scoped_err ignored = {0};
        if (src_apppath_stage(&x->op->arena, &main, tries[i], c->default_stage_domain, c->env->default_domain,
                              &made, &ignored) &&
            src_apppath_eq(&made, &at))
            return i == 0 ? (struct str){0} : tries[i];
    }
    warn(x, app, "its staging location " STR_FMT " cannot be declared",
         STR_ARG(store_path_domain(&x->op->arena, stage->path, stage->domain)));
    return (struct str){0};
}

static void add_once(struct export *x, struct str_list *list, struct str name)
{
    if (!str_list_has(list, name))
        str_list_add(&x->op->arena, list, name);
}

/* Branch and commit: what the app follows, not what it happens to be at, unless that is asked for. */
static void add_git(struct export *x, const struct store_app *app, struct str source)
{
    const struct store_metadata *m = &app->metadata;
    const struct store_version_metadata *vm = &m->version_metadata;
    if (!src_is_git(source))
        return;
    if (x->is_exact_auth)
        add_text(x, "git_auth", m->git_auth_name);
    if (!str_is_empty(m->git_auth_name) && x->is_exact_auth)
        add_once(x, &x->git_auths, m->git_auth_name);
    else
        x->uses_default_auth |=
            !str_is_empty(m->git_auth_name) || !str_is_empty(x->op->deploy->config.default_git_auth);
    if ((x->is_exact_commit || str_is_empty(vm->git_branch)) && !str_is_empty(vm->git_commit))
        add_text(x, "git_commit", vm->git_commit);
    else if (!str_eq(vm->git_branch, STR("main")))
        add_text(x, "git_branch", vm->git_branch);
}

static bool wants_verify(struct export *x, const struct store_app *app)
{
    struct request r;
    scoped_err ignored = {0};
    struct str info = app->metadata.version_metadata.apply_info;
    scoped_json *j = str_is_empty(info) ? NULL : json_parse(info, &ignored);
    return j && request_read(&x->op->arena, j, &r, &ignored) && r.verify;
}

/* What the arguments of app() have no room for. */
static void warn_left_out(struct export *x, const struct store_app *app, const struct store_app *stage)
{
    const struct deploy_config *c = &x->op->deploy->config;
    const struct store_settings *s = &app->settings;
    if (stage && stage->metadata.version_metadata.version != app->metadata.version_metadata.version)
        warn(x, app, "has staged changes that are not in here: production is exported");
    for (size_t i = 0; i < app->metadata.accounts.len; i++)
        warn(x, app, "link its account again: openrun account link " STR_FMT " " STR_FMT,
             STR_ARG(shown(x, app->metadata.accounts.items[i].plugin)),
             STR_ARG(shown(x, app->metadata.accounts.items[i].account_name)));
    if (!app->is_dev && s->stage_write_access != c->stage_write_access)
        warn(x, app, "set it again: openrun app settings stage-write-access %s",
             s->stage_write_access ? "true" : "false");
    if (!app->is_dev && s->preview_write_access != c->preview_write_access)
        warn(x, app, "set it again: openrun app settings preview-write-access %s",
             s->preview_write_access ? "true" : "false");
    if (!str_is_empty(s->webhook_tokens.reload) || !str_is_empty(s->webhook_tokens.reload_promote) ||
        !str_is_empty(s->webhook_tokens.promote))
        warn(x, app, "make its webhooks again: their tokens are not exported");
}

static void note_needs(struct export *x, const struct store_app *app, struct str source)
{
    static const char *const builtin[] = {"", "default", "none", "system", "builtin"};
    struct str auth = app->metadata.authn_type;
    bool is_builtin = false;
    for (size_t i = 0; i < ARRAY_LEN(builtin); i++)
        is_builtin = is_builtin || str_eq_z(auth, builtin[i]);
    if (!is_builtin)
        add_once(x, &x->auths, auth);
    if (!src_is_git(source) && !str_eq(source, STR("-")))
        add_once(x, &x->folders, source);
}

/* In the order of app()'s parameters. */
static void add_app(struct export *x, const struct store_app *app)
{
    const struct store_metadata *m = &app->metadata;
    const struct store_app *stage =
        app->is_dev ? NULL : map_get(&x->by_id, store_app_id_of(&x->op->arena, app->id, STORE_STAGE));
    struct str source = src_shown(
        &x->op->arena, str_is_empty(app->settings.orig_source_url) ? app->source_url : app->settings.orig_source_url);
    buf_add_z(&x->text, "app(path=");
    add_quoted(&x->text, store_path_domain(&x->op->arena, app->path, app->domain));
    add_text(x, "source", source);
    add_flag(x, "dev", app->is_dev);
    add_text(x, "auth", str_eq(m->authn_type, STR("default")) ? (struct str){0} : m->authn_type);
    add_git(x, app, source);
    add_map(x, app, "params", &m->param_values);
    add_text(x, "spec", m->spec);
    add_text(x, "stage_at", stage ? stage_at_of(x, app, stage) : (struct str){0});
    add_appconfig(x, app);
    add_map(x, app, "container_opts", &m->container_options);
    add_map(x, app, "container_args", &m->container_args);
    add_list(x, "container_vols", &m->container_volumes);
    add_list(x, "bindings", &m->bindings);
    add_flag(x, "verify", wants_verify(x, app));
    buf_add_z(&x->text, ")\n\n");
    note_needs(x, app, source);
    warn_left_out(x, app, stage);
}

/* --- the head --- */

static void add_needs(struct buf *b, const char *what, struct str_list *names)
{
    if (names->len == 0)
        return;
    str_sort(names->items, names->len);
    buf_printf(b, "# %s: ", what);
    for (size_t i = 0; i < names->len; i++) {
        buf_add_z(b, i > 0 ? ", " : "");
        buf_add_json(b, names->items[i]);
    }
    buf_add_char(b, '\n');
}

static void add_head(struct export *x, struct buf *b)
{
    struct str default_auth = x->op->deploy->config.default_git_auth;
    buf_add_z(b, "# Declarative app config generated by 'openrun export'.\n"
                 "# Apply on an openrun instance with: openrun apply --approve <file>\n");
    add_needs(b, "Requires git_auth config entries", &x->git_auths);
    if (x->uses_default_auth) {
        buf_add_z(b, "# Sources that need credentials use security.default_git_auth");
        if (!str_is_empty(default_auth)) {
            buf_add_z(b, ", here ");
            buf_add_json(b, default_auth);
        }
        buf_add_char(b, '\n');
    }
    add_needs(b, "Requires auth config entries", &x->auths);
    add_needs(b, "Local sources, which must be there where this is applied", &x->folders);
    vec_foreach(w, &x->warnings) buf_printf(b, "# WARNING: " STR_FMT "\n", STR_ARG(*w));
    buf_add_char(b, '\n');
}

/* --- the operation --- */

static int by_place(const void *x, const void *y)
{
    const struct store_app *a = *(const struct store_app *const *)x, *b = *(const struct store_app *const *)y;
    int domain = str_cmp(a->domain, b->domain);
    return domain != 0 ? domain : str_cmp(a->path, b->path);
}

static bool read_ref(const char *name, struct str value, bool *is_exact, struct err *err)
{
    *is_exact = str_eq(value, STR("exact"));
    return *is_exact || str_is_empty(value) || str_eq(value, STR("default")) ||
           err_set(err, ERR_INVALID, "invalid %s \"" STR_FMT "\": expected default or exact", name,
                   STR_ARG(value));
}

static bool write_apps(struct export *x, struct str glob_text, struct err *err)
{
    struct op *op = x->op;
    struct src_appglob glob;
    struct store_app_list all = {0};
    VEC(const struct store_app *) apps = {0};
    scoped_store_tx *tx = store_read(op->deploy->config.store, err);
    if (!tx || !src_appglob_compile(&op->arena, op_expand(op, glob_text), &glob, err) ||
        !store_app_list(tx, &op->arena, STORE_APPS_ALL, &all, err))
        return false;
    store_rollback(&tx);
    map_init(&x->by_id, &op->arena);
    vec_foreach(app, &all)
    {
        struct src_apppath at = {.domain = app->domain, .path = app->path};
        bool is_declared = !str_is_empty(app->metadata.version_metadata.apply_info);
        map_set(&x->by_id, app->id, app);
        if (str_is_empty(app->main_app) && src_appglob_match(&glob, &at) &&
            !(op->opts->exclude_declarative && is_declared))
            *vec_push(&op->arena, &apps) = app;
    }
    if (apps.len > 0)
        qsort(apps.items, apps.len, sizeof *apps.items, by_place);
    vec_foreach(app, &apps) add_app(x, *app);
    return true;
}

bool deploy_export(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o,
                   json_t *body, json_t **reply, struct err *err)
{
    scoped_op op;
    op_open(&op, d, who, o, "read");
    struct export x = {.op = &op, .text = BUF_INIT(TEXT_LIMIT), .is_exact_commit = o->exact_commit};
    scoped_buf file = BUF_INIT(TEXT_LIMIT);
    struct str text;
    bool ignored;
    bool ok = read_ref("serviceRef", o->service_ref, &ignored, err) &&
              read_ref("gitAuthRef", o->git_auth_ref, &x.is_exact_auth, err) && write_apps(&x, o->app, err);
    if (ok) {
        add_head(&x, &file);
        buf_add_str(&file, buf_str(&x.text));
        ok = !(file.is_full || x.text.is_full) ||
             err_set(err, ERR_TOO_LARGE, "the apps do not fit in one file of %d MiB: export a part of them",
                     TEXT_LIMIT >> 20);
    }
    ok = ok && star_fmt(&op.arena, STR("export"), buf_str(&file), &text, err);
    buf_release(&x.text);
    if (!ok)
        return false;
    *reply = json_object();
    json_set_str(*reply, "config", text);
    return true;
}
