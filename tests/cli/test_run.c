/* tests/cli/test_run.c: whole runs of the client against a scripted server: request, output, exit code.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "fake_server.h"

#define ARGV_MAX 24

#define DRY_RUN "\n*** dry-run mode, changes have NOT been committed. ***\n"
#define PATH(p) "{\"Path\":\"" p "\",\"Domain\":\"\"}"
#define APPROVAL                                                                                        \
    "\"id\":\"app_prd_1\",\"app_path_domain\":{\"Path\":\"/a\",\"Domain\":\"d\"},\"new_loads\":[\"exec.in\"],"  \
    "\"new_permissions\":[{\"plugin\":\"exec.in\",\"method\":\"run\",\"arguments\":[\"ls\",\"-l\"],\"is_read\":true,"  \
    "\"secrets\":[[\"a\",\"b\"],[\"c\"]],\"permit\":[\"x\",\"y\"]},"                                    \
    "{\"plugin\":\"fs.in\",\"method\":\"abs\",\"arguments\":[],\"is_read\":null}]"
#define APPROVAL_TEXT                                                                                   \
    "  Plugins :\n    exec.in\n  Permissions:\n    exec.in.run [ls -l] <READ> secrets=a,b;c permit=x,y\n    fs.in.abs [] \n"

#define NDJSON "application/x-ndjson"
#define STARTED "{\"operation\":\"op_1\"}\n"
#define SAID(text) "{\"line\":\"" text "\"}\n"
#define OPERATION                                                                                       \
    "{\"id\":\"op_1\",\"name\":\"reload_apps\",\"target\":\"/a\",\"user_id\":\"admin\",\"state\":\"failed\","   \
    "\"is_cancelling\":false,\"create_time\":\"2026-01-02T03:04:05Z\",\"start_time\":\"2026-01-02T03:04:05Z\","  \
    "\"end_time\":\"2026-01-02T03:04:17.25Z\",\"line_count\":3,\"status\":502,\"error\":\"bad:\\nb\""

static const struct {
    const char *name;
    const char *line;       /* without the program's name; '~' is the home, '\'' stands for an empty word */
    struct fake_answer answer;
    const char *request;    /* first line without protocol; NULL: no call is made */
    const char *body;       /* NULL: none */
    int code;
    const char *out, *err; /* err NULL: any */
} cases[] = {
    {"status", "server status", {200, "{\"status\":\"ok\"}"}, "GET /_openrun/server_status", NULL, 0, "ok\n", ""},
    {"server version", "server version", {200, "{\"version\":\"1.2\",\"commit\":\"abc\"}"}, "GET /_openrun/server_version",
     NULL, 0, "1.2 (commit abc)\n", ""},
    {"stop", "server stop", {200, "{\"pid\":2147483647}"}, "POST /_openrun/stop", NULL, 0, "", ""},
    {"stop a server that does not end in time", "server stop --wait", {200, "{\"pid\":1,\"drain_secs\":-60}"},
     "POST /_openrun/stop", NULL, 1, "",
     "error: the server (pid 1) was told to stop, but has not ended within 0 s: see its log ~/logs/openrun.json, or end it "
     "with \"kill -9 1\"\n"},
    {"stop without waiting", "server stop --wait=false", {200, "{\"pid\":1}"}, "POST /_openrun/stop", NULL, 0, "", ""},
    {"show-config", "server show-config", {200, "{\"dynamic_config\":{\"version_id\":\"v\",\"rbac\":{}}}"},
     "GET /_openrun/config", NULL, 0, "{\n  \"version_id\": \"v\",\n  \"rbac\": {}\n}\n", ""},

    {"without a terminal progress is plain lines on stderr", "app promote /a",
     {200, STARTED SAID("a") "{\"status\":200,\"reply\":{\"promote_results\":[]}}\n", NDJSON},
     "POST /_openrun/promote?appPathGlob=%2Fa&dryRun=false", NULL, 0, "0 app(s) promoted.\n", "a\n"},
    {"verbose: progress on stderr", "app promote /a --verbose",
     {200, STARTED SAID("a\\u001bb") "{\"dropped\":7}\n" SAID("") "{\"status\":200,\"reply\":{\"promote_results\":[]}}\n",
      NDJSON},
     "POST /_openrun/promote?appPathGlob=%2Fa&dryRun=false", NULL, 0, "0 app(s) promoted.\n",
     "a?b\n... 7 lines left out ...\n\n"},
    {"an operation fails", "app promote /a",
     {200, STARTED SAID("b") "{\"status\":502,\"error\":{\"message\":\"bad:\\nb\",\"code\":502}}\n", NDJSON},
     "POST /_openrun/promote?appPathGlob=%2Fa&dryRun=false", NULL, 1, "", "b\nerror: bad\n"},
    {"without a terminal git's counts are their last line", "app promote /a",
     {200, STARTED SAID("git: remote: Counting objects:  50% (2/4)") SAID("git: remote: Counting objects: 100% (4/4)")
      SAID("git: remote: Counting objects: 100% (4/4), done.") SAID("git: Receiving objects:   7% (3/40), 1.2 MiB | 1 MiB/s")
      SAID("git: Receiving objects: 100% (40/40), 5.0 MiB | 1 MiB/s, done.") SAID("coverage 7% (3/40)") SAID("a: % (b)")
      "{\"status\":200,\"reply\":{\"promote_results\":[]}}\n", NDJSON},
     "POST /_openrun/promote?appPathGlob=%2Fa&dryRun=false", NULL, 0, "0 app(s) promoted.\n",
     "git: remote: Counting objects: 100% (4/4), done.\ngit: Receiving objects: 100% (40/40), 5.0 MiB | 1 MiB/s, done.\n"
     "coverage 7% (3/40)\na: % (b)\n"},
    {"an error does not repeat a line whose tabs were shown as spaces", "app promote /a",
     {200, STARTED SAID("x: a  b") SAID("  y") "{\"status\":502,\"error\":{\"message\":\"bad:\\nx: a\\t b\\n\\ty\\nz\",\"code\":502}}\n",
      NDJSON},
     "POST /_openrun/promote?appPathGlob=%2Fa&dryRun=false", NULL, 1, "", "x: a  b\n  y\nerror: bad:\nz\n"},
    {"verbose: an error does not repeat lines", "-V app promote /a",
     {200, STARTED SAID(" b") "{\"status\":502,\"error\":{\"message\":\"bad:\\nb\\nc\",\"code\":502}}\n", NDJSON},
     "POST /_openrun/promote?appPathGlob=%2Fa&dryRun=false", NULL, 1, "", " b\nerror: bad:\nc\n"},
    {"an operation is refused before it begins", "app promote /a",
     {503, "{\"message\":\"stopping\",\"code\":503}"}, "POST /_openrun/promote?appPathGlob=%2Fa&dryRun=false", NULL, 1,
     "", "error: stopping\n"},
    {"a stream ends early", "app promote /a", {200, STARTED SAID("b") "{\"li", NDJSON},
     "POST /_openrun/promote?appPathGlob=%2Fa&dryRun=false", NULL, 1, "",
     "b\nerror: the server's answer ended early; the operation may still be running: see \"openrun operation show op_1\"\n"},
    {"a stream that is no JSON", "app promote /a", {200, "<html>\n", NDJSON},
     "POST /_openrun/promote?appPathGlob=%2Fa&dryRun=false", NULL, 1, "", NULL},
    {"operations", "operation list -f basic", {200, "{\"operations\":[" OPERATION "}]}"}, "GET /_openrun/operations", NULL,
     0, "Id                             Operation            State          Took Target\n"
        "op_1                           reload_apps          failed        12.2s /a\n", ""},
    {"operations as JSON", "operation list --format jsonl", {200, "{\"operations\":[" OPERATION "}]}"},
     "GET /_openrun/operations", NULL, 0, OPERATION "}\n", ""},
    {"an operation", "operation show op_1 --format basic",
     {200, "{\"operation\":" OPERATION ",\"dropped_count\":1,\"lines\":[\"a\",\"b\"]}}"}, "GET /_openrun/operation?id=op_1",
     NULL, 0,
     "       Id: op_1\nOperation: reload_apps\n   Target: /a\n     User: admin\n    State: failed\n"
     "  Created: 2026-01-02T03:04:05Z\n  Started: 2026-01-02T03:04:05Z\n    Ended: 2026-01-02T03:04:17.25Z\n"
     "    Error: bad\n\n... 1 lines left out ...\na\nb\n", ""},
    {"cancel an operation", "operation cancel op_1", {200, "{\"id\":\"op_1\"}"},
     "POST /_openrun/operation/cancel?id=op_1", NULL, 0, "Cancelling operation op_1\n", ""},
    {"watch an operation", "operation watch op_1", {200, STARTED SAID("a") "{\"status\":200,\"reply\":{}}\n", NDJSON},
     "GET /_openrun/operation/watch?id=op_1", NULL, 0, "a\n", ""},
    {"watch an operation that fails", "operation watch op_1",
     {200, STARTED SAID("b") "{\"status\":499,\"error\":{\"message\":\"bad:\\nb\",\"code\":499}}\n", NDJSON},
     "GET /_openrun/operation/watch?id=op_1", NULL, 1, "b\n", "error: bad\n"},
    {"an operation without its id", "operation show", {0}, NULL, NULL, 1, "",
     "error: requires one argument: <operationId>\n"},

    {"create, all flags",
     "app create --approve --dev --auth none --branch b --commit c --git-auth g --spec s --stage-at domain --param "
     "x=1=2 -p x=3 --copt cpus=2 --copt rm --carg k=v --cvol /data --bind b1 --conf n=5 --conf-str t=a\"b\\c "
     "https://github.com/u/r d:/a --dry-run",
     {200, "{\"dry_run\":true,\"app_path_domain\":{\"Path\":\"/a\",\"Domain\":\"d\"},\"http_url\":\"http://d:1/a\","
           "\"https_url\":\"https://d:2/a\",\"source_url\":\"git\",\"orig_source_url\":\"-\","
           "\"approve_results\":[{" APPROVAL ",\"needs_approval\":true}]}"},
     "POST /_openrun/app?approve=true&dryRun=true",
     "{\"path\":\"d:/a\",\"source_url\":\"https://github.com/u/r\",\"is_dev\":true,\"app_authn\":\"none\","
     "\"git_branch\":\"b\",\"git_commit\":\"c\",\"git_auth_name\":\"g\",\"spec\":\"s\",\"param_values\":{\"x\":\"3\"},"
     "\"container_options\":{\"cpus\":\"2\",\"rm\":\"\"},\"container_args\":{\"k\":\"v\"},\"container_volumes\":[\"/data\"],"
     "\"appconfig\":{\"n\":\"5\",\"t\":\"\\\"a\\\\\\\"b\\\\\\\\c\\\"\"},\"bindings\":[\"b1\"],\"stage_at\":\"domain\","
     "\"verify\":false}",
     0,
     "      App: d:/a\n HTTP Url: http://d:1/a\nHTTPS Url: https://d:2/a\n   Source: git (created from -)\n" APPROVAL_TEXT
     "App created. Permissions have been approved\n" DRY_RUN,
     ""},
    {"create needs approval", "app create - /a",
     {200, "{\"app_path_domain\":" PATH("/a") ",\"approve_results\":[{" APPROVAL ",\"needs_approval\":true}]}"},
     "POST /_openrun/app?approve=false&dryRun=false",
     "{\"path\":\"/a\",\"source_url\":\"-\",\"is_dev\":false,\"app_authn\":\"default\",\"git_branch\":\"main\","
     "\"git_commit\":\"\",\"git_auth_name\":\"\",\"spec\":\"\",\"param_values\":{},\"container_options\":{},"
     "\"container_args\":{},\"container_volumes\":[],\"appconfig\":{},\"bindings\":[],\"stage_at\":\"\",\"verify\":false}",
     0, "      App: /a\n" APPROVAL_TEXT "App created. Permissions need to be approved\n", ""},
    {"create, the reply as JSON", "app create --format jsonl - /a", {200, "{\"dry_run\":false}"},
     "POST /_openrun/app?approve=false&dryRun=false", NULL, 0, "{\"dry_run\":false}\n", ""},
    {"create is refused", "app create - /a", {400, "{\"message\":\"app /a already exists\",\"code\":400}"},
     "POST /_openrun/app?approve=false&dryRun=false", NULL, 1, "", "error: app /a already exists\n"},
    {"create with a word too few", "app create /a", {0}, NULL, NULL, 1, "",
     "error: require two arguments: <app_source_url> <app_path>\n"},
    {"create with a bad parameter", "app create --param x - /a", {0}, NULL, NULL, 1, "",
     "error: invalid param format: x\n"},
    {"create with a bad argument", "app create --carg x - /a", {0}, NULL, NULL, 1, "",
     "error: invalid container arg format: x\n"},
    {"create with a bad configuration", "app create --conf x - /a", {0}, NULL, NULL, 1, "",
     "error: invalid app config format: x\n"},
    {"create with a volume that is a flag", "app create --cvol --approve - /a", {0}, NULL, NULL, 1, "",
     "error: invalid container volume value \"--approve\" for --cvol: values cannot start with --; did you forget to "
     "provide a value for --cvol?\n"},
    {"create from a folder that is not there", "app create /no/such/folder /a", {0}, NULL, NULL, 1, "",
     "error: path does not exist /no/such/folder: no such file or directory\n"},

    {"list with a glob", "app list --internal /x* -f csv", {200, "{\"apps\":[]}"},
     "GET /_openrun/apps?internal=true&appPathGlob=%2Fx%2A", NULL, 0, "", ""},
    {"list in the configured format", "app list", {200, "{\"apps\":[]}"}, "GET /_openrun/apps?internal=false", NULL, 0,
     "[]\n", ""},
    {"list in a bad format", "app list --format xml", {0}, NULL, NULL, 1, "",
     "error: invalid format \"xml\": valid options are table, basic, csv, json, jsonl, jsonl_pretty\n"},
    {"list in an empty format", "app list --format=", {0}, NULL, NULL, 1, "",
     "error: invalid format \"\": valid options are table, basic, csv, json, jsonl, jsonl_pretty\n"},
    {"list with two globs", "app list a b", {0}, NULL, NULL, 1, "", "error: only one argument expected: <appPathGlob>\n"},
    {"get", "app show --format basic /a",
     {200, "{\"app_entry\":{\"id\":\"app_dev_1\",\"path\":\"/a\",\"is_dev\":true,\"source_url\":\"/s\","
           "\"create_time\":\"2024-01-02T03:04:05Z\",\"update_time\":\"2024-01-02T03:04:05Z\","
           "\"metadata\":{\"name\":\"A\",\"version_metadata\":{\"version\":2},\"param_values\":{\"y\":\"2\",\"x\":\"1\"}}}}"},
     "GET /_openrun/app?appPath=%2Fa", NULL, 0,
     "         App: /a\n        Name: A\n          Id: app_dev_1\n        Type: DEV\n     Version: 2\n        Auth: DEFAULT\n"
     "      Source: /s\n     Created: 2024-01-02T03:04:05Z\n     Updated: 2024-01-02T03:04:05Z\n      Params: x=1\n"
     "            : y=2\n",
     ""},

    {"delete", "app delete /**", {200, "{\"dry_run\":false,\"app_info\":[{\"Path\":\"/a\",\"Domain\":\"d\",\"Id\":\"i\"}]}"},
     "DELETE /_openrun/app?appPathGlob=%2F%2A%2A&dryRun=false", NULL, 0, "Deleting d:/a - i\n1 app(s) deleted.\n", ""},
    {"delete nothing", "app delete all --dry-run", {200, "{\"dry_run\":true,\"app_info\":[]}"},
     "DELETE /_openrun/app?appPathGlob=all&dryRun=true", NULL, 0, "0 app(s) deleted.\n" DRY_RUN, ""},
    {"delete without a glob", "app delete", {0}, NULL, NULL, 1, "", "error: requires one argument: <appPathGlob>\n"},
    {"approve", "app approve -p all",
     {200, "{\"staged_update_results\":[{" APPROVAL ",\"needs_approval\":true},{\"id\":\"i\",\"app_path_domain\":" PATH("/b")
           ",\"needs_approval\":false}],\"promote_results\":[" PATH("/b") "," PATH("/c") "]}"},
     "POST /_openrun/approve?appPathGlob=all&dryRun=false&promote=true", NULL, 0,
     "App permissions have been approved d:/a - app_prd_1\n" APPROVAL_TEXT "No approval required. /b - i\n"
     "Promoted apps: /b, /c\n2 app(s) audited, 1 app(s) approved, 2 app(s) promoted.\n",
     ""},
    {"promote", "app promote /a", {200, "{\"promote_results\":[" PATH("/a") "]}"},
     "POST /_openrun/promote?appPathGlob=%2Fa&dryRun=false", NULL, 0, "Promoting /a\n1 app(s) promoted.\n", ""},
    {"reload", "app reload -a -p -f --verify -b x -c y -g z all",
     {200, "{\"reload_results\":[" PATH("/a") "," PATH("/b") "],\"skipped_results\":[" PATH("/c") "],\"approve_results\":[{\"id\":\"i\","
           "\"app_path_domain\":" PATH("/b") "}],\"promote_results\":[" PATH("/a") "]}"},
     "POST /_openrun/reload?appPathGlob=all&approve=true&dryRun=false&promote=true&verify=true&forceReload=true&refreshSpec=false&branch=x&"
     "commit=y&gitAuth=z",
     NULL, 0,
     "Reloaded apps: /a, /b\nSkipped apps: /c\nApproved apps:\nNo approval required. /b - i\nPromoted apps: /a\n"
     "2 app(s) reloaded, 1 app(s) skipped, 1 app(s) approved, 1 app(s) promoted.\n",
     ""},
    {"reload nothing", "app reload /none", {200, "{}"},
     "POST /_openrun/reload?appPathGlob=%2Fnone&approve=false&dryRun=false&promote=false&verify=false&forceReload=false&refreshSpec=false&"
     "branch=&commit=&gitAuth=",
     NULL, 0, "0 app(s) reloaded, 0 app(s) skipped, 0 app(s) approved, 0 app(s) promoted.\n", ""},

    {"settings", "app settings stage-write-access F /a", {200, "{\"update_results\":[" PATH("/a") "]}"},
     "POST /_openrun/app_settings?appPathGlob=%2Fa&dryRun=false",
     "{\"authn_type\":\"<OPENRUN_UNDEFINED>\",\"git_auth_name\":\"<OPENRUN_UNDEFINED>\",\"spec\":\"<OPENRUN_UNDEFINED>\","
     "\"stage_write_access\":2,\"preview_write_access\":0}",
     0, "Updating /a\n1 app(s) updated.\n", ""},
    {"settings with a bad value", "app settings preview-write-access yes /a", {0}, NULL, NULL, 1, "",
     "error: invalid value yes for preview-write-access, expected true or false\n"},
    {"update the spec", "app update spec - /a --promote",
     {200, "{\"staged_update_results\":[" PATH("/a") "],\"promote_results\":[" PATH("/a") "]}"},
     "POST /_openrun/app_metadata?appPathGlob=%2Fa&dryRun=false&promote=true",
     "{\"spec\":\"-\",\"config_type\":\"<OPENRUN_UNDEFINED>\",\"config_entries\":[]}", 0,
     "Updated /a\nPromoted apps: /a\n1 app(s) updated, 1 app(s) promoted.\n", ""},
    {"update container options", "app update copt a=1 b=- /a", {200, "{}"},
     "POST /_openrun/app_metadata?appPathGlob=%2Fa&dryRun=false&promote=false",
     "{\"spec\":\"<OPENRUN_UNDEFINED>\",\"config_type\":\"container_options\",\"config_entries\":[\"a=1\",\"b=-\"]}", 0,
     "0 app(s) updated, 0 app(s) promoted.\n", ""},
    {"update with too few words", "app update bind /a", {0}, NULL, NULL, 1, "",
     "error: requires at least two arguments: key=value [key=value ...] <appPathGlob>\n"},
    {"update with two values for one", "app update auth none system /a", {0}, NULL, NULL, 1, "",
     "error: requires two arguments: <value> <appPathGlob>\n"},

    {"param update with a value like a flag", "param update port -5 /a", {200, "{\"staged_update_results\":[" PATH("/a") "]}"},
     "POST /_openrun/update_param?paramName=port&paramValue=-5&appPathGlob=%2Fa&promote=false&dryRun=false", NULL, 0,
     "Updated app /a\n1 app(s) updated, 0 app(s) promoted.\n", ""},
    {"param list", "param list /a",
     {200, "{\"app_entry\":{\"id\":\"i\",\"path\":\"/a\",\"domain\":\"d\",\"metadata\":{\"param_values\":{\"y\":\"2\",\"x\":\"1\"}}}}"},
     "GET /_openrun/app?appPath=%2Fa", NULL, 0, "Param values for app d:/a : i\n  x: 1\n  y: 2\n", ""},
    {"param list of none", "param list /a", {200, "{\"app_entry\":{\"id\":\"i\",\"path\":\"/a\"}}"},
     "GET /_openrun/app?appPath=%2Fa", NULL, 0, "No param values for app /a : i\n", ""},

    {"account link", "account link openrun.in - /a -p",
     {200, "{\"staged_update_results\":[" PATH("/a") "],\"promote_results\":[" PATH("/a") "]}"},
     "POST /_openrun/link_account?plugin=openrun.in&account=-&appPathGlob=%2Fa&promote=true&dryRun=false", NULL, 0,
     "Linked app /a\nPromoted apps: /a\n1 app(s) linked, 1 app(s) promoted.\n", ""},
    {"account list", "account list /a",
     {200, "{\"app_entry\":{\"id\":\"i\",\"path\":\"/a\",\"metadata\":{\"accounts\":[{\"plugin\":\"p\",\"account_name\":\"n\"}]}}}"},
     "GET /_openrun/app?appPath=%2Fa", NULL, 0, "Account links for app /a : i\n  p: n\n", ""},

    {"version list", "version list /a --format jsonl", {200, "{\"versions\":[]}"}, "GET /_openrun/version?appPath=%2Fa", NULL,
     0, "", ""},
    {"version files", "version files /a 3 -f csv", {200, "{\"files\":[{\"Name\":\"f\",\"Etag\":\"e\",\"Size\":1}]}"},
     "GET /_openrun/version/files?appPath=%2Fa&version=3", NULL, 0, "1,e,\"f\"\n", ""},
    {"version files with too many words", "version files /a 3 4", {0}, NULL, NULL, 1, "",
     "error: requires argument: <appPath> [<version>]\n"},
    {"apply", "apply -a -p --clobber --reload updated -b x -c y -g z github.com/a/b/apps.star /x/**",
     {200, "{\"create_results\":[],\"update_results\":[" PATH("/a") "],\"skipped_results\":[" PATH("/c") "],\"warnings\":[\"careful\"]}"},
     "POST /_openrun/apply?applyPath=github.com%2Fa%2Fb%2Fapps.star&appPathGlob=%2Fx%2F%2A%2A&approve=true&dryRun=false&branch=x&"
     "commit=y&gitAuth=z&reload=updated&promote=true&verify=false&clobber=true&forceReload=false&dev=false",
     NULL, 0,
     "Updated apps: /a\nSkipped apps: /c\n0 app(s) created, 1 app(s) updated, 0 app(s) reloaded, 1 app(s) skipped, 0 app(s) "
     "approved, 0 app(s) promoted.\n", "warning: careful\n"},
    {"plan with differences", "plan --detailed-exitcode github.com/a/b/apps.star",
     {200, "{\"dry_run\":true,\"create_results\":[{}],\"filtered_apps\":[" PATH("/a") "," PATH("/b") "," PATH("/c") "],\"changes\":["
           "{\"app_path_domain\":" PATH("/a") ",\"action\":\"create\",\"fields\":[{\"field\":\"source\",\"old\":null,\"new\":\"s\"}],"
           "\"files\":{\"added\":[\"x\",\"y\"]}},"
           "{\"app_path_domain\":" PATH("/b") ",\"action\":\"reload\",\"promoted\":true,\"fields\":[{\"field\":\"auth\",\"old\":\"none\","
           "\"new\":null},{\"field\":\"params.key\",\"old\":\"***\",\"new\":\"***\"}],\"files\":{\"added\":[\"x\"],\"removed\":[\"y\"]}}]}"},
     "POST /_openrun/apply?applyPath=github.com%2Fa%2Fb%2Fapps.star&appPathGlob=all&approve=false&dryRun=true&branch=main&"
     "commit=&gitAuth=&reload=matched&promote=false&verify=false&clobber=false&forceReload=false&dev=false",
     NULL, 2,
     "+ /a (create)\n    source: \"s\"\n    files: 2\n~ /b (reload, promoted)\n    auth: \"none\" -> (none)\n    params.key: \"***\", "
     "another one\n    + x\n    - y\n\n1 app(s) to create, 1 app(s) to change, 1 app(s) unchanged.\n", ""},
    {"a bad reload option", "apply --reload always github.com/a/b/apps.star", {0}, NULL, NULL, 1, "",
     "error: invalid reload option \"always\": valid options are none, updated, matched\n"},
    {"apply of nothing", "apply", {0}, NULL, NULL, 1, "", "error: expected one or two arguments: <filePath> [<appPathGlob>]\n"},
    {"diff", "diff --detailed-exitcode /a",
     {200, "{\"is_different\":true,\"app_path_domain\":" PATH("/a") ",\"version\":1,\"stage_version\":3,\"fields\":[{\"field\":"
           "\"plugins\",\"old\":[],\"new\":[\"exec.in\"]}],\"files\":[{\"name\":\"f\",\"diff\":\"--- production/f\\n+++ staging/f\\n@@ -1,1 "
           "+1,1 @@\\n-a\\n+\\u001b[2J\\n\"}]}"},
     "GET /_openrun/diff?appPath=%2Fa", NULL, 2,
     "/a: production (version 1) -> staging (version 3)\n    plugins: [] -> [\"exec.in\"]\n--- production/f\n+++ staging/f\n@@ -1,1 +1,1 "
     "@@\n-a\n+?[2J\n", ""},
    {"version switch", "version switch Previous /a", {200, "{\"from_version\":3,\"to_version\":2}"},
     "POST /_openrun/version?appPath=%2Fa&version=previous&approve=false&dryRun=false", NULL, 0,
     "Switched /a from version 3 to version 2\n", ""},
    {"version revert", "version revert /a --dry-run", {200, "{\"from_version\":3,\"to_version\":1,\"dry_run\":true}"},
     "POST /_openrun/version?appPath=%2Fa&version=revert&approve=false&dryRun=true", NULL, 0,
     "Reverted /a from version 3 to version 1\n" DRY_RUN, ""},

    {"a command of a later version", "replication status", {0}, NULL, NULL, 1, "",
     "error: \"openrun replication status\" is not available in this version yet\n"},
    {"a usage error", "app lst", {0}, NULL, NULL, 1, "", "error: No help topic for 'lst'. Did you mean \"list\"?\n"},
    {"hostile text in a message", "server status", {500, "a\x1b[2Jb"}, "GET /_openrun/server_status", NULL, 1, "",
     "error: a?[2Jb\n"},
    {"a config file that is named must be there", "-c ~/none.toml server status", {0}, NULL, NULL, 1, "",
     "error: error parsing config: open ~/none.toml: no such file or directory\n"},
};

