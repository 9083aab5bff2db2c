/* base/proc.c: posix_spawn and one poll loop per child.
 *
 *   RUNNING --deadline, cancel, callback--> ENDING (SIGTERM sent) --grace--> KILLED (SIGKILL sent)
 *      |     (outsiders: SIGKILL to them, and SIGTERM NUDGE_MS later)            |
 *      |                                       |                               |
 *      '------------- child exits -------------+-------------------------------'
 *                          |
 *                    DRAINING: what it left in the pipes; a grandchild that keeps them open is waited for
 *                    DRAIN_QUIET_MS of silence and at most DRAIN_MAX_MS
 *
 * The child is a zombie until the very end, so its pid, which names the group, cannot be somebody else's
 * when we signal it.
 * SPDX-License-Identifier: Apache-2.0 */
#include "proc_int.h"

#include "fs.h"
#include "map.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    CANCEL_LOOK_MS = 50,
    EXIT_LOOK_MS = 20,     /* only where the kernel has no pidfd */
    DRAIN_QUIET_MS = 200,
    DRAIN_MAX_MS = 2000,
    GRACE_MS = 5000,
    NUDGE_MS = 2000,        /* for a program to clean up after descendants that were killed under it */
    MESSAGE_TAIL = 4096,   /* bytes of output that an error message quotes */
};

struct run {
    const struct proc_spec *spec;
    struct proc_result res;
    struct buf *tail;       /* last bytes of stderr (or of the merged output), for a message; NULL: none */
    pid_t pid;
    int pidfd;              /* -1: none, the child is looked at every EXIT_LOOK_MS */
    int in, out, err_fd;    /* our ends; -1: closed */
    struct str to_write;    /* of stdin_data */
    int64_t started_ms, last_output_ms;
    int64_t ending_ms;      /* when we began to end it; 0: not */
    int64_t term_at_ms;     /* when SIGTERM is sent then */
    bool is_terminated;     /* it has been sent */
    int64_t exited_ms;      /* when the exit was seen; 0: it runs */
    bool killed;            /* SIGKILL was sent */
};

/* ---- Starting ---- */

/* A pipe whose ends are not 0, 1 or 2: those numbers are the child's targets. */
static bool make_pipe(int ends[2], struct err *err)
{
    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_set_errno(err, errno, "pipe");
    for (int i = 0; i < 2; i++) {
        if (ends[i] > 2)
            continue;
        int high = fcntl(ends[i], F_DUPFD_CLOEXEC, 3);
        close(ends[i]);
        ends[i] = high;
        if (high < 0) {
            int saved = errno;
            if (ends[1 - i] >= 0)
                close(ends[1 - i]);
            return err_set_errno(err, saved, "pipe");
        }
    }
    return true;
}

