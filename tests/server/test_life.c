/* tests/server/test_life.c: a whole server in a process of its own: start, failed start, work, stop, kill.
 *
 * The child runs server_main() and exits with what it returns, so under AddressSanitizer a leak on any way
 * out fails the test too.
 * SPDX-License-Identifier: Apache-2.0 */
#include "server_int.h"

#include "../store/store_test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

enum { PATIENCE_MS = 180000 };

struct running {
    pid_t pid;
    int port; /* of http; 0: not known yet */
};

static const char quiet[] =
    "[http]\nport = 0\n[https]\nport = -1\n[system]\ncontainer_command = \"\"\n"
    "[security]\nadmin_password_bcrypt = \"$2a$04$J5iUQoIFqaXkPkJRyBGJTeHhEJkvaKjFsaSYNYzyLpqFbY1pM8fM6\"\n";

static void write_file(const char *name, const char *text)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct str path = str_printf(&a, "%s/%s", test_dir, name);
    MUST(fs_mkdir_p(path_dir(path), 0700, &err), &err);
    MUST(fs_write_atomic(path, str_from(text), 0600, &err), &err);
}

static struct str read_file(struct arena *a, const char *name)
{
    scoped_err err = {0};
    struct str text = {0};
    fs_read_all(a, str_printf(a, "%s/%s", test_dir, name), 1 << 20, &text, &err);
    return text;
}

/* The process that is the server, see spawn_as(). */
static int serve(const char *dir)
{
    setenv("OPENRUN_HOME", dir, 1);
    scoped_arena a = {0};
    struct home home = {.dir = str_from(dir), .origin = HOME_ENV};
    home.config_file = path_join(&a, home.dir, STR("openrun.toml"));
    return server_main(&home);
}

/* Starts a server whose home is `dir`; files that it writes may have `file_limit` bytes, 0: any. */
static pid_t spawn_as(const char *dir, rlim_t file_limit)
{
    scoped_arena a = {0};
    const char *out_path = str_z(&a, str_printf(&a, "%s/out", test_dir)),
               *err_path = str_z(&a, str_printf(&a, "%s/err", test_dir));
    unlink(out_path);
    unlink(err_path);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    dup2(open(out_path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600), STDOUT_FILENO);
    dup2(open(err_path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600), STDERR_FILENO);
    if (file_limit > 0) {
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){file_limit, file_limit});
    }
    setenv("ASAN_OPTIONS", "exitcode=99", 0); /* so that a leak is told from a start that failed */
    execl("/proc/self/exe", "test_server_life", "serve", dir, (char *)NULL);
    _exit(127);
}

static int wait_for(pid_t pid)
{
    int status = 0;
    for (int64_t until = clock_ms() + PATIENCE_MS; waitpid(pid, &status, WNOHANG) == 0; usleep(2000))
        if (clock_ms() > until) {
            kill(pid, SIGABRT);
            waitpid(pid, &status, 0);
            fail_msg("the server did not end");
        }
    return status;
}

static void assert_exit(pid_t pid, int wanted)
{
    scoped_arena a = {0};
    int status = wait_for(pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != wanted)
        fail_msg("wanted exit %d, got status 0x%x: %.*s", wanted, (unsigned)status,
                 STR_ARG(read_file(&a, "err")));
}

/* Starts with `toml` in test_dir and waits for the ports. */
static struct running begin(const char *toml)
{
    scoped_arena a = {0};
    write_file("openrun.toml", toml);
    struct running r = {.pid = spawn_as(test_dir, 0)};
    for (int64_t until = clock_ms() + PATIENCE_MS; r.port == 0; usleep(2000)) {
        struct str err = read_file(&a, "err"), line;
        size_t at = str_find(err, STR("listening on http://127.0.0.1:"));
        int64_t port;
        if (at != STR_NPOS && str_find(read_file(&a, "run/openrun.pid"), STR("\n")) != STR_NPOS) {
            err = str_from_off(err, at + strlen("listening on http://127.0.0.1:"));
            if (str_next(&err, '\n', &line) && str_to_i64(line, &port))
                r.port = (int)port;
        }
        if (waitpid(r.pid, NULL, WNOHANG) != 0 || clock_ms() > until)
            fail_msg("the server did not start: %.*s %.*s", STR_ARG(read_file(&a, "out")),
                     STR_ARG(read_file(&a, "err")));
    }
    return r;
}

