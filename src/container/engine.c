/* container/engine.c: finds the engine and hands each call to the backend that serves it best.
 *
 * Names are checked here, once, so that no backend ever sees one that its program or URL could take for
 * something else.
 * SPDX-License-Identifier: Apache-2.0 */
#include "container_int.h"
#include "fs.h"
#include "log.h"
#include "proc.h"
#include "timefmt.h"

#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { SOCKET_TRY_MS = 2000, PASSING_MS = 10000, PASSING_LOOK_MS = 50 };

struct ctr_engine {
    enum ctr_kind kind;
    struct ctr_program program;
    const struct ctr_backend *ops;
    void *ctx;
    bool is_local;       /* runs on this host, as root: containers may be reached at their own address */
    _Atomic int direct;  /* 1: they are, 0: they are not, -1: not known yet */
    const char *why_off; /* kind CTR_OFF: what every call says */
    bool forbids_root;   /* set before the engine is shared */
};

/* --- Finding it --- */

static bool program_find(struct arena *a, struct str name, struct str *path)
{
    static const char *const more[] = {"/usr/local/bin", "/opt/homebrew/bin",
                                       "/home/linuxbrew/.linuxbrew/bin"};
    scoped_err ignored = {0};
    if (proc_find(a, name, path, &ignored))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(more) && str_chr(name, '/') == STR_NPOS; i++) {
        struct str full = path_join(a, str_from(more[i]), name);
        if (proc_find(a, full, path, &ignored))
            return true;
    }
    return false;
}

static struct str unix_path(struct str url)
{
    return str_starts(url, STR("unix://")) ? str_from_off(url, 7) : (struct str){0};
}

/* The endpoint that docker's current context names, "" when that is the default one. */
static struct str docker_context_host(const struct ctr_program *p, struct arena *a)
{
    scoped_err ignored = {0};
    struct str config, out;
    struct str dir = str_from(getenv("DOCKER_CONFIG"));
    if (dir.len == 0)
        dir = path_join(a, str_from(getenv("HOME")), STR(".docker"));
    if (!getenv("DOCKER_CONTEXT")) {
        if (!fs_read_all(a, path_join(a, dir, STR("config.json")), 1 << 20, &config, &ignored) ||
            str_find(config, STR("\"currentContext\"")) == STR_NPOS)
            return (struct str){0};
    }
    static const char *const words[] = {"context", "inspect", "--format", "{{.Endpoints.docker.Host}}"};
    struct str_list args = {0};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        str_list_add(a, &args, str_from(words[i]));
    if (!ctr_program_run(p, a, &args, NULL, (struct str){0}, 2 * SOCKET_TRY_MS, &out, &ignored))
        return (struct str){0};
    return str_trim(out);
}

/* The socket of the very engine that the program talks to; empty when it is elsewhere or has none: two ways
 * to two different engines would be worse than one slow way. */
static struct str socket_find(const struct ctr_program *p, struct arena *a, bool *is_local)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    *is_local = false;
    if (p->kind == CTR_DOCKER) {
        const char *host = getenv("DOCKER_HOST");
        struct str named = host ? str_from(host) : docker_context_host(p, a);
        struct str path = named.len > 0 ? unix_path(named) : STR("/var/run/docker.sock");
        *is_local = str_eq(path, STR("/var/run/docker.sock")) || str_eq(path, STR("/run/docker.sock"));
        return path;
    }
    const char *host = getenv("CONTAINER_HOST");
    if (host)
        return unix_path(str_from(host));
    if (getenv("CONTAINER_CONNECTION"))
        return (struct str){0};
    *is_local = geteuid() == 0;
    if (geteuid() == 0)
        return STR("/run/podman/podman.sock");
    return runtime ? path_join(a, str_from(runtime), STR("podman/podman.sock")) : (struct str){0};
}

/* With a configuration of its own, podman's program may keep its containers elsewhere than the service that
 * happens to listen: the same only if both have the same store. */
