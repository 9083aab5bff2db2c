/* tests/source/test_files.c: file sets from folders and lists, overlay, hash, extraction, and app specs.
 * SPDX-License-Identifier: Apache-2.0 */
#include "fs.h"
#include "id.h"
#include "source.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* A scratch folder for each test. */
struct dir {
    struct arena a;
    struct str path;
};

static int setup(void **state)
{
    struct dir *d = xcalloc(1, sizeof *d);
    scoped_err err = {0};
    if (!fs_temp_dir(&d->a, STR("src-test-"), &d->path, &err))
        return -1;
    *state = d;
    return 0;
}

static int teardown(void **state)
{
    struct dir *d = *state;
    scoped_err err = {0};
    fs_remove_tree(d->path, &err);
    arena_release(&d->a);
    free(d);
    return 0;
}

static struct str in(struct dir *d, const char *name)
{
    return path_join(&d->a, d->path, str_from(name));
}

static void put(struct dir *d, const char *name, const char *text)
{
    scoped_err err = {0};
    struct str path = in(d, name);
    if (!fs_mkdir_p(path_dir(path), 0755, &err) || !fs_write_atomic(path, str_from(text), 0644, &err))
        fail_msg("%s", err_msg(&err));
}

static void scan(struct dir *d, struct src_files *out)
{
    scoped_err err = {0};
    if (!src_files_scan(&d->a, d->path, NULL, out, &err))
        fail_msg("%s", err_msg(&err));
}

/* The names, joined with spaces. */
static const char *names(struct dir *d, const struct src_files *s)
{
    struct str all = STR("");
    for (size_t i = 0; i < s->len; i++)
        all = str_printf(&d->a, STR_FMT "%s" STR_FMT, STR_ARG(all), i ? " " : "", STR_ARG(s->items[i].name));
    return str_z(&d->a, all);
}

static void test_scan(void **state)
{
    struct dir *d = *state;
    put(d, "app.star", "app = 1\n");
    put(d, "a/b.txt", "b");
    put(d, "a.txt", "");
    put(d, ".hidden", "h");
    put(d, ".git/HEAD", "ref");
    put(d, "lib/.git/HEAD", "ref");
    put(d, "lib/x", "x");
    assert_int_equal(mkfifo(str_z(&d->a, in(d, "fifo")), 0600), 0);
    struct src_files s;
    scan(d, &s);
    assert_string_equal(names(d, &s), ".hidden a.txt a/b.txt app.star lib/x");
    assert_int_equal(s.total, 11);
    const struct src_file *f = src_files_find(&s, STR("a/b.txt"));
    assert_non_null(f);
    assert_int_equal(f->size, 1);
    assert_true(str_eq_z(f->sha, "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"));
    assert_null(src_files_find(&s, STR("a")));
    scoped_err err = {0};
    struct str text;
    assert_true(src_files_read(&d->a, &s, STR("app.star"), &text, &err));
    assert_true(str_eq_z(text, "app = 1\n"));
    assert_true(src_files_read(&d->a, &s, STR("a.txt"), &text, &err));
    assert_int_equal(text.len, 0);
    assert_false(src_files_read(&d->a, &s, STR("nope"), &text, &err));
    assert_string_equal(err_msg(&err), "file nope not found");
}

static void test_scan_refusals(void **state)
{
    struct dir *d = *state;
    scoped_err err = {0};
    struct src_files s = {0};
    assert_false(src_files_scan(&d->a, in(d, "none"), NULL, &s, &err));
    assert_non_null(strstr(err_msg(&err), "does not exist"));
    put(d, "one", "1");
    assert_false(src_files_scan(&d->a, in(d, "one"), NULL, &s, &err));
    assert_non_null(strstr(err_msg(&err), "is not a folder"));

    put(d, "sub/two", "22");
    struct src_limits limits = SRC_LIMITS_DEFAULT;
    limits.max_files = 1;
    assert_false(src_files_scan(&d->a, d->path, &limits, &s, &err));
    assert_non_null(strstr(err_msg(&err), "more than 1 files"));
    assert_int_equal(err.code, ERR_TOO_LARGE);
    limits = SRC_LIMITS_DEFAULT;
    limits.max_total = 2;
    assert_false(src_files_scan(&d->a, d->path, &limits, &s, &err));
    assert_non_null(strstr(err_msg(&err), "larger than 2 bytes"));
    limits.max_total = 3;
    assert_true(src_files_scan(&d->a, d->path, &limits, &s, &err));
    limits.max_file = 1;
    assert_false(src_files_scan(&d->a, d->path, &limits, &s, &err));
    assert_non_null(strstr(err_msg(&err), "file sub/two is larger"));

    assert_int_equal(symlink("two", str_z(&d->a, in(d, "sub/link"))), 0);
    assert_false(src_files_scan(&d->a, d->path, NULL, &s, &err));
    assert_string_equal(err_msg(&err), "symlinks are not allowed in app sources: sub/link");
    assert_int_equal(symlink("/", str_z(&d->a, in(d, "another"))), 0);
    assert_false(src_files_scan(&d->a, d->path, NULL, &s, &err));
    assert_string_equal(err_msg(&err), "symlinks are not allowed in app sources: another, sub/link");
    unlink(str_z(&d->a, in(d, "another")));
    unlink(str_z(&d->a, in(d, "sub/link")));
    put(d, "a\\b", "");
    assert_false(src_files_scan(&d->a, d->path, NULL, &s, &err));
    assert_non_null(strstr(err_msg(&err), "contains a backslash"));
}

