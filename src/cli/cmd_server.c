/* cli/cmd_server.c: `openrun server`: start it here, or talk to the running one.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"
#include "server.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    EXIT_POLL_MS = 100,
    EXIT_TELL_MS = 2000,
    EXIT_MAX_MS = 60 * 1000, /* beside the time that requests under way are given, */
    DRAIN_SECS = 300,        /*   this if the server does not say */
};

/* ---- start ---- */

static bool run_start(struct cli *c, struct err *err)
{
    if (!cli_find_home(c, err))
        return false;
    if (c->home.warning.len > 0)
        say(c->err, STR_FMT "\n", STR_ARG(c->home.warning));
    fflush(c->err);
    c->exit_code = server_main(&c->home);
    return true;
}

static const struct command start_command = {
    .name = "start",
    .summary = "run the server in the foreground",
    .about = "   Stops on SIGINT and SIGTERM, after requests under way have ended. Logs go to logs/ in the home folder.\n",
    .exec = run_start,
    .needs_no_config = true,
};

/* ---- stop ---- */

/* The pid that the running server of this home has left; 0: unknown. */
static int64_t noted_pid(struct cli *c)
{
    scoped_err ignored = {0};
    struct str text;
    int64_t pid;
    bool is_known = !c->config.is_tcp &&
                    fs_read_all(c->arena, path_join(c->arena, c->home.dir, STR("run/openrun.pid")), 32, &text, &ignored) &&
                    str_to_i64(str_trim(text), &pid);
    return is_known ? pid : 0;
}

static bool is_alive(const struct cli *c, int64_t pid)
{
    return pid == 0 ? server_accepts(c) : kill((pid_t)pid, 0) == 0 || errno == EPERM;
}

/* Waits for a moment, or until the process behind `fd` (-1: unknown) has ended. True if it has: then its lock on
 * the home is free, too. One that its parent has not waited for yet has ended as well. */
static bool has_ended(const struct cli *c, int fd, int64_t pid)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (fd < 0 && !is_alive(c, pid))
        return true;
    return poll(&p, 1, EXIT_POLL_MS) == 1;
}

static bool wait_for_end(struct cli *c, int64_t pid, int64_t max_ms, struct err *err)
{
    if (c->config.is_tcp || pid < 0 || pid > INT32_MAX)
        pid = 0;
    int64_t begin = clock_ms();
    bool is_told = isatty(STDERR_FILENO) != 1;
    scoped_fd int fd = pid > 0 ? (int)syscall(SYS_pidfd_open, (pid_t)pid, 0) : -1;
    while (!has_ended(c, fd, pid)) {
        int64_t took = clock_ms() - begin;
        if (took >= max_ms)
            return err_set(err, ERR_TIMEOUT,
                           "the server (pid %lld) was told to stop, but has not ended within %lld s: see its log " STR_FMT
                           "/logs/openrun.json, or end it with \"kill -9 %lld\"",
                           (long long)pid, (long long)max_ms / 1000, STR_ARG(c->home.dir), (long long)pid);
        if (!is_told && took >= EXIT_TELL_MS) {
            say(c->err, "Waiting for requests under way to end; Ctrl-C does not wait, the server ends by itself\n");
            is_told = true;
        }
    }
    return true;
}

static bool run_stop(struct cli *c, struct err *err)
{
    struct call call = {.method = "POST", .path = "/stop", .may_vanish = true};
    int64_t noted = noted_pid(c); /* for a server that ends before it has answered */
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return false;
    if (args_has(c->args, "wait") && !args_is_on(c->args, "wait"))
        return true;
    int64_t drain_secs = json_get_int(reply, "drain_secs", DRAIN_SECS);
    return wait_for_end(c, json_get_int(reply, "pid", noted), drain_secs * 1000 + EXIT_MAX_MS, err);
}

static const struct flag stop_flags[] = {
    {"wait", "w", FLAG_BOOL, NULL, "return when the server has ended, as without it; --wait=false: at once"},
    FLAG_END,
};

static const struct command stop_command = {
    .name = "stop", .summary = "stop the server", .flags = stop_flags, .exec = run_stop};

/* ---- status, version, show-config ---- */

