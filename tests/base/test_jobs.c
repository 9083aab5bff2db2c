/* tests/base/test_jobs.c: job threads. Includes the implementation to shorten its idle time.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base.h"

#include "jobs.c"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static atomic_int count, at_once, most_at_once;
static atomic_bool gate;

static int reset(void **state)
{
    count = at_once = most_at_once = 0;
    gate = false;
    return 0;
}

static void add_one(void *arg)
{
    atomic_fetch_add(&count, 1);
}

/* Stays until the gate opens, noting how many do. */
static void stay(void *arg)
{
    int n = atomic_fetch_add(&at_once, 1) + 1;
    int most = atomic_load(&most_at_once);
    while (n > most && !atomic_compare_exchange_weak(&most_at_once, &most, n))
        ;
    while (!atomic_load(&gate))
        sched_yield();
    atomic_fetch_sub(&at_once, 1);
    atomic_fetch_add(&count, 1);
}

#define WAIT_FOR(condition)                                                                             \
    do {                                                                                                \
        int64_t until_ = clock_ms() + 30000;                                                            \
        while (!(condition) && clock_ms() < until_)                                                     \
            sched_yield();                                                                              \
        if (!(condition))                                                                               \
            fail_msg("still not: %s", #condition);                                                      \
    } while (0)

static unsigned live(struct jobs *j)
{
    pthread_mutex_lock(&j->lock);
    unsigned n = j->live;
    pthread_mutex_unlock(&j->lock);
    return n;
}

static void closing_runs_everything_queued(void **state)
{
    struct jobs *j = jobs_open("test", 4);
    for (int i = 0; i < 5000; i++)
        assert_true(jobs_submit(j, add_one, NULL));
    jobs_close(j);
    assert_int_equal(count, 5000);
    jobs_close(jobs_open("unused", 4));
    jobs_close(NULL);
}

static void blocked_threads_get_company_up_to_the_maximum(void **state)
{
    struct jobs *j = jobs_open("test", 5);
    for (int i = 0; i < 20; i++)
        assert_true(jobs_submit(j, stay, NULL));
    WAIT_FOR(at_once == 5);
    assert_int_equal(jobs_pending(j), 20);
    gate = true;
    jobs_close(j);
    assert_int_equal(count, 20);
    assert_int_equal(most_at_once, 5);
}

static void lanes_have_their_own_cap_and_leave_room_for_others(void **state)
{
    struct jobs *j = jobs_open("test", 8);
    struct jobs_lane *two = jobs_lane_new(j, 2);
    for (int i = 0; i < 30; i++)
        assert_true(jobs_lane_submit(two, stay, NULL));
    WAIT_FOR(at_once == 2);
    assert_true(jobs_submit(j, add_one, NULL));
    WAIT_FOR(count == 1);
    assert_int_equal(at_once, 2);
    gate = true;
    jobs_close(j);
    assert_int_equal(count, 31);
    assert_int_equal(most_at_once, 2);
}

static int order[100];
static void note_order(void *arg)
{
    order[atomic_fetch_add(&count, 1)] = (int)(intptr_t)arg;
}

static void a_lane_of_one_keeps_the_order(void **state)
{
    struct jobs *j = jobs_open("test", 4);
    struct jobs_lane *one = jobs_lane_new(j, 1);
    for (int i = 0; i < 100; i++)
        assert_true(jobs_lane_submit(one, note_order, (void *)(intptr_t)i));
    jobs_close(j);
    for (int i = 0; i < 100; i++)
        assert_int_equal(order[i], i);
}

static void submit_again(void *arg)
{
    struct jobs *j = arg;
    if (atomic_fetch_add(&count, 1) < 1000 && !jobs_submit(j, submit_again, j))
        fail_msg("refused");
}

static void jobs_may_submit_jobs(void **state)
{
    struct jobs *j = jobs_open("test", 3);
    for (int i = 0; i < 4; i++)
        assert_true(jobs_submit(j, submit_again, j));
    WAIT_FOR(jobs_pending(j) == 0);
    jobs_close(j);
    assert_true(count >= 1004);
}

static void the_queue_has_a_ceiling(void **state)
{
    struct jobs *j = jobs_open("test", 1);
    assert_true(jobs_submit(j, stay, NULL));
    WAIT_FOR(at_once == 1);
    int n = 0;
    while (jobs_submit(j, add_one, NULL))
        n++;
    assert_int_equal(n, WAITING_MAX);
    gate = true;
    jobs_close(j);
    assert_int_equal(count, WAITING_MAX + 1);
}

static void submit_when_closing(void *arg)
{
    struct jobs *j = arg;
    while (!jobs_is_closing(j))
        sched_yield();
    if (!jobs_submit(j, add_one, NULL))
        atomic_store(&gate, true);
}

static void nothing_new_is_taken_while_closing(void **state)
{
    struct jobs *j = jobs_open("test", 2);
    assert_true(jobs_submit(j, submit_when_closing, j));
    jobs_close(j);
    assert_true(gate);
    assert_int_equal(count, 0);
}

static void idle_threads_end_and_new_ones_start(void **state)
{
    struct jobs *j = jobs_open("test", 3);
    j->idle_ms = 10;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 3; i++)
            assert_true(jobs_submit(j, add_one, NULL));
        WAIT_FOR(count == 3 * (round + 1));
        WAIT_FOR(live(j) == 0);
    }
    jobs_close(j);
}

static void old_threads_end_although_there_is_always_work(void **state)
{
    struct jobs *j = jobs_open("test", 3);
    j->life_ms = 0;
    for (int i = 0; i < 2000; i++) {
        assert_true(jobs_submit(j, add_one, NULL));
        if (i % 100 == 0)
            WAIT_FOR(live(j) == 0); /* idle_ms is far away */
    }
    WAIT_FOR(live(j) == 0);
    assert_int_equal(count, 2000);
    assert_true(j->has_ended); /* one is left to be joined */
    jobs_close(j);
}

#define CASE(f) cmocka_unit_test_setup(f, reset)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(closing_runs_everything_queued),
        CASE(blocked_threads_get_company_up_to_the_maximum),
        CASE(lanes_have_their_own_cap_and_leave_room_for_others),
        CASE(a_lane_of_one_keeps_the_order),
        CASE(jobs_may_submit_jobs),
        CASE(the_queue_has_a_ceiling),
        CASE(nothing_new_is_taken_while_closing),
        CASE(idle_threads_end_and_new_ones_start),
        CASE(old_threads_end_although_there_is_always_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
