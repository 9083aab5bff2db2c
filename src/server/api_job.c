/* server/api_job.c: the management API of scheduled jobs.
 * SPDX-License-Identifier: Apache-2.0 */
#include "job.h"
#include "server_int.h"
#include "source.h"

static struct str param(const struct http_pairs *query, const char *name)
{
    struct str value = {0};
    http_pairs_get(query, str_from(name), &value);
    return value;
}

static bool number(const struct http_pairs *query, const char *name, int64_t max, int64_t *out, struct err *err)
{
    struct str text = param(query, name);
    if (str_is_empty(text))
        return true;
    return (str_to_i64(text, out) && *out >= 0 && *out <= max) ||
           err_set(err, ERR_INVALID, "%s must be a number up to %lld", name, (long long)max);
}

static bool is_picked(void *glob, const struct store_brief *app)
{
    struct src_apppath at = {.domain = app->domain, .path = app->path};
    return src_appglob_match(glob, &at);
}

bool api_job_list(struct server *s, struct arena *a, const struct http_pairs *query, json_t **reply, struct err *err)
{
    struct src_appglob glob;
    if (!src_appglob_compile(a, param(query, "appPathGlob"), &glob, err))
        return false;
    *reply = json_pack("{s:o}", "jobs", job_table_list(s->job_table, is_picked, &glob));
    return true;
}

/* The app that `appPath` names, and the job's name. */
static bool read_job(struct server *s, struct arena *a, const struct http_pairs *query, struct str *app_id,
                     struct str *name, struct err *err)
{
    struct src_apppath at;
    struct store_app app;
    struct str path = param(query, "appPath");
    *name = param(query, "name");
    if (str_is_empty(path) || str_is_empty(*name))
        return err_set(err, ERR_INVALID, "%s is required", str_is_empty(path) ? "appPath" : "name");
    if (!src_apppath_parse(path, &at, err))
        return false;
    scoped_store_tx *tx = store_read(s->store, err);
    if (!tx)
        return false;
    if (!store_app_get(tx, a, at.path, at.domain, &app, err))
        return err->code == ERR_NOT_FOUND ? err_set(err, ERR_NOT_FOUND,
                                                    "no app at " STR_FMT ": \"openrun app list\" shows those there are",
                                                    STR_ARG(path))
                                          : false;
    *app_id = app.id;
    return true;
}

bool api_job_runs(struct server *s, struct arena *a, const struct http_pairs *query, json_t **reply, struct err *err)
{
    struct str app_id, name;
    json_t *runs;
    if (!read_job(s, a, query, &app_id, &name, err) || !job_table_runs(s->job_table, app_id, name, &runs, err))
        return false;
    *reply = json_pack("{s:o}", "runs", runs);
    return true;
}

bool api_job_run(struct server *s, struct arena *a, const struct http_pairs *query, json_t **reply, struct err *err)
{
    struct str app_id, name, run_id;
    if (!read_job(s, a, query, &app_id, &name, err) || !job_table_run(s->job_table, a, app_id, name, &run_id, err))
        return false;
    *reply = json_pack("{s:o}", "run_id", json_from_str(run_id));
    return true;
}

bool api_job_cancel(struct server *s, struct arena *a, const struct http_pairs *query, json_t **reply, struct err *err)
{
    struct str app_id, name;
    int n;
    if (!read_job(s, a, query, &app_id, &name, err) || !job_table_cancel(s->job_table, app_id, name, &n, err))
        return false;
    *reply = json_pack("{s:i}", "cancelled", n);
    return true;
}

bool api_job_logs(struct server *s, struct arena *a, const struct http_pairs *query, json_t **reply, struct err *err)
{
    struct str app_id, name;
    int64_t from = 0, tail = 0;
    return number(query, "offset", INT64_MAX, &from, err) && number(query, "tail", 1000000, &tail, err) &&
           read_job(s, a, query, &app_id, &name, err) &&
           job_table_log(s->job_table, a, app_id, name, param(query, "run"), from, (int)tail, reply, err);
}
