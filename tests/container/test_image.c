/* tests/container/test_image.c: images are not removed under a build, and a build that lost its layers is made once more.
 * SPDX-License-Identifier: Apache-2.0 */
#include "fake_engine.h"
#include "fs.h"
#include "http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct fake fake;
static struct ctr_backend ops;
static struct ctr_manager *m;
static atomic_int removing, building, met, removals;
static atomic_bool is_shut;               /* builds and removals do not end */
static atomic_bool is_cancelled;          /* of all starts */
static _Atomic int vanishes;              /* so many times the image goes before its container is made */

static bool build(void *ctx, const struct ctr_build *b, struct err *err)
{
    atomic_fetch_add(&building, 1);
    for (int i = 0; i < 3 || (atomic_load(&is_shut) && !atomic_load(b->cancel)); i++) {
        if (atomic_load(&removing) > 0)
            atomic_fetch_add(&met, 1);
        fake_sleep(1);
    }
    atomic_fetch_sub(&building, 1);
    return fake_image_build(ctx, b, err);
}

static bool image_remove(void *ctx, struct str name, struct err *err)
{
    atomic_fetch_add(&removing, 1);
    atomic_fetch_add(&removals, 1);
    for (int i = 0; i < 3 || atomic_load(&is_shut); i++) {
        if (atomic_load(&building) > 0)
            atomic_fetch_add(&met, 1);
        fake_sleep(1);
    }
    atomic_fetch_sub(&removing, 1);
    return fake_image_remove(ctx, name, err);
}

static bool run_container(void *ctx, const struct ctr_run *run, bool publish, struct err *err)
{
    if (atomic_load(&vanishes) > 0) {
        atomic_fetch_sub(&vanishes, 1);
        pthread_mutex_lock(&fake.lock);
        fake.has_image = false;
        pthread_mutex_unlock(&fake.lock);
        return err_set(err, ERR_NOT_FOUND, "image not known");
    }
    return fake_run(ctx, run, publish, err);
}

static bool get_source(void *arg, struct arena *a, struct str *dir, struct err *err)
{
    *dir = STR("/src");
    return true;
}

static int setup(void **state)
{
    static const struct ctr_hooks hooks = {.post = http_loop_post, .probe = fake_probe};
    scoped_err err = {0};
    memset(&fake, 0, sizeof fake);
    pthread_mutex_init(&fake.lock, NULL);
    fake_now = &fake;
    ops = fake_backend;
    ops.image_build = build;
    ops.image_remove = image_remove;
    ops.run = run_container;
    removing = building = met = removals = vanishes = 0;
    is_shut = is_cancelled = false;
    struct ctr_manager_config c = {.home = STR("/home"), .loop_count = 1, .max_concurrent_builds = 2, .max_build_wait_secs = 60};
    assert_true(ctr_manager_open_with(&c, ctr_engine_open_with(CTR_PODMAN, &ops, &fake), &hooks, &m, &err));
    m->image_wait_ms = 60000;
    return 0;
}

static int teardown(void **state)
{
    atomic_store(&is_shut, false);
    ctr_manager_close(m);
    pthread_mutex_destroy(&fake.lock);
    return 0;
}

static struct ctr_service *service(const char *name, const char *image)
{
    struct ctr_service_config c = {.app_id = STR("app_prd_1"), .source = {.fetch = get_source}, .build_file = STR("Containerfile")};
    c.run.name = str_from(name);
    c.run.image = str_from(image);
    c.run.port = 8080;
    return ctr_service_get(m, &c);
}

/* What a prune that keeps one finds superseded: images cli-1:0 .. cli-1:n-1. */
static void add_images(int n)
{
    static char names[FAKE_MAX][32];
    static struct ctr_kv label;
    label = (struct ctr_kv){STR(CTR_LABEL_IMAGE_HOME), STR("/home")};
    pthread_mutex_lock(&fake.lock);
    for (int i = 0; i <= n; i++) {
        snprintf(names[i], sizeof names[i], "cli-1:%d", i);
        fake.images[i] = (struct ctr_image){.name = str_from(names[i]), .id = str_from(names[i]), .bytes = 1,
                                            .created_ns = i, .labels = {&label, 1, 1}};
    }
    fake.image_count = (size_t)n + 1;
    pthread_mutex_unlock(&fake.lock);
}

