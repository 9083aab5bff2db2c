/* server/api_container.c: the management API of containers: those of this home and no others.
 *
 * A container is named by its name, or by the beginning of its id. Start and stop go through its service when one
 * is loaded, so that the next request finds things as they are.
 * SPDX-License-Identifier: Apache-2.0 */
#include "json.h"
#include "server_int.h"
#include "source.h"
#include "timefmt.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

enum { TAIL_DEFAULT = 100, TAIL_MAX = 100000, ID_MIN = 4, STATS_MAX = 200, STATS_WINDOW_MS = 500, DRAIN_SECS = 10 };

/* One call. */
struct ask {
    struct server *server;
    struct arena *a;
    const struct http_pairs *query;
    struct ctr_engine *engine;
};

static struct ask ask_of(struct server *s, struct arena *a, const struct http_pairs *query)
{
    return (struct ask){s, a, query, ctr_manager_engine(s->containers)};
}

static struct str param(const struct ask *ask, const char *name)
{
    struct str value = {0};
    http_pairs_get(ask->query, str_from(name), &value);
    return value;
}

/* --- finding them --------------------------------------------------------------------------------- */

/* All containers of this home, running or not. */
static bool ours(const struct ask *ask, struct ctr_info_list *out, struct err *err)
{
    struct ctr_info_list all, list = {0};
    struct str home = ask->server->home->dir;
    if (!ctr_container_list(ask->engine, ask->a, STR(CTR_LABEL_HOME), home, true, &all, err))
        return false;
    for (size_t i = 0; i < all.len; i++)
        if (str_eq(ctr_kv_text(&all.items[i].labels, CTR_LABEL_HOME), home) && ctr_kv_text(&all.items[i].labels, CTR_LABEL_APP_ID).len > 0)
            *vec_push(ask->a, &list) = all.items[i];
    *out = list;
    return true;
}

static bool find_named(const struct ask *ask, const struct ctr_info_list *list, struct str id, struct ctr_info *out, struct err *err)
{
    const struct ctr_info *found = NULL;
    for (size_t i = 0; i < list->len; i++) {
        const struct ctr_info *info = &list->items[i];
        if (str_eq(info->name, id)) {
            *out = *info;
            return true;
        }
        if (id.len < ID_MIN || !str_starts(info->id, id))
            continue;
        if (found)
            return err_set(err, ERR_INVALID, "more than one container has an id that begins with " STR_FMT, STR_ARG(id));
        found = info;
    }
    if (!found)
        return err_set(err, ERR_NOT_FOUND, "container " STR_FMT " is not managed by OpenRun: see openrun container list",
                       STR_ARG(str_slice(id, 0, 200)));
    *out = *found;
    return true;
}

/* False: says why an app has no container, as far as is known. */
static bool fail_without(const struct ask *ask, struct str path, struct str app_id, struct err *err)
{
    struct ctr_build_output build = {0};
    scoped_err ignored = {0};
    if (ctr_build_log_read(ask->server->containers, ask->a, app_id, (struct str){0}, &build, &ignored) && build.exists)
        return err_set(err, ERR_NOT_FOUND,
                       build.is_running ? "app " STR_FMT " has no container yet: its image is being built (openrun app logs --build " STR_FMT " -f)"
                                        : "app " STR_FMT " has no container: it has not been asked for since its image was built, or the build "
                                          "has failed (openrun app logs --build " STR_FMT ")",
                       STR_ARG(path), STR_ARG(path));
    return err_set(err, ERR_NOT_FOUND, "app " STR_FMT " has no container: it has not been asked for yet, or needs none", STR_ARG(path));
}

/* The one that serves an app: running before others, then the newest. */
static bool find_of_app(const struct ask *ask, const struct ctr_info_list *list, struct str path, struct ctr_info *out, struct err *err)
{
    struct src_apppath at;
    struct store_app app;
    const struct ctr_info *best = NULL;
    if (!src_apppath_parse(path, &at, err))
        return false;
    scoped_store_tx *tx = store_read(ask->server->store, err);
    if (!tx || !store_app_get(tx, ask->a, at.path, at.domain, &app, err))
        return false;
    for (size_t i = 0; i < list->len; i++) {
        const struct ctr_info *info = &list->items[i];
        if (!str_eq(ctr_kv_text(&info->labels, CTR_LABEL_APP_ID), app.id))
            continue;
        bool is_up = info->status == CTR_STATUS_RUNNING, best_is_up = best && best->status == CTR_STATUS_RUNNING;
        if (!best || is_up > best_is_up || (is_up == best_is_up && str_cmp(info->created_at, best->created_at) > 0))
            best = info;
    }
    if (!best)
        return fail_without(ask, path, app.id, err);
    *out = *best;
    return true;
}