static bool run_status(struct cli *c, struct err *err)
{
    struct call call = {.method = "GET", .path = "/server_status"};
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return false;
    say(c->out, STR_FMT "\n", STR_ARG(json_get_str(reply, "status", (struct str){0})));
    return true;
}

static bool run_version(struct cli *c, struct err *err)
{
    struct call call = {.method = "GET", .path = "/server_version"};
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return false;
    say(c->out, STR_FMT " (commit " STR_FMT ")\n", STR_ARG(json_get_str(reply, "version", (struct str){0})),
        STR_ARG(json_get_str(reply, "commit", (struct str){0})));
    return true;
}

static bool run_show_config(struct cli *c, struct err *err)
{
    struct call call = {.method = "GET", .path = "/config"};
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return false;
    json_t *config = json_get(reply, "dynamic_config");
    if (!config)
        return err_set(err, ERR_UPSTREAM, "error parsing response: dynamic_config is missing");
    print_json(c, config, FORMAT_JSON);
    return true;
}

static const struct command status_command = {
    .name = "status", .summary = "tell whether the server runs", .exec = run_status};
static const struct command version_command = {
    .name = "version", .summary = "print the version of the running server", .exec = run_version};
static const struct command show_config_command = {
    .name = "show-config", .summary = "print the dynamic configuration", .exec = run_show_config};

/* ---- check ---- */

/* Of the running server, else of the home, which must be on this machine. */
static bool read_problems(struct cli *c, bool fix, json_t **reply, struct err *err)
{
    struct str_list problems = {0};
    if (c->config.is_tcp || server_accepts(c)) {
        struct call call = {.method = fix ? "POST" : "GET", .path = "/check", .is_long = true};
        *reply = call_server(c, &call, err);
        return *reply != NULL;
    }
    if (!server_check_home(&c->home, fix, c->arena, &problems, err))
        return false;
    *reply = keep_json(c, json_object());
    json_set_list(*reply, "problems", &problems);
    return true;
}

static bool run_check(struct cli *c, struct err *err)
{
    json_t *reply;
    if (!want_words(c, 0, "no args expected", err) || !want_result_format(c, err) ||
        !read_problems(c, args_is_on(c->args, "fix"), &reply, err))
        return false;
    const json_t *problems = json_get(reply, "problems");
    size_t n = json_array_size(problems);
    c->exit_code = n > 0;
    if (print_result_json(c, reply))
        return true;
    for (size_t i = 0; i < n; i++)
        say(c->out, STR_FMT "\n", STR_ARG(json_str(json_array_get(problems, i))));
    if (n == 0)
        say(c->out, "No problems found.\n");
    else
        say(c->out, "%zu problem(s) found.\n", n);
    return true;
}

static const struct flag check_flags[] = {
    {"fix", NULL, FLAG_BOOL, NULL, "remove stored contents that no version uses"},
    FLAG_RESULT_FORMAT,
    FLAG_END,
};

static const struct command check_command = {
    .name = "check",
    .summary = "look for faults in the metadata",
    .about = "   Asks the running server, or looks into the home folder when none runs. Changes nothing without --fix.\n"
             "   Exits with 1 when there are problems; each line says what to do about one.\n",
    .flags = check_flags,
    .exec = run_check,
};

/* ---- later ---- */

static const struct command metadata_status_command = {
    .name = "metadata-status", .aliases = "metadata_status", .summary = "print the health of the metadata database"};
static const struct command restart_command = {
    .name = "restart", .summary = "restart the server in place, keeping its listeners"};

static const struct flag update_config_flags[] = {
    {"force", "f", FLAG_BOOL, NULL, "replace the configuration even if it has changed since the file was made"},
    FLAG_END,
};
static const struct command update_config_command = {.name = "update-config",
                                                     .words = "<configFilePath>",
                                                     .summary = "replace the dynamic configuration",
                                                     .flags = update_config_flags};

static const struct command *const commands[] = {
    &start_command,   &stop_command,        &status_command,        &version_command, &metadata_status_command,
    &restart_command, &show_config_command, &update_config_command, &check_command, NULL,
};

const struct command cmd_server = {.name = "server", .summary = "run and control the server", .subs = commands};
