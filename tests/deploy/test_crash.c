/* tests/deploy/test_crash.c: kill -9 at every point where an operation writes or publishes.
 *
 * The store is as before or as after, never between, and once deploy_clean() has run (as at every start of
 * the server) nothing is left over. Each run is a process of its own on a copy of the same home.
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_test.h"

#include <fcntl.h>
#include <signal.h>

enum { POINTS_MAX = 500 };

struct operation {
    const char *name;
    deploy_op *op;
    struct deploy_opts opts;
    const char *body; /* %s: the source folder */
};

static const struct operation operations[] = {
    {"create", deploy_create, {.approve = true}, "{\"path\": \"/new\", \"source_url\": \"%s\"}"},
    {"reload of all", deploy_reload, {.app = STR_INIT("*")}, NULL},
    {"reload and promotion of all", deploy_reload, {.app = STR_INIT("*"), .promote = true}, NULL},
    {"promotion", deploy_promote, {.app = STR_INIT("*")}, NULL},
    {"approval and promotion", deploy_approve, {.app = STR_INIT("/a"), .promote = true}, NULL},
    {"param",
     deploy_param_update,
     {.app = STR_INIT("*"), .name = STR_INIT("K"), .value = STR_INIT("v")},
     NULL},
    {"switch",
     deploy_version_switch,
     {.app = STR_INIT("stage.localhost:/a"), .version = STR_INIT("1")},
     NULL},
    {"delete", deploy_delete, {.app = STR_INIT("*")}, NULL},
};

static char root[64]; /* of it all; test_dir is the home of one run */

static void copy_tree(const char *from, const char *to)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct proc_spec spec = {0};
    const char *const argv[] = {"cp", "-a", from, to};
    for (size_t i = 0; i < ARRAY_LEN(argv); i++)
        str_list_add(&a, &spec.argv, str_from(argv[i]));
    MUST(proc_run_ok(&spec, &err), &err);
}

static void remove_tree(const char *dir)
{
    scoped_err err = {0};
    MUST(fs_remove_tree(str_from(dir), &err), &err);
}

/* The state that operations start from: /a has two versions more on its stage, /b is as created. Later
 * reloads find a changed source. */
static void prepare(void)
{
    struct place_of_work w;
    work_begin(&w);
    source_write("a", "app.star", "name A\n");
    source_write("b", "app.star", "name B\n");
    create(&w, "/a", "a", ", \"appconfig\": {\"fs.retain_versions\": \"1\"}");
    create(&w, "/b", "b", "");
    source_write("a", "data.txt", "1");
    must_call(&w, deploy_reload, OPTS(.app = STR("/a")), NULL);
    source_write("a", "data.txt", "2");
    source_write("b", "data.txt", "3");
    work_end(&w);
}

/* The process that does one operation, see run_until(). */
static int operate(const struct operation *o)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct place_of_work w;
    work_begin(&w);
    struct str body = {0}, before, after;
    if (o->body) {
        str_cut(str_from(o->body), '%', &before, &after);
        body = str_printf(&a, STR_FMT "%s/src/a" STR_FMT, STR_ARG(before), test_dir,
                          STR_ARG(str_from_off(after, 1)));
    }
    scoped_json *reply = call(&w, o->op, &o->opts, o->body ? str_z(&a, body) : NULL, &err);
    if (!reply)
        fprintf(stderr, "%s\n", err_msg(&err));
    work_end(&w);
    return reply ? 0 : 2;
}

/* True if the operation was killed at `point`, false if it ended. 0: it is let be. */
static bool run_until(size_t which, int point)
{
    char number[16], index[16];
    snprintf(number, sizeof number, "%d", point);
    snprintf(index, sizeof index, "%zu", which);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);
        if (point > 0) {
            setenv("OPENRUN_FAULT_POINT", number, 1);
            dup2(null, STDERR_FILENO);
        }
        execl("/proc/self/exe", "test_crash", index, test_dir, (char *)NULL);
        _exit(127);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        return true;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("%s at point %d ended with status %x", operations[which].name, point, (unsigned)status);
    return false;
}

static struct str look(struct arena *a, bool is_checked)
{
    struct place_of_work w;
    work_begin(&w);
    if (is_checked) {
        deploy_clean(w.deploy);
        assert_whole(&w);
    }
    struct str now = picture(&w, a);
    work_end(&w);
    return now;
}

static void a_killed_operation_has_happened_or_has_not(void **state)
{
    scoped_arena a = {0};
    char home[80], template[80];
    snprintf(template, sizeof template, "%s/template", root);
    snprintf(home, sizeof home, "%s/home", root);
    snprintf(test_dir, sizeof test_dir, "%.60s",
             home); /* sources are named by their place: prepare it there */
    assert_int_equal(mkdir(home, 0700), 0);
    prepare();
    copy_tree(home, template);
    for (size_t i = 0; i < ARRAY_LEN(operations); i++) {
        const struct operation *o = &operations[i];
        remove_tree(home);
        copy_tree(template, home);
        struct str before = look(&a, true);
        assert_false(run_until(i, 0));
        struct str after = look(&a, true);
        assert_false(str_eq(before, after));
        int point = 1, n_before = 0, n_after = 0;
        for (; point < POINTS_MAX; point++) {
            remove_tree(home);
            copy_tree(template, home);
            bool is_killed = run_until(i, point);
            struct str now = look(&a, true);
            n_before += str_eq(now, before);
            n_after += str_eq(now, after);
            if (!str_eq(now, before) && !str_eq(now, after))
                fail_msg("%s, killed at point %d, left\n%.*snot\n%.*sor\n%.*s", o->name, point, STR_ARG(now),
                         STR_ARG(before), STR_ARG(after));
            if (!is_killed)
                break;
        }
        if (n_before < 2 || n_after < 3)
            fail_msg("%s passed only %d points before its commit and %d after", o->name, n_before, n_after);
        print_message("%s: %d points\n", o->name, point - 1);
    }
}

static int setup(void **state)
{
    snprintf(root, sizeof root, "/tmp/openrun-crash-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
    remove_tree(root);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3) {
        snprintf(test_dir, sizeof test_dir, "%s", argv[2]);
        return operate(&operations[strtoul(argv[1], NULL, 10) % ARRAY_LEN(operations)]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_killed_operation_has_happened_or_has_not, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
