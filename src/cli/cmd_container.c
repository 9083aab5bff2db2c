/* cli/cmd_container.c: `openrun container` and `openrun app logs`: the containers of apps.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"

#include <time.h>

static const char one_id[] = "requires one argument: <container>";

#define ID_ABOUT "   <container> is a name from openrun container list, or the beginning of an id.\n"

/* ---- list, stats ---- */

static void cell_size(struct buf *out, const json_t *row, const char *member)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double n = (double)json_get_int(row, member, 0);
    size_t unit = 0;
    for (; n >= 1024 && unit + 1 < ARRAY_LEN(units); unit++)
        n /= 1024;
    buf_printf(out, unit ? "%.1f %s" : "%.0f %s", n, units[unit]);
}

static void cell_memory(struct buf *out, const json_t *row)
{
    cell_size(out, row, "mem_usage");
}

static void cell_net_in(struct buf *out, const json_t *row)
{
    cell_size(out, row, "net_in");
}

static void cell_net_out(struct buf *out, const json_t *row)
{
    cell_size(out, row, "net_out");
}

static void cell_cpu(struct buf *out, const json_t *row)
{
    buf_printf(out, "%.2f%%", json_get_num(row, "cpu_percent", 0));
}

static void cell_pids(struct buf *out, const json_t *row)
{
    buf_printf(out, "%lld", (long long)json_get_int(row, "pids", 0));
}

static const struct column list_columns[] = {
    {"Name", 58, .path = "name"},    {"Env", 8, .path = "env"},         {"State", 8, .path = "state"},
    {"Status", 10, .path = "status"}, {"AppPath", 0, .path = "app_path"}, {NULL},
};
static const struct csv_column list_csv[] = {
    {.path = "id"},     {.path = "name"},  {.path = "app_id"}, {.path = "app_path"}, {.path = "image"},      {.path = "state"},
    {.path = "status"}, {.path = "ports", .is_quoted = true}, {.path = "env"}, {.path = "runtime"}, {.path = "created_at"}, {0},
};
#define SUMMARY_FIELDS                                                                                          \
    {"id", FIELD_STR}, {"name", FIELD_STR}, {"app_id", FIELD_STR}, {"app_path", FIELD_STR}, {"image", FIELD_STR}, \
    {"state", FIELD_STR}, {"status", FIELD_STR}, {"ports", FIELD_STR}, {"env", FIELD_STR}, {"runtime", FIELD_STR}, \
    {"created_at", FIELD_STR}
#define STATS_FIELDS                                                                                            \
    {"cpu_percent", FIELD_ANY}, {"mem_usage", FIELD_INT}, {"mem_limit", FIELD_INT}, {"mem_percent", FIELD_ANY}, \
    {"net_in", FIELD_INT}, {"net_out", FIELD_INT}, {"block_read", FIELD_INT}, {"block_write", FIELD_INT},       \
    {"pids", FIELD_INT}
static const struct field record_container[] = {SUMMARY_FIELDS, {NULL}};
static const struct field record_stats[] = {SUMMARY_FIELDS, STATS_FIELDS, {NULL}};
static const struct field record_use[] = {STATS_FIELDS, {NULL}};
static const struct field record_detail[] = {
    SUMMARY_FIELDS,
    {"command", FIELD_STR},
    {"started_at", FIELD_STR},
    {"finished_at", FIELD_STR},
    {"restart_count", FIELD_INT},
    {"exit_code", FIELD_INT},
    {"health", FIELD_STR},
    {"app_version", FIELD_STR},
    {"size_rw", FIELD_INT},
    {"size_root_fs", FIELD_INT},
    {"port_bindings", FIELD_LIST},
    {"mounts", FIELD_LIST},
    {"stats", FIELD_OBJECT, record_use, .is_optional = true},
    {NULL},
};
static const struct listing listing_containers = {
    .basic = list_columns, .table = list_columns, .csv = list_csv, .record = record_container};

static const struct column stats_columns[] = {
    {"Name", 58, .path = "name"},      {"Cpu", -8, .cell = cell_cpu},         {"Memory", -10, .cell = cell_memory},
    {"NetIn", -10, .cell = cell_net_in}, {"NetOut", -10, .cell = cell_net_out}, {"Pids", -5, .cell = cell_pids},
    {"AppPath", 0, .path = "app_path"}, {NULL},
};
static const struct csv_column stats_csv[] = {
    {.path = "name"},    {.path = "app_path"}, {.cell = cell_cpu},      {.path = "mem_usage"},   {.path = "mem_limit"},
    {.path = "net_in"},  {.path = "net_out"},  {.path = "block_read"},  {.path = "block_write"}, {.path = "pids"}, {0},
};
static const struct listing listing_stats = {
    .basic = stats_columns, .table = stats_columns, .csv = stats_csv, .record = record_stats};

