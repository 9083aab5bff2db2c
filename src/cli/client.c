/* cli/client.c: calls of the management API over the unix socket or over HTTP(S).
 *
 * Deadlines are on progress. A short call fails after IDLE_MS of silence. A long one (an image build) may be
 * silent for as long as the server lives: over the socket a dead server closes the connection, over TCP a
 * watcher thread looks now and then whether it still accepts connections. The watcher also shows, on a
 * terminal, the last line of progress and that time passes.
 *
 * A long call asks for its progress as a stream. The server then goes on when we leave, so SIGINT ends the
 * wait, and the operation is cancelled by a call of its own.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"
#include "live.h"
#include "http.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    IDLE_MS = 180 * 1000,
    BRIEF_MS = 10 * 1000,
    TICK_MS = 250,
    SHOW_AFTER_MS = 2000,        /* a terminal hears that we wait */
    PROBE_EVERY_MS = 30 * 1000,  /* of a silent TCP server in a long call */
    PROBE_FAILURES_MAX = 3,
    ACCEPT_MS = 1000,
};

#define API_PREFIX "/_openrun"
#define START_HINT "is it running? start it with \"openrun server start\""

/* ---- building a call ---- */

static void add_query(struct cli *c, struct call *call, const char *name, struct str value)
{
    static const char hex[] = "0123456789ABCDEF";
    scoped_buf b = BUF_INIT(1 << 20);
    buf_add_str(&b, call->query);
    if (call->query.len > 0)
        buf_add_char(&b, '&');
    buf_add_z(&b, name);
    buf_add_char(&b, '=');
    for (size_t i = 0; i < value.len; i++) {
        unsigned char ch = (unsigned char)value.ptr[i];
        bool is_plain = (ch >= '0' && ch <= '9') || ((ch | 0x20) >= 'a' && (ch | 0x20) <= 'z') ||
                        (ch != '\0' && strchr("-._~", ch));
        if (is_plain)
            buf_add_char(&b, (char)ch);
        else
            buf_printf(&b, "%%%c%c", hex[ch >> 4], hex[ch & 15]);
    }
    call->query = str_dup(c->arena, buf_str(&b));
}

void call_text(struct cli *c, struct call *call, const char *name, struct str value)
{
    add_query(c, call, name, value);
}

void call_bool(struct cli *c, struct call *call, const char *name, bool value)
{
    add_query(c, call, name, value ? STR("true") : STR("false"));
}

/* ---- where the server is ---- */

/* The socket's path as connect(2) gets it: sun_path is short, so one below the home is made relative,
 * the process having changed there. */
static struct str socket_path(const struct cli *c)
{
    struct str uri = c->config.server_uri, dir = c->home.dir;
    bool is_below = str_starts(uri, dir) && uri.len > dir.len + 1 && uri.ptr[dir.len] == '/';
    return is_below ? str_from_off(uri, dir.len + 1) : uri;
}

static void go_home(const struct cli *c)
{
    if (chdir(str_z(c->arena, c->home.dir)) < 0)
        return; /* not there yet; the connection will fail and say more */
}

static struct str call_url(const struct cli *c, const struct call *call)
{
    struct str base = c->config.is_tcp ? str_trim_right(c->config.server_uri, '/') : STR("http://openrun");
    return str_printf(c->arena, STR_FMT API_PREFIX "%s%s" STR_FMT, STR_ARG(base), call->path,
                      call->query.len > 0 ? "?" : "", STR_ARG(call->query));
}

/* Connects without waiting for longer than ACCEPT_MS. */
static bool connects(int family, const struct sockaddr *addr, socklen_t len)
{
    scoped_fd int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    if (connect(fd, addr, len) == 0)
        return true;
    if (errno != EINPROGRESS)
        return errno == EAGAIN; /* a unix socket with a full backlog: somebody listens */
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int failure = 0;
    socklen_t size = sizeof failure;
    return poll(&p, 1, ACCEPT_MS) == 1 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size) == 0 && failure == 0;
}

