/* tests/container/test_file.c: what we read from Containerfiles.
 * SPDX-License-Identifier: Apache-2.0 */
#include "container.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static void a_stage_says_where_it_works_and_what_it_runs(void **state)
{
    static const struct {
        const char *name, *text, *workdir;
        bool has_entry;
    } cases[] = {
        {"nothing said", "FROM x\n", "", false},
        {"a folder and a command", "FROM x\nWORKDIR /app\nCMD run\n", "/app", true},
        {"an entry point", "FROM x\nentrypoint [\"/x\"]\n", "", true},
        {"a relative folder goes on from the last", "FROM x\nWORKDIR /a\nWORKDIR b/../c\n", "/a/c", false},
        {"a relative folder of an image is not known", "FROM x\nWORKDIR b\n", "", false},
        {"through ARG", "FROM x\nARG D=/srv\nWORKDIR $D/y\n", "/srv/y", false},
        {"inherited from the stage it builds on, but for the entry", "FROM x AS a\nWORKDIR /a\nCMD x\nFROM a\n", "/a", false},
        {"not from another one", "FROM x AS a\nWORKDIR /a\nFROM y\n", "", false},
        {"no climbing out", "FROM x\nWORKDIR /..\n", "/", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        struct ctr_file f;
        if (!ctr_file_parse(&a, str_from(cases[i].text), NULL, &f, &err))
            fail_msg("%s: %s", cases[i].name, err_msg(&err));
        const struct ctr_stage *last = &f.stages[f.n_stages - 1];
        if (!str_eq_z(last->workdir, cases[i].workdir) || last->has_entry != cases[i].has_entry)
            fail_msg("%s: workdir %.*s", cases[i].name, (int)last->workdir.len, last->workdir.ptr);
    }
}

static void ports_come_from_the_final_stage(void **state)
{
    static const struct {
        const char *name, *text;
        int port;
        const char *problem;   /* part of port_problem */
    } cases[] = {
        {"a plain number", "FROM x\nEXPOSE 8000\n", 8000, NULL},
        {"with a protocol", "FROM x\nEXPOSE 80/tcp\n", 80, NULL},
        {"in upper case", "from x\nexpose 80/TCP\n", 80, NULL},
        {"the first of a list", "FROM x\nEXPOSE 80 443\n", 80, NULL},
        {"the last instruction wins", "FROM x\nEXPOSE 80\nEXPOSE 81\n", 81, NULL},
        {"only udp is none", "FROM x\nEXPOSE 53/udp\n", 0, "line 2: EXPOSE 53/udp: apps are served over TCP"},
        {"udp before tcp", "FROM x\nEXPOSE 53/udp 8080/tcp\n", 8080, NULL},
        {"a range gives its start", "FROM x\nEXPOSE 7000-7010\n", 7000, NULL},
        {"an earlier stage does not count", "FROM x AS b\nEXPOSE 1\nFROM y\nEXPOSE 2\n", 2, NULL},
        {"none in the final stage", "FROM x AS b\nEXPOSE 1\nFROM y\n", 0, NULL},
        {"inherited from the stage it builds on", "FROM x AS base\nEXPOSE 1\nFROM y\nEXPOSE 9\nFROM Base\n", 1, NULL},
        {"through ARG", "FROM x\nARG P=5000\nEXPOSE $P\n", 5000, NULL},
        {"through a global ARG", "ARG P=5000\nFROM x\nARG P\nEXPOSE ${P}/tcp\n", 5000, NULL},
        {"a global ARG is not seen undeclared", "ARG P=5000\nFROM x\nEXPOSE $P\n", 0, "P has no value"},
        {"ENV wins over ARG", "FROM x\nARG P=1\nENV P=2\nEXPOSE $P\n", 2, NULL},
        {"ENV of the old form", "FROM x\nENV P 77\nEXPOSE $P\n", 77, NULL},
        {"ENV of a base stage", "FROM x AS a\nENV P=3\nFROM a\nEXPOSE $P\n", 3, NULL},
        {"a default in the reference", "FROM x\nEXPOSE ${P:-8501}\n", 8501, NULL},
        {"a nested default", "FROM x\nEXPOSE ${P:-${Q:-8502}}\n", 8502, NULL},
        {"an alternative that applies", "FROM x\nARG P=1\nEXPOSE ${P:+99}\n", 99, NULL},
        {"a build argument given", "FROM x\nARG GIVEN=1\nEXPOSE $GIVEN\n", 4321, NULL},
        {"an unset variable is said", "FROM x\nEXPOSE $PORT\n", 0, "line 2: EXPOSE $PORT: PORT has no value"},
        {"no number at all", "FROM x\nEXPOSE http\n", 0, "not a port number"},
        {"out of range", "FROM x\nEXPOSE 70000\n", 0, "not a port number"},
        {"a problem before a good one is forgotten", "FROM x\nEXPOSE $PORT\nEXPOSE 80\n", 80, NULL},
        {"quoted", "FROM x\nEXPOSE \"8080\"\n", 8080, NULL},
        {"continued over lines and comments", "FROM x\nEXPOSE \\\n# a comment\n\n  8081\n", 8081, NULL},
        {"inside a RUN continuation it is text", "FROM x\nRUN echo \\\nEXPOSE 1\n", 0, NULL},
        {"inside a here-document it is text", "FROM x\nRUN <<EOF\nEXPOSE 1\nEOF\nEXPOSE 2\n", 2, NULL},
        {"two here-documents, one with tabs", "FROM x\nCOPY <<A <<-B /d/\nEXPOSE 1\nA\nx\n\tB\nEXPOSE 3\n", 3, NULL},
        {"a shift is no here-document", "FROM x\nRUN echo $((1<<2))\nEXPOSE 4\n", 4, NULL},
        {"another escape character", "# escape=`\nFROM x\nEXPOSE `\n 90\n", 90, NULL},
        {"carriage returns", "FROM x\r\nEXPOSE 8080\r\n", 8080, NULL},
        {"a byte order mark", "\xEF\xBB\xBF" "FROM x\nEXPOSE 8080", 8080, NULL},
        {"several words in one variable", "FROM x\nENV P=\"80 443\"\nEXPOSE $P\n", 80, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        struct ctr_file f;
        struct ctr_kv_list args = {0};
        ctr_kv_set(&a, &args, STR("GIVEN"), STR("4321"));
        if (!ctr_file_parse(&a, str_from(cases[i].text), &args, &f, &err))
            fail_msg("%s: %s", cases[i].name, err_msg(&err));
        if (f.port != cases[i].port)
            fail_msg("%s: wanted %d, got %d (%.*s)", cases[i].name, cases[i].port, f.port, STR_ARG(f.port_problem));
        char problem[300];
        snprintf(problem, sizeof problem, "%.*s", STR_ARG(f.port_problem));
        if (cases[i].problem ? !strstr(problem, cases[i].problem) : problem[0] != '\0' && cases[i].port)
            fail_msg("%s: problem \"%s\"", cases[i].name, problem);
    }
}

static void images_that_a_build_needs_are_named(void **state)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct ctr_file f;
    struct ctr_kv_list args = {0};
    ctr_kv_set(&a, &args, STR("V"), STR("3.13"));
    const char *text = "# syntax=docker/dockerfile:1.7\n"
                       "ARG V=3.14\nARG B=uv:python${V}-slim\n"
                       "FROM --platform=linux/amd64 ${B} AS Builder\n"
                       "RUN --mount=type=cache,target=/root/.cache --mount=from=tools:1,target=/t true\n"
                       "FROM python:$V\nCOPY --from=builder /a /b\nCOPY --from=0 /a /c\nCOPY --from=extra:2 / /\n"
                       "VOLUME /data $HOME/x\nVOLUME [\"/j1\", \"/j 2\"]\nVOLUME /data\nFROM scratch\n";
    assert_true(ctr_file_parse(&a, str_from(text), &args, &f, &err));
    static const char *const want[] = {"uv:python3.13-slim", "tools:1", "python:3.13", "extra:2"};
    assert_int_equal(f.images.len, ARRAY_LEN(want));
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        assert_true(str_eq_z(f.images.items[i], want[i]));
    assert_true(f.needs_buildkit);
    assert_true(str_eq(f.syntax, STR("docker/dockerfile:1.7")));
    assert_int_equal(f.n_stages, 3);
    assert_true(str_eq(f.stages[0].name, STR("builder")));
    assert_int_equal(f.args.len, 2);
    assert_true(str_eq(*ctr_kv_get(&f.args, STR("V")), STR("3.13")));
    assert_true(str_eq(*ctr_kv_get(&f.args, STR("B")), STR("uv:python3.13-slim")));
    static const char *const volumes[] = {"/data", "/x", "/j1", "/j 2"};
    assert_int_equal(f.volumes.len, ARRAY_LEN(volumes));
    for (size_t i = 0; i < ARRAY_LEN(volumes); i++)
        assert_true(str_eq_z(f.volumes.items[i], volumes[i]));
}

static void broken_files_are_refused_with_a_line(void **state)
{
    static const struct {
        const char *name, *text, *error;
    } cases[] = {
        {"empty", "", "has no FROM"},
        {"comments only", "# nothing\n", "has no FROM"},
        {"an instruction before FROM", "RUN x\nFROM y\n", "line 1: RUN before the first FROM"},
        {"FROM without an image", "ARG X\n\nFROM\n", "line 3: FROM without an image"},
        {"FROM an unset variable", "FROM ${BASE}\n", "line 1: FROM ${BASE}: BASE has no value"},
        {"a here-document without end", "FROM x\nRUN <<EOF\na\n", "line 2: the here-document EOF has no end"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        struct ctr_file f;
        if (ctr_file_parse(&a, str_from(cases[i].text), NULL, &f, &err) || !strstr(err_msg(&err), cases[i].error))
            fail_msg("%s: \"%s\"", cases[i].name, err_msg(&err));
    }
}

static void growth_has_ceilings(void **state)
{
    scoped_arena a = {0};
    struct buf text = BUF_INIT(CTR_FILE_MAX + 100);
    struct ctr_file f;
    static const struct {
        const char *head, *line, *error;
    } cases[] = {
        {"", "FROM x\n", "too many stages"},
        {"FROM x\n", "ENV V%d=1\n", "too many variables"},
        {"FROM x\n", "EXPOSE %d\n", "too many ports"},
        {"FROM x\n", "VOLUME /v%d\n", "too many volumes"},
        {"FROM x\n", "COPY --from=i%d / /\n", "too many images"},
        {"FROM x\nENV A=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n", "ENV A=$A$A$A$A$A$A$A$A\n", "too much text"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_err err = {0};
        buf_clear(&text);
        buf_add_z(&text, cases[i].head);
        for (int n = 1; n < 5000; n++) {
            char line[64];
            const char *at = strstr(cases[i].line, "%d");
            if (at)
                snprintf(line, sizeof line, "%.*s%d%s", (int)(at - cases[i].line), cases[i].line, n, at + 2);
            else
                snprintf(line, sizeof line, "%s", cases[i].line);
            buf_add_z(&text, line);
        }
        if (ctr_file_parse(&a, buf_str(&text), NULL, &f, &err) || !strstr(err_msg(&err), cases[i].error))
            fail_msg("%s: \"%s\"", cases[i].line, err_msg(&err));
    }
    scoped_err err = {0};
    buf_clear(&text);
    while (text.len <= CTR_FILE_MAX)
        buf_add_z(&text, "# comment\n");
    assert_false(ctr_file_parse(&a, buf_str(&text), NULL, &f, &err));
    buf_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ports_come_from_the_final_stage),
        cmocka_unit_test(a_stage_says_where_it_works_and_what_it_runs),
        cmocka_unit_test(images_that_a_build_needs_are_named),
        cmocka_unit_test(broken_files_are_refused_with_a_line),
        cmocka_unit_test(growth_has_ceilings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
