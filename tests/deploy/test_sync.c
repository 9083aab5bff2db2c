/* tests/deploy/test_sync.c: the life of a sync entry: its states, what is due, and that only what worked is stored.
 * SPDX-License-Identifier: Apache-2.0 */
#define deploy_apply pretend_apply /* the apply is of pretence: see below */
#include "../../src/deploy/sync.c"
#undef deploy_apply

#include "deploy_test.h"

enum { MAX_FAILURES = 3 };

/* --- an apply of pretence ------------------------------------------------------------------------- */

static struct {
    int calls;
    atomic_int running, at_once_max;
    const char *fails_with; /* NULL: it succeeds */
    enum err_code code;
    bool commits;           /* has something to commit */
    bool rolls_back;        /* fails within its transaction */
    char last_commit[64], path[256], user[64], reload[16], branch[32];
    bool approve, is_dry_run;
    pthread_mutex_t gate;
} fake = {.gate = PTHREAD_MUTEX_INITIALIZER};

static void keep(char *out, size_t size, struct str s)
{
    snprintf(out, size, STR_FMT, STR_ARG(s));
}

static bool commit_something(struct deploy *d, const struct deploy_opts *o, struct err *err)
{
    scoped_store_tx *tx = store_begin(d->config.store, err);
    if (!tx || (o->in_commit && !o->in_commit(o->in_commit_arg, tx, err)))
        return false;
    if (fake.rolls_back)
        return err_set(err, ERR_INTERNAL, "the disk is full");
    return store_commit(&tx, err);
}

bool pretend_apply(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o, json_t *body,
                   json_t **reply, struct err *err)
{
    int running = atomic_fetch_add(&fake.running, 1) + 1;
    if (running > fake.at_once_max)
        fake.at_once_max = running;
    pthread_mutex_lock(&fake.gate);
    fake.calls++;
    keep(fake.last_commit, sizeof fake.last_commit, o->last_commit);
    keep(fake.path, sizeof fake.path, o->path);
    keep(fake.user, sizeof fake.user, who->user_id);
    keep(fake.reload, sizeof fake.reload, o->reload);
    keep(fake.branch, sizeof fake.branch, o->branch);
    fake.approve = o->approve;
    fake.is_dry_run = o->is_dry_run;
    bool ok = !fake.fails_with || err_set(err, fake.code, "%s", fake.fails_with);
    ok = ok && (o->is_dry_run || !fake.commits || commit_something(d, o, err));
    if (ok)
        *reply = json_pack("{s:s, s:b, s:[{s:s, s:s}]}", "commit_id", "c0ffee", "dry_run", (int)o->is_dry_run,
                           "filtered_apps", "Path", "/x", "Domain", "");
    pthread_mutex_unlock(&fake.gate);
    atomic_fetch_sub(&fake.running, 1);
    return ok;
}

static int sync_setup(void **state)
{
    if (work_setup(state) != 0)
        return -1;
    struct place_of_work *w = *state;
    w->deploy->config.max_sync_failure_count = MAX_FAILURES;
    w->deploy->config.default_schedule_mins = 15;
    fake.calls = fake.at_once_max = 0;
    fake.fails_with = NULL;
    fake.code = ERR_UPSTREAM;
    fake.commits = true;
    fake.rolls_back = false;
    return 0;
}

/* --- the state machine ---------------------------------------------------------------------------- */

