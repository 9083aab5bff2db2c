/* container/api.c: an engine through its unix socket: the Docker Engine HTTP API, which podman serves too.
 *
 * Paths carry no version: both engines then use their own newest one, and what we use has been the same
 * since 1.24. Connections are kept alive in a small pool, so an inspect costs one round trip.
 * SPDX-License-Identifier: Apache-2.0 */
#include "container_int.h"
#include "http.h"
#include "timefmt.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_IDLE_CLIENTS = 16 };

struct api {
    struct ctr_program *program; /* for builds, pulls, and flags that the API has no member for */
    char *socket;
    pthread_mutex_t lock; /* guards the pool */
    struct http_client *idle[MAX_IDLE_CLIENTS];
    int idle_count;
};

static struct http_client *client_get(struct api *api)
{
    struct http_client *c = NULL;
    pthread_mutex_lock(&api->lock);
    if (api->idle_count > 0)
        c = api->idle[--api->idle_count];
    pthread_mutex_unlock(&api->lock);
    return c ? c : http_client_open();
}

static void client_put(struct api *api, struct http_client *c)
{
    pthread_mutex_lock(&api->lock);
    if (api->idle_count < MAX_IDLE_CLIENTS) {
        api->idle[api->idle_count++] = c;
        c = NULL;
    }
    pthread_mutex_unlock(&api->lock);
    http_client_close(c);
}

static bool fetch(struct api *api, struct arena *a, struct http_fetch *f, struct http_answer *res,
                  struct err *err)
{
    struct http_client *c = client_get(api);
    f->unix_socket = str_from(api->socket);
    f->is_http1_only = true;
    f->max_body = CTR_ANSWER_MAX;
    bool ok = http_fetch(c, a, f, res, err);
    client_put(api, c);
    if (ok)
        return true;
    if (err->code == ERR_UNAVAILABLE)
        return err_set(err, ERR_UNAVAILABLE,
                       "the container engine does not answer at %s: is it running? Start it (for "
                       "example systemctl start %s), or set system.container_command",
                       api->socket, api->program->name);
    if (err->code == ERR_TIMEOUT)
        return err_set(err, ERR_UNAVAILABLE,
                       "the container engine at %s did not answer within %lld s: is it hanging?", api->socket,
                       (long long)f->total_timeout_ms / 1000);
    /* Cut off in the middle of an answer: the engine has ended, which is no fault of the app that wanted it. */
    if (err->code == ERR_UPSTREAM)
        err->code = ERR_UNAVAILABLE;
    return err_wrap(err, "asking the container engine at %s", api->socket);
}

/* `text` with everything but unreserved characters and '/' and ':' as %XX. */
static struct str escape(struct arena *a, struct str text)
{
    static const char hex[] = "0123456789ABCDEF";
    char *out = arena_alloc(a, text.len * 3 + 1);
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     (c && strchr("-._~/:", c));
        if (plain) {
            out[n++] = (char)c;
        } else {
            out[n++] = '%';
            out[n++] = hex[c >> 4];
            out[n++] = hex[c & 15];
        }
    }
    return str_of(out, n);
}

/* One call; *res may have any status. `path` is escaped already. */
static bool call(struct api *api, struct arena *a, const char *method, struct str path, json_t *body,
                 int64_t timeout_ms, struct http_answer *res, struct err *err)
{
    static const struct http_pair type = {STR_INIT("Content-Type"), STR_INIT("application/json")};
    struct http_fetch f = {
        .method = str_from(method), .total_timeout_ms = timeout_ms, .connect_timeout_ms = 5000};
    f.url = str_printf(a, "http://engine" STR_FMT, STR_ARG(path));
    if (body) {
        f.body = json_text(a, body, JSON_STYLE_COMPACT);
        f.headers = &type;
        f.header_count = 1;
    }
    return fetch(api, a, &f, res, err);
}

/* The engine's own words for a status that is no success. */
static bool complain(const struct api *api, struct arena *a, const struct http_answer *res, const char *doing,
                     struct str name, struct err *err)
{
    scoped_err ignored = {0};
    scoped_json *j = json_parse(res->body, &ignored);
    struct str said = json_get_str(j, "message", json_get_str(j, "cause", str_slice(res->body, 0, 500)));
    enum err_code code = res->status == 404   ? ERR_NOT_FOUND
                         : res->status == 409 ? ERR_CONFLICT
                         : res->status == 400 ? ERR_INVALID
                                              : ERR_UPSTREAM;
    return err_set(err, code, "%s %s " STR_FMT ": " STR_FMT " (status %d)", api->program->name, doing,
                   STR_ARG(name), STR_ARG(str_slice(said, 0, 4096)), res->status);
}