static bool accepts_tcp(const struct cli *c)
{
    scoped_arena a = {0};
    struct str rest, host, port = {0}, uri = c->config.server_uri;
    bool is_tls = str_starts(uri, STR("https://"));
    rest = str_from_off(uri, is_tls ? 8 : 7);
    str_cut(rest, '/', &host, NULL);
    size_t colon = str_rchr(host, ':');
    if (colon != STR_NPOS && !str_ends(host, STR("]"))) {
        port = str_from_off(host, colon + 1);
        host = str_slice(host, 0, colon);
    }
    if (str_starts(host, STR("[")) && str_ends(host, STR("]")))
        host = str_slice(host, 1, host.len - 1);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    const char *service = port.len > 0 ? str_z(&a, port) : is_tls ? "443" : "80";
    if (getaddrinfo(str_z(&a, host), service, &hints, &found) != 0)
        return false;
    bool ok = false;
    for (struct addrinfo *i = found; i && !ok; i = i->ai_next)
        ok = connects(i->ai_family, i->ai_addr, i->ai_addrlen);
    freeaddrinfo(found);
    return ok;
}

bool server_accepts(const struct cli *c)
{
    if (c->config.is_tcp)
        return accepts_tcp(c);
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct str path = socket_path(c);
    if (path.len >= sizeof addr.sun_path)
        return false;
    memcpy(addr.sun_path, path.ptr, path.len);
    go_home(c);
    return connects(AF_UNIX, (struct sockaddr *)&addr, sizeof addr);
}

/* ---- waiting ---- */

/* Static, since the signal handler has nothing else to look at. */
static atomic_bool may_cancel;     /* the call is an operation, which the first SIGINT cancels */
static atomic_bool is_interrupted; /* it has come */
static atomic_bool stops_call;     /* ends http_fetch() */

static void on_interrupt(int signum)
{
    if (atomic_load(&may_cancel) && !atomic_exchange(&is_interrupted, true)) {
        atomic_store(&stops_call, true);
        return;
    }
    live_clear_now();
    _exit(130);
}

void exit_on_interrupt(void)
{
    struct sigaction action = {.sa_handler = on_interrupt};
    sigaction(SIGINT, &action, NULL);
}

/* Looks after a call while the main thread waits in it. */
struct watcher {
    const struct cli *cli;
    bool is_watch;          /* lines go to standard output */
    bool is_probing;        /* of a TCP server in a long call */
    bool is_live;           /* the terminal shows where we are */
    atomic_bool lost;       /* the server is gone */
    int64_t start_ms;
    pthread_mutex_t mutex;  /* guards the next three */
    pthread_cond_t changed;
    bool is_done;
    struct live live;
    pthread_t thread;
    bool is_running;
};

static void keep_line(struct watcher *w, struct str line)
{
    if (!w->is_running)
        return;
    pthread_mutex_lock(&w->mutex);
    live_line(&w->live, line, clock_ms());
    pthread_mutex_unlock(&w->mutex);
}

/* Warnings are for everybody, also where progress is not shown. */
static void show_warning(struct watcher *w, struct str text)
{
    if (w->is_running)
        pthread_mutex_lock(&w->mutex);
    live_clear();
    say(w->cli->err, "Warning: " STR_FMT "\n", STR_ARG(text));
    fflush(w->cli->err);
    if (w->is_running)
        pthread_mutex_unlock(&w->mutex);
}

/* A line of progress, on the main thread. */
static void on_line(void *arg, struct str line)
{
    struct watcher *w = arg;
    FILE *to = w->is_watch ? w->cli->out : w->cli->err;
    bool is_plain = w->is_watch || w->cli->is_verbose;
    if (!is_plain && str_starts(line, STR("warning: "))) {
        show_warning(w, str_from_off(line, strlen("warning: ")));
        return;
    }
    if (w->is_live) {
        keep_line(w, line);
        return;
    }
    if (stream_is_count(line))
        return;
    say(to, STR_FMT "\n", STR_ARG(line));
    fflush(to);
}