static void a_run_changes_the_state(void **state)
{
    static const struct {
        const char *name, *state;
        int64_t failures;
        bool ok;
        const char *new_state;
        int64_t new_failures;
        int64_t max_failures;
    } cases[] = {
        {"enabled stays so", "Enabled", 0, true, "Enabled", 0, 3},
        {"the first failure", "Enabled", 0, false, "Failing", 1, 3},
        {"the second", "Failing", 1, false, "Failing", 2, 3},
        {"the last", "Failing", 2, false, "Disabled", 3, 3},
        {"one is enough", "Enabled", 0, false, "Disabled", 1, 1},
        {"no limit", "Failing", 999, false, "Failing", 1000, 0},
        {"failing gets well", "Failing", 2, true, "Enabled", 0, 3},
        {"disabled gets well by hand", "Disabled", 3, true, "Enabled", 0, 3},
        {"disabled fails by hand", "Disabled", 3, false, "Disabled", 4, 3},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        scoped_json *reply = json_pack("{s:s}", "commit_id", "new");
        struct store_sync s = {.status = {.state = str_from(cases[i].state), .failure_count = cases[i].failures,
                                          .error = STR("old"), .commit_id = STR("old")}};
        run_ended(&a, &s, cases[i].ok ? reply : NULL, STR("why"), 42, cases[i].max_failures);
        if (!str_eq_z(s.status.state, cases[i].new_state) || s.status.failure_count != cases[i].new_failures ||
            !str_eq_z(s.status.error, cases[i].ok ? "" : "why") ||
            !str_eq_z(s.status.commit_id, cases[i].ok ? "new" : "") || s.status.last_execution_time != 42)
            fail_msg("%s: got " STR_FMT " %lld \"" STR_FMT "\" \"" STR_FMT "\"", cases[i].name, STR_ARG(s.status.state),
                     (long long)s.status.failure_count, STR_ARG(s.status.error), STR_ARG(s.status.commit_id));
    }
}