/* Calls and wants a 2xx or 304; 404 too where `absent_is_fine`. */
static bool change(struct api *api, const char *method, const char *doing, struct str name, struct str path,
                   int64_t timeout_ms, bool absent_is_fine, struct err *err)
{
    scoped_arena a = {0};
    struct http_answer res;
    if (!call(api, &a, method, path, NULL, timeout_ms, &res, err))
        return false;
    if ((res.status >= 200 && res.status < 300) || res.status == 304 || (absent_is_fine && res.status == 404))
        return true;
    return complain(api, &a, &res, doing, name, err);
}

static json_t *get_json(struct api *api, struct arena *a, struct str path, const char *doing, struct str name,
                        int64_t timeout_ms, bool *absent, struct err *err)
{
    struct http_answer res;
    if (!call(api, a, "GET", path, NULL, timeout_ms, &res, err))
        return NULL;
    *absent = res.status == 404;
    if (*absent)
        return NULL;
    if (res.status != 200) {
        complain(api, a, &res, doing, name, err);
        return NULL;
    }
    json_t *j = json_parse(res.body, err);
    if (!j)
        err_wrap(err, "reading the answer of the container engine");
    return j;
}

static bool api_ping(void *ctx, struct arena *a, struct str *version, struct err *err)
{
    struct api *api = ctx;
    bool absent = false;
    scoped_json *j =
        get_json(api, a, STR("/version"), "version", (struct str){0}, CTR_INSPECT_MS, &absent, err);
    if (!j)
        return absent ? err_set(err, ERR_UPSTREAM, "%s is no container engine's socket", api->socket) : false;
    struct str v = json_get_str(j, "Version", STR("of unknown version"));
    *version = str_printf(a, "%s " STR_FMT " through %s", api->program->name, STR_ARG(v), api->socket);
    return true;
}

static bool api_image_inspect(void *ctx, struct arena *a, struct str image, bool *exists, struct str *digest,
                              struct err *err)
{
    struct str name = escape(a, image);
    bool absent = false;
    scoped_json *j = get_json(ctx, a, str_printf(a, "/images/" STR_FMT "/json", STR_ARG(name)),
                              "image inspect", image, CTR_INSPECT_MS, &absent, err);
    if (!j && !absent)
        return false;
    *exists = j != NULL;
    if (j && digest)
        ctr_digest_from_json(a, j, digest);
    return true;
}

static bool api_image_user(void *ctx, struct arena *a, struct str image, struct str *user, struct err *err)
{
    struct str name = escape(a, image);
    bool absent = false;
    scoped_json *j = get_json(ctx, a, str_printf(a, "/images/" STR_FMT "/json", STR_ARG(name)), "image inspect", image,
                              CTR_INSPECT_MS, &absent, err);
    if (!j)
        return absent ? err_set(err, ERR_NOT_FOUND, "image " STR_FMT " is not here", STR_ARG(image)) : false;
    *user = str_dup(a, json_get_str(json_get(j, "Config"), "User", (struct str){0}));
    return true;
}

static bool api_image_remove(void *ctx, struct str image, struct err *err)
{
    scoped_arena a = {0};
    struct str name = escape(&a, image);
    return change(ctx, "DELETE", "rmi", image, str_printf(&a, "/images/" STR_FMT, STR_ARG(name)),
                  CTR_CHANGE_MS, true, err);
}

static bool api_image_pull(void *ctx, struct str image, const atomic_bool *cancel, struct err *err)
{
    struct api *api = ctx;
    return ctr_pull_with_program(api->program, image, cancel, err);
}

static bool api_image_build(void *ctx, const struct ctr_build *b, struct err *err)
{
    struct api *api = ctx;
    return ctr_build_with_program(api->program, b, err);
}

static json_t *kv_object(struct arena *a, const struct ctr_kv_list *l)
{
    json_t *o = json_object();
    for (size_t i = 0; l && i < l->len; i++)
        json_set_key(o, l->items[i].key, json_from_str(l->items[i].value));
    return o;
}