static bool is_same_store(const struct ctr_program *p, struct arena *a, struct str socket)
{
    scoped_err ignored = {0};
    struct str mine, theirs;
    if (!getenv("CONTAINERS_STORAGE_CONF") && !getenv("CONTAINERS_CONF"))
        return true;
    struct str_list args = {0};
    str_list_add(a, &args, STR("info"));
    str_list_add(a, &args, STR("--format"));
    str_list_add(a, &args, STR("{{.Store.GraphRoot}}"));
    return ctr_program_run(p, a, &args, NULL, (struct str){0}, CTR_INSPECT_MS, &mine, &ignored) &&
           ctr_api_store(a, socket, &theirs) && str_eq(str_trim(mine), theirs);
}

static enum ctr_kind kind_of(struct arena *a, struct str path, struct str *name)
{
    struct str base = str_lower(a, path_base(path));
    if (str_ends(base, STR(".exe")))
        base = str_slice(base, 0, base.len - 4);
    *name = base;
    return str_starts(base, STR("podman")) ? CTR_PODMAN : CTR_DOCKER;
}

static bool program_set(struct ctr_engine *e, struct arena *a, struct str path)
{
    struct str name, socket;
    e->kind = e->program.kind = kind_of(a, path, &name);
    e->program.path = xstrdup(str_z(a, path));
    e->program.name = xstrdup(str_z(a, name));
    e->ops = &ctr_program_backend;
    e->ctx = &e->program;
    socket = socket_find(&e->program, a, &e->is_local);
    /* A docker socket that does not answer yet is docker all the same; podman works without its service. */
    if (socket.len > 0 && (e->kind == CTR_DOCKER || (ctr_api_answers(socket, SOCKET_TRY_MS) &&
                                                     is_same_store(&e->program, a, socket)))) {
        e->ops = &ctr_api_backend;
        e->ctx = ctr_api_open(socket, &e->program);
    }
    return true;
}

bool ctr_engine_open(struct str command, struct ctr_engine **out, struct err *err)
{
    scoped_arena a = {0};
    struct str path;
    struct ctr_engine *e = xcalloc(1, sizeof *e);
    e->direct = -1;
    e->why_off = "containers are not enabled: system.container_command is empty; install docker or podman "
                 "and set it to "
                 "auto, docker or podman";
    if (str_eq(command, STR("kubernetes"))) {
        free(e);
        return err_set(err, ERR_UNSUPPORTED,
                       "system.container_command: kubernetes is not supported yet, use docker or podman");
    }
    if (str_eq(command, STR("auto"))) {
        e->why_off = "no container engine was found: install podman or docker and start the server again";
        if (program_find(&a, STR("podman"), &path) || program_find(&a, STR("docker"), &path))
            program_set(e, &a, path);
    } else if (command.len > 0) {
        if (!program_find(&a, command, &path)) {
            free(e);
            return err_set(err, ERR_INVALID,
                           "system.container_command: the program " STR_FMT
                           " was not found; install it or use "
                           "auto",
                           STR_ARG(command));
        }
        program_set(e, &a, path);
    }
    *out = e;
    return true;
}

struct ctr_engine *ctr_engine_open_with(enum ctr_kind kind, const struct ctr_backend *ops, void *ctx)
{
    struct ctr_engine *e = xcalloc(1, sizeof *e);
    e->kind = e->program.kind = kind;
    e->program.name = xstrdup("fake");
    e->ops = ops;
    e->ctx = ctx;
    e->direct = -1;
    return e;
}

void ctr_engine_close(struct ctr_engine *e)
{
    if (!e)
        return;
    if (e->ops && e->ops->close)
        e->ops->close(e->ctx);
    free(e->program.path);
    free(e->program.name);
    free(e);
}

enum ctr_kind ctr_engine_kind(const struct ctr_engine *e)
{
    return e->kind;
}

struct str ctr_engine_command(const struct ctr_engine *e)
{
    return e->kind == CTR_OFF ? (struct str){0} : str_from(e->program.name);
}

struct str ctr_engine_host_alias(const struct ctr_engine *e)
{
    return e->kind == CTR_DOCKER ? STR("host.docker.internal") : STR("host.containers.internal");
}

