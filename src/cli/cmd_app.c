/* cli/cmd_app.c: `openrun app`: create, list, look at, delete, approve, reload and promote apps.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"

#define GLOB_ABOUT                                                                                      \
    "   <appPathGlob> selects apps: [domain:]path, where * is one path element and ** any number of\n" \
    "   them; \"all\" is every app. Without a domain only apps without a domain are selected.\n"

static const char one_glob[] = "requires one argument: <appPathGlob>";

/* ---- create ---- */

/* Adds each "k=v" of list flag `flag` to `out`; a later key wins. Without '=' fails with `message` unless that
 * is NULL. */
static bool add_pairs(struct cli *c, json_t *out, const char *flag, const char *message, struct err *err)
{
    const struct str_list *list = args_list(c->args, flag);
    for (size_t i = 0; i < list->len; i++) {
        struct str key, value;
        if (!split_pair(list->items[i], &key, &value) && message)
            return err_set(err, ERR_INVALID, "%s: " STR_FMT, message, STR_ARG(list->items[i]));
        json_set_key(out, key, json_from_str(value));
    }
    return true;
}

/* --conf-str: the value becomes a TOML basic string. */
static bool add_quoted_pairs(struct cli *c, json_t *out, struct err *err)
{
    const struct str_list *list = args_list(c->args, "conf-str");
    for (size_t i = 0; i < list->len; i++) {
        struct str key, value;
        if (!split_pair(list->items[i], &key, &value))
            return err_set(err, ERR_INVALID, "invalid app config format: " STR_FMT, STR_ARG(list->items[i]));
        scoped_buf b = BUF_INIT(1 << 20);
        buf_add_char(&b, '"');
        buf_add_json(&b, value); /* JSON's escapes are TOML's too */
        buf_add_char(&b, '"');
        json_set_key(out, key, json_from_str(buf_str(&b)));
    }
    return true;
}

static json_t *trimmed_list(const struct str_list *list)
{
    json_t *out = json_array();
    for (size_t i = 0; i < list->len; i++)
        json_array_append_new(out, json_from_str(str_trim(list->items[i])));
    return out;
}

/* The CreateAppRequest. A new reference, or NULL. */
static json_t *create_request(struct cli *c, struct str source, struct err *err)
{
    const struct args *args = c->args;
    const struct str_list *volumes = args_list(args, "container-volume");
    scoped_json *params = json_object(), *options = json_object(), *cargs = json_object(), *config = json_object();
    if (!add_pairs(c, params, "param", "invalid param format", err) ||
        !add_pairs(c, options, "container-option", NULL, err) ||
        !add_pairs(c, cargs, "container-arg", "invalid container arg format", err) ||
        !check_volumes(volumes->items, volumes->len, err) ||
        !add_pairs(c, config, "app-config", "invalid app config format", err) || !add_quoted_pairs(c, config, err))
        return NULL;
    json_t *r = json_object();
    json_set_str(r, "path", arg_word(c, 1));
    json_set_str(r, "source_url", source);
    json_set_bool(r, "is_dev", args_is_on(args, "dev"));
    json_set_str(r, "app_authn", args_text(args, "auth"));
    json_set_str(r, "git_branch", args_text(args, "branch"));
    json_set_str(r, "git_commit", args_text(args, "commit"));
    json_set_str(r, "git_auth_name", args_text(args, "git-auth"));
    json_set_str(r, "spec", args_text(args, "spec"));
    json_object_set(r, "param_values", params);
    json_object_set(r, "container_options", options);
    json_object_set(r, "container_args", cargs);
    json_object_set_new(r, "container_volumes", trimmed_list(volumes));
    json_object_set(r, "appconfig", config);
    json_object_set_new(r, "bindings", trimmed_list(args_list(args, "binding")));
    json_set_str(r, "stage_at", args_text(args, "stage-at"));
    json_set_bool(r, "verify", args_is_on(args, "verify"));
    return r;
}

static bool run_create(struct cli *c, struct err *err)
{
    struct str source;
    if (!want_words(c, 2, "require two arguments: <app_source_url> <app_path>", err) ||
        !want_result_format(c, err) || !resolve_source(c, arg_word(c, 0), &source, err))
        return false;
    scoped_json *request = create_request(c, source, err);
    if (!request)
        return false;
    bool approve = args_is_on(c->args, "approve");
    struct call call = {.method = "POST", .path = "/app", .body = request, .is_long = true};
    call_bool(c, &call, "approve", approve);
    call_bool(c, &call, "dryRun", args_is_on(c->args, "dry-run"));
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return false;
    if (print_result_json(c, reply))
        return true;
    print_created(c, reply, approve);
    print_dry_run(c, reply);
    return true;
}

