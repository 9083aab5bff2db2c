/* tests/source/test_git.c: fetching with the real git, from local repositories, git daemon and smart HTTP.
 * SPDX-License-Identifier: Apache-2.0 */
#include "fs.h"
#include "proc.h"
#include "source.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A scratch folder with the bare repository `r.git`:
 *
 *     v1 (annotated tag) -- v2 (main) -- dev (branch)    README, app/app.star, app/sub/x, big/blob
 */
struct world {
    struct arena a;
    struct str root;
    struct str v1, v2, dev; /* commits */
    pid_t server;
};

static struct str sh(struct world *w, const char *script)
{
    scoped_err err = {0};
    scoped_buf out = BUF_INIT(1 << 20);
    struct proc_spec spec = {.cwd = w->root, .out = &out, .timeout_ms = 60000};
    const char *argv[] = {"sh", "-ec", script};
    for (size_t i = 0; i < 3; i++)
        str_list_add(&w->a, &spec.argv, str_from(argv[i]));
    const char *env[] = {"GIT_CONFIG_GLOBAL=/dev/null",
                         "GIT_CONFIG_NOSYSTEM=1",
                         "GIT_AUTHOR_NAME=t",
                         "GIT_AUTHOR_EMAIL=t@t",
                         "GIT_COMMITTER_NAME=t",
                         "GIT_COMMITTER_EMAIL=t@t",
                         "GIT_AUTHOR_DATE=2026-01-02T00:00:00Z",
                         "GIT_COMMITTER_DATE=2026-01-02T00:00:00Z"};
    for (size_t i = 0; i < ARRAY_LEN(env); i++)
        str_list_add(&w->a, &spec.env, str_from(env[i]));
    if (!proc_run_ok(&spec, &err))
        fail_msg("%s: %s", script, err_msg(&err));
    return str_dup(&w->a, str_trim(buf_str(&out)));
}

static int setup(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    scoped_err err = {0};
    setenv("GIT_DIR", "/nonexistent", 1); /* as inside a hook: must not matter to us */
    if (!fs_temp_dir(&w->a, STR("src-git-"), &w->root, &err))
        return -1;
    sh(w,
       "unset GIT_DIR; git init -q -b main work; cd work; mkdir -p app/sub big; echo one >README; echo star "
       ">app/app.star;"
       "echo x >app/sub/x; head -c 300000 /dev/urandom >big/blob; git add .; git commit -qm 'first\n\nbody';"
       "git tag -a v1 -m tagged; echo two >README; git commit -qam 'second'; git checkout -qb dev;"
       "echo three >app/app.star; git commit -qam third; git checkout -q main; cd ..;"
       "git clone -q --bare work r.git; git -C r.git config uploadpack.allowFilter true;"
       "git -C r.git update-server-info");
    w->v1 = sh(w, "git --git-dir r.git rev-parse v1^{commit}");
    w->v2 = sh(w, "git --git-dir r.git rev-parse main");
    w->dev = sh(w, "git --git-dir r.git rev-parse dev");
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    scoped_err err = {0};
    if (w->server > 0) {
        kill(-w->server, SIGKILL);
        waitpid(w->server, NULL, 0);
    }
    fs_remove_tree(w->root, &err);
    arena_release(&w->a);
    free(w);
    return 0;
}

static struct src_session *session(struct world *w)
{
    return src_session_open(
        &(struct src_session_opts){.tmp_dir = path_join(&w->a, w->root, STR("tmp")), .timeout_ms = 60000});
}

/* `scheme`, the scratch folder, `path`. */
static struct str url(struct world *w, const char *scheme, const char *path)
{
    return str_printf(&w->a, "%s" STR_FMT "%s", scheme, STR_ARG(w->root), path);
}

static struct src_checkout fetch(struct world *w, struct src_session *s, const struct src_git_opts *o)
{
    scoped_err err = {0};
    struct src_checkout c = {0};
    if (!src_git_fetch(s, &w->a, o, &c, &err))
        fail_msg("%s", err_msg(&err));
    return c;
}

static void check_file(struct world *w, struct str dir, const char *name, const char *want)
{
    scoped_err err = {0};
    struct str text;
    bool ok = src_disk_read(&w->a, dir, str_from(name), 1 << 20, &text, &err);
    if (want ? !ok || !str_eq_z(str_trim(text), want) : ok)
        fail_msg("%s in " STR_FMT ": %s", name, STR_ARG(dir), ok ? "unexpected content" : err_msg(&err));
}

