/* container/program.c: an engine through its program: docker or podman.
 *
 * Values of the environment never appear among the arguments: `--env NAME` makes the program take the value
 * from its own environment, newlines and all. Names that steer the program itself (PATH, DOCKER_HOST ...) go
 * through `--env-file /dev/stdin` instead.
 * SPDX-License-Identifier: Apache-2.0 */
#include "container_int.h"
#include "proc.h"
#include "timefmt.h"

#include <stdio.h>

static void add(struct arena *a, struct str_list *l, const char *z)
{
    str_list_add(a, l, str_from(z));
}

static bool has_nocase(struct str s, const char *needle)
{
    size_t n = strlen(needle);
    for (size_t i = 0; i + n <= s.len; i++) {
        if (str_eq_nocase(str_slice(s, i, i + n), str_of(needle, n)))
            return true;
    }
    return false;
}

/* What programs say when the object is not there. */
static bool says_absent(struct str text)
{
    static const char *const words[] = {"no such", "not known", "not found", "no container with"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (has_nocase(text, words[i]))
            return true;
    }
    return false;
}

bool ctr_env_is_reserved(struct str name)
{
    static const char *const exact[] = {
        "PATH", "HOME", "USER", "TMPDIR", "IFS", "SHELL", "TERM", "PWD", "NOTIFY_SOCKET", "REGISTRY_AUTH_FILE",
        "SSH_AUTH_SOCK", "SSH_ASKPASS", "SSL_CERT_FILE", "SSL_CERT_DIR", "GNUPGHOME",
        /* of a script that stands for the program */
        "ENV", "BASH_ENV", "BASHOPTS", "SHELLOPTS", "PS4", "CDPATH", "NODE_OPTIONS", "NODE_PATH",
        /* of Go's runtime, in which the programs are written; not GOPROXY, GO_VERSION and what else apps have */
        "GODEBUG", "GOGC", "GOMAXPROCS", "GOMEMLIMIT", "GOTRACEBACK", "GORACE", "GOCOVERDIR"};
    static const char *const prefixes[] = {"LD_", "DOCKER_", "BUILDX_", "BUILDKIT_", "CONTAINER", "PODMAN_",
                                           "BUILDAH_", "XDG_", "STORAGE_", "_CONTAINERS_", "GCONV_", "MALLOC_",
                                           "GLIBC_TUNABLES", "DBUS_", "LISTEN_", "BASH_FUNC_", "PYTHON", "PERL", "RUBY",
                                           /* of git, which builders ask about the folder; not GIT_COMMIT, GIT_TOKEN ... */
                                           "GIT_CONFIG", "GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_EXEC_PATH",
                                           "GIT_SSH", "GIT_ASKPASS", "GIT_PROXY", "GIT_EXTERNAL", "GIT_PAGER", "GIT_EDITOR",
                                           "GIT_TRACE", "GIT_INDEX", "GIT_OBJECT", "GIT_ALTERNATE", "GIT_TEMPLATE"};
    for (size_t i = 0; i < ARRAY_LEN(exact); i++) {
        if (str_eq_z(name, exact[i]))
            return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
        if (str_starts(name, str_from(prefixes[i])))
            return true;
    }
    return false;
}

static bool keep_log(void *text, enum proc_stream stream, struct str chunk)
{
    (void)stream;
    ctr_log_keep(text, chunk);
    return true;
}

/* Runs; false only if the program could not be run to its end. `*failed` has its complaint on a non-zero
 * exit. */
