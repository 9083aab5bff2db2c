/* cli/result.c: what operations report: paths, approvals, promotions.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"

struct str app_path_of(struct cli *c, const json_t *o)
{
    struct str path = json_get_str(o, "Path", json_get_str(o, "path", (struct str){0}));
    struct str domain = json_get_str(o, "Domain", json_get_str(o, "domain", (struct str){0}));
    if (domain.len == 0)
        return path;
    return str_printf(c->arena, STR_FMT ":" STR_FMT, STR_ARG(domain), STR_ARG(path));
}

void print_paths(struct cli *c, const char *title, const json_t *paths)
{
    size_t n = json_array_size(paths);
    if (n == 0)
        return;
    say(c->out, "%s: ", title);
    for (size_t i = 0; i < n; i++)
        say(c->out, "%s" STR_FMT, i > 0 ? ", " : "", STR_ARG(app_path_of(c, json_array_get(paths, i))));
    say(c->out, "\n");
}

void print_promoted(struct cli *c, const json_t *paths)
{
    print_paths(c, "Promoted apps", paths);
}

/* The strings of `list` with `sep` between them. */
static void add_joined(struct buf *b, const json_t *list, const char *sep)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (i > 0)
            buf_add_z(b, sep);
        buf_add_str(b, json_str(json_array_get(list, i)));
    }
}

static void print_permission(struct cli *c, const json_t *p)
{
    scoped_buf b = BUF_INIT(1 << 20);
    buf_printf(&b, STR_FMT "." STR_FMT " [", STR_ARG(json_get_str(p, "plugin", (struct str){0})),
               STR_ARG(json_get_str(p, "method", (struct str){0})));
    add_joined(&b, json_get(p, "arguments"), " ");
    buf_add_z(&b, "] ");
    const json_t *is_read = json_get(p, "is_read");
    if (json_is_boolean(is_read))
        buf_add_z(&b, json_is_true(is_read) ? "<READ>" : "<WRITE>");
    const json_t *secrets = json_get(p, "secrets");
    for (size_t i = 0; i < json_array_size(secrets); i++) {
        buf_add_z(&b, i == 0 ? " secrets=" : ";");
        add_joined(&b, json_array_get(secrets, i), ",");
    }
    const json_t *permit = json_get(p, "permit");
    if (json_array_size(permit) > 0)
        buf_add_z(&b, " permit=");
    add_joined(&b, permit, ",");
    say(c->out, "    %s\n", buf_z(&b));
}

void print_approval(struct cli *c, const json_t *result)
{
    const json_t *loads = json_get(result, "new_loads"), *permissions = json_get(result, "new_permissions");
    say(c->out, "  Plugins :\n");
    for (size_t i = 0; i < json_array_size(loads); i++)
        say(c->out, "    " STR_FMT "\n", STR_ARG(json_str(json_array_get(loads, i))));
    say(c->out, "  Permissions:\n");
    for (size_t i = 0; i < json_array_size(permissions); i++)
        print_permission(c, json_array_get(permissions, i));
}

void print_approve_result(struct cli *c, const json_t *result)
{
    bool needs_approval = json_get_bool(result, "needs_approval", false);
    say(c->out, "%s " STR_FMT " - " STR_FMT "\n",
        needs_approval ? "App permissions have been approved" : "No approval required.",
        STR_ARG(app_path_of(c, json_get(result, "app_path_domain"))),
        STR_ARG(json_get_str(result, "id", (struct str){0})));
    if (needs_approval)
        print_approval(c, result);
}

void print_approved(struct cli *c, const json_t *results)
{
    if (json_array_size(results) > 0)
        say(c->out, "Approved apps:\n");
    for (size_t i = 0; i < json_array_size(results); i++)
        print_approve_result(c, json_array_get(results, i));
}

void print_created(struct cli *c, const json_t *created, bool is_approved)
{
    struct str http = json_get_str(created, "http_url", (struct str){0});
    struct str https = json_get_str(created, "https_url", (struct str){0});
    struct str source = json_get_str(created, "orig_source_url", (struct str){0});
    say(c->out, "%9s: " STR_FMT "\n", "App", STR_ARG(app_path_of(c, json_get(created, "app_path_domain"))));
    if (http.len > 0)
        say(c->out, "%9s: " STR_FMT "\n", "HTTP Url", STR_ARG(http));
    if (https.len > 0)
        say(c->out, "%9s: " STR_FMT "\n", "HTTPS Url", STR_ARG(https));
    if (source.len > 0)
        say(c->out, "%9s: " STR_FMT " (created from " STR_FMT ")\n", "Source",
            STR_ARG(json_get_str(created, "source_url", (struct str){0})), STR_ARG(source));
    const json_t *first = json_array_get(json_get(created, "approve_results"), 0);
    if (first)
        print_approval(c, first);
    const char *tail = "No approval required";
    if (json_get_bool(first, "needs_approval", false))
        tail = is_approved ? "Permissions have been approved" : "Permissions need to be approved";
    say(c->out, "App created. %s\n", tail);
}

void print_deleted(struct cli *c, const json_t *reply, const char *noun)
{
    const json_t *apps = json_get(reply, "app_info");
    for (size_t i = 0; i < json_array_size(apps); i++) {
        const json_t *app = json_array_get(apps, i);
        say(c->out, "Deleting " STR_FMT " - " STR_FMT "\n", STR_ARG(app_path_of(c, app)),
            STR_ARG(json_get_str(app, "Id", (struct str){0})));
    }
    say(c->out, "%zu %s(s) deleted.\n", json_array_size(apps), noun);
}

void print_dry_run(struct cli *c, const json_t *reply)
{
    if (!json_get_bool(reply, "dry_run", false))
        return;
    fprintf(c->out, "\n%s*** dry-run mode, changes have NOT been committed. ***%s\n", c->has_colour ? "\033[33m" : "",
            c->has_colour ? "\033[0m" : "");
}

bool print_result_json(struct cli *c, const json_t *reply)
{
    enum format format = FORMAT_BASIC;
    if (!format_parse(args_text(c->args, "format"), &format) || format < FORMAT_JSON)
        return false;
    print_json(c, reply, format);
    return true;
}