/* --- Checks --- */

static bool check_on(const struct ctr_engine *e, struct err *err)
{
    return e->kind != CTR_OFF || err_set(err, ERR_UNAVAILABLE, "%s", e->why_off);
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool check(const struct ctr_engine *e, struct str name, const char *what, const char *more, size_t max,
                  struct err *err)
{
    if (!check_on(e, err))
        return false;
    bool ok = name.len > 0 && name.len <= max && (is_word(name.ptr[0]));
    for (size_t i = 0; ok && i < name.len; i++)
        ok = is_word(name.ptr[i]) || (name.ptr[i] && strchr(more, name.ptr[i]));
    return ok || err_set(err, ERR_INVALID, "\"" STR_FMT "\" is no valid %s name",
                         STR_ARG(str_slice(name, 0, 200)), what);
}

static bool check_name(const struct ctr_engine *e, struct str name, struct err *err)
{
    return check(e, name, "container", "_.-", 255, err);
}

/* A '/' after a ':' is behind a registry's port, or else makes podman read a file of this host ("docker-archive:/x"). */
static bool is_of_registry(struct str name)
{
    struct str rest;
    uint64_t port;
    size_t slash = str_cut(name, ':', NULL, &rest) ? str_chr(rest, '/') : STR_NPOS;
    return slash == STR_NPOS || str_to_u64(str_slice(rest, 0, slash), &port);
}

static bool check_image(const struct ctr_engine *e, struct str name, struct err *err)
{
    return check(e, name, "image", "_.-/:@+", 512, err) &&
           (is_of_registry(name) ||
            err_set(err, ERR_INVALID, "\"" STR_FMT "\" is no valid image name", STR_ARG(str_slice(name, 0, 200))));
}

/* A name is passed on without its value, which the program finds in its environment. To podman `A*` is every variable of
 * that environment, the server's own included, whose name begins with A. */
static bool check_no_nul(const struct ctr_kv_list *l, const char *what, bool strict_key, struct err *err)
{
    for (size_t i = 0; l && i < l->len; i++) {
        struct str k = l->items[i].key, v = l->items[i].value;
        bool ok = k.len > 0 && str_chr(k, '=') == STR_NPOS && str_chr(k, '*') == STR_NPOS && str_chr(k, '\0') == STR_NPOS &&
                  str_chr(v, '\0') == STR_NPOS && str_chr(k, '\n') == STR_NPOS;
        for (size_t j = 0; strict_key && ok && j < k.len; j++)
            ok = (unsigned char)k.ptr[j] > 0x20;
        if (!ok || k.ptr[0] == '-')
            return err_set(err, ERR_INVALID,
                           "%s \"" STR_FMT "\" has a name or value that cannot be passed on", what,
                           STR_ARG(str_slice(k, 0, 100)));
    }
    return true;
}

/* --- Calls --- */

bool ctr_engine_ping(struct ctr_engine *e, struct arena *a, struct str *about, struct err *err)
{
    struct str text;
    if (!check_on(e, err) || !e->ops->ping(e->ctx, a, &text, err))
        return false;
    if (about)
        *about = text;
    return true;
}

/* True, some time later, where an engine is busy with the very thing and will be done in a moment: worth another try. */
static bool is_passing(const struct err *why, const char *words, int64_t until_ms)
{
    if (clock_ms() >= until_ms || !strstr(err_msg(why), words))
        return false;
    nanosleep(&(struct timespec){.tv_nsec = PASSING_LOOK_MS * 1000000L}, NULL);
    return true;
}

/* Podman 4 tells of an image before all that belongs to it is written, and while it is being removed. */
static const char half_image[] = "locating item named", lost_image[] = "image not known";

bool ctr_image_inspect(struct ctr_engine *e, struct arena *a, struct str image, bool *exists,
                       struct str *digest, struct err *err)
{
    int64_t until_ms = clock_ms() + PASSING_MS;
    if (!check_image(e, image, err))
        return false;
    for (;;) {
        scoped_err why = {0};
        if (e->ops->image_inspect(e->ctx, a, image, exists, digest, &why))
            return true;
        if (!is_passing(&why, half_image, until_ms))
            return err_move(err, &why);
    }
}

bool ctr_image_pull(struct ctr_engine *e, struct arena *a, struct str image, bool *is_stale,
                    struct str *digest, const atomic_bool *cancel, struct err *err)
{
    if (!check_image(e, image, err))
        return false;
    scoped_err pull = {0}, ignored = {0};
    bool exists = false, pulled = e->ops->image_pull(e->ctx, image, cancel, &pull);
    struct str d = {0};
    if (!pulled && pull.code == ERR_CANCELLED)
        return err_move(err, &pull);
    if (!ctr_image_inspect(e, a, image, &exists, &d, &ignored) || !exists) {
        if (pulled)
            return err_set(err, ERR_UPSTREAM, "image " STR_FMT " was pulled, but is not here",
                           STR_ARG(image));
        err_append(&pull, "\nand no local image has that name");
        return err_move(err, &pull);
    }
    if (!pulled)
        log_warn("using the local image: it could not be pulled", LOG_STR("image", image), LOG_ERR(&pull));
    if (is_stale)
        *is_stale = !pulled;
    if (digest)
        *digest = d;
    return true;
}

bool ctr_image_remove(struct ctr_engine *e, struct str image, struct err *err)
{
    return check_image(e, image, err) && e->ops->image_remove(e->ctx, image, err);
}

bool ctr_image_build(struct ctr_engine *e, const struct ctr_build *b, struct err *err)
{
    if (!check_image(e, b->image, err) || !check_no_nul(b->args, "build argument", true, err) ||
        !check_no_nul(b->labels, "label", true, err))
        return false;
    if (b->file.len == 0 || b->file.ptr[0] == '-' || (b->target.len > 0 && b->target.ptr[0] == '-'))
        return err_set(err, ERR_INVALID, "the Containerfile's name or the stage's name is malformed");
    return e->ops->image_build(e->ctx, b, err);
}

bool ctr_volume_ensure(struct ctr_engine *e, struct str name, const struct ctr_kv_list *labels,
                       struct err *err)
{
    return check(e, name, "volume", "_.-", 255, err) && check_no_nul(labels, "label", true, err) &&
           e->ops->volume_ensure(e->ctx, name, labels, err);
}

bool ctr_volume_list(struct ctr_engine *e, struct arena *a, struct str key, struct str value,
                     struct ctr_volume_list *out, struct err *err)
{
    struct ctr_volume_list list, unused;
    struct map names;
    if (!check_on(e, err))
        return false;
    if (key.len == 0 || value.len == 0 || str_chr(value, '\0') != STR_NPOS)
        return err_set(err, ERR_INVALID, "volumes are listed by a label and its value");
    if (!e->ops->volume_list(e->ctx, a, key, value, false, &list, err) ||
        (list.len > 0 && !e->ops->volume_list(e->ctx, a, key, value, true, &unused, err)))
        return false;
    map_init(&names, a);
    if (list.len > 0)
        vec_foreach(v, &unused) map_set(&names, v->name, NULL);
    vec_foreach(v, &list) v->is_used = !map_has(&names, v->name);
    *out = list;
    return true;
}

bool ctr_volume_remove(struct ctr_engine *e, struct str name, struct err *err)
{
    return check(e, name, "volume", "_.-", 255, err) && e->ops->volume_remove(e->ctx, name, err);
}

bool ctr_is_on_network(struct str cidr)
{
    struct ifaddrs *list;
    struct str base, bits;
    uint32_t network;
    uint64_t n = 0;
    bool found = false;
    if (!str_cut(cidr, '/', &base, &bits) || !ctr_ipv4_parse(base, &network) || !str_to_u64(bits, &n) ||
        n == 0 || n > 32 || getifaddrs(&list) != 0)
        return false;
    uint32_t mask = UINT32_MAX << (32 - n);
    for (struct ifaddrs *i = list; i && !found; i = i->ifa_next) {
        if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET)
            found = (ntohl(((struct sockaddr_in *)(void *)i->ifa_addr)->sin_addr.s_addr) & mask) ==
                    (network & mask);
    }
    freeifaddrs(list);
    return found;
}

