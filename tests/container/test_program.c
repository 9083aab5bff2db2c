/* tests/container/test_program.c: what an engine's program is given, seen by a script in its place.
 * SPDX-License-Identifier: Apache-2.0 */
#include "container_int.h"
#include "fs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static struct {
    struct arena arena;
    struct str dir;
    struct ctr_program program;
    struct ctr_engine *engine;
} box;

/* Writes down its arguments, its environment and its input, each ended by NUL. */
static int open_box(void **state)
{
    static const char script[] = "#!/bin/sh\nhere=${0%/*}\nprintf '%s\\0' \"$@\" >$here/args\nenv -0 >$here/env\ncat >$here/in\n";
    scoped_err err = {0};
    memset(&box, 0, sizeof box);
    if (!fs_temp_dir(&box.arena, STR("ctr-test-"), &box.dir, &err))
        return -1;
    struct str path = path_join(&box.arena, box.dir, STR("podman"));
    if (!fs_write_atomic(path, str_from(script), 0755, &err))
        return -1;
    box.program = (struct ctr_program){.kind = CTR_PODMAN, .path = (char *)str_z(&box.arena, path), .name = (char *)"podman"};
    box.engine = ctr_engine_open_with(CTR_PODMAN, &ctr_program_backend, &box.program);
    return 0;
}

static int close_box(void **state)
{
    scoped_err err = {0};
    ctr_engine_close(box.engine);
    bool ok = fs_remove_tree(box.dir, &err);
    arena_release(&box.arena);
    return ok ? 0 : -1;
}

static struct str written(const char *name)
{
    scoped_err err = {0};
    struct str text = {0};
    assert_true(fs_read_all(&box.arena, path_join(&box.arena, box.dir, str_from(name)), 1 << 20, &text, &err));
    return text;
}

/* The number of the argument, -1: none. */
static int index_of(const char *word)
{
    struct str rest = written("args"), one;
    for (int i = 0; str_next(&rest, '\0', &one); i++)
        if (str_eq_z(one, word))
            return i;
    return -1;
}

static bool has_env(const char *entry)
{
    struct str rest = written("env"), one;
    bool found = false;
    while (!found && str_next(&rest, '\0', &one))
        found = str_eq_z(one, entry);
    return found;
}

static struct ctr_run run_of(void)
{
    return (struct ctr_run){.name = STR("clt-x"), .image = STR("tool:1.2.3.4")};
}

static bool run_task(const struct ctr_run *run, struct err *err)
{
    struct ctr_task_end end;
    return ctr_container_task(box.engine, run, &(struct ctr_task_io){0}, &end, err);
}

static void nothing_before_the_image_makes_flags_of_a_command(void **state)
{
    scoped_err err = {0};
    struct ctr_run run = run_of();
    str_list_add(&box.arena, &run.command, STR("--privileged"));
    ctr_kv_set(&box.arena, &run.limits.flags, STR("init"), (struct str){0});
    ctr_kv_set(&box.arena, &run.limits.flags, STR("hostname"), STR("-v"));
    assert_true(run_task(&run, &err));
    int image = index_of("tool:1.2.3.4");
    assert_true(image > 0 && index_of("--") == image - 1 && index_of("--privileged") == image + 1);
    assert_true(index_of("--init") > 0 && index_of("--init") < image && index_of("--hostname=-v") < image);
}

