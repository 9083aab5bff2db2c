/* tests/container/test_task.c: single commands: what is left of them, and images that run as root.
 * SPDX-License-Identifier: Apache-2.0 */
#include "fake_engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct fake fake;
static struct ctr_backend ops;
static struct ctr_engine *engine;
static struct {
    const char *user;
    struct ctr_task_end end;
    bool fails, conflicts;
    char name[128];
    int runs;
} box;

static bool task(void *ctx, const struct ctr_run *run, const struct ctr_task_io *io, struct ctr_task_end *end,
                 struct err *err)
{
    box.runs++;
    snprintf(box.name, sizeof box.name, STR_FMT, STR_ARG(run->name));
    if (box.fails || box.conflicts)
        return err_set(err, box.conflicts ? ERR_CONFLICT : ERR_UPSTREAM, "it failed");
    *end = box.end;
    return true;
}

static bool image_user(void *ctx, struct arena *a, struct str image, struct str *user, struct err *err)
{
    if (!box.user)
        return err_set(err, ERR_UNAVAILABLE, "no answer");
    *user = str_from(box.user);
    return true;
}

static int open_engine(void **state)
{
    memset(&box, 0, sizeof box);
    memset(&fake, 0, sizeof fake);
    pthread_mutex_init(&fake.lock, NULL);
    fake.has_image = true;
    ops = fake_backend;
    ops.task = task;
    ops.image_user = image_user;
    engine = ctr_engine_open_with(CTR_DOCKER, &ops, &fake);
    return 0;
}

static int close_engine(void **state)
{
    ctr_engine_close(engine);
    return 0;
}

static const struct ctr_run run = {.name = STR_INIT("clt-x"), .image = STR_INIT("tool")};

static bool run_task(struct err *err)
{
    struct ctr_task_end end;
    return ctr_container_task(engine, &run, &(struct ctr_task_io){0}, &end, err);
}

static void what_was_ended_is_removed(void **state)
{
    static const struct {
        const char *name;
        struct ctr_task_end end;
        bool fails, conflicts, removes;
    } cases[] = {
        {"it ended by itself", {0}, false, false, false},
        {"it failed by itself", {.exit_code = 3}, false, false, false},
        {"its time was up", {.timed_out = true}, false, false, true},
        {"it was cancelled", {.cancelled = true}, false, false, true},
        {"the engine failed", {0}, true, false, true},
        {"the name was somebody else's", {0}, false, true, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_err err = {0};
        box.end = cases[i].end;
        box.fails = cases[i].fails;
        box.conflicts = cases[i].conflicts;
        fake.removed[0] = '\0';
        fake.count = 1;
        snprintf(fake.list[0].name, sizeof fake.list[0].name, "clt-x");
        fake.list[0].status = CTR_STATUS_RUNNING;
        assert_int_equal(run_task(&err), !cases[i].fails && !cases[i].conflicts);
        if ((strstr(fake.removed, "clt-x") != NULL) != cases[i].removes)
            fail_msg("%s: removed: \"%s\"", cases[i].name, fake.removed);
    }
}

static void root_is_refused_where_it_is_forbidden(void **state)
{
    static const struct {
        const char *user;
        bool is_refused;
    } cases[] = {{"", true},       {"root", true},   {"0", true},      {"00", true},       {"0:1000", true},   {"+0", true},    {"-0:5", true},
                 {"root:x", true}, {"1000", false}, {"1000:0", false}, {"nonroot", false}, {"app:app", false}};
    scoped_err first = {0};
    box.user = "root";
    assert_true(run_task(&first)); /* nobody has forbidden it */
    ctr_engine_forbid_root(engine);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_err err = {0};
        box.user = cases[i].user;
        box.runs = 0;
        assert_int_equal(run_task(&err), !cases[i].is_refused);
        assert_int_equal(box.runs, !cases[i].is_refused);
        if (cases[i].is_refused)
            assert_non_null(strstr(err_msg(&err), "image tool runs as root, which security.forbid_root_containers"));
    }
    scoped_err err = {0};
    box.user = NULL;
    assert_false(run_task(&err)); /* not knowing is no permission */
    assert_non_null(strstr(err_msg(&err), "finding out whether image tool runs as root"));
    /* The same for containers that serve. */
    box.user = "";
    fake.runs = 0;
    scoped_err other = {0};
    assert_false(ctr_container_run(engine, &run, &other));
    assert_int_equal(fake.runs, 0);
    /* An option that an administrator has allowed decides. */
    struct ctr_run as_user = run;
    struct ctr_kv user = {STR("user"), STR("1000")};
    struct ctr_task_end end;
    scoped_err none = {0};
    as_user.limits.flags = (struct ctr_kv_list){&user, 1, 1};
    assert_true(ctr_container_task(engine, &as_user, &(struct ctr_task_io){0}, &end, &none));
    user.value = STR("0");
    assert_false(ctr_container_task(engine, &as_user, &(struct ctr_task_io){0}, &end, &none));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_ended_is_removed, open_engine, close_engine),
        cmocka_unit_test_setup_teardown(root_is_refused_where_it_is_forbidden, open_engine, close_engine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