static const struct flag create_flags[] = {
    {"dev", "d", FLAG_BOOL, NULL, "development mode: changes of the source show at once, no staging"},
    {"approve", "a", FLAG_BOOL, NULL, "approve the permissions that the app asks for"},
    {"auth", NULL, FLAG_STR, "default", "who may open it: default, none, system, builtin or the name of a sign-in"},
    {"branch", "b", FLAG_STR, "main", "git branch"},
    {"commit", "c", FLAG_STR, NULL, "git commit; goes before the branch"},
    {"git-auth", "g", FLAG_STR, NULL, "name of the git_auth entry with the credentials"},
    {"spec", NULL, FLAG_STR, NULL, "app spec, like python-flask or image"},
    {"stage-at", NULL, FLAG_STR, NULL, "where the staging app is: domain, path, or a domain name"},
    {"param", "p", FLAG_LIST, NULL, "set a parameter: name=value"},
    {"container-option", "copt", FLAG_LIST, NULL, "option for running the container: name[=value]"},
    {"container-arg", "carg", FLAG_LIST, NULL, "argument for building the image: name=value"},
    {"container-volume", "cvol", FLAG_LIST, NULL, "volume of the container"},
    {"binding", "bindings bind", FLAG_LIST, NULL, "path of a service binding"},
    {"app-config", "conf", FLAG_LIST, NULL, "app configuration: name=<TOML value>"},
    {"conf-str", NULL, FLAG_LIST, NULL, "app configuration: name=<text>"},
    {"verify", NULL, FLAG_BOOL, NULL, "start its containers and wait until they are healthy, or create nothing"},
    FLAG_DRY_RUN,
    FLAG_RESULT_FORMAT,
    FLAG_END,
};

static const struct command create_command = {
    .name = "create",
    .words = "<app_source_url> <app_path>",
    .summary = "create an app",
    .about = "   <app_source_url> is a local folder, a git URL, with #folder at the end for a folder in it, or \"-\"\n"
             "   for an app that needs no source. <app_path> is [domain:]path.\n\n"
             "   openrun app create --approve ./myapp /myapp\n"
             "   openrun app create --spec python-flask --approve github.com/me/repo/app example.com:/\n",
    .flags = create_flags,
    .exec = run_create,
};

/* ---- list, get ---- */

static bool run_list(struct cli *c, struct err *err)
{
    enum format format;
    if (!format_of_list(c, &format, err))
        return false;
    if (c->args->words.len > 1)
        return err_set(err, ERR_INVALID, "only one argument expected: <appPathGlob>");
    struct call call = {.method = "GET", .path = "/apps"};
    call_bool(c, &call, "internal", args_is_on(c->args, "internal"));
    if (c->args->words.len == 1)
        call_text(c, &call, "appPathGlob", arg_word(c, 0));
    if (args_is_on(c->args, "reveal"))
        call_bool(c, &call, "reveal", true);
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return false;
    print_list(c, &listing_apps, json_get(reply, "apps"), format, args_is_on(c->args, "reveal"));
    return true;
}

#define FLAG_REVEAL {"reveal", NULL, FLAG_BOOL, NULL, "show webhook tokens in JSON instead of masking them"}

static const struct flag list_flags[] = {
    {"internal", "i", FLAG_BOOL, NULL, "also the staging and preview apps of the apps selected"},
    FLAG_FORMAT,
    FLAG_REVEAL,
    FLAG_END,
};

static const struct command list_command = {
    .name = "list",
    .words = "[<appPathGlob>]",
    .summary = "list apps",
    .about = GLOB_ABOUT,
    .flags = list_flags,
    .exec = run_list,
};

static void print_fact(struct cli *c, const char *label, struct str value)
{
    if (value.len > 0)
        say(c->out, "%12s: " STR_FMT "\n", label, STR_ARG(value));
}

static void print_cell_fact(struct cli *c, const char *label, void (*cell)(struct buf *, const json_t *),
                            const json_t *app)
{
    scoped_buf b = BUF_INIT(1 << 16);
    cell(&b, app);
    print_fact(c, label, buf_str(&b));
}

/* One line per entry of the map or list at `path`. */
static void print_entries(struct cli *c, const char *label, const json_t *app, const char *path)
{
    json_t *value = json_at(app, path);
    for (size_t i = 0; i < json_array_size(value); i++)
        print_fact(c, i == 0 ? label : "", json_str(json_array_get(value, i)));
    bool is_first = true;
    for (void *it = json_object_iter(value); it; it = json_object_iter_next(value, it)) {
        struct str v = json_str(json_object_iter_value(it));
        print_fact(c, is_first ? label : "",
                   str_printf(c->arena, "%s=" STR_FMT, json_object_iter_key(it), STR_ARG(v)));
        is_first = false;
    }
}