static bool api_volume_ensure(void *ctx, struct str name, const struct ctr_kv_list *labels, struct err *err)
{
    struct api *api = ctx;
    scoped_arena a = {0};
    struct http_answer res;
    scoped_json *body = json_object();
    json_set_str(body, "Name", name);
    json_object_set_new(body, "Labels", kv_object(&a, labels));
    if (!call(api, &a, "POST", STR("/volumes/create"), body, CTR_CHANGE_MS, &res, err))
        return false;
    return res.status / 100 == 2 || complain(api, &a, &res, "volume create", name, err);
}

/* --- Containers --- */

static json_t *mounts_json(const struct ctr_run *run)
{
    json_t *list = json_array();
    for (size_t i = 0; i < run->n_mounts; i++) {
        json_t *m = json_object();
        json_set_z(m, "Type", run->mounts[i].is_bind ? "bind" : "volume");
        if (run->mounts[i].source.len > 0)
            json_set_str(m, "Source", run->mounts[i].source);
        json_set_str(m, "Target", run->mounts[i].target);
        json_set_bool(m, "ReadOnly", run->mounts[i].is_read_only);
        json_array_append_new(list, m);
    }
    return list;
}

static json_t *host_json(const struct api *api, const struct ctr_run *run, bool publish, const char *port_key)
{
    json_t *host = json_object();
    json_object_set_new(host, "Mounts", mounts_json(run));
    if (run->limits.milli_cpus > 0)
        json_set_int(host, "NanoCpus", run->limits.milli_cpus * 1000000);
    if (run->limits.memory_bytes > 0)
        json_set_int(host, "Memory", run->limits.memory_bytes);
    if (publish && run->port > 0) {
        json_t *binding = json_object(), *list = json_array(), *ports = json_object();
        json_set_z(binding, "HostIp", "127.0.0.1");
        json_set_z(binding, "HostPort", "");
        json_array_append_new(list, binding);
        json_object_set_new(ports, port_key, list);
        json_object_set_new(host, "PortBindings", ports);
    }
    json_t *hosts = json_array();
    if (api->program->kind == CTR_DOCKER)
        json_array_append_new(hosts, json_string("host.docker.internal:host-gateway"));
    const struct str *extra = ctr_kv_get(&run->limits.flags, STR("add-host"));
    if (extra)
        json_array_append_new(hosts, json_from_str(*extra));
    json_object_set_new(host, "ExtraHosts", hosts);
    return host;
}

static json_t *create_json(struct arena *a, const struct api *api, const struct ctr_run *run, bool publish)
{
    char port_key[16];
    json_t *body = json_object();
    json_set_str(body, "Image", run->image);
    json_t *env = json_array();
    for (size_t i = 0; i < run->env.len; i++) {
        struct str pair = str_printf(a, STR_FMT "=" STR_FMT, STR_ARG(run->env.items[i].key),
                                     STR_ARG(run->env.items[i].value));
        json_array_append_new(env, json_from_str(pair));
    }
    json_object_set_new(body, "Env", env);
    json_object_set_new(body, "Labels", kv_object(a, &run->labels));
    if (run->command.len > 0)
        json_object_set_new(body, "Cmd", json_from_list(&run->command));
    if (run->entrypoint.len > 0)
        json_object_set_new(body, "Entrypoint",
                            json_from_list(&(struct str_list){(struct str *)&run->entrypoint, 1, 1}));
    if (run->workdir.len > 0)
        json_set_str(body, "WorkingDir", run->workdir);
    snprintf(port_key, sizeof port_key, "%u/tcp", (unsigned)run->port);
    if (run->port > 0) {
        json_t *ports = json_object();
        json_object_set_new(ports, port_key, json_object());
        json_object_set_new(body, "ExposedPorts", ports);
    }
    json_object_set_new(body, "HostConfig", host_json(api, run, publish, port_key));
    return body;
}

static bool api_start(void *ctx, struct str name, struct err *err)
{
    scoped_arena a = {0};
    struct str n = escape(&a, name);
    return change(ctx, "POST", "start", name, str_printf(&a, "/containers/" STR_FMT "/start", STR_ARG(n)),
                  CTR_CHANGE_MS, false, err);
}

