/* tests/cli/test_container.c: `openrun container` and `app logs` against a scripted server: request, output, exit code.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fake_server.h"

enum { ARGV_MAX = 16 };

#define SUMMARY                                                                                                        \
    "\"id\":\"0123456789ab\",\"name\":\"clc-a\",\"app_id\":\"app_prd_a\",\"app_path\":\"/a\",\"image\":\"cli-a:1\","        \
    "\"state\":\"running\",\"status\":\"ready\",\"ports\":\"127.0.0.1:3000 -> 8080/tcp, 9/udp\",\"env\":\"prod\","           \
    "\"runtime\":\"docker\",\"created_at\":\"2026-01-02T03:04:05Z\""
#define STATS                                                                                                          \
    "\"cpu_percent\":12.5,\"mem_usage\":1572864,\"mem_limit\":1073741824,\"mem_percent\":0.15,\"net_in\":1023,"             \
    "\"net_out\":1024,\"block_read\":1,\"block_write\":2,\"pids\":3"
#define VOLUME                                                                                                         \
    "\"name\":\"clv-a-1\",\"volume\":\"data\",\"app_id\":\"app_prd_a\",\"app_path\":\"/a\",\"env\":\"prod\","              \
    "\"created_at\":\"2026-01-02T03:04:05Z\""
#define LIST_HEAD "Name                                                       Env      State    Status     AppPath\n"
#define LIST_ROW "clc-a                                                      prod     running  ready      /a\n"

static const struct {
    const char *name, *line;
    struct fake_answer answer;
    const char *request;   /* first line without protocol; NULL: no call is made */
    int code;
    const char *out, *err; /* err NULL: any */
} cases[] = {
    {"list as a table", "container list", {200, "{\"containers\":[{" SUMMARY "}]}"}, "GET /_openrun/containers", 0, LIST_HEAD LIST_ROW, ""},
    {"list of nothing", "container list -f json", {200, "{\"containers\":[]}"}, "GET /_openrun/containers", 0, "[]\n", ""},
    {"list as CSV quotes what has commas", "container list -f csv", {200, "{\"containers\":[{" SUMMARY "}]}"},
     "GET /_openrun/containers", 0,
     "0123456789ab,clc-a,app_prd_a,/a,cli-a:1,running,ready,\"127.0.0.1:3000 -> 8080/tcp, 9/udp\",prod,docker,2026-01-02T03:04:05Z\n", ""},
    {"list as JSON lines", "container list -f jsonl", {200, "{\"containers\":[{" SUMMARY "}]}"}, "GET /_openrun/containers", 0,
     "{" SUMMARY "}\n", ""},
    {"list takes no arguments", "container list x", {0}, NULL, 1, "", NULL},
    {"a format that there is not", "container list -f xml", {0}, NULL, 1, "", NULL},
    {"a reply without rows", "container list -f json", {200, "{}"}, "GET /_openrun/containers", 0, "[]\n", ""},
    {"stats of all", "container stats", {200, "{\"containers\":[{" SUMMARY "," STATS "}]}"}, "GET /_openrun/container/stats", 0,
     "Name                                                            Cpu     Memory      NetIn     NetOut  Pids AppPath\n"
     "clc-a                                                        12.50%    1.5 MiB     1023 B    1.0 KiB     3 /a\n", ""},
    {"stats of one", "container stats a/b -f csv", {200, "{\"containers\":[{" SUMMARY "," STATS "}]}"},
     "GET /_openrun/container/stats?id=a%2Fb", 0, "clc-a,/a,12.50%,1572864,1073741824,1023,1024,1,2,3\n", ""},
    {"stats of two", "container stats a b", {0}, NULL, 1, "", "error: only one argument expected: <container>\n"},
    {"get without a name", "container get", {0}, NULL, 1, "", "error: requires one argument: <container>\n"},
    {"get for people", "container get clc-a",
     {200, "{\"container\":{" SUMMARY ",\"command\":\"/webapp\",\"started_at\":\"2026-01-02T03:04:06Z\",\"finished_at\":\"0001-01-01T00:00:00Z\","
           "\"exit_code\":0,\"app_version\":\"3\",\"size_rw\":4096,\"mounts\":[{\"source\":\"v\",\"destination\":\"/d\",\"read_write\":false}],\"stats\":{" STATS "}}}"},
     "GET /_openrun/container?id=clc-a", 0,
     "            Id: 0123456789ab\n          Name: clc-a\n           App: /a\n        App id: app_prd_a\n   App version: 3\n"
     "           Env: prod\n         State: running\n        Status: ready\n         Image: cli-a:1\n       Command: /webapp\n"
     "         Ports: 127.0.0.1:3000 -> 8080/tcp, 9/udp\n       Created: 2026-01-02T03:04:05Z\n       Started: 2026-01-02T03:04:06Z\n"
     "     Exit code: 0\n       Written: 4.0 KiB\n        Mounts: v -> /d (read only)\n           Cpu: 12.50%\n        Memory: 1.5 MiB\n", ""},
    {"get of what is not ours", "container get x", {404, "{\"message\":\"container x is not managed by OpenRun\",\"code\":404}"},
     "GET /_openrun/container?id=x", 1, "", "error: container x is not managed by OpenRun\n"},
    {"logs, made harmless", "container logs clc-a", {200, "{\"name\":\"clc-a\",\"logs\":\"one\\n\\ntwo\\u001b[2J\\n\",\"next\":\"7\"}"},
     "GET /_openrun/container/logs?id=clc-a&tail=100&since=", 0, "one\n\ntwo?[2J\n", ""},
    {"logs with limits", "container logs --tail 5 --since 10m clc-a", {200, "{\"name\":\"clc-a\",\"logs\":\"\",\"next\":\"7\"}"},
     "GET /_openrun/container/logs?id=clc-a&tail=5&since=10m", 0, "", ""},
    {"logs of an app", "app logs d.test:/a", {200, "{\"name\":\"clc-a\",\"logs\":\"last without an end\",\"next\":\"7\"}"},
     "GET /_openrun/container/logs?appPath=d.test%3A%2Fa&tail=100&since=", 0, "last without an end\n", ""},
    {"logs of nothing", "app logs", {0}, NULL, 1, "", "error: requires one argument: <appPath>\n"},
    {"start", "container start 0123", {200, "{\"name\":\"clc-a\"}"}, "POST /_openrun/container/start?id=0123", 0, "Started clc-a\n", ""},
    {"stop", "container stop clc-a", {200, "{\"name\":\"clc-a\"}"}, "POST /_openrun/container/stop?id=clc-a", 0, "Stopped clc-a\n", ""},
    {"stop that fails", "container stop clc-a", {502, "{\"message\":\"docker stop: no\",\"code\":502}"},
     "POST /_openrun/container/stop?id=clc-a", 1, "", "error: docker stop: no\n"},
    {"prune tells what it would do", "container prune --dry-run -f csv",
     {200, "{\"items\":[{\"kind\":\"image\",\"name\":\"cli-a:1\",\"app_id\":\"app_prd_a\",\"size\":2048,\"problem\":\"used, still\"}],\"size\":0}"},
     "POST /_openrun/container/prune?dryRun=true", 0, "image,cli-a:1,app_prd_a,2048,\"used, still\"\n", ""},
    {"prune of nothing", "container prune", {200, "{\"items\":[],\"size\":0,\"dry_run\":false}"},
     "POST /_openrun/container/prune?dryRun=false", 0, "Freed up to 0 B\n", ""},
    {"prune takes no arguments", "container prune all", {0}, NULL, 1, "", NULL},
    {"volumes as a table", "volume list", {200, "{\"volumes\":[{" VOLUME ",\"app_exists\":true,\"in_use\":true},{" VOLUME ",\"app_exists\":false}]}"},
     "GET /_openrun/volumes", 0,
     "Volume                   Env      Used Created                   AppPath                        Name\n"
     "data                     prod     yes  2026-01-02T03:04:05Z      /a                             clv-a-1\n"
     "data                     prod     no   2026-01-02T03:04:05Z      /a (deleted)                   clv-a-1\n", ""},
    {"volumes as CSV", "volume list -f csv", {200, "{\"volumes\":[{" VOLUME ",\"app_exists\":true,\"in_use\":true}]}"},
     "GET /_openrun/volumes", 0, "clv-a-1,\"data\",app_prd_a,/a,true,prod,true,2026-01-02T03:04:05Z\n", ""},
    {"volumes, of which there are none", "volume list -f json", {200, "{}"}, "GET /_openrun/volumes", 0, "[]\n", ""},
    {"a prune of volumes that is dry", "volume prune --dry-run -f csv",
     {200, "{\"items\":[{" VOLUME ",\"problem\":\"used, still\"}]}"}, "POST /_openrun/volume/prune?dryRun=true", 0,
     "clv-a-1,\"data\",app_prd_a,/a,\"used, still\"\n", ""},
    {"a prune of volumes for programs", "volume prune -f jsonl", {200, "{\"items\":[]}"}, "POST /_openrun/volume/prune?dryRun=false", 0, "", ""},
    {"a prune of volumes looks first", "volume prune", {200, "{\"items\":[]}"}, "POST /_openrun/volume/prune?dryRun=true", 0,
     "Removed 0 volumes\n", ""},
    {"a prune of some volumes", "volume prune v", {0}, NULL, 1, "", NULL},
    {"an unknown verb", "container lst", {0}, NULL, 1, "", NULL},
};

