/* tests/deploy/test_queue.c: operations at the same time.
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_test.h"

/* An operation on a thread of its own. */
struct running {
    struct place_of_work *w;
    deploy_op *op;
    struct deploy_opts opts;
    json_t *body, *reply;
    struct err err;
    atomic_bool cancel, is_done;
    atomic_int waits; /* lines that say it waits for its turn */
    bool ok;
    pthread_t thread;
};

static void on_progress(void *arg, struct str line)
{
    struct running *r = arg;
    if (str_starts(line, STR("waiting for another operation")))
        atomic_fetch_add(&r->waits, 1);
}

static void *run_thread(void *arg)
{
    struct running *r = arg;
    struct deploy_caller who = {
        .user_id = STR("admin"), .cancel = &r->cancel, .progress = on_progress, .progress_arg = r};
    r->ok = r->op(r->w->deploy, &who, &r->opts, r->body, &r->reply, &r->err);
    r->is_done = true;
    return NULL;
}

static struct running *begin(struct place_of_work *w, deploy_op *op, const struct deploy_opts *o,
                             const char *body)
{
    struct running *r = xcalloc(1, sizeof *r);
    scoped_err err = {0};
    *r = (struct running){.w = w, .op = op, .opts = *o};
    r->body = body ? json_parse(str_from(body), &err) : NULL;
    assert_int_equal(pthread_create(&r->thread, NULL, run_thread, r), 0);
    return r;
}

/* Waits for the end; true if it succeeded. */
static bool end(struct running *r, int code, const char *message)
{
    pthread_join(r->thread, NULL);
    bool ok = r->ok;
    if (message && (ok || (int)r->err.code != code || !strstr(err_msg(&r->err), message)))
        fail_msg("wanted %d \"%s\", got %d \"%s\"", code, message, (int)r->err.code, err_msg(&r->err));
    json_decref(r->body);
    json_decref(r->reply);
    err_release(&r->err);
    free(r);
    return ok;
}