static void set_nonblocking(int fd)
{
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static bool list_to_z(struct arena *a, const struct str_list *l, const char *what, char ***out, struct err *err)
{
    char **z = arena_array(a, char *, l->len + 1);
    for (size_t i = 0; i < l->len; i++) {
        if (str_chr(l->items[i], '\0') != STR_NPOS)
            return err_set(err, ERR_INVALID, "%s %zu has a NUL byte in it", what, i + 1);
        z[i] = str_z(a, l->items[i]);
    }
    *out = z;
    return true;
}

static struct str env_name(struct str entry)
{
    struct str name;
    str_cut(entry, '=', &name, NULL);
    return name;
}

/* Our environment under `spec->env`; of two entries with one name the later counts. */
static bool make_env(struct arena *a, const struct proc_spec *spec, char ***out, struct err *err)
{
    struct map seen;
    map_init(&seen, a);
    if (!spec->env_only)
        for (char **e = environ; *e; e++)
            map_set(&seen, env_name(str_from(*e)), *e);
    char **own;
    if (!list_to_z(a, &spec->env, "environment entry", &own, err))
        return false;
    for (; *own; own++)
        map_set(&seen, env_name(str_from(*own)), *own);
    char **z = arena_array(a, char *, map_len(&seen) + 1);
    size_t n = 0;
    map_foreach (e, &seen)
        z[n++] = e->value;
    *out = z;
    return true;
}

/* What the child does before exec, in this order; any that fails fails the spawn. */
static int set_actions(posix_spawn_file_actions_t *fa, const struct proc_spec *spec, int in, int out, int err_fd,
                       const char *cwd)
{
    int e = in >= 0 ? posix_spawn_file_actions_adddup2(fa, in, 0)
                    : posix_spawn_file_actions_addopen(fa, 0, "/dev/null", O_RDONLY, 0);
    if (!e)
        e = posix_spawn_file_actions_adddup2(fa, out, 1);
    if (!e)
        e = posix_spawn_file_actions_adddup2(fa, spec->merge_stderr ? 1 : err_fd, 2);
    if (!e)
        e = posix_spawn_file_actions_addclosefrom_np(fa, 3);
    if (!e && cwd)
        e = posix_spawn_file_actions_addchdir_np(fa, cwd);
    return e;
}

static int set_attributes(posix_spawnattr_t *attr)
{
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    int e = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    if (!e)
        e = posix_spawnattr_setpgroup(attr, 0);
    if (!e)
        e = posix_spawnattr_setsigdefault(attr, &all);
    return e ? e : posix_spawnattr_setsigmask(attr, &none);
}

static bool spawn(struct run *r, int in, int out, int err_fd, struct err *err)
{
    scoped_arena a = {0};
    const struct proc_spec *spec = r->spec;
    char **argv, **env;
    struct str path;
    if (spec->argv.len == 0)
        return err_set(err, ERR_INVALID, "no program to run");
    if (!list_to_z(&a, &spec->argv, "argument", &argv, err) || !make_env(&a, spec, &env, err))
        return false;
    if (str_chr(spec->argv.items[0], '/') != STR_NPOS)
        path = spec->argv.items[0]; /* seen from `cwd` */
    else if (!proc_find(&a, spec->argv.items[0], &path, err))
        return false;
    const char *cwd = spec->cwd.len > 0 ? str_z(&a, spec->cwd) : NULL;
    if (cwd && !fs_is_dir(spec->cwd))
        return err_set(err, ERR_NOT_FOUND, "running %s: no directory %s", argv[0], cwd);

    posix_spawn_file_actions_t fa;
    posix_spawnattr_t attr;
    posix_spawn_file_actions_init(&fa);
    posix_spawnattr_init(&attr);
    int e = set_actions(&fa, spec, in, out, err_fd, cwd);
    if (!e)
        e = set_attributes(&attr);
    if (!e)
        e = posix_spawn(&r->pid, str_z(&a, path), &fa, &attr, argv, env);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&fa);
    return e == 0 || err_set_errno(err, e, "running %s", argv[0]);
}

static bool start(struct run *r, struct err *err)
{
    int in[2] = {-1, -1}, out[2] = {-1, -1}, errs[2] = {-1, -1};
    bool ok = make_pipe(out, err) && (r->spec->merge_stderr || make_pipe(errs, err)) &&
              (r->spec->stdin_data.len == 0 || make_pipe(in, err)) && spawn(r, in[0], out[1], errs[1], err);
    int childs[] = {in[0], out[1], errs[1]}, ours[] = {in[1], out[0], errs[0]};
    for (size_t i = 0; i < 3; i++) {
        if (childs[i] >= 0)
            close(childs[i]);
        if (!ok && ours[i] >= 0)
            close(ours[i]);
        else if (ours[i] >= 0)
            set_nonblocking(ours[i]);
    }
    if (!ok)
        return false;
    r->in = in[1];
    r->out = out[0];
    r->err_fd = errs[0];
    r->to_write = r->spec->stdin_data;
    r->pidfd = (int)syscall(SYS_pidfd_open, r->pid, 0); /* close-on-exec by itself */
    r->started_ms = r->last_output_ms = clock_ms();
    return true;
}

/* ---- Running ---- */