static bool run_list(struct cli *c, struct err *err)
{
    enum format format;
    if (!want_words(c, 0, "takes no arguments", err) || !format_of_list(c, &format, err))
        return false;
    struct call call = {.method = "GET", .path = "/containers"};
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return false;
    print_list(c, &listing_containers, json_get(reply, "containers"), format, false);
    return true;
}

static bool run_stats(struct cli *c, struct err *err)
{
    enum format format;
    if (c->args->words.len > 1)
        return err_set(err, ERR_INVALID, "only one argument expected: <container>");
    if (!format_of_list(c, &format, err))
        return false;
    struct call call = {.method = "GET", .path = "/container/stats"};
    if (c->args->words.len == 1)
        call_text(c, &call, "id", arg_word(c, 0));
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return false;
    print_list(c, &listing_stats, json_get(reply, "containers"), format, false);
    return true;
}

static const struct flag list_flags[] = {FLAG_FORMAT, FLAG_END};

static const struct command list_command = {
    .name = "list", .summary = "list the containers of apps", .flags = list_flags, .exec = run_list};

static const struct command stats_command = {
    .name = "stats",
    .words = "[<container>]",
    .summary = "show what running containers use, CPU over half a second",
    .about = ID_ABOUT,
    .flags = list_flags,
    .exec = run_stats,
};

/* ---- get ---- */

static void print_fact(struct cli *c, const char *name, const char *text)
{
    if (*text)
        say(c->out, "%14s: %s\n", name, text);
}

static void print_member(struct cli *c, const char *name, const json_t *o, const char *member)
{
    scoped_buf b = BUF_INIT(1 << 16);
    buf_add_str(&b, json_get_str(o, member, (struct str){0}));
    if (!str_starts(buf_str(&b), STR("0001-01-01"))) /* never */
        print_fact(c, name, buf_z(&b));
}

static void print_detail(struct cli *c, const json_t *o)
{
    static const struct {
        const char *name, *member;
    } facts[] = {
        {"Id", "id"}, {"Name", "name"}, {"App", "app_path"}, {"App id", "app_id"}, {"App version", "app_version"}, {"Env", "env"},
        {"State", "state"}, {"Status", "status"}, {"Health", "health"}, {"Image", "image"}, {"Command", "command"},
        {"Ports", "ports"}, {"Created", "created_at"}, {"Started", "started_at"}, {"Finished", "finished_at"},
    };
    for (size_t i = 0; i < ARRAY_LEN(facts); i++)
        print_member(c, facts[i].name, o, facts[i].member);
    say(c->out, "%14s: %lld\n", "Exit code", (long long)json_get_int(o, "exit_code", 0));
    scoped_buf written = BUF_INIT(64); /* beside the volumes */
    cell_size(&written, o, "size_rw");
    print_fact(c, "Written", buf_z(&written));
    const json_t *mounts = json_get(o, "mounts"), *stats = json_get(o, "stats");
    for (size_t i = 0; i < json_array_size(mounts); i++) {
        const json_t *m = json_array_get(mounts, i);
        say(c->out, "%14s: " STR_FMT " -> " STR_FMT "%s\n", i ? "" : "Mounts", STR_ARG(json_get_str(m, "source", (struct str){0})),
            STR_ARG(json_get_str(m, "destination", (struct str){0})), json_get_bool(m, "read_write", true) ? "" : " (read only)");
    }
    if (stats) {
        scoped_buf b = BUF_INIT(256);
        cell_cpu(&b, stats);
        print_fact(c, "Cpu", buf_z(&b));
        buf_clear(&b);
        cell_memory(&b, stats);
        print_fact(c, "Memory", buf_z(&b));
    }
}

static bool run_get(struct cli *c, struct err *err)
{
    enum format format;
    if (!want_words(c, 1, one_id, err) || !format_of_list(c, &format, err))
        return false;
    struct call call = {.method = "GET", .path = "/container"};
    call_text(c, &call, "id", arg_word(c, 0));
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return false;
    scoped_json *o = record_shape(record_detail, json_get(reply, "container"), false);
    if (format == FORMAT_JSON || format == FORMAT_JSONL || format == FORMAT_JSONL_PRETTY)
        print_json(c, o, format);
    else
        print_detail(c, o);
    return true;
}

