/* tests/http/test_loop.c: posting, deferred calls, timers, dates.
 * SPDX-License-Identifier: Apache-2.0 */
#include "http_int.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static struct http_loops *loops;

static int set_up(void **state)
{
    scoped_err err = {0};
    loops = http_loops_open(2, &err);
    return loops ? 0 : -1;
}

static int tear_down(void **state)
{
    http_loops_close(loops);
    return 0;
}

static void nothing(struct http_loop *loop, void *arg)
{
}

/* Each poster's letters carry its number and a count. */
enum { POSTERS = 4, LETTERS = 20000 };
struct letter_seen {
    int poster, n;
};
static int last_of[POSTERS];
static int received; /* loop 0 only */

static void on_letter(struct http_loop *loop, void *arg)
{
    struct letter_seen *l = arg;
    assert(loop == http_loop_current() && http_loop_index(loop) == 0);
    assert(l->n == last_of[l->poster] + 1);
    last_of[l->poster] = l->n;
    received++;
    free(l);
}

static void *post_many(void *arg)
{
    for (int i = 1; i <= LETTERS; i++) {
        struct letter_seen *l = malloc(sizeof *l);
        *l = (struct letter_seen){*(int *)arg, i};
        http_loop_post(http_loops_at(loops, 0), on_letter, l);
    }
    return NULL;
}

static void letters_arrive_in_order(void **state)
{
    pthread_t t[POSTERS];
    int number[POSTERS];
    for (int i = 0; i < POSTERS; i++) {
        number[i] = i;
        pthread_create(&t[i], NULL, post_many, &number[i]);
    }
    for (int i = 0; i < POSTERS; i++)
        pthread_join(t[i], NULL);
    http_loops_run(loops, nothing, NULL);
    assert_int_equal(received, POSTERS * LETTERS);
    assert_null(http_loop_current());
}

/* Deferred calls run in order, after the callback, and a stopped one does not. */
static struct {
    struct http_soon a, b, c, d;
    char order[8];
    int len;
    struct http_loop *loop;
} s;

static void note(char c)
{
    s.order[s.len++] = c;
}
static void run_d(struct http_soon *soon)
{
    note('d');
}
static void run_a(struct http_soon *soon)
{
    note('a');
    http_soon_stop(s.loop, &s.b);
    http_soon_start(s.loop, &s.d, run_d);
    http_soon_start(s.loop, &s.a, run_d); /* again, in the next turn, as something else */
}
static void run_b(struct http_soon *soon)
{
    note('b');
}
static void run_c(struct http_soon *soon)
{
    note('c');
}

static void start_soons(struct http_loop *loop, void *arg)
{
    if (http_loop_index(loop) != 0)
        return;
    s.loop = loop;
    http_soon_start(loop, &s.a, run_a);
    http_soon_start(loop, &s.b, run_b);
    http_soon_start(loop, &s.c, run_c);
    http_soon_start(loop, &s.b, run_b);
    http_soon_start(loop, &s.d, run_c);
    http_soon_stop(loop, &s.d);
    note('-');
}

static void deferred_calls(void **state)
{
    memset(&s, 0, sizeof s);
    http_loops_run(loops, start_soons, NULL);
    for (int i = 0; i < 5; i++)
        http_loops_run(loops, nothing, NULL);
    s.order[s.len] = '\0';
    assert_string_equal(s.order, "-acdd");
}

/* Timers. */
enum { TIMERS = 200 };
static struct {
    struct http_timer at[TIMERS], stopped, moved, again;
    int64_t started;
    int fired, early, moved_fired, again_fired;
} timers;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t all = PTHREAD_COND_INITIALIZER;

static void on_timer(struct http_timer *t)
{
    if (clock_ms() + 1 < t->deadline_ms)
        timers.early++;
    pthread_mutex_lock(&lock);
    if (++timers.fired == TIMERS)
        pthread_cond_signal(&all);
    pthread_mutex_unlock(&lock);
    /* One in the same slot that must not fire any more. */
    http_timer_stop(&timers.stopped);
}
static void on_stopped(struct http_timer *t)
{
    BUG("a stopped timer fired");
}
static void on_moved(struct http_timer *t)
{
    timers.moved_fired++;
}
static void on_again(struct http_timer *t)
{
    if (++timers.again_fired < 2)
        http_timer_start(t, t->loop, 0, on_again);
}

static void start_timers(struct http_loop *loop, void *arg)
{
    if (http_loop_index(loop) != 0)
        return;
    for (int i = 0; i < TIMERS; i++)
        http_timer_start(&timers.at[i], loop, i * 5, on_timer);
    http_timer_start(&timers.stopped, loop, 999, on_stopped);
    http_timer_start(&timers.moved, loop, 100000000, on_moved); /* beyond the wheel */
    http_timer_start(&timers.moved, loop, 200, on_moved);       /* then sooner */
    http_timer_start(&timers.again, loop, 0, on_again);
    http_timer_start(&timers.again, loop, 300, on_again); /* then later */
}

static void check_timers(struct http_loop *loop, void *arg)
{
    if (http_loop_index(loop) != 0)
        return;
    assert(!http_timer_is_armed(&timers.stopped) && !http_timer_is_armed(&timers.moved));
    assert(timers.early == 0 && timers.moved_fired == 1 && timers.again_fired == 2);
}

static void timers_fire_once_and_not_early(void **state)
{
    http_loops_run(loops, start_timers, NULL);
    pthread_mutex_lock(&lock);
    while (timers.fired < TIMERS)
        pthread_cond_wait(&all, &lock);
    pthread_mutex_unlock(&lock);
    http_loops_run(loops, check_timers, NULL);
}

static void dates(void **state)
{
    static const struct {
        int64_t at;
        const char *text;
    } cases[] = {{0, "Thu, 01 Jan 1970 00:00:00 GMT"},
                 {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"},
                 {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char out[HTTP_DATE_LEN];
        http_date_format(cases[i].at, out);
        if (memcmp(out, cases[i].text, HTTP_DATE_LEN) != 0)
            fail_msg("%.29s is not %s", out, cases[i].text);
    }
}

static atomic_int closed_order;

static void on_close(struct http_loop *loop, void *arg)
{
    if (http_loop_index(loop) == 0)
        atomic_store(&closed_order, atomic_load(&closed_order) * 10 + *(int *)arg);
}

static void register_closers(struct http_loop *loop, void *arg)
{
    static int one = 1, two = 2;
    http_loop_at_close(loop, on_close, &one);
    http_loop_at_close(loop, on_close, &two);
    http_loop_set_data(loop, HTTP_SLOT_APP, loop);
    assert(http_loop_data(loop, HTTP_SLOT_APP) == loop && !http_loop_data(loop, HTTP_SLOT_SITE));
}

static void closers_run_newest_first(void **state)
{
    scoped_err err = {0};
    loops = http_loops_open(3, &err);
    assert_int_equal(http_loops_len(loops), 3);
    http_loops_run(loops, register_closers, NULL);
    http_loops_close(loops);
    assert_int_equal(atomic_load(&closed_order), 21);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(letters_arrive_in_order),
        T(deferred_calls),
        T(timers_fire_once_and_not_early),
        cmocka_unit_test(dates),
        cmocka_unit_test(closers_run_newest_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