static void close_end(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void terminate(struct run *r)
{
    r->is_terminated = true;
    kill(-r->pid, SIGTERM);
    kill(-r->pid, SIGCONT); /* a stopped process takes no SIGTERM */
}

/* The first thing that ends the program is the one that is reported. */
static void end_group(struct run *r, bool *why)
{
    if (r->ending_ms || r->exited_ms)
        return;
    *why = true;
    r->ending_ms = r->term_at_ms = clock_ms();
    if (proc_kill_outsiders(r->pid))
        r->term_at_ms += NUDGE_MS;
    else
        terminate(r);
}

static void keep(struct buf *b, struct str chunk, bool tail)
{
    if (!b)
        return;
    size_t room = b->max - b->len;
    if (chunk.len > room && tail) {
        chunk = str_from_off(chunk, chunk.len - MIN(chunk.len, b->max));
        room = b->max - b->len;
        buf_drop(b, chunk.len > room ? chunk.len - room : 0);
        buf_add_str(b, chunk);
        b->is_full = true;
    } else if (chunk.len > room) {
        buf_add_str(b, str_slice(chunk, 0, room));
        b->is_full = true;
    } else {
        buf_add_str(b, chunk);
    }
}

static void got_output(struct run *r, enum proc_stream stream, struct str chunk)
{
    const struct proc_spec *spec = r->spec;
    r->last_output_ms = clock_ms();
    keep(stream == PROC_STDOUT ? spec->out : spec->err_out, chunk, spec->keep_tail);
    if (stream == PROC_STDERR || spec->merge_stderr)
        keep(r->tail, chunk, true);
    if (spec->on_output && !r->res.cancelled && !spec->on_output(spec->arg, stream, chunk))
        end_group(r, &r->res.cancelled);
}

/* One read, so that a program that never stops talking cannot keep us from its deadline. */
static void read_some(struct run *r, int *fd, enum proc_stream stream)
{
    char chunk[16384];
    ssize_t n = read(*fd, chunk, sizeof chunk);
    if (n > 0)
        got_output(r, stream, str_of(chunk, (size_t)n));
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        close_end(fd);
}

/* write() without the SIGPIPE that a child gone from its stdin would bring us. */
static ssize_t write_quietly(int fd, struct str data)
{
    sigset_t pipe_only, old, pending;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &pipe_only, &old);
    ssize_t n = write(fd, data.ptr, data.len);
    int saved = errno;
    if (n < 0 && saved == EPIPE && !sigismember(&pending, SIGPIPE))
        sigtimedwait(&pipe_only, NULL, &(struct timespec){0});
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    errno = saved;
    return n;
}

