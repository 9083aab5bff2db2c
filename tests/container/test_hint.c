/* tests/container/test_hint.c: what is said about builds that fail.
 * SPDX-License-Identifier: Apache-2.0 */
#include "container_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct {
    const char *name, *tail, *file, *want; /* `want` "" for no hint */
} cases[] = {
    {"base by argument, docker", "Step 2/5 : FROM $BASE\nGet \"https://r.invalid/v2/\": dial tcp: lookup r.invalid: no such host",
     "ARG BASE=r.invalid/python:3\nFROM $BASE\n",
     "\nThe base image r.invalid/python:3 could not be had: check the network, its name and its registry, pull it by hand, or "
     "use another one by the build argument BASE (--carg BASE=IMAGE)."},
    {"base as it stands, podman",
     "Error: creating build container: initializing source docker://r.invalid/x:1: pinging container registry r.invalid",
     "FROM r.invalid/x:1\n",
     "\nThe base image r.invalid/x:1 could not be had: check the network, its name and its registry, pull it by hand, or name "
     "another one after FROM, or there a build argument that --carg can set."},
    {"the one that the output names", "failed to resolve source metadata for docker.io/library/b:2: i/o timeout",
     "ARG A=a:1\nARG B=b:2\nFROM $A AS a\nFROM $B\n",
     "\nThe base image b:2 could not be had: check the network, its name and its registry, pull it by hand, or "
     "use another one by the build argument B (--carg B=IMAGE)."},
    {"one of two", "Get \"https://r.invalid/v2/\": dial tcp: i/o timeout", "FROM a:1 AS a\nFROM b:2\n",
     "\nOne of the base images a:1, b:2 could not be had: check the network, its name and its registry, pull it by hand, or name "
     "another one after FROM, or there a build argument that --carg can set."},
    {"what is copied from, docker",
     "#4 [a 1/2] FROM docker.io/library/a:1\n#4 CACHED\n > FROM r.invalid/x:2:\n------\nfailed to load cache key: failed to do request: "
     "Head \"https://r.invalid/v2/x/manifests/2\": dial tcp: lookup r.invalid: no such host",
     "FROM a:1 AS a\nCOPY --from=r.invalid/x:2 /a /a\n",
     "\nThe base image r.invalid/x:2 could not be had: check the network, its name and its registry, pull it by hand, or name "
     "another one after --from=."},
    {"what is copied from, podman",
     "STEP 1/5: FROM a:1 AS a\nTrying to pull r.invalid/x:2...\nError: COPY --from=r.invalid/x:2: no stage or image found with that name",
     "FROM a:1 AS a\nCOPY --from=r.invalid/x:2 /a /a\n",
     "\nThe base image r.invalid/x:2 could not be had: check the network, its name and its registry, pull it by hand, or name "
     "another one after --from=."},
    {"a name that is the beginning of another", "pull access denied for a:1-slim", "FROM a:1 AS a\nFROM a:1-slim\n",
     "\nThe base image a:1-slim could not be had: check the network, its name and its registry, pull it by hand, or name "
     "another one after FROM, or there a build argument that --carg can set."},
    {"no file to look at", "pull access denied for x", "",
     "\nA base image could not be had: check the network, its name and its registry, pull it by hand, or name another one "
     "after FROM, or there a build argument that --carg can set."},
    {"a step that reaches nobody", "go: dial tcp: lookup proxy.golang.org: no such host", "FROM a:1\n", ""},
    {"a step that reaches no module of version 2",
     "go: https://proxy.example/m/v2/@v/list: dial tcp 127.0.0.1:1: connect: connection refused", "FROM a:1\n", ""},
    {"a step that fails", "The command '/bin/sh -c false' returned a non-zero code: 1", "FROM a:1\n", ""},
    {"full disk", "write /x: no space left on device", "FROM a:1\n",
     "\nThe disk of the container engine is full: remove what newer versions have replaced with \"openrun container prune\", "
     "and what else is not used with \"docker system prune\" or \"podman system prune\"."},
};

static void failures_are_explained(void **state)
{
    int failed = 0;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        struct str hint = ctr_build_hint(&a, str_from(cases[i].tail), str_from(cases[i].file), NULL);
        if (str_eq_z(hint, cases[i].want))
            continue;
        print_error("%s: \"" STR_FMT "\"\n", cases[i].name, STR_ARG(hint));
        failed++;
    }
    assert_int_equal(failed, 0);
}

/* An error of the engine that was no build's. */
static void a_full_disk_is_explained_once(void **state)
{
    scoped_err err = {0}, other = {0};
    (void)state;
    err_set(&err, ERR_UPSTREAM, "starting: mkdir /x: no space left on device");
    ctr_advise(&err);
    assert_non_null(strstr(err_msg(&err), "openrun container prune"));
    size_t len = strlen(err_msg(&err));
    ctr_advise(&err);
    assert_int_equal(strlen(err_msg(&err)), len);
    err_set(&other, ERR_UPSTREAM, "starting: no such image");
    ctr_advise(&other);
    assert_string_equal(err_msg(&other), "starting: no such image");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(failures_are_explained), cmocka_unit_test(a_full_disk_is_explained_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
