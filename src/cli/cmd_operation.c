/* cli/cmd_operation.c: `openrun operation`: what runs and ran on the server: builds, reloads, deletes.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"

static const char one_id[] = "requires one argument: <operationId>";

static bool run_list(struct cli *c, struct err *err)
{
    enum format format;
    if (!want_words(c, 0, "takes no arguments", err) || !format_of_list(c, &format, err))
        return false;
    struct call call = {.method = "GET", .path = "/operations"};
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return false;
    print_list(c, &listing_operations, json_get(reply, "operations"), format, false);
    return true;
}

static void print_fact(struct cli *c, const char *label, const json_t *value)
{
    if (json_string_length(value) > 0)
        say(c->out, "%9s: " STR_FMT "\n", label, STR_ARG(json_str(value)));
}

static void print_operation(struct cli *c, const json_t *op)
{
    print_fact(c, "Id", json_at(op, "id"));
    print_fact(c, "Operation", json_at(op, "name"));
    print_fact(c, "Target", json_at(op, "target"));
    print_fact(c, "User", json_at(op, "user_id"));
    print_fact(c, "State", json_at(op, "state"));
    print_fact(c, "Outcome", json_at(op, "outcome"));
    print_fact(c, "Created", json_at(op, "create_time"));
    print_fact(c, "Started", json_at(op, "start_time"));
    print_fact(c, "Ended", json_at(op, "end_time"));
    const json_t *lines = json_at(op, "lines");
    struct str error = json_str(json_at(op, "error"));
    if (json_array_size(lines) > 0)
        str_cut(error, '\n', &error, NULL); /* what follows is among the lines */
    if (error.len > 0)
        say(c->out, "    Error: " STR_FMT "\n", STR_ARG(str_trim_right(error, ':')));
    if (json_array_size(lines) > 0)
        say(c->out, "\n");
    if (json_get_int(op, "dropped_count", 0) > 0)
        say(c->out, "... %lld lines left out ...\n", (long long)json_get_int(op, "dropped_count", 0));
    for (size_t i = 0; i < json_array_size(lines); i++) {
        struct str line = json_str(json_array_get(lines, i));
        if (!stream_is_count(line))
            say(c->out, STR_FMT "\n", STR_ARG(line));
    }
}

static bool run_show(struct cli *c, struct err *err)
{
    enum format format;
    if (!want_words(c, 1, one_id, err) || !format_of_list(c, &format, err))
        return false;
    struct call call = {.method = "GET", .path = "/operation"};
    call_text(c, &call, "id", arg_word(c, 0));
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return false;
    scoped_json *op = record_shape(record_operation, json_get(reply, "operation"), false);
    if (format == FORMAT_BASIC) {
        print_operation(c, op);
    } else if (format >= FORMAT_JSON) {
        print_json(c, op, format);
    } else {
        scoped_json *rows = json_array();
        json_array_append(rows, op);
        print_list(c, &listing_operations, rows, format, false);
    }
    return true;
}

static bool run_cancel(struct cli *c, struct err *err)
{
    if (!want_words(c, 1, one_id, err))
        return false;
    struct call call = {.method = "POST", .path = "/operation/cancel"};
    call_text(c, &call, "id", arg_word(c, 0));
    if (!call_server(c, &call, err))
        return false;
    say(c->out, "Cancelling operation " STR_FMT "\n", STR_ARG(arg_word(c, 0)));
    return true;
}

static bool run_watch(struct cli *c, struct err *err)
{
    if (!want_words(c, 1, one_id, err))
        return false;
    struct call call = {.method = "GET", .path = "/operation/watch", .is_long = true, .is_watch = true};
    call_text(c, &call, "id", arg_word(c, 0));
    return call_server(c, &call, err) != NULL;
}

static const struct flag format_flags[] = {FLAG_FORMAT, FLAG_END};

static const struct command list_command = {
    .name = "list",
    .summary = "list operations, the newest first: all that run and the last 200 that have ended",
    .flags = format_flags,
    .exec = run_list,
};

static const struct command show_command = {
    .name = "show",
    .aliases = "get",
    .words = "<operationId>",
    .summary = "show an operation and the last lines of its progress",
    .flags = format_flags,
    .exec = run_show,
};

static const struct command cancel_command = {
    .name = "cancel",
    .words = "<operationId>",
    .summary = "end an operation before its change is made, undoing what it has done",
    .exec = run_cancel,
};

static const struct command watch_command = {
    .name = "watch",
    .words = "<operationId>",
    .summary = "follow the progress of an operation until it ends; fails if it fails",
    .exec = run_watch,
};

static const struct command *const commands[] = {&list_command, &show_command, &cancel_command, &watch_command, NULL};

const struct command cmd_operation = {
    .name = "operation", .summary = "watch and cancel what the server is doing", .subs = commands};
