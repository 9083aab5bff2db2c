/* cli/cmd_job.c: `openrun job`: the scheduled jobs of apps.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"

#include <time.h>

static const char app_and_name[] = "requires two arguments: <appPath> <job>";

enum { POLL_MS = 300 };

/* ---- list, runs ---- */

static void cell_what(struct buf *out, const json_t *row)
{
    const json_t *words = json_get(row, "command");
    for (size_t i = 0; i < json_array_size(words); i++)
        buf_printf(out, "%s" STR_FMT, i ? " " : "", STR_ARG(json_str(json_array_get(words, i))));
    if (json_array_size(words) == 0)
        buf_printf(out, STR_FMT " " STR_FMT, STR_ARG(json_get_str(row, "method", (struct str){0})),
                   STR_ARG(json_get_str(row, "path", (struct str){0})));
}

/* A time without its fraction. */
static void add_time(struct buf *out, struct str text)
{
    struct str seconds;
    if (str_cut(text, '.', &seconds, NULL))
        buf_printf(out, STR_FMT "Z", STR_ARG(seconds));
    else
        buf_add_str(out, text);
}

static void cell_last(struct buf *out, const json_t *row)
{
    const json_t *last = json_get(row, "last_run");
    if (last)
        buf_add_str(out, json_get_str(last, "status", (struct str){0}));
    else
        buf_add_char(out, '-');
}

static void cell_start(struct buf *out, const json_t *row)
{
    add_time(out, json_get_str(row, "start", (struct str){0}));
}

static void cell_end(struct buf *out, const json_t *row)
{
    add_time(out, json_get_str(row, "end", (struct str){0}));
}

static void cell_code(struct buf *out, const json_t *row)
{
    if (!str_is_empty(json_get_str(row, "end", (struct str){0}))) /* none before it has ended */
        buf_printf(out, "%lld", (long long)json_integer_value(json_get(row, "code")));
}

static const struct column list_columns[] = {
    {"App", 30, .path = "app_path"}, {"Job", 20, .path = "name"},       {"Schedule", 16, .path = "schedule"},
    {"Next", 21, .path = "next_run"}, {"Last", 12, .cell = cell_last}, {"Runs", 0, .cut = 60, .cell = cell_what}, {NULL},
};
static const struct csv_column list_csv[] = {
    {.path = "app_path"}, {.path = "name"},     {.path = "schedule"}, {.path = "time_zone"}, {.path = "next_run"},
    {.cell = cell_last},  {.path = "active"},   {.path = "skipped"},  {.cell = cell_what, .is_quoted = true}, {0},
};
static const struct column runs_columns[] = {
    {"Run", 28, .path = "id"},        {"Status", 12, .path = "status"}, {"Trigger", 9, .path = "trigger"},
    {"Start", 21, .cell = cell_start}, {"End", 21, .cell = cell_end},   {"Code", -5, .cell = cell_code},
    {"Error", 0, .path = "error"},     {NULL},
};
static const struct csv_column runs_csv[] = {
    {.path = "id"},  {.path = "status"}, {.path = "trigger"}, {.path = "due"}, {.path = "start"},
    {.path = "end"}, {.path = "code"},   {.path = "error", .is_quoted = true}, {0},
};
static const struct field record_run[] = {
    {"id", FIELD_STR},    {"status", FIELD_STR}, {"trigger", FIELD_STR}, {"due", FIELD_STR}, {"start", FIELD_STR},
    {"end", FIELD_STR},   {"code", FIELD_INT},   {"error", FIELD_STR},   {NULL},
};
static const struct field record_job[] = {
    {"app_id", FIELD_STR},    {"app_path", FIELD_STR}, {"name", FIELD_STR},     {"schedule", FIELD_STR},
    {"time_zone", FIELD_STR}, {"command", FIELD_LIST}, {"method", FIELD_STR},   {"path", FIELD_STR},
    {"timeout", FIELD_INT},   {"overlap", FIELD_STR},  {"catch_up", FIELD_BOOL}, {"next_run", FIELD_STR},
    {"active", FIELD_INT},    {"skipped", FIELD_INT},  {"last_run", FIELD_OBJECT, record_run, .is_optional = true},
    {NULL},
};
static const struct listing listing_jobs = {
    .basic = list_columns, .table = list_columns, .csv = list_csv, .record = record_job};
static const struct listing listing_runs = {
    .basic = runs_columns, .table = runs_columns, .csv = runs_csv, .record = record_run};

static bool run_list(struct cli *c, struct err *err)
{
    enum format format;
    if (c->args->words.len > 1)
        return err_set(err, ERR_INVALID, "only one argument expected: <appPathGlob>");
    if (!format_of_list(c, &format, err))
        return false;
    struct call call = {.method = "GET", .path = "/jobs"};
    if (c->args->words.len == 1)
        call_text(c, &call, "appPathGlob", arg_word(c, 0));
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return false;
    print_list(c, &listing_jobs, json_get(reply, "jobs"), format, false);
    return true;
}

static struct call job_call(struct cli *c, const char *method, const char *path)
{
    struct call call = {.method = method, .path = path};
    call_text(c, &call, "appPath", arg_word(c, 0));
    call_text(c, &call, "name", arg_word(c, 1));
    return call;
}

static bool run_runs(struct cli *c, struct err *err)
{
    enum format format;
    if (!want_words(c, 2, app_and_name, err) || !format_of_list(c, &format, err))
        return false;
    struct call call = job_call(c, "GET", "/job/runs");
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return false;
    print_list(c, &listing_runs, json_get(reply, "runs"), format, false);
    return true;
}

static const struct flag list_flags[] = {FLAG_FORMAT, FLAG_END};