int ctr_engine_direct(struct ctr_engine *e)
{
    return atomic_load(&e->direct);
}

/* Finds out, as far as that can be told, whether this host has an address in the containers' network. Podman
 * makes the interface with the first container, so "no" is certain only afterwards. */
static void direct_learn(struct ctr_engine *e, bool has_container)
{
    scoped_arena a = {0};
    scoped_err ignored = {0};
    struct str subnet = {0};
    if (atomic_load(&e->direct) >= 0)
        return;
    if (!e->is_local) {
        atomic_store(&e->direct, 0);
        return;
    }
    if (!e->ops->subnet(e->ctx, &a, &subnet, &ignored))
        return;
    if (ctr_is_on_network(subnet))
        atomic_store(&e->direct, 1);
    else if (has_container || e->kind == CTR_DOCKER)
        atomic_store(&e->direct, 0);
}

static bool run_once(struct ctr_engine *e, const struct ctr_run *run, bool publish, struct err *err)
{
    if (e->ops->run(e->ctx, run, publish, err))
        return true;
    /* What was created but would not start must not be found by the next attempt. A taken name is not ours.
     */
    scoped_err ignored = {0};
    if (err->code != ERR_CONFLICT)
        e->ops->remove(e->ctx, run->name, &ignored);
    return false;
}

