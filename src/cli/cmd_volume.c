/* cli/cmd_volume.c: `openrun volume`: what the volumes of apps are, and removal of those that deleted apps have left.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"

/* ---- list ---- */

static void cell_used(struct buf *out, const json_t *row)
{
    buf_add_z(out, json_get_bool(row, "in_use", false) ? "yes" : "no");
}

static void cell_app(struct buf *out, const json_t *row)
{
    buf_add_str(out, json_get_str(row, "app_path", (struct str){0}));
    buf_add_z(out, json_get_bool(row, "app_exists", true) ? "" : " (deleted)");
}

static const struct column list_columns[] = {
    {"Volume", 24, .path = "volume"}, {"Env", 8, .path = "env"}, {"Used", 4, .cell = cell_used},
    {"Created", 25, .path = "created_at"}, {"AppPath", 30, .cell = cell_app}, {"Name", 0, .path = "name"}, {NULL},
};
static const struct csv_column list_csv[] = {
    {.path = "name"}, {.path = "volume", .is_quoted = true}, {.path = "app_id"}, {.path = "app_path"}, {.path = "app_exists"},
    {.path = "env"}, {.path = "in_use"}, {.path = "created_at"}, {0},
};
static const struct field record_volume[] = {
    {"name", FIELD_STR}, {"volume", FIELD_STR}, {"app_id", FIELD_STR}, {"app_path", FIELD_STR}, {"app_exists", FIELD_BOOL},
    {"env", FIELD_STR}, {"in_use", FIELD_BOOL}, {"created_at", FIELD_STR}, {NULL},
};
static const struct listing listing_volumes = {
    .basic = list_columns, .table = list_columns, .csv = list_csv, .record = record_volume};

static bool run_list(struct cli *c, struct err *err)
{
    enum format format;
    if (!want_words(c, 0, "takes no arguments", err) || !format_of_list(c, &format, err))
        return false;
    struct call call = {.method = "GET", .path = "/volumes"};
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return false;
    print_list(c, &listing_volumes, json_get(reply, "volumes"), format, false);
    return true;
}

static const struct flag list_flags[] = {FLAG_FORMAT, FLAG_END};

static const struct command list_command = {
    .name = "list",
    .summary = "list the volumes of apps",
    .about = "   Those that this server has made and labelled.\n",
    .flags = list_flags,
    .exec = run_list,
};

/* ---- prune ---- */

static const struct column prune_columns[] = {
    {"Volume", 24, .path = "volume"}, {"AppPath", 30, .path = "app_path"}, {"Name", 104, .path = "name"},
    {"Problem", 0, .path = "problem"}, {NULL},
};
static const struct csv_column prune_csv[] = {
    {.path = "name"}, {.path = "volume", .is_quoted = true}, {.path = "app_id"}, {.path = "app_path"},
    {.path = "problem", .is_quoted = true}, {0},
};
static const struct field record_prune[] = {
    {"name", FIELD_STR}, {"volume", FIELD_STR}, {"app_id", FIELD_STR}, {"app_path", FIELD_STR}, {"problem", FIELD_STR}, {NULL},
};
static const struct listing listing_prune = {
    .basic = prune_columns, .table = prune_columns, .csv = prune_csv, .record = record_prune};

static const json_t *prune(struct cli *c, bool is_dry_run, struct err *err)
{
    struct call call = {.method = "POST", .path = "/volume/prune", .is_long = true};
    call_bool(c, &call, "dryRun", is_dry_run);
    return call_server(c, &call, err);
}

/* How many have gone, or would; those that stay are told with the reason. */
static size_t count_gone(struct cli *c, const json_t *items, bool tells)
{
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *item = json_array_get(items, i);
        struct str problem = json_get_str(item, "problem", (struct str){0});
        n += problem.len == 0;
        if (problem.len > 0 && tells)
            say(c->out, STR_FMT " stays: " STR_FMT "\n", STR_ARG(json_get_str(item, "name", (struct str){0})), STR_ARG(problem));
    }
    return n;
}

/* For people: says first what goes. */
static bool run_prune(struct cli *c, struct err *err)
{
    enum format format;
    bool is_dry_run = args_is_on(c->args, "dry-run");
    if (!want_words(c, 0, "takes no arguments", err) || !format_of_list(c, &format, err))
        return false;
    bool is_text = format == FORMAT_TABLE || format == FORMAT_BASIC;
    const json_t *reply = prune(c, is_text || is_dry_run, err);
    if (!reply)
        return false;
    const json_t *items = json_get(reply, "items");
    if (!is_text || json_array_size(items) > 0)
        print_list(c, &listing_prune, items, format, false);
    if (!is_text)
        return true;
    fflush(c->out);
    if (!is_dry_run && json_array_size(items) > 0) {
        reply = prune(c, false, err);
        if (!reply)
            return false;
        items = json_get(reply, "items");
    }
    size_t n = count_gone(c, items, !is_dry_run);
    say(c->out, "%s %zu volume%s\n", is_dry_run ? "Would remove" : "Removed", n, n == 1 ? "" : "s");
    return true;
}

static const struct flag prune_flags[] = {FLAG_DRY_RUN, FLAG_FORMAT, FLAG_END};

static const struct command prune_command = {
    .name = "prune",
    .summary = "remove the volumes of apps that are no more, with all that is in them",
    .about = "   Never a volume of an app that exists, used or not, and only those that this server has made and labelled.\n"
             "   What goes is printed first; --dry-run prints it and removes nothing.\n",
    .flags = prune_flags,
    .exec = run_prune,
};

static const struct command *const commands[] = {&prune_command, &list_command, NULL};

const struct command cmd_volume = {.name = "volume", .summary = "look at the volumes of apps, and remove what deleted apps have left", .subs = commands};
