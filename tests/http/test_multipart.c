/* tests/http/test_multipart.c: forms with files: each body whole, byte by byte, and cut at every place.
 * SPDX-License-Identifier: Apache-2.0 */
#include "http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define HEAD(name) "Content-Disposition: form-data; name=\"" name "\"\r\n\r\n"

/* `want`: per part "name[ (file name)]=data;". */
static const struct {
    const char *name, *body, *want, *err;
} cases[] = {
    {"a field", "--b\r\n" HEAD("a") "1\r\n--b--\r\n", "a=1;", NULL},
    {"an empty field", "--b\r\n" HEAD("a") "\r\n--b--", "a=;", NULL},
    {"an empty field without the line for it", "--b\r\n" HEAD("a") "--b--", "a=;", NULL},
    {"no parts at all", "--b--\r\n", "", NULL},
    {"what is around the parts", "hello\r\n--bx\r\n\r\n--b\r\n" HEAD("a") "1\r\n--b--\r\n--b\r\nbye", NULL,
     "neither CRLF nor"},
    {"a preamble and an epilogue", "hello\r\n\r\n--b\r\n" HEAD("a") "1\r\n--b--\r\n--b\r\nbye", "a=1;", NULL},
    {"padding after the boundary", "--b \t \r\n" HEAD("a") "1\r\n--b-- ", "a=1;", NULL},
    {"two parts, one of them a file",
     "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x y.txt\"\r\nContent-Type: text/plain\r\n\r\nline\r\nline\r\n"
     "\r\n--b\r\n" HEAD("a") "2\r\n--b--\r\n",
     "f (x y.txt)=line\r\nline\r\n;a=2;", NULL},
    {"no file was chosen", "--b\r\nContent-Disposition: form-data; name=f; filename=\"\"\r\n\r\n\r\n--b--", "f ()=;", NULL},
    {"data that looks like a delimiter for a while",
     "--b\r\n" HEAD("a") "\r\r\n\r\n-\r\n--\r\n--a\r\n\r\n--\r--b\n--b\r\n--b--", "a=\r\r\n\r\n-\r\n--\r\n--a\r\n\r\n--\r--b\n--b;", NULL},
    {"data that begins like the rest of a delimiter", "--b\r\n" HEAD("a") "--\r\n--b--", "a=--;", NULL},
    {"quotes in names", "--b\r\ncontent-disposition:form-data;filename=\"a\\\"b\\\\c\\d;e.txt\";name=\"x%22y\"\r\n\r\n1\r\n--b--",
     "x\"y (a\"b\\c\\d;e.txt)=1;", NULL},
    {"other parameters and fields do not count",
     "--b\r\nX-Other: name=\"no\"\r\nContent-Disposition: form-data; x=\"name=y\"; name=\"a\"; filename*=UTF-8''no\r\n\r\n1\r\n--b--", "a=1;",
     NULL},
    {"no end", "--b\r\n" HEAD("a") "1\r\n--b", NULL, "has no end"},
    {"a head without end", "--b\r\nContent-Disposition: form-data; name=a\r\n", NULL, "has no end"},
    {"nothing", "", NULL, "has no end"},
    {"another boundary", "--c\r\n" HEAD("a") "1\r\n--c--\r\n", NULL, "has no end"},
    {"a longer boundary", "--b\r\n" HEAD("a") "1\r\n--bbx", NULL, "neither CRLF nor"},
    {"no head", "--b\r\n\r\n1\r\n--b--", NULL, "a part has no name"},
    {"an empty name", "--b\r\n" HEAD("") "1\r\n--b--", NULL, "a part has no name"},
    {"two names", "--b\r\nContent-Disposition: form-data; name=a; name=b\r\n\r\n1\r\n--b--", NULL, "two names"},
    {"two dispositions", "--b\r\nContent-Disposition: form-data; name=a\r\n" HEAD("b") "1\r\n--b--", NULL, "two Content-Disposition"},
    {"another kind of part", "--b\r\nContent-Disposition: attachment; name=a\r\n\r\n1\r\n--b--", NULL, "not form-data"},
    {"a quote that is not closed", "--b\r\nContent-Disposition: form-data; name=\"a\r\n\r\n1\r\n--b--", NULL, "malformed Content-Disposition"},
    {"bare LF in a head", "--b\r\nContent-Disposition: form-data; name=a\n\r\n1\r\n--b--", NULL, "CRLF must end"},
    {"a folded line", "--b\r\nContent-Disposition: form-data;\r\n name=a\r\n\r\n1\r\n--b--", NULL, "malformed header field"},
    {"a control character in a name", "--b\r\nContent-Disposition: form-data; name=\"a\rb\"\r\n\r\n1\r\n--b--", NULL, "malformed header field"},
};

struct seen {
    struct buf text;
    bool in_part;
};

static bool on_part(void *arg, const struct http_part *part, struct err *err)
{
    struct seen *s = arg;
    assert_false(s->in_part);
    s->in_part = true;
    buf_add_str(&s->text, part->name);
    if (part->is_file)
        buf_printf(&s->text, " (" STR_FMT ")", STR_ARG(part->file_name));
    return buf_add_char(&s->text, '=');
}