static bool find(const struct ask *ask, struct ctr_info *out, struct err *err)
{
    struct ctr_info_list list;
    struct str id = param(ask, "id"), path = param(ask, "appPath");
    if (str_is_empty(id) && str_is_empty(path))
        return err_set(err, ERR_INVALID, "id is required");
    if (!ours(ask, &list, err))
        return false;
    return str_is_empty(id) ? find_of_app(ask, &list, path, out, err) : find_named(ask, &list, id, out, err);
}

/* --- what is said of them --------------------------------------------------------------------------- */

const char *api_env_of(struct str app_id)
{
    switch (store_app_kind(app_id)) {
    case STORE_DEV: return "dev";
    case STORE_STAGE: return "stage";
    case STORE_PREVIEW: return "preview";
    default: return "prod";
    }
}

struct str api_app_path(struct store_tx *tx, struct arena *a, const struct ctr_kv_list *labels)
{
    struct str id = ctr_kv_text(labels, CTR_LABEL_APP_ID);
    struct store_app app;
    scoped_err ignored = {0};
    if (str_starts(id, STR("app_stg_")))
        id = str_cat(a, STR("app_prd_"), str_from_off(id, strlen("app_stg_")));
    if (!tx || !store_app_get_by_id(tx, a, id, &app, &ignored))
        return ctr_kv_text(labels, CTR_LABEL_APP_PATH);
    return str_is_empty(app.domain) ? app.path : str_printf(a, STR_FMT ":" STR_FMT, STR_ARG(app.domain), STR_ARG(app.path));
}

static json_t *summary(const struct ask *ask, struct store_tx *tx, const struct ctr_info *info)
{
    struct str status = str_from(ctr_status_name(info->status));
    struct ctr_service *service = ctr_manager_find(ask->server->containers, info->name);
    if (service) {
        struct ctr_service_status s;
        ctr_service_status(service, ask->a, &s);
        status = s.phase;
        ctr_service_unref(service);
    }
    json_t *o = json_object();
    json_set_str(o, "id", info->id);
    json_set_str(o, "name", info->name);
    json_set_str(o, "app_id", ctr_kv_text(&info->labels, CTR_LABEL_APP_ID));
    json_set_str(o, "app_path", api_app_path(tx, ask->a, &info->labels));
    json_set_str(o, "image", info->image);
    json_set_z(o, "state", ctr_status_name(info->status));
    json_set_str(o, "status", status);
    json_set_str(o, "ports", info->ports);
    json_set_z(o, "env", api_env_of(ctr_kv_text(&info->labels, CTR_LABEL_APP_ID)));
    json_set_str(o, "runtime", ctr_engine_command(ask->engine));
    json_set_str(o, "created_at", info->created_at);
    return o;
}

static json_t *stats_json(const struct ctr_stats *s)
{
    json_t *o = json_object();
    json_object_set_new(o, "cpu_percent", json_real(round(s->cpu_percent * 100) / 100));
    json_set_int(o, "mem_usage", s->mem_bytes);
    json_set_int(o, "mem_limit", s->mem_limit);
    json_object_set_new(o, "mem_percent",
                        json_real(s->mem_limit > 0 ? round((double)s->mem_bytes / (double)s->mem_limit * 10000) / 100 : 0));
    json_set_int(o, "net_in", s->net_in);
    json_set_int(o, "net_out", s->net_out);
    json_set_int(o, "block_read", s->block_read);
    json_set_int(o, "block_write", s->block_write);
    json_set_int(o, "pids", s->pids);
    return o;
}

static int by_path(const void *x, const void *y)
{
    json_t *const *a = x, *const *b = y;
    int order = str_cmp(json_get_str(*a, "app_path", (struct str){0}), json_get_str(*b, "app_path", (struct str){0}));
    return order ? order : str_cmp(json_get_str(*a, "name", (struct str){0}), json_get_str(*b, "name", (struct str){0}));
}