/* Objects that a checkout has, of the type. */
static int objects(struct world *w, struct str dir, const char *type)
{
    const char *z = str_z(&w->a, dir);
    return atoi(sh(w, str_z(&w->a, str_printf(&w->a,
                                              "unset GIT_DIR; cd '%s'; git cat-file --batch-check="
                                              "'%%(objecttype)' --batch-all-objects | grep -c '^%s$' || true",
                                              z, type)))
                    .ptr);
}

static void test_branch(void **state)
{
    struct world *w = *state;
    struct src_session *s = session(w);
    struct src_git_opts o = {.url = url(w, "file://", "/r.git//app")};
    struct src_checkout c = fetch(w, s, &o);
    assert_true(str_eq(c.commit, w->v2));
    assert_true(str_eq_z(c.message, "second"));
    assert_true(str_eq_z(c.branch, "main"));
    assert_int_equal(c.warnings.len, 0);
    check_file(w, c.dir, "app.star", "star");
    check_file(w, c.dir, "sub/x", "x");
    /* Only what the folder needs was fetched. */
    assert_int_equal(objects(w, c.dir, "commit"), 1);
    assert_int_equal(objects(w, c.dir, "blob"), 2);
    check_file(w, path_dir(c.dir), "README", NULL);

    /* The same repository once more costs nothing, another folder its files. */
    struct src_git_opts more = {.url = url(w, "", "/r.git//big")};
    struct src_checkout big = fetch(w, s, &more), again = fetch(w, s, &o);
    assert_true(str_eq(path_dir(big.dir), path_dir(c.dir)));
    assert_true(str_eq(again.dir, c.dir));
    assert_true(fs_exists(path_join(&w->a, big.dir, STR("blob"))));
    check_file(w, c.dir, "app.star", "star");
    struct src_git_opts whole = {.url = url(w, "file://", "/r.git")};
    check_file(w, fetch(w, s, &whole).dir, "README", "two");

    struct src_git_opts dev = {.url = url(w, "file://", "/r.git//app"), .branch = STR("dev")};
    struct src_checkout d = fetch(w, s, &dev);
    assert_true(str_eq(d.commit, w->dev));
    check_file(w, d.dir, "app.star", "three");
    dev.full_history = true;
    assert_int_equal(objects(w, fetch(w, s, &dev).dir, "commit"), 3);

    struct str dir = str_dup(&w->a, c.dir);
    src_session_close(s);
    assert_false(fs_exists(dir));
    assert_true(str_is_empty(sh(w, "ls -A tmp")));
}