static bool api_run(void *ctx, const struct ctr_run *run, bool publish, struct err *err)
{
    struct api *api = ctx;
    /* Podman applies containers.conf (default limits, networks) only to what its program creates. */
    bool is_native = api->program->kind != CTR_PODMAN;
    for (size_t i = 0; i < run->limits.flags.len; i++)
        is_native = is_native && ctr_flag_is_native(run->limits.flags.items[i].key);
    if (!is_native)
        return ctr_program_backend.run(api->program, run, publish, err);
    scoped_arena a = {0};
    struct http_answer res;
    scoped_json *body = create_json(&a, api, run, publish);
    struct str name = escape(&a, run->name);
    if (!call(api, &a, "POST", str_printf(&a, "/containers/create?name=" STR_FMT, STR_ARG(name)), body,
              CTR_CHANGE_MS, &res, err))
        return false;
    if (res.status / 100 != 2)
        return complain(api, &a, &res, "create", run->name, err);
    return api_start(api, run->name, err);
}

static bool api_inspect(void *ctx, struct arena *a, struct str name, uint16_t port, struct ctr_info *out,
                        struct err *err)
{
    struct str n = escape(a, name);
    bool absent = false;
    scoped_json *j = get_json(ctx, a, str_printf(a, "/containers/" STR_FMT "/json", STR_ARG(n)), "inspect",
                              name, CTR_INSPECT_MS, &absent, err);
    if (!j && !absent)
        return false;
    struct ctr_info info = {.status = CTR_STATUS_NONE};
    if (j && !ctr_info_from_json(a, j, port, &info))
        return err_set(err, ERR_UPSTREAM, "the engine's answer about container " STR_FMT " makes no sense",
                       STR_ARG(name));
    /* Ids are found by their beginning too: only the exact name counts. */
    if (!str_eq(info.name, name))
        info = (struct ctr_info){.status = CTR_STATUS_NONE};
    *out = info;
    return true;
}

static bool api_size(void *ctx, struct str name, struct ctr_size *out, struct err *err)
{
    scoped_arena a = {0};
    struct str n = escape(&a, name);
    bool absent = false;
    scoped_json *j = get_json(ctx, &a, str_printf(&a, "/containers/" STR_FMT "/json?size=true", STR_ARG(n)), "inspect", name,
                              CTR_CHANGE_MS, &absent, err);
    if (!j)
        return absent ? err_set(err, ERR_NOT_FOUND, "there is no container " STR_FMT, STR_ARG(name)) : false;
    *out = (struct ctr_size){MAX(json_get_int(j, "SizeRw", 0), 0), MAX(json_get_int(j, "SizeRootFs", 0), 0)};
    return true;
}

static bool api_stop(void *ctx, struct str name, int grace_secs, struct err *err)
{
    scoped_arena a = {0};
    struct str n = escape(&a, name);
    return change(ctx, "POST", "stop", name,
                  str_printf(&a, "/containers/" STR_FMT "/stop?t=%d", STR_ARG(n), grace_secs),
                  CTR_CHANGE_MS + grace_secs * 1000LL, true, err);
}

static bool api_verb(void *ctx, struct str name, const char *verb, bool absent_is_fine, struct err *err)
{
    scoped_arena a = {0};
    struct str n = escape(&a, name);
    return change(ctx, "POST", verb, name, str_printf(&a, "/containers/" STR_FMT "/%s", STR_ARG(n), verb),
                  CTR_CHANGE_MS, absent_is_fine, err);
}

static bool api_kill(void *ctx, struct str name, struct err *err)
{
    scoped_err e = {0};
    /* Not running any more: docker says 409, podman 500. */
    if (api_verb(ctx, name, "kill", true, &e) || e.code == ERR_CONFLICT ||
        str_find(str_from(err_msg(&e)), STR("only kill running")) != STR_NPOS)
        return true;
    return err_move(err, &e);
}

static bool api_pause(void *ctx, struct str name, struct err *err)
{
    return api_verb(ctx, name, "pause", false, err);
}

static bool api_unpause(void *ctx, struct str name, struct err *err)
{
    return api_verb(ctx, name, "unpause", false, err);
}

static bool api_remove(void *ctx, struct str name, struct err *err)
{
    scoped_arena a = {0};
    struct str n = escape(&a, name);
    return change(ctx, "DELETE", "rm", name, str_printf(&a, "/containers/" STR_FMT "?force=true&v=true", STR_ARG(n)),
                  CTR_CHANGE_MS, true, err);
}

/* Undoes the framing of a log stream: 8 bytes (stream, 3 zeros, big-endian length), then that many bytes. A
 * stream that does not start so comes from a terminal and is taken as it is. */