static void stop(struct running *r)
{
    kill(r->pid, SIGTERM);
    assert_exit(r->pid, 0);
}

/* --- talking to it -------------------------------------------------------------------------------- */

static int dial(const struct running *r) /* NULL: the unix socket */
{
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)(r ? r->port : 0))};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof un.sun_path, "%s/run/openrun.sock", test_dir);
    int fd = socket(r ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    const struct sockaddr *to = r ? (const struct sockaddr *)&in : (const struct sockaddr *)&un;
    if (connect(fd, to, r ? sizeof in : sizeof un) == 0)
        return fd;
    close(fd);
    return -1;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* What comes until the end. */
static struct str hear(struct arena *a, int fd)
{
    struct buf b;
    buf_init(&b, 16 << 20);
    char chunk[8192];
    ssize_t n;
    while ((n = recv(fd, chunk, sizeof chunk, 0)) > 0)
        buf_add(&b, chunk, (size_t)n);
    struct str all = str_dup(a, buf_str(&b));
    buf_release(&b);
    return all;
}

/* One exchange on a connection of its own. */
static struct str ask(struct arena *a, const struct running *r, const char *method, const char *target,
                      const char *body)
{
    int fd = dial(r);
    assert_true(fd >= 0);
    say(fd,
        str_z(a,
              str_printf(
                  a,
                  "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
                  method, target, body ? strlen(body) : 0, body ? body : "")));
    struct str all = hear(a, fd);
    close(fd);
    return all;
}

static void must_answer(const struct running *r, const char *method, const char *target, const char *body,
                        int status, const char *text)
{
    scoped_arena a = {0};
    struct str all = ask(&a, r, method, target, body);
    struct str wanted = str_printf(&a, "HTTP/1.1 %d ", status);
    if (!str_starts(all, wanted) || str_find(all, str_from(text)) == STR_NPOS)
        fail_msg("%s %s: wanted %d \"%s\", got\n%.*s\nThe server said\n%.*s", method, target, status, text,
                 STR_ARG(all), STR_ARG(read_file(&a, "err")));
}

static const char hello[] = "def handler(req):\n    return {\"hello\": \"world\"}\n\n"
                            "app = ace.app(\"Hello\", routes=[ace.api(\"/\")])\n";

static void create(const char *path, const char *source)
{
    scoped_arena a = {0};
    must_answer(
        NULL, "POST", "/_openrun/app?approve=true",
        str_z(&a, str_printf(&a, "{\"path\": \"%s\", \"source_url\": \"%s/%s\", \"app_authn\": \"none\"}",
                             path, test_dir, source)),
        200, "approve_results");
}

/* --- starting ------------------------------------------------------------------------------------- */

static void a_server_starts_serves_and_stops(void **state)
{
    scoped_arena a = {0};
    struct running r = begin(quiet);
    must_answer(&r, "GET", "/_openrun/health", NULL, 200, "OK");
    must_answer(&r, "GET", "/nothing", NULL, 404, "no matching app found");
    must_answer(&r, "POST", "/_openrun_webhook/other", NULL, 404, "404 page not found");
    must_answer(&r, "GET", "/_openrun/apps", NULL, 404, "404 page not found");
    must_answer(&r, "GET", "/%zz", NULL, 400, "percent-encoding");
    write_file("src/app.star", hello);
    create("/hello", "src");
    must_answer(&r, "GET", "/hello", NULL, 200, "{\"hello\":\"world\"}");
    must_answer(NULL, "POST", "/_openrun/stop", NULL, 200, "\"pid\"");
    assert_exit(r.pid, 0);
    assert_int_equal(dial(NULL), -1);
    assert_str(read_file(&a, "run/openrun.pid"), STR(""));
    assert_true(str_find(read_file(&a, "logs/access.log"), STR("\"url\":\"/hello\"")) != STR_NPOS);
}

static void a_killed_server_starts_again_where_it_was(void **state)
{
    struct running r = begin(quiet);
    write_file("src/app.star", hello);
    create("/hello", "src");
    kill(r.pid, SIGKILL);
    wait_for(r.pid);
    r = begin(quiet); /* its socket and pid file are still there */
    must_answer(&r, "GET", "/hello", NULL, 200, "{\"hello\":\"world\"}");
    kill(r.pid, SIGHUP); /* not a reason to end */
    must_answer(&r, "GET", "/hello", NULL, 200, "{\"hello\":\"world\"}");
    kill(r.pid, SIGINT);
    assert_exit(r.pid, 0);
}

static void assert_says(const char *what)
{
    scoped_arena a = {0};
    struct str out = read_file(&a, "out"), err = read_file(&a, "err");
    if (str_find(out, str_from(what)) == STR_NPOS && str_find(err, str_from(what)) == STR_NPOS)
        fail_msg("wanted \"%s\", got\n%.*s\n%.*s", what, STR_ARG(out), STR_ARG(err));
}

static const struct {
    const char *name, *toml, *says;
} broken[] = {
    {"broken TOML", "[http]\nport = = 1\n", "openrun.toml: line 2"},
    {"a wrong type", "[http]\nport = \"x\"\n", "http.port must be an integer"},
    {"a port out of range", "[http]\nport = 70000\n", "http.port must be at most 65535"},
    {"a host that is not ours", "[http]\nport = 0\nhost = \"192.0.2.1\"\n", "is not one of this machine"},
    {"a kind of database that is none", "[http]\nport = 0\n[metadata]\ndb_connection = \"oracle:x\"\n",
     "invalid database type"},
    {"a database in a folder that is missing", "[metadata]\ndb_connection = \"sqlite:/nowhere/at/all.db\"\n",
     "/nowhere/at"},
    {"an engine that is missing", "[http]\nport = 0\n[system]\ncontainer_command = \"/nowhere/docker\"\n",
     "/nowhere/docker"},
    {"a trusted proxy that is no address", "[security]\ntrusted_proxies = [\"10.0.0.0/33\"]\n",
     "10.0.0.0/33"},
    {"a socket path that is too long",
     "server_uri = \"/tmp/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx/s\"\n[http]\nport = "
     "0\n[https]\nport = 0\n",
     "is longer than"},
    {"permissions that are none", "[[permissions.allow]]\nplugin = 3\n", "must be a string"},
};

static void a_server_that_cannot_start_says_why_and_lets_go_of_everything(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        print_message("%s\n", broken[i].name);
        write_file("openrun.toml", broken[i].toml);
        assert_exit(spawn_as(test_dir, 0), 1);
        assert_says(broken[i].says);
    }
}