static void the_clock_says_what_is_due(void **state)
{
    static const struct {
        const char *name;
        bool is_scheduled;
        int64_t minutes, failures, last_min; /* last run, in minutes after an epoch; 0: never */
        int64_t now_s;                       /* seconds after the epoch */
        bool due;
    } cases[] = {
        {"never run", true, 15, 0, 0, 1000 * 60, true},
        {"just run", true, 15, 0, 1000, 1000 * 60, false},
        {"a second early", true, 15, 0, 1000, 1015 * 60 - 1, false},
        {"on time", true, 15, 0, 1000, 1015 * 60, true},
        {"long overdue, after a stop", true, 15, 0, 1000, 9999 * 60, true},
        {"a webhook's", false, 0, 0, 0, 1000 * 60, false},
        {"scheduled never", true, 0, 0, 0, 1000 * 60, false},
        {"one failure: the same interval", true, 10, 1, 1000, 1010 * 60, true},
        {"two failures: twice as long", true, 10, 2, 1000, 1019 * 60, false},
        {"two failures, after that", true, 10, 2, 1000, 1020 * 60, true},
        {"as many as are allowed", true, 10, 3, 1000, 9999 * 60, false},
        {"the clock was set back a little", true, 10, 0, 1000, 1000 * 60 - 30, false},
        {"the clock was set back far", true, 10, 0, 1000, 900 * 60, true},
        {"an absurd interval", true, INT64_MAX, 2, 1000, 1001 * 60, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct store_sync s = {.is_scheduled = cases[i].is_scheduled,
                               .metadata = {.schedule_frequency = cases[i].minutes},
                               .status = {.failure_count = cases[i].failures,
                                          .last_execution_time = cases[i].last_min * 60 * second_ns}};
        if (is_due(&s, cases[i].now_s * second_ns, MAX_FAILURES) != cases[i].due)
            fail_msg("%s: wanted %d", cases[i].name, cases[i].due);
    }
}

static void intervals_grow_up_to_a_limit(void **state)
{
    static const int64_t minutes[] = {10, 10, 20, 40, 80, 80, 80};
    for (size_t i = 0; i < ARRAY_LEN(minutes); i++) {
        struct store_sync s = {.metadata = {.schedule_frequency = 10}, .status = {.failure_count = (int64_t)i}};
        assert_int_equal(interval_ns(&s), minutes[i] * 60 * second_ns);
    }
}

/* --- entries -------------------------------------------------------------------------------------- */

static json_t *entries(struct place_of_work *w, bool reveal)
{
    scoped_err err = {0};
    scoped_json *reply = call(w, deploy_sync_list, OPTS(.reveal = reveal), NULL, &err);
    if (!reply)
        fail_msg("%s", err_msg(&err));
    return json_incref(json_get(reply, "entries"));
}

/* Creates an entry; its id in `a`. */
static struct str schedule(struct place_of_work *w, struct arena *a, const char *body)
{
    scoped_err err = {0};
    scoped_json *reply = call(w, deploy_sync_create, OPTS(.path = STR("/a.star"), .is_scheduled = true), body, &err);
    if (!reply)
        fail_msg("%s", err_msg(&err));
    return str_dup(a, json_get_str(reply, "id", (struct str){0}));
}

static const char *text_at(const json_t *j, const char *group, const char *key)
{
    return json_string_value(json_object_get(json_object_get(j, group), key));
}

static void creation_runs_and_stores(void **state)
{
    struct place_of_work *w = *state;
    for (int commits = 0; commits < 2; commits++) {
        scoped_arena a = {0};
        fake.commits = commits;
        struct str id = schedule(w, &a, "{\"approve\": true, \"reload\": \"matched\", \"schedule_frequency\": 3}");
        assert_true(str_starts(id, STR("cl_syn_")) && fake.approve);
        assert_string_equal(fake.path, "/a.star");
        assert_string_equal(fake.reload, "matched");
        scoped_json *all = entries(w, false);
        const json_t *e = json_array_get(all, (size_t)commits);
        assert_string_equal(text_at(e, "status", "state"), "Enabled");
        assert_string_equal(text_at(e, "status", "commit_id"), "c0ffee");
        assert_string_equal(json_string_value(json_object_get(e, "user_id")), "admin");
        assert_int_equal(json_integer_value(json_object_get(json_object_get(e, "metadata"), "schedule_frequency")), 3);
    }
}

static void a_first_run_that_fails_stores_nothing(void **state)
{
    struct place_of_work *w = *state;
    const struct deploy_opts *o = OPTS(.path = STR("/a.star"), .is_scheduled = true);
    fake.fails_with = "no such file";
    must_fail(w, deploy_sync_create, o, "{}", ERR_UPSTREAM, "no such file");
    fake.fails_with = NULL;
    fake.rolls_back = true;
    must_fail(w, deploy_sync_create, o, "{}", ERR_INTERNAL, "the disk is full");
    scoped_json *all = entries(w, false);
    assert_int_equal(json_array_size(all), 0);
}

static void a_dry_run_stores_nothing(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    must_call(w, deploy_sync_create, OPTS(.path = STR("/a.star"), .is_scheduled = true, .is_dry_run = true), "{}");
    assert_true(fake.is_dry_run);
    scoped_json *none = entries(w, false);
    assert_int_equal(json_array_size(none), 0);
    struct str id = schedule(w, &a, "{}");
    scoped_json *before = entries(w, false);
    must_call(w, deploy_sync_run, OPTS(.sync_id = id, .is_dry_run = true), NULL);
    fake.fails_with = "broken";
    must_fail(w, deploy_sync_run, OPTS(.sync_id = id, .is_dry_run = true), NULL, ERR_UPSTREAM, "broken");
    must_call(w, deploy_sync_delete, OPTS(.sync_id = id, .is_dry_run = true), NULL);
    scoped_json *after = entries(w, false);
    assert_true(json_equal(before, after));
}

static void failures_are_kept_until_one_succeeds(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    scoped_err err = {0};
    struct str id = schedule(w, &a, "{}");
    static const char *const states[] = {"Failing", "Failing", "Disabled"};
    fake.fails_with = "host away";
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        must_fail(w, deploy_sync_run, OPTS(.sync_id = id), NULL, ERR_UPSTREAM, "host away");
        scoped_json *all = entries(w, false);
        const json_t *e = json_array_get(all, 0), *status = json_object_get(e, "status");
        assert_string_equal(text_at(e, "status", "state"), states[i]);
        assert_string_equal(text_at(e, "status", "error"), "host away");
        assert_string_equal(text_at(e, "status", "commit_id"), "");
        assert_int_equal(json_integer_value(json_object_get(status, "failure_count")), i + 1);
        const json_t *response = json_object_get(status, "app_apply_response");
        assert_int_equal(json_array_size(json_object_get(response, "filtered_apps")), 1);
        assert_null(json_object_get(response, "commit_id"));
    }
    struct deploy_sync_list due = {0};
    MUST(deploy_sync_due(w->deploy, &a, wall_ns() + 1000000 * second_ns, &due, &err), &err);
    assert_int_equal(due.len, 0);
    fake.fails_with = NULL;
    must_call(w, deploy_sync_run, OPTS(.sync_id = id), NULL);
    scoped_json *all = entries(w, false);
    assert_string_equal(text_at(json_array_get(all, 0), "status", "state"), "Enabled");
    assert_string_equal(text_at(json_array_get(all, 0), "status", "error"), "");
    MUST(deploy_sync_due(w->deploy, &a, wall_ns() + 1000000 * second_ns, &due, &err), &err);
    assert_int_equal(due.len, 1);
    assert_true(str_eq(due.items[0].id, id) && str_eq_z(due.items[0].user_id, "admin"));
    assert_string_equal(fake.last_commit, ""); /* a failure forgets it */
    must_call(w, deploy_sync_run, OPTS(.sync_id = id), NULL);
    assert_string_equal(fake.last_commit, "c0ffee");
}