/* `text` with each '~' replaced by the home. */
static char *at_home(struct arena *a, const char *text, const char *home)
{
    struct str rest = str_from(text), part, out = {0};
    for (bool first = true; str_next(&rest, '~', &part); first = false)
        out = str_printf(a, STR_FMT "%s" STR_FMT, STR_ARG(out), first ? "" : home, STR_ARG(part));
    return str_z(a, out);
}

struct result {
    int code;
    char *out, *err;
};

static struct result run(struct arena *a, const char *home, const char *line)
{
    char *argv[ARGV_MAX * 2] = {(char *)"openrun"};
    int argc = 1;
    struct str rest = str_from(at_home(a, line, home)), part;
    while (str_next(&rest, ' ', &part))
        argv[argc++] = str_z(a, part);
    struct result r = {0};
    size_t out_len, err_len;
    FILE *out = open_memstream(&r.out, &out_len), *err = open_memstream(&r.err, &err_len);
    setenv("OPENRUN_HOME", home, 1);
    r.code = cli_run(argc, argv, out, err);
    fclose(out);
    fclose(err);
    return r;
}

static void write_config(struct arena *a, const char *home, const char *text)
{
    scoped_err err = {0};
    if (!fs_write_atomic(str_printf(a, "%s/openrun.toml", home), str_from(text), 0600, &err))
        fail_msg("%s", err_msg(&err));
}

