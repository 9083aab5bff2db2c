/* container/inspect.c: what an engine says about a container or an image, from its JSON.
 *
 * Docker's API, podman's docker-compatible API and the `inspect` commands of both programs agree in the parts
 * that we read; where they differ (the slash before a name, "stopped" for "exited") both are taken.
 * SPDX-License-Identifier: Apache-2.0 */
#include "container_int.h"
#include "timefmt.h"

#include <arpa/inet.h>
#include <stdio.h>

static const struct {
    const char *word;
    enum ctr_status status;
} statuses[] = {
    {"created", CTR_STATUS_CREATED},     {"configured", CTR_STATUS_CREATED},
    {"initialized", CTR_STATUS_CREATED}, {"running", CTR_STATUS_RUNNING},
    {"paused", CTR_STATUS_PAUSED},       {"restarting", CTR_STATUS_RESTARTING},
    {"exited", CTR_STATUS_EXITED},       {"stopped", CTR_STATUS_EXITED},
    {"stopping", CTR_STATUS_RUNNING},    {"dead", CTR_STATUS_DEAD},
    {"removing", CTR_STATUS_DEAD},
};

enum ctr_status ctr_status_parse(struct str s)
{
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        if (str_eq_z(s, statuses[i].word))
            return statuses[i].status;
    }
    return CTR_STATUS_DEAD;
}

const char *ctr_status_name(enum ctr_status s)
{
    static const char *const names[] = {"absent",     "created", "running", "paused",
                                        "restarting", "exited",  "dead"};
    return (size_t)s < ARRAY_LEN(names) ? names[s] : "unknown";
}

bool ctr_ipv4_parse(struct str s, uint32_t *ip)
{
    char text[INET_ADDRSTRLEN];
    struct in_addr addr;
    if (s.len == 0 || s.len >= sizeof text)
        return false;
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    if (inet_pton(AF_INET, text, &addr) != 1)
        return false;
    *ip = ntohl(addr.s_addr);
    return true;
}

static struct str get_dup(struct arena *a, const json_t *j, const char *key)
{
    return str_dup(a, json_get_str(j, key, (struct str){0}));
}

/* The address of the container in its first network that gives one. */
static bool own_address(const json_t *network, uint32_t *ip)
{
    const char *name;
    json_t *one;
    if (ctr_ipv4_parse(json_get_str(network, "IPAddress", (struct str){0}), ip))
        return true;
    json_object_foreach(json_get(network, "Networks"), name, one) {
        if (ctr_ipv4_parse(json_get_str(one, "IPAddress", (struct str){0}), ip))
            return true;
    }
    return false;
}

/* Where `port` of the container is reached: a published port, else the container's own address. */
static void endpoint(const json_t *j, uint16_t port, struct ctr_info *out)
{
    const json_t *network = json_get(j, "NetworkSettings");
    char key[16];
    uint64_t number = 0;
    uint32_t ip = 0;
    if (port == 0)
        return;
    if (str_eq(json_get_str(json_get(j, "HostConfig"), "NetworkMode", (struct str){0}), STR("host"))) {
        out->at = (struct ctr_endpoint){.ip = INADDR_LOOPBACK, .port = port};
        return;
    }
    snprintf(key, sizeof key, "%u/tcp", (unsigned)port);
    const json_t *binding = json_array_get(json_get(json_get(network, "Ports"), key), 0);
    if (str_to_u64(json_get_str(binding, "HostPort", (struct str){0}), &number) && number > 0 &&
        number < 65536) {
        if (!ctr_ipv4_parse(json_get_str(binding, "HostIp", (struct str){0}), &ip) || ip == INADDR_ANY)
            ip = INADDR_LOOPBACK;
        out->at = (struct ctr_endpoint){.ip = ip, .port = (uint16_t)number};
    } else if (own_address(network, &ip)) {
        out->at = (struct ctr_endpoint){.ip = ip, .port = port};
        out->is_direct = true;
    }
}

static void labels(struct arena *a, const json_t *from, struct ctr_kv_list *out)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)from, key, value) {
        *vec_push(a, out) = (struct ctr_kv){str_dup(a, str_from(key)), str_dup(a, json_str(value))};
    }
}

enum { PORTS_TEXT_MAX = 4096, MOUNTS_MAX = 1000 };

struct str ctr_ports_of_inspect(struct arena *a, const json_t *ports)
{
    scoped_buf b = BUF_INIT(PORTS_TEXT_MAX);
    const char *port;
    json_t *bindings;
    json_object_foreach((json_t *)ports, port, bindings) {
        const json_t *one = json_array_get(bindings, 0);
        struct str ip = json_get_str(one, "HostIp", (struct str){0});
        struct str number = json_get_str(one, "HostPort", (struct str){0});
        if (number.len > 0)
            buf_printf(&b, "%s" STR_FMT ":" STR_FMT " -> %s", b.len ? ", " : "", STR_ARG(ip), STR_ARG(number), port);
        else
            buf_printf(&b, "%s%s", b.len ? ", " : "", port);
    }
    return str_dup(a, buf_str(&b));
}