static int prune(struct arena *a, struct ctr_prune_list *list)
{
    scoped_err err = {0};
    int gone = 0;
    struct ctr_prune_policy policy = {.keep = 1};
    assert_true(ctr_manager_prune(m, &policy, a, list, &err));
    vec_foreach(item, list) gone += item->problem.len == 0;
    return gone;
}

static void *start(void *svc)
{
    scoped_err err = {0};
    return ctr_service_start(svc, NULL, NULL, &is_cancelled, &err) ? svc : NULL;
}

static void *prune_thread(void *arg)
{
    scoped_arena a = {0};
    struct ctr_prune_list list;
    *(int *)arg = prune(&a, &list);
    return NULL;
}

static void builds_and_removals_never_run_side_by_side(void **state)
{
    pthread_t starts[8], prunes[2];
    struct ctr_service *svc[8];
    int gone[2];
    add_images(8);
    for (int i = 0; i < 8; i++) {
        char name[2][32];
        snprintf(name[0], sizeof name[0], "clc-%d", i);
        snprintf(name[1], sizeof name[1], "cli-%d:new", i);
        svc[i] = service(name[0], name[1]);
        assert_int_equal(pthread_create(&starts[i], NULL, start, svc[i]), 0);
        if (i % 4 == 0)
            assert_int_equal(pthread_create(&prunes[i / 4], NULL, prune_thread, &gone[i / 4]), 0);
    }
    for (int i = 0; i < 2; i++)
        pthread_join(prunes[i], NULL);
    for (int i = 0; i < 8; i++) {
        void *started;
        pthread_join(starts[i], &started);
        assert_non_null(started);
        ctr_service_unref(svc[i]);
    }
    assert_int_equal(met, 0);
    assert_true(removals > 0 && fake.builds > 0);
}

static void a_removal_is_put_off_while_a_build_runs(void **state)
{
    scoped_arena a = {0};
    struct ctr_prune_list list;
    pthread_t thread;
    struct ctr_service *svc = service("clc-a", "cli-a:x");
    add_images(3);
    atomic_store(&is_shut, true);
    assert_int_equal(pthread_create(&thread, NULL, start, svc), 0);
    wait_for(atomic_load(&building) == 1);
    m->image_wait_ms = 20;
    assert_int_equal(prune(&a, &list), 0);
    assert_int_equal(list.len, 3);
    assert_true(str_find(list.items[2].problem, STR("left for the next time")) != STR_NPOS);
    assert_int_equal(removals, 0);
    atomic_store(&is_shut, false);
    pthread_join(thread, NULL);
    m->image_wait_ms = 60000;
    assert_int_equal(prune(&a, &list), 3);
    ctr_service_unref(svc);
}

static void what_was_loaded_since_it_was_listed_stays(void **state)
{
    scoped_err err = {0};
    struct ctr_service *svc = service("clc-a", "cli-1:1");
    assert_false(svc_image_remove_begin(m, STR("localhost/cli-1:1"), &err));
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_true(svc_image_remove_begin(m, STR("localhost/cli-1:2"), &err));
    svc_image_remove_end(m);
    ctr_service_unref(svc);
}

static enum svc_op op_of(struct ctr_service *svc)
{
    pthread_mutex_lock(&m->lock);
    enum svc_op op = svc->op;
    pthread_mutex_unlock(&m->lock);
    return op;
}

