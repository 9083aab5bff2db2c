/* tests/deploy/deploy_test.h: operations over a real store and apps of pretence.
 *
 * Every function of app.h and of container/ that deploy/ calls is defined here, so that a test decides what
 * fails and sees what was started, undone and let go. An app's behaviour is in its app.star, line by line:
 *
 *     name NAME         its name                      asks PLUGIN     a load that needs approval
 *     bad               does not evaluate             unfit           evaluates in the audit, but does not
 * load container         has one                       sick            has one that never gets healthy secret
 * NAME       a param that must have a value
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef DEPLOY_TEST_H
#define DEPLOY_TEST_H

#include "deploy_int.h"

#include "../store/store_test.h"

#include <pthread.h>
#include <sys/wait.h>

/* --- apps of pretence --- */

struct app {
    atomic_int refs;
    struct arena arena;
    struct store_app entry;
    bool has_container, is_sick, did_start;
};

static struct {
    atomic_int alive, started, undone, detached, published;
    atomic_bool is_awake; /* a container of every app runs */
    atomic_bool fail_publish;
    pthread_mutex_t gate; /* held by a test: app_load() waits */
    atomic_int at_gate;
    struct str_list ended; /* ids given to ctr_manager_end_app() */
} world = {.gate = PTHREAD_MUTEX_INITIALIZER};

/* app.star of an entry: given, stored, or that of the spec. */
static bool pretend_read(const struct app_env *env, const struct store_app *entry,
                         const struct src_files *files, struct arena *a, struct str *out, struct err *err)
{
    struct str spec = store_map_get(&entry->metadata.spec_files, STR("app.star"));
    if (entry->is_dev || unit_is_on_disk(entry))
        return fs_read_all(a, path_join(a, entry->source_url, STR("app.star")), 1 << 20, out, err);
    if (files) {
        const struct src_file *f = src_files_find(files, STR("app.star"));
        if (f)
            return src_file_read(a, f, out, err);
    } else {
        scoped_err missing = {0};
        if (store_file_read(env->store, a, entry->id, entry->metadata.version_metadata.version,
                            STR("app.star"), out, &missing))
            return true;
    }
    *out = spec;
    return spec.len > 0 || err_set(err, ERR_INVALID, "app.star not found");
}

static bool has_line(struct str text, struct str word, struct str *rest)
{
    struct str line;
    while (str_next(&text, '\n', &line)) {
        struct str first, after = {0};
        str_cut(line, ' ', &first, &after);
        if (!str_eq(first, word))
            continue;
        if (rest)
            *rest = after;
        return true;
    }
    return false;
}

static bool pretend_eval(const struct store_app *entry, struct str text, struct err *err)
{
    struct str param;
    if (has_line(text, STR("bad"), NULL))
        return err_set(err, ERR_INVALID, "app.star:1:1: syntax error");
    if (has_line(text, STR("secret"), &param) &&
        str_is_empty(store_map_get(&entry->metadata.param_values, param)))
        return err_set(err, ERR_INVALID, "param " STR_FMT " is a required param, a value has to be provided",
                       STR_ARG(param));
    return true;
}

bool app_audit(const struct app_env *env, const struct store_app *entry, const struct src_files *files,
               struct arena *a, struct app_audit *out, struct err *err)
{
    struct str text, rest, line, word, plugin;
    if (!pretend_read(env, entry, files, a, &text, err) || !pretend_eval(entry, text, err))
        return false;
    *out = (struct app_audit){.name = has_line(text, STR("name"), &rest) ? rest : STR("unnamed")};
    rest = text;
    while (str_next(&rest, '\n', &line))
        if (str_cut(line, ' ', &word, &plugin) && str_eq(word, STR("asks")))
            str_list_add(a, &out->loads, plugin);
    out->needs_approval = out->loads.len != entry->metadata.loads.len;
    for (size_t i = 0; i < out->loads.len && !out->needs_approval; i++)
        out->needs_approval = !str_eq(out->loads.items[i], entry->metadata.loads.items[i]);
    return true;
}

bool app_load(const struct app_env *env, const struct store_app *entry, const struct src_files *files,
              struct app **out, struct err *err)
{
    struct str text;
    scoped_arena a = {0};
    atomic_fetch_add(&world.at_gate, 1);
    pthread_mutex_lock(&world.gate);
    pthread_mutex_unlock(&world.gate);
    if (!pretend_read(env, entry, files, &a, &text, err) || !pretend_eval(entry, text, err))
        return false;
    if (has_line(text, STR("unfit"), NULL))
        return err_set(err, ERR_INVALID, "app.star:2:1: no such route");
    struct app *app = xcalloc(1, sizeof *app);
    atomic_init(&app->refs, 1);
    store_app_copy(&app->arena, entry, &app->entry);
    app->entry.id = str_dup(&app->arena, entry->id);
    app->is_sick = has_line(text, STR("sick"), NULL);
    app->has_container = app->is_sick || has_line(text, STR("container"), NULL);
    atomic_fetch_add(&world.alive, 1);
    *out = app;
    return true;
}