static void print_app(struct cli *c, const json_t *app)
{
    print_fact(c, "App", app_path_of(c, app));
    print_fact(c, "Name", json_str(json_at(app, "metadata.name")));
    print_fact(c, "Id", json_str(json_at(app, "id")));
    print_cell_fact(c, "Type", cell_app_type, app);
    int64_t version = json_integer_value(json_at(app, "metadata.version_metadata.version"));
    print_fact(c, "Version", str_printf(c->arena, "%lld", (long long)version));
    print_cell_fact(c, "Auth", cell_app_auth, app);
    print_fact(c, "Source", json_str(json_at(app, "source_url")));
    print_cell_fact(c, "Git", cell_git_info, app);
    print_fact(c, "Spec", json_str(json_at(app, "metadata.spec")));
    print_fact(c, "Created", json_str(json_at(app, "create_time")));
    print_fact(c, "Updated", json_str(json_at(app, "update_time")));
    print_entries(c, "Params", app, "metadata.param_values");
    print_entries(c, "Options", app, "metadata.container_options");
    print_entries(c, "Build args", app, "metadata.container_args");
    print_entries(c, "Volumes", app, "metadata.container_volumes");
    print_entries(c, "Config", app, "metadata.appconfig");
    print_entries(c, "Bindings", app, "metadata.bindings");
    print_entries(c, "Plugins", app, "metadata.loads");
}

static bool run_get(struct cli *c, struct err *err)
{
    enum format format;
    if (!want_words(c, 1, "requires one argument: <appPath>", err) || !format_of_list(c, &format, err))
        return false;
    struct call call = {.method = "GET", .path = "/app"};
    call_text(c, &call, "appPath", arg_word(c, 0));
    bool reveal = args_is_on(c->args, "reveal");
    if (reveal)
        call_bool(c, &call, "reveal", true);
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return false;
    scoped_json *app = record_shape(record_app, json_get(reply, "app_entry"), reveal);
    if (format == FORMAT_BASIC) {
        print_app(c, app);
    } else if (format >= FORMAT_JSON) {
        print_json(c, app, format);
    } else {
        scoped_json *rows = json_array();
        json_array_append(rows, app);
        print_list(c, &listing_apps, rows, format, reveal);
    }
    return true;
}

static const struct flag get_flags[] = {FLAG_FORMAT, FLAG_REVEAL, FLAG_END};

static const struct command get_command = {
    .name = "get",
    .aliases = "show",
    .words = "<appPath>",
    .summary = "show one app",
    .flags = get_flags,
    .exec = run_get,
};

/* ---- delete, approve, promote, reload ---- */

static bool run_delete(struct cli *c, struct err *err)
{
    if (!want_words(c, 1, one_glob, err) || !want_result_format(c, err))
        return false;
    struct call call = {.method = "DELETE", .path = "/app", .is_long = true};
    call_text(c, &call, "appPathGlob", arg_word(c, 0));
    call_bool(c, &call, "dryRun", args_is_on(c->args, "dry-run"));
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return false;
    if (print_result_json(c, reply))
        return true;
    print_deleted(c, reply, "app");
    print_dry_run(c, reply);
    return true;
}

static const struct flag dry_run_flags[] = {FLAG_DRY_RUN, FLAG_RESULT_FORMAT, FLAG_END};

static const struct command delete_command = {
    .name = "delete",
    .words = "<appPathGlob>",
    .summary = "delete apps, with their staging and preview apps",
    .about = GLOB_ABOUT,
    .flags = dry_run_flags,
    .exec = run_delete,
};

static bool run_approve(struct cli *c, struct err *err)
{
    if (!want_words(c, 1, one_glob, err) || !want_result_format(c, err))
        return false;
    struct call call = {.method = "POST", .path = "/approve", .is_long = true};
    call_text(c, &call, "appPathGlob", arg_word(c, 0));
    call_bool(c, &call, "dryRun", args_is_on(c->args, "dry-run"));
    call_bool(c, &call, "promote", args_is_on(c->args, "promote"));
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return false;
    if (print_result_json(c, reply))
        return true;
    const json_t *results = json_get(reply, "staged_update_results"), *promoted = json_get(reply, "promote_results");
    size_t approved = 0;
    for (size_t i = 0; i < json_array_size(results); i++) {
        approved += json_get_bool(json_array_get(results, i), "needs_approval", false);
        print_approve_result(c, json_array_get(results, i));
    }
    print_promoted(c, promoted);
    say(c->out, "%zu app(s) audited, %zu app(s) approved, %zu app(s) promoted.\n", json_array_size(results), approved,
        json_array_size(promoted));
    print_dry_run(c, reply);
    return true;
}

static const struct flag promote_flags[] = {FLAG_PROMOTE, FLAG_DRY_RUN, FLAG_RESULT_FORMAT, FLAG_END};