/* A start that waits for a removal, and a removal that waits for a build. */
static void a_server_that_stops_waits_for_neither(void **state)
{
    pthread_t start_thread, prune_thread_;
    struct ctr_service *svc = service("clc-a", "cli-a:x");
    int gone;
    add_images(1);
    atomic_store(&is_shut, true);
    assert_int_equal(pthread_create(&prune_thread_, NULL, prune_thread, &gone), 0);
    wait_for(atomic_load(&removing) == 1);
    assert_int_equal(pthread_create(&start_thread, NULL, start, svc), 0);
    wait_for(op_of(svc) == OP_START);
    atomic_store(&is_cancelled, true);
    void *started;
    pthread_join(start_thread, &started);
    assert_null(started);
    wait_for(op_of(svc) == OP_NONE);
    assert_true(fake.builds == 0 && removing == 1);
    atomic_store(&is_cancelled, false);
    atomic_store(&is_shut, false);
    pthread_join(prune_thread_, NULL);
    assert_int_equal(gone, 1);

    add_images(1);
    atomic_store(&is_shut, true);
    ctr_service_unref(svc);
    svc = service("clc-b", "cli-b:x");
    assert_int_equal(pthread_create(&start_thread, NULL, start, svc), 0);
    wait_for(atomic_load(&building) == 1);
    assert_int_equal(pthread_create(&prune_thread_, NULL, prune_thread, &gone), 0);
    fake_sleep(20);
    pthread_mutex_lock(&m->lock);
    m->is_closing = true; /* as ctr_manager_close() does, which would wait for us */
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
    pthread_join(prune_thread_, NULL);
    assert_int_equal(gone, 0);
    atomic_store(&is_shut, false);
    pthread_join(start_thread, NULL);
    ctr_service_unref(svc);
}

static void an_image_that_vanishes_is_made_again_once(void **state)
{
    for (int times = 1; times <= 2; times++) {
        scoped_err err = {0};
        struct ctr_service *svc = service(times == 1 ? "clc-a" : "clc-b", "cli-1:x");
        fake.builds = 0;
        fake.has_image = true;
        atomic_store(&vanishes, times);
        bool ok = ctr_service_start(svc, NULL, NULL, NULL, &err);
        assert_int_equal(ok, times == 1);
        assert_int_equal(fake.builds, 1);
        ctr_service_unref(svc);
    }
}

/* --- A build that loses its layers --- */

struct heard {
    char text[4096];
};

static void on_line(void *arg, struct str line)
{
    struct heard *h = arg;
    size_t n = strlen(h->text);
    snprintf(h->text + n, sizeof h->text - n, STR_FMT "\n", STR_ARG(line));
}

static const struct {
    const char *name, *first, *second; /* what the program says before it fails; NULL: it goes well */
    int runs;
} builds[] = {
    {"it goes well", NULL, NULL, 1},
    {"a cached layer is gone", "Error: checking if cached image exists from a previous build: getting top layer info: layer not known",
     NULL, 2},
    {"its own container is gone", "Successfully tagged x\nError: deleting build container \"f0\": identifier is not a container", NULL, 2},
    {"Docker's parent image is gone", "failed to export image: failed to set parent sha256:0: unknown parent image ID sha256:0", NULL, 2},
    {"it is gone again", "Error: layer not known", "Error: layer not known", 2},
    {"another failure the second time", "Error: layer not known", "Error: no such stage", 2},
    {"another failure", "Error: building at STEP \"RUN false\": while running runtime: exit status 1", NULL, 1},
    {"a command that says so itself", "layer not known\nError: while running runtime: exit status 1", NULL, 1},
};