struct log_demux {
    struct buf *out; /* of ctr_log_keep() */
    unsigned char head[8];
    size_t head_len;
    uint32_t left; /* of the current frame */
    bool is_raw;
};

static bool log_part(void *arg, struct str part, struct err *err)
{
    struct log_demux *d = arg;
    (void)err;
    while (part.len > 0) {
        if (d->is_raw || d->left > 0) {
            struct str take = d->is_raw ? part : str_slice(part, 0, d->left);
            ctr_log_keep(d->out, take);
            if (!d->is_raw)
                d->left -= (uint32_t)take.len;
            part = str_from_off(part, take.len);
            continue;
        }
        d->head[d->head_len++] = (unsigned char)part.ptr[0];
        part = str_from_off(part, 1);
        if (d->head_len < sizeof d->head)
            continue;
        d->head_len = 0;
        if (d->head[0] > 2 || d->head[1] || d->head[2] || d->head[3]) {
            d->is_raw = true;
            ctr_log_keep(d->out, str_of(d->head, sizeof d->head));
            continue;
        }
        d->left =
            (uint32_t)d->head[4] << 24 | (uint32_t)d->head[5] << 16 | (uint32_t)d->head[6] << 8 | d->head[7];
    }
    return true;
}

static bool api_logs(void *ctx, struct arena *a, struct str name, int lines, int64_t since_ns, bool with_times,
                     struct str *out, struct err *err)
{
    scoped_buf text = BUF_INIT(2 * CTR_LOG_MAX);
    struct log_demux demux = {.out = &text};
    struct http_answer res;
    struct str n = escape(a, name);
    struct http_fetch f = {
        .total_timeout_ms = lines > 0 ? CTR_LIST_MS : CTR_LOGS_ALL_MS, .connect_timeout_ms = 5000, .on_body = log_part, .body_arg = &demux};
    f.url = str_printf(a, "http://engine/containers/" STR_FMT "/logs?stdout=1&stderr=1&tail=%s&timestamps=%d", STR_ARG(n),
                       lines > 0 ? str_z(a, str_printf(a, "%d", lines)) : "all", with_times);
    if (since_ns > 0)
        f.url = str_printf(a, STR_FMT "&since=%lld.%09lld", STR_ARG(f.url), (long long)(since_ns / 1000000000),
                           (long long)(since_ns % 1000000000));
    if (!fetch(ctx, a, &f, &res, err))
        return false;
    if (demux.head_len > 0 && !demux.is_raw && text.len == 0)
        ctr_log_keep(&text, str_of(demux.head, demux.head_len));
    if (res.status != 200) {
        res.body = str_dup(a, ctr_log_kept(&text));
        return complain(ctx, a, &res, "logs", name, err);
    }
    *out = str_dup(a, ctr_log_kept(&text));
    return true;
}

static void list_one(struct arena *a, const json_t *j, struct ctr_info_list *out)
{
    struct str name = json_str(json_array_get(json_get(j, "Names"), 0));
    struct ctr_info info = {
        .status = ctr_status_parse(json_get_str(j, "State", STR("dead"))),
        .id = str_dup(a, json_get_str(j, "Id", (struct str){0})),
        .name = str_dup(a, str_starts(name, STR("/")) ? str_from_off(name, 1) : name),
        .image = str_dup(a, json_get_str(j, "Image", (struct str){0})),
        .image_id = str_dup(a, json_get_str(j, "ImageID", (struct str){0})),
        .ports = ctr_ports_of_list(a, json_get(j, "Ports")),
    };
    int64_t created = json_get_int(j, "Created", 0);
    if (created > 0 && created < INT64_MAX / 1000000000)
        info.created_at = time_rfc3339(a, created * 1000000000);
    const char *key;
    json_t *value;
    json_object_foreach(json_get(j, "Labels"), key, value) {
        *vec_push(a, &info.labels) = (struct ctr_kv){str_dup(a, str_from(key)), str_dup(a, json_str(value))};
    }
    *vec_push(a, out) = info;
}

static struct str label_filter(struct arena *a, struct str key, struct str value, bool is_event)
{
    scoped_json *filters = json_object();
    json_t *labels = json_array();
    json_array_append_new(
        labels, json_from_str(value.len > 0 ? str_printf(a, STR_FMT "=" STR_FMT, STR_ARG(key), STR_ARG(value))
                                            : key));
    json_object_set_new(filters, "label", labels);
    if (is_event)
        json_object_set_new(filters, "type", json_pack("[s]", "container"));
    return escape(a, json_text(a, filters, JSON_STYLE_COMPACT));
}