/* Waits for a tick. True once the call is over. With the mutex. */
static bool wait_tick(struct watcher *w)
{
    int64_t until_ns = clock_ns() + TICK_MS * 1000000L;
    while (!w->is_done && cond_wait_until(&w->changed, &w->mutex, until_ns))
        ;
    return w->is_done;
}

static void *watch(void *arg)
{
    struct watcher *w = arg;
    int64_t probed = w->start_ms, shown_s = 0;
    int failures = 0;
    pthread_mutex_lock(&w->mutex);
    while (!wait_tick(w)) {
        int64_t now = clock_ms(), since = now - w->start_ms;
        bool is_due = w->live.is_new || since / 1000 != shown_s;
        bool has_news = w->live.phase[0] != '\0' || w->live.n_lines > 0;
        if (w->is_live && is_due && (has_news || since >= SHOW_AFTER_MS))
            live_draw(&w->live, w->start_ms, now);
        shown_s = since / 1000;
        if (!w->is_probing || now - probed < PROBE_EVERY_MS)
            continue;
        probed = now;
        pthread_mutex_unlock(&w->mutex);
        failures = accepts_tcp(w->cli) ? 0 : failures + 1;
        pthread_mutex_lock(&w->mutex);
        if (failures >= PROBE_FAILURES_MAX) {
            atomic_store(&w->lost, true);
            atomic_store(&stops_call, true);
        }
    }
    pthread_mutex_unlock(&w->mutex);
    return NULL;
}

/* A line that is written over and erased is for people who look: not in a file, not on a dumb terminal. */
static bool wants_live_view(const struct cli *c, const struct call *call)
{
    const char *term = getenv("TERM");
    return isatty(STDERR_FILENO) == 1 && !c->is_verbose && !call->is_watch && !(term && strcmp(term, "dumb") == 0);
}

static void watcher_start(struct watcher *w, const struct cli *c, const struct call *call)
{
    *w = (struct watcher){
        .cli = c, .start_ms = clock_ms(), .is_watch = call->is_watch,
        .is_probing = call->is_long && c->config.is_tcp, .is_live = wants_live_view(c, call),
        .live.has_colour = c->has_colour};
    if (!w->is_probing && !w->is_live)
        return;
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->changed, NULL);
    w->is_running = pthread_create(&w->thread, NULL, watch, w) == 0;
}

static void watcher_stop(struct watcher *w)
{
    if (!w->is_running)
        return;
    pthread_mutex_lock(&w->mutex);
    w->is_done = true;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->mutex);
    pthread_join(w->thread, NULL);
    pthread_mutex_destroy(&w->mutex);
    pthread_cond_destroy(&w->changed);
    if (w->is_live) {
        live_clear();
        live_summary(&w->live, w->start_ms, clock_ms());
    }
}

/* ---- answers ---- */

/* Why nothing answers at the unix socket, as far as the file tells. */
static bool unreachable_socket(const struct cli *c, struct err *err)
{
    go_home(c);
    struct str uri = c->config.server_uri;
    if (socket_path(c).len >= sizeof ((struct sockaddr_un *)NULL)->sun_path)
        return err_set(err, ERR_INVALID, "the path of the server's socket is too long: " STR_FMT, STR_ARG(uri));
    if (access(str_z(c->arena, socket_path(c)), R_OK | W_OK) < 0 && errno == EACCES)
        return err_set(err, ERR_FORBIDDEN,
                       "may not use the OpenRun server's socket " STR_FMT ": run this as the user the server runs as",
                       STR_ARG(uri));
    return err_set(err, ERR_UNAVAILABLE, "cannot reach the OpenRun server at " STR_FMT ": " START_HINT, STR_ARG(uri));
}