static void a_build_whose_layers_are_removed_runs_once_more(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(builds); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        struct heard heard = {0};
        char dir[] = "/tmp/openrun-build-XXXXXX";
        print_message("%s\n", builds[i].name);
        assert_non_null(mkdtemp(dir));
        struct str path = path_join(&a, str_from(dir), STR("podman")), text, runs;
        const char *said[2] = {builds[i].first, builds[i].second};
        text = STR("#!/bin/sh\necho run >>runs\ncase $(wc -l <runs) in\n");
        for (int k = 0; k < 2; k++)
            text = str_printf(&a, STR_FMT "%d) cat <<'EOT'\nSTEP 1\n%s\nEOT\nexit %d;;\n", STR_ARG(text), k + 1, said[k] ? said[k] : "done",
                              said[k] ? 125 : 0);
        text = str_printf(&a, STR_FMT "esac\nexit 99\n", STR_ARG(text));
        assert_true(fs_write_atomic(path, text, 0700, &err));
        char name[] = "podman";
        struct ctr_program p = {.kind = CTR_PODMAN, .path = xstrdup(str_z(&a, path)), .name = name, .major = 4};
        struct ctr_build b = {.image = STR("cli-1:x"), .dir = str_from(dir), .file = STR("Containerfile"), .on_line = on_line,
                              .line_arg = &heard};
        bool ok = ctr_build_with_program(&p, &b, &err);
        const char *last = said[builds[i].runs - 1];
        assert_int_equal(ok, !last);
        if (last)
            assert_non_null(strstr(err_msg(&err), strstr(last, "Error:") ? strstr(last, "Error:") : last));
        assert_true(fs_read_all(&a, path_join(&a, str_from(dir), STR("runs")), 100, &runs, &(struct err){0}));
        assert_int_equal(runs.len, 4 * builds[i].runs);
        free(p.path);
        assert_int_equal(strstr(heard.text, "building once more") != NULL, builds[i].runs == 2);
        fs_remove_tree(str_from(dir), &(struct err){0});
    }
}

static void an_earlier_stage_gets_its_labels_apart_on_podman(void **state)
{
    static const struct {
        enum ctr_kind kind;
        const char *target, *expected;
    } cases[] = {
        {CTR_PODMAN, "", "build -t cli-1:x -f Containerfile --label home=/h .\n"},
        {CTR_PODMAN, "tools", "build -t cli-1:x -f Containerfile --target tools .\nbuild --pull=never -f - -t cli-1:x --label home=/h .\n"
                              "FROM cli-1:x\n"},
        {CTR_DOCKER, "tools", "build -t cli-1:x -f Containerfile --target tools --label home=/h .\n"},
    };
    struct ctr_kv label = {STR("home"), STR("/h")};
    struct ctr_kv_list labels = {&label, 1, 1};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        char dir[] = "/tmp/openrun-build-XXXXXX", name[] = "engine";
        struct str said;
        assert_non_null(mkdtemp(dir));
        struct str path = path_join(&a, str_from(dir), STR("engine"));
        assert_true(fs_write_atomic(path, STR("#!/bin/sh\necho \"$@\" >>said\ncat >>said\n"), 0700, &err));
        struct ctr_program p = {.kind = cases[i].kind, .path = xstrdup(str_z(&a, path)), .name = name, .major = 30};
        struct ctr_build b = {.image = STR("cli-1:x"), .dir = str_from(dir), .file = STR("Containerfile"), .labels = &labels,
                              .target = str_from(cases[i].target)};
        assert_true(ctr_build_with_program(&p, &b, &err));
        assert_true(fs_read_all(&a, path_join(&a, str_from(dir), STR("said")), 4096, &said, &err));
        assert_string_equal(str_z(&a, said), cases[i].expected);
        free(p.path);
        fs_remove_tree(str_from(dir), &(struct err){0});
    }
}

int main(void)
{
#define IMAGE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        IMAGE_TEST(builds_and_removals_never_run_side_by_side),
        IMAGE_TEST(a_removal_is_put_off_while_a_build_runs),
        IMAGE_TEST(what_was_loaded_since_it_was_listed_stays),
        IMAGE_TEST(a_server_that_stops_waits_for_neither),
        IMAGE_TEST(an_image_that_vanishes_is_made_again_once),
        cmocka_unit_test(an_earlier_stage_gets_its_labels_apart_on_podman),
        cmocka_unit_test(a_build_whose_layers_are_removed_runs_once_more),
    };
    return cmocka_run_group_tests_name("container/image", tests, NULL, NULL);
}