static bool on_data(void *arg, struct str data, struct err *err)
{
    struct seen *s = arg;
    assert_true(s->in_part && data.len > 0);
    return buf_add_str(&s->text, data);
}

static bool on_end(void *arg, struct err *err)
{
    struct seen *s = arg;
    assert_true(s->in_part);
    s->in_part = false;
    return buf_add_char(&s->text, ';');
}

/* The body in pieces: up to `cut`, then in steps of `step`. */
static void check(size_t i, size_t cut, size_t step)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct seen s = {.text = BUF_INIT(1 << 20)};
    struct str boundary = STR("b"), rest = str_from(cases[i].body);
    struct http_multipart *m = http_multipart_new(&a, boundary, &(struct http_part_sink){on_part, on_data, on_end, &s});
    bool ok = http_multipart_feed(m, str_slice(rest, 0, cut), &err);
    for (rest = str_from_off(rest, cut); ok && rest.len > 0; rest = str_from_off(rest, step))
        ok = http_multipart_feed(m, str_slice(rest, 0, step), &err);
    ok = ok && http_multipart_end(m, &err);
    if (ok != !cases[i].err)
        fail_msg("%s: cut at %zu: %s", cases[i].name, cut, ok ? "was taken" : err_msg(&err));
    if (!ok && !strstr(err_msg(&err), cases[i].err))
        fail_msg("%s: wanted \"%s\", got \"%s\"", cases[i].name, cases[i].err, err_msg(&err));
    if (ok && (s.in_part || strcmp(buf_z(&s.text), cases[i].want) != 0))
        fail_msg("%s: cut at %zu: wanted \"%s\", got \"%s\"", cases[i].name, cut, cases[i].want, buf_z(&s.text));
    buf_release(&s.text);
}

static void bodies_however_they_come(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t len = strlen(cases[i].body);
        check(i, 0, 1);
        for (size_t cut = 0; cut <= len; cut++)
            check(i, cut, len + 1);
    }
}

static void boundaries(void **state)
{
    static const struct {
        const char *type, *want;
    } types[] = {
        {"multipart/form-data; boundary=----WebKitFormBoundaryX", "----WebKitFormBoundaryX"},
        {"Multipart/Form-Data ;charset=utf-8; BOUNDARY=\"a:b c\"", NULL},
        {"multipart/form-data; x=\"boundary=no\"; boundary=\"a:b\"", "a:b"},
        {"multipart/form-data", NULL},
        {"multipart/form-data; boundary=", NULL},
        {"multipart/form-data; boundary=\"a", NULL},
        {"multipart/form-data; boundary=a\"b", NULL},
        {"multipart/mixed; boundary=a", NULL},
        {"multipart/form-data; boundary=01234567890123456789012345678901234567890123456789012345678901234567890", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        scoped_err err = {0};
        struct str b = STR("untouched");
        bool ok = http_multipart_boundary(str_from(types[i].type), &b, &err);
        if (ok != (types[i].want != NULL) || !str_eq_z(b, ok ? types[i].want : "untouched"))
            fail_msg("%s: %d " STR_FMT, types[i].type, ok, STR_ARG(b));
        assert_int_equal(err.code, ok ? ERR_OK : ERR_INVALID);
    }
}

static bool feed(struct http_multipart *m, const char *text, struct err *err)
{
    return http_multipart_feed(m, str_from(text), err);
}

static void what_grows_has_an_end(void **state)
{
    struct seen s = {.text = BUF_INIT(1 << 20)};
    const struct http_part_sink sink = {on_part, on_data, on_end, &s};
    scoped_arena a = {0};
    scoped_err err = {0};
    struct http_multipart *m = http_multipart_new(&a, STR("b"), &sink);
    bool ok = feed(m, "--b\r\n", &err);
    for (int i = 0; ok && i < HTTP_PART_HEAD_MAX; i++)
        ok = feed(m, "X-Field: y\r\n", &err);
    assert_int_equal(err.code, ERR_TOO_LARGE);

    err_release(&err);
    m = http_multipart_new(&a, STR("b"), &sink);
    ok = feed(m, "--b", &err);
    for (int i = 0; ok && i <= HTTP_PARTS_MAX; i++)
        ok = feed(m, "\r\n" HEAD("a") "\r\n--b", &err);
    assert_int_equal(err.code, ERR_TOO_LARGE);
    buf_release(&s.text);
}

static bool refuse(void *arg, struct str data, struct err *err)
{
    return err_set(err, ERR_FORBIDDEN, "no");
}

static void the_sink_may_end_it(void **state)
{
    struct seen s = {.text = BUF_INIT(1 << 20)};
    scoped_arena a = {0};
    scoped_err err = {0};
    struct http_multipart *m = http_multipart_new(&a, STR("b"), &(struct http_part_sink){on_part, refuse, on_end, &s});
    assert_false(feed(m, "--b\r\n" HEAD("a") "1\r\n--b--", &err));
    assert_int_equal(err.code, ERR_FORBIDDEN);
    buf_release(&s.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_however_they_come),
        cmocka_unit_test(boundaries),
        cmocka_unit_test(what_grows_has_an_end),
        cmocka_unit_test(the_sink_may_end_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