static const struct command get_command = {
    .name = "get",
    .words = "<container>",
    .summary = "show all about one container",
    .about = ID_ABOUT,
    .flags = list_flags,
    .exec = run_get,
};

/* ---- logs ---- */

enum { FOLLOW_PAUSE_MS = 1000, BUILD_PAUSE_MS = 300 };

/* Prints the output of the container that `name` = `value` says; with -f goes on until interrupted. */
static bool show_logs(struct cli *c, const char *name, struct str value, struct err *err)
{
    struct str tail = args_text(c->args, "tail"), since = args_text(c->args, "since");
    bool follow = args_is_on(c->args, "follow");
    do {
        struct call call = {.method = "GET", .path = "/container/logs"};
        call_text(c, &call, name, value);
        call_text(c, &call, "tail", tail);
        call_text(c, &call, "since", since);
        json_t *reply = call_server(c, &call, err);
        if (!reply)
            return false;
        struct str text = json_get_str(reply, "logs", (struct str){0}), line;
        text = str_trim_right(text, '\n');
        while (text.len > 0 && str_next(&text, '\n', &line))
            say(c->out, STR_FMT "\n", STR_ARG(line));
        fflush(c->out);
        since = json_get_str(reply, "next", (struct str){0});
        tail = STR("10000");
        if (follow)
            nanosleep(&(struct timespec){.tv_sec = FOLLOW_PAUSE_MS / 1000, .tv_nsec = FOLLOW_PAUSE_MS % 1000 * 1000000L}, NULL);
    } while (follow);
    return true;
}

static bool run_logs(struct cli *c, struct err *err)
{
    return want_words(c, 1, one_id, err) && show_logs(c, "id", arg_word(c, 0), err);
}

static void print_lines(struct cli *c, struct str text)
{
    struct str line;
    text = str_trim_right(text, '\n');
    while (text.len > 0 && str_next(&text, '\n', &line))
        say(c->out, STR_FMT "\n", STR_ARG(line));
    fflush(c->out);
}

/* With -f until the build has ended. */
static bool show_build_log(struct cli *c, struct err *err)
{
    struct str tail = args_text(c->args, "tail"), from = {0};
    bool goes_on = args_is_on(c->args, "follow");
    if (!args_has(c->args, "tail"))
        tail = (struct str){0};
    if (args_has(c->args, "since"))
        return err_set(err, ERR_INVALID, "--since is for the output of containers: a build is shown whole, or its --tail");
    do {
        struct call call = {.method = "GET", .path = "/container/build_log"};
        call_text(c, &call, "appPath", arg_word(c, 0));
        if (from.len > 0)
            call_text(c, &call, "from", from);
        else if (tail.len > 0)
            call_text(c, &call, "tail", tail);
        json_t *reply = call_server(c, &call, err);
        if (!reply)
            return false;
        if (!json_get_bool(reply, "exists", false) && !json_get_bool(reply, "running", false))
            return err_set(err, ERR_NOT_FOUND, "no image of app " STR_FMT " has been built yet", STR_ARG(arg_word(c, 0)));
        print_lines(c, json_get_str(reply, "logs", (struct str){0}));
        from = json_get_str(reply, "next", (struct str){0});
        goes_on = goes_on && json_get_bool(reply, "running", false);
        if (goes_on)
            nanosleep(&(struct timespec){.tv_nsec = BUILD_PAUSE_MS * 1000000L}, NULL);
    } while (goes_on);
    return true;
}

static bool run_app_logs(struct cli *c, struct err *err)
{
    if (!want_words(c, 1, "requires one argument: <appPath>", err))
        return false;
    return args_is_on(c->args, "build") ? show_build_log(c, err) : show_logs(c, "appPath", arg_word(c, 0), err);
}

#define LOGS_FLAGS                                                                              \
    {"follow", "f", FLAG_BOOL, NULL, "go on with what comes, until interrupted"},               \
    {"tail", NULL, FLAG_STR, "100", "at most so many lines from the end"},                      \
    {"since", NULL, FLAG_STR, NULL, "only what is newer: 10m, 1h30m, 1d, or a time like 2026-01-31T12:00:00Z"}

static const struct flag logs_flags[] = {LOGS_FLAGS, FLAG_END};
static const struct flag app_logs_flags[] = {
    LOGS_FLAGS,
    {"build", NULL, FLAG_BOOL, NULL, "the output of the app's last build instead, all of it; with -f until it ends"},
    FLAG_END,
};