static void a_port_in_use_is_named(void **state)
{
    scoped_arena a = {0};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof in;
    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(listen(fd, 1), 0);
    getsockname(fd, (struct sockaddr *)&in, &len);
    write_file("openrun.toml",
               str_z(&a, str_printf(&a, "[http]\nport = %d\n[https]\nport = 0\n", ntohs(in.sin_port))));
    assert_exit(spawn_as(test_dir, 0), 1);
    assert_says(str_z(&a, str_printf(&a, "Error starting server: port %d is in use", ntohs(in.sin_port))));
    close(fd);
}

static void a_home_has_one_server(void **state)
{
    scoped_arena a = {0};
    struct running r = begin(quiet);
    assert_exit(spawn_as(test_dir, 0), 1);
    assert_says(str_z(
        &a, str_printf(&a, "another server already running with home %s (pid %d)", test_dir, (int)r.pid)));
    must_answer(&r, "GET", "/_openrun/health", NULL, 200, "OK"); /* undisturbed */
    must_answer(NULL, "GET", "/_openrun/server_status", NULL, 200, "\"status\":\"ok\"");
    stop(&r);
}

static void a_newer_database_is_left_alone(void **state)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct running r = begin(quiet);
    stop(&r);
    struct db *db = NULL;
    MUST(db_open(str_printf(&a, "sqlite:%s/metadata/clace_metadata.db", test_dir), &(struct db_options){0},
                 &db, &err),
         &err);
    struct db_tx *tx = db_begin(db, &err);
    MUST(tx && db_exec(tx, "UPDATE version SET version = 99", DB_NO_ARGS, NULL, &err) && db_commit(&tx, &err),
         &err);
    db_close(db);
    assert_exit(spawn_as(test_dir, 0), 1);
    assert_says("99");
}

static void a_full_disk_ends_the_start_with_a_message(void **state)
{
    static const rlim_t limits[] = {1, 2000, 20000, 100000};
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        scoped_arena a = {0};
        assert_int_equal(test_dir_remove(NULL), 0);
        assert_int_equal(test_dir_make(NULL), 0);
        write_file("openrun.toml", quiet);
        pid_t pid = spawn_as(test_dir, limits[i]);
        int status = wait_for(pid);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 1)
            fail_msg("with files of %d bytes: status 0x%x %.*s", (int)limits[i], (unsigned)status,
                     STR_ARG(read_file(&a, "err")));
    }
}