static bool explain_failure(const struct cli *c, const struct call *call, const struct watcher *w, struct err *err)
{
    if (w->is_running && atomic_load(&w->lost))
        return err_set(err, ERR_UNAVAILABLE,
                       "the server at " STR_FMT " does not answer any more; the operation may still be running",
                       STR_ARG(c->config.server_uri));
    if (err->code == ERR_UNAVAILABLE && !c->config.is_tcp)
        return unreachable_socket(c, err);
    if (err->code == ERR_UNAVAILABLE)
        return err_wrap(err, "cannot reach the OpenRun server at " STR_FMT, STR_ARG(c->config.server_uri));
    if (err->code == ERR_TIMEOUT && strcmp(call->method, "GET") != 0)
        return err_append(err, "; the operation may still be running on the server");
    if (err->code == ERR_UPSTREAM && !c->config.is_tcp)
        return err_append(err, "; see the server's log " STR_FMT "/logs/openrun.json", STR_ARG(c->home.dir));
    return false;
}

struct str str_utf8(struct arena *a, struct str text)
{
    if (str_is_utf8(text))
        return text;
    scoped_buf b = BUF_INIT(3 * (size_t)STREAM_BODY_MAX);
    for (size_t i = 0; i < text.len;) {
        size_t n = 1;
        while (n <= 4 && i + n <= text.len && !str_is_utf8(str_slice(text, i, i + n)))
            n++;
        bool is_char = n <= 4 && i + n <= text.len;
        buf_add_str(&b, is_char ? str_slice(text, i, i + n) : STR("\xef\xbf\xbd"));
        i += is_char ? n : 1;
    }
    return str_dup(a, buf_str(&b));
}

static bool refusal(const struct cli *c, const struct call *call, const struct http_answer *res, struct err *err)
{
    scoped_err ignored = {0};
    struct str body = str_utf8(c->arena, res->body);
    scoped_json *j = json_parse_object(body, &ignored);
    struct str message = json_get_str(j, "message", (struct str){0});
    if (json_get_int(j, "code", 0) != 0) {
        if (message.len == 0)
            return err_set(err, (enum err_code)res->status, "status code %d", res->status);
        return err_set(err, (enum err_code)res->status, STR_FMT, STR_ARG(message));
    }
    if (res->status == 404 && c->config.is_tcp)
        return err_set(err, ERR_NOT_FOUND,
                       STR_FMT " does not offer the management API: set security.unsafe_admin_over_tcp = true on "
                       "the server, or use its unix socket",
                       STR_ARG(c->config.server_uri));
    if (res->status == 404 || res->status == 405)
        return err_set(err, ERR_UNSUPPORTED, "the server does not know the call %s %s: is it an older version?",
                       call->method, call->path);
    body = str_trim(body);
    if (body.len == 0)
        return err_set(err, (enum err_code)res->status, "status code %d", res->status);
    return err_set(err, (enum err_code)res->status, STR_FMT, STR_ARG(body));
}

static void drop_json(void *j)
{
    json_decref(j);
}

json_t *keep_json(struct cli *c, json_t *j)
{
    arena_defer(c->arena, drop_json, j);
    return j;
}

static json_t *parse_reply(struct cli *c, const struct http_answer *res, struct err *err)
{
    if (res->status == 204 || str_trim(res->body).len == 0)
        return keep_json(c, json_object());
    json_t *j = json_parse(str_utf8(c->arena, res->body), err);
    if (!j) {
        err_wrap(err, "error parsing response");
        return NULL;
    }
    return keep_json(c, j);
}

/* Tells what became of the operation that SIGINT ended the wait for. */
static void cancel_operation(struct cli *c, struct str id, struct err *err)
{
    scoped_err failure = {0};
    struct call call = {.method = "POST", .path = "/operation/cancel", .is_brief = true};
    call_text(c, &call, "id", id);
    c->exit_code = 130;
    if (call_server(c, &call, &failure))
        err_set(err, ERR_CANCELLED, "interrupted: the server cancels operation " STR_FMT, STR_ARG(id));
    else if (failure.code == ERR_CONFLICT)
        err_set(err, ERR_CANCELLED, "interrupted, but operation " STR_FMT " has ended already", STR_ARG(id));
    else
        err_set(err, ERR_CANCELLED,
                "interrupted, but operation " STR_FMT " could not be cancelled and may still be running: %s",
                STR_ARG(id), err_msg(&failure));
}

