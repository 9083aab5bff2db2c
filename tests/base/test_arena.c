/* tests/base/test_arena.c: arenas.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void limit_is_a_ceiling(void **state)
{
    struct arena a;
    arena_init(&a, 64 * 1024);
    size_t got = 0;
    while (arena_try_alloc(&a, 1000))
        got += 1000;
    assert_true(got > 40 * 1000 && a.used <= 64 * 1024);
    assert_null(arena_try_alloc(&a, SIZE_MAX - 3));
    arena_release(&a);
    assert_int_equal(a.used, 0);
}

static void big_blocks_leave_the_small_chunk_in_use(void **state)
{
    scoped_arena a = {0};
    char *x = arena_alloc(&a, 16);
    arena_alloc(&a, 100000);
    char *y = arena_alloc(&a, 16);
    assert_ptr_equal(y, x + 16);
}

static void no_bytes_are_a_valid_block(void **state)
{
    scoped_arena a = {0};
    assert_non_null(arena_alloc(&a, 0));
    assert_int_equal(str_dup(&a, (struct str){0}).len, 0);
}

static int ran[2], ran_n;
static void note(void *arg)
{
    ran[ran_n++] = (int)(intptr_t)arg;
}

static void deferred_runs_newest_first(void **state)
{
    struct arena a = {0};
    arena_defer(&a, note, (void *)1);
    arena_defer(&a, note, (void *)2);
    arena_reset(&a);
    assert_int_equal(ran_n, 2);
    assert_int_equal(ran[0], 2);
    arena_release(&a);
    assert_int_equal(ran_n, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limit_is_a_ceiling), cmocka_unit_test(no_bytes_are_a_valid_block),
        cmocka_unit_test(big_blocks_leave_the_small_chunk_in_use),
        cmocka_unit_test(deferred_runs_newest_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