static bool run_raw(const struct ctr_program *p, struct arena *a, const struct str_list *args,
                    const struct str_list *env, struct str input, int64_t timeout_ms, bool merge,
                    struct str *out, struct str *complaint, int *exit_code, struct err *err)
{
    scoped_buf text = BUF_INIT(merge ? 2 * CTR_LOG_MAX : CTR_ANSWER_MAX);
    scoped_buf said = BUF_INIT(16 << 10);
    struct proc_spec spec = {.stdin_data = input,
                             .out = merge ? NULL : &text,
                             .on_output = merge ? keep_log : NULL,
                             .arg = &text,
                             .err_out = &said,
                             .timeout_ms = timeout_ms,
                             .grace_ms = 1000,
                             .merge_stderr = merge};
    add(a, &spec.argv, p->path);
    for (size_t i = 0; i < args->len; i++)
        str_list_add(a, &spec.argv, args->items[i]);
    if (env)
        spec.env = *env;
    struct proc_result res;
    if (!proc_run(&spec, &res, err))
        return err_wrap(err, "running %s", p->path);
    struct str verb = args->len > 0 ? args->items[0] : STR("?");
    if (res.timed_out)
        return err_set(err, ERR_UNAVAILABLE,
                       "%s " STR_FMT " did not answer within %lld s: is the engine hanging?", p->name,
                       STR_ARG(verb), (long long)timeout_ms / 1000);
    if (text.is_full && !merge)
        return err_set(err, ERR_TOO_LARGE, "%s " STR_FMT " gave more than %d MiB", p->name, STR_ARG(verb),
                       CTR_ANSWER_MAX >> 20);
    *exit_code = res.exit_code;
    *out = str_dup(a, merge ? ctr_log_kept(&text) : buf_str(&text));
    *complaint = str_trim(str_dup(a, buf_str(&said)));
    if (res.exit_code != 0 && complaint->len == 0 && res.signal)
        *complaint = str_printf(a, "ended by signal %d", res.signal);
    return true;
}

static bool complain(const struct ctr_program *p, struct str verb, struct str complaint, struct err *err)
{
    enum err_code code = has_nocase(complaint, "is already in use") ? ERR_CONFLICT
                         : says_absent(complaint)                   ? ERR_NOT_FOUND
                                                                    : ERR_UPSTREAM;
    if (has_nocase(complaint, "cannot connect to") || has_nocase(complaint, "is the docker daemon running"))
        return err_set(err, ERR_UNAVAILABLE, "%s does not answer: is the daemon running? (" STR_FMT ")",
                       p->name, STR_ARG(str_slice(complaint, 0, 500)));
    return err_set(err, code, "%s " STR_FMT ": " STR_FMT, p->name, STR_ARG(verb),
                   STR_ARG(str_slice(complaint, 0, 4096)));
}

bool ctr_program_run(const struct ctr_program *p, struct arena *a, const struct str_list *args,
                     const struct str_list *env, struct str input, int64_t timeout_ms, struct str *out,
                     struct err *err)
{
    struct str text, complaint;
    int code;
    if (!run_raw(p, a, args, env, input, timeout_ms, false, &text, &complaint, &code, err))
        return false;
    if (code != 0)
        return complain(p, args->items[0], complaint, err);
    if (out)
        *out = text;
    return true;
}

int ctr_program_major(struct ctr_program *p)
{
    int known = atomic_load(&p->major);
    if (known != 0)
        return known;
    scoped_arena a = {0};
    scoped_err ignored = {0};
    struct str_list args = {0};
    struct str out, number;
    uint64_t major = 0;
    str_list_add(&a, &args, STR("--version"));
    if (!ctr_program_run(p, &a, &args, NULL, (struct str){0}, CTR_INSPECT_MS, &out, &ignored))
        return -1;
    size_t at = str_find(out, STR("version ")); /* "Docker version 20.10.24+dfsg1, build 297e128" */
    if (at != STR_NPOS)
        str_cut(str_from_off(out, at + 8), '.', &number, NULL);
    known = at != STR_NPOS && str_to_u64(number, &major) && major > 0 && major < 1000 ? (int)major : -1;
    atomic_store(&p->major, known);
    return known;
}