static void container_commands_do_what_is_specified(void **state)
{
    int failures = 0;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        struct fake_server s;
        char *argv[ARGV_MAX] = {(char *)"openrun"}, *said = NULL, *errors = NULL;
        size_t out_len, err_len;
        int argc = 1;
        struct str rest = str_from(cases[i].line), part;
        while (str_next(&rest, ' ', &part) && argc + 1 < ARGV_MAX)
            argv[argc++] = str_z(&a, part);
        scoped_err ignored = {0};
        fake_server_start(&s, &cases[i].answer, cases[i].request ? 1 : 0);
        fs_write_atomic(str_printf(&a, "%s/openrun.toml", s.home), (struct str){0}, 0600, &ignored);
        setenv("OPENRUN_HOME", s.home, 1);
        FILE *out = open_memstream(&said, &out_len), *err = open_memstream(&errors, &err_len);
        int code = cli_run(argc, argv, out, err);
        fclose(out);
        fclose(err);
        fake_server_stop(&s);
        const char *want_err = cases[i].err ? cases[i].err : errors;
        if (code != cases[i].code || strcmp(said, cases[i].out) != 0 || strcmp(errors, want_err) != 0)
            failures += 1, print_error("%s: code %d, out:\n%s|\nerr:\n%s|\nwant code %d, out:\n%s|\nerr:\n%s|\n", cases[i].name, code, said, errors,
                     cases[i].code, cases[i].out, want_err);
        const char *seen = buf_z(&s.seen), *request = cases[i].request ? cases[i].request : "";
        size_t n = strlen(request);
        if (n == 0 ? *seen != '\0' : strncmp(seen, request, n) != 0 || strncmp(seen + n, " HTTP/1.1\r\n", 11) != 0)
            failures += 1, print_error("%s: want request %s\ngot %s\n", cases[i].name, request, seen);
        buf_release(&s.seen);
        free(said);
        free(errors);
    }
    assert_int_equal(failures, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(container_commands_do_what_is_specified)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