static bool api_list(void *ctx, struct arena *a, struct str key, struct str value, bool all,
                     struct ctr_info_list *out, struct err *err)
{
    struct str query = label_filter(a, key, value, false);
    bool absent = false;
    scoped_json *j = get_json(
        ctx, a, str_printf(a, "/containers/json?all=%d&filters=" STR_FMT, all ? 1 : 0, STR_ARG(query)),
        "list", (struct str){0}, CTR_LIST_MS, &absent, err);
    if (!json_is_array(j))
        return j || absent ? err_set(err, ERR_UPSTREAM, "the container engine's list makes no sense") : false;
    struct ctr_info_list list = {0};
    size_t i;
    json_t *one;
    json_array_foreach(j, i, one) {
        list_one(a, one, &list);
    }
    *out = list;
    return true;
}

static bool api_stats(void *ctx, struct str name, bool quick, struct ctr_stats *out, struct err *err)
{
    scoped_arena a = {0};
    struct str n = escape(&a, name);
    bool absent = false;
    scoped_json *j = get_json(ctx, &a,
                              str_printf(&a, "/containers/" STR_FMT "/stats?stream=false%s", STR_ARG(n),
                                         quick ? "&one-shot=true" : ""),
                              "stats", name, CTR_INSPECT_MS, &absent, err);
    if (!j)
        return absent ? err_set(err, ERR_NOT_FOUND, "there is no container " STR_FMT, STR_ARG(name)) : false;
    ctr_stats_from_json(j, out);
    return true;
}

static bool api_image_list(void *ctx, struct arena *a, struct str key, struct str value, struct ctr_image_list *out,
                           struct err *err)
{
    bool absent = false;
    struct ctr_image_list list = {0};
    scoped_json *j = get_json(
        ctx, a, str_printf(a, "/images/json?filters=" STR_FMT, STR_ARG(label_filter(a, key, value, false))), "images",
        (struct str){0}, CTR_LIST_MS, &absent, err);
    if (!json_is_array(j))
        return j || absent ? err_set(err, ERR_UPSTREAM, "the container engine's list makes no sense") : false;
    for (size_t i = 0; i < json_array_size(j); i++)
        ctr_image_from_json(a, json_array_get(j, i), &list);
    *out = list;
    return true;
}

static bool api_volume_list(void *ctx, struct arena *a, struct str key, struct str value, bool unused,
                            struct ctr_volume_list *out, struct err *err)
{
    bool absent = false;
    struct ctr_volume_list list = {0};
    struct str filter = unused ? escape(a, STR("{\"dangling\":[\"true\"]}")) : label_filter(a, key, value, false);
    scoped_json *j = get_json(ctx, a, str_printf(a, "/volumes?filters=" STR_FMT, STR_ARG(filter)), "volumes",
                              (struct str){0}, CTR_LIST_MS, &absent, err);
    if (!json_is_object(j)) /* no volumes at all are null in some versions */
        return j || absent ? err_set(err, ERR_UPSTREAM, "the container engine's list makes no sense") : false;
    const json_t *volumes = json_get(j, "Volumes");
    for (size_t i = 0; i < json_array_size(volumes); i++)
        ctr_volume_from_json(a, json_array_get(volumes, i), &list);
    *out = list;
    return true;
}

static bool api_volume_remove(void *ctx, struct str name, struct err *err)
{
    scoped_arena a = {0};
    return change(ctx, "DELETE", "volume rm", name, str_printf(&a, "/volumes/" STR_FMT, STR_ARG(escape(&a, name))),
                  CTR_CHANGE_MS, true, err);
}

static bool events_head(void *arg, const struct http_answer *answer, struct err *err)
{
    struct ctr_event_feed *s = arg;
    if (answer->status != 200)
        return err_set(err, ERR_UPSTREAM, "the container engine gives no events (status %d)", answer->status);
    s->fn(s->arg, NULL);
    return true;
}

static bool events_part(void *arg, struct str part, struct err *err)
{
    (void)err;
    ctr_events_feed(arg, part);
    return true;
}