/* Checks the request that was made: its first line and its body. */
static void check_request(const char *name, const char *seen, const char *request, const char *body)
{
    if (!request) {
        if (*seen)
            fail_msg("%s: a call was made: %s", name, seen);
        return;
    }
    size_t n = strlen(request);
    const char *end = strstr(seen, "\r\n\r\n");
    if (strncmp(seen, request, n) != 0 || strncmp(seen + n, " HTTP/1.1\r\n", 11) != 0)
        fail_msg("%s: want request %s\ngot %s", name, request, seen);
    if (body && (!end || strcmp(end + 4, body) != 0))
        fail_msg("%s: want body\n%s\ngot\n%s", name, body, end ? end + 4 : "nothing");
}

static void runs_do_what_is_specified(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        struct fake_server s;
        fake_server_start(&s, &cases[i].answer, cases[i].request ? 1 : 0);
        write_config(&a, s.home, "[client]\ndefault_format = \"json\"\n");
        struct result r = run(&a, s.home, cases[i].line);
        fake_server_stop(&s);
        check_request(cases[i].name, buf_z(&s.seen), cases[i].request, cases[i].body);
        const char *want_err = cases[i].err ? at_home(&a, cases[i].err, s.home) : r.err;
        if (r.code != cases[i].code || strcmp(r.out, cases[i].out) != 0 || strcmp(r.err, want_err) != 0)
            fail_msg("%s: openrun %s\ncode %d, out:\n%s|\nerr:\n%s|\nwant code %d, out:\n%s|\nerr:\n%s|", cases[i].name,
                     cases[i].line, r.code, r.out, r.err, cases[i].code, cases[i].out, want_err);
        free(r.out);
        free(r.err);
        buf_release(&s.seen);
    }
}

