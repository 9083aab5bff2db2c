/* server/job_run.c: one run of a job: a command in a container of its own, or a request to the app.
 *
 * The request comes in through a unix socket of our own, run/jobs.sock, whose handler (pipeline_job_request) asks for no
 * sign-in: the network is not involved, and nobody but this server's user can open it. It is otherwise a request like any
 * other: it wakes the app's container, is proxied or handled, and is in the access log.
 * SPDX-License-Identifier: Apache-2.0 */
#include "job.h"
#include "server_int.h"

#include <stdio.h>

/* A run in progress. */
struct performance {
    struct server *server;
    const struct app_job *job;
    const atomic_bool *cancel;
    struct job_log *log;
    int64_t until_ms; /* clock_ms() */
    struct job_outcome *out;
};

static void fail(struct performance *p, const struct err *err)
{
    p->out->status = err->code == ERR_CANCELLED || atomic_load(p->cancel) ? JOB_CANCELLED
                     : err->code == ERR_TIMEOUT                           ? JOB_TIMED_OUT
                                                                          : JOB_FAILED;
    snprintf(p->out->error, sizeof p->out->error, "%s", err_msg(err));
}

static bool on_output(void *arg, bool is_stderr, struct str chunk)
{
    job_log_write(((struct performance *)arg)->log, chunk);
    return true;
}

static void run_command(struct performance *p, struct app *app)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct plugin_command_end end;
    struct plugin_command c = {
        .argv = p->job->command,
        .timeout_ms = p->job->timeout_secs * 1000,
        .merges = true,
        .cancel = p->cancel,
        .on_output = on_output,
        .arg = p,
    };
    str_list_add(&a, &c.env, str_printf(&a, "CL_JOB_NAME=" STR_FMT, STR_ARG(p->job->name)));
    if (!app_run_command(app, &c, &end, &err)) {
        fail(p, &err);
        return;
    }
    p->out->code = end.exit_code;
    if (end.cancelled) {
        p->out->status = JOB_CANCELLED;
        snprintf(p->out->error, sizeof p->out->error, "cancelled");
    } else if (end.timed_out) {
        p->out->status = JOB_TIMED_OUT;
        snprintf(p->out->error, sizeof p->out->error, "ended after %lld s (timeout)", (long long)p->job->timeout_secs);
    } else if (end.exit_code != 0) {
        snprintf(p->out->error, sizeof p->out->error, "exit code %d", end.exit_code);
    } else {
        p->out->status = JOB_SUCCESS;
    }
}

static void on_line(void *arg, struct str line)
{
    struct performance *p = arg;
    job_log_write(p->log, line);
    job_log_write(p->log, STR("\n"));
}

static bool on_body(void *arg, struct str part, struct err *err)
{
    job_log_write(((struct performance *)arg)->log, part);
    return true;
}

/* The status first: it is part of what was written. */
static bool on_head(void *arg, const struct http_answer *head, struct err *err)
{
    struct performance *p = arg;
    char note[40];
    p->out->code = head->status;
    snprintf(note, sizeof note, "status %d", head->status);
    job_log_note(p->log, note);
    return true;
}

static bool fetch(struct performance *p, struct app *app, struct err *err)
{
    scoped_arena a = {0};
    const struct store_app *entry = app_entry(app);
    struct str host = str_is_empty(entry->domain) ? p->server->env.default_domain : entry->domain;
    struct str path = str_eq(entry->path, STR("/")) ? (struct str){0} : http_path_encode(&a, entry->path);
    const struct http_pair headers[] = {{STR(PIPELINE_JOB_HEADER), p->job->name}, {STR(PIPELINE_JOB_APP), entry->id}};
    struct http_answer answer;
    scoped_http_client struct http_client *c = http_client_open();
    struct http_fetch f = {
        .method = p->job->method,
        .url = str_printf(&a, "http://" STR_FMT STR_FMT STR_FMT, STR_ARG(host), STR_ARG(path), STR_ARG(p->job->path)),
        .unix_socket = path_join(&a, p->server->home->dir, STR(JOB_SOCKET)),
        .headers = headers,
        .header_count = ARRAY_LEN(headers),
        .on_head = on_head,
        .on_body = on_body,
        .body_arg = p,
        .total_timeout_ms = MAX(p->until_ms - clock_ms(), (int64_t)1),
        .cancel = p->cancel,
        .is_http1_only = true,
    };
    return http_fetch(c, &a, &f, &answer, err);
}

static void call_path(struct performance *p, struct app *app)
{
    scoped_err err = {0};
    struct app_progress progress = {.line = on_line, .arg = p, .cancel = (atomic_bool *)p->cancel};
    /* First the container, whose start may take longer than a request waits for it. */
    if (!app_start_container(app, &progress, &err) || !fetch(p, app, &err)) {
        fail(p, &err);
        return;
    }
    if (p->out->code / 100 == 2)
        p->out->status = JOB_SUCCESS;
    else
        snprintf(p->out->error, sizeof p->out->error, "the app answered " STR_FMT " with status %d",
                 STR_ARG(str_slice(p->job->path, 0, 200)), p->out->code);
}

void job_perform(struct server *s, struct app_slot *slot, const struct app_job *job, const atomic_bool *cancel,
                 struct job_log *log, struct job_outcome *out)
{
    scoped_err err = {0};
    struct app *app;
    *out = (struct job_outcome){.status = JOB_FAILED};
    struct performance p = {.server = s,
                            .job = job,
                            .cancel = cancel,
                            .log = log,
                            .until_ms = clock_ms() + job->timeout_secs * 1000,
                            .out = out};
    if (!app_slot_wait(slot, &app, &err)) {
        fail(&p, &err);
        return;
    }
    if (job->command.len > 0)
        run_command(&p, app);
    else
        call_path(&p, app);
    app_unref(app);
}