static void a_cancelled_run_has_no_outcome(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    struct str id = schedule(w, &a, "{}");
    scoped_json *before = entries(w, false);
    fake.fails_with = "cancelled";
    fake.code = ERR_CANCELLED;
    must_fail(w, deploy_sync_run, OPTS(.sync_id = id), NULL, ERR_CANCELLED, "cancelled");
    scoped_json *after = entries(w, false);
    assert_true(json_equal(before, after));
}

static void requests_are_checked(void **state)
{
    struct place_of_work *w = *state;
    const struct deploy_opts *o = OPTS(.path = STR("/a.star"), .is_scheduled = true);
    must_fail(w, deploy_sync_create, OPTS(.is_scheduled = true), "{}", 400, "path is required");
    must_fail(w, deploy_sync_create, o, "{\"reload\": \"always\"}", 400, "reload must be none, updated or matched");
    must_fail(w, deploy_sync_create, o, "{\"promote\": 1}", 400, "promote");
    must_fail(w, deploy_sync_create, OPTS(.path = STR("/a")), "{\"webhook_secret\": \"short\"}", 400, "16 characters");
    must_fail(w, deploy_sync_run, OPTS(.app = STR("x")), NULL, 400, "id is required");
    must_fail(w, deploy_sync_run, OPTS(.sync_id = STR("x")), NULL, 404, "no sync entry found with id: x");
    must_fail(w, deploy_sync_delete, OPTS(.sync_id = STR("x")), NULL, 400, "no sync entry found with id for delete: x");
    assert_int_equal(fake.calls, 0);
    scoped_arena a = {0};
    schedule(w, &a, "{\"schedule_frequency\": -1, \"webhook_secret\": \"of no use to it at all\"}");
    scoped_json *all = entries(w, true);
    const json_t *m = json_object_get(json_array_get(all, 0), "metadata");
    assert_int_equal(json_integer_value(json_object_get(m, "schedule_frequency")), 15);
    assert_string_equal(json_string_value(json_object_get(m, "webhook_secret")), "");
}

static void passwords_in_addresses_are_not_kept(void **state)
{
    static const char *const paths[][2] = {
        {"https://u@h.com/o/r/a.star", "https://h.com/o/r/a.star"},
        {"ssh://me@h.com/o/r/a.star", "ssh://me@h.com/o/r/a.star"},
        {"/a@b.star", "/a@b.star"},
    };
    struct place_of_work *w = *state;
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        must_call(w, deploy_sync_create, OPTS(.path = str_from(paths[i][0]), .is_scheduled = true), "{}");
        assert_string_equal(fake.path, paths[i][1]);
        scoped_json *all = entries(w, true);
        assert_string_equal(json_string_value(json_object_get(json_array_get(all, i), "path")), paths[i][1]);
    }
    scoped_err err = {0};
    const struct deploy_opts *o = OPTS(.path = STR("https://u:hunter2@h.com/o/r/a.star"), .is_scheduled = true);
    assert_null(call(w, deploy_sync_create, o, "{}", &err));
    assert_non_null(strstr(err_msg(&err), "[git_auth.NAME]"));
    assert_null(strstr(err_msg(&err), "hunter2"));
}