static void a_home_that_cannot_be_is_named(void **state)
{
    scoped_arena a = {0};
    write_file("file", "x");
    assert_exit(spawn_as(str_z(&a, str_printf(&a, "%s/file/home", test_dir)), 0), 1);
    assert_says("/file/home");
}

/* --- the management API --------------------------------------------------------------------------- */

static const struct {
    const char *name, *method, *target, *body;
    int status;
    const char *text;
} calls[] = {
    {"status", "GET", "/_openrun/server_status", NULL, 200, "{\"status\":\"ok\"}"},
    {"version", "GET", "/_openrun/server_version", NULL, 200, "\"commit\""},
    {"the configuration", "GET", "/_openrun/config", NULL, 200, "{\"dynamic_config\":{\"version_id\":\"ver_"},
    {"no path of ours", "GET", "/_openrun/nothing", NULL, 404,
     "{\"message\":\"404 page not found\",\"code\":404}\n"},
    {"not under the prefix", "GET", "/apps", NULL, 404, "404"},
    {"a method that it does not take", "GET", "/_openrun/stop", NULL, 405, "\"code\":405"},
    {"a required parameter", "GET", "/_openrun/app", NULL, 400,
     "{\"message\":\"appPath is required\",\"code\":400}"},
    {"a required glob", "POST", "/_openrun/reload", NULL, 400, "appPathGlob is required"},
    {"an empty glob where one is required", "DELETE", "/_openrun/app?appPathGlob=", NULL, 400,
     "appPathGlob is required"},
    {"a boolean that is none", "POST", "/_openrun/reload?appPathGlob=*&promote=yes", NULL, 400, "promote"},
    {"a boolean in capitals", "POST", "/_openrun/reload?appPathGlob=/none&dryRun=TRUE", NULL, 200,
     "\"dry_run\":true"},
    {"a glob that matches nothing", "POST", "/_openrun/promote?appPathGlob=/none", NULL, 200,
     "\"promote_results\":[]"},
    {"a glob that is none", "POST", "/_openrun/reload?appPathGlob=a:b:c", NULL, 400, "domain:path"},
    {"an app that is not there", "GET", "/_openrun/app?appPath=/none", NULL, 404, "\"code\":404"},
    {"a body that is no JSON", "POST", "/_openrun/app", "{", 400, "request body: line 1"},
    {"a body that is no object", "POST", "/_openrun/app", "[]", 400, "request body"},
    {"no body", "POST", "/_openrun/app", NULL, 400, "request body"},
    {"the same member twice", "POST", "/_openrun/app", "{\"path\": \"/a\", \"path\": \"/b\"}", 400,
     "request body"},
    {"a name that is not there", "POST", "/_openrun/update_param?appPathGlob=*", NULL, 400,
     "paramName is required"},
    {"a version that is not there", "POST", "/_openrun/version?appPath=/a", NULL, 400, "version is required"},
    {"a percent that is none", "GET", "/_openrun/apps?appPathGlob=%zz", NULL, 400, "\"code\":400"},
    {"a parameter nobody knows", "GET", "/_openrun/apps?what=1", NULL, 200, "{\"apps\":[]}"},
};

static void calls_have_their_statuses(void **state)
{
    scoped_arena a = {0};
    struct running r = begin(quiet);
    for (size_t i = 0; i < ARRAY_LEN(calls); i++)
        must_answer(NULL, calls[i].method, calls[i].target, calls[i].body, calls[i].status, calls[i].text);
    int fd = dial(NULL);
    say(fd, "POST /_openrun/app HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n{");
    struct str all = hear(&a, fd);
    close(fd);
    assert_true(str_starts(all, STR("HTTP/1.1 413 ")));
    stop(&r);
}