/* Takes over the references in rows[n]. */
static json_t *sorted_array(json_t **rows, size_t n)
{
    json_t *out = json_array();
    if (n > 0)
        qsort(rows, n, sizeof *rows, by_path);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(out, rows[i]);
    return out;
}

/* --- calls -------------------------------------------------------------------------------------------- */

bool api_container_list(struct server *s, struct arena *a, const struct http_pairs *query, json_t **reply, struct err *err)
{
    struct ask ask = ask_of(s, a, query);
    struct ctr_info_list list;
    if (!ours(&ask, &list, err))
        return false;
    scoped_store_tx *tx = store_read(s->store, err);
    if (!tx)
        return false;
    json_t **rows = arena_array(a, json_t *, list.len + 1);
    for (size_t i = 0; i < list.len; i++)
        rows[i] = summary(&ask, tx, &list.items[i]);
    *reply = json_pack("{s:o}", "containers", sorted_array(rows, list.len));
    return true;
}

/* "ip:port -> p/tcp", "p/tcp (not published)". */
static json_t *port_bindings(const struct ctr_info *info)
{
    json_t *list = json_array();
    struct str rest = info->ports, one;
    while (rest.len > 0 && str_next(&rest, ',', &one)) {
        scoped_arena a = {0};
        one = str_trim(one);
        bool is_published = str_find(one, STR(" -> ")) != STR_NPOS;
        json_array_append_new(list, json_from_str(is_published ? one : str_cat(&a, one, STR(" (not published)"))));
    }
    return list;
}

static void add_detail(json_t *o, const struct ctr_info *info)
{
    json_t *mounts = json_array();
    json_object_set_new(o, "port_bindings", port_bindings(info));
    json_set_str(o, "command", info->command);
    json_set_str(o, "started_at", info->started_at);
    json_set_str(o, "finished_at", info->finished_at);
    json_set_int(o, "restart_count", info->restart_count);
    json_set_int(o, "exit_code", info->exit_code);
    json_set_str(o, "health", info->health);
    json_set_str(o, "app_version", ctr_kv_text(&info->labels, CTR_LABEL_APP_VERSION));
    for (size_t i = 0; i < info->n_mounts; i++) {
        const struct ctr_mount_info *m = &info->mounts[i];
        json_t *one = json_object();
        json_set_str(one, "type", m->type);
        json_set_str(one, "source", m->source);
        json_set_str(one, "destination", m->target);
        json_set_bool(one, "read_write", m->is_writable);
        json_array_append_new(mounts, one);
    }
    json_object_set_new(o, "mounts", mounts);
}

bool api_container_get(struct server *s, struct arena *a, const struct http_pairs *query, json_t **reply, struct err *err)
{
    struct ask ask = ask_of(s, a, query);
    struct ctr_info info, more;
    struct ctr_stats stats;
    scoped_err ignored = {0};
    if (!find(&ask, &info, err) || !ctr_container_inspect(ask.engine, a, info.name, 0, &more, err))
        return false;
    if (more.status == CTR_STATUS_NONE)
        return err_set(err, ERR_NOT_FOUND, "container " STR_FMT " has just been removed", STR_ARG(info.name));
    scoped_store_tx *tx = store_read(s->store, err);
    if (!tx)
        return false;
    json_t *o = summary(&ask, tx, &more);
    add_detail(o, &more);
    struct ctr_size size;
    if (ctr_container_size(ask.engine, info.name, &size, &ignored)) {
        json_set_int(o, "size_rw", size.written);
        json_set_int(o, "size_root_fs", size.root_fs);
    }
    if (more.status == CTR_STATUS_RUNNING && ctr_container_stats(ask.engine, info.name, false, &stats, &ignored))
        json_object_set_new(o, "stats", stats_json(&stats));
    *reply = json_pack("{s:o}", "container", o);
    return true;
}

/* "100"; empty: the default. */
static bool parse_tail(struct str text, int *out, struct err *err)
{
    uint64_t n = TAIL_DEFAULT;
    if (text.len > 0 && (!str_to_u64(text, &n) || n == 0 || n > TAIL_MAX))
        return err_set(err, ERR_INVALID, "tail must be a number of lines from 1 to %d", TAIL_MAX);
    *out = (int)n;
    return true;
}

