/* tests/starlark/test_conformance.c: every chunked file of conformance/ holds.
 * SPDX-License-Identifier: Apache-2.0 */
#include "starlark.h"

#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static void all_chunks_hold(void **state)
{
    glob_t g;
    assert_int_equal(glob("tests/starlark/conformance/*.star", 0, NULL, &g), 0);
    assert_true(g.gl_pathc >= 15);
    for (size_t i = 0; i < g.gl_pathc; i++) {
        char *argv[] = {(char *)"starlark", (char *)"--test", g.gl_pathv[i], NULL};
        if (star_tool_main(3, argv) != 0)
            fail_msg("%s does not hold", g.gl_pathv[i]);
    }
    globfree(&g);
}

/* A test file that should fail does: otherwise the one above would prove nothing. */
static void a_wrong_chunk_is_noticed(void **state)
{
    static const char *const wrong[] = {
        "assert_eq(1, 2)\n", "x = 1 ### some error\n", "fail('x') ### other\n", "y = = 1\n",
        "load('assert.star', 'assert')\nassert.eq(1, 2)\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        char path[] = "/tmp/star_testXXXXXX";
        int fd = mkstemp(path);
        FILE *f = fdopen(fd, "w");
        fputs(wrong[i], f);
        fclose(f);
        char *argv[] = {(char *)"starlark", (char *)"--test", path, NULL};
        int status = star_tool_main(3, argv);
        remove(path);
        if (status == 0)
            fail_msg("not noticed: %s", wrong[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_chunks_hold),
        cmocka_unit_test(a_wrong_chunk_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
