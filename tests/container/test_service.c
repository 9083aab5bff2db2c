/* tests/container/test_service.c: the life of a service over a fake engine and real loops.
 * SPDX-License-Identifier: Apache-2.0 */
#include "fake_engine.h"
#include "fs.h"
#include "http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mman.h>

#include <cmocka.h>
#include <uv.h>

enum { LOOPS = 2 };

struct world {
    struct fake fake;
    struct http_loops *loops;
    struct ctr_manager *m;
};

static atomic_int fetches, releases;

static bool fetch_source(void *arg, struct arena *a, struct str *dir, struct err *err)
{
    (void)arg, (void)a, (void)err;
    fetches++;
    *dir = STR("/src");
    return true;
}

static void release_source(void *arg)
{
    (void)arg;
    releases++;
}

static struct ctr_service_config config_of(const char *name)
{
    struct ctr_service_config c = {
        .app_id = STR("app_prd_1"),
        .source = {.fetch = fetch_source, .release = release_source},
        .build_file = STR("Containerfile"),
        .log_lines = 10,
    };
    c.run.name = str_from(name);
    c.run.image = STR("cli-1:abc");
    c.run.port = 8080;
    return c;
}

/* How often its container ends just after it has answered, before the start that asked is through. */
static struct ctr_service *dying;
static atomic_int deaths;

static void probe(const struct probe_ask *ask, struct probe_answer *out)
{
    fake_probe(ask, out);
    if (!out->is_up || atomic_fetch_sub(&deaths, 1) <= 0)
        return;
    fake_happen(fake_now, "clc-a", CTR_EVENT_DIED, 0);
    for (bool is_known = false; !is_known; fake_sleep(1)) {
        pthread_mutex_lock(&dying->m->lock);
        is_known = dying->died;
        pthread_mutex_unlock(&dying->m->lock);
    }
}

static void world_open_with(struct world *w, int build_wait_secs)
{
    static const struct ctr_hooks hooks = {.post = http_loop_post, .probe = probe, .freezer = fake_freezer};
    scoped_err err = {0};
    memset(w, 0, sizeof *w);
    fetches = releases = deaths = 0;
    pthread_mutex_init(&w->fake.lock, NULL);
    w->fake.seed = 1;
    fake_now = &w->fake;
    w->loops = http_loops_open(LOOPS, &err);
    assert_non_null(w->loops);
    struct ctr_manager_config c = {.home = STR("/home"), .loop_count = LOOPS, .max_concurrent_builds = 1,
                                   .max_build_wait_secs = build_wait_secs, .loops = w->loops};
    struct ctr_engine *e = ctr_engine_open_with(CTR_DOCKER, &fake_backend, &w->fake);
    assert_true(ctr_manager_open_with(&c, e, &hooks, &w->m, &err));
}

static void world_open(struct world *w)
{
    world_open_with(w, 120);
}

static void world_close(struct world *w)
{
    ctr_manager_close(w->m);
    http_loops_close(w->loops);
    pthread_mutex_destroy(&w->fake.lock);
}

static struct ctr_service *service(struct world *w, const char *name)
{
    struct ctr_service_config c = config_of(name);
    return ctr_service_get(w->m, &c);
}

/* With a service that is up. */
static struct ctr_service *world_open_ready(struct world *w)
{
    scoped_err err = {0};
    world_open(w);
    w->fake.has_image = true;
    struct ctr_service *svc = service(w, "clc-a");
    assert_true(ctr_service_start(svc, NULL, NULL, NULL, &err));
    return svc;
}

static enum ctr_state state_of(struct ctr_service *svc)
{
    scoped_arena a = {0};
    struct ctr_service_status s;
    ctr_service_status(svc, &a, &s);
    return s.state;
}

/* --- Waking from loops --- */

struct crowd {
    struct ctr_service *svc;
    int each;                    /* wakes per loop */
    int cancel_every;            /* cancel each n-th; 0 none */
    bool cancel_late;            /* from within the first callback, when the others are on their way */
    _Atomic int ok, failed, leaving;
    char detail[4000];           /* of the last failure */
    _Atomic int retry_ms;
    struct ctr_waiter *waiters[LOOPS][2000];
    int lane_of[LOOPS];
};
static struct crowd crowd;

struct call {
    int lane, i;
};
static struct call calls[LOOPS][2000];

static void on_awake(void *arg, const struct ctr_endpoint *at, const struct ctr_failure *why)
{
    struct call *c = arg;
    crowd.waiters[c->lane][c->i] = NULL;
    if (crowd.cancel_late && c->i == 0) {
        for (int i = 1; i < crowd.each; i += 2)
            ctr_waiter_cancel(crowd.waiters[c->lane][i]);
    }
    if (at) {
        assert_true(at->ip != 0 && at->port == 8080);
        ctr_service_leave(crowd.svc, c->lane);
        atomic_fetch_add(&crowd.ok, 1);
    } else {
        if (c->lane == 0)
            snprintf(crowd.detail, sizeof crowd.detail, "%s", why->detail);
        atomic_store(&crowd.retry_ms, why->retry_after_ms);
        atomic_fetch_add(&crowd.failed, 1);
    }
}

static void crowd_on_loop(struct http_loop *loop, void *arg)
{
    (void)arg;
    int lane = (int)http_loop_index(loop);
    for (int i = 0; i < crowd.each; i++) {
        calls[lane][i] = (struct call){lane, i};
        crowd.waiters[lane][i] = ctr_service_wake(crowd.svc, loop, lane, on_awake, &calls[lane][i]);
    }
    for (int i = 0; crowd.cancel_every && i < crowd.each; i += crowd.cancel_every) {
        ctr_waiter_cancel(crowd.waiters[lane][i]);
        atomic_fetch_add(&crowd.leaving, 1);
    }
}

static void crowd_wake(struct world *w, struct ctr_service *svc, int each)
{
    crowd = (struct crowd){.svc = svc, .each = each};
    http_loops_run(w->loops, crowd_on_loop, NULL);
}

static void a_thousand_waiters_share_one_start(void **state)
{
    struct world w;
    world_open(&w);
    w.fake.slow_ms = 3;
    w.fake.build_ms = 20;
    w.fake.probes_until_up = 5;
    struct ctr_service *svc = service(&w, "clc-a");
    crowd_wake(&w, svc, 1000);
    wait_for(crowd.ok == 2000);
    assert_int_equal(w.fake.builds, 1);
    assert_int_equal(w.fake.runs, 1);
    assert_int_equal(w.fake.starts, 0);
    assert_int_equal(fetches, 1);
    assert_int_equal(state_of(svc), CTR_READY);
    struct ctr_endpoint at;
    assert_true(ctr_service_enter(svc, 0, &at));
    assert_int_equal(at.ip, 0x0A000001u);
    ctr_service_leave(svc, 0);
    ctr_service_unref(svc);
    assert_int_equal(releases, 1);
    world_close(&w);
}

static void a_failure_is_shared_and_kept_for_a_while(void **state)
{
    struct world w;
    world_open(&w);
    w.fake.has_image = true;
    w.fake.exits_at_once = true;
    struct ctr_service *svc = service(&w, "clc-a");
    crowd_wake(&w, svc, 100);
    wait_for(crowd.failed == 200);
    assert_int_equal(w.fake.runs, 1);
    assert_non_null(strstr(crowd.detail, "exited with code 3"));
    assert_non_null(strstr(crowd.detail, "Phases: "));
    assert_non_null(strstr(crowd.detail, "no module named app"));
    assert_int_equal(state_of(svc), CTR_FAILED);
    /* Within the back-off: the same failure at once, nothing asked of the engine. */
    crowd_wake(&w, svc, 10);
    wait_for(crowd.failed == 20);
    assert_true(crowd.retry_ms > 0 && crowd.retry_ms <= SVC_BACKOFF_MIN_MS);
    assert_int_equal(w.fake.runs + w.fake.starts, 1);
    /* A deploy does not wait for it. */
    scoped_err err = {0};
    pthread_mutex_lock(&w.fake.lock);
    w.fake.exits_at_once = false;
    pthread_mutex_unlock(&w.fake.lock);
    assert_true(ctr_service_start(svc, NULL, NULL, NULL, &err));
    assert_int_equal(state_of(svc), CTR_READY);
    ctr_service_unref(svc);
    world_close(&w);
}

static void waiters_may_leave_before_and_while_being_told(void **state)
{
    struct world w;
    world_open(&w);
    w.fake.has_image = true;
    w.fake.probes_until_up = 20;
    struct ctr_service *svc = service(&w, "clc-a");
    crowd = (struct crowd){.svc = svc, .each = 300, .cancel_every = 3};
    http_loops_run(w.loops, crowd_on_loop, NULL);
    wait_for(crowd.ok == 2 * 200);
    scoped_err err = {0};
    assert_true(ctr_service_stop(svc, 0, &err));
    crowd = (struct crowd){.svc = svc, .each = 300, .cancel_late = true};
    http_loops_run(w.loops, crowd_on_loop, NULL);
    wait_for(crowd.ok == 2 * 150);
    wait_for(state_of(svc) == CTR_READY);
    scoped_arena a = {0};
    struct ctr_service_status s;
    wait_for((ctr_service_status(svc, &a, &s), s.in_flight == 0));   /* cancelled late ones have been let out */
    assert_int_equal(w.fake.runs + w.fake.starts, 2);
    ctr_service_unref(svc);
    world_close(&w);
}

