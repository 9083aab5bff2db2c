/* tests/base/test_slab.c: blocks that live long. Includes the implementation, and has its regions under sanitizers, too.
 * SPDX-License-Identifier: Apache-2.0 */
#define SLAB_TEST
#include "base.h"

#include "slab.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static size_t region_count(size_t size)
{
    size_t n = 0;
    for (struct region *r = regions[rounded(size) / SLAB_ALIGN - 1]; r; r = r->next)
        n++;
    return n;
}

static void blocks_are_aligned_apart_and_keep_their_bytes(void **state)
{
    enum { N = 3000 };
    static unsigned char *blocks[N];
    static size_t sizes[N];
    for (size_t i = 0; i < N; i++) {
        sizes[i] = i * 7 % (SLAB_MAX + 200); /* 0 and too large ones among them */
        blocks[i] = slab_alloc(sizes[i]);
        assert_int_equal((uintptr_t)blocks[i] % SLAB_ALIGN, 0);
        memset(blocks[i], (int)(i % 251), sizes[i]);
        if (i % 3 == 0) {
            slab_free(blocks[i / 2], sizes[i / 2]);
            blocks[i / 2] = slab_zalloc(sizes[i / 2]);
            for (size_t at = 0; at < sizes[i / 2]; at++)
                assert_int_equal(blocks[i / 2][at], 0);
            memset(blocks[i / 2], (int)(i / 2 % 251), sizes[i / 2]);
        }
    }
    for (size_t i = 0; i < N; i++) {
        for (size_t at = 0; at < sizes[i]; at++)
            assert_int_equal(blocks[i][at], i % 251);
        slab_free(blocks[i], sizes[i]);
    }
    for (size_t c = 0; c < CLASSES; c++)
        assert_null(regions[c]);
    slab_free(NULL, 100);
}

static void a_region_goes_when_it_is_empty_and_full_ones_are_not_asked(void **state)
{
    enum { SIZE = 1000, PER_REGION = (REGION - sizeof(struct region)) / 1024 };
    void *blocks[2 * PER_REGION];
    for (size_t i = 0; i < 2 * PER_REGION; i++)
        blocks[i] = slab_alloc(SIZE);
    assert_int_equal(region_count(SIZE), 0); /* both are full */
    slab_free(blocks[0], SIZE);
    assert_int_equal(region_count(SIZE), 1);
    assert_ptr_equal(slab_alloc(SIZE), blocks[0]);
    for (size_t i = 0; i < PER_REGION; i++)
        slab_free(blocks[i], SIZE);
    assert_int_equal(region_count(SIZE), 0); /* the first is gone */
    slab_free(blocks[PER_REGION], SIZE);
    assert_int_equal(region_count(SIZE), 1);
    for (size_t i = PER_REGION + 1; i < 2 * PER_REGION; i++)
        slab_free(blocks[i], SIZE);
    assert_int_equal(region_count(SIZE), 0);
}

static void *churn(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    unsigned char *kept[32] = {0};
    size_t sizes[32] = {0};
    for (int i = 0; i < 5000; i++) {
        seed = seed * 1103515245 + 12345;
        unsigned at = seed >> 16 & 31;
        if (kept[at])
            assert_int_equal(kept[at][0], at);
        slab_free(kept[at], sizes[at]);
        sizes[at] = 1 + (seed >> 8) % 600;
        kept[at] = slab_alloc(sizes[at]);
        kept[at][0] = (unsigned char)at;
    }
    for (unsigned at = 0; at < 32; at++)
        slab_free(kept[at], sizes[at]);
    return NULL;
}

static void threads_may_use_it_at_once(void **state)
{
    pthread_t threads[4];
    for (uintptr_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn, (void *)(i + 1)), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (size_t c = 0; c < CLASSES; c++)
        assert_null(regions[c]);
}

static void small_arenas_take_their_first_chunks_from_it(void **state)
{
    struct arena a = {0};
    arena_small(&a);
    for (int i = 0; i < 300; i++)
        memset(arena_alloc(&a, 100), i, 100);
    memset(arena_alloc(&a, 1500), 1, 1500);
    arena_reset(&a);
    memset(arena_alloc(&a, 400), 2, 400);
    assert_true(a.used == 512);
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_aligned_apart_and_keep_their_bytes),
        cmocka_unit_test(a_region_goes_when_it_is_empty_and_full_ones_are_not_asked),
        cmocka_unit_test(threads_may_use_it_at_once),
        cmocka_unit_test(small_arenas_take_their_first_chunks_from_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