void ctr_engine_forbid_root(struct ctr_engine *e)
{
    e->forbids_root = true;
}

/* USER is "name", "uid", either with ":group"; without it the engine runs as root. */
static bool is_root(struct str user)
{
    uint64_t uid;
    str_cut(user, ':', &user, NULL);
    user = str_trim(user);
    if (str_starts(user, STR("+")) || str_starts(user, STR("-"))) /* engines read a number with its sign */
        user = str_from_off(user, 1);
    return str_is_empty(user) || str_eq(user, STR("root")) || (str_to_u64(user, &uid) && uid == 0);
}

static bool check_user(struct ctr_engine *e, const struct ctr_run *run, struct err *err)
{
    scoped_arena a = {0};
    const struct str *asked = ctr_kv_get(&run->limits.flags, STR("user"));
    struct str user = {0};
    if (!e->forbids_root)
        return true;
    if (asked)
        user = *asked;
    else if (e->ops->image_user && !e->ops->image_user(e->ctx, &a, run->image, &user, err))
        return err_wrap(err, "finding out whether image " STR_FMT " runs as root", STR_ARG(run->image));
    return !is_root(user) || err_set(err, ERR_FORBIDDEN,
                                     "image " STR_FMT " runs as root, which security.forbid_root_containers does not "
                                     "allow: end its Containerfile with a USER that is not root",
                                     STR_ARG(run->image));
}

static bool add_label(struct arena *a, struct ctr_kv_list *out, const char *key, const struct ctr_run *run, const char *same)
{
    const struct str *value = ctr_kv_get(&run->labels, str_from(key));
    value = value ? value : ctr_kv_get(&run->labels, str_from(same));
    if (value)
        ctr_kv_set(a, out, str_from(key), *value);
    return value != NULL;
}

/* A volume says whose it is, as the container does that it is made for. */
static bool make_volume(struct ctr_engine *e, const struct ctr_run *run, const struct ctr_mount *m, struct err *err)
{
    scoped_arena a = {0};
    struct ctr_kv_list labels = {0};
    if (m->name.len > 0 && add_label(&a, &labels, CTR_LABEL_HOME, run, CTR_LABEL_TASK_HOME) &&
        add_label(&a, &labels, CTR_LABEL_APP_ID, run, CTR_LABEL_TASK_APP_ID)) {
        add_label(&a, &labels, CTR_LABEL_APP_PATH, run, CTR_LABEL_TASK_APP_PATH);
        ctr_kv_set(&a, &labels, STR(CTR_LABEL_VOLUME), ctr_label_text(&a, m->name));
    }
    return ctr_volume_ensure(e, m->source, &labels, err);
}

