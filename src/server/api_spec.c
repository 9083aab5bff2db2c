/* server/api_spec.c: the app specs: which there are, and what one takes.
 *
 * What a spec says of itself is read from its files as an app would use them: params.star is evaluated, the
 * container file parsed. The first comment of app.star is its summary.
 * SPDX-License-Identifier: Apache-2.0 */
#include "server.h"

#include "app.h"
#include "container.h"
#include "json.h"
#include "server_int.h"
#include "source.h"

enum { SUMMARY_MAX = 200 };

static const char *const container_files[] = {"Containerfile", "Dockerfile"};

static struct str text_of(const struct src_files *files, const char *name)
{
    const struct src_file *f = src_files_find(files, str_from(name));
    return f ? str_of(f->content, f->size) : (struct str){0};
}

/* The first comment line of app.star that is not the licence; without a full stop. */
static struct str summary_of(const struct src_files *files)
{
    struct str rest = text_of(files, "app.star"), line;
    while (rest.len > 0) {
        str_cut(rest, '\n', &line, &rest);
        line = str_trim(line);
        if (line.len == 0 || line.ptr[0] != '#')
            break;
        line = str_trim(str_from_off(line, 1));
        if (line.len > 0 && !str_starts(line, STR("SPDX-")))
            return str_trim_right(str_slice(line, 0, SUMMARY_MAX), '.');
    }
    return (struct str){0};
}

static json_t *head_of(struct arena *a, struct str home, struct str name, const struct src_files *files)
{
    json_t *j = json_object();
    json_set_str(j, "name", name);
    json_set_str(j, "summary", summary_of(files));
    json_set_z(j, "source", src_spec_is_of_user(a, home, name) ? "user" : "bundled");
    return j;
}

json_t *server_spec_list(struct arena *a, struct str home)
{
    struct str_list names;
    json_t *list = json_array();
    src_spec_list(a, home, &names);
    for (size_t i = 0; i < names.len; i++) {
        struct src_files files = {0};
        scoped_err ignored = {0}; /* one that cannot be read is listed all the same; show tells why */
        if (!src_spec_load(a, home, names.items[i], &files, &ignored))
            files = (struct src_files){0};
        json_array_append_new(list, head_of(a, home, names.items[i], &files));
    }
    return json_pack("{s:o}", "specs", list);
}

static json_t *params_json(const struct app_param_list *params)
{
    json_t *list = json_array();
    for (size_t i = 0; i < params->len; i++) {
        const struct app_param *p = &params->items[i];
        json_t *j = json_object();
        json_set_str(j, "name", p->name);
        json_set_z(j, "type", p->type);
        json_set_str(j, "default", p->value);
        json_set_bool(j, "required", p->is_required);
        json_set_str(j, "description", p->description);
        json_array_append_new(list, j);
    }
    return list;
}

static json_t *args_json(const struct ctr_kv_list *args)
{
    json_t *list = json_array();
    for (size_t i = 0; i < args->len; i++) {
        json_t *j = json_object();
        json_set_str(j, "name", args->items[i].key);
        json_set_str(j, "default", args->items[i].value);
        json_array_append_new(list, j);
    }
    return list;
}

static json_t *files_json(const struct src_files *files)
{
    json_t *list = json_array();
    for (size_t i = 0; i < files->len; i++) {
        json_t *j = json_object();
        json_set_str(j, "name", files->items[i].name);
        json_set_int(j, "size", (int64_t)files->items[i].size);
        json_array_append_new(list, j);
    }
    return list;
}

/* The port that its app listens on: the default of its param, else what the container file exposes; 0:
 * neither. */
static int64_t port_of(const struct app_param_list *params, const struct ctr_file *file)
{
    int64_t port = 0;
    for (size_t i = 0; i < params->len; i++)
        if (str_eq(params->items[i].name, STR("port")) && str_to_i64(params->items[i].value, &port) &&
            port > 0)
            return port;
    return file->port;
}

json_t *server_spec_get(struct arena *a, struct str home, struct str name, struct err *err)
{
    struct src_files files;
    struct app_param_list params;
    struct ctr_file file = {0};
    const struct app_env env = {.home = home, .http_port = -1, .https_port = -1};
    if (!src_spec_load(a, home, name, &files, err))
        return NULL;
    if (!app_params_declared(&env, &files, a, &params, err)) {
        err_wrap(err, "spec " STR_FMT, STR_ARG(name));
        return NULL;
    }
    for (size_t i = 0; i < ARRAY_LEN(container_files); i++) {
        struct str text = text_of(&files, container_files[i]);
        if (text.len == 0)
            continue;
        if (!ctr_file_parse(a, text, NULL, &file, err)) {
            err_wrap(err, "spec " STR_FMT ": %s", STR_ARG(name), container_files[i]);
            return NULL;
        }
        break;
    }
    json_t *j = head_of(a, home, name, &files);
    json_set_int(j, "port", port_of(&params, &file));
    json_object_set_new(j, "params", params_json(&params));
    json_object_set_new(j, "build_args", args_json(&file.args));
    json_set_list(j, "images", &file.images);
    json_object_set_new(j, "files", files_json(&files));
    return json_pack("{s:o}", "spec", j);
}

bool api_spec_list(struct server *s, struct arena *a, const struct http_pairs *query, json_t **reply,
                   struct err *err)
{
    *reply = server_spec_list(a, s->home->dir);
    return true;
}

bool api_spec_get(struct server *s, struct arena *a, const struct http_pairs *query, json_t **reply,
                  struct err *err)
{
    struct str name;
    if (!http_pairs_get(query, STR("name"), &name) || str_is_empty(name))
        return err_set(err, ERR_INVALID, "name is required");
    *reply = server_spec_get(a, s->home->dir, name, err);
    return *reply != NULL;
}