static void calls_are_audited(void **state)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct running r = begin(quiet);
    write_file("src/app.star", hello);
    create("/hello", "src");
    must_answer(NULL, "POST", "/_openrun/reload?appPathGlob=/hello&promote=true&approve=1&dryRun=1", NULL,
                200, "");
    must_answer(NULL, "POST", "/_openrun/version?appPath=/none&version=3", NULL, 404, "");
    stop(&r);
    struct db *db = NULL;
    MUST(db_open(str_printf(&a, "sqlite:%s/metadata/clace_audit.db", test_dir), &(struct db_options){0}, &db,
                 &err),
         &err);
    struct db_tx *tx = db_read(db, &err);
    struct db_rows *rows =
        db_query(tx,
                 "SELECT operation || ' ' || target || ' ' || status || ' ' || user_id FROM audit WHERE "
                 "event_type = 'system' ORDER BY create_time",
                 DB_NO_ARGS, &err);
    struct str all = STR("");
    while (db_next(rows))
        all = str_printf(&a, STR_FMT STR_FMT "\n", STR_ARG(all), STR_ARG(db_text(rows, 0, &a)));
    db_end(&rows, &err);
    assert_str(
        all, STR("create_app /hello Success admin\ncreate_app stage.localhost:/hello Success admin\n"
                 "create_app /hello Success admin\nreload_apps_promote_approve_dryrun /hello Success admin\n"
                 "version_switch /none Failed admin\n"));
    int64_t n = 0;
    bool found;
    MUST(db_query_int(
             tx,
             "SELECT count(*) FROM audit s JOIN audit h ON s.rid = h.rid AND s.event_type = 'system' AND "
             "h.event_type = 'http' AND h.operation = 'POST'",
             DB_NO_ARGS, &n, &found, &err),
         &err);
    assert_int_equal(n, 3);
    db_rollback(&tx);
    db_close(db);
}

/* --- the pipeline over TCP ------------------------------------------------------------------------ */

/* admin, secret */
#define BASIC "Authorization: Basic YWRtaW46c2VjcmV0\r\n"

static const struct {
    const char *name, *head; /* the request without its final line */
    int status;
    const char *text; /* in the answer; NULL: anything */
} requests[] = {
    {"health, on any domain", "GET /_openrun/health HTTP/1.1\r\nHost: what.ever\r\n", 200, "OK"},
    {"health by another method", "DELETE /_openrun/health HTTP/1.1\r\nHost: x\r\n", 200, "OK"},
    {"health with an encoded letter", "GET /_openrun/%68ealth HTTP/1.1\r\nHost: x\r\n", 200, "OK"},
    {"the API without credentials", "GET /_openrun/apps HTTP/1.1\r\nHost: x\r\n", 401,
     "WWW-Authenticate: Basic realm=\"openrun\""},
    {"the API with wrong ones",
     "GET /_openrun/apps HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YWRtaW46eA==\r\n", 401, "Unauthorized"},
    {"the API with the right ones", "GET /_openrun/apps HTTP/1.1\r\nHost: x\r\n" BASIC, 200, "{\"apps\":[{"},
    {"the API from another site",
     "POST /_openrun/reload?appPathGlob=/none HTTP/1.1\r\nHost: x\r\nOrigin: http://evil.com\r\n" BASIC, 403,
     "Cross origin check failed"},
    {"the API from our own site",
     "POST /_openrun/reload?appPathGlob=/none HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\n" BASIC, 200,
     "reload_results"},
    {"a path of the API that is none", "GET /_openrun/none HTTP/1.1\r\nHost: x\r\n" BASIC, 404,
     "404 page not found"},
    {"a name that is nearly ours", "GET /_openrunner HTTP/1.1\r\nHost: root.com\r\n", 404,
     "404 page not found"},
    {"the app's own prefix at the root", "GET /_openrun_app/none HTTP/1.1\r\nHost: root.com\r\n", 404, NULL},
    {"an app", "GET /hello HTTP/1.1\r\nHost: localhost\r\n", 200, "world"},
    {"an app with a slash behind", "GET /hello/ HTTP/1.1\r\nHost: LOCALHOST.:80\r\n", 200, "world"},
    {"a path that is not clean", "GET //hello/x/../ HTTP/1.1\r\nHost: 127.0.0.1\r\n", 200, "world"},
    {"a path with encoded letters", "GET /%68ello HTTP/1.1\r\nHost: localhost\r\n", 200, "world"},
    {"a path that climbs out", "GET /hello/../../etc HTTP/1.1\r\nHost: localhost\r\n", 404,
     "no matching app found"},
    {"another domain", "GET /hello HTTP/1.1\r\nHost: other.com\r\n", 404, "no matching app found"},
    {"an app at the root of its domain", "GET / HTTP/1.1\r\nHost: root.com\r\n", 200, "world"},
    {"the sign-in domain", "GET /hello HTTP/1.1\r\nHost: AUTH.localhost\r\n", 404, "not found"},
    {"a staging app", "GET /hello HTTP/1.1\r\nHost: stage.localhost\r\n", 200, "world"},
    {"security headers", "GET /hello HTTP/1.1\r\nHost: localhost\r\n", 200,
     "X-Content-Type-Options: nosniff"},
    {"an unsafe method from another site",
     "POST /hello HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\nContent-Length: 0\r\n", 403,
     "Cross origin check failed - CSRF protection"},
    {"no host", "GET /hello HTTP/1.1\r\nHost:\r\n", 400, NULL},
    {"OPTIONS for the server", "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n", 404, NULL},
};