static void test_scan_warns(void **state)
{
    struct dir *d = *state;
    put(d, ".gitmodules", "[submodule \"x\"]\n");
    put(d, "big.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n");
    struct src_files s;
    scan(d, &s);
    assert_int_equal(s.warnings.len, 2);
    assert_true(str_starts(s.warnings.items[1], STR("big.bin is a pointer to a git LFS object")));
}

static void test_change_is_noticed(void **state)
{
    struct dir *d = *state;
    put(d, "x", "one");
    struct src_files s;
    scan(d, &s);
    scoped_err err = {0};
    struct str text = {0};
    put(d, "x", "two");
    assert_false(src_files_read(&d->a, &s, STR("x"), &text, &err));
    assert_non_null(strstr(err_msg(&err), "file x has changed"));
    put(d, "x", "longer than before");
    assert_false(src_files_read(&d->a, &s, STR("x"), &text, &err));
    assert_non_null(strstr(err_msg(&err), "file x has changed"));
    unlink(str_z(&d->a, in(d, "x")));
    assert_int_equal(symlink("/etc/passwd", str_z(&d->a, in(d, "x"))), 0);
    assert_false(src_files_read(&d->a, &s, STR("x"), &text, &err));
    assert_non_null(strstr(err_msg(&err), "symbolic link"));
}