/* Seconds of "30s", "10m", "2h", "1d", and of several in a row as in "1h30m". */
static bool parse_ago(struct str text, int64_t *secs)
{
    int64_t sum = 0;
    size_t digits = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] >= '0' && text.ptr[i] <= '9') {
            digits++;
            continue;
        }
        uint64_t n;
        char unit = text.ptr[i];
        int64_t factor = unit == 's' ? 1 : unit == 'm' ? 60 : unit == 'h' ? 3600 : unit == 'd' ? 86400 : 0;
        if (factor == 0 || !str_to_u64(str_slice(text, i - digits, i), &n) || n > 100000000)
            return false;
        sum = MIN(sum + (int64_t)n * factor, INT64_MAX / 1000000000);
        digits = 0;
    }
    *secs = sum;
    return digits == 0 && text.len > 0;
}

/* An RFC 3339 time, how long ago, or since 1970: nanoseconds ("next" of an earlier answer), or seconds if it is not as many. */
static bool parse_since(struct str text, int64_t *out, struct err *err)
{
    uint64_t n;
    *out = 0;
    if (text.len == 0)
        return true;
    if (time_parse(text, out)) {
        *out = MAX(*out, (int64_t)0);
        return true;
    }
    if (str_to_u64(text, &n) && n <= INT64_MAX) {
        *out = (int64_t)n * (n <= INT64_MAX / 1000000000 ? 1000000000 : 1);
        return true;
    }
    int64_t secs;
    if (!parse_ago(text, &secs))
        return err_set(err, ERR_INVALID, "since must be like 10m, 1h30m, 1d or 2026-01-31T12:00:00Z, not \"" STR_FMT "\"", STR_ARG(text));
    *out = MAX(wall_ns() - secs * 1000000000, (int64_t)1);
    return true;
}

bool api_container_logs(struct server *s, struct arena *a, const struct http_pairs *query, json_t **reply, struct err *err)
{
    struct ask ask = ask_of(s, a, query);
    struct ctr_info info;
    struct str text;
    int64_t since, next;
    int tail = 0;
    if (!parse_tail(param(&ask, "tail"), &tail, err) || !parse_since(param(&ask, "since"), &since, err) ||
        !find(&ask, &info, err) || !ctr_container_logs_since(ask.engine, a, info.name, tail, since, &text, &next, err))
        return false;
    for (size_t i = 0; i < text.len; i++) /* which many readers of JSON refuse */
        ((char *)text.ptr)[i] = text.ptr[i] ? text.ptr[i] : ' ';
    json_t *o = json_object();
    json_set_str(o, "name", info.name);
    json_set_str(o, "logs", text);
    json_set_str(o, "next", str_printf(a, "%lld", (long long)next)); /* text: beyond what JSON numbers hold everywhere */
    *reply = o;
    return true;
}

/* Of a container that no loaded app has: what it mounts is only known to the engine. */
static bool start_unloaded(const struct ask *ask, struct str name, struct err *err)
{
    struct ctr_info info;
    if (!ctr_container_inspect(ask->engine, ask->a, name, 0, &info, err))
        return false;
    struct ctr_mount *mounts = arena_array(ask->a, struct ctr_mount, info.n_mounts + 1);
    for (size_t i = 0; i < info.n_mounts; i++)
        mounts[i] = (struct ctr_mount){.source = info.mounts[i].source,
                                       .target = info.mounts[i].target,
                                       .is_bind = str_eq(info.mounts[i].type, STR("bind"))};
    return ctr_mounts_check(mounts, info.n_mounts, err) && ctr_container_start(ask->engine, name, err);
}

bool api_container_start(struct server *s, struct arena *a, const struct http_pairs *query, json_t **reply, struct err *err)
{
    struct ask ask = ask_of(s, a, query);
    struct ctr_info info;
    if (!find(&ask, &info, err))
        return false;
    struct ctr_service *service = ctr_manager_find(s->containers, info.name);
    bool ok = service ? ctr_service_start(service, NULL, NULL, NULL, err) : start_unloaded(&ask, info.name, err);
    ctr_service_unref(service);
    if (ok)
        *reply = json_pack("{s:o}", "name", json_from_str(info.name));
    return ok;
}

