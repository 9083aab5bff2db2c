/* cli/cmd_spec.c: `openrun spec`: the app specs that there are, and what one takes.
 *
 * The server is asked, since it has the user's own specs; when this machine's server is not running, the
 * binary and the home say the same.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"
#include "server.h"

enum { DEFAULT_CUT = 60, ARG_CUT = 80, WRAP = 100 };

static const struct field record_spec[] = {
    {"name", FIELD_STR}, {"summary", FIELD_STR}, {"source", FIELD_STR}, {NULL}};
static const struct field record_param[] = {
    {"name", FIELD_STR},      {"type", FIELD_STR},        {"default", FIELD_STR},
    {"required", FIELD_BOOL}, {"description", FIELD_STR}, {NULL},
};
static const struct field record_arg[] = {{"name", FIELD_STR}, {"default", FIELD_STR}, {NULL}};
static const struct field record_spec_file[] = {{"name", FIELD_STR}, {"size", FIELD_INT}, {NULL}};
static const struct field record_whole[] = {
    {"name", FIELD_STR},
    {"summary", FIELD_STR},
    {"source", FIELD_STR},
    {"port", FIELD_INT},
    {"params", FIELD_OBJECTS, record_param},
    {"build_args", FIELD_OBJECTS, record_arg},
    {"images", FIELD_LIST},
    {"files", FIELD_OBJECTS, record_spec_file},
    {NULL},
};

static const struct column list_columns[] = {
    {"Name", 24, .path = "name"}, {"Source", 8, .path = "source"}, {"Summary", 0, .path = "summary"}, {NULL}};
static const struct csv_column list_csv[] = {
    {.path = "name"}, {.path = "source"}, {.path = "summary", .is_quoted = true}, {0}};
static const struct listing listing_specs = {
    .basic = list_columns, .table = list_columns, .csv = list_csv, .record = record_spec};

/* Asking over the network is asking that server; asking here needs none. */
static bool has_server(const struct cli *c)
{
    return c->config.is_tcp || server_accepts(c);
}

static bool run_list(struct cli *c, struct err *err)
{
    enum format format;
    if (!want_words(c, 0, "takes no arguments", err) || !format_of_list(c, &format, err))
        return false;
    struct call call = {.method = "GET", .path = "/specs"};
    json_t *reply =
        has_server(c) ? call_server(c, &call, err) : keep_json(c, server_spec_list(c->arena, c->home.dir));
    if (!reply)
        return false;
    print_list(c, &listing_specs, json_get(reply, "specs"), format, false);
    return true;
}

/* ---- show ---- */

/* A value as a cell: its first line, cut. */
static struct str cell_of(struct cli *c, struct str value, size_t max)
{
    struct str line, rest = {0};
    bool is_cut = str_cut(value, '\n', &line, &rest) && rest.len > 0;
    struct str shown = cut_chars(line, max);
    return is_cut || shown.len < line.len ? str_cat(c->arena, shown, STR(" ...")) : shown;
}

static int widest(const json_t *rows, const char *member, int least)
{
    size_t width = (size_t)least;
    for (size_t i = 0; i < json_array_size(rows); i++)
        width = MAX(width, json_get_str(json_array_get(rows, i), member, (struct str){0}).len);
    return (int)MIN(width, 40);
}

static void print_cell(struct cli *c, struct str text, int width)
{
    say(c->out, "%-*.*s", width, (int)text.len, text.ptr ? text.ptr : "");
}

static void print_params(struct cli *c, const json_t *params)
{
    int width = widest(params, "name", 12);
    for (size_t i = 0; i < json_array_size(params); i++) {
        const json_t *p = json_array_get(params, i);
        struct str none = {0}, value = json_get_str(p, "default", none);
        bool is_required = json_get_bool(p, "required", false);
        say(c->out, "  ");
        print_cell(c, json_get_str(p, "name", none), width + 2);
        print_cell(c, json_get_str(p, "type", none), 9);
        say(c->out, STR_FMT "\n", STR_ARG(json_get_str(p, "description", none)));
        if (is_required)
            say(c->out, "  %-*srequired\n", width + 11, "");
        else if (value.len > 0)
            say(c->out, "  %-*sdefault: " STR_FMT "\n", width + 11, "",
                STR_ARG(cell_of(c, value, DEFAULT_CUT)));
    }
}