/* How an operation ended, from the last line of its stream. */
static json_t *stream_reply(const struct stream *st, bool has_shown, struct err *err)
{
    int status = (int)json_get_int(st->end, "status", 0);
    const json_t *error = json_get(st->end, "error");
    json_t *reply = json_get(st->end, "reply");
    if (status >= 200 && status <= 299 && reply)
        return reply;
    struct str message = json_get_str(error, "message", (struct str){0});
    if (!st->end)
        err_set(err, ERR_UPSTREAM, "the server's answer ended early; the operation may still be running: see \"openrun "
                "operation show " STR_FMT "\"", STR_ARG(st->operation));
    else if (message.len == 0)
        err_set(err, status >= 400 ? (enum err_code)status : ERR_UPSTREAM, "status code %d", status);
    else
        err_set(err, (enum err_code)status, STR_FMT,
                STR_ARG(has_shown ? stream_new_part(st, message) : message));
    return NULL;
}

/* Performs the call; what comes of it is in `st` and, without a body, in `res`. */
static bool exchange(struct cli *c, const struct call *call, struct watcher *w, struct stream *st,
                     struct http_answer *res, struct err *err)
{
    struct http_pair headers[3] = {
        {STR("Accept"), call->is_long ? STR("application/x-ndjson") : STR("application/json")}};
    size_t n = 1;
    if (strcmp(call->method, "POST") == 0 || strcmp(call->method, "PUT") == 0)
        headers[n++] = (struct http_pair){STR("Content-Type"), STR("application/json")};
    if (c->as_user.len > 0)
        headers[n++] = (struct http_pair){STR("X-Openrun-As-User"), c->as_user};
    struct http_fetch f = {
        .method = str_from(call->method),
        .url = call_url(c, call),
        .headers = headers,
        .header_count = n,
        .body = call->body ? json_text(c->arena, call->body, JSON_STYLE_COMPACT) : (struct str){0},
        .on_head = stream_head,
        .on_body = stream_part,
        .body_arg = st,
        .idle_timeout_ms = call->is_long ? 0 : call->is_brief ? BRIEF_MS : IDLE_MS,
        .cancel = &stops_call,
        .user = str_z(c->arena, c->config.admin_user),
        .password = str_z(c->arena, c->config.admin_password),
        .skip_tls_verify = c->config.skip_cert_check,
        .is_http1_only = true,
    };
    if (!c->config.is_tcp) {
        f.unix_socket = socket_path(c);
        go_home(c);
    }
    if (!c->http)
        c->http = http_client_open();
    atomic_store(&stops_call, false);
    exit_on_interrupt();
    watcher_start(w, c, call);
    bool ok = http_fetch(c->http, c->arena, &f, res, err);
    atomic_store(&may_cancel, false);
    watcher_stop(w);
    if (ok)
        res->body = str_dup(c->arena, buf_str(&st->body));
    return ok;
}

json_t *call_server(struct cli *c, const struct call *call, struct err *err)
{
    if (c->as_user.len > 0 && c->config.is_tcp) {
        err_set(err, ERR_INVALID, "--as works over the unix socket only, server_uri is " STR_FMT,
                STR_ARG(c->config.server_uri));
        return NULL;
    }
    struct watcher w;
    scoped_stream st;
    struct http_answer res;
    stream_init(&st, c, on_line, &w);
    st.has_id = call->is_watch ? NULL : &may_cancel;
    bool ok = exchange(c, call, &w, &st, &res, err);
    if (atomic_exchange(&is_interrupted, false)) {
        err_release(err);
        cancel_operation(c, st.operation, err);
        return NULL;
    }
    if (!ok && call->may_vanish && err->code == ERR_UPSTREAM) {
        err_release(err);
        return keep_json(c, json_object());
    }
    if (!ok) {
        explain_failure(c, call, &w, err);
        return NULL;
    }
    if (st.is_ndjson)
        return stream_reply(&st, !w.is_live, err); /* the live view has been erased */
    if (res.status < 200 || res.status > 299) {
        refusal(c, call, &res, err);
        return NULL;
    }
    return parse_reply(c, &res, err);
}