static void requests_find_their_way(void **state)
{
    struct running r =
        begin("[http]\nport = 0\n[https]\nport = -1\n[system]\ncontainer_command = \"\"\n[security]\n"
              "unsafe_admin_over_tcp = true\nadmin_password_bcrypt = "
              "\"$2b$04$5fzGkTjNQ/MPca1B7roLmOrVTXNhsfVcytC9uXJ4UkG6K0fkQ/F0i\"\n");
    write_file("src/app.star", hello);
    create("/hello", "src");
    create("root.com:/", "src");
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        scoped_arena a = {0};
        int fd = dial(&r);
        say(fd, requests[i].head);
        say(fd, "Connection: close\r\n\r\n");
        struct str all = hear(&a, fd);
        close(fd);
        if (!str_starts(all, str_printf(&a, "HTTP/1.1 %d ", requests[i].status)) ||
            (requests[i].text && str_find(all, str_from(requests[i].text)) == STR_NPOS))
            fail_msg("%s: wanted %d %s, got\n%.*s", requests[i].name, requests[i].status,
                     requests[i].text ? requests[i].text : "", STR_ARG(all));
    }
    stop(&r);
}

static const struct {
    const char *name, *head;
    int status;
    const char *text;
} behind_a_proxy[] = {
    /* 127.0.0.1 is trusted; %d: the https port */
    {"plain http is redirected", "GET /hello?a=b HTTP/1.1\r\nHost: localhost\r\n", 308,
     "Location: https://localhost/hello?a=b\r\n"},
    {"with the port if there was one", "GET /hello HTTP/1.1\r\nHost: localhost:1\r\n", 308,
     "Location: https://localhost:"},
    {"never to a host that is not ours", "GET /hello HTTP/1.1\r\nHost: evil.com\r\n", 308,
     "Location: https://localhost/hello\r\n"},
    {"to a domain of an app", "GET / HTTP/1.1\r\nHost: ROOT.com\r\n", 308, "Location: https://root.com/\r\n"},
    {"health too", "GET /_openrun/health HTTP/1.1\r\nHost: localhost\r\n", 308, NULL},
    {"what was https at the proxy is not",
     "GET /hello HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Proto: https\r\n"
     "X-Forwarded-For: 203.0.113.9, 10.1.2.3\r\n",
     200, "world"},
};

static void a_proxy_in_front_is_believed_if_trusted(void **state)
{
    scoped_arena a = {0};
    struct running r =
        begin("[http]\nport = 0\nredirect_to_https = true\n[https]\nport = 0\nhost = \"127.0.0.1\"\n"
              "[system]\ncontainer_command = \"\"\n[security]\ntrusted_proxies = [\"127.0.0.0/8\", "
              "\"10.0.0.0/8\"]\n");
    write_file("src/app.star", hello);
    create("/hello", "src");
    create("root.com:/", "src");
    for (size_t i = 0; i < ARRAY_LEN(behind_a_proxy); i++) {
        int fd = dial(&r);
        say(fd, behind_a_proxy[i].head);
        say(fd, "Connection: close\r\n\r\n");
        struct str all = hear(&a, fd);
        close(fd);
        if (!str_starts(all, str_printf(&a, "HTTP/1.1 %d ", behind_a_proxy[i].status)) ||
            (behind_a_proxy[i].text && str_find(all, str_from(behind_a_proxy[i].text)) == STR_NPOS))
            fail_msg("%s: got\n%.*s", behind_a_proxy[i].name, STR_ARG(all));
    }
    stop(&r);
    assert_true(str_find(read_file(&a, "logs/access.log"), STR("\"client\":\"203.0.113.9\"")) != STR_NPOS);
}

/* --- ends ----------------------------------------------------------------------------------------- */