static void test_disk_read(void **state)
{
    struct dir *d = *state;
    put(d, "a/b", "text");
    assert_int_equal(symlink("a", str_z(&d->a, in(d, "link"))), 0);
    static const struct {
        const char *name, *file, *err;
    } cases[] = {
        {"a file", "a/b", NULL},
        {"needless parts", "./a//b", NULL},
        {"a missing file", "a/c", "file a/c not found"},
        {"a file below a file", "a/b/c", "file a/b/c not found"},
        {"a folder", "a", "not a regular file"},
        {"through a link", "link/b", "link/b"},
        {"the way out", "a/../../x", "\"..\" leaves"},
        {"an absolute name", "/etc/passwd", "absolute"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_err err = {0};
        struct str text;
        bool ok = src_disk_read(&d->a, d->path, str_from(cases[i].file), 100, &text, &err);
        if (cases[i].err ? ok || !strstr(err_msg(&err), cases[i].err) : !ok || !str_eq_z(text, "text"))
            fail_msg("%s: got %s", cases[i].name, err_msg(&err));
    }
    scoped_err err = {0};
    struct str text;
    assert_false(src_disk_read(&d->a, d->path, STR("a/b"), 3, &text, &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);
}

static void test_name_clean(void **state)
{
    static const struct {
        const char *in, *want;
    } cases[] = {
        {"a", "a"},       {"a/b", "a/b"},     {"./a//b/", "a/b"}, {"a\\b", "a/b"}, {"a/.b", "a/.b"},
        {"...", "..."},   {"", NULL},         {"/a", NULL},       {"\\a", NULL},   {"..", NULL},
        {"a/../b", NULL}, {"a\\..\\b", NULL}, {"C:/x", NULL},     {".", NULL},     {"\xff", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        struct str out = {0};
        bool ok = src_name_clean(&a, str_from(cases[i].in), &out, &err);
        if (ok != (cases[i].want != NULL) || (ok && !str_eq_z(out, cases[i].want)))
            fail_msg("%s: got " STR_FMT " %s", cases[i].in, STR_ARG(out), err_msg(&err));
    }
    scoped_arena a = {0};
    scoped_err err = {0};
    struct str out;
    assert_false(src_name_clean(&a, str_of("a\0b", 3), &out, &err));
}

static struct src_file mem(const char *name, const char *content)
{
    return (struct src_file){.name = str_from(name), .content = content, .size = strlen(content)};
}

static void make(struct arena *a, const struct src_file *items, size_t n, struct src_files *out)
{
    scoped_err err = {0};
    if (!src_files_make(a, items, n, out, &err))
        fail_msg("%s", err_msg(&err));
}

static struct str hash_of(struct arena *a, const struct src_files *s)
{
    scoped_err err = {0};
    struct str h = {0};
    if (!src_files_hash(a, s, NULL, 0, &h, &err))
        fail_msg("%s", err_msg(&err));
    return h;
}

static void test_overlay_and_hash(void **state)
{
    struct dir *d = *state;
    struct arena *a = &d->a;
    struct src_files source, spec, all;
    make(a, (struct src_file[]){mem("main.py", "m"), mem("app.star", "mine"), mem("static/x.css", "c")}, 3,
         &source);
    make(a, (struct src_file[]){mem("app.star", "spec"), mem("Containerfile", "FROM x")}, 2, &spec);
    src_files_overlay(a, &source, &spec, &all);
    assert_string_equal(names(d, &all), "Containerfile app.star main.py static/x.css");
    assert_true(all.items[0].is_spec);
    assert_false(all.items[1].is_spec);
    assert_int_equal(all.total, 12);
    scoped_err err = {0};
    struct str text, want = STR("");
    assert_true(src_files_read(a, &all, STR("app.star"), &text, &err));
    assert_true(str_eq_z(text, "mine"));

    /* Source files first, whatever their names. */
    size_t order[] = {1, 2, 3, 0};
    for (size_t i = 0; i < 4; i++) {
        const struct src_file *f = &all.items[order[i]];
        want = str_cat(a, want,
                       str_cat(a, str_cat(a, f->name, str_of("", 1)), str_cat(a, f->sha, str_of("", 1))));
    }
    struct str plain = hash_of(a, &all);
    assert_true(str_eq(plain, sha256_hex(a, want)));

    /* With pages at the top, what only pages use does not count. */
    struct src_files pages, pages_too, other;
    make(a, (struct src_file[]){mem("main.py", "m"), mem("index.go.html", "1"), mem("static/x.css", "c")}, 3,
         &pages);
    make(a, (struct src_file[]){mem("main.py", "m"), mem("index.go.html", "2"), mem("static/a/y.css", "d")},
         3, &pages_too);
    make(a, (struct src_file[]){mem("main.py", "n"), mem("index.go.html", "1"), mem("static/x.css", "c")}, 3,
         &other);
    assert_true(str_eq(hash_of(a, &pages), hash_of(a, &pages_too)));
    assert_false(str_eq(hash_of(a, &pages), hash_of(a, &other)));
    struct str bad[] = {STR("[")}, h;
    assert_false(src_files_hash(a, &pages, bad, 1, &h, &err));

    struct src_file twice[] = {mem("a/b", ""), mem("a\\b", "")};
    assert_false(src_files_make(a, twice, 2, &other, &err));
    assert_string_equal(err_msg(&err), "file a/b is named twice");

    struct src_glob *g = src_glob_compile(a, STR("*"), &err);
    struct src_files top;
    src_files_glob(a, &all, g, true, &top);
    assert_string_equal(names(d, &top), "app.star main.py");
}

static mode_t mode_of(struct dir *d, const char *name)
{
    struct fs_info info;
    scoped_err err = {0};
    if (!fs_lstat(in(d, name), &info, &err))
        fail_msg("%s", err_msg(&err));
    return info.mode & 0777;
}

static void test_extract(void **state)
{
    struct dir *d = *state;
    struct src_files s, again;
    make(&d->a, (struct src_file[]){mem("a.txt", "text"), mem("bin/run.sh", "#!/bin/sh\n"), mem("x/y/z", "")},
         3, &s);
    scoped_err err = {0};
    mode_t old = umask(077);
    bool ok = src_files_extract(&s, in(d, "out"), &err);
    umask(old);
    if (!ok)
        fail_msg("%s", err_msg(&err));
    assert_int_equal(mode_of(d, "out"), 0700);
    assert_int_equal(mode_of(d, "out/a.txt"), 0644);
    assert_int_equal(mode_of(d, "out/bin"), 0755);
    assert_int_equal(mode_of(d, "out/bin/run.sh"), 0755);
    assert_true(src_files_scan(&d->a, in(d, "out"), NULL, &again, &err));
    assert_true(str_eq(hash_of(&d->a, &s), hash_of(&d->a, &again)));
    assert_false(src_files_extract(&s, in(d, "out"), &err));
}

/* ---- a folder that is kept ---- */

static ino_t inode_of(struct dir *d, const char *name)
{
    struct stat st;
    assert_int_equal(lstat(str_z(&d->a, in(d, name)), &st), 0);
    return st.st_ino;
}

/* Makes `kept` hold the NULL-terminated list of name, content, ... and nothing else, and proves it. */
static void keep(struct dir *d, const char *const *names)
{
    struct src_file items[8];
    struct src_files want, have;
    scoped_err err = {0};
    size_t n = 0;
    for (; names[2 * n]; n++)
        items[n] = (struct src_file){.name = str_from(names[2 * n]), .content = names[2 * n + 1], .size = strlen(names[2 * n + 1])};
    if (!src_files_make(&d->a, items, n, &want, &err))
        fail_msg("%s", err_msg(&err));
    int fd = src_files_keep(&want, in(d, "kept"), &err);
    if (fd < 0 || !src_files_scan(&d->a, in(d, "kept"), NULL, &have, &err))
        fail_msg("%s", err_msg(&err));
    assert_true(str_eq(hash_of(&d->a, &want), hash_of(&d->a, &have)));
    /* While it is read nobody changes it. */
    assert_int_equal(src_files_keep(&want, in(d, "kept"), &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    close(fd);
}

static void test_keep(void **state)
{
    struct dir *d = *state;
    struct str index = in(d, "kept.index");
    scoped_err err = {0};
    keep(d, (const char *[]){"a", "1", "b/c", "2", "b/d/e", "#!3", NULL});
    assert_int_equal(mode_of(d, "kept"), 0700);
    assert_int_equal(mode_of(d, "kept/b/d/e"), 0755);
    ino_t a = inode_of(d, "kept/a");

    /* What is the same is not touched, what is gone takes its folders along. */
    keep(d, (const char *[]){"a", "1", "b/c", "9", NULL});
    assert_int_equal(inode_of(d, "kept/a"), a);
    assert_false(fs_exists(in(d, "kept/b/d")));

    /* A file becomes a folder, and back. */
    keep(d, (const char *[]){"a/x", "1", "b", "2", NULL});
    keep(d, (const char *[]){"a", "1", "b/c", "2", NULL});

    /* A file that somebody else has written, removed or linked is written again. */
    a = inode_of(d, "kept/a");
    put(d, "kept/b/c", "other");
    keep(d, (const char *[]){"a", "1", "b/c", "2", NULL});
    assert_int_equal(unlink(str_z(&d->a, in(d, "kept/b/c"))), 0);
    keep(d, (const char *[]){"a", "1", "b/c", "2", NULL});
    assert_int_equal(unlink(str_z(&d->a, in(d, "kept/b/c"))), 0);
    assert_int_equal(symlink("/etc/passwd", str_z(&d->a, in(d, "kept/b/c"))), 0);
    keep(d, (const char *[]){"a", "1", "b/c", "2", NULL});
    assert_int_equal(inode_of(d, "kept/a"), a);

    /* Without an index that can be relied on all is made anew, strangers go. */
    static const struct str broken[] = {
        STR_INIT(""),                     /* as a crash leaves it */
        STR_INIT("x\0" "6b86 1 a\0"),     /* of another boot */
        STR_INIT("6b8"),                  /* cut short */
    };
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        put(d, "kept/stranger", "?");
        assert_true(fs_write_atomic(index, broken[i], 0600, &err));
        keep(d, (const char *[]){"a", "1", "b/c", "2", NULL});
    }
}

static void test_specs(void **state)
{
    struct dir *d = *state;
    scoped_err err = {0};
    struct src_files s;
    struct str_list all;
    src_spec_list(&d->a, STR(""), &all);
    static const char *const bundled[] = {"container", "image",        "image-cmd",
                                          "proxy",     "python-flask", "python-wsgi",
                                          "static",    "static_disk",  "static_single"};
    for (size_t i = 0; i < ARRAY_LEN(bundled); i++)
        assert_true(str_list_has(&all, str_from(bundled[i])));
    for (size_t i = 0; i < all.len; i++) {
        assert_true(src_spec_load(&d->a, STR(""), all.items[i], &s, &err));
        assert_non_null(src_files_find(&s, STR("app.star")));
        assert_non_null(src_files_find(&s, STR("params.star")));
        const struct src_file *f = src_files_find(&s, STR("Containerfile"));
        bool has_ignore = src_files_find(&s, STR(".dockerignore")) != NULL;
        assert_true((f != NULL) == has_ignore);
        if (f)
            assert_true(str_find(str_of(f->content, f->size), STR("syntax=")) == STR_NPOS);
    }
    static const struct {
        const char *name, *err;
    } unknown[] = {
        {"python-wsgy", "invalid app spec python-wsgy, did you mean python-wsgi? (specs: container, "},
        {"nothing-like-it", "invalid app spec nothing-like-it (specs: "},
        {"../image", "invalid app spec ../image"},
        {"", "invalid app spec "},
        {".", "invalid app spec ."},
        {"image/app.star", "invalid app spec image/app.star"},
    };
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++) {
        assert_false(src_spec_load(&d->a, d->path, str_from(unknown[i].name), &s, &err));
        if (!str_starts(str_from(err_msg(&err)), str_from(unknown[i].err)))
            fail_msg("got %s", err_msg(&err));
    }
    put(d, "config/appspecs/mine/app.star", "1");
    put(d, "config/appspecs/mine/sub/x", "2");
    put(d, "config/appspecs/image/only", "3");
    assert_int_equal(symlink("/etc/passwd", str_z(&d->a, in(d, "config/appspecs/mine/link"))), 0);
    assert_true(src_spec_load(&d->a, d->path, STR("mine"), &s, &err));
    assert_string_equal(names(d, &s), "app.star");
    assert_true(src_spec_load(&d->a, d->path, STR("image"), &s, &err));
    assert_string_equal(names(d, &s), "only");
    assert_true(src_spec_load(&d->a, d->path, STR("proxy"), &s, &err));
    src_spec_list(&d->a, d->path, &all);
    assert_true(str_list_has(&all, STR("mine")));
}

/* What .openrunignore leaves out of the same folder. */
static void test_ignore(void **state)
{
    static const struct {
        const char *patterns, *left;
    } table[] = {
        {"", "a/log a/node_modules/x app.star b/a/log build/out log"},
        {"# nothing\n\n", "a/log a/node_modules/x app.star b/a/log build/out log"},
        {"log", "a/node_modules/x app.star build/out"},
        {"/log\r\n", "a/log a/node_modules/x app.star b/a/log build/out"},
        {"a/log", "a/node_modules/x app.star b/a/log build/out log"},
        {"node_modules/\nbuild/", "a/log app.star b/a/log log"},
        {"log/", "a/log a/node_modules/x app.star b/a/log build/out log"},
        {"a", "app.star build/out log"},
        {"**/a/log", "a/node_modules/x app.star build/out log"},
        {"*\n!app.star", "app.star"},
        {"log\n!/log", "a/node_modules/x app.star build/out log"},
        {"b*", "a/log a/node_modules/x app.star log"},
        {"[", NULL},
    };
    struct dir *d = *state;
    static const char *const files[] = {"app.star", "log", "a/log", "b/a/log", "a/node_modules/x", "build/out"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        put(d, files[i], "x");
    assert_int_equal(symlink("nowhere", str_z(&d->a, in(d, "b/link"))), 0);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct src_files s;
        scoped_err err = {0};
        put(d, ".openrunignore", str_z(&d->a, str_printf(&d->a, ".openrunignore\nlink\n%s", table[i].patterns)));
        bool ok = src_files_scan(&d->a, d->path, NULL, &s, &err);
        if (ok != (table[i].left != NULL))
            fail_msg("%s: %s", table[i].patterns, err_msg(&err));
        if (!ok)
            assert_non_null(strstr(err_msg(&err), ".openrunignore line 3: "));
        else if (strcmp(names(d, &s), table[i].left) != 0)
            fail_msg("%s: %s", table[i].patterns, names(d, &s));
    }
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_scan),
        TEST(test_ignore),
        TEST(test_scan_refusals),
        TEST(test_scan_warns),
        TEST(test_change_is_noticed),
        TEST(test_disk_read),
        TEST(test_name_clean),
        TEST(test_overlay_and_hash),
        TEST(test_extract),
        TEST(test_keep),
        TEST(test_specs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
