/* tests/deploy/test_merge.c: the three-way merge, a row of the specification's table at a time.
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_test.h"

static const char *const mode_names[] = {"normal", "adopt", "clobber"};

/* "a=1 b=2" */
static struct map map_of(struct arena *a, const char *text)
{
    struct map m;
    struct str rest = str_from(text), word, key, value;
    map_init(&m, a);
    while (!str_is_empty(rest) && str_next(&rest, ' ', &word)) {
        str_cut(word, '=', &key, &value);
        store_map_set(a, &m, key, value);
    }
    return m;
}

static struct str map_text(struct arena *a, const struct map *m)
{
    struct str out = STR("");
    map_foreach(e, m) out = str_printf(a, STR_FMT "%s" STR_FMT "=" STR_FMT, STR_ARG(out), out.len ? " " : "",
                                       STR_ARG(e->key), STR_ARG(*(struct str *)e->value));
    return out;
}

static struct str_list list_of(struct arena *a, const char *text)
{
    struct str_list l = {0};
    struct str rest = str_from(text), word;
    while (!str_is_empty(rest) && str_next(&rest, ' ', &word))
        str_list_add(a, &l, word);
    return l;
}

static struct str list_text(struct arena *a, const struct str_list *l)
{
    struct str out = STR("");
    vec_foreach(x, l) out =
        str_printf(a, STR_FMT "%s" STR_FMT, STR_ARG(out), out.len ? " " : "", STR_ARG(*x));
    return out;
}

/* Old, new, live, and what live becomes; the same as live if nothing is to change. */
struct row {
    const char *name;
    enum merge_mode mode;
    const char *old, *now, *live, *becomes;
};

static const struct row scalars[] = {
    {"a new declaration is taken", MERGE_NORMAL, "a", "b", "a", "b"},
    {"one that is live already changes nothing", MERGE_NORMAL, "a", "b", "b", "b"},
    {"what was changed by hand beside the same declaration is kept", MERGE_NORMAL, "a", "a", "hand", "hand"},
    {"a new declaration wins over what was changed by hand", MERGE_NORMAL, "a", "b", "hand", "b"},
    {"what is no longer declared goes", MERGE_NORMAL, "a", "", "a", ""},
    {"adopted, it becomes what is declared", MERGE_ADOPT, "", "b", "a", "b"},
    {"adopted, the same changes nothing", MERGE_ADOPT, "", "a", "a", "a"},
    {"clobbered, what was changed by hand goes", MERGE_CLOBBER, "a", "a", "hand", "a"},
    {"clobbered, the same changes nothing", MERGE_CLOBBER, "x", "a", "a", "a"},
};

static const struct row maps[] = {
    {"a key with a new value is set", MERGE_NORMAL, "a=1", "a=2", "a=1", "a=2"},
    {"a key with a new value that is live already changes nothing", MERGE_NORMAL, "a=1", "a=2", "a=2", "a=2"},
    {"a key that says the same keeps what was changed by hand", MERGE_NORMAL, "a=1", "a=1", "a=hand",
     "a=hand"},
    {"a key that says the same stays away if it was removed by hand", MERGE_NORMAL, "a=1", "a=1", "", ""},
    {"a key with a new value wins over what was changed by hand", MERGE_NORMAL, "a=1", "a=2", "a=hand",
     "a=2"},
    {"a key no longer declared goes", MERGE_NORMAL, "a=1 b=2", "b=2", "a=1 b=2", "b=2"},
    {"a key no longer declared goes even if it was changed by hand", MERGE_NORMAL, "a=1", "", "a=hand", ""},
    {"a key no longer declared that is gone already changes nothing", MERGE_NORMAL, "a=1", "", "b=1", "b=1"},
    {"a key newly declared is set", MERGE_NORMAL, "", "a=1", "", "a=1"},
    {"a key newly declared wins over what was set by hand", MERGE_NORMAL, "", "a=1", "a=hand", "a=1"},
    {"a key newly declared that is live already changes nothing", MERGE_NORMAL, "", "a=1", "a=1", "a=1"},
    {"a key that is only live is kept", MERGE_NORMAL, "a=1", "a=2", "a=1 hand=x", "a=2 hand=x"},
    {"adopted keys are set, others kept", MERGE_ADOPT, "", "a=1 b=2", "a=0 hand=x", "a=1 hand=x b=2"},
    {"adopting what is there already changes nothing", MERGE_ADOPT, "", "a=1", "hand=x a=1", "hand=x a=1"},
    {"clobbering removes what is not declared", MERGE_CLOBBER, "a=1", "a=1", "a=1 hand=x", "a=1"},
    {"clobbering sets what was changed by hand", MERGE_CLOBBER, "a=1", "a=1", "a=hand", "a=1"},
    {"clobbering what is the same in another order changes nothing", MERGE_CLOBBER, "", "a=1 b=2", "b=2 a=1",
     "b=2 a=1"},
    {"clobbering with nothing empties", MERGE_CLOBBER, "a=1", "", "a=1", ""},
    {"nothing stays nothing", MERGE_NORMAL, "", "", "", ""},
};