static bool api_events(void *ctx, struct str key, struct str value, ctr_event_fn *fn, void *arg,
                       int cancel_fd, struct err *err)
{
    scoped_arena a = {0};
    scoped_http_client struct http_client *client = http_client_open();
    struct api *api = ctx;
    struct ctr_event_feed s = {.fn = fn, .arg = arg, .line = BUF_INIT(CTR_EVENT_LINE_MAX)};
    struct http_answer res;
    struct http_fetch f = {.unix_socket = str_from(api->socket),
                           .is_http1_only = true,
                           .connect_timeout_ms = 5000,
                           .cancel_fd = cancel_fd,
                           .on_head = events_head,
                           .on_body = events_part,
                           .body_arg = &s};
    f.url = str_printf(&a, "http://engine/events?filters=" STR_FMT, STR_ARG(label_filter(&a, key, value, true)));
    bool ok = http_fetch(client, &a, &f, &res, err);
    buf_release(&s.line);
    return ok ? err_set(err, ERR_UPSTREAM, "the container engine at %s has closed the stream", api->socket) : false;
}

static bool api_subnet(void *ctx, struct arena *a, struct str *cidr, struct err *err)
{
    struct api *api = ctx;
    const char *name = api->program->kind == CTR_PODMAN ? "podman" : "bridge";
    bool absent = false;
    scoped_json *j = get_json(api, a, str_printf(a, "/networks/%s", name), "network inspect", str_from(name),
                              CTR_INSPECT_MS, &absent, err);
    if (!j && !absent)
        return false;
    const json_t *config = json_array_get(json_get(json_get(j, "IPAM"), "Config"), 0);
    *cidr = str_dup(a, json_get_str(config, "Subnet", (struct str){0}));
    return true;
}

static void api_close(void *ctx)
{
    struct api *api = ctx;
    while (api->idle_count > 0)
        http_client_close(api->idle[--api->idle_count]);
    pthread_mutex_destroy(&api->lock);
    free(api->socket);
    free(api);
}

void *ctr_api_open(struct str socket, struct ctr_program *program)
{
    struct api *api = xcalloc(1, sizeof *api);
    scoped_arena a = {0};
    api->socket = xstrdup(str_z(&a, socket));
    api->program = program;
    pthread_mutex_init(&api->lock, NULL);
    return api;
}

bool ctr_api_answers(struct str socket, int64_t timeout_ms)
{
    scoped_arena a = {0};
    scoped_err ignored = {0};
    scoped_http_client struct http_client *c = http_client_open();
    struct http_answer res;
    struct http_fetch f = {
        .url = STR("http://engine/_ping"), .unix_socket = socket, .total_timeout_ms = timeout_ms};
    return http_fetch(c, &a, &f, &res, &ignored) && res.status == 200;
}

bool ctr_api_store(struct arena *a, struct str socket, struct str *dir)
{
    scoped_err ignored = {0};
    scoped_http_client struct http_client *c = http_client_open();
    struct http_answer res;
    struct http_fetch f = {
        .url = STR("http://engine/info"), .unix_socket = socket, .total_timeout_ms = CTR_INSPECT_MS};
    if (!http_fetch(c, a, &f, &res, &ignored) || res.status != 200)
        return false;
    scoped_json *j = json_parse(res.body, &ignored);
    *dir = str_dup(a, json_get_str(j, "DockerRootDir", (struct str){0}));
    return dir->len > 0;
}

/* In the foreground: what the API has for that (attach) takes over the connection, as the program does for us. */
static bool api_task(void *ctx, const struct ctr_run *run, const struct ctr_task_io *io, struct ctr_task_end *end,
                     struct err *err)
{
    struct api *api = ctx;
    return ctr_program_backend.task(api->program, run, io, end, err);
}

const struct ctr_backend ctr_api_backend = {
    .close = api_close,
    .ping = api_ping,
    .image_inspect = api_image_inspect,
    .image_user = api_image_user,
    .image_pull = api_image_pull,
    .image_remove = api_image_remove,
    .image_build = api_image_build,
    .volume_ensure = api_volume_ensure,
    .volume_list = api_volume_list,
    .volume_remove = api_volume_remove,
    .run = api_run,
    .task = api_task,
    .inspect = api_inspect,
    .size = api_size,
    .start = api_start,
    .stop = api_stop,
    .kill = api_kill,
    .pause = api_pause,
    .unpause = api_unpause,
    .remove = api_remove,
    .logs = api_logs,
    .list = api_list,
    .image_list = api_image_list,
    .stats = api_stats,
    .events = api_events,
    .subnet = api_subnet,
};