static const struct command logs_command = {
    .name = "logs",
    .words = "<container>",
    .summary = "show what a container has written",
    .about = ID_ABOUT,
    .flags = logs_flags,
    .exec = run_logs,
};

const struct command cmd_app_logs = {
    .name = "logs",
    .words = "<appPath>",
    .summary = "show what the app's container, or with --build its last build, has written",
    .flags = app_logs_flags,
    .exec = run_app_logs,
};

/* ---- start, stop ---- */

static bool change(struct cli *c, const char *path, const char *done, struct err *err)
{
    if (!want_words(c, 1, one_id, err))
        return false;
    struct call call = {.method = "POST", .path = path, .is_long = true};
    call_text(c, &call, "id", arg_word(c, 0));
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return false;
    say(c->out, "%s " STR_FMT "\n", done, STR_ARG(json_get_str(reply, "name", (struct str){0})));
    return true;
}

static bool run_start(struct cli *c, struct err *err)
{
    return change(c, "/container/start", "Started", err);
}

static bool run_stop(struct cli *c, struct err *err)
{
    return change(c, "/container/stop", "Stopped", err);
}

static const struct flag no_flags[] = {FLAG_END};

static const struct command start_command = {
    .name = "start",
    .words = "<container>",
    .summary = "start a container and wait until its app answers",
    .about = ID_ABOUT,
    .flags = no_flags,
    .exec = run_start,
};

static const struct command stop_command = {
    .name = "stop",
    .words = "<container>",
    .summary = "stop a container; the next request to its app starts it again",
    .about = ID_ABOUT,
    .flags = no_flags,
    .exec = run_stop,
};

/* ---- prune ---- */

static void cell_item_size(struct buf *out, const json_t *row)
{
    if (json_get_int(row, "size", 0) > 0)
        cell_size(out, row, "size");
}

static const struct column prune_columns[] = {
    {"Kind", 10, .path = "kind"}, {"Size", -10, .cell = cell_item_size}, {"Name", 58, .path = "name"}, {"Problem", 0, .path = "problem"}, {NULL},
};
static const struct csv_column prune_csv[] = {
    {.path = "kind"}, {.path = "name"}, {.path = "app_id"}, {.path = "size"}, {.path = "problem", .is_quoted = true}, {0},
};
static const struct field record_prune[] = {
    {"kind", FIELD_STR}, {"name", FIELD_STR}, {"app_id", FIELD_STR}, {"size", FIELD_INT}, {"problem", FIELD_STR}, {NULL},
};
static const struct listing listing_prune = {
    .basic = prune_columns, .table = prune_columns, .csv = prune_csv, .record = record_prune};

static bool run_prune(struct cli *c, struct err *err)
{
    enum format format;
    bool is_dry_run = args_is_on(c->args, "dry-run");
    if (!want_words(c, 0, "takes no arguments", err) || !format_of_list(c, &format, err))
        return false;
    struct call call = {.method = "POST", .path = "/container/prune", .is_long = true};
    call_bool(c, &call, "dryRun", is_dry_run);
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return false;
    const json_t *items = json_get(reply, "items");
    bool is_text = format == FORMAT_TABLE || format == FORMAT_BASIC;
    if (!is_text || json_array_size(items) > 0)
        print_list(c, &listing_prune, items, format, false);
    if (is_text) {
        scoped_buf b = BUF_INIT(64);
        cell_size(&b, reply, "size");
        say(c->out, "%s up to %s\n", is_dry_run ? "Would free" : "Freed", buf_z(&b));
    }
    return true;
}

static const struct flag prune_flags[] = {FLAG_DRY_RUN, FLAG_FORMAT, FLAG_END};

static const struct command prune_command = {
    .name = "prune",
    .summary = "remove superseded containers and images, as the server does by itself now and then",
    .about = "   Stopped containers and images of older versions, beyond the few of each app that were used last\n"
             "   (system.container_versions_to_keep), those used longest ago beyond system.container_disk_budget_mb,\n"
             "   and what is left of deleted apps. Only what this server has made; never volumes.\n",
    .flags = prune_flags,
    .exec = run_prune,
};

static const struct command *const commands[] = {
    &prune_command, &list_command, &get_command, &logs_command, &stats_command, &start_command, &stop_command, NULL,
};

const struct command cmd_container = {.name = "container", .summary = "look at and manage the containers of apps", .subs = commands};