/* What both kinds of run check, and the volumes that they need. */
static bool prepare_run(struct ctr_engine *e, const struct ctr_run *run, struct err *err)
{
    if (!check_name(e, run->name, err) || !check_image(e, run->image, err) ||
        !check_no_nul(&run->labels, "label", true, err) ||
        !check_no_nul(&run->env, "environment variable", false, err))
        return false;
    if (run->workdir.len > 0 && run->workdir.ptr[0] != '/')
        return err_set(err, ERR_INVALID, "the working directory of a container must be absolute");
    if (!ctr_mounts_check(run->mounts, run->n_mounts, err) || !check_user(e, run, err))
        return false;
    for (size_t i = 0; i < run->n_mounts; i++) {
        if (!run->mounts[i].is_bind && run->mounts[i].source.len > 0 && !make_volume(e, run, &run->mounts[i], err))
            return err_wrap(err, "making a volume for " STR_FMT, STR_ARG(run->mounts[i].target));
    }
    return true;
}

bool ctr_container_run(struct ctr_engine *e, const struct ctr_run *run, struct err *err)
{
    if (!prepare_run(e, run, err))
        return false;
    direct_learn(e, false);
    int direct = atomic_load(&e->direct);
    bool publish = run->port > 0 && (direct == 0 || !e->is_local);
    if (!run_once(e, run, publish, err))
        return false;
    if (publish || run->port == 0 || direct > 0)
        return true;
    direct_learn(e, true);
    if (atomic_load(&e->direct) != 0)
        return true;
    /* Its own address turned out to be out of reach. */
    if (!e->ops->remove(e->ctx, run->name, err))
        return false;
    return run_once(e, run, true, err);
}

bool ctr_container_task(struct ctr_engine *e, const struct ctr_run *run, const struct ctr_task_io *io,
                        struct ctr_task_end *end, struct err *err)
{
    struct ctr_task_end got;
    scoped_err ignored = {0};
    if (!prepare_run(e, run, err))
        return false;
    if (!e->ops->task)
        return err_set(err, ERR_UNSUPPORTED, "this container engine cannot run single commands");
    for (size_t i = 0; i < run->command.len; i++)
        if (str_chr(run->command.items[i], '\0') != STR_NPOS)
            return err_set(err, ERR_INVALID, "an argument of a command has a NUL byte in it");
    bool ok = e->ops->task(e->ctx, run, io, &got, err);
    /* A name that was taken is somebody else's container. */
    if (ok ? got.timed_out || got.cancelled || got.exit_code == 137 : err->code != ERR_CONFLICT) {
        e->ops->kill(e->ctx, run->name, &ignored); /* a removal by force may ask politely first */
        err_release(&ignored);
        e->ops->remove(e->ctx, run->name, &ignored);
    }
    if (ok)
        *end = got;
    return ok;
}

bool ctr_container_inspect(struct ctr_engine *e, struct arena *a, struct str name, uint16_t port,
                           struct ctr_info *out, struct err *err)
{
    return check_name(e, name, err) && e->ops->inspect(e->ctx, a, name, port, out, err);
}

bool ctr_container_size(struct ctr_engine *e, struct str name, struct ctr_size *out, struct err *err)
{
    return check_name(e, name, err) && e->ops->size(e->ctx, name, out, err);
}

bool ctr_container_start(struct ctr_engine *e, struct str name, struct err *err)
{
    return check_name(e, name, err) && e->ops->start(e->ctx, name, err);
}

bool ctr_container_stop(struct ctr_engine *e, struct str name, int grace_secs, struct err *err)
{
    scoped_err first = {0}, ignored = {0};
    if (!check_name(e, name, err))
        return false;
    if (e->ops->stop(e->ctx, name, MAX(grace_secs, 0), &first))
        return true;
    /* Podman does not stop what is paused. */
    if (!e->ops->unpause(e->ctx, name, &ignored))
        return err_move(err, &first);
    return e->ops->stop(e->ctx, name, MAX(grace_secs, 0), err);
}