struct app *app_ref(struct app *app)
{
    atomic_fetch_add(&app->refs, 1);
    return app;
}

void app_unref(struct app *app)
{
    if (!app || atomic_fetch_sub(&app->refs, 1) != 1)
        return;
    atomic_fetch_sub(&world.alive, 1);
    arena_release(&app->arena);
    free(app);
}

void app_detach_files(struct app *app)
{
    atomic_fetch_add(&world.detached, 1);
}

struct str app_jobs(const struct app *app)
{
    return STR("");
}

bool app_has_container(const struct app *app)
{
    return app->has_container;
}

bool app_start_container(struct app *app, const struct app_progress *progress, struct err *err)
{
    if (!app->has_container)
        return true;
    progress->line(progress->arg, STR("starting"));
    if (app->is_sick)
        return err_set(err, ERR_UPSTREAM, "container answered 500");
    app->did_start = true;
    atomic_fetch_add(&world.started, 1);
    return true;
}

void app_undo_start(struct app *app)
{
    if (app->did_start)
        atomic_fetch_add(&world.undone, 1);
}

struct str app_id(const struct app *app)
{
    return app->entry.id;
}

bool app_is_unknown_param(const struct app *app, struct str name)
{
    return false;
}

struct ctr_engine *ctr_manager_engine(struct ctr_manager *m)
{
    return NULL;
}

enum ctr_kind ctr_engine_kind(const struct ctr_engine *e)
{
    return CTR_DOCKER;
}

bool ctr_container_list(struct ctr_engine *e, struct arena *a, struct str key, struct str value, bool all,
                        struct ctr_info_list *out, struct err *err)
{
    *out = (struct ctr_info_list){0};
    if (world.is_awake)
        *vec_push(a, out) = (struct ctr_info){0};
    return true;
}

bool ctr_manager_end_app(struct ctr_manager *m, struct str app_id, struct str keep, bool remove,
                         int drain_secs, struct err *err)
{
    return true;
}

/* --- a place to work in --- */

struct place_of_work {
    struct store *store;
    struct deploy *deploy;
    struct app_env env;
    struct arena arena;
};

static bool pretend_check_auth(void *arg, struct str type, struct err *err)
{
    return str_eq(type, STR("default")) || str_eq(type, STR("none")) || str_eq(type, STR("system")) ||
           err_set(err, ERR_INVALID, "invalid authentication type " STR_FMT, STR_ARG(type));
}

static bool pretend_publish(void *arg, const struct deploy_published *what, struct err *err)
{
    if (world.fail_publish)
        return err_set(err, ERR_INTERNAL, "no site today");
    atomic_fetch_add(&world.published, 1);
    return true;
}

static inline void work_begin(struct place_of_work *w)
{
    scoped_err err = {0};
    *w = (struct place_of_work){.store = test_open("deploy")};
    w->env = (struct app_env){.home = str_from(test_dir),
                              .default_domain = STR("localhost"),
                              .http_port = 25222,
                              .https_port = 25223,
                              .store = w->store};
    struct deploy_config config = {.env = &w->env,
                                   .store = w->store,
                                   .auth_domain = STR("auth.localhost"),
                                   .stage_write_access = true,
                                   .preview_write_access = true,
                                   .default_retain_versions = 3,
                                   .check_auth = pretend_check_auth,
                                   .publish = pretend_publish};
    MUST(deploy_open(&config, &w->deploy, &err), &err);
}

static inline void work_end(struct place_of_work *w)
{
    deploy_close(w->deploy);
    store_close(w->store);
    arena_release(&w->arena);
    assert_int_equal(world.alive, 0);
}

static inline int work_setup(void **state)
{
    struct place_of_work *w = xcalloc(1, sizeof *w);
    if (test_dir_make(NULL) != 0)
        return -1;
    work_begin(w);
    world.started = world.undone = world.published = world.detached = 0;
    world.is_awake = world.fail_publish = false;
    *state = w;
    return 0;
}

static inline int work_teardown(void **state)
{
    work_end(*state);
    free(*state);
    return test_dir_remove(NULL);
}

/* Writes `text` to <test_dir>/src/<name>/<file>. */
static inline void source_write(const char *name, const char *file, const char *text)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct str path = str_printf(&a, "%s/src/%s/%s", test_dir, name, file);
    MUST(fs_mkdir_p(path_dir(path), 0700, &err), &err);
    MUST(fs_write_atomic(path, str_from(text), 0600, &err), &err);
}

/* Calls an operation. `json` may be NULL. The reply is a new reference, NULL with err set on failure. */
static inline json_t *call(struct place_of_work *w, deploy_op *op, const struct deploy_opts *o,
                           const char *json, struct err *err)
{
    scoped_json *body = json ? json_parse(str_from(json), err) : NULL;
    if (json && !body)
        return NULL;
    json_t *reply = NULL;
    struct deploy_caller who = {.user_id = STR("admin")};
    err_release(err);
    if (op(w->deploy, &who, o, body, &reply, err))
        return reply;
    assert_true(err_is_set(err));
    return NULL;
}