static void values_are_in_the_environment_and_what_steers_programs_is_not(void **state)
{
    static const char *const steering[] = {
        "PATH", "LD_PRELOAD", "DOCKER_HOST", "CONTAINER_HOST", "BASH_ENV", "ENV", "BASH_FUNC_ls%%", "PYTHONPATH", "PERL5LIB",
        "RUBYOPT", "NODE_OPTIONS", "GIT_CONFIG_COUNT", "GIT_SSH_COMMAND", "GIT_TRACE", "GIT_DIR", "DBUS_SESSION_BUS_ADDRESS",
        "LISTEN_FDS", "GLIBC_TUNABLES", "GODEBUG", "XDG_RUNTIME_DIR"};
    static const char *const plain[] = {"GIT_TOKEN", "GIT_COMMIT", "LISTENER", "GOPROXY", "DATABASE_URL"};
    scoped_err err = {0};
    struct ctr_run run = run_of();
    for (size_t i = 0; i < ARRAY_LEN(steering); i++)
        ctr_kv_set(&box.arena, &run.env, str_from(steering[i]), STR("s3cret"));
    for (size_t i = 0; i < ARRAY_LEN(plain); i++)
        ctr_kv_set(&box.arena, &run.env, str_from(plain[i]), STR("s3cret\nmore"));
    assert_true(run_task(&run, &err));
    assert_int_equal(str_find(written("args"), STR("s3cret")), STR_NPOS);
    for (size_t i = 0; i < ARRAY_LEN(steering); i++) {
        struct str line = str_printf(&box.arena, "%s=s3cret", steering[i]);
        if (has_env(str_z(&box.arena, line)) || str_find(written("in"), line) == STR_NPOS)
            fail_msg("%s steers the program", steering[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(plain); i++)
        if (!has_env(str_z(&box.arena, str_printf(&box.arena, "%s=s3cret\nmore", plain[i]))))
            fail_msg("%s has not got there", plain[i]);
}

static void names_that_would_be_something_else_are_refused(void **state)
{
    static const char *const names[] = {"*", "AWS*", "-e", "A=B", "A\nB", ""};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        scoped_err err = {0};
        struct ctr_run run = run_of();
        ctr_kv_set(&box.arena, &run.env, str_from(names[i]), STR("x"));
        if (run_task(&run, &err) || err.code != ERR_INVALID)
            fail_msg("\"%s\": %s", names[i], err_msg(&err));
    }
    static const struct {
        const char *image;
        bool ok;
    } images[] = {
        {"tool", true},
        {"registry.example/a/b:1@sha256:0123", true},
        {"localhost:5000/a/b", true},
        {"localhost:5000/a/b:tag", true},
        {"docker-archive:/etc/passwd", false},
        {"dir:x/y", false},
        {"docker://host/x", false},
        {"-v", false},
        {"a b", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(images); i++) {
        scoped_err err = {0};
        struct ctr_run run = run_of();
        run.image = str_from(images[i].image);
        if (run_task(&run, &err) != images[i].ok)
            fail_msg("image \"%s\": %s", images[i].image, err_msg(&err));
    }
}

static void a_build_does_not_ask_git_about_the_folder(void **state)
{
    scoped_err err = {0};
    struct ctr_kv_list args = {0};
    ctr_kv_set(&box.arena, &args, STR("TOKEN"), STR("s3cret"));
    ctr_kv_set(&box.arena, &args, STR("BUILDX_GIT_INFO"), STR("true"));
    struct ctr_build b = {.image = STR("cli-x:1"), .dir = box.dir, .file = STR("Containerfile"), .args = &args};
    box.program.kind = CTR_DOCKER;
    assert_true(ctr_image_build(box.engine, &b, &err));
    assert_true(has_env("BUILDX_GIT_INFO=false") && has_env("TOKEN=s3cret") && index_of("s3cret") < 0 && index_of("TOKEN") > 0);
}

/* Podman 4's words for an image that another program is just making or removing. */
static void an_image_that_is_half_there_is_looked_at_again(void **state)
{
    static const char script[] = "#!/bin/sh\nhere=${0%/*}\nif [ -e $here/seen ]; then echo '[{\"Id\": \"abc\"}]'; exit; fi\n"
                                 ">$here/seen\necho 'Error: locating item named \"manifest\" for image with ID \"abc\": file does not "
                                 "exist' >&2\nexit 125\n";
    scoped_err err = {0};
    bool exists = false;
    assert_true(fs_write_atomic(str_from(box.program.path), str_from(script), 0755, &err));
    assert_true(ctr_image_inspect(box.engine, &box.arena, STR("tool:1.2.3.4"), &exists, NULL, &err));
    assert_true(exists);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_before_the_image_makes_flags_of_a_command, open_box, close_box),
        cmocka_unit_test_setup_teardown(values_are_in_the_environment_and_what_steers_programs_is_not, open_box, close_box),
        cmocka_unit_test_setup_teardown(a_build_does_not_ask_git_about_the_folder, open_box, close_box),
        cmocka_unit_test_setup_teardown(names_that_would_be_something_else_are_refused, open_box, close_box),
        cmocka_unit_test_setup_teardown(an_image_that_is_half_there_is_looked_at_again, open_box, close_box),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