static const struct row lists[] = {
    {"a new item is added at the end", MERGE_NORMAL, "a", "b a", "a", "a b"},
    {"an item no longer declared goes", MERGE_NORMAL, "a b", "b", "a b", "b"},
    {"an item added by hand is kept", MERGE_NORMAL, "a", "a b", "hand a", "hand a b"},
    {"an item removed by hand stays away", MERGE_NORMAL, "a b", "a b", "b", "b"},
    {"another order changes nothing", MERGE_NORMAL, "a b", "b a", "a b", "a b"},
    {"a new item that is live already changes nothing", MERGE_NORMAL, "", "a", "a", "a"},
    {"adopted items are added", MERGE_ADOPT, "", "a b", "hand b", "hand b a"},
    {"adopting the same changes nothing", MERGE_ADOPT, "", "b a", "a b", "a b"},
    {"clobbering takes the order too", MERGE_CLOBBER, "a b", "b a", "a b", "b a"},
    {"clobbering removes what is not declared", MERGE_CLOBBER, "", "a", "a hand", "a"},
    {"clobbering with the same changes nothing", MERGE_CLOBBER, "", "a b", "a b", "a b"},
};

static void check(const struct row *r, bool changed, struct str got)
{
    bool must_change = strcmp(r->live, r->becomes) != 0;
    if (changed != must_change || !str_eq_z(got, r->becomes))
        fail_msg("%s, %s: wanted \"%s\"%s, got \"%.*s\"%s", mode_names[r->mode], r->name, r->becomes,
                 must_change ? ", changed" : "", STR_ARG(got), changed ? ", changed" : "");
}

static void scalars_merge(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(scalars); i++) {
        const struct row *r = &scalars[i];
        struct str now = str_from(r->now), live = str_from(r->live);
        bool changed = merge_scalar(r->mode, str_from(r->old), now, live);
        check(r, changed, changed ? now : live);
    }
}

static void maps_merge(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(maps); i++) {
        const struct row *r = &maps[i];
        scoped_arena a = {0};
        struct map old = map_of(&a, r->old), now = map_of(&a, r->now), live = map_of(&a, r->live);
        bool changed = merge_map(&a, r->mode, &old, &now, &live);
        check(r, changed, map_text(&a, &live));
        if (merge_map(&a, r->mode, &now, &now, &live))
            fail_msg("%s: a second merge changes something", r->name);
    }
}

static void lists_merge(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        const struct row *r = &lists[i];
        scoped_arena a = {0};
        struct str_list old = list_of(&a, r->old), now = list_of(&a, r->now), live = list_of(&a, r->live);
        bool changed = merge_list(&a, r->mode, &old, &now, &live);
        check(r, changed, list_text(&a, &live));
        if (merge_list(&a, r->mode, &now, &now, &live))
            fail_msg("%s: a second merge changes something", r->name);
    }
}

/* --- texts --- */