static void print_args(struct cli *c, const json_t *args)
{
    int width = widest(args, "name", 12);
    for (size_t i = 0; i < json_array_size(args); i++) {
        const json_t *arg = json_array_get(args, i);
        say(c->out, "  ");
        print_cell(c, json_get_str(arg, "name", (struct str){0}), width + 2);
        say(c->out, STR_FMT "\n",
            STR_ARG(cell_of(c, json_get_str(arg, "default", (struct str){0}), ARG_CUT)));
    }
}

/* Names side by side, as many as fit on a line. */
static void print_names(struct cli *c, const json_t *files)
{
    size_t at = 0;
    for (size_t i = 0; i < json_array_size(files); i++) {
        struct str name = json_get_str(json_array_get(files, i), "name", (struct str){0});
        bool is_first = at == 0 || at + name.len + 2 > WRAP;
        say(c->out, "%s" STR_FMT, is_first ? (at ? "\n  " : "  ") : "  ", STR_ARG(name));
        at = (is_first ? 0 : at) + name.len + 2;
    }
    say(c->out, "\n");
}

static void print_spec(struct cli *c, const json_t *s)
{
    const struct str none = {0};
    const json_t *params = json_get(s, "params"), *args = json_get(s, "build_args");
    long long port = (long long)json_get_int(s, "port", 0);
    say(c->out, STR_FMT " (" STR_FMT ")\n", STR_ARG(json_get_str(s, "name", none)),
        STR_ARG(json_get_str(s, "source", none)));
    if (json_get_str(s, "summary", none).len > 0)
        say(c->out, STR_FMT "\n", STR_ARG(json_get_str(s, "summary", none)));
    if (port > 0)
        say(c->out, "\nPort: %lld\n", port);
    if (json_array_size(params) > 0) {
        say(c->out, "\nParams (--param NAME=VALUE):\n");
        print_params(c, params);
    }
    if (json_array_size(args) > 0) {
        say(c->out, "\nBuild arguments (--carg NAME=VALUE):\n");
        print_args(c, args);
    }
    say(c->out, "\nFiles (one of the same name in the source goes before it):\n");
    print_names(c, json_get(s, "files"));
}

static bool run_show(struct cli *c, struct err *err)
{
    enum format format;
    if (!want_words(c, 1, "expected one argument: <spec>", err) || !format_of_list(c, &format, err))
        return false;
    struct call call = {.method = "GET", .path = "/spec"};
    call_text(c, &call, "name", arg_word(c, 0));
    json_t *reply = has_server(c) ? call_server(c, &call, err)
                                  : keep_json(c, server_spec_get(c->arena, c->home.dir, arg_word(c, 0), err));
    if (!reply)
        return false;
    scoped_json *o = record_shape(record_whole, json_get(reply, "spec"), false);
    if (format == FORMAT_JSON || format == FORMAT_JSONL || format == FORMAT_JSONL_PRETTY)
        print_json(c, o, format);
    else
        print_spec(c, o);
    return true;
}

static const struct flag flags[] = {FLAG_FORMAT, FLAG_END};

static const struct command list_command = {
    .name = "list", .summary = "list the app specs, bundled and your own", .flags = flags, .exec = run_list};

static const struct command show_command = {
    .name = "show",
    .words = "<spec>",
    .summary = "show what a spec takes: params, build arguments, port, files",
    .about = "   Your own specs are folders in $OPENRUN_HOME/config/appspecs; one of the same name replaces "
             "the bundled one.\n"
             "   Without a running server, the specs of this binary and home are shown.\n",
    .flags = flags,
    .exec = run_show,
};

static const struct command *const subs[] = {&list_command, &show_command, NULL};

const struct command cmd_spec = {
    .name = "spec", .summary = "app specs: how an app of a kind is built and run", .subs = subs};