/* A command of a few words, at most one of them a slice. */
static bool run_simple(const struct ctr_program *p, const char *const *words, struct str last,
                       int64_t timeout_ms, bool absent_is_fine, struct err *err)
{
    scoped_arena a = {0};
    struct str_list args = {0};
    for (; *words; words++)
        add(&a, &args, *words);
    str_list_add(&a, &args, last);
    struct str text, complaint;
    int code;
    if (!run_raw(p, &a, &args, NULL, (struct str){0}, timeout_ms, false, &text, &complaint, &code, err))
        return false;
    if (code == 0 || (absent_is_fine && says_absent(complaint)))
        return true;
    return complain(p, args.items[0], complaint, err);
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static bool program_ping(void *ctx, struct arena *a, struct str *version, struct err *err)
{
    struct ctr_program *p = ctx;
    struct str_list args = {0};
    struct str out;
    const char *format = p->kind == CTR_PODMAN ? "{{.Client.Version}}" : "{{.Server.Version}}";
    add(a, &args, "version");
    add(a, &args, "--format");
    add(a, &args, format);
    if (!ctr_program_run(p, a, &args, NULL, (struct str){0}, CTR_INSPECT_MS, &out, err))
        return false;
    *version = str_printf(a, "%s " STR_FMT " through %s", p->name, STR_ARG(str_trim(out)), p->path);
    return true;
}

/* `inspect` of `what` ("image", "container"): the first object, or NULL with *exists false. */
static json_t *inspect_one(const struct ctr_program *p, struct arena *a, const char *what, struct str name,
                           bool *exists, struct err *err)
{
    struct str_list args = {0};
    struct str text, complaint;
    int code;
    add(a, &args, what);
    add(a, &args, "inspect");
    str_list_add(a, &args, name);
    *exists = false;
    if (!run_raw(p, a, &args, NULL, (struct str){0}, CTR_INSPECT_MS, false, &text, &complaint, &code, err))
        return NULL;
    if (code != 0) {
        if (!says_absent(complaint))
            complain(p, STR("inspect"), complaint, err);
        return NULL;
    }
    scoped_json *list = json_parse(text, err);
    if (!list) {
        err_wrap(err, "reading what %s %s inspect said", p->name, what);
        return NULL;
    }
    json_t *first = json_array_get(list, 0);
    *exists = first != NULL;
    return json_incref(first);
}

static bool program_image_inspect(void *ctx, struct arena *a, struct str image, bool *exists,
                                  struct str *digest, struct err *err)
{
    scoped_err e = {0};
    scoped_json *j = inspect_one(ctx, a, "image", image, exists, &e);
    if (err_is_set(&e))
        return err_move(err, &e);
    if (*exists && digest)
        ctr_digest_from_json(a, j, digest);
    return true;
}

static bool program_image_user(void *ctx, struct arena *a, struct str image, struct str *user, struct err *err)
{
    bool exists;
    scoped_err e = {0};
    scoped_json *j = inspect_one(ctx, a, "image", image, &exists, &e);
    if (err_is_set(&e))
        return err_move(err, &e);
    if (!j)
        return err_set(err, ERR_NOT_FOUND, "image " STR_FMT " is not here", STR_ARG(image));
    *user = str_dup(a, json_get_str(json_get(j, "Config"), "User", (struct str){0}));
    return true;
}

static bool program_image_remove(void *ctx, struct str image, struct err *err)
{
    return run_simple(ctx, WORDS("rmi"), image, CTR_CHANGE_MS, true, err);
}

static bool program_image_pull(void *ctx, struct str image, const atomic_bool *cancel, struct err *err)
{
    return ctr_pull_with_program(ctx, image, cancel, err);
}

static bool program_image_build(void *ctx, const struct ctr_build *b, struct err *err)
{
    return ctr_build_with_program(ctx, b, err);
}

static bool program_volume_ensure(void *ctx, struct str name, const struct ctr_kv_list *labels,
                                  struct err *err)
{
    struct ctr_program *p = ctx;
    scoped_arena a = {0};
    struct str_list args = {0};
    scoped_err absent = {0};
    if (run_simple(p, WORDS("volume", "inspect"), name, CTR_INSPECT_MS, false, &absent))
        return true;
    if (absent.code != ERR_NOT_FOUND)
        return err_move(err, &absent);
    add(&a, &args, "volume");
    add(&a, &args, "create");
    for (size_t i = 0; labels && i < labels->len; i++) {
        add(&a, &args, "--label");
        str_list_add(&a, &args,
                     str_printf(&a, STR_FMT "=" STR_FMT, STR_ARG(labels->items[i].key),
                                STR_ARG(labels->items[i].value)));
    }
    str_list_add(&a, &args, name);
    return ctr_program_run(p, &a, &args, NULL, (struct str){0}, CTR_CHANGE_MS, NULL, err);
}

/* Environment of the container: names among the arguments, values in the program's own environment, and
 * reserved names as lines of the standard input. */
static bool run_env(struct arena *a, const struct ctr_kv_list *env, struct str_list *args,
                    struct str_list *own, struct str *input, struct err *err)
{
    struct str lines = {0};
    for (size_t i = 0; i < env->len; i++) {
        struct str key = env->items[i].key, value = env->items[i].value;
        struct str pair = str_printf(a, STR_FMT "=" STR_FMT, STR_ARG(key), STR_ARG(value));
        if (!ctr_env_is_reserved(key)) {
            add(a, args, "--env");
            str_list_add(a, args, key);
            str_list_add(a, own, pair);
        } else if (str_chr(value, '\n') != STR_NPOS) {
            return err_set(err, ERR_INVALID,
                           "the environment variable " STR_FMT " must not contain a newline", STR_ARG(key));
        } else {
            lines = str_printf(a, STR_FMT STR_FMT "\n", STR_ARG(lines), STR_ARG(pair));
        }
    }
    if (lines.len > 0) {
        add(a, args, "--env-file");
        add(a, args, "/dev/stdin");
    }
    *input = lines;
    return true;
}

static void run_limits(struct arena *a, const struct ctr_limits *limits, struct str_list *args)
{
    if (limits->milli_cpus > 0)
        str_list_add(a, args,
                     str_printf(a, "--cpus=%lld.%03lld", (long long)limits->milli_cpus / 1000,
                                (long long)limits->milli_cpus % 1000));
    if (limits->memory_bytes > 0)
        str_list_add(a, args, str_printf(a, "--memory=%lldb", (long long)limits->memory_bytes));
    for (size_t i = 0; i < limits->flags.len; i++) {
        struct str key = limits->flags.items[i].key, value = limits->flags.items[i].value;
        str_list_add(a, args,
                     value.len > 0 ? str_printf(a, "--" STR_FMT "=" STR_FMT, STR_ARG(key), STR_ARG(value))
                                   : str_printf(a, "--" STR_FMT, STR_ARG(key)));
    }
}

static bool run_mounts(struct arena *a, const struct ctr_run *run, struct str_list *args, struct err *err)
{
    for (size_t i = 0; i < run->n_mounts; i++) {
        const struct ctr_mount *m = &run->mounts[i];
        if (str_chr(m->source, ':') != STR_NPOS || str_chr(m->target, ':') != STR_NPOS)
            return err_set(err, ERR_INVALID, "a mounted path must not contain ':' (" STR_FMT ")",
                           STR_ARG(m->source));
        str_list_add(a, args,
                     str_printf(a, "--volume=" STR_FMT "%s" STR_FMT "%s", STR_ARG(m->source), m->source.len > 0 ? ":" : "",
                                STR_ARG(m->target), m->is_read_only ? ":ro" : ""));
    }
    return true;
}

/* Everything from the labels to the command, for `run` after its own flags. */
static bool run_args(const struct ctr_program *p, struct arena *a, const struct ctr_run *run, struct str_list *args,
                     struct str_list *own, struct str *input, struct err *err)
{
    for (size_t i = 0; i < run->labels.len; i++) {
        add(a, args, "--label");
        str_list_add(a, args,
                     str_printf(a, STR_FMT "=" STR_FMT, STR_ARG(run->labels.items[i].key),
                                STR_ARG(run->labels.items[i].value)));
    }
    if (p->kind == CTR_DOCKER)
        add(a, args, "--add-host=host.docker.internal:host-gateway");
    if (!run_mounts(a, run, args, err) || !run_env(a, &run->env, args, own, input, err))
        return false;
    run_limits(a, &run->limits, args);
    if (run->workdir.len > 0) {
        add(a, args, "--workdir");
        str_list_add(a, args, run->workdir);
    }
    if (run->entrypoint.len > 0) {
        add(a, args, "--entrypoint");
        str_list_add(a, args, run->entrypoint);
    }
    add(a, args, "--"); /* whatever stands before: what follows is the image and its command */
    str_list_add(a, args, run->image);
    for (size_t i = 0; i < run->command.len; i++)
        str_list_add(a, args, run->command.items[i]);
    return true;
}

static bool program_run(void *ctx, const struct ctr_run *run, bool publish, struct err *err)
{
    struct ctr_program *p = ctx;
    scoped_arena a = {0};
    struct str_list args = {0}, own = {0};
    struct str input;
    static const char *const head[] = {"run", "--detach", "--pull=never", "--name"};
    for (size_t i = 0; i < ARRAY_LEN(head); i++)
        add(&a, &args, head[i]);
    str_list_add(&a, &args, run->name);
    if (publish && run->port > 0) {
        add(&a, &args, "--publish");
        str_list_add(&a, &args, str_printf(&a, "127.0.0.1::%u", (unsigned)run->port));
    }
    return run_args(p, &a, run, &args, &own, &input, err) &&
           ctr_program_run(p, &a, &args, &own, input, CTR_CHANGE_MS, NULL, err);
}

/* Output on its way to the caller, and the beginning of what may be stderr: the engine's own words when it fails. */
struct task_output {
    const struct ctr_task_io *io;
    struct buf said;
};

static bool on_task_output(void *arg, enum proc_stream stream, struct str chunk)
{
    struct task_output *o = arg;
    if (stream == PROC_STDERR || o->io->merges)
        buf_add_str(&o->said, str_slice(chunk, 0, o->said.max - o->said.len));
    return !o->io->on_output || o->io->on_output(o->io->arg, stream == PROC_STDERR, chunk);
}

/* Both programs end with 125 when they failed themselves, and say so as themselves; a command may use it too. */
static bool is_own_failure(const struct ctr_program *p, int exit_code, struct str said)
{
    return exit_code == 125 && (str_starts(said, str_from(p->name)) || str_starts(said, STR("docker:")) ||
                                str_starts(said, STR("Error:")) || str_starts(said, STR("error")));
}

static bool program_task(void *ctx, const struct ctr_run *run, const struct ctr_task_io *io, struct ctr_task_end *end,
                         struct err *err)
{
    struct ctr_program *p = ctx;
    scoped_arena a = {0};
    struct task_output o = {.io = io, .said = BUF_INIT(4096)};
    struct proc_spec spec = {.on_output = on_task_output,
                             .arg = &o,
                             .merge_stderr = io->merges,
                             .timeout_ms = io->timeout_ms,
                             .grace_ms = CTR_TASK_GRACE_MS,
                             .cancel = (atomic_bool *)io->cancel};
    struct proc_result res;
    static const char *const head[] = {"run", "--rm", "--pull=never", "--name"};
    add(&a, &spec.argv, p->path);
    for (size_t i = 0; i < ARRAY_LEN(head); i++)
        add(&a, &spec.argv, head[i]);
    str_list_add(&a, &spec.argv, run->name);
    bool ok = run_args(p, &a, run, &spec.argv, &spec.env, &spec.stdin_data, err) &&
              (proc_run(&spec, &res, err) || err_wrap(err, "running %s", p->path));
    if (ok && !res.timed_out && !res.cancelled && is_own_failure(p, res.exit_code, buf_str(&o.said)))
        ok = complain(p, STR("run"), str_trim(buf_str(&o.said)), err);
    if (ok)
        *end = (struct ctr_task_end){.exit_code = res.exit_code >= 0 ? res.exit_code : 128 + res.signal,
                                     .timed_out = res.timed_out,
                                     .cancelled = res.cancelled,
                                     .took_ms = res.took_ms};
    buf_release(&o.said);
    return ok;
}

static bool program_inspect(void *ctx, struct arena *a, struct str name, uint16_t port, struct ctr_info *out,
                            struct err *err)
{
    bool exists;
    scoped_err e = {0};
    scoped_json *j = inspect_one(ctx, a, "container", name, &exists, &e);
    if (err_is_set(&e))
        return err_move(err, &e);
    struct ctr_info info = {.status = CTR_STATUS_NONE};
    if (exists && !ctr_info_from_json(a, j, port, &info))
        return err_set(err, ERR_UPSTREAM, "the engine's answer about container " STR_FMT " makes no sense",
                       STR_ARG(name));
    /* An inspect also finds ids by their beginning: only the exact name counts. */
    if (!str_eq(info.name, name))
        info = (struct ctr_info){.status = CTR_STATUS_NONE};
    *out = info;
    return true;
}

static bool program_size(void *ctx, struct str name, struct ctr_size *out, struct err *err)
{
    static const char *const words[] = {"container", "inspect", "--size", "--format", "{{.SizeRw}} {{.SizeRootFs}}"};
    scoped_arena a = {0};
    struct str_list args = {0};
    struct str text, written, root_fs = {0};
    uint64_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        add(&a, &args, words[i]);
    str_list_add(&a, &args, name);
    if (!ctr_program_run(ctx, &a, &args, NULL, (struct str){0}, CTR_CHANGE_MS, &text, err))
        return false;
    text = written = str_trim(text);
    str_cut(text, ' ', &written, &root_fs);
    out->written = str_to_u64(written, &n) && n <= INT64_MAX ? (int64_t)n : 0; /* podman may say nothing */
    out->root_fs = str_to_u64(root_fs, &n) && n <= INT64_MAX ? (int64_t)n : 0;
    return true;
}

static bool program_start(void *ctx, struct str name, struct err *err)
{
    return run_simple(ctx, WORDS("start"), name, CTR_CHANGE_MS, false, err);
}

static bool program_stop(void *ctx, struct str name, int grace_secs, struct err *err)
{
    char grace[16];
    snprintf(grace, sizeof grace, "%d", grace_secs);
    return run_simple(ctx, WORDS("stop", "-t", grace), name, CTR_CHANGE_MS + grace_secs * 1000LL, true, err);
}

static bool program_kill(void *ctx, struct str name, struct err *err)
{
    scoped_err e = {0};
    if (run_simple(ctx, WORDS("kill"), name, CTR_CHANGE_MS, true, &e) ||
        str_find(str_from(err_msg(&e)), STR("only kill running")) != STR_NPOS ||
        str_find(str_from(err_msg(&e)), STR("is not running")) != STR_NPOS)
        return true;
    return err_move(err, &e);
}

static bool program_pause(void *ctx, struct str name, struct err *err)
{
    return run_simple(ctx, WORDS("pause"), name, CTR_CHANGE_MS, false, err);
}

static bool program_unpause(void *ctx, struct str name, struct err *err)
{
    return run_simple(ctx, WORDS("unpause"), name, CTR_CHANGE_MS, false, err);
}

static bool program_remove(void *ctx, struct str name, struct err *err)
{
    return run_simple(ctx, WORDS("rm", "--force", "--volumes"), name, CTR_CHANGE_MS, true, err);
}

static bool program_logs(void *ctx, struct arena *a, struct str name, int lines, int64_t since_ns, bool with_times,
                         struct str *out, struct err *err)
{
    struct str_list args = {0};
    struct str complaint;
    int code;
    add(a, &args, "logs");
    if (lines > 0) {
        add(a, &args, "--tail");
        str_list_add(a, &args, str_printf(a, "%d", lines));
    }
    if (with_times)
        add(a, &args, "--timestamps");
    if (since_ns > 0) {
        add(a, &args, "--since");
        str_list_add(a, &args, time_rfc3339_nano(a, since_ns));
    }
    str_list_add(a, &args, name);
    if (!run_raw(ctx, a, &args, NULL, (struct str){0}, lines > 0 ? CTR_LIST_MS : CTR_LOGS_ALL_MS, true, out, &complaint, &code, err))
        return false;
    return code == 0 || complain(ctx, STR("logs"), str_trim(*out), err);
}

/* Ids first, then one inspect of all: the label text of `ps` is ambiguous when a value has a comma. */
static bool program_list(void *ctx, struct arena *a, struct str key, struct str value, bool all,
                         struct ctr_info_list *out, struct err *err)
{
    struct str_list args = {0};
    struct str ids, id, text, complaint;
    int code;
    add(a, &args, "ps");
    add(a, &args, "--quiet");
    add(a, &args, "--no-trunc");
    if (all)
        add(a, &args, "--all");
    add(a, &args, "--filter");
    str_list_add(a, &args,
                 value.len > 0 ? str_printf(a, "label=" STR_FMT "=" STR_FMT, STR_ARG(key), STR_ARG(value))
                               : str_printf(a, "label=" STR_FMT, STR_ARG(key)));
    if (!ctr_program_run(ctx, a, &args, NULL, (struct str){0}, CTR_LIST_MS, &ids, err))
        return false;
    args = (struct str_list){0};
    add(a, &args, "container");
    add(a, &args, "inspect");
    while (str_next(&ids, '\n', &id)) {
        if (str_trim(id).len > 0)
            str_list_add(a, &args, str_trim(id));
    }
    struct ctr_info_list list = {0};
    if (args.len > 2) {
        /* One that went away in between makes the exit non-zero; the others are there all the same. */
        if (!run_raw(ctx, a, &args, NULL, (struct str){0}, CTR_LIST_MS, false, &text, &complaint, &code, err))
            return false;
        scoped_json *found = json_parse(text, err);
        if (!found)
            return code ? complain(ctx, STR("inspect"), complaint, err) : err_wrap(err, "listing containers");
        size_t i;
        json_t *one;
        json_array_foreach(found, i, one) {
            struct ctr_info info;
            if (ctr_info_from_json(a, one, 0, &info))
                *vec_push(a, &list) = info;
        }
    }
    *out = list;
    return true;
}

static bool program_image_list(void *ctx, struct arena *a, struct str key, struct str value,
                               struct ctr_image_list *out, struct err *err)
{
    static const char *const words[] = {"images", "--quiet", "--no-trunc", "--filter"};
    struct str_list args = {0};
    struct str ids, id, text, complaint;
    struct ctr_image_list list = {0};
    int code;
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        add(a, &args, words[i]);
    str_list_add(a, &args, str_printf(a, "label=" STR_FMT "=" STR_FMT, STR_ARG(key), STR_ARG(value)));
    if (!ctr_program_run(ctx, a, &args, NULL, (struct str){0}, CTR_LIST_MS, &ids, err))
        return false;
    args = (struct str_list){0};
    add(a, &args, "image");
    add(a, &args, "inspect");
    struct map seen; /* an image with two names is listed twice */
    map_init(&seen, a);
    while (str_next(&ids, '\n', &id)) {
        id = str_trim(id);
        if (id.len > 0 && !map_has(&seen, id)) {
            map_set(&seen, id, NULL);
            str_list_add(a, &args, id);
        }
    }
    if (args.len > 2) {
        if (!run_raw(ctx, a, &args, NULL, (struct str){0}, CTR_LIST_MS, false, &text, &complaint, &code, err))
            return false;
        scoped_json *found = json_parse(text, err);
        if (!found)
            return code ? complain(ctx, STR("image inspect"), complaint, err) : err_wrap(err, "listing images");
        for (size_t i = 0; i < json_array_size(found); i++)
            ctr_image_from_json(a, json_array_get(found, i), &list);
    }
    *out = list;
    return true;
}

static bool program_volume_list(void *ctx, struct arena *a, struct str key, struct str value, bool unused,
                                struct ctr_volume_list *out, struct err *err)
{
    static const char *const words[] = {"volume", "ls", "--quiet", "--filter"};
    struct str_list args = {0};
    struct str names, name, text, complaint;
    struct ctr_volume_list list = {0};
    int code;
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        add(a, &args, words[i]);
    str_list_add(a, &args, unused ? STR("dangling=true") : str_printf(a, "label=" STR_FMT "=" STR_FMT, STR_ARG(key), STR_ARG(value)));
    if (!ctr_program_run(ctx, a, &args, NULL, (struct str){0}, CTR_LIST_MS, &names, err))
        return false;
    args = (struct str_list){0};
    add(a, &args, "volume");
    add(a, &args, "inspect");
    while (str_next(&names, '\n', &name)) {
        name = str_trim(name);
        if (name.len > 0 && unused)
            *vec_push(a, &list) = (struct ctr_volume_info){.name = name};
        else if (name.len > 0)
            str_list_add(a, &args, name);
    }
    if (args.len > 2) {
        /* One that went away in between makes the exit non-zero; the others are there all the same. */
        if (!run_raw(ctx, a, &args, NULL, (struct str){0}, CTR_LIST_MS, false, &text, &complaint, &code, err))
            return false;
        scoped_json *found = json_parse(text, err);
        if (!found)
            return code ? complain(ctx, STR("volume inspect"), complaint, err) : err_wrap(err, "listing volumes");
        for (size_t i = 0; i < json_array_size(found); i++)
            ctr_volume_from_json(a, json_array_get(found, i), &list);
    }
    *out = list;
    return true;
}

static bool program_volume_remove(void *ctx, struct str name, struct err *err)
{
    return run_simple(ctx, WORDS("volume", "rm"), name, CTR_CHANGE_MS, true, err);
}

static bool program_stats(void *ctx, struct str name, bool quick, struct ctr_stats *out, struct err *err)
{
    scoped_arena a = {0};
    struct str_list args = {0};
    struct str text;
    (void)quick; /* there is no quick way */
    add(&a, &args, "stats");
    add(&a, &args, "--no-stream");
    add(&a, &args, "--format");
    add(&a, &args, "json");
    str_list_add(&a, &args, name);
    if (!ctr_program_run(ctx, &a, &args, NULL, (struct str){0}, CTR_INSPECT_MS, &text, err))
        return false;
    scoped_json *j = json_parse(str_trim(text), err);
    if (!j)
        return err_wrap(err, "reading what container " STR_FMT " uses", STR_ARG(name));
    ctr_stats_from_text(json_is_array(j) ? json_array_get(j, 0) : j, out);
    return true;
}

static bool events_output(void *arg, enum proc_stream stream, struct str chunk)
{
    if (stream == PROC_STDOUT)
        ctr_events_feed(arg, chunk);
    return true;
}

static bool program_events(void *ctx, struct str key, struct str value, ctr_event_fn *fn, void *arg,
                           int cancel_fd, struct err *err)
{
    const struct ctr_program *p = ctx;
    scoped_arena a = {0};
    scoped_buf said = BUF_INIT(16 << 10);
    struct ctr_event_feed feed = {.fn = fn, .arg = arg, .line = BUF_INIT(CTR_EVENT_LINE_MAX)};
    struct proc_spec spec = {.err_out = &said, .on_output = events_output, .arg = &feed, .grace_ms = 1000,
                             .cancel_fd = cancel_fd};
    add(&a, &spec.argv, p->path);
    add(&a, &spec.argv, "events");
    add(&a, &spec.argv, "--format");
    add(&a, &spec.argv, p->kind == CTR_PODMAN ? "json" : "{{json .}}");
    add(&a, &spec.argv, "--filter");
    add(&a, &spec.argv, "type=container");
    add(&a, &spec.argv, "--filter");
    str_list_add(&a, &spec.argv, str_printf(&a, "label=" STR_FMT "=" STR_FMT, STR_ARG(key), STR_ARG(value)));
    fn(arg, NULL);
    struct proc_result res;
    bool ok = proc_run(&spec, &res, err);
    buf_release(&feed.line);
    if (!ok)
        return err_wrap(err, "running %s", p->path);
    struct str complaint = str_trim(buf_str(&said));
    return err_set(err, ERR_UPSTREAM, "%s events has ended%s" STR_FMT, p->name, complaint.len ? ": " : "",
                   STR_ARG(str_slice(complaint, 0, 500)));
}

static bool program_subnet(void *ctx, struct arena *a, struct str *cidr, struct err *err)
{
    struct ctr_program *p = ctx;
    bool exists;
    scoped_err e = {0};
    const char *name = p->kind == CTR_PODMAN ? "podman" : "bridge";
    scoped_json *j = inspect_one(p, a, "network", str_from(name), &exists, &e);
    if (err_is_set(&e))
        return err_move(err, &e);
    const json_t *docker = json_array_get(json_get(json_get(j, "IPAM"), "Config"), 0);
    const json_t *podman = json_array_get(json_get(j, "subnets"), 0);
    *cidr = str_dup(a, json_get_str(podman, "subnet", json_get_str(docker, "Subnet", (struct str){0})));
    return true;
}

const struct ctr_backend ctr_program_backend = {
    .ping = program_ping,
    .image_inspect = program_image_inspect,
    .image_user = program_image_user,
    .image_pull = program_image_pull,
    .image_remove = program_image_remove,
    .image_build = program_image_build,
    .volume_ensure = program_volume_ensure,
    .volume_list = program_volume_list,
    .volume_remove = program_volume_remove,
    .run = program_run,
    .task = program_task,
    .inspect = program_inspect,
    .size = program_size,
    .start = program_start,
    .stop = program_stop,
    .kill = program_kill,
    .pause = program_pause,
    .unpause = program_unpause,
    .remove = program_remove,
    .logs = program_logs,
    .list = program_list,
    .image_list = program_image_list,
    .stats = program_stats,
    .events = program_events,
    .subnet = program_subnet,
};
