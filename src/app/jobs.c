/* app/jobs.c: scheduled jobs as app.star declares them: ace.job(), and the JSON by which they are known without the app.
 *
 *     {"name", "schedule", "time_zone", "command": [...] | "path" and "method", "timeout", "overlap", "catch_up"}
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_int.h"

enum { JOBS_MAX = 100, NAME_MAX_LEN = 64, COMMAND_MAX = 200, TIMEOUT_MAX_S = 7 * 24 * 3600 };

/* The values of ace.job(), in its order. */
enum { NAME, SCHEDULE, COMMAND, PATH, METHOD, TIME_ZONE, TIMEOUT, OVERLAP, CATCH_UP };

static const char *const overlap_names[] = {
    [APP_OVERLAP_SKIP] = "skip", [APP_OVERLAP_QUEUE] = "queue", [APP_OVERLAP_PARALLEL] = "parallel"};
static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE"};

const char *app_overlap_name(enum app_overlap o)
{
    return overlap_names[o];
}

static bool overlap_of(struct str text, enum app_overlap *out)
{
    for (size_t i = 0; i < ARRAY_LEN(overlap_names); i++)
        if (str_eq_z(text, overlap_names[i])) {
            *out = (enum app_overlap)i;
            return true;
        }
    return false;
}

static bool is_method(struct str text)
{
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        if (str_eq_z(text, methods[i]))
            return true;
    return false;
}

static bool is_name(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool is_word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_word && (i == 0 || (c != '-' && c != '_')))
            return false;
    }
    return s.len > 0 && s.len <= NAME_MAX_LEN;
}

/* ".." would lead to other apps, encoded too. */
static bool has_dots(struct str s)
{
    scoped_arena a = {0};
    struct str path, part;
    str_cut(s, '?', &path, NULL);
    if (!http_pct_decode(&a, path, &path))
        return true;
    while (str_next(&path, '/', &part)) {
        if (str_eq(part, STR(".")) || str_eq(part, STR("..")))
            return true;
    }
    return false;
}

static bool is_path(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] <= ' ' || s.ptr[i] == 0x7F || s.ptr[i] == '#')
            return false;
    return str_starts(s, STR("/")) && !str_starts(s, STR("//")) && s.len <= 2048 && !has_dots(s);
}

/* What both a program and stored JSON must keep to. */
static bool check(struct app_job *job, struct err *err)
{
    if (!is_name(job->name))
        return err_set(err, ERR_INVALID,
                       "job: the name \"" STR_FMT "\" must have 1 to %d letters, digits, '-' and '_', the first of them a "
                       "letter or digit",
                       STR_ARG(str_slice(job->name, 0, 100)), NAME_MAX_LEN);
    if (!cron_parse(job->schedule, &job->cron, err))
        return err_wrap(err, "job " STR_FMT, STR_ARG(job->name));
    job->zone = star_zone_find(job->time_zone);
    if (!job->zone)
        return err_set(err, ERR_INVALID,
                       "job " STR_FMT ": unknown time zone \"" STR_FMT "\": use a name like Europe/Berlin or UTC",
                       STR_ARG(job->name), STR_ARG(str_slice(job->time_zone, 0, 100)));
    if ((job->command.len > 0) == !str_is_empty(job->path))
        return err_set(err, ERR_INVALID, "job " STR_FMT ": needs either command=[...] or path=\"/...\"",
                       STR_ARG(job->name));
    if (job->command.len > 0 ? str_is_empty(job->command.items[0]) : !is_path(job->path))
        return err_set(err, ERR_INVALID, "job " STR_FMT ": %s", STR_ARG(job->name),
                       job->command.len > 0 ? "the command's first word must name a program"
                                            : "path must begin with '/', be one inside the app, and have neither blanks nor '#'");
    if (!is_method(job->method))
        return err_set(err, ERR_INVALID, "job " STR_FMT ": method must be GET, POST, PUT, PATCH or DELETE",
                       STR_ARG(job->name));
    if (job->timeout_secs < 1 || job->timeout_secs > TIMEOUT_MAX_S)
        return err_set(err, ERR_INVALID, "job " STR_FMT ": timeout must be between 1 and %d seconds", STR_ARG(job->name),
                       TIMEOUT_MAX_S);
    return true;
}

/* --- ace.job() ------------------------------------------------------------------------------------ */

static bool read_command(struct arena *a, star_v list, struct str_list *out, struct err *err)
{
    if (star_len(list) > COMMAND_MAX)
        return err_set(err, ERR_TOO_LARGE, "job: a command has at most %d words", COMMAND_MAX);
    for (size_t i = 0; i < star_len(list); i++) {
        struct str s;
        if (!star_to_str(star_item(list, i), &s) || str_chr(s, '\0') != STR_NPOS)
            return err_set(err, ERR_INVALID, "job: command must hold strings without NUL characters");
        str_list_add(a, out, s);
    }
    return true;
}

static bool job_of(struct arena *a, const star_v *v, struct app_job *out, struct err *err)
{
    struct app_job job = {
        .name = star_text(v[NAME]),
        .schedule = str_trim(star_text(v[SCHEDULE])),
        .time_zone = star_text(v[TIME_ZONE]),
        .path = star_text(v[PATH]),
        .method = star_text(v[METHOD]),
        .catch_up = star_truth(v[CATCH_UP]),
    };
    struct str overlap = star_text(v[OVERLAP]);
    if (!overlap_of(str_is_empty(overlap) ? STR("skip") : overlap, &job.overlap))
        return err_set(err, ERR_INVALID, "job " STR_FMT ": overlap must be \"skip\", \"queue\" or \"parallel\"",
                       STR_ARG(str_slice(job.name, 0, 100)));
    star_to_i64(v[TIMEOUT], &job.timeout_secs);
    if (!read_command(a, v[COMMAND], &job.command, err) || !check(&job, err))
        return false;
    *out = job;
    return true;
}

