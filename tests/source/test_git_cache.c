/* tests/source/test_git_cache.c: mirrors that many sessions use: alone, shared, worn, and too many of them.
 * SPDX-License-Identifier: Apache-2.0 */
#include "git_int.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

struct place {
    struct arena arena;
    struct str dir;
    struct src_cache *cache;
};

static void open_cache(struct place *p, size_t max_mirrors, int64_t ttl_ms)
{
    scoped_err err = {0};
    p->cache = src_cache_open(&(struct src_cache_opts){.dir = path_join(&p->arena, p->dir, STR("git")),
                                                       .max_mirrors = max_mirrors, .head_ttl_ms = ttl_ms}, &err);
    if (!p->cache)
        fail_msg("%s", err_msg(&err));
}

static int setup(void **state)
{
    struct place *p = xcalloc(1, sizeof *p);
    scoped_err err = {0};
    if (!fs_temp_dir(&p->arena, STR("openrun-cache-"), &p->dir, &err))
        return -1;
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    scoped_err err = {0};
    src_cache_close(p->cache);
    fs_remove_tree(p->dir, &err);
    arena_release(&p->arena);
    free(p);
    return 0;
}

/* Takes a mirror, makes its folder as a fetch would, and shares it. */
static struct mirror *use(struct place *p, const char *key)
{
    scoped_err err = {0};
    struct mirror *m = mirror_take(p->cache, str_from(key), NULL);
    if (m && !fs_mkdir_p(mirror_dir(m), 0700, &err))
        fail_msg("%s", err_msg(&err));
    if (m)
        mirror_share(m, true, false);
    return m;
}

static struct str dir_of(struct place *p, struct mirror *m)
{
    return str_dup(&p->arena, mirror_dir(m));
}

static void no_cache_gives_no_mirrors(void **state)
{
    struct place *p = *state;
    assert_null(mirror_take(NULL, STR("k"), NULL));
    open_cache(p, 0, 0);
    assert_null(mirror_take(p->cache, STR("k"), NULL));
    assert_false(fs_exists(path_join(&p->arena, p->dir, STR("git"))));
}

static void a_mirror_is_found_again(void **state)
{
    struct place *p = *state;
    open_cache(p, 2, 0);
    struct mirror *m = use(p, "k"), *other = use(p, "l");
    assert_true(m && other && m != other);
    mirror_drop(m);
    assert_ptr_equal(use(p, "k"), m);
    assert_true(fs_exists(mirror_dir(m)));
    mirror_drop(m);
    mirror_drop(other);
}

static void the_one_used_longest_ago_makes_room(void **state)
{
    struct place *p = *state;
    open_cache(p, 2, 0);
    struct mirror *a = use(p, "a"), *b = use(p, "b");
    struct str dir_a = dir_of(p, a), dir_b = dir_of(p, b);
    mirror_drop(a);
    mirror_drop(b);
    mirror_drop(use(p, "a")); /* now b is the oldest */
    struct mirror *c = use(p, "c");
    assert_true(fs_exists(dir_a) && !fs_exists(dir_b));
    struct mirror *again = use(p, "a");
    assert_null(use(p, "d")); /* both are used */
    mirror_drop(again);
    struct mirror *d = use(p, "d");
    assert_non_null(d);
    assert_false(fs_exists(dir_a));
    mirror_drop(c);
    mirror_drop(d);
}

static void a_bad_mirror_goes_with_its_last_user(void **state)
{
    struct place *p = *state;
    open_cache(p, 3, 0);
    struct mirror *first = use(p, "k"), *second = mirror_take(p->cache, STR("k"), NULL);
    struct str dir = dir_of(p, first);
    assert_ptr_equal(first, second);
    mirror_share(second, false, true);
    struct mirror *fresh = use(p, "k");
    assert_ptr_not_equal(fresh, first);
    mirror_drop(second);
    assert_true(fs_exists(dir));
    mirror_drop(first);
    assert_false(fs_exists(dir));
    mirror_drop(fresh);
}

