/* tests/base/test_fs.c: paths, files, trees.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct arena arena;
static struct str dir; /* scratch, per test */

static int make_dir(void **state)
{
    scoped_err err = {0};
    return fs_temp_dir(&arena, STR("openrun-fs-"), &dir, &err) ? 0 : -1;
}

static int drop_dir(void **state)
{
    scoped_err err = {0};
    bool ok = fs_remove_tree(dir, &err) && !fs_exists(dir);
    if (!ok)
        print_error("%s\n", err_msg(&err));
    arena_release(&arena);
    return ok ? 0 : -1;
}

static struct str in_dir(const char *name)
{
    return path_join(&arena, dir, str_from(name));
}

static void put(const char *name, const char *text)
{
    scoped_err err = {0};
    if (!fs_mkdir_p(path_dir(in_dir(name)), 0755, &err) ||
        !fs_write_atomic(in_dir(name), str_from(text), 0644, &err))
        fail_msg("%s", err_msg(&err));
}

static void cleans_paths_as_go_does(void **state)
{
    static const char *const cases[][2] = {
        {"", "."}, {"abc", "abc"}, {"abc/def", "abc/def"}, {"a/b/c", "a/b/c"}, {".", "."}, {"..", ".."},
        {"../..", "../.."}, {"../../abc", "../../abc"}, {"/abc", "/abc"}, {"/", "/"}, {"abc/", "abc"},
        {"/abc/", "/abc"}, {"../", ".."}, {"../../", "../.."}, {"abc//def//ghi", "abc/def/ghi"},
        {"//abc", "/abc"}, {"///abc", "/abc"}, {"//abc//", "/abc"}, {"abc/./def", "abc/def"},
        {"/./abc/def", "/abc/def"}, {"abc/.", "abc"}, {"abc/def/ghi/../jkl", "abc/def/jkl"},
        {"abc/def/../ghi/../jkl", "abc/jkl"}, {"abc/def/..", "abc"}, {"abc/def/../..", "."},
        {"/abc/def/../..", "/"}, {"abc/def/../../..", ".."}, {"/abc/def/../../..", "/"},
        {"abc/def/../../../ghi/jkl/../../../mno", "../../mno"}, {"/../abc", "/abc"},
        {"abc/./../def", "def"}, {"abc//./../def", "def"}, {"abc/../../././../def", "../../def"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str got = path_clean(&arena, str_from(cases[i][0]));
        if (!str_eq_z(got, cases[i][1]))
            fail_msg("clean(%s): wanted %s, got " STR_FMT, cases[i][0], cases[i][1], STR_ARG(got));
    }
}

static void joins_parts_that_are_not_empty(void **state)
{
    assert_true(str_eq(path_join(&arena, STR("/a"), STR("/b")), STR("/a/b")));
    assert_true(str_eq(path_join(&arena, STR("a"), STR(""), STR("../c")), STR("c")));
    assert_true(str_eq(path_join(&arena, STR(""), STR("")), STR("")));
    assert_true(str_eq(path_join(&arena, STR(""), STR("a")), STR("a")));
}

static void takes_paths_apart(void **state)
{
    static const struct { const char *path, *base, *dirname, *ext; } cases[] = {
        {"/a/b.txt", "b.txt", "/a", ".txt"}, {"b", "b", ".", ""}, {"/b", "b", "/", ""}, {"/", "/", "/", ""},
        {"", ".", ".", "."}, {"a/b/", "b", "a", ""}, {"a.d/x", "x", "a.d", ""}, {"a//b", "b", "a", ""},
        {"x.tar.gz", "x.tar.gz", ".", ".gz"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str p = str_from(cases[i].path);
        if (!str_eq_z(path_base(p), cases[i].base) || !str_eq_z(path_dir(p), cases[i].dirname) ||
            (p.len > 0 && !str_eq_z(path_ext(p), cases[i].ext)))
            fail_msg("%s: base " STR_FMT " dir " STR_FMT " ext " STR_FMT, cases[i].path, STR_ARG(path_base(p)),
                     STR_ARG(path_dir(p)), STR_ARG(path_ext(p)));
    }
}

static void knows_what_is_within(void **state)
{
    static const struct { const char *in, *path; bool within; const char *rel; } cases[] = {
        {"/a", "/a/b", true, "b"},       {"/a", "/a", true, "."},          {"/a", "/ab", false, ""},
        {"/a", "/a/../b", false, ""},    {"/a", "/a/./x/../b", true, "b"}, {"/", "/etc", true, "etc"},
        {".", "x", true, "x"},           {".", "../x", false, ""},         {".", "..x", true, "..x"},
        {"/a", "a/b", false, ""},        {"..", "../../x", false, ""},     {"..", "../x", true, "x"},
        {"../..", "../../..", false, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str in = str_from(cases[i].in), path = str_from(cases[i].path);
        if (path_is_within(in, path) != cases[i].within || !str_eq_z(path_rel(&arena, in, path), cases[i].rel))
            fail_msg("%s in %s: rel " STR_FMT, cases[i].path, cases[i].in, STR_ARG(path_rel(&arena, in, path)));
    }
    assert_true(path_is_local(STR("a/../b")));
    assert_false(path_is_local(STR("a/../../b")));
    assert_false(path_is_local(STR("/a")));
    assert_false(path_is_local(STR("")));
    assert_false(path_is_local(STR("a\0b")));
}

static void expands_the_environment_once(void **state)
{
    setenv("OR_T_A", "$OR_T_B", 1);
    setenv("OR_T_B", "bee", 1);
    unsetenv("OR_T_NONE");
    static const char *const cases[][2] = {
        {"x", "x"}, {"$OR_T_B/y", "bee/y"}, {"${OR_T_B}y", "beey"}, {"$OR_T_A", "$OR_T_B"},
        {"a$OR_T_NONE.b", "a.b"}, {"5$", "5$"}, {"$5", "$5"}, {"${", "${"}, {"${OR_T_B", "${OR_T_B"},
        {"${}", "${}"}, {"$$OR_T_B", "$bee"}, {"", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str got = str_expand_env(&arena, str_from(cases[i][0]));
        if (!str_eq_z(got, cases[i][1]))
            fail_msg("%s: got " STR_FMT, cases[i][0], STR_ARG(got));
    }
}

static void writes_whole_files_and_reads_them_back(void **state)
{
    scoped_err err = {0};
    struct str got;
    struct fs_info info;
    mode_t old = umask(077);
    assert_true(fs_write_atomic(in_dir("f"), STR("one"), 0640, &err));
    assert_true(fs_write_atomic(in_dir("f"), STR("two\0x"), 0644, &err));
    umask(old);
    assert_true(fs_read_all(&arena, in_dir("f"), 5, &got, &err));
    assert_true(str_eq(got, STR("two\0x")));
    assert_true(fs_stat(in_dir("f"), &info, &err));
    assert_int_equal(info.mode, 0644);
    assert_int_equal(info.size, 5);
    assert_true(info.kind == FS_FILE && info.mtime_ns > 0);
    assert_false(fs_read_all(&arena, in_dir("f"), 4, &got, &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);
    assert_false(fs_read_all(&arena, in_dir("none"), 4, &got, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_false(fs_read_all(&arena, dir, 4096, &got, &err));
    assert_true(fs_read_all(&arena, STR("/proc/self/status"), 1 << 20, &got, &err));
    assert_true(got.len > 100);
    assert_false(fs_write_atomic(in_dir("no/such/f"), STR(""), 0644, &err));
    assert_false(fs_read_all(&arena, STR("a\0b"), 4, &got, &err));
    assert_int_equal(err.code, ERR_INVALID);

    /* A failed write leaves the directory as it was. */
    assert_true(fs_mkdir_p(in_dir("taken/x"), 0755, &err));
    assert_false(fs_write_atomic(in_dir("taken"), STR("y"), 0644, &err));
    size_t n = 0;
    struct fs_entry e;
    struct fs_walk *w = fs_walk_open(dir, &err);
    scoped_err walk_err = {0};
    while (fs_walk_next(w, &e, &walk_err))
        n++;
    fs_walk_close(w);
    assert_false(err_is_set(&walk_err));
    assert_int_equal(n, 3); /* f, taken, taken/x */
}

static void makes_missing_directories(void **state)
{
    scoped_err err = {0};
    assert_true(fs_mkdir_p(in_dir("a/b//c/"), 0755, &err));
    assert_true(fs_mkdir_p(in_dir("a/b/c"), 0755, &err));
    assert_true(fs_is_dir(in_dir("a/b/c")));
    assert_true(fs_mkdir_p(STR("/"), 0755, &err));
    put("file", "");
    assert_false(fs_mkdir_p(in_dir("file"), 0755, &err));
    assert_false(fs_mkdir_p(in_dir("file/x"), 0755, &err));
    assert_true(fs_remove(in_dir("file"), &err));
    assert_true(fs_remove(in_dir("file"), &err));
}

static void walks_in_order_and_skips_on_request(void **state)
{
    scoped_err err = {0};
    put("b/2", "xx");
    put("b/1", "x");
    put("a", "");
    put("b.x", "");
    put("skip/deep/file", "");
    put("z/y/x", "");
    assert_int_equal(symlink("/", str_z(&arena, in_dir("link"))), 0);
    scoped_buf seen = BUF_INIT(4096);
    struct fs_walk *w = fs_walk_open(dir, &err);
    struct fs_entry e;
    while (fs_walk_next(w, &e, &err)) {
        buf_printf(&seen, STR_FMT "%s ", STR_ARG(e.path), e.info.kind == FS_SYMLINK ? "@" : "");
        if (str_eq(e.name, STR("skip")))
            fs_walk_skip(w);
        if (str_eq(e.path, STR("b/2"))) {
            scoped_fd int fd = openat(e.dir_fd, e.name_z, O_RDONLY | O_NOFOLLOW);
            assert_true(fd >= 0 && e.info.size == 2);
        }
    }
    fs_walk_close(w);
    assert_false(err_is_set(&err));
    assert_string_equal(buf_z(&seen), "a b b/1 b/2 b.x link@ skip z z/y z/y/x ");
    assert_null(fs_walk_open(in_dir("none"), &err));
    assert_false(fs_walk_next(NULL, &e, &err));
}

static void lists_what_a_directory_itself_holds(void **state)
{
    scoped_err err = {0};
    struct fs_items all = {0};
    put("b/below", "");
    put("a.txt", "xyz");
    put(".hidden", "");
    assert_int_equal(symlink(str_z(&arena, in_dir("b")), str_z(&arena, in_dir("link"))), 0);
    assert_true(fs_list(&arena, dir, SIZE_MAX, &all, &err));
    static const struct {
        const char *name;
        enum fs_kind kind;
        int size;
    } expected[] = {{".hidden", FS_FILE, 0}, {"a.txt", FS_FILE, 3}, {"b", FS_DIR, -1}, {"link", FS_SYMLINK, -1}};
    assert_int_equal(all.len, ARRAY_LEN(expected));
    vec_foreach(e, &all)
    {
        size_t i = (size_t)(e - all.items);
        assert_true(str_eq_z(e->name, expected[i].name));
        assert_true(str_eq(e->path, in_dir(expected[i].name)));
        assert_int_equal(e->info.kind, expected[i].kind);
        assert_true(expected[i].size < 0 || e->info.size == expected[i].size);
    }

    struct fs_items first = {0}, none = all;
    assert_true(fs_list(&arena, dir, 2, &first, &err));
    assert_int_equal(first.len, 2);
    assert_true(str_eq_z(first.items[1].name, "a.txt"));
    assert_true(fs_list(&arena, in_dir("missing/one"), SIZE_MAX, &none, &err));
    assert_int_equal(none.len, 0);

    /* A failure leaves the list alone. */
    assert_false(fs_list(&arena, in_dir("a.txt"), SIZE_MAX, &first, &err));
    assert_non_null(strstr(err_msg(&err), "a.txt"));
    assert_false(fs_list(&arena, STR("a\0b"), SIZE_MAX, &first, &err));
    assert_int_equal(err.code, ERR_INVALID);
    assert_int_equal(first.len, 2);
}

static void removes_trees_of_any_depth_without_following_links(void **state)
{
    scoped_err err = {0};
    put("keep/file", "stays");
    put("tree/a/b/c", "");
    put("tree/d", "");
    assert_int_equal(symlink(str_z(&arena, in_dir("keep")), str_z(&arena, in_dir("tree/link"))), 0);
    assert_int_equal(symlink(str_z(&arena, in_dir("keep")), str_z(&arena, in_dir("top-link"))), 0);

    /* Deeper than PATH_MAX allows to name, and than the remover has descriptors. */
    scoped_fd int at = open(str_z(&arena, in_dir("tree")), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < 700; i++) {
        assert_int_equal(mkdirat(at, "deep-directory", 0755), 0);
        int next = openat(at, "deep-directory", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(next >= 0);
        close(at);
        at = next;
        close(openat(at, "file", O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    }
    struct fs_walk *w = fs_walk_open(dir, &err);
    struct fs_entry e;
    while (fs_walk_next(w, &e, &err))
        ;
    fs_walk_close(w);
    assert_non_null(strstr(err_msg(&err), "nested deeper than 128"));
    err_release(&err);

    if (!fs_remove_tree(in_dir("tree"), &err))
        fail_msg("%s", err_msg(&err));
    assert_false(fs_exists(in_dir("tree")));
    assert_true(fs_remove_tree(in_dir("top-link"), &err));
    assert_true(fs_exists(in_dir("keep/file")));
    assert_true(fs_remove_tree(in_dir("none/at/all"), &err));
    assert_false(fs_remove_tree(STR("/"), &err));
    assert_false(fs_remove_tree(STR(""), &err));
    assert_false(fs_remove_tree(STR("."), &err));
    assert_false(fs_remove_tree(STR("a/../.."), &err));
}

static void resolves_links(void **state)
{
    scoped_err err = {0};
    put("real/x", "");
    assert_int_equal(symlink("real", str_z(&arena, in_dir("link"))), 0);
    struct str got, want;
    assert_true(fs_real_path(&arena, in_dir("link/x"), &got, &err));
    assert_true(fs_real_path(&arena, in_dir("real/x"), &want, &err));
    assert_true(str_eq(got, want));
    struct fs_info info;
    assert_true(fs_lstat(in_dir("link"), &info, &err) && info.kind == FS_SYMLINK);
    assert_true(fs_stat(in_dir("link"), &info, &err) && info.kind == FS_DIR);
}

#define WITH_DIR(f) cmocka_unit_test_setup_teardown(f, make_dir, drop_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_DIR(cleans_paths_as_go_does),
        WITH_DIR(joins_parts_that_are_not_empty),
        WITH_DIR(takes_paths_apart),
        WITH_DIR(knows_what_is_within),
        WITH_DIR(expands_the_environment_once),
        WITH_DIR(writes_whole_files_and_reads_them_back),
        WITH_DIR(makes_missing_directories),
        WITH_DIR(walks_in_order_and_skips_on_request),
        WITH_DIR(lists_what_a_directory_itself_holds),
        WITH_DIR(removes_trees_of_any_depth_without_following_links),
        WITH_DIR(resolves_links),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
