/* tests/container/test_freezer.c: a paused container that is seen to go on before the engine says so.
 * SPDX-License-Identifier: Apache-2.0 */
#include "fake_engine.h"
#include "http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mman.h>

#include <cmocka.h>

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void paths_of_either_version(void **state)
{
    static const struct {
        const char *name, *cgroups, *path;
    } cases[] = {
        {"version 1", "12:cpu,cpuacct:/docker/" ID "\n7:freezer:/docker/" ID "\n1:name=systemd:/docker/" ID "\n",
         "/sys/fs/cgroup/freezer/docker/" ID "/freezer.state"},
        {"version 1, controllers together", "3:net_cls,freezer:/a/" ID "\n", "/sys/fs/cgroup/freezer/a/" ID "/freezer.state"},
        {"version 2, systemd", "0::/system.slice/docker-" ID ".scope\n",
         "/sys/fs/cgroup/system.slice/docker-" ID ".scope/cgroup.events"},
        {"version 2, below the container's group", "0::/machine.slice/libpod-" ID ".scope/container\n",
         "/sys/fs/cgroup/machine.slice/libpod-" ID ".scope/container/cgroup.events"},
        {"both: that of version 1 freezes", "0::/docker/" ID "\n7:freezer:/docker/" ID "\n",
         "/sys/fs/cgroup/freezer/docker/" ID "/freezer.state"},
        {"the freezer's group is not the container's", "7:freezer:/\n0::/docker/" ID "\n",
         "/sys/fs/cgroup/docker/" ID "/cgroup.events"},
        {"another process with that number", "0::/user.slice/session-1.scope\n", NULL},
        {"outside of our namespace", "0::/../../docker/" ID "\n", NULL},
        {"no path", "0::docker/" ID "\n", NULL},
        {"other controllers only", "4:memory:/docker/" ID "\n", NULL},
        {"nothing", "", NULL},
        {"no lines of that kind", "freezer\n::\n0:\n\n:", NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        struct str path = STR("(none)");
        bool ok = freezer_path(&a, str_from(cases[i].cgroups), STR(ID), &path);
        if (ok != (cases[i].path != NULL) || !str_eq_z(path, cases[i].path ? cases[i].path : "(none)"))
            fail_msg("%s: got %.*s", cases[i].name, STR_ARG(path));
        path = STR("(none)");
        assert_false(freezer_path(&a, str_from(cases[i].cgroups), (struct str){0}, &path)); /* any path has no id in it */
    }
}

static void states_of_either_version(void **state)
{
    static const struct {
        const char *text;
        enum freezer state;
    } cases[] = {
        {"FROZEN\n", FREEZER_FROZEN},
        {"FREEZING\n", FREEZER_FROZEN},
        {"THAWED\n", FREEZER_THAWED},
        {"populated 1\nfrozen 1\n", FREEZER_FROZEN},
        {"populated 1\nfrozen 0\n", FREEZER_THAWED},
        {"frozen 0\npopulated 1\n", FREEZER_THAWED},
        {"populated 0\nfrozen 0\n", FREEZER_UNKNOWN},
        {"frozen 0\npopulated 0\n", FREEZER_UNKNOWN},
        {"populated 1\n", FREEZER_UNKNOWN},
        {"", FREEZER_UNKNOWN},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (freezer_parse(str_from(cases[i].text)) != cases[i].state)
            fail_msg("case %zu: %s", i, cases[i].text);
    }
}

static void of_what_is_no_container_nothing_is_read(void **state)
{
    (void)state;
    assert_int_equal(freezer_open(0, STR(ID)), -1);
    assert_int_equal(freezer_open((int)getpid(), STR(ID)), -1);
    assert_int_equal(freezer_open(INT32_MAX, STR(ID)), -1);
    scoped_fd int gone = memfd_create("empty", MFD_CLOEXEC);
    assert_int_equal(freezer_read(gone), FREEZER_UNKNOWN);
}

/* --- A service that is paused, over a fake engine whose answers can be held back --- */

struct world {
    struct fake fake;
    struct ctr_manager *m;
    struct ctr_service *svc;
    pthread_t thread;
    bool ok; /* of the wake */
};

static enum ctr_state state_of(struct world *w)
{
    scoped_arena a = {0};
    struct ctr_service_status s;
    ctr_service_status(w->svc, &a, &s);
    return s.state;
}

static bool is_quiet(struct world *w)
{
    pthread_mutex_lock(&w->m->lock);
    bool quiet = w->svc->op == OP_NONE;
    pthread_mutex_unlock(&w->m->lock);
    return quiet;
}

static bool wake(struct world *w)
{
    scoped_err err = {0};
    return ctr_service_start(w->svc, NULL, NULL, NULL, &err);
}

static void fall_asleep(struct world *w)
{
    wait_for(is_quiet(w));
    pthread_mutex_lock(&w->m->lock);
    svc_tick(w->svc, clock_ms() + 700000);
    pthread_mutex_unlock(&w->m->lock);
    wait_for(state_of(w) == CTR_PAUSED && is_quiet(w));
}

static void world_open(struct world *w)
{
    static const struct ctr_hooks hooks = {.post = http_loop_post, .probe = fake_probe, .freezer = fake_freezer};
    scoped_err err = {0};
    memset(w, 0, sizeof *w);
    pthread_mutex_init(&w->fake.lock, NULL);
    fake_now = &w->fake;
    w->fake.has_image = true;
    w->fake.freezer = memfd_create("freezer", MFD_CLOEXEC);
    struct ctr_manager_config mc = {.home = STR("/home"), .loop_count = 1, .max_concurrent_builds = 1};
    assert_true(ctr_manager_open_with(&mc, ctr_engine_open_with(CTR_DOCKER, &fake_backend, &w->fake), &hooks, &w->m, &err));
    struct ctr_service_config c = {.app_id = STR("app_prd_1"), .pauses = true, .idle_stop_secs = 1800, .idle_secs = 600};
    c.run.name = STR("clc-a");
    c.run.image = STR("cli-1:abc");
    c.run.port = 8080;
    w->svc = ctr_service_get(w->m, &c);
    assert_true(wake(w));
    fall_asleep(w);
}

static void world_close(struct world *w)
{
    ctr_service_unref(w->svc);
    ctr_manager_close(w->m);
    close(w->fake.freezer);
    pthread_mutex_destroy(&w->fake.lock);
}

static void *wake_thread(void *arg)
{
    struct world *w = arg;
    w->ok = wake(w);
    return NULL;
}

static void wake_begin(struct world *w)
{
    assert_int_equal(pthread_create(&w->thread, NULL, wake_thread, w), 0);
}

static bool wake_end(struct world *w)
{
    pthread_join(w->thread, NULL);
    return w->ok;
}

static void requests_pass_before_the_engine_has_answered(void **state)
{
    struct world w;
    struct ctr_endpoint at;
    (void)state;
    world_open(&w);
    int looks = w.fake.inspects;
    for (int i = 1; i <= 3; i++) {
        w.fake.unpauses_held = 1;
        assert_true(wake(&w));
        assert_int_equal(state_of(&w), CTR_READY);
        assert_false(is_quiet(&w));
        assert_true(ctr_service_enter(w.svc, 0, &at));
        ctr_service_leave(w.svc, 0);
        pthread_mutex_lock(&w.m->lock); /* it does not fall asleep meanwhile */
        svc_tick(w.svc, clock_ms() + 700000);
        pthread_mutex_unlock(&w.m->lock);
        assert_int_equal(state_of(&w), CTR_READY);
        w.fake.unpauses_held = 0;
        wait_for(is_quiet(&w));
        assert_int_equal(state_of(&w), CTR_READY);
        assert_int_equal(w.fake.unpauses, i);
        fall_asleep(&w);
    }
    assert_int_equal(w.fake.inspects, looks);
    world_close(&w);
}

static void an_answer_that_is_no_leads_to_a_closer_look(void **state)
{
    struct world w;
    struct ctr_endpoint at;
    (void)state;
    world_open(&w);
    int looks = w.fake.inspects;
    w.fake.unpauses_held = w.fake.unpause_fails_one_in = 1;
    assert_true(wake(&w));
    w.fake.unpauses_held = 0;
    wait_for(w.fake.inspects == looks + 1 && is_quiet(&w)); /* it runs: all is well */
    assert_int_equal(state_of(&w), CTR_READY);
    fake_sleep(20);
    assert_int_equal(w.fake.inspects, looks + 1); /* and is looked at once, where no checks are wanted */
    fall_asleep(&w);

    w.fake.unpauses_held = 1;
    assert_true(wake(&w));
    w.fake.is_dead = true; /* the engine, which says nothing about the app */
    w.fake.unpauses_held = 0;
    wait_for(is_quiet(&w));
    assert_int_equal(state_of(&w), CTR_READY);
    assert_true(ctr_service_enter(w.svc, 0, &at));
    ctr_service_leave(w.svc, 0);
    w.fake.is_dead = false;
    fall_asleep(&w);

    w.fake.unpauses_held = 1;
    assert_true(wake(&w));
    fake_set_status(&w.fake, STR("clc-a"), CTR_STATUS_EXITED); /* it has ended since: the next request starts it */
    w.fake.unpauses_held = 0;
    wait_for(state_of(&w) == CTR_STOPPED);
    assert_true(wake(&w));
    assert_int_equal(w.fake.starts, 1);
    world_close(&w);
}

static void what_happens_before_the_answer_counts(void **state)
{
    struct world w;
    (void)state;
    world_open(&w);
    wait_for(w.fake.streams == 1);
    w.fake.exit_code = 1;
    for (int fails = 0; fails < 2; fails++) {
        w.fake.unpauses_held = 1;
        w.fake.unpause_fails_one_in = fails;
        assert_true(wake(&w));
        fake_happen(&w.fake, "clc-a", CTR_EVENT_DIED, 0);
        wait_for(state_of(&w) == CTR_UNKNOWN);
        wake_begin(&w); /* waits for more than the answer */
        w.fake.unpauses_held = 0;
        assert_true(wake_end(&w));
        wait_for(is_quiet(&w));
        assert_int_equal(state_of(&w), CTR_READY);
        assert_int_equal(w.fake.starts, fails + 1);
        fall_asleep(&w);
        assert_int_equal(fake_status(&w.fake, STR("clc-a")), CTR_STATUS_PAUSED);
    }
    w.fake.unpause_fails_one_in = 0;
    w.fake.unpauses_held = 1; /* the proxy finds nobody there */
    assert_true(wake(&w));
    int looks = w.fake.inspects;
    struct ctr_endpoint at;
    assert_true(ctr_service_enter(w.svc, 0, &at));
    ctr_service_leave(w.svc, 0);
    fake_sleep(SVC_SUSPECT_PAUSE_MS + 5);
    ctr_service_suspect(w.svc, at.generation);
    assert_int_equal(state_of(&w), CTR_STARTING);
    w.fake.unpauses_held = 0;
    wait_for(state_of(&w) == CTR_READY && is_quiet(&w));
    assert_int_equal(w.fake.inspects, looks + 1);
    world_close(&w);
}

static void who_is_stopped_or_replaced_meanwhile_ends(void **state)
{
    struct world w;
    (void)state;
    world_open(&w);
    w.fake.unpauses_held = 1;
    assert_true(wake(&w));
    ctr_service_retire(w.svc, 0);
    w.fake.unpauses_held = 0;
    wait_for(state_of(&w) == CTR_STOPPED);
    assert_int_equal(fake_status(&w.fake, STR("clc-a")), CTR_STATUS_EXITED);
    world_close(&w);
}

static void what_does_not_show_or_answer_waits_for_the_engine(void **state)
{
    struct world w;
    (void)state;
    world_open(&w);
    w.fake.never_up = true; /* the processes go on, but nobody takes a connection */
    w.fake.unpauses_held = 1;
    int probes = w.fake.probes;
    wake_begin(&w);
    wait_for(w.fake.probes > probes);
    assert_int_equal(state_of(&w), CTR_STARTING);
    pthread_mutex_lock(&w.fake.lock);
    w.fake.never_up = false;
    pthread_mutex_unlock(&w.fake.lock);
    w.fake.unpauses_held = 0;
    assert_true(wake_end(&w));
    fall_asleep(&w);

    /* Not frozen as far as the file tells, and a file that goes away. */
    for (int i = 0; i < 2; i++) {
        assert_int_equal(i == 0 ? pwrite(w.fake.freezer, "THAWED\n", 7, 0) : ftruncate(w.fake.freezer, 0), i == 0 ? 7 : 0);
        w.fake.unpauses_held = 1;
        int before = w.fake.unpauses;
        wake_begin(&w);
        wait_for(w.fake.unpauses == before + 1);
        fake_sleep(5);
        assert_int_equal(state_of(&w), CTR_STARTING);
        w.fake.unpauses_held = 0;
        assert_true(wake_end(&w));
        fall_asleep(&w);
    }
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_of_either_version),
        cmocka_unit_test(states_of_either_version),
        cmocka_unit_test(of_what_is_no_container_nothing_is_read),
        cmocka_unit_test(requests_pass_before_the_engine_has_answered),
        cmocka_unit_test(an_answer_that_is_no_leads_to_a_closer_look),
        cmocka_unit_test(what_happens_before_the_answer_counts),
        cmocka_unit_test(who_is_stopped_or_replaced_meanwhile_ends),
        cmocka_unit_test(what_does_not_show_or_answer_waits_for_the_engine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
