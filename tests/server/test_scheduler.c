/* tests/server/test_scheduler.c: functions called at their own pace, and never after the end.
 * SPDX-License-Identifier: Apache-2.0 */
#include "scheduler.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

struct counter {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int quick, slow;
};

static void count_quick(void *arg)
{
    struct counter *c = arg;
    pthread_mutex_lock(&c->lock);
    c->quick++;
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

static void count_slow(void *arg)
{
    struct counter *c = arg;
    pthread_mutex_lock(&c->lock);
    c->slow++;
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

static void each_function_has_its_own_pace(void **state)
{
    struct counter c = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0};
    scoped_err err = {0};
    struct scheduler *s = scheduler_open();
    scheduler_every(s, 5, count_quick, &c);
    scheduler_every(s, 20, count_slow, &c);
    assert_true(scheduler_start(s, &err));
    pthread_mutex_lock(&c.lock);
    while (c.quick < 9 || c.slow < 3)
        pthread_cond_wait(&c.changed, &c.lock);
    pthread_mutex_unlock(&c.lock);
    scheduler_close(s);
    int quick = c.quick;
    struct timespec t = {.tv_nsec = 20000000};
    nanosleep(&t, NULL);
    assert_int_equal(c.quick, quick); /* nothing after the end */
    assert_true(c.quick > c.slow);
}

static void one_without_functions_has_no_thread(void **state)
{
    scoped_err err = {0};
    struct scheduler *s = scheduler_open();
    assert_true(scheduler_start(s, &err));
    scheduler_close(s);
    s = scheduler_open();
    scheduler_every(s, 1000, count_quick, NULL);
    scheduler_close(s); /* never started */
    scheduler_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_function_has_its_own_pace),
        cmocka_unit_test(one_without_functions_has_no_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