static void test_commits_and_tags(void **state)
{
    struct world *w = *state;
    struct src_session *s = session(w);
    struct src_git_opts o = {.url = url(w, "", "/r.git"), .commit = w->v1, .branch = STR("ignored")};
    struct src_checkout c = fetch(w, s, &o);
    assert_true(str_eq(c.commit, w->v1));
    assert_true(str_eq_z(c.message, "first\n\nbody"));
    assert_true(str_eq_z(c.branch, ""));
    check_file(w, c.dir, "README", "one");
    static const struct {
        const char *name;
        size_t len;
        bool is_tag, as_branch;
    } cases[] = {
        {"a short commit at the head of a branch", 8, false, false},
        {"a short commit inside the history", 7, true, false},
        {"a tag as commit", 0, true, false},
        {"a tag as branch", 0, true, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str want = cases[i].is_tag ? w->v1 : w->dev;
        struct str name = cases[i].len ? str_slice(want, 0, cases[i].len) : STR("v1");
        struct src_git_opts p = {.url = o.url};
        if (cases[i].as_branch)
            p.branch = name;
        else
            p.commit = name;
        if (!str_eq(fetch(w, s, &p).commit, want))
            fail_msg("%s", cases[i].name);
    }
    /* Neither a branch nor a tag is at it, and the server gives only those. */
    sh(w, "git --git-dir r.git tag -d v1 >/dev/null; git --git-dir r.git config "
          "uploadpack.allowAnySHA1InWant false");
    struct src_git_opts mid = {.url = o.url, .commit = str_slice(w->v1, 0, 10)};
    assert_true(str_eq(fetch(w, s, &mid).commit, w->v1));
    src_session_close(s);
}

static void test_server_without_filter(void **state)
{
    struct world *w = *state;
    sh(w, "git --git-dir r.git config uploadpack.allowFilter false");
    struct src_session *s = session(w);
    struct src_git_opts o = {.url = url(w, "file://", "/r.git//app")};
    struct src_checkout c = fetch(w, s, &o);
    check_file(w, c.dir, "app.star", "star");
    check_file(w, path_dir(c.dir), "README", NULL);
    assert_int_equal(objects(w, c.dir, "commit"), 1);
    src_session_close(s);
}

static void test_remote_head(void **state)
{
    struct world *w = *state;
    struct src_session *s = session(w);
    scoped_err err = {0};
    struct str head;
    struct src_git_opts o = {.url = url(w, "file://", "/r.git//no-matter")};
    assert_true(src_git_remote_head(s, &w->a, &o, &head, &err));
    assert_true(str_eq(head, w->v2));
    o.branch = STR("v1");
    assert_true(src_git_remote_head(s, &w->a, &o, &head, &err));
    assert_true(str_eq(head, w->v1));
    o.branch = STR("none");
    assert_false(src_git_remote_head(s, &w->a, &o, &head, &err));
    assert_non_null(strstr(err_msg(&err), "branch \"none\" not found in file://"));
    assert_non_null(strstr(err_msg(&err), ", it has: dev, main"));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    src_session_close(s);
}

static void expect(struct world *w, struct src_session *s, const char *name, const struct src_git_opts *o,
                   int code, const char *msg)
{
    scoped_err err = {0};
    struct src_checkout c = {0};
    if (src_git_fetch(s, &w->a, o, &c, &err) || (int)err.code != code || !strstr(err_msg(&err), msg))
        fail_msg("%s: got %d %s", name, (int)err.code, err_msg(&err));
    if (strstr(err_msg(&err), "hunter2"))
        fail_msg("%s: the password is in the message", name);
}

static void test_failures(void **state)
{
    struct world *w = *state;
    struct src_session *s = session(w);
    struct str ok = url(w, "file://", "/r.git");
    sh(w, "mkdir plain; git init -q --bare empty.git");
    struct {
        const char *name;
        struct src_git_opts opts;
        int code;
        const char *msg;
    } cases[] = {
        {"no such branch", {.url = ok, .branch = STR("nope")}, 404, "branch \"nope\" not found in file://"},
        {"no such folder", {.url = url(w, "file://", "/r.git//nope")}, 404, "folder \"nope\" not found"},
        {"a file for a folder",
         {.url = url(w, "file://", "/r.git//README")},
         404,
         "folder \"README\" is not a folder"},
        {"no such commit",
         {.url = ok, .commit = STR("0123456789012345678901234567890123456789")},
         404,
         "commit \"0123456789012345678901234567890123456789\" not found"},
        {"no such short commit",
         {.url = ok, .commit = STR("0123456789")},
         404,
         "commit \"0123456789\" not found"},
        {"no such tag", {.url = ok, .commit = STR("v9")}, 404, "commit \"v9\" not found"},
        {"no such repository", {.url = url(w, "file://", "/none.git")}, 404, "repository not found: file://"},
        {"no repository", {.url = url(w, "file://", "/plain")}, 404, "repository not found: file://"},
        {"an empty repository", {.url = url(w, "file://", "/empty.git")}, 404, "which is empty"},
        {"an option as branch", {.url = ok, .branch = STR("--upload-pack=x")}, 400, "invalid git branch"},
        {"a refspec as branch", {.url = ok, .branch = STR("a:b")}, 400, "invalid git branch"},
        {"an option as commit", {.url = ok, .commit = STR("--all")}, 400, "invalid git commit"},
        {"no host",
         {.url = STR("https://no-such-host.invalid/o/r")},
         502,
         "https://no-such-host.invalid/o/r"},
        {"nobody listens", {.url = STR("git://127.0.0.1:1/o/r")}, 502, "refuses connections"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect(w, s, cases[i].name, &cases[i].opts, cases[i].code, cases[i].msg);
    src_session_close(s);
}

/* ---- servers ---- */

/* Starts a server in a process group of its own; its stdout's first line is the answer ("" without). */
static struct str serve(struct world *w, const char *const *argv, bool wait_line)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    w->server = fork();
    if (w->server == 0) {
        setpgid(0, 0);
        unsetenv("GIT_DIR");
        dup2(fds[1], 1);
        close(fds[0]);
        execvp(argv[0], (char *const *)argv);
        _exit(127);
    }
    setpgid(w->server, w->server);
    close(fds[1]);
    char line[100];
    size_t len = 0;
    while (wait_line && len < sizeof line && !memchr(line, '\n', len)) {
        ssize_t n = read(fds[0], line + len, sizeof line - len);
        assert_true(n > 0);
        len += (size_t)n;
    }
    close(fds[0]);
    return str_trim(str_dup(&w->a, str_of(line, len)));
}

static int free_port(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof sa;
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    close(fd);
    return ntohs(sa.sin_port);
}

static void wait_port(int port)
{
    struct sockaddr_in sa = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (int64_t end = clock_ms() + 30000; clock_ms() < end; usleep(5000)) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        int rc = connect(fd, (struct sockaddr *)&sa, sizeof sa);
        close(fd);
        if (rc == 0)
            return;
    }
    fail_msg("nothing listens on port %d", port);
}

static void test_daemon(void **state)
{
    struct world *w = *state;
    int port = free_port();
    const char *base = str_z(&w->a, str_cat(&w->a, STR("--base-path="), w->root));
    const char *at = str_z(&w->a, str_printf(&w->a, "--port=%d", port));
    serve(w,
          (const char *[]){"git", "daemon", base, at, "--listen=127.0.0.1", "--export-all", "--reuseaddr",
                           NULL},
          false);
    wait_port(port);
    struct src_session *s = session(w);
    struct src_git_opts o = {.url = str_printf(&w->a, "git://127.0.0.1:%d/r.git/app", port)};
    struct src_checkout c = fetch(w, s, &o);
    assert_true(str_eq(c.commit, w->v2));
    check_file(w, c.dir, "app.star", "star");
    assert_int_equal(objects(w, c.dir, "blob"), 2);
    struct src_git_opts sub = {.url = str_printf(&w->a, "git://127.0.0.1:%d/r.git//app/sub", port),
                               .branch = STR("dev")};
    check_file(w, fetch(w, s, &sub).dir, "x", "x");
    struct src_git_opts none = {.url = str_printf(&w->a, "git://127.0.0.1:%d/none.git", port)};
    expect(w, s, "the daemon has no such repository", &none, 404, "repository not found");
    src_session_close(s);
}

static void test_http(void **state)
{
    struct world *w = *state;
    const char *script = str_z(
        &w->a, str_cat(&w->a, str_from(getenv("OPENRUN_SOURCE_ROOT")), STR("/tests/source/git_http.py")));
    struct str port =
        serve(w, (const char *[]){"python3", script, str_z(&w->a, w->root), "me:hunter2", NULL}, true);
    struct src_session *s = session(w);
    struct str at = str_cat(&w->a, STR("http://127.0.0.1:"), port);
    struct src_git_opts o = {.url = str_cat(&w->a, at, STR("/r.git/app"))};
    expect(w, s, "no credentials", &o, 401, "set git_auth to an entry of [git_auth]");

    struct src_git_auth wrong = {.name = STR("mine"), .user = STR("me"), .password = STR("wrong")};
    o.auth = &wrong;
    expect(w, s, "wrong credentials", &o, 401, "check the git_auth entry mine");
    struct src_git_auth lines = {.name = STR("mine"), .user = STR("me"), .password = STR("a\nquit=1")};
    o.auth = &lines;
    expect(w, s, "a password of two lines", &o, 400, "must be one line");

    struct src_git_auth right = {.name = STR("right"), .user = STR("me"), .password = STR("hunter2")};
    o.auth = &right;
    struct src_checkout c = fetch(w, s, &o);
    assert_true(str_eq(c.commit, w->v2));
    check_file(w, c.dir, "app.star", "star");
    assert_int_equal(objects(w, c.dir, "blob"), 2);
    /* The files of the folder came in one request, not one by one: list, commit and trees, blobs. */
    assert_true(str_eq_z(sh(w, "grep -c 'POST .*/git-upload-pack credentials' http.log"), "3"));
    assert_true(str_is_empty(sh(w, "grep -rl hunter2 tmp || true")));

    struct src_git_opts none = {.url = str_cat(&w->a, at, STR("/none.git")), .auth = &right};
    expect(w, s, "no such repository", &none, 404, "repository not found");
    struct src_git_opts dumb = {.url = str_cat(&w->a, at, STR("/dumb/r.git//app")), .auth = &right};
    check_file(w, fetch(w, s, &dumb).dir, "app.star", "star");
    src_session_close(s);
}

static void test_key_is_private(void **state)
{
    struct world *w = *state;
    struct src_session *s = session(w);
    struct src_git_auth none = {.name = STR("k"), .key_file = STR("/nonexistent/key")};
    struct src_git_opts o = {.url = STR("git@127.0.0.1:o/r"), .auth = &none};
    expect(w, s, "a missing key file", &o, 400, "key_file_path /nonexistent/key does not exist");
    /* A stand-in for ssh shows how it is called. */
    char *path = str_z(&w->a, str_printf(&w->a, STR_FMT "/bin:%s", STR_ARG(w->root), getenv("PATH")));
    char *before = xstrdup(getenv("PATH"));
    sh(w, "mkdir bin; printf '#!/bin/sh\\necho \"$@\" >>%s\\nexit 255\\n' \"$PWD/ssh.log\" >bin/ssh; chmod "
          "+x bin/ssh");
    setenv("PATH", path, 1);
    struct src_git_auth key = {.name = STR("k"), .user = STR("deploy"), .private_key = STR("PEM hunter2")};
    struct src_git_opts p = {.url = STR("https://127.0.0.1:8443/o/r"), .auth = &key};
    expect(w, s, "ssh fails", &p, 502, "deploy@127.0.0.1:o/r.git");
    setenv("PATH", before, 1);
    free(before);
    struct str log = sh(w, "cat ssh.log");
    assert_true(str_find(log, STR("BatchMode=yes")) != STR_NPOS);
    assert_true(str_find(log, STR("StrictHostKeyChecking=yes")) != STR_NPOS);
    assert_true(str_find(log, STR("hunter2")) == STR_NPOS);
    assert_true(str_eq_z(sh(w, "stat -c %a tmp/*/key-* tmp/openrun-git-*"), "600\n700"));
    src_session_close(s);
}

static void test_cancel_and_timeout(void **state)
{
    struct world *w = *state;
    int port = free_port();
    /* A server that accepts and never says anything. */
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in sa = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(listen(fd, 8), 0);
    struct src_git_opts o = {.url = str_printf(&w->a, "git://127.0.0.1:%d/r", port)};
    struct src_session *s = src_session_open(&(struct src_session_opts){.timeout_ms = 200});
    expect(w, s, "a silent server", &o, 504, "took longer than 1 s");
    src_session_close(s);
    atomic_bool cancel = true;
    s = src_session_open(&(struct src_session_opts){.cancel = &cancel});
    expect(w, s, "a cancelled operation", &o, 499, "was cancelled");
    src_session_close(s);
    close(fd);
}

static void count_lines(void *ctx, struct str line)
{
    *(size_t *)ctx += line.len > 0;
}

static void test_content(void **state)
{
    struct world *w = *state;
    sh(w, "unset GIT_DIR; cd work; mkdir '#o[a]*!' '#oa!'; echo odd >'#o[a]*!/f'; echo decoy >'#oa!/f'; ln "
          "-s README app/link;"
          "printf 'app/app.star filter=lfs\\n' >.gitattributes;"
          "git add .; git update-index --add --cacheinfo 160000,$(git rev-parse HEAD),app/module;"
          "git commit -qm \"$(printf 'caf\\351')\"; git push -q ../r.git main");
    size_t lines = 0;
    struct src_session *s =
        src_session_open(&(struct src_session_opts){.on_progress = count_lines, .ctx = &lines});
    struct src_git_opts o = {.url = url(w, "file://", "/r.git//app")};
    struct src_checkout c = fetch(w, s, &o);
    assert_int_equal(c.warnings.len, 1);
    assert_true(str_starts(c.warnings.items[0], STR("app/module is a git submodule")));
    assert_true(str_is_utf8(c.message));
    assert_true(lines > 0);
    scoped_err err = {0};
    struct src_files files;
    assert_false(src_files_scan(&w->a, c.dir, NULL, &files, &err));
    assert_string_equal(err_msg(&err), "symlinks are not allowed in app sources: link");
    struct src_git_opts part = {.url = url(w, "file://", "/r.git//#o")};
    expect(w, s, "the start of a folder's name", &part, 404, "not found");
    src_session_close(s);

    s = session(w);
    struct src_git_opts odd = {.url = url(w, "file://", "/r.git//#o[a]*!")};
    c = fetch(w, s, &odd);
    check_file(w, c.dir, "f", "odd");
    assert_false(fs_exists(path_join(&w->a, path_dir(c.dir), STR("#oa!"))));
    src_session_close(s);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_branch),      TEST(test_commits_and_tags), TEST(test_server_without_filter),
        TEST(test_remote_head), TEST(test_failures),         TEST(test_daemon),
        TEST(test_http),        TEST(test_key_is_private),   TEST(test_cancel_and_timeout),
        TEST(test_content),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