bool ctr_container_kill(struct ctr_engine *e, struct str name, struct err *err)
{
    return check_name(e, name, err) && e->ops->kill(e->ctx, name, err);
}

bool ctr_container_pause(struct ctr_engine *e, struct str name, struct err *err)
{
    return check_name(e, name, err) && e->ops->pause(e->ctx, name, err);
}

bool ctr_container_unpause(struct ctr_engine *e, struct str name, struct err *err)
{
    return check_name(e, name, err) && e->ops->unpause(e->ctx, name, err);
}

/* Docker refuses to remove what it is removing for somebody else; in a moment that is done. */
bool ctr_container_remove(struct ctr_engine *e, struct str name, struct err *err)
{
    int64_t until_ms = clock_ms() + PASSING_MS;
    if (!check_name(e, name, err))
        return false;
    for (;;) {
        scoped_err why = {0};
        if (e->ops->remove(e->ctx, name, &why))
            return true;
        if (!is_passing(&why, "is already in progress", until_ms))
            return err_move(err, &why);
    }
}

static bool read_logs(struct ctr_engine *e, struct arena *a, struct str name, int lines, int64_t since_ns, bool with_times,
                      struct str *out, struct err *err)
{
    if (!check_name(e, name, err))
        return false;
    return e->kind == CTR_PODMAN ? ctr_logs_of_podman(e->ops, e->ctx, a, name, MAX(lines, 1), with_times, out, err)
                                 : e->ops->logs(e->ctx, a, name, MAX(lines, 1), since_ns, with_times, out, err);
}

bool ctr_container_logs(struct ctr_engine *e, struct arena *a, struct str name, int lines, struct str *out,
                        struct err *err)
{
    return read_logs(e, a, name, lines, 0, false, out, err);
}

bool ctr_container_logs_since(struct ctr_engine *e, struct arena *a, struct str name, int lines, int64_t since_ns,
                              struct str *out, int64_t *next, struct err *err)
{
    struct str text;
    int64_t since = MAX(since_ns, 0), newest = since > 0 ? since - 1 : 0;
    if (!read_logs(e, a, name, lines, since, true, &text, err))
        return false;
    *out = ctr_logs_strip(a, text, e->kind == CTR_PODMAN, since, &newest);
    *next = newest < INT64_MAX ? newest + 1 : newest;
    return true;
}

bool ctr_container_list(struct ctr_engine *e, struct arena *a, struct str key, struct str value, bool all,
                        struct ctr_info_list *out, struct err *err)
{
    if (!check_on(e, err))
        return false;
    if (key.len == 0 || str_chr(value, '\0') != STR_NPOS)
        return err_set(err, ERR_INVALID, "containers are listed by a label");
    return e->ops->list(e->ctx, a, key, value, all, out, err);
}

bool ctr_engine_events(struct ctr_engine *e, struct str key, struct str value, ctr_event_fn *fn, void *arg,
                       int cancel_fd, struct err *err)
{
    if (!check_on(e, err))
        return false;
    return e->ops->events(e->ctx, key, value, fn, arg, cancel_fd, err);
}

bool ctr_container_stats(struct ctr_engine *e, struct str name, bool quick, struct ctr_stats *out, struct err *err)
{
    return check_name(e, name, err) && e->ops->stats(e->ctx, name, quick, out, err);
}

bool ctr_image_list(struct ctr_engine *e, struct arena *a, struct str key, struct str value,
                    struct ctr_image_list *out, struct err *err)
{
    if (!check_on(e, err))
        return false;
    if (key.len == 0 || value.len == 0 || str_chr(value, '\0') != STR_NPOS)
        return err_set(err, ERR_INVALID, "images are listed by a label and its value");
    int64_t until_ms = clock_ms() + PASSING_MS;
    for (;;) {
        scoped_err why = {0};
        if (e->ops->image_list(e->ctx, a, key, value, out, &why))
            return true;
        if (!is_passing(&why, half_image, until_ms) && !is_passing(&why, lost_image, until_ms))
            return err_move(err, &why);
    }
}