static const struct {
    const char *name, *old, *now, *diff;
} texts[] = {
    {"the same", "a\nb\n", "a\nb\n", ""},
    {"both empty", "", "", ""},
    {"a new file", "", "a\nb\n", "@@ -0,0 +1,2 @@\n+a\n+b\n"},
    {"a file that goes", "a\n", "", "@@ -1,1 +0,0 @@\n-a\n"},
    {"a changed line", "a\nb\nc\n", "a\nx\nc\n", "@@ -1,3 +1,3 @@\n a\n-b\n+x\n c\n"},
    {"an added line at the end", "a\n", "a\nb\n", "@@ -1,1 +1,2 @@\n a\n+b\n"},
    {"a removed line at the start", "a\nb\n", "b\n", "@@ -1,2 +1,1 @@\n-a\n b\n"},
    {"a line feed that is missing", "a\n", "a", "@@ -1,1 +1,1 @@\n-a\n+a\n\\ No newline at end of file\n"},
    {"a line feed that is missing in both", "a\nb", "x\nb",
     "@@ -1,2 +1,2 @@\n-a\n+x\n b\n\\ No newline at end of file\n"},
    {"two changes near each other", "1\n2\n3\n4\n5\n6\n7\n8\n", "1\nx\n3\n4\n5\n6\ny\n8\n",
     "@@ -1,8 +1,8 @@\n 1\n-2\n+x\n 3\n 4\n 5\n 6\n-7\n+y\n 8\n"},
    {"two changes far from each other", "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n",
     "x\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\ny\n",
     "@@ -1,4 +1,4 @@\n-1\n+x\n 2\n 3\n 4\n@@ -9,4 +9,4 @@\n 9\n 10\n 11\n-12\n+y\n"},
    {"a moved line", "a\nb\nc\nd\n", "b\nc\nd\na\n", "@@ -1,4 +1,4 @@\n-a\n b\n c\n d\n+a\n"},
};

static void texts_are_compared(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        scoped_arena a = {0};
        scoped_buf b = BUF_INIT(1 << 20);
        assert_true(textdiff(&a, str_from(texts[i].old), str_from(texts[i].now), &b));
        if (strcmp(buf_z(&b), texts[i].diff) != 0)
            fail_msg("%s: wanted\n%sgot\n%s", texts[i].name, texts[i].diff, buf_z(&b));
    }
}

/* What the hunks say, done to the old text: must give the new one. */
static struct str patched(struct arena *a, struct str old, struct str diff)
{
    scoped_buf out = BUF_INIT(16 << 20);
    struct str line, was;
    size_t at = 0; /* lines of old that are done */
    while (!str_is_empty(diff) && str_next(&diff, '\n', &line) && line.ptr) {
        if (str_is_empty(line))
            break;
        if (line.ptr[0] == '@') {
            int64_t from = strtol(str_z(a, line) + 4, NULL, 10);
            while ((int64_t)at + 1 < from && str_next(&old, '\n', &was)) {
                buf_add_str(&out, was);
                buf_add_char(&out, '\n');
                at++;
            }
            continue;
        }
        if (line.ptr[0] != '+') {
            assert_true(str_next(&old, '\n', &was));
            assert_str(was, str_from_off(line, 1));
            at++;
        }
        if (line.ptr[0] != '-') {
            buf_add_str(&out, str_from_off(line, 1));
            buf_add_char(&out, '\n');
        }
    }
    buf_add_str(&out, old);
    return str_dup(a, buf_str(&out));
}

static struct str random_lines(struct arena *a, unsigned *seed, size_t n, unsigned kinds)
{
    scoped_buf b = BUF_INIT(1 << 20);
    for (size_t i = 0; i < n; i++) {
        *seed = *seed * 1103515245 + 12345;
        buf_printf(&b, "line %u\n", (*seed >> 16) % kinds);
    }
    return str_dup(a, buf_str(&b));
}

static void a_diff_of_any_texts_leads_from_one_to_the_other(void **state)
{
    unsigned seed = 7;
    for (int i = 0; i < 300; i++) {
        scoped_arena a = {0};
        scoped_buf b = BUF_INIT(16 << 20);
        size_t n = i == 299 ? 4000 : (size_t)i % 40, m = i == 299 ? 4000 : (size_t)(i * 7) % 40;
        struct str old = random_lines(&a, &seed, n, i % 9 + 1), now = random_lines(&a, &seed, m, i % 9 + 1);
        assert_true(textdiff(&a, old, now, &b));
        assert_str(patched(&a, old, buf_str(&b)), now);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars_merge),
        cmocka_unit_test(maps_merge),
        cmocka_unit_test(lists_merge),
        cmocka_unit_test(texts_are_compared),
        cmocka_unit_test(a_diff_of_any_texts_leads_from_one_to_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