static inline void must_call(struct place_of_work *w, deploy_op *op, const struct deploy_opts *o,
                             const char *json)
{
    scoped_err err = {0};
    scoped_json *reply = call(w, op, o, json, &err);
    if (!reply)
        fail_msg("%s", err_msg(&err));
}

static inline void must_fail(struct place_of_work *w, deploy_op *op, const struct deploy_opts *o,
                             const char *json, int code, const char *message)
{
    scoped_err err = {0};
    scoped_json *reply = call(w, op, o, json, &err);
    if (reply || (int)err.code != code || !strstr(err_msg(&err), message))
        fail_msg("wanted %d \"%s\", got %d \"%s\"", code, message, reply ? 200 : (int)err.code,
                 err_msg(&err));
}

#define OPTS(...) (&(struct deploy_opts){__VA_ARGS__})

/* Creates an app from a source written with source_write(). `extra` is more JSON members. */
static inline void create(struct place_of_work *w, const char *path, const char *source, const char *extra)
{
    scoped_arena a = {0};
    must_call(w, deploy_create, OPTS(.approve = true),
              str_z(&a, str_printf(&a, "{\"path\": \"%s\", \"source_url\": \"%s/src/%s\"%s}", path, test_dir,
                                   source, extra)));
}

/* The metadata as text that says all that matters and nothing random: one line for each entry and version. */
static inline struct str picture(struct place_of_work *w, struct arena *a)
{
    static const char *const kinds[] = {"prod", "stage", "preview", "dev"};
    scoped_err err = {0};
    struct store_app_list apps = {0};
    struct str out = STR("");
    scoped_store_tx *tx = store_read(w->store, &err);
    MUST(tx && store_app_list(tx, a, STORE_APPS_ALL, &apps, &err), &err);
    for (size_t i = apps.len; i-- > 0;) {
        const struct store_app *app = &apps.items[i];
        const struct store_metadata *m = &app->metadata;
        struct store_version_list versions = {0};
        out = str_printf(
            a, STR_FMT "%s " STR_FMT " v%lld was %lld", STR_ARG(out), kinds[store_app_kind(app->id)],
            STR_ARG(store_path_domain(a, app->path, app->domain)), (long long)m->version_metadata.version,
            (long long)m->version_metadata.previous_version);
        map_foreach(e, &m->param_values) out = str_printf(a, STR_FMT " " STR_FMT "=" STR_FMT, STR_ARG(out),
                                                          STR_ARG(e->key), STR_ARG(*(struct str *)e->value));
        out = str_cat(a, out, STR(":"));
        MUST(store_version_list(tx, a, app->id, &versions, &err), &err);
        vec_foreach(v, &versions)
        {
            struct store_file_list files = {0};
            MUST(store_file_list(tx, a, app->id, v->version, &files, &err), &err);
            out = str_printf(a, STR_FMT " %lld(", STR_ARG(out), (long long)v->version);
            vec_foreach(f, &files) out =
                str_printf(a, STR_FMT "%s" STR_FMT "#%.4s", STR_ARG(out), f == files.items ? "" : " ",
                           STR_ARG(f->name), f->sha.ptr);
            out = str_cat(a, out, STR(")"));
        }
        out = str_cat(a, out, STR("\n"));
    }
    return out;
}

/* Nothing lost and nothing left over. */
static inline void assert_whole(struct place_of_work *w)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct str_list problems = {0};
    MUST(deploy_check(w->store, &a, &problems, &err), &err);
    vec_foreach(p, &problems) print_error("%.*s\n", STR_ARG(*p));
    if (problems.len > 0)
        fail_msg("%zu problems", problems.len);
}

/* Version of the prod (or dev) app at `path`, and of its stage. */
static inline void assert_versions(struct place_of_work *w, const char *path, int64_t prod, int64_t stage)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct store_app app;
    scoped_store_tx *tx = store_read(w->store, &err);
    MUST(tx && store_app_get(tx, &a, str_from(path), STR(""), &app, &err), &err);
    int64_t got_prod = app.metadata.version_metadata.version, got_stage = 0;
    if (!app.is_dev) {
        MUST(store_app_get_by_id(tx, &a, store_app_id_of(&a, app.id, STORE_STAGE), &app, &err), &err);
        got_stage = app.metadata.version_metadata.version;
    }
    if (got_prod != prod || got_stage != stage)
        fail_msg("%s: wanted prod %lld and stage %lld, got %lld and %lld", path, (long long)prod,
                 (long long)stage, (long long)got_prod, (long long)got_stage);
}

static inline struct str reply_text(struct arena *a, json_t *reply)
{
    struct str text = json_text(a, reply, JSON_STYLE_COMPACT);
    json_decref(reply);
    return text;
}

#endif