/* --- Control --- */

struct lines {
    int n;
    bool saw_build, saw_ready, saw_wait;
};
static void on_line(void *arg, struct str line)
{
    struct lines *l = arg;
    l->n++;
    l->saw_build = l->saw_build || str_find(line, STR("FROM fake")) != STR_NPOS;
    l->saw_wait = l->saw_wait || str_starts(line, STR("==> waiting for the build"));
    l->saw_ready = l->saw_ready || str_starts(line, STR("ready after"));
}

static void a_deploy_sees_the_build_as_it_goes(void **state)
{
    struct world w;
    scoped_err err = {0};
    struct lines l = {0};
    world_open(&w);
    struct ctr_service *svc = service(&w, "clc-a");
    assert_true(ctr_service_start(svc, on_line, &l, NULL, &err));
    assert_true(l.saw_build && l.saw_ready && !l.saw_wait);
    ctr_service_unref(svc);
    world_close(&w);
}

static void a_build_failure_reaches_the_deploy_with_its_output(void **state)
{
    struct world w;
    scoped_err err = {0};
    world_open(&w);
    w.fake.build_fails = true;
    struct ctr_service *svc = service(&w, "clc-a");
    assert_false(ctr_service_start(svc, NULL, NULL, NULL, &err));
    assert_non_null(strstr(err_msg(&err), "no such file"));
    ctr_service_unref(svc);
    world_close(&w);
}

static void a_cancelled_deploy_ends_its_build(void **state)
{
    struct world w;
    scoped_err err = {0};
    atomic_bool cancel = true;
    world_open(&w);
    w.fake.build_ms = 60000;
    struct ctr_service *svc = service(&w, "clc-a");
    assert_false(ctr_service_start(svc, NULL, NULL, &cancel, &err));
    assert_int_equal(err.code, ERR_CANCELLED);
    wait_for(state_of(svc) == CTR_UNKNOWN);
    assert_int_equal(w.fake.runs, 0);
    ctr_service_unref(svc);
    world_close(&w);
}

struct sync_start {
    struct ctr_service *svc;
    bool ok;
    pthread_t thread;
};
static void *sync_start(void *arg)
{
    struct sync_start *s = arg;
    scoped_err err = {0};
    s->ok = ctr_service_start(s->svc, NULL, NULL, NULL, &err);
    return NULL;
}