#define WAIT_FOR(condition)                                                                                  \
    do {                                                                                                     \
        int64_t until_ = clock_ms() + 20000;                                                                 \
        while (!(condition)) {                                                                               \
            if (clock_ms() > until_)                                                                         \
                fail_msg("never: %s", #condition);                                                           \
            usleep(1000);                                                                                    \
        }                                                                                                    \
    } while (0)

static void operations_on_one_app_queue_and_on_two_overlap(void **state)
{
    struct place_of_work *w = *state;
    source_write("a", "app.star", "name A\n");
    create(w, "/a", "a", "");
    create(w, "/b", "a", "");
    world.at_gate = 0;
    pthread_mutex_lock(&world.gate);
    struct running *first = begin(w, deploy_reload, OPTS(.app = STR("/a")), NULL);
    WAIT_FOR(world.at_gate == 1);
    struct running *same = begin(w, deploy_reload, OPTS(.app = STR("/a")), NULL);
    struct running *all = begin(w, deploy_reload, OPTS(.app = STR("*")), NULL);
    WAIT_FOR(same->waits == 1 && all->waits == 1);
    struct running *other =
        begin(w, deploy_reload, OPTS(.app = STR("/b")), NULL); /* `all` waits with nothing in its hands */
    WAIT_FOR(world.at_gate == 2);
    assert_false(first->is_done);
    pthread_mutex_unlock(&world.gate);
    assert_true(end(first, 0, NULL));
    assert_true(end(same, 0, NULL));
    assert_true(end(all, 0, NULL));
    assert_true(end(other, 0, NULL));
    assert_versions(w, "/a", 1, 4);
    assert_versions(w, "/b", 1, 3);
    assert_whole(w);
}

static void who_waits_for_his_turn_may_give_up(void **state)
{
    struct place_of_work *w = *state;
    source_write("a", "app.star", "name A\n");
    create(w, "/a", "a", "");
    world.at_gate = 0;
    pthread_mutex_lock(&world.gate);
    struct running *first = begin(w, deploy_reload, OPTS(.app = STR("/a")), NULL);
    WAIT_FOR(world.at_gate == 1);
    struct running *second = begin(w, deploy_delete, OPTS(.app = STR("/a")), NULL);
    WAIT_FOR(second->waits == 1);
    second->cancel = true;
    end(second, ERR_CANCELLED, "cancelled while waiting");
    pthread_mutex_unlock(&world.gate);
    assert_true(end(first, 0, NULL));
    assert_versions(w, "/a", 1, 2);
}

static void an_app_deleted_while_its_turn_was_awaited_is_no_longer_meant(void **state)
{
    struct place_of_work *w = *state;
    source_write("a", "app.star", "name A\n");
    create(w, "/a", "a", "");
    world.at_gate = 0;
    pthread_mutex_lock(&world.gate);
    struct running *slow = begin(w, deploy_reload, OPTS(.app = STR("/a")), NULL);
    WAIT_FOR(world.at_gate == 1);
    struct running *gone = begin(w, deploy_delete, OPTS(.app = STR("/a")), NULL);
    WAIT_FOR(gone->waits == 1);
    struct running *late = begin(w, deploy_delete, OPTS(.app = STR("/a")), NULL);
    WAIT_FOR(late->waits == 1);
    pthread_mutex_unlock(&world.gate);
    assert_true(end(slow, 0, NULL));
    assert_true(end(gone, 0, NULL));
    assert_true(end(late, 0, NULL));
    assert_whole(w);
}

enum { CREATORS = 8 };

static void of_many_that_create_at_one_place_one_does(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    source_write("a", "app.star", "name A\n");
    struct running *all[CREATORS];
    int created = 0;
    for (int i = 0; i < CREATORS;
         i++) { /* the same place, above, below, and by the name of the default domain */
        static const char *const places[] = {"/x/y", "/x", "localhost:/x/y", "/x/y/z"};
        all[i] = begin(w, deploy_create, OPTS(.approve = true),
                       str_z(&a, str_printf(&a, "{\"path\": \"%s\", \"source_url\": \"%s/src/a\"}",
                                            places[i % 4], test_dir)));
    }
    for (int i = 0; i < CREATORS; i++)
        created += end(all[i], 0, NULL);
    assert_int_equal(created, 1);
    assert_whole(w);
}

/* Each operation's contents are new, so each has some that no version refers to for a moment, while those of
 * others that fail or delete are cleaned up. */
static void nobodys_contents_are_cleaned_away(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    static const char *const names[] = {"p", "q", "r", "s"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        source_write(names[i], "app.star", "name A\n");
        create(w, str_z(&a, str_printf(&a, "/%s", names[i])), names[i],
               ", \"appconfig\": {\"fs.retain_versions\": \"0\"}");
    }
    for (int round = 0; round < 12; round++) {
        struct running *all[ARRAY_LEN(names)];
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
            source_write(names[i], "data.txt", str_z(&a, str_printf(&a, "%s %d", names[i], round)));
            all[i] =
                begin(w, deploy_reload,
                      &(struct deploy_opts){.app = str_printf(&a, "/%s", names[i]), .promote = true}, NULL);
        }
        for (size_t i = 0; i < ARRAY_LEN(names); i++)
            if (!end(all[i], 0, NULL))
                fail_msg("a reload failed in round %d", round);
    }
    deploy_clean(w->deploy);
    assert_whole(w);
    assert_versions(w, "/p", 13, 13);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(operations_on_one_app_queue_and_on_two_overlap, work_setup,
                                        work_teardown),
        cmocka_unit_test_setup_teardown(who_waits_for_his_turn_may_give_up, work_setup, work_teardown),
        cmocka_unit_test_setup_teardown(an_app_deleted_while_its_turn_was_awaited_is_no_longer_meant,
                                        work_setup, work_teardown),
        cmocka_unit_test_setup_teardown(of_many_that_create_at_one_place_one_does, work_setup, work_teardown),
        cmocka_unit_test_setup_teardown(nobodys_contents_are_cleaned_away, work_setup, work_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