/* A listening socket that nobody answers on, and its port. */
static int deaf(int *port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof in;
    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(listen(fd, 8), 0);
    getsockname(fd, (struct sockaddr *)&in, &len);
    *port = ntohs(in.sin_port);
    return fd;
}

/* Sends a creation from a git server that never answers, and returns when git has called there. */
static int begin_endless_call(int deaf_fd, int port, const char *headers, int *git)
{
    scoped_arena a = {0};
    int fd = dial(NULL);
    assert_true(fd >= 0);
    struct str body =
        str_printf(&a, "{\"path\": \"/slow\", \"source_url\": \"http://127.0.0.1:%d/o/r\"}", port);
    say(fd,
        str_z(&a, str_printf(
                      &a, "POST /_openrun/app HTTP/1.1\r\nHost: x\r\n%sContent-Length: %zu\r\n\r\n" STR_FMT,
                      headers, body.len, STR_ARG(body))));
    struct pollfd p = {.fd = deaf_fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
    *git = accept4(deaf_fd, NULL, NULL, SOCK_CLOEXEC);
    return fd;
}

static void a_caller_who_leaves_cancels_his_operation(void **state)
{
    struct running r = begin(quiet);
    int port, git, listener = deaf(&port), fd = begin_endless_call(listener, port, "", &git);
    close(fd);
    write_file("src/app.star", hello);
    create("/slow", "src"); /* the same place: waits for the other to be gone */
    must_answer(&r, "GET", "/slow", NULL, 200, "world");
    close(git);
    close(listener);
    stop(&r);
}

static void a_stop_does_not_wait_for_an_operation_without_end(void **state)
{
    struct running r = begin(quiet);
    int port, git, listener = deaf(&port), fd = begin_endless_call(listener, port, "", &git);
    stop(&r); /* has its limit */
    close(fd);
    close(git);

    r = begin(quiet); /* the same for one that goes on though its client has left */
    fd = begin_endless_call(listener, port, "Accept: application/x-ndjson\r\n", &git);
    close(fd);
    stop(&r);
    close(git);
    close(listener);
}

static void a_stop_lets_requests_end_and_closes_idle_connections(void **state)
{
    scoped_arena a = {0};
    struct running r = begin(quiet);
    int port, listener = deaf(&port);
    write_file(
        "src/app.star",
        str_z(&a,
              str_printf(&a,
                         "load(\"proxy.in\", \"proxy\")\n\napp = ace.app(\"P\", routes=[ace.proxy(\"/\", "
                         "proxy.config(\"http://127.0.0.1:%d\"))], permissions=[ace.permission(\"proxy.in\", "
                         "\"config\", [\"http://127.0.0.1:%d\"])])\n",
                         port, port)));
    create("/p", "src");
    int idle = dial(&r);
    say(idle, "GET /_openrun/health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    char answer[512];
    assert_true(recv(idle, answer, sizeof answer, 0) > 0);
    int busy = dial(&r);
    say(busy, "GET /p/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    int upstream = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(recv(upstream, answer, sizeof answer, 0) > 0);
    kill(r.pid, SIGTERM);
    assert_int_equal(recv(idle, answer, sizeof answer, 0), 0); /* closed at once */
    assert_int_equal(waitpid(r.pid, NULL, WNOHANG), 0);
    say(upstream, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate");
    struct str all = hear(&a, busy);
    assert_true(str_ends(all, STR("late")));
    assert_exit(r.pid, 0);
    close(idle);
    close(busy);
    close(upstream);
    close(listener);
}

/* --- deploys under traffic ------------------------------------------------------------------------ */

enum { VISITORS = 3, DEPLOYS = 15 };

struct traffic {
    const struct running *server;
    atomic_bool is_over;
    atomic_int answers, wrong;
    atomic_int oldest, newest; /* versions that may be seen now */
};

/* Asks on one connection until it is over. */
static void *visit(void *arg)
{
    struct traffic *t = arg;
    int fd = dial(t->server);
    while (!t->is_over) {
        char answer[2048];
        int oldest = t->oldest, version = -1;
        static const char request[] = "GET /v HTTP/1.1\r\nHost: localhost\r\n\r\n";
        if (send(fd, request, strlen(request), MSG_NOSIGNAL) != (ssize_t)strlen(request))
            break;
        ssize_t n = recv(fd, answer, sizeof answer - 1, 0);
        answer[n > 0 ? n : 0] = '\0';
        const char *at = strstr(answer, "{\"v\":");
        if (n <= 0 || strncmp(answer, "HTTP/1.1 200 ", 13) != 0 || !at ||
            sscanf(at, "{\"v\":%d}", &version) != 1 || version < oldest || version > t->newest) {
            atomic_fetch_add(&t->wrong, 1);
            print_error("after version %d: %d of %s\n", oldest, version, answer);
            break;
        }
        atomic_fetch_add(&t->answers, 1);
        usleep(1000); /* each leaves a line in the access log: a flood of them makes commits wait for the disk */
    }
    close(fd);
    return NULL;
}

static void write_version(int v)
{
    scoped_arena a = {0};
    write_file("src/app.star",
               str_z(&a, str_printf(&a,
                                    "def handler(req):\n    return {\"v\": %d}\n\napp = ace.app(\"V\", "
                                    "routes=[ace.api(\"/\")])\n",
                                    v)));
}

static void requests_are_served_throughout_deploys_and_never_by_an_older_version(void **state)
{
    static struct traffic t; /* outlives a test that fails: its threads may not have ended */
    static struct running r;
    r = begin(quiet);
    t.server = &r;
    write_version(0);
    create("/v", "src");
    create("/other", "src");
    must_answer(&r, "GET", "/v", NULL, 200, "{\"v\":0}");
    pthread_t visitors[VISITORS];
    for (int i = 0; i < VISITORS; i++)
        assert_int_equal(pthread_create(&visitors[i], NULL, visit, &t), 0);
    for (int v = 1; v <= DEPLOYS && t.wrong == 0; v++) {
        write_version(v);
        t.newest = v;
        must_answer(NULL, "POST", "/_openrun/reload?appPathGlob=/v&promote=true", NULL, 200,
                    "promote_results");
        t.oldest = v; /* the call has returned: every loop serves it */
        must_answer(NULL, "POST", "/_openrun/app_settings?appPathGlob=*", "{\"stage_write_access\": 1}", 200,
                    "update_results");
    }
    t.is_over = true;
    for (int i = 0; i < VISITORS; i++)
        pthread_join(visitors[i], NULL);
    assert_int_equal(t.wrong, 0);
    assert_true(t.answers > DEPLOYS);
    stop(&r);
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return serve(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_server_starts_serves_and_stops, test_dir_make, test_dir_remove),
        cmocka_unit_test_setup_teardown(a_killed_server_starts_again_where_it_was, test_dir_make,
                                        test_dir_remove),
        cmocka_unit_test_setup_teardown(a_server_that_cannot_start_says_why_and_lets_go_of_everything,
                                        test_dir_make, test_dir_remove),
        cmocka_unit_test_setup_teardown(a_port_in_use_is_named, test_dir_make, test_dir_remove),
        cmocka_unit_test_setup_teardown(a_home_has_one_server, test_dir_make, test_dir_remove),
        cmocka_unit_test_setup_teardown(a_newer_database_is_left_alone, test_dir_make, test_dir_remove),
        cmocka_unit_test_setup_teardown(a_full_disk_ends_the_start_with_a_message, test_dir_make,
                                        test_dir_remove),
        cmocka_unit_test_setup_teardown(a_home_that_cannot_be_is_named, test_dir_make, test_dir_remove),
        cmocka_unit_test_setup_teardown(requests_find_their_way, test_dir_make, test_dir_remove),
        cmocka_unit_test_setup_teardown(a_proxy_in_front_is_believed_if_trusted, test_dir_make,
                                        test_dir_remove),
        cmocka_unit_test_setup_teardown(calls_have_their_statuses, test_dir_make, test_dir_remove),
        cmocka_unit_test_setup_teardown(calls_are_audited, test_dir_make, test_dir_remove),
        cmocka_unit_test_setup_teardown(requests_are_served_throughout_deploys_and_never_by_an_older_version,
                                        test_dir_make, test_dir_remove),
        cmocka_unit_test_setup_teardown(a_caller_who_leaves_cancels_his_operation, test_dir_make,
                                        test_dir_remove),
        cmocka_unit_test_setup_teardown(a_stop_does_not_wait_for_an_operation_without_end, test_dir_make,
                                        test_dir_remove),
        cmocka_unit_test_setup_teardown(a_stop_lets_requests_end_and_closes_idle_connections, test_dir_make,
                                        test_dir_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