static void services_with_one_image_build_it_once(void **state)
{
    struct world w;
    struct sync_start s[4];
    static const char *const names[] = {"clc-a", "clc-b", "clc-c", "clc-d"};
    world_open(&w);
    w.fake.build_ms = 30;
    for (size_t i = 0; i < ARRAY_LEN(s); i++) {
        s[i].svc = service(&w, names[i]);
        pthread_create(&s[i].thread, NULL, sync_start, &s[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(s); i++) {
        pthread_join(s[i].thread, NULL);
        assert_true(s[i].ok);
        ctr_service_unref(s[i].svc);
    }
    assert_int_equal(w.fake.builds, 1);
    assert_int_equal(w.fake.runs, 4);
    world_close(&w);
}

static void builds_of_different_images_wait_for_their_turn(void **state)
{
    struct world w;
    struct sync_start s[3];
    static const char *const images[] = {"cli-1:a", "cli-1:b", "cli-1:c"}, *const names[] = {"clc-a", "clc-b", "clc-c"};
    world_open(&w);
    w.fake.build_ms = 15;
    for (size_t i = 0; i < ARRAY_LEN(s); i++) {
        struct ctr_service_config c = config_of(names[i]);
        c.run.image = str_from(images[i]);
        s[i].svc = ctr_service_get(w.m, &c);
        pthread_create(&s[i].thread, NULL, sync_start, &s[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(s); i++) {
        pthread_join(s[i].thread, NULL);
        assert_true(s[i].ok);
        ctr_service_unref(s[i].svc);
    }
    assert_int_equal(w.fake.max_building, 1);
    world_close(&w);
}

/* A deploy of an image, and whether it has said what it is to say. */
struct told_start {
    struct ctr_service *svc;
    const char *phase;
    atomic_bool is_told, cancel;
    struct err err;
    pthread_t thread;
};
static void on_told_line(void *arg, struct str line)
{
    struct told_start *s = arg;
    if (str_eq_z(line, s->phase))
        atomic_store(&s->is_told, true);
}
static void *told_start(void *arg)
{
    struct told_start *s = arg;
    ctr_service_start(s->svc, on_told_line, s, &s->cancel, &s->err);
    return NULL;
}
static void told_start_begin(struct told_start *s, struct world *w, const char *name, const char *image, const char *phase)
{
    struct ctr_service_config c = config_of(name);
    c.run.image = str_from(image);
    *s = (struct told_start){.svc = ctr_service_get(w->m, &c), .phase = phase};
    pthread_create(&s->thread, NULL, told_start, s);
}

static void a_deploy_says_whose_build_it_waits_for(void **state)
{
    struct world w;
    struct told_start s[3];
    world_open(&w);
    w.fake.build_ms = 600 * 1000;
    told_start_begin(&s[0], &w, "clc-a", "cli-1:a", "==> building the image");
    wait_for(atomic_load(&s[0].is_told));
    told_start_begin(&s[1], &w, "clc-b", "cli-1:a", "==> waiting for the build");
    told_start_begin(&s[2], &w, "clc-c", "cli-1:c", "==> waiting for other builds");
    wait_for(atomic_load(&s[1].is_told) && atomic_load(&s[2].is_told));
    for (size_t i = ARRAY_LEN(s); i-- > 0;) {
        atomic_store(&s[i].cancel, true);
        pthread_join(s[i].thread, NULL);
        assert_int_equal(s[i].err.code, ERR_CANCELLED);
        err_release(&s[i].err);
        ctr_service_unref(s[i].svc);
    }
    world_close(&w);
}

static void a_build_that_waits_too_long_for_its_turn_says_what_to_do(void **state)
{
    struct world w;
    struct told_start s[2];
    world_open_with(&w, 0);
    w.fake.build_ms = 600 * 1000;
    told_start_begin(&s[0], &w, "clc-a", "cli-1:a", "==> building the image");
    wait_for(atomic_load(&s[0].is_told));
    told_start_begin(&s[1], &w, "clc-b", "cli-1:b", "==> waiting for other builds");
    pthread_join(s[1].thread, NULL);
    if (!strstr(err_msg(&s[1].err), "error acquiring build lock: image cli-1:b has waited 0 s for its turn, and 1 other build is "
                                    "still going on; try again later, or raise system.max_build_wait_secs (0) or "
                                    "system.max_concurrent_builds (1) and restart the server"))
        fail_msg("%s", err_msg(&s[1].err));
    atomic_store(&s[0].cancel, true);
    pthread_join(s[0].thread, NULL);
    for (size_t i = 0; i < ARRAY_LEN(s); i++) {
        err_release(&s[i].err);
        ctr_service_unref(s[i].svc);
    }
    world_close(&w);
}

static void a_running_container_is_adopted_and_a_stopped_one_started(void **state)
{
    struct world w;
    scoped_err err = {0};
    struct ctr_service *svc = world_open_ready(&w);
    ctr_service_unref(svc);                       /* as a server that ends: the container runs on */
    assert_int_equal(fake_status(&w.fake, STR("clc-a")), CTR_STATUS_RUNNING);
    svc = service(&w, "clc-a");
    assert_int_equal(state_of(svc), CTR_UNKNOWN);
    assert_true(ctr_service_start(svc, NULL, NULL, NULL, &err));
    assert_int_equal(w.fake.runs, 1);
    assert_int_equal(w.fake.starts, 0);
    assert_true(ctr_service_stop(svc, 0, &err));
    assert_int_equal(state_of(svc), CTR_STOPPED);
    assert_true(ctr_service_start(svc, NULL, NULL, NULL, &err));
    assert_int_equal(w.fake.runs, 1);
    assert_int_equal(w.fake.starts, 1);
    ctr_service_unref(svc);
    world_close(&w);
}

static void one_that_ends_as_it_is_adopted_is_started(void **state)
{
    struct world w;
    scoped_err err = {0};
    struct ctr_service *svc = world_open_ready(&w);
    ctr_service_unref(svc);
    w.fake.list[0].dies_in_probes = 1;
    svc = service(&w, "clc-a");
    assert_true(ctr_service_start(svc, NULL, NULL, NULL, &err));
    assert_int_equal(w.fake.runs, 1);
    assert_int_equal(w.fake.starts, 1);
    /* What we have started and does not come up is started once. */
    assert_true(ctr_service_stop(svc, 0, &err));
    w.fake.list[0].dies_in_probes = 1;
    assert_false(ctr_service_start(svc, NULL, NULL, NULL, &err));
    assert_int_equal(w.fake.starts, 2);
    ctr_service_unref(svc);
    world_close(&w);
}

static void a_container_is_not_started_over_a_link(void **state)
{
    struct world w;
    scoped_arena a = {0};
    scoped_err err = {0}, why = {0}, gone = {0};
    struct str top, real;
    struct ctr_service_config c = config_of("clc-a");
    assert_true(fs_temp_dir(&a, STR("ctr-test-"), &top, &err) && fs_real_path(&a, top, &real, &err));
    struct ctr_mount mount = {.source = path_join(&a, real, STR("data")), .target = STR("/data"), .is_bind = true};
    assert_true(fs_mkdir_p(mount.source, 0700, &err));
    c.run.mounts = &mount;
    c.run.n_mounts = 1;
    world_open(&w);
    w.fake.has_image = true;
    struct ctr_service *svc = ctr_service_get(w.m, &c);
    for (int i = 0; i < 2; i++) {
        assert_true(ctr_service_start(svc, NULL, NULL, NULL, &err));
        assert_true(ctr_service_stop(svc, 0, &err));
    }
    int starts = w.fake.starts, runs = w.fake.runs;
    assert_int_equal(rmdir(str_z(&a, mount.source)), 0);
    assert_false(ctr_service_start(svc, NULL, NULL, NULL, &gone));
    assert_non_null(strstr(err_msg(&gone), "mounts at /data is no longer there"));
    assert_int_equal(symlink("/", str_z(&a, mount.source)), 0);
    assert_false(ctr_service_start(svc, NULL, NULL, NULL, &why));
    assert_non_null(strstr(err_msg(&why), "mounts at /data has been replaced by a link"));
    assert_true(w.fake.starts == starts && w.fake.runs == runs && str_is_empty(str_from(w.fake.removed)));
    ctr_service_unref(svc);
    world_close(&w);
    assert_true(fs_remove_tree(top, &err));
}

static void a_stop_waits_for_requests_in_flight(void **state)
{
    struct world w;
    struct ctr_endpoint at;
    struct ctr_service *svc = world_open_ready(&w);
    assert_true(ctr_service_enter(svc, 0, &at));
    ctr_service_retire(svc, 60);
    wait_for(ctr_service_enter(svc, 1, &at));     /* a late one is still served; while the door is tried it is told to ask */
    ctr_service_leave(svc, 1);
    fake_sleep(30);
    assert_int_equal(state_of(svc), CTR_READY);
    ctr_service_leave(svc, 0);
    wait_for(state_of(svc) == CTR_STOPPED);
    assert_int_equal(w.fake.stops, 1);
    /* Replaced: nobody starts it again, until its version comes back. */
    crowd_wake(&w, svc, 1);
    wait_for(crowd.failed == 2);
    assert_non_null(strstr(crowd.detail, "replaced"));
    struct ctr_service *again = service(&w, "clc-a");
    assert_ptr_equal(again, svc);
    crowd_wake(&w, svc, 1);
    wait_for(crowd.ok == 2);
    ctr_service_unref(again);
    ctr_service_unref(svc);
    world_close(&w);
}

static void a_drain_has_an_end(void **state)
{
    struct world w;
    scoped_err err = {0};
    struct ctr_endpoint at;
    struct ctr_service *svc = world_open_ready(&w);
    assert_true(ctr_service_enter(svc, 0, &at));
    ctr_service_tunnel(svc, 0);
    assert_true(ctr_service_stop(svc, 0, &err));
    assert_int_equal(state_of(svc), CTR_STOPPED);
    ctr_service_leave_tunnel(svc, 0);
    ctr_service_unref(svc);
    world_close(&w);
}

static void a_crash_that_the_proxy_notices_is_repaired_at_once(void **state)
{
    struct world w;
    struct ctr_endpoint at;
    struct ctr_service *svc = world_open_ready(&w);
    fake_sleep(SVC_SUSPECT_PAUSE_MS + 20);
    assert_true(ctr_service_enter(svc, 0, &at));
    ctr_service_leave(svc, 0);
    /* A false alarm: the container is fine. */
    ctr_service_suspect(svc, at.generation);
    crowd_wake(&w, svc, 50);
    wait_for(crowd.ok == 100);
    assert_int_equal(w.fake.runs + w.fake.starts, 1);
    /* An old suspicion is none. */
    ctr_service_suspect(svc, at.generation);
    assert_int_equal(state_of(svc), CTR_READY);
    /* A real one. */
    fake_sleep(SVC_SUSPECT_PAUSE_MS + 20);
    fake_set_status(&w.fake, STR("clc-a"), CTR_STATUS_EXITED);
    assert_true(ctr_service_enter(svc, 0, &at));
    ctr_service_leave(svc, 0);
    ctr_service_suspect(svc, at.generation);
    ctr_service_suspect(svc, at.generation);
    crowd_wake(&w, svc, 50);
    wait_for(crowd.ok == 100);
    assert_int_equal(w.fake.starts, 1);
    ctr_service_unref(svc);
    world_close(&w);
}

static void a_crash_loop_ends_in_a_failure(void **state)
{
    struct world w;
    struct ctr_endpoint at;
    struct ctr_service *svc = world_open_ready(&w);
    for (int i = 0; i < SVC_CRASHES; i++) {
        fake_sleep(SVC_SUSPECT_PAUSE_MS + 20);
        wait_for(ctr_service_enter(svc, 0, &at));
        ctr_service_leave(svc, 0);
        fake_set_status(&w.fake, STR("clc-a"), CTR_STATUS_EXITED);
        ctr_service_suspect(svc, at.generation);
        wait_for(state_of(svc) == CTR_READY || state_of(svc) == CTR_FAILED);
    }
    assert_int_equal(state_of(svc), CTR_FAILED);
    assert_int_equal(w.fake.starts, SVC_CRASHES - 1);
    crowd_wake(&w, svc, 1);
    wait_for(crowd.failed == 2);
    assert_non_null(strstr(crowd.detail, "3 times in a row"));
    ctr_service_unref(svc);
    world_close(&w);
}

static void an_engine_that_is_gone_says_so_and_recovers(void **state)
{
    struct world w;
    scoped_err err = {0};
    world_open(&w);
    w.fake.has_image = true;
    w.fake.is_dead = true;
    struct ctr_service *svc = service(&w, "clc-a");
    assert_false(ctr_service_start(svc, NULL, NULL, NULL, &err));
    assert_non_null(strstr(err_msg(&err), "does not answer"));
    pthread_mutex_lock(&w.fake.lock);
    w.fake.is_dead = false;
    pthread_mutex_unlock(&w.fake.lock);
    err_release(&err);
    assert_true(ctr_service_start(svc, NULL, NULL, NULL, &err));
    ctr_service_unref(svc);
    world_close(&w);
}

static void ending_an_app_stops_all_of_its_containers_but_one(void **state)
{
    struct world w;
    scoped_err err = {0};
    world_open(&w);
    w.fake.has_image = true;
    struct ctr_service *old = service(&w, "clc-old"), *new = service(&w, "clc-new");
    struct ctr_service *unloaded = service(&w, "clc-unloaded");
    assert_true(ctr_service_start(old, NULL, NULL, NULL, &err) && ctr_service_start(new, NULL, NULL, NULL, &err) &&
                ctr_service_start(unloaded, NULL, NULL, NULL, &err));
    ctr_service_unref(unloaded);
    assert_true(ctr_manager_end_app(w.m, STR("app_prd_1"), STR("clc-new"), false, 5, &err));
    assert_int_equal(state_of(old), CTR_STOPPED);
    assert_int_equal(state_of(new), CTR_READY);
    assert_int_equal(fake_status(&w.fake, STR("clc-old")), CTR_STATUS_EXITED);
    assert_int_equal(fake_status(&w.fake, STR("clc-unloaded")), CTR_STATUS_EXITED);
    assert_true(ctr_manager_end_app(w.m, STR("app_prd_1"), (struct str){0}, true, 5, &err));
    assert_int_equal(w.fake.count, 0);
    ctr_service_unref(old);
    ctr_service_unref(new);
    world_close(&w);
}

/* --- Idle --- */

static void idle_set(struct ctr_service *svc, int64_t ms, int64_t bytes)
{
    pthread_mutex_lock(&svc->m->lock);
    svc->tune.idle_ms = ms;
    svc->tune.idle_bytes = bytes;
    svc_due(svc, clock_ms());
    pthread_mutex_unlock(&svc->m->lock);
}

/* As the timer would at that time. */
static enum ctr_state tick_at(struct ctr_service *svc, int64_t now)
{
    pthread_mutex_lock(&svc->m->lock);
    svc_tick(svc, now);
    pthread_mutex_unlock(&svc->m->lock);
    return state_of(svc);
}

static void an_idle_container_is_stopped_but_not_a_used_one(void **state)
{
    struct world w;
    struct ctr_endpoint at;
    struct ctr_service *svc = world_open_ready(&w);
    idle_set(svc, 600000, 1000);
    int64_t now = clock_ms();
    assert_int_equal(tick_at(svc, now + 599000), CTR_READY);   /* not idle for long enough */
    assert_true(ctr_service_enter(svc, 0, &at));
    assert_int_equal(tick_at(svc, now + 700000), CTR_READY);   /* one in flight */
    ctr_service_tunnel(svc, 0);
    ctr_service_moved(svc, 0, 2000);
    assert_int_equal(tick_at(svc, now + 750000), CTR_READY);   /* a busy tunnel */
    for (int64_t t = 800000; t < 5000000 && tick_at(svc, now + t) == CTR_READY; t += 50000)
        continue;
    wait_for(state_of(svc) == CTR_STOPPED);                    /* a quiet one does not count */
    ctr_service_leave_tunnel(svc, 0);
    assert_int_equal(w.fake.stops, 1);
    crowd_wake(&w, svc, 1);
    wait_for(crowd.ok == 2);
    ctr_service_unref(svc);
    world_close(&w);
}

/* Ends, and is started again. */
static void crash_once(struct world *w, struct ctr_service *svc)
{
    struct ctr_endpoint at;
    fake_sleep(SVC_SUSPECT_PAUSE_MS + 20);
    wait_for(ctr_service_enter(svc, 0, &at));
    ctr_service_leave(svc, 0);
    fake_set_status(&w->fake, STR("clc-a"), CTR_STATUS_EXITED);
    ctr_service_suspect(svc, at.generation);
    wait_for((state_of(svc) == CTR_READY && svc->at.generation != at.generation) || state_of(svc) == CTR_FAILED);
}

static void crashes_with_a_sleep_between_them_are_not_in_a_row(void **state)
{
    struct world w;
    struct ctr_service *svc = world_open_ready(&w);
    for (int i = 0; i < SVC_CRASHES - 1; i++)
        crash_once(&w, svc);
    assert_int_equal(state_of(svc), CTR_READY);
    idle_set(svc, 600000, 1000);
    int64_t now = clock_ms();
    for (int64_t t = 600000; t < 5000000 && tick_at(svc, now + t) == CTR_READY; t += 50000)
        continue;
    wait_for(state_of(svc) == CTR_STOPPED);
    crowd_wake(&w, svc, 1);
    wait_for(crowd.ok == 2);
    crash_once(&w, svc);
    assert_int_equal(state_of(svc), CTR_READY);
    ctr_service_unref(svc);
    world_close(&w);
}

/* Requests at random moments against a container that is stopped after 2 ms without any: none may be inside
 * when the engine is told to stop, and each must find the container running. */
enum { RACE_CLIENTS = 8, RACE_REQUESTS = 250 };

struct racer {
    struct world *w;
    struct ctr_service *svc;
    struct http_loop *loop;
    uv_timer_t timer;            /* to the millisecond, unlike http_timer */
    int lane, left;
    unsigned seed;
    bool is_inside;
};
static _Atomic int racers_done, wrong_status, failed_wakes;

static void race_step(struct racer *r);

static unsigned race_random(struct racer *r, unsigned below)
{
    r->seed = r->seed * 1664525u + 1013904223u;
    return (r->seed >> 16) % below;
}

static void on_race_timer(uv_timer_t *t)
{
    race_step(t->data);
}

static void race_inside(struct racer *r)
{
    atomic_fetch_add(&r->w->fake.inside, 1);
    if (fake_status(&r->w->fake, STR("clc-a")) != CTR_STATUS_RUNNING)
        atomic_fetch_add(&wrong_status, 1);
    r->is_inside = true;
    uv_timer_start(&r->timer, on_race_timer, race_random(r, 3), 0);
}

static void on_race_awake(void *arg, const struct ctr_endpoint *at, const struct ctr_failure *why)
{
    struct racer *r = arg;
    (void)why;
    if (at) {
        race_inside(r);
        return;
    }
    atomic_fetch_add(&failed_wakes, 1);
    uv_timer_start(&r->timer, on_race_timer, 1, 0);
}

static void race_step(struct racer *r)
{
    struct ctr_endpoint at;
    if (r->is_inside) {
        r->is_inside = false;
        atomic_fetch_sub(&r->w->fake.inside, 1);
        ctr_service_leave(r->svc, r->lane);
        if (--r->left == 0) {
            uv_close((uv_handle_t *)&r->timer, NULL);
            atomic_fetch_add(&racers_done, 1);
            return;
        }
        uv_timer_start(&r->timer, on_race_timer, race_random(r, 12), 0);
    } else if (ctr_service_enter(r->svc, r->lane, &at)) {
        race_inside(r);
    } else {
        ctr_service_wake(r->svc, r->loop, r->lane, on_race_awake, r);
    }
}

static void race_begin(struct http_loop *loop, void *arg)
{
    struct racer *racers = arg;
    for (int i = 0; i < RACE_CLIENTS; i++) {
        struct racer *r = &racers[(int)http_loop_index(loop) * RACE_CLIENTS + i];
        r->loop = loop;
        r->lane = (int)http_loop_index(loop);
        uv_timer_init(http_loop_uv(loop), &r->timer);
        r->timer.data = r;
        race_step(r);
    }
}

static bool wake_ok(struct ctr_service *svc)
{
    scoped_err err = {0};
    return ctr_service_start(svc, NULL, NULL, NULL, &err);
}

static void race(bool pauses, int freezer)
{
    struct world w;
    static struct racer racers[LOOPS * RACE_CLIENTS];
    world_open(&w);
    w.fake.has_image = true;
    w.fake.slow_ms = 2;
    w.fake.guard_stops = true;
    w.fake.freezer = freezer;
    w.fake.unpause_fails_one_in = freezer > 0 ? 8 : 0;
    struct ctr_service *svc = service(&w, "clc-a");
    idle_set(svc, 2, 1000);
    pthread_mutex_lock(&w.m->lock);
    svc->tune.pauses = pauses;
    svc->tune.idle_stop_ms = 10;
    pthread_mutex_unlock(&w.m->lock);
    racers_done = wrong_status = failed_wakes = 0;
    memset(racers, 0, sizeof racers);
    for (int i = 0; i < LOOPS * RACE_CLIENTS; i++)
        racers[i] = (struct racer){.w = &w, .svc = svc, .left = RACE_REQUESTS, .seed = (unsigned)i * 7919u + 1};
    http_loops_run(w.loops, race_begin, racers);
    wait_for(racers_done == LOOPS * RACE_CLIENTS);
    assert_int_equal(wrong_status, 0);
    assert_int_equal(failed_wakes, 0);
    assert_int_equal(w.fake.stopped_with_inside, 0);
    /* To stop what is paused this engine lets it go on first, which may be one that fails. */
    wait_for(state_of(svc) == CTR_STOPPED || (freezer > 0 && state_of(svc) == CTR_UNKNOWN));
    print_message("%d requests, %d stops, %d pauses\n", LOOPS * RACE_CLIENTS * RACE_REQUESTS, w.fake.stops, w.fake.pauses);
    assert_true(pauses ? w.fake.pauses > 1 && w.fake.unpauses > 0 : w.fake.stops > 1);
    ctr_service_unref(svc);
    world_close(&w);
}

static void a_request_never_gets_a_container_that_is_being_stopped(void **state)
{
    (void)state;
    race(false, 0);
}

static void a_request_never_gets_a_container_that_is_being_paused(void **state)
{
    (void)state;
    race(true, 0);
}

/* It is let in before the engine has answered, which says no one time in eight although the container went on. */
static void a_request_never_gets_a_container_that_is_frozen(void **state)
{
    (void)state;
    scoped_fd int freezer = memfd_create("freezer", MFD_CLOEXEC);
    race(true, freezer);
}

static struct ctr_service *pausing(struct world *w, const char *name, int idle_stop_secs)
{
    struct ctr_service_config c = config_of(name);
    c.pauses = true;
    c.idle_stop_secs = idle_stop_secs;
    c.idle_secs = 600;
    return ctr_service_get(w->m, &c);
}

static void fall_asleep(struct ctr_service *svc)
{
    assert_true(state_of(svc) == CTR_READY);
    tick_at(svc, clock_ms() + 700000);
    wait_for(state_of(svc) == CTR_PAUSED);
}

static void an_idle_container_is_paused_and_goes_on_with_one_call(void **state)
{
    struct world w;
    (void)state;
    world_open(&w);
    w.fake.has_image = true;
    struct ctr_service *svc = pausing(&w, "clc-a", 1800);
    assert_true(wake_ok(svc));
    fall_asleep(svc);
    assert_int_equal(fake_status(&w.fake, STR("clc-a")), CTR_STATUS_PAUSED);
    int looks = w.fake.inspects;
    crowd_wake(&w, svc, 100);
    wait_for(crowd.ok == LOOPS * 100);
    assert_int_equal(w.fake.unpauses, 1);
    assert_int_equal(w.fake.inspects, looks);
    assert_int_equal(w.fake.starts + w.fake.stops, 0);
    ctr_service_unref(svc);
    world_close(&w);
}

static void a_paused_container_is_stopped_after_a_while_or_by_a_deploy(void **state)
{
    struct world w;
    scoped_err err = {0};
    (void)state;
    world_open(&w);
    w.fake.has_image = true;
    struct ctr_service *svc = pausing(&w, "clc-a", 1800);
    assert_true(wake_ok(svc));
    fall_asleep(svc);
    assert_int_equal(tick_at(svc, clock_ms() + 1799000), CTR_PAUSED);
    tick_at(svc, clock_ms() + 1801000);
    wait_for(state_of(svc) == CTR_STOPPED);
    assert_int_equal(fake_status(&w.fake, STR("clc-a")), CTR_STATUS_EXITED);
    assert_true(wake_ok(svc));
    fall_asleep(svc);
    assert_true(ctr_service_stop(svc, 0, &err));
    assert_int_equal(fake_status(&w.fake, STR("clc-a")), CTR_STATUS_EXITED);
    assert_true(wake_ok(svc));
    fall_asleep(svc);
    ctr_service_retire(svc, 10);
    wait_for(state_of(svc) == CTR_STOPPED);
    ctr_service_unref(svc);
    world_close(&w);
}

static void paused_containers_have_a_ceiling_for_their_memory(void **state)
{
    static const char *const names[] = {"clc-a", "clc-b", "clc-c"};
    struct world w;
    struct ctr_service *svc[3];
    struct ctr_endpoint at;
    (void)state;
    world_open(&w);
    w.fake.has_image = true;
    w.m->paused_max = 250 << 20; /* two of 100 MiB */
    for (size_t i = 0; i < 3; i++) {
        svc[i] = pausing(&w, names[i], 0);
        assert_true(wake_ok(svc[i]));
        fake_sleep(2);
    }
    fake_sleep(20); /* beyond the resolution of the coarse clock */
    assert_true(ctr_service_enter(svc[0], 0, &at)); /* used after b */
    ctr_service_leave(svc[0], 0);
    for (size_t i = 0; i < 3; i++)
        tick_at(svc[i], clock_ms() + 700000);
    wait_for(state_of(svc[1]) == CTR_STOPPED);
    wait_for(state_of(svc[0]) == CTR_PAUSED && state_of(svc[2]) == CTR_PAUSED);
    for (size_t i = 0; i < 3; i++)
        ctr_service_unref(svc[i]);
    world_close(&w);
}

static void what_others_do_to_a_paused_container_shows_too(void **state)
{
    struct world w;
    (void)state;
    world_open(&w);
    w.fake.has_image = true;
    struct ctr_service *svc = pausing(&w, "clc-a", 1800);
    assert_true(wake_ok(svc));
    wait_for(w.fake.streams == 1);
    fall_asleep(svc);
    fake_happen(&w.fake, "clc-a", CTR_EVENT_UNPAUSED, 0);
    wait_for(state_of(svc) == CTR_READY);
    fall_asleep(svc);
    fake_happen(&w.fake, "clc-a", CTR_EVENT_REMOVED, 0);
    wait_for(state_of(svc) == CTR_UNKNOWN);
    assert_true(wake_ok(svc));
    assert_int_equal(w.fake.runs, 2);
    ctr_service_unref(svc);
    world_close(&w);
}

static void what_cannot_be_paused_is_stopped(void **state)
{
    struct world w;
    (void)state;
    world_open(&w);
    w.fake.has_image = true;
    struct ctr_service *svc = pausing(&w, "clc-a", 1800);
    assert_true(wake_ok(svc));
    fake_set_status(&w.fake, STR("clc-a"), CTR_STATUS_RESTARTING);
    tick_at(svc, clock_ms() + 700000);
    wait_for(state_of(svc) == CTR_STOPPED);
    ctr_service_unref(svc);
    world_close(&w);
}

static void add_container(struct fake *f, const char *name, const char *app, const char *created, enum ctr_status status,
                          const char *image, const char *home)
{
    int i = f->count++;
    snprintf(f->list[i].name, sizeof f->list[i].name, "%s", name);
    f->list[i].app = app;
    f->list[i].created = created;
    f->list[i].status = status;
    f->list[i].image = image;
    f->list[i].home = home;
}

static struct ctr_kv home_label = {STR_INIT(CTR_LABEL_IMAGE_HOME), STR_INIT("/home")};
static struct ctr_kv other_label = {STR_INIT(CTR_LABEL_IMAGE_HOME), STR_INIT("/other")};

static void add_image(struct fake *f, const char *name, int64_t created, bool is_ours)
{
    f->images[f->image_count++] = (struct ctr_image){
        .name = str_from(name),
        .id = str_from(name),
        .created_ns = created,
        .bytes = 1000,
        .labels = {is_ours ? &home_label : &other_label, 1, 1},
    };
}

static void a_retired_container_is_stopped_though_nobody_holds_its_service(void **state)
{
    struct world w;
    (void)state;
    world_open(&w);
    w.fake.has_image = true;
    for (int i = 0; i < 50; i++) {
        struct ctr_service *svc = service(&w, "clc-a");
        assert_true(wake_ok(svc));
        ctr_service_retire(svc, 60);
        ctr_service_unref(svc);
        wait_for(fake_status(&w.fake, STR("clc-a")) == CTR_STATUS_EXITED);
    }
    world_close(&w);
}

static void only_what_is_superseded_and_ours_is_pruned(void **state)
{
    struct world w;
    scoped_arena a = {0};
    scoped_err err = {0};
    struct ctr_prune_list list;
    (void)state;
    world_open(&w);
    w.fake.has_image = true;
    struct ctr_service *svc = service(&w, "clc-a-loaded");
    struct fake *f = &w.fake;
    pthread_mutex_lock(&f->lock);
    add_container(f, "clc-a-5", "app_prd_a", "2026-05-01", CTR_STATUS_EXITED, "cli-a:5", NULL);
    add_container(f, "clc-a-1", "app_prd_a", "2026-01-01", CTR_STATUS_EXITED, "cli-a:1", NULL);
    add_container(f, "clc-a-2", "app_prd_a", "2026-02-01", CTR_STATUS_RUNNING, "localhost/cli-a:2", NULL);
    add_container(f, "clc-a-3", "app_prd_a", "2026-03-01", CTR_STATUS_PAUSED, "cli-a:3", NULL);
    add_container(f, "clc-a-loaded", "app_prd_a", "2025-01-01", CTR_STATUS_EXITED, "cli-a:0", NULL);
    add_container(f, "clc-a-4", "app_prd_a", "2026-04-01", CTR_STATUS_EXITED, "cli-a:4", NULL);
    add_container(f, "clc-b-1", "app_prd_b", "2020-01-01", CTR_STATUS_EXITED, "cli-b:1", NULL);
    add_container(f, "clc-a-other", "app_prd_a", "2019-01-01", CTR_STATUS_EXITED, "cli-a:o", "/other");
    add_container(f, "postgres", "app_prd_a", "2018-01-01", CTR_STATUS_EXITED, "postgres", NULL);
    add_container(f, "clc-nobody", NULL, "2017-01-01", CTR_STATUS_EXITED, "x", NULL);
    add_image(f, "cli-a:5", 5, true);
    add_image(f, "cli-a:4", 4, true);
    add_image(f, "localhost/cli-a:1", 1, true);  /* of the container that goes */
    add_image(f, "cli-a:2", 2, true);            /* used */
    add_image(f, "cli-a:busy", 0, true);
    add_image(f, "cli-a:foreign", 0, false);
    add_image(f, "cli-b:9", 9, true);
    add_image(f, "myapp:1", 1, true);
    pthread_mutex_unlock(&f->lock);
    struct ctr_prune_policy policy = {.keep = 3, .is_dry_run = true}; /* as many are in use */
    assert_true(ctr_manager_prune(w.m, &policy, &a, &list, &err));
    assert_int_equal(list.len, 5);
    assert_string_equal(f->removed, "");
    policy.is_dry_run = false;
    assert_true(ctr_manager_prune(w.m, &policy, &a, &list, &err));
    assert_string_equal(f->removed, "clc-a-5 clc-a-4 clc-a-1 localhost/cli-a:1 cli-a:busy ");
    assert_int_equal(list.len, 5);
    assert_true(!list.items[0].is_image && list.items[0].bytes == 10);
    assert_true(list.items[3].is_image && list.items[3].bytes == 1000);
    assert_true(list.items[3].problem.len == 0 && str_eq_z(list.items[4].problem, "it is used"));
    ctr_service_unref(svc);
    world_close(&w);
}

static bool two_apps(void *arg, struct arena *a, struct str id, struct str *version, struct err *err)
{
    (void)a;
    if (*(bool *)arg)
        return err_set(err, ERR_UNAVAILABLE, "no metadata");
    *version = str_eq_z(id, "app_prd_a") ? STR("7") : str_eq_z(id, "app_prd_b") ? STR("1") : (struct str){0};
    return true;
}

static void what_was_used_last_and_what_is_current_stays_and_what_has_no_app_goes(void **state)
{
    struct world w;
    scoped_arena a = {0};
    scoped_err err = {0};
    struct ctr_prune_list list;
    bool is_broken = true;
    (void)state;
    world_open(&w);
    struct fake *f = &w.fake;
    w.m->app_version = two_apps;
    w.m->app_arg = &is_broken;
    pthread_mutex_lock(&f->lock);
    add_container(f, "clc-a-new", "app_prd_a", "2026-05-01", CTR_STATUS_EXITED, "cli-a:new", NULL);
    add_container(f, "clc-a-current", "app_prd_a", "2026-01-01", CTR_STATUS_EXITED, "cli-a:current", NULL);
    f->list[f->count - 1].version = "7";
    add_container(f, "clc-a-back", "app_prd_a", "2026-02-01", CTR_STATUS_EXITED, "cli-a:back", NULL);
    f->list[f->count - 1].started = "2026-06-01T00:00:00Z"; /* switched back to */
    add_container(f, "clc-gone-1", "app_prd_gone", "2026-02-01", CTR_STATUS_EXITED, "cli-gone:1", NULL);
    add_container(f, "clc-gone-2", "app_prd_gone", "2026-02-02", CTR_STATUS_RUNNING, "cli-gone:2", NULL);
    pthread_mutex_unlock(&f->lock);
    struct ctr_prune_policy policy = {.keep = 2};
    assert_false(ctr_manager_prune(w.m, &policy, &a, &list, &err));
    assert_non_null(strstr(err_msg(&err), "no metadata"));
    assert_string_equal(f->removed, "");
    is_broken = false;
    err_release(&err);
    assert_true(ctr_manager_prune(w.m, &policy, &a, &list, &err));
    assert_string_equal(f->removed, "clc-a-new clc-gone-1 ");
    world_close(&w);
}

static void a_budget_takes_what_was_used_longest_ago_but_the_last_of_each_app(void **state)
{
    struct world w;
    scoped_arena a = {0};
    scoped_err err = {0};
    struct ctr_prune_list list;
    bool is_broken = false;
    (void)state;
    world_open(&w);
    struct fake *f = &w.fake;
    w.m->app_version = two_apps;
    w.m->app_arg = &is_broken;
    pthread_mutex_lock(&f->lock);
    add_container(f, "clc-a-1", "app_prd_a", "2026-01-01", CTR_STATUS_EXITED, "cli-a:1", NULL);
    f->list[f->count - 1].started = "2026-06-02T00:00:00Z";
    add_container(f, "clc-a-2", "app_prd_a", "2026-02-01", CTR_STATUS_EXITED, "cli-a:2", NULL);
    add_container(f, "clc-b-run", "app_prd_b", "2020-01-01", CTR_STATUS_RUNNING, "cli-b:run", NULL);
    add_image(f, "cli-a:1", 1, true);
    add_image(f, "cli-a:2", 2, true);
    add_image(f, "cli-a:3", 3, true);
    add_image(f, "cli-b:run", 1, true);
    add_image(f, "cli-b:new", 2, true);
    pthread_mutex_unlock(&f->lock);
    struct { int64_t max; const char *removed; } cases[] = {
        {5000, ""},                                  /* it fits */
        {4500, "cli-b:new "},                        /* never used, and the oldest */
        {1, "cli-a:3 clc-a-2 cli-a:2 "},             /* a:1 was used last of its app, b:run runs */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct ctr_prune_policy policy = {.bytes_max = cases[i].max, .is_dry_run = true};
        assert_true(ctr_manager_prune(w.m, &policy, &a, &list, &err));
        size_t planned = list.len;
        policy.is_dry_run = false;
        f->removed[0] = '\0';
        assert_true(ctr_manager_prune(w.m, &policy, &a, &list, &err));
        assert_string_equal(f->removed, cases[i].removed);
        assert_int_equal(list.len, planned);
    }
    world_close(&w);
}

static void images_from_either_engine(void **state)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct ctr_image_list list = {0};
    (void)state;
    scoped_json *listed = json_parse(STR("{\"Id\":\"i\",\"RepoTags\":[\"x:1\",\"y:2\"],\"Created\":5,\"Size\":7,\"Labels\":{\"k\":\"v\"}}"), &err);
    scoped_json *inspected = json_parse(
        STR("{\"Id\":\"i\",\"RepoTags\":[\"z:3\"],\"Created\":\"1970-01-01T00:00:06Z\",\"Config\":{\"Labels\":{\"k\":\"w\"}}}"), &err);
    scoped_json *bare = json_parse(STR("{\"RepoTags\":null}"), &err);
    ctr_image_from_json(&a, listed, &list);
    ctr_image_from_json(&a, inspected, &list);
    ctr_image_from_json(&a, bare, &list);
    assert_int_equal(list.len, 3);
    assert_true(str_eq_z(list.items[1].name, "y:2") && list.items[1].created_ns == 5000000000 && list.items[1].bytes == 7);
    assert_true(list.items[2].created_ns == 6000000000 && str_eq_z(list.items[2].labels.items[0].value, "w"));
}

static void logs_go_on_where_they_ended(void **state)
{
    struct world w;
    scoped_arena a = {0};
    scoped_err err = {0};
    struct str text;
    int64_t next = 0;
    (void)state;
    world_open(&w);
    assert_true(ctr_container_logs_since(w.m->engine, &a, STR("clc-a"), 10, 0, &text, &next, &err));
    assert_true(str_eq_z(text, "one two\n\nno time\nold\n"));
    assert_true(next == 2000000001);
    assert_false(ctr_container_logs_since(w.m->engine, &a, STR("-a"), 10, 0, &text, &next, &err));
    world_close(&w);
}

static void ports_for_people(void **state)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    (void)state;
    scoped_json *list = json_parse(STR("[{\"PrivatePort\":80,\"Type\":\"tcp\"},{\"IP\":\"127.0.0.1\",\"PublicPort\":9,\"PrivatePort\":8}]"), &err);
    assert_true(str_eq_z(ctr_ports_of_list(&a, list), "80/tcp, 127.0.0.1:9 -> 8/tcp"));
    scoped_json *map = json_parse(STR("{\"80/tcp\":null,\"8/tcp\":[{\"HostIp\":\"::\",\"HostPort\":\"9\"}]}"), &err);
    assert_true(str_eq_z(ctr_ports_of_inspect(&a, map), "80/tcp, :::9 -> 8/tcp"));
    assert_true(ctr_ports_of_inspect(&a, NULL).len == 0 && ctr_ports_of_list(&a, NULL).len == 0);
}

static void numbers_of_use(void **state)
{
    static const struct {
        const char *text;
        int64_t bytes;
    } sizes[] = {{"1.5MiB", 1572864}, {" 312kB ", 312000}, {"0B", 0}, {"--", 0}, {"", 0}, {"1e9GB", 0}, {"7", 0}, {"3GB", 3000000000}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        assert_true(ctr_size_parse(str_from(sizes[i].text)) == sizes[i].bytes);
    scoped_err err = {0};
    struct ctr_stats s;
    scoped_json *api = json_parse(
        STR("{\"memory_stats\":{\"usage\":3000,\"limit\":9000,\"stats\":{\"inactive_file\":1000}},\"pids_stats\":{\"current\":4},"
            "\"cpu_stats\":{\"cpu_usage\":{\"total_usage\":300},\"system_cpu_usage\":2000,\"online_cpus\":2},"
            "\"precpu_stats\":{\"cpu_usage\":{\"total_usage\":200},\"system_cpu_usage\":1000},"
            "\"networks\":{\"eth0\":{\"rx_bytes\":5,\"tx_bytes\":6},\"eth1\":{\"rx_bytes\":1e300,\"tx_bytes\":-1}},"
            "\"blkio_stats\":{\"io_service_bytes_recursive\":[{\"op\":\"Read\",\"value\":7},{\"op\":\"write\",\"value\":8}]}}"), &err);
    ctr_stats_from_json(api, &s);
    assert_true(s.mem_bytes == 2000 && s.mem_limit == 9000 && s.pids == 4 && s.net_out == 6);
    assert_true(s.block_read == 7 && s.block_write == 8 && s.cpu_percent > 19.9 && s.cpu_percent < 20.1);
    scoped_json *text = json_parse(STR("{\"CPUPerc\":\"1.25%\",\"MemUsage\":\"1MiB / 2GiB\",\"NetIO\":\"1kB / 2kB\",\"BlockIO\":\"--\","
                                       "\"PIDs\":\"3\"}"), &err);
    ctr_stats_from_text(text, &s);
    assert_true(s.mem_bytes == 1 << 20 && s.mem_limit == 2LL << 30 && s.net_out == 2000 && s.pids == 3 && s.cpu_percent == 1.25);
    scoped_buf many = BUF_INIT(1 << 16); /* sums beyond what a number holds */
    buf_add_z(&many, "{\"networks\":{");
    for (int i = 0; i < 20; i++)
        buf_printf(&many, "%s\"e%d\":{\"rx_bytes\":9e18,\"tx_bytes\":1e300}", i ? "," : "", i);
    buf_add_z(&many, "},\"cpu_stats\":{\"cpu_usage\":{\"total_usage\":1e308},\"system_cpu_usage\":3e-300},"
                     "\"precpu_stats\":{\"system_cpu_usage\":1e-300}}");
    scoped_json *huge = json_parse(buf_str(&many), &err);
    assert_non_null(huge);
    ctr_stats_from_json(huge, &s);
    assert_true(s.net_in == INT64_MAX && s.net_out == INT64_MAX && s.cpu_percent == 0);
    ctr_stats_from_json(NULL, &s);
    ctr_stats_from_text(NULL, &s);
    assert_true(s.mem_bytes == 0 && s.pids == 0);
}

static void a_container_that_fails_its_checks_is_stopped(void **state)
{
    struct world w;
    struct ctr_service *svc = world_open_ready(&w);
    pthread_mutex_lock(&svc->m->lock);
    svc->tune.check_interval_ms = 5;
    svc->tune.check_attempts = 1;
    svc->next_check_ms = 0;
    svc_due(svc, 0);
    pthread_mutex_unlock(&svc->m->lock);
    int probes;
    pthread_mutex_lock(&w.fake.lock);
    probes = w.fake.probes;
    pthread_mutex_unlock(&w.fake.lock);
    wait_for(w.fake.probes > probes + 3);
    assert_int_equal(state_of(svc), CTR_READY);
    pthread_mutex_lock(&w.fake.lock);
    w.fake.never_up = true;
    pthread_mutex_unlock(&w.fake.lock);
    wait_for(state_of(svc) == CTR_STOPPED);
    pthread_mutex_lock(&w.fake.lock);
    w.fake.never_up = false;
    pthread_mutex_unlock(&w.fake.lock);
    crowd_wake(&w, svc, 1);
    wait_for(crowd.ok == 2);
    ctr_service_unref(svc);
    world_close(&w);
}

static void what_others_do_to_a_container_shows_at_once(void **state)
{
    static const enum ctr_event_kind kinds[] = {CTR_EVENT_DIED, CTR_EVENT_REMOVED, CTR_EVENT_PAUSED};
    struct world w;
    (void)state;
    struct ctr_service *svc = world_open_ready(&w);
    wait_for(w.fake.streams == 1);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct ctr_endpoint at;
        fake_happen(&w.fake, "clc-a", kinds[i], 0);
        wait_for(state_of(svc) == CTR_UNKNOWN);
        assert_false(ctr_service_enter(svc, 0, &at)); /* no request meets the dead */
        assert_true(wake_ok(svc));
        assert_true(ctr_service_enter(svc, 0, &at));
        ctr_service_leave(svc, 0);
    }
    assert_int_equal(w.fake.runs, 2);
    assert_int_equal(w.fake.starts, 1);
    assert_int_equal(w.fake.unpauses, 1);
    ctr_service_unref(svc);
    world_close(&w);
}

static void a_crash_is_mended_at_once_and_a_stop_is_not(void **state)
{
    static const struct {
        int exit_code;
        bool is_mended;
    } cases[] = {{1, true}, {0, false}, {137, true}, {143, false}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct world w;
        world_open(&w);
        w.fake.has_image = true;
        w.fake.exit_code = cases[i].exit_code;
        struct ctr_service *svc = service(&w, "clc-a");
        assert_true(wake_ok(svc));
        wait_for(w.fake.streams == 1);
        fake_happen(&w.fake, "clc-a", CTR_EVENT_DIED, 0);
        if (cases[i].is_mended)
            wait_for(w.fake.starts == 1);
        wait_for(state_of(svc) == (cases[i].is_mended ? CTR_READY : CTR_UNKNOWN));
        assert_int_equal(w.fake.starts, cases[i].is_mended);
        ctr_service_unref(svc);
        world_close(&w);
    }
}

/* The end is told while the start still runs, and never again. */
static void one_that_ends_between_its_answer_and_the_end_of_the_start_is_started_again(void **state)
{
    struct world w;
    (void)state;
    world_open(&w);
    w.fake.has_image = true;
    dying = service(&w, "clc-a");
    wait_for(w.fake.streams == 1);
    atomic_store(&deaths, 1);
    crowd_wake(&w, dying, 1);
    wait_for(crowd.ok == 2); /* they wait for the second start */
    assert_int_equal(w.fake.starts, 1);
    ctr_service_unref(dying);
    world_close(&w);
    /* One that always does so is a crash loop. */
    world_open(&w);
    w.fake.has_image = true;
    dying = service(&w, "clc-a");
    wait_for(w.fake.streams == 1);
    atomic_store(&deaths, 1000);
    crowd_wake(&w, dying, 1);
    wait_for(crowd.failed == 2);
    assert_non_null(strstr(crowd.detail, "keeps ending"));
    atomic_store(&deaths, 0);
    ctr_service_unref(dying);
    world_close(&w);
}

/* It runs, but the engine's program that forwards its port has gone. */
static void one_whose_port_is_lost_is_started_again(void **state)
{
    struct world w;
    (void)state;
    world_open(&w);
    w.fake.has_image = true;
    w.fake.never_up = true;
    w.m->has_forwarder = true;
    struct ctr_service *svc = service(&w, "clc-a");
    crowd_wake(&w, svc, 1);
    wait_for(w.fake.starts == 1); /* after a stop */
    pthread_mutex_lock(&w.fake.lock);
    w.fake.never_up = false;
    pthread_mutex_unlock(&w.fake.lock);
    wait_for(crowd.ok == 2);
    assert_int_equal(w.fake.runs, 1);
    ctr_service_unref(svc);
    world_close(&w);
}

/* They would wait for an answer until somebody else comes. */
static void who_is_in_a_container_that_others_pause_is_not_left_there(void **state)
{
    struct world w;
    struct ctr_endpoint at;
    (void)state;
    struct ctr_service *svc = world_open_ready(&w);
    wait_for(w.fake.streams == 1);
    assert_true(ctr_service_enter(svc, 0, &at));
    fake_happen(&w.fake, "clc-a", CTR_EVENT_PAUSED, 0);
    wait_for(w.fake.unpauses == 1);
    wait_for(state_of(svc) == CTR_READY);
    ctr_service_leave(svc, 0);
    ctr_service_unref(svc);
    world_close(&w);
}

static void a_container_that_others_are_removing_is_made_anew(void **state)
{
    struct world w;
    scoped_err err = {0};
    (void)state;
    struct ctr_service *svc = world_open_ready(&w);
    w.fake.removals_by_others = 2;
    assert_true(ctr_service_restart(svc, true, 0, NULL, NULL, NULL, &err));
    assert_int_equal(w.fake.runs, 2);
    assert_int_equal(w.fake.removals_by_others, 0);
    ctr_service_unref(svc);
    world_close(&w);
}

static void a_restart_stops_and_starts_and_a_recreation_makes_it_anew(void **state)
{
    struct world w;
    scoped_err err = {0};
    (void)state;
    struct ctr_service *svc = world_open_ready(&w);
    assert_true(ctr_service_restart(svc, false, 0, NULL, NULL, NULL, &err));
    assert_int_equal(w.fake.runs, 1);
    assert_int_equal(w.fake.starts, 1);
    assert_int_equal(state_of(svc), CTR_READY);
    assert_true(ctr_service_restart(svc, true, 0, NULL, NULL, NULL, &err));
    assert_int_equal(w.fake.runs, 2);
    assert_int_equal(w.fake.starts, 1);
    assert_int_equal(state_of(svc), CTR_READY);
    assert_true(ctr_service_restart(svc, false, 0, NULL, NULL, NULL, &err));
    assert_int_equal(w.fake.runs, 2);
    ctr_service_unref(svc);
    world_close(&w);
}

/* Late news, or the clock of the engine is not ours: a look tells. */
static void news_from_before_the_start_is_no_more_than_a_reason_to_look(void **state)
{
    struct world w;
    (void)state;
    world_open(&w);
    w.fake.has_image = true;
    struct ctr_service *svc = service(&w, "clc-a"), *b = service(&w, "clc-b");
    assert_true(wake_ok(svc) && wake_ok(b));
    wait_for(w.fake.streams == 1);
    fake_happen(&w.fake, "clc-a", CTR_EVENT_DIED, 60000);
    fake_happen(&w.fake, "clc-a", CTR_EVENT_STARTED, 0);
    fake_happen(&w.fake, "clc-nobody", CTR_EVENT_DIED, 0);
    fake_happen(&w.fake, "clc-b", CTR_EVENT_DIED, 0);
    wait_for(state_of(b) == CTR_UNKNOWN); /* it came last */
    assert_int_equal(state_of(svc), CTR_READY);
    fake_set_status(&w.fake, STR("clc-a"), CTR_STATUS_PAUSED);
    fake_happen(&w.fake, "clc-a", CTR_EVENT_PAUSED, 60000);
    wait_for(state_of(svc) == CTR_STOPPED);
    ctr_service_unref(svc);
    ctr_service_unref(b);
    world_close(&w);
}

static void after_a_cut_stream_all_are_looked_at(void **state)
{
    struct world w;
    (void)state;
    struct ctr_service *svc = world_open_ready(&w);
    wait_for(w.fake.streams == 1);
    fake_set_status(&w.fake, STR("clc-a"), CTR_STATUS_EXITED); /* nobody told */
    pthread_mutex_lock(&w.fake.lock);
    w.fake.is_stream_cut = true;
    pthread_mutex_unlock(&w.fake.lock);
    wait_for(state_of(svc) == CTR_STOPPED);
    assert_true(wake_ok(svc));
    ctr_service_unref(svc);
    world_close(&w);
}

static void lines_of_the_event_stream(void **state)
{
    static const struct {
        const char *line;
        bool ok;
        enum ctr_event_kind kind;
        int64_t at_ns;
        int exit_code;
    } cases[] = {
        {"{\"Action\":\"die\",\"Actor\":{\"Attributes\":{\"name\":\"n\",\"exitCode\":\"137\"}},\"timeNano\":1}", true,
         CTR_EVENT_DIED, 1, 137},
        {"{\"Action\":\"died\",\"Actor\":{\"Attributes\":{\"name\":\"n\",\"containerExitCode\":\"3\"}},\"timeNano\":1}", true,
         CTR_EVENT_DIED, 1, 3},
        {"{\"Name\":\"n\",\"Status\":\"died\",\"ContainerExitCode\":7,\"timeNano\":1}", true, CTR_EVENT_DIED, 1, 7},
        {"{\"Name\":\"n\",\"Status\":\"died\",\"ContainerExitCode\":-7,\"timeNano\":1}", true, CTR_EVENT_DIED, 1, 0},
        {"{\"status\":\"die\",\"Type\":\"container\",\"Action\":\"die\",\"Actor\":{\"Attributes\":{\"name\":\"n\"}},"
         "\"time\":5,\"timeNano\":5000000007}", true, CTR_EVENT_DIED, 5000000007},
        {"{\"Action\":\"died\",\"Actor\":{\"Attributes\":{\"name\":\"n\"}},\"time\":5}", true, CTR_EVENT_DIED, 5999999999},
        {"{\"Action\":\"unpause\",\"Actor\":{\"Attributes\":{\"name\":\"n\"}},\"time\":-1}", true, CTR_EVENT_UNPAUSED, INT64_MAX},
        {"{\"status\":\"remove\",\"Actor\":{\"Attributes\":{\"name\":\"n\"}},\"timeNano\":1}", true, CTR_EVENT_REMOVED, 1},
        {"{\"ID\":\"x\",\"Name\":\"n\",\"Status\":\"died\",\"Time\":\"1970-01-01T00:00:05.7Z\",\"Type\":\"container\"}", true,
         CTR_EVENT_DIED, 5700000000},
        {"{\"Action\":\"exec_start: sh\",\"Actor\":{\"Attributes\":{\"name\":\"n\"}}}", false, 0, 0},
        {"{\"Action\":\"die\",\"Actor\":{\"Attributes\":{}}}", false, 0, 0},
        {"{\"Action\":", false, 0, 0},
        {"[]", false, 0, 0},
        {"", false, 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        struct ctr_event event;
        assert_int_equal(ctr_event_parse(&a, str_from(cases[i].line), &event), cases[i].ok);
        if (!cases[i].ok)
            continue;
        assert_true(str_eq_z(event.name, "n"));
        assert_int_equal(event.kind, cases[i].kind);
        assert_true(event.at_ns == cases[i].at_ns);
        assert_int_equal(event.exit_code, cases[i].exit_code);
    }
}

static void the_sweep_stops_what_no_app_uses(void **state)
{
    struct world w;
    scoped_err err = {0};
    world_open(&w);
    w.fake.has_image = true;
    struct ctr_service *used = service(&w, "clc-used"), *left = service(&w, "clc-left");
    assert_true(ctr_service_start(used, NULL, NULL, NULL, &err) && ctr_service_start(left, NULL, NULL, NULL, &err));
    ctr_service_unref(left);
    pthread_mutex_lock(&w.m->lock);
    w.m->sweep_secs = 3600;
    w.m->next_sweep_ms = 0;
    pthread_cond_signal(&w.m->timer_cond);
    pthread_mutex_unlock(&w.m->lock);
    wait_for(fake_status(&w.fake, STR("clc-left")) == CTR_STATUS_EXITED);
    assert_int_equal(fake_status(&w.fake, STR("clc-used")), CTR_STATUS_RUNNING);
    ctr_service_unref(used);
    world_close(&w);
}

static void the_log_ring_keeps_the_newest_lines(void **state)
{
    struct world w;
    scoped_arena a = {0};
    world_open(&w);
    struct ctr_service *svc = service(&w, "clc-a");
    uint64_t at = 0;
    assert_int_equal(ctr_service_log(svc, &a, &at).len, 0);
    for (int i = 0; i < 10000; i++) {
        char line[64];
        snprintf(line, sizeof line, "line %d of the build", i);
        svc_log_line(svc, str_from(line));
    }
    struct str text = ctr_service_log(svc, &a, &at);
    assert_int_equal(text.len, SVC_LOG_MAX);
    assert_true(str_ends(text, STR("line 9998 of the build\nline 9999 of the build\n")));
    svc_log_line(svc, STR("more"));
    assert_true(str_eq(ctr_service_log(svc, &a, &at), STR("more\n")));
    ctr_service_unref(svc);
    world_close(&w);
}

static void a_container_that_sleeps_keeps_no_log(void **state)
{
    struct world w;
    scoped_arena a = {0};
    struct ctr_service *svc = world_open_ready(&w);
    uint64_t at = 0;
    svc_log_line(svc, STR("a line"));
    assert_true(str_ends(ctr_service_log(svc, &a, &at), STR("\na line\n")));
    uint64_t end = at;
    idle_set(svc, 600000, 1000);
    tick_at(svc, clock_ms() + 700000);
    wait_for(state_of(svc) == CTR_STOPPED);
    pthread_mutex_lock(&w.m->lock);
    assert_null(svc->log);
    pthread_mutex_unlock(&w.m->lock);
    at = 0;
    assert_int_equal(ctr_service_log(svc, &a, &at).len, 0);
    assert_int_equal(at, end); /* who has read so far goes on there */
    for (int i = 0; i < 3000; i++)
        svc_log_line(svc, STR("a line of the next start"));
    struct str text = ctr_service_log(svc, &a, &at);
    assert_int_equal(text.len, SVC_LOG_MAX);
    assert_true(str_ends(text, STR("\na line of the next start\n")));
    ctr_service_unref(svc);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thousand_waiters_share_one_start),
        cmocka_unit_test(a_failure_is_shared_and_kept_for_a_while),
        cmocka_unit_test(waiters_may_leave_before_and_while_being_told),
        cmocka_unit_test(a_deploy_sees_the_build_as_it_goes),
        cmocka_unit_test(a_build_failure_reaches_the_deploy_with_its_output),
        cmocka_unit_test(a_cancelled_deploy_ends_its_build),
        cmocka_unit_test(services_with_one_image_build_it_once),
        cmocka_unit_test(builds_of_different_images_wait_for_their_turn),
        cmocka_unit_test(a_deploy_says_whose_build_it_waits_for),
        cmocka_unit_test(a_build_that_waits_too_long_for_its_turn_says_what_to_do),
        cmocka_unit_test(a_running_container_is_adopted_and_a_stopped_one_started),
        cmocka_unit_test(one_that_ends_as_it_is_adopted_is_started),
        cmocka_unit_test(a_container_is_not_started_over_a_link),
        cmocka_unit_test(a_stop_waits_for_requests_in_flight),
        cmocka_unit_test(a_drain_has_an_end),
        cmocka_unit_test(a_crash_that_the_proxy_notices_is_repaired_at_once),
        cmocka_unit_test(a_crash_loop_ends_in_a_failure),
        cmocka_unit_test(crashes_with_a_sleep_between_them_are_not_in_a_row),
        cmocka_unit_test(an_engine_that_is_gone_says_so_and_recovers),
        cmocka_unit_test(ending_an_app_stops_all_of_its_containers_but_one),
        cmocka_unit_test(an_idle_container_is_stopped_but_not_a_used_one),
        cmocka_unit_test(a_request_never_gets_a_container_that_is_being_stopped),
        cmocka_unit_test(a_request_never_gets_a_container_that_is_being_paused),
        cmocka_unit_test(a_request_never_gets_a_container_that_is_frozen),
        cmocka_unit_test(an_idle_container_is_paused_and_goes_on_with_one_call),
        cmocka_unit_test(a_paused_container_is_stopped_after_a_while_or_by_a_deploy),
        cmocka_unit_test(paused_containers_have_a_ceiling_for_their_memory),
        cmocka_unit_test(what_others_do_to_a_paused_container_shows_too),
        cmocka_unit_test(what_cannot_be_paused_is_stopped),
        cmocka_unit_test(a_retired_container_is_stopped_though_nobody_holds_its_service),
        cmocka_unit_test(only_what_is_superseded_and_ours_is_pruned),
        cmocka_unit_test(what_was_used_last_and_what_is_current_stays_and_what_has_no_app_goes),
        cmocka_unit_test(a_budget_takes_what_was_used_longest_ago_but_the_last_of_each_app),
        cmocka_unit_test(images_from_either_engine),
        cmocka_unit_test(logs_go_on_where_they_ended),
        cmocka_unit_test(ports_for_people),
        cmocka_unit_test(numbers_of_use),
        cmocka_unit_test(a_container_that_fails_its_checks_is_stopped),
        cmocka_unit_test(what_others_do_to_a_container_shows_at_once),
        cmocka_unit_test(a_crash_is_mended_at_once_and_a_stop_is_not),
        cmocka_unit_test(one_that_ends_between_its_answer_and_the_end_of_the_start_is_started_again),
        cmocka_unit_test(a_container_that_others_are_removing_is_made_anew),
        cmocka_unit_test(one_whose_port_is_lost_is_started_again),
        cmocka_unit_test(who_is_in_a_container_that_others_pause_is_not_left_there),
        cmocka_unit_test(a_restart_stops_and_starts_and_a_recreation_makes_it_anew),
        cmocka_unit_test(news_from_before_the_start_is_no_more_than_a_reason_to_look),
        cmocka_unit_test(after_a_cut_stream_all_are_looked_at),
        cmocka_unit_test(lines_of_the_event_stream),
        cmocka_unit_test(the_sweep_stops_what_no_app_uses),
        cmocka_unit_test(the_log_ring_keeps_the_newest_lines),
        cmocka_unit_test(a_container_that_sleeps_keeps_no_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