/* A server that is told to stop has ended, though nobody has waited for it, when the command returns. */
static void stop_returns_when_the_process_has_ended(void **state)
{
    static const struct { const char *name; bool answers; } stops[] = {
        {"it says its pid", true},
        {"it closes without an answer, its pid is in run/openrun.pid", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(stops); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        struct fake_server s;
        pid_t pid = fork();
        if (pid == 0) {
            usleep(300 * 1000);
            _exit(0);
        }
        struct fake_answer answer = {0};
        if (stops[i].answers)
            answer = (struct fake_answer){200, str_printf(&a, "{\"pid\":%d}", (int)pid).ptr};
        fake_server_start(&s, &answer, 1);
        write_config(&a, s.home, "");
        struct str note = stops[i].answers ? STR("") : str_printf(&a, "%d\n", (int)pid);
        assert_true(fs_write_atomic(str_printf(&a, "%s/run/openrun.pid", s.home), note, 0600, &err));
        struct result r = run(&a, s.home, "server stop");
        fake_server_stop(&s);
        if (r.code != 0 || *r.out || *r.err || waitpid(pid, NULL, WNOHANG) != pid)
            fail_msg("%s: code %d, or it has not ended: %s", stops[i].name, r.code, r.err);
        free(r.out);
        free(r.err);
        buf_release(&s.seen);
    }
}

static void a_local_source_is_made_absolute_before_the_client_moves(void **state)
{
    static const struct fake_answer answer = {200, "{}"};
    scoped_arena a = {0};
    static const struct { const char *folder, *source, *want; } locals[] = {
        {"src", ".", ""},
        {"src", "./src/../src#sub", "/src#sub"},
        {"a#b", "a#b", "/a#b"},
        {"x.git", "./x.git//sub/dir", "/x.git//sub/dir"},
    };
    for (size_t i = 0; i < ARRAY_LEN(locals); i++) {
        struct fake_server s;
        fake_server_start(&s, &answer, 1);
        write_config(&a, s.home, "");
        assert_int_equal(chdir(s.home), 0);
        assert_int_equal(mkdir(locals[i].folder, 0700), 0);
        struct result r = run(&a, s.home, str_printf(&a, "app create %s /a", locals[i].source).ptr);
        fake_server_stop(&s);
        assert_string_equal(r.err, "");
        const char *want = str_printf(&a, "\"source_url\":\"%s%s\"", s.home, locals[i].want).ptr;
        if (!strstr(buf_z(&s.seen), want))
            fail_msg("%s: want %s in %s", locals[i].source, want, buf_z(&s.seen));
        free(r.out);
        free(r.err);
        buf_release(&s.seen);
    }
}

static const struct {
    const char *name, *source;
    bool is_remote;
} sources[] = {
    {"https", "https://example.com/a", true},
    {"ssh short form", "git@github.com:u/r.git", true},
    {"git daemon", "git://127.0.0.1/repo", true},
    {"file URL", "file:///srv/repo", true},
    {"host and three parts", "github.com/u/r", true},
    {"host and two parts", "github.com/u", false},
    {"no host", "a/b/c", false},
    {"a relative path", "./github.com/u/r", false},
    {"an absolute path", "/a.b/c/d", false},
    {"a home path", "~/a.b/c/d", false},
    {"nothing", "", false},
    {"a path with an @", "a@b/c:d", false},
};

static void git_sources_are_told_from_paths(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(sources); i++)
        if (is_remote_source(str_from(sources[i].source)) != sources[i].is_remote)
            fail_msg("%s: %s", sources[i].name, sources[i].source);
}