static void a_webhook_has_a_secret_that_lists_mask(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    scoped_err err = {0};
    for (int scheduled = 0; scheduled < 2; scheduled++) {
        struct deploy_hook hook;
        const struct deploy_opts *o =
            OPTS(.path = STR("github.com/o/r/a.star"), .is_scheduled = scheduled, .has_webhook = true);
        scoped_json *reply = call(w, deploy_sync_create, o, "{\"git_branch\": \"live\"}", &err);
        assert_non_null(reply);
        struct str secret = json_get_str(reply, "webhook_secret", (struct str){0});
        struct str id = json_get_str(reply, "id", (struct str){0});
        assert_int_equal(secret.len, 48);
        assert_int_equal(json_get_int(reply, "schedule_minutes", -1), scheduled ? 15 : 0);
        scoped_json *masked = entries(w, false), *revealed = entries(w, true);
        assert_string_equal(text_at(json_array_get(masked, (size_t)scheduled), "metadata", "webhook_secret"), "********");
        assert_true(str_eq_z(secret, text_at(json_array_get(revealed, (size_t)scheduled), "metadata", "webhook_secret")));
        MUST(deploy_hook_find(w->deploy, &a, STR("sync"), id, &hook, &err), &err);
        assert_true(str_eq(hook.secret, secret) && hook.is_git && str_eq_z(hook.branch, "live"));
    }
    struct str plain = schedule(w, &a, "{}");
    struct deploy_hook hook;
    assert_false(deploy_hook_find(w->deploy, &a, STR("sync"), plain, &hook, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

struct runner {
    struct place_of_work *w;
    struct str id;
    pthread_t thread;
    bool ok;
};

static void *run_it(void *arg)
{
    struct runner *r = arg;
    scoped_err err = {0};
    scoped_json *reply = call(r->w, deploy_sync_run, OPTS(.sync_id = r->id), NULL, &err);
    r->ok = reply != NULL;
    return NULL;
}

static void an_entry_runs_once_at_a_time(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    struct str id = schedule(w, &a, "{}");
    struct runner runners[4];
    pthread_mutex_lock(&fake.gate);
    for (size_t i = 0; i < ARRAY_LEN(runners); i++) {
        runners[i] = (struct runner){.w = w, .id = id};
        assert_int_equal(pthread_create(&runners[i].thread, NULL, run_it, &runners[i]), 0);
    }
    while (atomic_load(&fake.running) == 0)
        sched_yield();
    pthread_mutex_unlock(&fake.gate);
    for (size_t i = 0; i < ARRAY_LEN(runners); i++) {
        pthread_join(runners[i].thread, NULL);
        assert_true(runners[i].ok);
    }
    assert_int_equal(fake.at_once_max, 1);
    assert_int_equal(fake.calls, 5);
}

static void deleting_does_not_wait_for_a_run(void **state)
{
    struct place_of_work *w = *state;
    scoped_arena a = {0};
    struct runner r = {.w = w, .id = schedule(w, &a, "{}")};
    pthread_mutex_lock(&fake.gate);
    assert_int_equal(pthread_create(&r.thread, NULL, run_it, &r), 0);
    while (atomic_load(&fake.running) == 0)
        sched_yield();
    must_call(w, deploy_sync_delete, OPTS(.sync_id = r.id), NULL);
    pthread_mutex_unlock(&fake.gate);
    pthread_join(r.thread, NULL);
    assert_true(r.ok);
    scoped_json *all = entries(w, false);
    assert_int_equal(json_array_size(all), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_changes_the_state),
        cmocka_unit_test(the_clock_says_what_is_due),
        cmocka_unit_test(intervals_grow_up_to_a_limit),
        cmocka_unit_test_setup_teardown(creation_runs_and_stores, sync_setup, work_teardown),
        cmocka_unit_test_setup_teardown(a_first_run_that_fails_stores_nothing, sync_setup, work_teardown),
        cmocka_unit_test_setup_teardown(a_dry_run_stores_nothing, sync_setup, work_teardown),
        cmocka_unit_test_setup_teardown(failures_are_kept_until_one_succeeds, sync_setup, work_teardown),
        cmocka_unit_test_setup_teardown(a_cancelled_run_has_no_outcome, sync_setup, work_teardown),
        cmocka_unit_test_setup_teardown(requests_are_checked, sync_setup, work_teardown),
        cmocka_unit_test_setup_teardown(passwords_in_addresses_are_not_kept, sync_setup, work_teardown),
        cmocka_unit_test_setup_teardown(a_webhook_has_a_secret_that_lists_mask, sync_setup, work_teardown),
        cmocka_unit_test_setup_teardown(an_entry_runs_once_at_a_time, sync_setup, work_teardown),
        cmocka_unit_test_setup_teardown(deleting_does_not_wait_for_a_run, sync_setup, work_teardown),
    };
    return cmocka_run_group_tests_name("deploy/sync", tests, NULL, NULL);
}