struct str ctr_ports_of_list(struct arena *a, const json_t *ports)
{
    scoped_buf b = BUF_INIT(PORTS_TEXT_MAX);
    size_t i;
    json_t *one;
    json_array_foreach((json_t *)ports, i, one) {
        struct str type = json_get_str(one, "Type", STR("tcp")), ip = json_get_str(one, "IP", (struct str){0});
        int64_t public = json_get_int(one, "PublicPort", 0);
        buf_add_z(&b, b.len ? ", " : "");
        if (public > 0)
            buf_printf(&b, STR_FMT ":%lld -> ", STR_ARG(ip), (long long)public);
        buf_printf(&b, "%lld/" STR_FMT, (long long)json_get_int(one, "PrivatePort", 0), STR_ARG(type));
    }
    return str_dup(a, buf_str(&b));
}

static struct str command_line(struct arena *a, const json_t *j)
{
    scoped_buf b = BUF_INIT(PORTS_TEXT_MAX);
    size_t i;
    json_t *word;
    buf_add_str(&b, json_get_str(j, "Path", (struct str){0}));
    json_array_foreach(json_get(j, "Args"), i, word) {
        buf_add_z(&b, " ");
        buf_add_str(&b, json_str(word));
    }
    return str_dup(a, buf_str(&b));
}

static void mounts(struct arena *a, const json_t *list, struct ctr_info *out)
{
    size_t n = MIN(json_array_size(list), (size_t)MOUNTS_MAX);
    out->mounts = arena_array(a, struct ctr_mount_info, n + 1);
    out->n_mounts = n;
    for (size_t i = 0; i < n; i++) {
        const json_t *m = json_array_get(list, i);
        struct str name = get_dup(a, m, "Name");
        out->mounts[i] = (struct ctr_mount_info){
            .type = get_dup(a, m, "Type"),
            .source = name.len > 0 ? name : get_dup(a, m, "Source"),
            .target = get_dup(a, m, "Destination"),
            .is_writable = json_get_bool(m, "RW", true),
        };
    }
}

bool ctr_info_from_json(struct arena *a, const json_t *j, uint16_t port, struct ctr_info *out)
{
    const json_t *state = json_get(j, "State");
    if (!json_is_object(state))
        return false;
    const json_t *config = json_get(j, "Config");
    struct str name = get_dup(a, j, "Name");
    struct ctr_info info = {
        .status = ctr_status_parse(json_get_str(state, "Status", STR("dead"))),
        .id = get_dup(a, j, "Id"),
        .name = str_starts(name, STR("/")) ? str_from_off(name, 1) : name,
        .image = get_dup(a, config, "Image"),
        .image_id = get_dup(a, j, "Image"),
        .exit_code = (int)json_get_int(state, "ExitCode", 0),
        .was_oom_killed = json_get_bool(state, "OOMKilled", false),
        .error = get_dup(a, state, "Error"),
        .created_at = get_dup(a, j, "Created"),
        .started_at = get_dup(a, state, "StartedAt"),
        .finished_at = get_dup(a, state, "FinishedAt"),
        .ports = ctr_ports_of_inspect(a, json_get(json_get(j, "NetworkSettings"), "Ports")),
        .command = command_line(a, j),
        .health = get_dup(a, json_get(state, "Health"), "Status"),
        .restart_count = (int)json_get_int(j, "RestartCount", 0),
        .pid = (int)json_get_int(state, "Pid", 0),
    };
    mounts(a, json_get(j, "Mounts"), &info);
    labels(a, json_get(config, "Labels"), &info.labels);
    endpoint(j, port, &info);
    *out = info;
    return true;
}

void ctr_image_from_json(struct arena *a, const json_t *j, struct ctr_image_list *out)
{
    const json_t *tags = json_get(j, "RepoTags"), *config = json_get(j, "Config");
    int64_t created = json_get_int(j, "Created", 0);
    bool fits = created > 0 && created < INT64_MAX / 1000000000;
    struct ctr_image image = {.id = get_dup(a, j, "Id"), .bytes = json_get_int(j, "Size", 0),
                              .created_ns = fits ? created * 1000000000 : 0};
    if (!fits)
        time_parse(json_get_str(j, "Created", (struct str){0}), &image.created_ns);
    labels(a, config ? json_get(config, "Labels") : json_get(j, "Labels"), &image.labels);
    for (size_t i = 0; i < json_array_size(tags); i++) {
        image.name = str_dup(a, json_str(json_array_get(tags, i)));
        *vec_push(a, out) = image;
    }
}

void ctr_volume_from_json(struct arena *a, const json_t *j, struct ctr_volume_list *out)
{
    struct ctr_volume_info volume = {.name = get_dup(a, j, "Name"), .created_at = get_dup(a, j, "CreatedAt")};
    labels(a, json_get(j, "Labels"), &volume.labels);
    if (volume.name.len > 0)
        *vec_push(a, out) = volume;
}

bool ctr_digest_from_json(struct arena *a, const json_t *image, struct str *digest)
{
    struct str text = json_str(json_array_get(json_get(image, "RepoDigests"), 0));
    size_t at = str_rchr(text, '@');
    struct str id = json_get_str(image, "Id", (struct str){0});
    if (at == STR_NPOS && id.len == 0)
        return false;
    *digest = str_dup(a, at == STR_NPOS ? id : str_from_off(text, at + 1));
    return true;
}

bool ctr_flag_is_native(struct str key)
{
    return str_eq(key, STR("add-host"));
}