static const struct command list_command = {
    .name = "list",
    .words = "[<appPathGlob>]",
    .summary = "list the scheduled jobs of apps",
    .flags = list_flags,
    .exec = run_list,
};

static const struct command runs_command = {
    .name = "runs",
    .words = "<appPath> <job>",
    .summary = "list the last runs of a job, newest first",
    .flags = list_flags,
    .exec = run_runs,
};

/* ---- run, logs, cancel ---- */

/* Prints a run's output from *offset on. *is_over once it has ended; the run is borrowed from the reply. */
static bool print_logs(struct cli *c, struct str run_id, struct str tail, int64_t *offset, const json_t **run,
                       bool *is_over, struct err *err)
{
    struct call call = job_call(c, "GET", "/job/logs");
    if (!str_is_empty(run_id))
        call_text(c, &call, "run", run_id);
    if (!str_is_empty(tail))
        call_text(c, &call, "tail", tail);
    call_text(c, &call, "offset", str_printf(c->arena, "%lld", (long long)*offset));
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return false;
    struct str text = json_get_str(reply, "logs", (struct str){0});
    while (text.len > 0) {
        struct str line, rest;
        bool is_whole = str_cut(text, '\n', &line, &rest);
        say(c->out, STR_FMT "%s", STR_ARG(line), is_whole ? "\n" : "");
        text = rest;
    }
    fflush(c->out);
    int64_t next = json_get_int(reply, "next", *offset);
    *run = json_get(reply, "run");
    *is_over = json_get_bool(reply, "is_over", true) && next == *offset;
    *offset = next;
    return true;
}

/* Prints until the run has ended and all is read. */
static bool follow(struct cli *c, struct str run_id, struct str tail, const json_t **run, struct err *err)
{
    int64_t offset = 0;
    bool is_over = false;
    for (;;) {
        int64_t before = offset;
        if (!print_logs(c, run_id, tail, &offset, run, &is_over, err))
            return false;
        if (is_over)
            return true;
        run_id = json_get_str(*run, "id", run_id);
        tail = (struct str){0};
        if (offset == before)
            nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
    }
}

static bool check_run(const json_t *run, struct err *err)
{
    struct str status = json_get_str(run, "status", (struct str){0}), why = json_get_str(run, "error", (struct str){0});
    if (str_eq(status, STR("success")))
        return true;
    return err_set(err, ERR_UPSTREAM, "the job's run has ended: " STR_FMT "%s" STR_FMT, STR_ARG(status),
                   why.len > 0 ? ": " : "", STR_ARG(why));
}

static bool run_run(struct cli *c, struct err *err)
{
    if (!want_words(c, 2, app_and_name, err))
        return false;
    struct call call = job_call(c, "POST", "/job/run");
    json_t *reply = call_server(c, &call, err);
    const json_t *run;
    if (!reply)
        return false;
    struct str id = json_get_str(reply, "run_id", (struct str){0});
    if (args_is_on(c->args, "detach")) {
        say(c->out, "Started run " STR_FMT "\n", STR_ARG(id));
        return true;
    }
    return follow(c, id, (struct str){0}, &run, err) && check_run(run, err);
}

static bool run_logs(struct cli *c, struct err *err)
{
    struct str id = args_text(c->args, "run"), tail = args_text(c->args, "tail");
    const json_t *run;
    if (!want_words(c, 2, app_and_name, err))
        return false;
    if (args_is_on(c->args, "follow"))
        return follow(c, id, tail, &run, err);
    int64_t offset = 0, before;
    bool is_over;
    do {
        before = offset;
        if (!print_logs(c, id, tail, &offset, &run, &is_over, err))
            return false;
        id = json_get_str(run, "id", id);
    } while (str_is_empty(tail) && offset > before);
    return true;
}

static bool run_cancel(struct cli *c, struct err *err)
{
    if (!want_words(c, 2, app_and_name, err))
        return false;
    struct call call = job_call(c, "POST", "/job/cancel");
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return false;
    int64_t n = json_get_int(reply, "cancelled", 0);
    say(c->out, "%lld run%s cancelled\n", (long long)n, n == 1 ? "" : "s");
    return true;
}

static const struct flag run_flags[] = {
    {"detach", "d", FLAG_BOOL, NULL, "do not wait for its end and show its output"},
    FLAG_END,
};
static const struct flag logs_flags[] = {
    {"follow", "f", FLAG_BOOL, NULL, "go on with what comes, until the run has ended"},
    {"tail", NULL, FLAG_STR, NULL, "only so many lines from the end"},
    {"run", NULL, FLAG_STR, NULL, "a run's id from openrun job runs; without it the last one"},
    FLAG_END,
};
static const struct flag no_flags[] = {FLAG_END};

static const struct command run_command = {
    .name = "run",
    .words = "<appPath> <job>",
    .summary = "run a job now and show its output",
    .about = "   Fails if the run does. An interrupt leaves the run going: see openrun job cancel.\n",
    .flags = run_flags,
    .exec = run_run,
};

static const struct command logs_command = {
    .name = "logs",
    .words = "<appPath> <job>",
    .summary = "show what a run of a job has written",
    .flags = logs_flags,
    .exec = run_logs,
};

static const struct command cancel_command = {
    .name = "cancel",
    .words = "<appPath> <job>",
    .summary = "end the runs of a job that go on",
    .flags = no_flags,
    .exec = run_cancel,
};

static const struct command *const commands[] = {
    &list_command, &runs_command, &run_command, &logs_command, &cancel_command, NULL,
};

const struct command cmd_job = {.name = "job", .summary = "look at and run the scheduled jobs of apps", .subs = commands};