static void a_worn_mirror_is_made_anew(void **state)
{
    struct place *p = *state;
    open_cache(p, 3, 0);
    struct str dir = {0};
    int i = 0;
    for (bool is_there = true; is_there && i < 1000; i++) {
        struct mirror *m = use(p, "k");
        dir = dir_of(p, m);
        mirror_drop(m);
        is_there = fs_exists(dir);
    }
    assert_int_equal(i, 200);
}

static void waiting_ends_with_a_cancel(void **state)
{
    struct place *p = *state;
    atomic_bool cancel = true;
    open_cache(p, 3, 0);
    struct mirror *m = mirror_take(p->cache, STR("k"), NULL);
    assert_null(mirror_take(p->cache, STR("k"), &cancel));
    mirror_share(m, false, false);
    mirror_drop(m);
}

static void heads_are_believed_as_long_as_allowed(void **state)
{
    struct place *p = *state;
    struct str commit;
    assert_false(cache_head_get(NULL, STR("k"), &p->arena, &commit));
    open_cache(p, 0, 60000);
    assert_false(cache_head_get(p->cache, STR("k"), &p->arena, &commit));
    cache_head_put(p->cache, STR("k"), STR("one"));
    cache_head_put(p->cache, STR("l"), STR("other"));
    cache_head_put(p->cache, STR("k"), STR("two"));
    assert_true(cache_head_get(p->cache, STR("k"), &p->arena, &commit) && str_eq_z(commit, "two"));
    assert_true(cache_head_get(p->cache, STR("l"), &p->arena, &commit) && str_eq_z(commit, "other"));
    for (int i = 0; i < 5000; i++)
        cache_head_put(p->cache, str_printf(&p->arena, "n%d", i), STR("x"));
    assert_false(cache_head_get(p->cache, STR("k"), &p->arena, &commit)); /* too many since */
    src_cache_close(p->cache);
    open_cache(p, 0, 0);
    cache_head_put(p->cache, STR("k"), STR("one"));
    assert_false(cache_head_get(p->cache, STR("k"), &p->arena, &commit));
}

/* --- many threads --------------------------------------------------------------------------------- */

static struct {
    struct place *p;
    atomic_int alone[4];
    atomic_int took;
} crowd;

static void *member(void *arg)
{
    static const char *const keys[] = {"a", "b", "c", "d"};
    size_t seed = (size_t)(uintptr_t)arg;
    for (size_t i = 0; i < 300; i++) {
        size_t k = (seed * 7 + i * 13) % ARRAY_LEN(keys);
        struct mirror *m = mirror_take(crowd.p->cache, str_from(keys[k]), NULL);
        if (!m)
            continue;
        atomic_fetch_add(&crowd.took, 1);
        assert_int_equal(atomic_fetch_add(&crowd.alone[k], 1), 0);
        sched_yield();
        atomic_fetch_sub(&crowd.alone[k], 1);
        mirror_share(m, i % 3 == 0, false);
        scoped_arena a = {0};
        struct str commit;
        cache_head_put(crowd.p->cache, str_from(keys[k]), STR("c0ffee"));
        if (cache_head_get(crowd.p->cache, str_from(keys[k]), &a, &commit))
            assert_true(str_eq_z(commit, "c0ffee"));
        mirror_drop(m);
    }
    return NULL;
}

static void many_threads_each_have_it_alone(void **state)
{
    struct place *p = *state;
    pthread_t threads[6];
    open_cache(p, 3, 60000);
    crowd.p = p;
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, member, (void *)(uintptr_t)i), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    assert_true(crowd.took > 0);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(no_cache_gives_no_mirrors),
        TEST(a_mirror_is_found_again),
        TEST(the_one_used_longest_ago_makes_room),
        TEST(a_bad_mirror_goes_with_its_last_user),
        TEST(a_worn_mirror_is_made_anew),
        TEST(waiting_ends_with_a_cancel),
        TEST(heads_are_believed_as_long_as_allowed),
        TEST(many_threads_each_have_it_alone),
    };
    return cmocka_run_group_tests_name("source/git_cache", tests, NULL, NULL);
}