static const struct command approve_command = {
    .name = "approve",
    .words = "<appPathGlob>",
    .summary = "approve the permissions that apps ask for",
    .about = GLOB_ABOUT,
    .flags = promote_flags,
    .exec = run_approve,
};

static bool run_promote(struct cli *c, struct err *err)
{
    if (!want_words(c, 1, one_glob, err) || !want_result_format(c, err))
        return false;
    struct call call = {.method = "POST", .path = "/promote", .is_long = true};
    call_text(c, &call, "appPathGlob", arg_word(c, 0));
    call_bool(c, &call, "dryRun", args_is_on(c->args, "dry-run"));
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return false;
    if (print_result_json(c, reply))
        return true;
    const json_t *promoted = json_get(reply, "promote_results");
    for (size_t i = 0; i < json_array_size(promoted); i++)
        say(c->out, "Promoting " STR_FMT "\n", STR_ARG(app_path_of(c, json_array_get(promoted, i))));
    say(c->out, "%zu app(s) promoted.\n", json_array_size(promoted));
    print_dry_run(c, reply);
    return true;
}

static const struct command promote_command = {
    .name = "promote",
    .words = "<appPathGlob>",
    .summary = "make the staging version of apps the production version",
    .about = GLOB_ABOUT,
    .flags = dry_run_flags,
    .exec = run_promote,
};

static void print_reloaded(struct cli *c, const json_t *reply)
{
    const json_t *reloaded = json_get(reply, "reload_results"), *skipped = json_get(reply, "skipped_results");
    const json_t *approved = json_get(reply, "approve_results"), *promoted = json_get(reply, "promote_results");
    print_paths(c, "Reloaded apps", reloaded);
    print_paths(c, "Skipped apps", skipped);
    print_approved(c, approved);
    print_promoted(c, promoted);
    say(c->out, "%zu app(s) reloaded, %zu app(s) skipped, %zu app(s) approved, %zu app(s) promoted.\n",
        json_array_size(reloaded), json_array_size(skipped), json_array_size(approved), json_array_size(promoted));
}

static bool run_reload(struct cli *c, struct err *err)
{
    if (!want_words(c, 1, one_glob, err) || !want_result_format(c, err))
        return false;
    struct call call = {.method = "POST", .path = "/reload", .is_long = true};
    call_text(c, &call, "appPathGlob", arg_word(c, 0));
    call_bool(c, &call, "approve", args_is_on(c->args, "approve"));
    call_bool(c, &call, "dryRun", args_is_on(c->args, "dry-run"));
    call_bool(c, &call, "promote", args_is_on(c->args, "promote"));
    call_bool(c, &call, "verify", args_is_on(c->args, "verify"));
    call_bool(c, &call, "forceReload", args_is_on(c->args, "force-reload"));
    call_bool(c, &call, "refreshSpec", args_is_on(c->args, "refresh-spec"));
    call_text(c, &call, "branch", args_text(c->args, "branch"));
    call_text(c, &call, "commit", args_text(c->args, "commit"));
    call_text(c, &call, "gitAuth", args_text(c->args, "git-auth"));
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return false;
    if (print_result_json(c, reply))
        return true;
    print_reloaded(c, reply);
    print_dry_run(c, reply);
    return true;
}

static const struct flag reload_flags[] = {
    {"approve", "a", FLAG_BOOL, NULL, "approve new permissions; without it an app that needs them fails the reload"},
    FLAG_PROMOTE,
    {"verify", NULL, FLAG_BOOL, NULL, "start the new version's container before the change is made"},
    {"force-reload", "f", FLAG_BOOL, NULL, "reload even if the source has not changed"},
    {"refresh-spec", NULL, FLAG_BOOL, NULL, "take the files of the app's spec as they are now"},
    {"branch", "b", FLAG_STR, NULL, "switch to this git branch"},
    {"commit", "c", FLAG_STR, NULL, "switch to this git commit"},
    {"git-auth", "g", FLAG_STR, NULL, "switch to this git_auth entry"},
    FLAG_DRY_RUN,
    FLAG_RESULT_FORMAT,
    FLAG_END,
};

static const struct command reload_command = {
    .name = "reload",
    .words = "<appPathGlob>",
    .summary = "load apps anew from their source, into staging",
    .about = GLOB_ABOUT,
    .flags = reload_flags,
    .exec = run_reload,
};

static const struct command *const commands[] = {
    &create_command, &list_command,   &get_command,     &delete_command,   &approve_command,
    &reload_command, &promote_command, &cmd_app_settings, &cmd_app_update, &cmd_app_logs, NULL,
};

const struct command cmd_app = {.name = "app", .summary = "manage apps", .subs = commands};
