/* tests/cli/test_live.c: what the view of a long call writes to a terminal, byte for byte.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"
#include "live.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

static char shown[4096];

/* Draws `l` twice and clears it, with the standard error in a pipe; what came is then in `shown`. */
static void draw(struct live *l)
{
    int saved = dup(STDERR_FILENO), pipe_fds[2];
    assert_int_equal(pipe(pipe_fds), 0);
    dup2(pipe_fds[1], STDERR_FILENO);
    close(pipe_fds[1]);
    live_draw(l, 1000, 3500);
    live_draw(l, 1000, 4500);
    live_clear();
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    ssize_t n = read(pipe_fds[0], shown, sizeof shown - 1);
    close(pipe_fds[0]);
    assert_true(n >= 0);
    shown[n] = '\0';
}

static void hear(struct live *l)
{
    live_line(l, STR("==> building the image"), 1000);
    live_line(l, STR("step 1"), 1100);
    live_line(l, STR("\033[31mred\033[0m"), 1200);
}

static void last_lines_are_dim_and_without_colours_of_their_own(void **state)
{
    (void)state;
    struct live l = {.has_colour = true};
    hear(&l);
    draw(&l);
    assert_string_equal(shown,
                        "building the image  2 s\n\033[2m  step 1\033[0m\n\033[2m   [31mred [0m\033[0m\r\033[2A\033[J"
                        "building the image  3 s\n\033[2m  step 1\033[0m\n\033[2m   [31mred [0m\033[0m\r\033[2A\033[J");
}

static void nothing_is_dim_where_colours_are_unwanted(void **state)
{
    (void)state;
    struct live l = {0};
    hear(&l);
    draw(&l);
    assert_string_equal(shown, "building the image  2 s\n  step 1\n   [31mred [0m\r\033[2A\033[J"
                               "building the image  3 s\n  step 1\n   [31mred [0m\r\033[2A\033[J");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(last_lines_are_dim_and_without_colours_of_their_own),
        cmocka_unit_test(nothing_is_dim_where_colours_are_unwanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