static void write_some(struct run *r)
{
    ssize_t n = write_quietly(r->in, r->to_write);
    if (n > 0)
        r->to_write = str_from_off(r->to_write, (size_t)n);
    if (r->to_write.len == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        close_end(&r->in);
}

static void look_for_exit(struct run *r)
{
    siginfo_t info = {0};
    if (!r->exited_ms && waitid(P_PID, (id_t)r->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == r->pid)
        r->exited_ms = clock_ms();
}

/* Acts on everything whose time has come; gives the ms until the next such time, -1 for none. */
static int64_t run_timers(struct run *r)
{
    const struct proc_spec *spec = r->spec;
    int64_t now = clock_ms(), next = INT64_MAX;
    if (!r->ending_ms && !r->exited_ms) {
        if (spec->cancel && atomic_load(spec->cancel))
            end_group(r, &r->res.cancelled);
        else if (spec->timeout_ms > 0 && now - r->started_ms >= spec->timeout_ms)
            end_group(r, &r->res.timed_out);
        else if (spec->idle_timeout_ms > 0 && now - r->last_output_ms >= spec->idle_timeout_ms)
            end_group(r, &r->res.timed_out);
    }
    if (r->ending_ms && !r->is_terminated && now >= r->term_at_ms)
        terminate(r);
    if (r->ending_ms && !r->is_terminated)
        next = r->term_at_ms;
    if (r->ending_ms && !r->killed) {
        int64_t kill_at = r->ending_ms + (spec->grace_ms > 0 ? spec->grace_ms : GRACE_MS);
        if (now >= kill_at) {
            kill(-r->pid, SIGKILL);
            r->killed = true;
        }
        next = MIN(next, kill_at);
    } else if (!r->ending_ms && !r->exited_ms) {
        if (spec->cancel)
            next = MIN(next, now + CANCEL_LOOK_MS);
        if (spec->timeout_ms > 0)
            next = MIN(next, r->started_ms + spec->timeout_ms);
        if (spec->idle_timeout_ms > 0)
            next = MIN(next, r->last_output_ms + spec->idle_timeout_ms);
    }
    if (!r->exited_ms && r->pidfd < 0)
        next = MIN(next, now + EXIT_LOOK_MS);
    if (r->exited_ms)
        next = MIN(next, MAX(r->exited_ms, r->last_output_ms) + DRAIN_QUIET_MS);
    return next == INT64_MAX ? -1 : MAX(next - now, 0);
}

static bool is_over(const struct run *r)
{
    if (!r->exited_ms)
        return false;
    if (r->out < 0 && r->err_fd < 0)
        return true;
    int64_t now = clock_ms();
    return now - MAX(r->exited_ms, r->last_output_ms) >= DRAIN_QUIET_MS || now - r->exited_ms >= DRAIN_MAX_MS;
}

static void wait_for_something(struct run *r, int64_t wait_ms)
{
    struct pollfd p[] = {
        {.fd = r->out, .events = POLLIN},
        {.fd = r->err_fd, .events = POLLIN},
        {.fd = r->in, .events = POLLOUT},
        {.fd = r->exited_ms ? -1 : r->pidfd, .events = POLLIN},
        {.fd = r->spec->cancel_fd > 0 && !r->ending_ms && !r->exited_ms ? r->spec->cancel_fd : -1, .events = POLLIN},
    };
    if (poll(p, ARRAY_LEN(p), (int)MIN(wait_ms, 3600 * 1000)) <= 0)
        return;
    if (p[0].revents)
        read_some(r, &r->out, PROC_STDOUT);
    if (p[1].revents)
        read_some(r, &r->err_fd, PROC_STDERR);
    if (p[2].revents)
        write_some(r);
    if (p[4].revents)
        end_group(r, &r->res.cancelled);
}

static void reap(struct run *r)
{
    int status = 0;
    pid_t got;
    do
        got = waitpid(r->pid, &status, 0);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        BUG("waitpid: %s: somebody else reaped our child", strerror(errno));
    r->res.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    r->res.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    r->res.took_ms = r->exited_ms - r->started_ms;
}

static bool run_to_end(struct run *r, struct err *err)
{
    if (!start(r, err))
        return false;
    for (;;) {
        look_for_exit(r);
        if (is_over(r))
            break;
        wait_for_something(r, run_timers(r));
    }
    /* Those whom the leader left behind when we ended it. */
    if (r->ending_ms)
        kill(-r->pid, SIGKILL);
    reap(r);
    close_end(&r->in);
    close_end(&r->out);
    close_end(&r->err_fd);
    close_end(&r->pidfd);
    return true;
}

bool proc_run(const struct proc_spec *spec, struct proc_result *res, struct err *err)
{
    struct run r = {.spec = spec, .pidfd = -1, .in = -1, .out = -1, .err_fd = -1};
    if (!run_to_end(&r, err))
        return false;
    *res = r.res;
    return true;
}

bool proc_run_ok(const struct proc_spec *spec, struct err *err)
{
    scoped_buf tail = BUF_INIT(MESSAGE_TAIL);
    struct run r = {.spec = spec, .tail = &tail, .pidfd = -1, .in = -1, .out = -1, .err_fd = -1};
    if (!run_to_end(&r, err))
        return false;
    const struct proc_result *res = &r.res;
    if (res->exit_code == 0 && !res->cancelled && !res->timed_out)
        return true;
    struct str name = path_base(spec->argv.items[0]);
    if (res->cancelled)
        err_set(err, ERR_CANCELLED, STR_FMT " was cancelled", STR_ARG(name));
    else if (res->timed_out)
        err_set(err, ERR_TIMEOUT, STR_FMT " was ended after %.1f s: it took too long", STR_ARG(name),
                (double)res->took_ms / 1000);
    else if (res->signal)
        err_set(err, ERR_UPSTREAM, STR_FMT " was ended by signal %d (%s)", STR_ARG(name), res->signal,
                strsignal(res->signal));
    else
        err_set(err, ERR_UPSTREAM, STR_FMT " ended with exit code %d", STR_ARG(name), res->exit_code);
    struct str said = str_trim(buf_str(&tail));
    if (said.len > 0)
        err_append(err, ": %s" STR_FMT, tail.is_full ? "... " : "", STR_ARG(said));
    return false;
}

/* ---- PATH ---- */

static bool is_program(struct arena *a, struct str path)
{
    scoped_err ignored = {0};
    struct fs_info info;
    return fs_stat(path, &info, &ignored) && info.kind == FS_FILE && access(str_z(a, path), X_OK) == 0;
}

bool proc_find(struct arena *a, struct str name, struct str *path, struct err *err)
{
    scoped_arena scratch = {0};
    if (name.len == 0 || str_chr(name, '\0') != STR_NPOS)
        return err_set(err, ERR_INVALID, "no name of a program");
    if (str_chr(name, '/') != STR_NPOS) {
        if (!is_program(&scratch, name))
            return err_set(err, ERR_NOT_FOUND, STR_FMT " is no program that can be run", STR_ARG(name));
        *path = str_dup(a, name);
        return true;
    }
    const char *dirs = getenv("PATH");
    struct str rest = str_from(dirs ? dirs : "/usr/local/bin:/usr/bin:/bin"), dir;
    while (str_next(&rest, ':', &dir)) {
        /* An empty or relative entry would run programs from wherever we happen to be. */
        if (!path_is_abs(dir))
            continue;
        struct str full = path_join(&scratch, dir, name);
        if (is_program(&scratch, full)) {
            *path = str_dup(a, full);
            return true;
        }
    }
    return err_set(err, ERR_NOT_FOUND, STR_FMT " was not found in PATH: install it, or add its folder to PATH",
                   STR_ARG(name));
}