static void a_config_that_is_broken_is_told(void **state)
{
    static const struct { const char *name, *config, *error; } configs[] = {
        {"syntax", "a = \n", "error: error parsing config: ~/openrun.toml: line 1, column 5: "},
        {"type", "admin_user = 5\n", "error: error parsing config: ~/openrun.toml: line 1, column "},
        {"format", "[client]\ndefault_format = \"xml\"\n",
         "error: error parsing config: ~/openrun.toml: invalid client.default_format \"xml\" in config: valid options are "
         "table, basic, csv, json, jsonl, jsonl_pretty\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(configs); i++) {
        scoped_arena a = {0};
        struct fake_server s;
        fake_server_start(&s, NULL, 0);
        write_config(&a, s.home, configs[i].config);
        struct result r = run(&a, s.home, "server status"), help = run(&a, s.home, "app create --help");
        const char *want = at_home(&a, configs[i].error, s.home);
        if (r.code != 1 || strncmp(r.err, want, strlen(want)) != 0)
            fail_msg("%s: %s", configs[i].name, r.err);
        assert_int_equal(help.code, 0); /* help does not need the configuration */
        fake_server_stop(&s);
        free(r.out);
        free(r.err);
        free(help.out);
        free(help.err);
    }
}

static void a_missing_config_in_a_home_that_was_set_is_a_warning(void **state)
{
    static const struct fake_answer answer = {200, "{\"status\":\"ok\"}"};
    scoped_arena a = {0};
    struct fake_server s;
    fake_server_start(&s, &answer, 1);
    struct result r = run(&a, s.home, "server status");
    fake_server_stop(&s);
    assert_int_equal(r.code, 0);
    assert_string_equal(r.out, "ok\n");
    assert_string_equal(r.err, str_printf(&a, "Warning: unable to read config file open %s/openrun.toml: no such file or "
                                              "directory, using default config\n", s.home).ptr);
    free(r.out);
    free(r.err);
    buf_release(&s.seen);
}

static void password_prints_lines_for_the_configuration(void **state)
{
    scoped_arena a = {0};
    struct result r = run(&a, "/nonexistent", "password --value secret");
    assert_int_equal(r.code, 0);
    static const char head[] = "# Auto generated password hash, add to openrun.toml\n[security]\nadmin_password_bcrypt = \"";
    assert_memory_equal(r.out, head, sizeof head - 1);
    assert_true(bcrypt_verify(STR("secret"), str_of(r.out + sizeof head - 1, BCRYPT_HASH_LEN)));
    assert_string_equal(r.out + sizeof head - 1 + BCRYPT_HASH_LEN, "\"\n");
    assert_string_equal(r.err, "");
    free(r.out);
    free(r.err);

    r = run(&a, "/nonexistent", "password");
    static const char note[] = "Generated password is: ";
    assert_memory_equal(r.err, note, sizeof note - 1);
    struct str password = str_of(r.err + sizeof note - 1, 16);
    assert_string_equal(password.ptr + 16, "\n\n");
    assert_true(bcrypt_verify(password, str_of(r.out + sizeof head - 1, BCRYPT_HASH_LEN)));
    free(r.out);
    free(r.err);

    r = run(&a, "/nonexistent", "password -r -v x");
    assert_string_equal(r.err, "error: cannot specify both --random and --value\n");
    free(r.out);
    free(r.err);
}

int main(void)
{
    unsetenv("OPENRUN_AS_USER");
    unsetenv("CL_CONFIG_FILE");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_do_what_is_specified),
        cmocka_unit_test(stop_returns_when_the_process_has_ended),
        cmocka_unit_test(a_local_source_is_made_absolute_before_the_client_moves),
        cmocka_unit_test(git_sources_are_told_from_paths),
        cmocka_unit_test(a_config_that_is_broken_is_told),
        cmocka_unit_test(a_missing_config_in_a_home_that_was_set_is_a_warning),
        cmocka_unit_test(password_prints_lines_for_the_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