bool api_container_stop(struct server *s, struct arena *a, const struct http_pairs *query, json_t **reply, struct err *err)
{
    struct ask ask = ask_of(s, a, query);
    struct ctr_info info;
    if (!find(&ask, &info, err))
        return false;
    struct ctr_service *service = ctr_manager_find(s->containers, info.name);
    bool ok = service ? ctr_service_stop(service, DRAIN_SECS, err) : ctr_container_stop(ask.engine, info.name, 1, err);
    ctr_service_unref(service);
    if (ok)
        *reply = json_pack("{s:o}", "name", json_from_str(info.name));
    return ok;
}

static bool is_up(const struct ctr_info *info)
{
    return info->status == CTR_STATUS_RUNNING || info->status == CTR_STATUS_PAUSED;
}

/* Two quick looks at each tell how busy the CPU was in between. */
bool api_container_stats(struct server *s, struct arena *a, const struct http_pairs *query, json_t **reply, struct err *err)
{
    struct ask ask = ask_of(s, a, query);
    struct ctr_info_list list = {0};
    struct ctr_info one;
    if (str_is_empty(param(&ask, "id")) && str_is_empty(param(&ask, "appPath"))) {
        if (!ours(&ask, &list, err))
            return false;
    } else {
        if (!find(&ask, &one, err))
            return false;
        if (!is_up(&one))
            return err_set(err, ERR_CONFLICT, "container " STR_FMT " is not running", STR_ARG(one.name));
        *vec_push(a, &list) = one;
    }
    size_t n = MIN(list.len, (size_t)STATS_MAX);
    struct ctr_stats *stats = arena_array(a, struct ctr_stats, n + 1);
    int64_t *at = arena_array(a, int64_t, n + 1);
    bool *ok = arena_array(a, bool, n + 1), has_any = false;
    scoped_err ignored = {0}, why = {0};
    for (size_t i = 0; i < n; i++) {
        ok[i] = is_up(&list.items[i]) && ctr_container_stats(ask.engine, list.items[i].name, true, &stats[i], &why);
        has_any |= ok[i];
        at[i] = wall_ns();
    }
    /* One that has just ended is no failure; an engine that has numbers of none (rootless, control groups v1) is. */
    if (!has_any && why.code != ERR_OK && why.code != ERR_NOT_FOUND)
        return err_move(err, &why);
    nanosleep(&(struct timespec){.tv_nsec = STATS_WINDOW_MS * 1000000L}, NULL);
    scoped_store_tx *tx = store_read(s->store, err);
    if (!tx)
        return false;
    json_t **rows = arena_array(a, json_t *, n + 1);
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        struct ctr_stats now = stats[i];
        if (!ok[i])
            continue;
        if (stats[i].cpu_ns > 0 && ctr_container_stats(ask.engine, list.items[i].name, true, &now, &ignored))
            now.cpu_percent = 100.0 * (double)MAX(now.cpu_ns - stats[i].cpu_ns, 0) / (double)MAX(wall_ns() - at[i], 1);
        rows[len] = summary(&ask, tx, &list.items[i]);
        json_t *numbers = stats_json(&now);
        json_object_update(rows[len++], numbers);
        json_decref(numbers);
    }
    *reply = json_pack("{s:o}", "containers", sorted_array(rows, len));
    return true;
}

bool api_container_prune(struct server *s, struct arena *a, const struct http_pairs *query, json_t **reply, struct err *err)
{
    struct ctr_prune_list list;
    bool is_dry_run = api_query_is_on(query, "dryRun");
    int64_t keep = config_int(&s->config, "system.container_versions_to_keep"), bytes = 0;
    struct ctr_prune_policy policy = {
        .keep = (int)MAX(MIN(keep, INT32_MAX), 1),
        .bytes_max = MIN(config_int(&s->config, "system.container_disk_budget_mb"), INT64_MAX >> 20) * (1 << 20),
        .is_dry_run = is_dry_run,
    };
    if (!ctr_manager_prune(s->containers, &policy, a, &list, err))
        return false;
    json_t *rows = json_array();
    vec_foreach (item, &list) {
        json_t *o = json_object();
        json_set_z(o, "kind", item->is_image ? "image" : "container");
        json_set_str(o, "name", item->name);
        json_set_str(o, "app_id", item->app_id);
        json_set_int(o, "size", item->bytes);
        json_set_str(o, "problem", item->problem);
        json_array_append_new(rows, o);
        bytes += item->problem.len == 0 ? item->bytes : 0;
    }
    *reply = json_pack("{s:o, s:I, s:b}", "items", rows, "size", (json_int_t)bytes, "dry_run", is_dry_run);
    return true;
}