enum star_ret jobs_check(struct star_run *run, star_v *v)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct app_job job;
    if (!job_of(&a, v, &job, &err))
        return star_fail(run, "%s", err_msg(&err));
    return STAR_OK;
}

/* --- as JSON -------------------------------------------------------------------------------------- */

static json_t *job_json(const struct app_job *job)
{
    json_t *j = json_object();
    json_set_str(j, "name", job->name);
    json_set_str(j, "schedule", job->schedule);
    json_set_str(j, "time_zone", job->time_zone);
    if (job->command.len > 0) {
        json_set_list(j, "command", &job->command);
    } else {
        json_set_str(j, "path", job->path);
        json_set_str(j, "method", job->method);
    }
    json_set_int(j, "timeout", job->timeout_secs);
    json_set_z(j, "overlap", app_overlap_name(job->overlap));
    json_set_bool(j, "catch_up", job->catch_up);
    return j;
}

bool jobs_read(struct arena *a, star_v app, struct str *out, struct err *err)
{
    static const char *const names[] = {"name",      "schedule", "command", "path",    "method",
                                        "time_zone", "timeout",  "overlap", "catch_up"};
    star_v list = star_struct_get(app, STR("jobs"));
    if (star_is_null(list) || star_len(list) == 0)
        return true;
    if (star_len(list) > JOBS_MAX)
        return err_set(err, ERR_TOO_LARGE, "ace.app: at most %d jobs", JOBS_MAX);
    scoped_arena scratch = {0};
    scoped_json *all = json_array();
    struct map seen;
    map_init(&seen, &scratch);
    for (size_t i = 0; i < star_len(list); i++) {
        star_v item = star_item(list, i), v[ARRAY_LEN(names)];
        struct app_job job;
        if (!str_eq(star_struct_ctor(item), STR("ace.job")))
            return err_set(err, ERR_INVALID, "ace.app: jobs must hold ace.job(...), not %s", star_type_name(item));
        for (size_t k = 0; k < ARRAY_LEN(names); k++)
            v[k] = star_struct_get(item, str_from(names[k]));
        if (!job_of(&scratch, v, &job, err))
            return false;
        if (map_has(&seen, job.name))
            return err_set(err, ERR_INVALID, "ace.app: two jobs are named \"" STR_FMT "\"", STR_ARG(job.name));
        map_set(&seen, job.name, (void *)job.name.ptr);
        json_array_append_new(all, job_json(&job));
    }
    *out = json_text(a, all, JSON_STYLE_COMPACT);
    return true;
}

static bool job_from_json(struct arena *a, const json_t *j, struct app_job *out, struct err *err)
{
    struct app_job job = {.method = STR("POST"), .timeout_secs = 3600};
    struct str overlap = STR("skip");
    if (!json_read_str(j, "name", true, &job.name, err) || !json_read_str(j, "schedule", true, &job.schedule, err) ||
        !json_read_str(j, "time_zone", false, &job.time_zone, err) ||
        !json_read_list(a, j, "command", false, &job.command, err) || !json_read_str(j, "path", false, &job.path, err) ||
        !json_read_str(j, "method", false, &job.method, err) ||
        !json_read_int(j, "timeout", false, &job.timeout_secs, err) ||
        !json_read_str(j, "overlap", false, &overlap, err) || !json_read_bool(j, "catch_up", false, &job.catch_up, err))
        return false;
    struct str *texts[] = {&job.name, &job.schedule, &job.time_zone, &job.path, &job.method};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        *texts[i] = str_dup(a, *texts[i]);
    vec_foreach(word, &job.command) *word = str_dup(a, *word);
    if (!overlap_of(overlap, &job.overlap))
        return err_set(err, ERR_INVALID, "job " STR_FMT ": unknown overlap", STR_ARG(job.name));
    if (!check(&job, err))
        return false;
    *out = job;
    return true;
}

bool app_jobs_parse(struct arena *a, struct str text, struct app_job_list *out, struct err *err)
{
    struct app_job_list list = {0};
    if (str_is_empty(text)) {
        *out = list;
        return true;
    }
    scoped_json *j = json_parse(text, err);
    if (!j || !json_is_array(j) || json_array_size(j) > JOBS_MAX)
        return err_is_set(err) ? err_wrap(err, "jobs") : err_set(err, ERR_INVALID, "jobs must be a list");
    for (size_t i = 0; i < json_array_size(j); i++) {
        struct app_job job;
        if (!job_from_json(a, json_array_get(j, i), &job, err))
            return false;
        *vec_push(a, &list) = job;
    }
    *out = list;
    return true;
}

/* --- of an app ------------------------------------------------------------------------------------ */

bool jobs_load(struct app *app, struct err *err)
{
    scoped_arena scratch = {0};
    struct app_job_list list;
    if (!jobs_read(&app->arena, app->eval.app, &app->jobs, err) || !app_jobs_parse(&scratch, app->jobs, &list, err))
        return false;
    vec_foreach(job, &list) if (job->command.len > 0 && !app->image)
        return err_set(err, ERR_INVALID,
                       "job " STR_FMT ": a command runs in a container made from the app's image: set "
                       "container=container.config(...) in ace.app",
                       STR_ARG(job->name));
    return true;
}

struct str app_jobs(const struct app *app)
{
    return app->jobs;
}
