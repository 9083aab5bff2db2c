/* tests/container/test_infer.c: how dev apps are run, from their Containerfile.
 * SPDX-License-Identifier: Apache-2.0 */
#include "container.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define PYTHON                                                                                                         \
    "FROM python\nWORKDIR /app\nCOPY requirements.txt .\nRUN pip install -r requirements.txt\nCOPY . .\nEXPOSE 80\n"
#define NODE "FROM node\nWORKDIR /app\nCOPY package*.json ./\nRUN npm ci\nCOPY . .\n"
#define GO                                                                                                             \
    "FROM golang AS builder\nWORKDIR /src\nCOPY go.mod go.sum ./\nRUN go mod download\nCOPY . .\n"                    \
    "RUN CGO_ENABLED=0 go build -o /src/server .\nFROM alpine\nCOPY --from=builder /src/server /usr/bin/server\n"

static const struct {
    const char *name, *files, *text;
    const char *target, *dir, *command;   /* what comes of it; command NULL: the image's */
    const char *why;                      /* part of why not, instead */
    const char *covered, *image_files, *artifacts, *env;   /* joined by blanks; NULL: not looked at */
    /* asked for */
    const char *ask_target, *ask_dir, *ask_command, *ask_stage;
} cases[] = {
    {.name = "one stage that runs its own command",
     .files = "app.py requirements.txt", .text = PYTHON "CMD [\"python\", \"app.py\"]\n",
     .target = "", .dir = "/app", .covered = "", .image_files = "requirements.txt", .artifacts = ""},
    {.name = "a command of the base image", .files = "index.php", .text = "FROM php\nWORKDIR /var/www/html\nCOPY . .\n",
     .target = "", .dir = "/var/www/html"},
    {.name = "shell form with variables", .files = "app.py requirements.txt",
     .text = PYTHON "CMD gunicorn -b 0.0.0.0:$PORT app:app\n", .dir = "/app", .target = ""},
    {.name = "installed packages stay visible", .files = "index.js package.json package-lock.json",
     .text = NODE "CMD [\"node\", \"index.js\"]\n", .target = "", .dir = "/app", .covered = "/app/node_modules",
     .image_files = "package-lock.json package.json"},
    {.name = "a virtual environment stays visible", .files = "main.py pyproject.toml uv.lock",
     .text = "FROM uv\nWORKDIR /app\nCOPY pyproject.toml uv.lock ./\nRUN --mount=type=cache,target=/root/.cache uv sync --locked\n"
             "COPY . .\nCMD [\"/app/.venv/bin/python\", \"main.py\"]\n",
     .target = "", .dir = "/app", .covered = "/app/.venv"},
    {.name = "venv by python", .files = "main.py", .text = "FROM p\nWORKDIR /app\nRUN python3 -m venv env && env/bin/pip install x\nCOPY . .\nCMD x\n",
     .target = "", .dir = "/app", .covered = "/app/env"},
    {.name = "what is built before the source comes cannot be built again", .files = "a.c lib/x.c",
     .text = "FROM gcc\nWORKDIR /app\nCOPY lib lib\nRUN make -C lib\nCOPY . .\nCMD [\"./a\"]\n", .why = "line 4: a RUN that may write"},
    {.name = "what is built in its own stage is built again at each start", .files = "go.mod main.go",
     .text = "FROM golang\nWORKDIR /src\nCOPY . .\nRUN go build -o /bin/x .\nCMD [\"/bin/x\", \"-v\", \"a b\"]\n",
     .target = "", .dir = "/src", .command = "go build -o /bin/x . && exec /bin/x -v 'a b'"},
    {.name = "a script that is built and then run by name", .files = "package.json src/index.ts",
     .text = NODE "RUN npm run build\nCMD [\"node\", \"dist/index.js\"]\n", .target = "", .dir = "/app",
     .command = "npm run build && exec node dist/index.js", .covered = "/app/node_modules", .artifacts = "dist/index.js"},
    {.name = "a file that nothing makes", .files = "main.py", .text = "FROM p\nWORKDIR /app\nCOPY . .\nCMD [\"./serve\"]\n",
     .why = "/app/serve is run, and the source has no such file"},
    {.name = "a script that must be made executable", .files = "start.sh",
     .text = "FROM p\nWORKDIR /app\nCOPY . .\nRUN chmod +x ./start.sh\nCMD ./start.sh $PORT\n", .target = "", .dir = "/app",
     .command = "chmod +x ./start.sh && exec ./start.sh $PORT"},

    {.name = "the last stage's program is led back to where it is built", .files = "go.mod go.sum main.go",
     .text = GO "ENTRYPOINT [\"/usr/bin/server\"]\nCMD [\"--port=80\"]\n", .target = "builder", .dir = "/src",
     .command = "CGO_ENABLED=0 go build -o /src/server . && exec /src/server --port=80", .artifacts = "server", .covered = "",
     .image_files = "go.mod go.sum", .env = ""},
    {.name = "and so is a word of the shell form", .files = "go.mod go.sum main.go",
     .text = GO "ENV MODE=fast PATH_TO=$HOME\nCMD server; server && /usr/bin/server $X\n", .target = "builder", .dir = "/src",
     .command = "CGO_ENABLED=0 go build -o /src/server . && /src/server; /src/server && /src/server $X", .env = "MODE=fast"},
    {.name = "a build argument is not known in the container", .files = "go.mod go.sum main.go",
     .text = "FROM golang AS b\nARG V=1\nWORKDIR /src\nCOPY . .\nRUN go build -ldflags=$V -o x .\nFROM alpine\n"
             "COPY --from=b /src/x /x\nCMD [\"/x\"]\n",
     .why = "line 5: a RUN that would have to run at each start uses a build argument"},
    {.name = "a here-document is not run again", .files = "main.go",
     .text = "FROM golang AS b\nWORKDIR /src\nCOPY . .\nRUN <<EOF\ngo build -o x\nEOF\nFROM alpine\nCOPY --from=b /src/x /x\nCMD /x\n",
     .why = "has a here-document or flags"},
    {.name = "caches of what is built again", .files = "main.go",
     .text = "FROM golang AS b\nWORKDIR /src\nCOPY . .\nRUN --mount=type=cache,target=/root/.cache/go-build go build -o x; true\n"
             "FROM alpine\nWORKDIR /\nCOPY --from=b /src/x .\nCMD [\"./x\"]\n",
     .target = "b", .dir = "/src", .command = "{ go build -o x; true\n} && exec /src/x"},
    {.name = "other mounts are not", .files = "main.go",
     .text = "FROM golang AS b\nWORKDIR /src\nCOPY . .\nRUN --mount=type=secret,id=x go build -o x\nFROM a\nCOPY --from=b /src/x /x\nCMD /x\n",
     .why = "has a here-document or flags"},
    {.name = "a wildcard cannot be led back", .files = "pom.xml",
     .text = "FROM maven AS b\nWORKDIR /src\nCOPY . .\nRUN mvn package\nFROM jre\nWORKDIR /app\nCOPY --from=b /src/target/*.jar app.jar\n"
             "CMD [\"java\", \"-jar\", \"app.jar\"]\n",
     .why = "it cannot be told where app.jar comes from"},
    {.name = "an exact file can", .files = "pom.xml",
     .text = "FROM maven AS b\nWORKDIR /src\nCOPY . .\nRUN mvn package\nFROM jre\nWORKDIR /app\nCOPY --from=b /src/target/a.jar app.jar\n"
             "CMD [\"java\", \"-jar\", \"app.jar\"]\n",
     .target = "b", .dir = "/src", .command = "mvn package && exec java -jar /src/target/a.jar", .artifacts = "target/a.jar"},
    {.name = "a folder of another stage", .files = "index.js package.json src/a.ts",
     .text = "FROM node AS b\nWORKDIR /app\nCOPY package.json .\nRUN npm ci\nCOPY . .\nRUN npm run build\nFROM node\nWORKDIR /srv\n"
             "COPY --from=b /app/dist ./dist\nCOPY --from=b /app/node_modules ./node_modules\nCMD [\"node\", \"dist/main.js\"]\n",
     .target = "b", .dir = "/app", .command = "npm run build && exec node /app/dist/main.js", .covered = "/app/node_modules",
     .artifacts = "dist/main.js"},
    {.name = "a file of the source", .files = "run.sh go.mod",
     .text = "FROM golang AS b\nWORKDIR /src\nCOPY . .\nFROM alpine\nCOPY run.sh /usr/local/bin/\nCMD [\"/usr/local/bin/run.sh\"]\n",
     .target = "b", .dir = "/src", .command = "exec /src/run.sh"},
    {.name = "a program of an image that is not built", .files = "x",
     .text = "FROM golang AS b\nWORKDIR /src\nCOPY . .\nFROM nginx\nCOPY --from=b /src/dist /usr/share/nginx/html\nCMD [\"/usr/sbin/nginx\"]\n",
     .why = "it cannot be told what \"/usr/sbin/nginx\" is"},
    {.name = "a program of the stage that the last one builds on", .files = "run.sh x",
     .text = "FROM a AS b\nCOPY run.sh /run.sh\nWORKDIR /src\nFROM b\nENTRYPOINT [\"/run.sh\"]\nCMD [\"/bin/x\"]\n", .ask_dir = "/src",
     .target = "b", .dir = "/src", .command = "exec /src/run.sh /bin/x"},
    {.name = "a program by its name alone", .files = "go.mod go.sum main.go", .text = GO "CMD [\"server\", \"-v\"]\n", .target = "builder",
     .dir = "/src", .command = "CGO_ENABLED=0 go build -o /src/server . && exec /src/server -v", .artifacts = "server"},
    {.name = "one that comes from elsewhere", .files = "x",
     .text = "FROM g AS b\nWORKDIR /s\nCOPY . .\nFROM a\nCOPY --from=other/image /caddy /usr/bin/\nCMD caddy run\n",
     .why = "it cannot be told where caddy comes from"},
    {.name = "one that both stages have", .files = "app.py",
     .text = "FROM p AS b\nWORKDIR /s\nCOPY . .\nFROM p\nCOPY --from=b /s /s\nWORKDIR /s\nCMD python app.py\n", .target = "b", .dir = "/s",
     .command = "exec python /s/app.py"},
    {.name = "no command at all", .files = "x", .text = "FROM golang AS b\nWORKDIR /src\nCOPY . .\nFROM nginx\n", .why = "command is needed"},
    {.name = "the last stage sets PATH", .files = "x",
     .text = "FROM p AS b\nWORKDIR /src\nCOPY . .\nFROM p\nENV PATH=/src/.venv/bin:$PATH\nCMD x\n", .why = "sets PATH"},
    {.name = "the last stage takes the source itself", .files = "app.py requirements.txt",
     .text = "FROM p AS wheels\nWORKDIR /w\nCOPY requirements.txt .\nRUN pip wheel -r requirements.txt\nFROM p\nWORKDIR /app\n"
             "COPY --from=wheels /w /w\nRUN pip install /w/*\nCOPY . .\nCMD [\"flask\", \"run\"]\n",
     .target = "", .dir = "/app"},
    {.name = "a stage for development", .files = "app.py", .text = "FROM p AS dev\nWORKDIR /app\nCOPY . .\nCMD x --reload\nFROM p AS builder\nFROM p\nCMD x\n",
     .target = "dev", .dir = "/app"},
    {.name = "one under another name", .files = "app.py", .ask_stage = "Work",
     .text = "FROM p AS work\nWORKDIR /app\nCOPY . .\nCMD x\nFROM p\n", .target = "work", .dir = "/app"},
    {.name = "an unnamed builder", .files = "go.mod", .text = "FROM g\nWORKDIR /s\nCOPY . .\nFROM a\nCOPY --from=0 /s/x /x\nCMD /x\n",
     .why = "dir is needed"},
    {.name = "a stage that is not there", .files = "go.mod", .ask_target = "nosuch", .text = PYTHON "CMD x\n", .target = "", .dir = "/app"},

    {.name = "no WORKDIR", .files = "x", .text = "FROM p\nCOPY . /app\nCMD x\n", .why = "dir is needed"},
    {.name = "the root", .files = "x", .text = "FROM p\nWORKDIR /\nCOPY . .\nCMD x\n", .why = "cannot be mounted at /"},
    {.name = "a part of the source elsewhere", .files = "src/app.py", .text = "FROM p\nWORKDIR /app\nCOPY src/ .\nCMD x\n",
     .why = "line 3: src is copied to /app, and would be at /app/src"},
    {.name = "a file under another name", .files = "a.py b", .text = "FROM p\nWORKDIR /app\nCOPY a.py main.py\nCMD x\n",
     .why = "a.py is copied to /app/main.py"},
    {.name = "folders by a pattern", .files = "a/x.py b/x.py", .text = "FROM p\nWORKDIR /app\nCOPY * .\nCMD x\n", .why = "\"*\" copies folders"},
    {.name = "nothing of the source", .files = "x", .text = "FROM p\nWORKDIR /app\nCMD x\n", .why = "nothing of the source is copied to /app"},
    {.name = "what goes elsewhere makes the image anew", .files = "app.py conf/a conf/b",
     .text = "FROM p\nWORKDIR /app\nCOPY conf/ /etc/conf/\nCOPY . .\nCMD x\n", .target = "", .dir = "/app", .image_files = "conf/a conf/b"},
    {.name = "one folder at its place", .files = "src/a.py", .text = "FROM p\nWORKDIR /app\nCOPY [\"src\", \"src\"]\nCMD [\"python\", \"src/a.py\"]\n",
     .target = "", .dir = "/app"},
    {.name = "packages of another stage", .files = "app.js package.json",
     .text = "FROM n AS d\nWORKDIR /d\nRUN npm i\nFROM n\nWORKDIR /app\nCOPY --from=d /d/node_modules ./node_modules\nCOPY . .\nCMD node app.js\n",
     .target = "", .dir = "/app", .covered = "/app/node_modules"},
    {.name = "something else of another stage", .files = "app.js",
     .text = "FROM n AS d\nRUN x\nFROM n\nWORKDIR /app\nCOPY --from=d /d/dist ./dist\nCOPY . .\nCMD node app.js\n",
     .why = "what is copied to /app/dist would be hidden"},
    {.name = "SHELL", .files = "app.js", .text = "FROM n\nSHELL [\"bash\", \"-c\"]\nWORKDIR /app\nCOPY . .\nCMD node app.js\n", .why = "another shell"},

    {.name = "all is given", .files = "x", .text = "FROM p AS b\nFROM p\n", .ask_dir = "/srv/", .ask_command = "run it", .ask_target = "b",
     .target = "b", .dir = "/srv", .command = "run it", .covered = "", .image_files = ""},
    {.name = "the folder is given", .files = "x", .text = "FROM p\nCMD /x\n", .ask_dir = "/srv", .target = "", .dir = "/srv"},
    {.name = "the command is given", .files = "x", .text = "FROM p\nWORKDIR /w\n", .ask_command = "run it", .target = "", .dir = "/w",
     .command = "run it"},
};

static struct str_list words_of(struct arena *a, const char *text)
{
    struct str rest = str_from(text ? text : ""), word;
    struct str_list out = {0};
    while (rest.len > 0 && str_next(&rest, ' ', &word))
        if (word.len > 0)
            str_list_add(a, &out, word);
    return out;
}

static int by_name(const void *x, const void *y)
{
    return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

static void is_list(const char *name, const char *what, const struct str_list *got, const char *wanted)
{
    scoped_arena a = {0};
    struct str_list want = words_of(&a, wanted), sorted = {0};
    vec_foreach(s, got) str_list_add(&a, &sorted, *s);
    if (sorted.len > 0)
        qsort(sorted.items, sorted.len, sizeof *sorted.items, by_name);
    if (wanted && !str_list_eq(&want, &sorted)) {
        vec_foreach(s, got) print_message("    " STR_FMT "\n", STR_ARG(*s));
        fail_msg("%s: %s: wanted %s", name, what, wanted);
    }
}

static void what_a_containerfile_says(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        struct ctr_file f;
        struct ctr_infer got;
        struct str_list names = words_of(&a, cases[i].files);
        const char *name = cases[i].name;
        if (!ctr_file_parse(&a, str_from(cases[i].text), NULL, &f, &err))
            fail_msg("%s: %s", name, err_msg(&err));
        qsort(names.items, names.len, sizeof *names.items, by_name);
        struct ctr_infer_ask ask = {.file = &f, .names = names.items, .n_names = names.len,
                                    .target = str_from(cases[i].ask_target ? cases[i].ask_target : ""),
                                    .dir = str_from(cases[i].ask_dir ? cases[i].ask_dir : ""),
                                    .command = str_from(cases[i].ask_command ? cases[i].ask_command : ""),
                                    .dev_stage = str_from(cases[i].ask_stage ? cases[i].ask_stage : "dev"),
                                    .is_stage_asked = cases[i].ask_stage != NULL};
        if (!ctr_infer(&a, &ask, &got, &err))
            fail_msg("%s: %s", name, err_msg(&err));
        if (cases[i].why) {
            if (got.is_fast || str_find(got.why, str_from(cases[i].why)) == STR_NPOS)
                fail_msg("%s: wanted \"%s\", got \"" STR_FMT "\" (command \"" STR_FMT "\")", name, cases[i].why, STR_ARG(got.why),
                         STR_ARG(got.command));
            continue;
        }
        if (!got.is_fast)
            fail_msg("%s: not inferred: " STR_FMT, name, STR_ARG(got.why));
        if (!str_eq_z(got.target, cases[i].target) || !str_eq_z(got.dir, cases[i].dir) ||
            !str_eq_z(got.command, cases[i].command ? cases[i].command : ""))
            fail_msg("%s: target \"" STR_FMT "\" dir \"" STR_FMT "\" command \"" STR_FMT "\"", name, STR_ARG(got.target),
                     STR_ARG(got.dir), STR_ARG(got.command));
        is_list(name, "covered", &got.covered, cases[i].covered);
        is_list(name, "image files", &got.image_files, cases[i].image_files);
        is_list(name, "artifacts", &got.artifacts, cases[i].artifacts);
        struct str_list env = {0};
        for (size_t k = 0; k < got.env.len; k++)
            str_list_add(&a, &env, str_printf(&a, STR_FMT "=" STR_FMT, STR_ARG(got.env.items[k].key), STR_ARG(got.env.items[k].value)));
        is_list(name, "env", &env, cases[i].env);
        if (strstr(name, "caches"))
            is_list(name, "caches", &got.caches, "/root/.cache/go-build");
    }
}

static void a_stage_that_was_asked_for_must_be_there_and_run_something(void **state)
{
    static const char *const texts[][3] = {
        {"FROM x\n", "other", "has no stage \"other\""},
        {"FROM x AS dev\nFROM x\n", NULL, "the stage \"dev\" of the Containerfile needs a CMD or ENTRYPOINT"},
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        struct ctr_file f;
        struct ctr_infer got;
        assert_true(ctr_file_parse(&a, str_from(texts[i][0]), NULL, &f, &err));
        struct ctr_infer_ask ask = {.file = &f, .dev_stage = str_from(texts[i][1] ? texts[i][1] : "dev"), .is_stage_asked = texts[i][1]};
        assert_false(ctr_infer(&a, &ask, &got, &err));
        assert_non_null(strstr(err_msg(&err), texts[i][2]));
    }
}

/* Each RUN as the only one, before the source is copied to /app: fine, or why not. */
static void runs_that_leave_the_source_alone(void **state)
{
    static const struct {
        const char *run;
        bool is_fine;
        const char *covered;
    } runs[] = {
        {"apt-get update && apt-get install -y --no-install-recommends gcc && rm -rf /var/lib/apt/lists/*", true, ""},
        {"pip install --no-cache-dir -r requirements.txt > /dev/null 2>&1", true, ""},
        {"pip install .", false, ""},
        {"pip install -e .", true, ""},
        {"pip install -t lib x", false, ""},
        {"python -m pip install --upgrade pip", true, ""},
        {"python setup.py build_ext --inplace", false, ""},
        {"addgroup app && adduser -S app && chown -R app /app", true, ""},
        {"mkdir /data && mkdir -p /app", true, ""},
        {"mkdir data", false, ""},
        {"mkdir -p \"/app/data\"", false, ""},
        {"mkdir $DIR", false, ""},
        {"echo x > conf", false, ""},
        {"echo x >/etc/conf", true, ""},
        {"echo 'a > b'", true, ""},
        {"echo x >>/app/conf", false, ""},
        {"cd /tmp && mkdir x", true, ""},
        {"cd $X && mkdir x", false, ""},
        {"npm install -g pnpm && pnpm install --frozen-lockfile", true, "/app/node_modules"},
        {"cd web && yarn", true, "/app/web/node_modules"},
        {"npm ci --omit=dev; npm cache clean --force", true, "/app/node_modules"},
        {"npm run build", false, ""},
        {"npx prisma generate", false, ""},
        {"uv venv && uv pip install flask", true, "/app/.venv"},
        {"uv venv /opt/venv", true, ""},
        {"poetry config virtualenvs.in-project true && poetry install --no-root", true, "/app/.venv"},
        {"poetry install --no-root", true, ""},
        {"composer install --no-dev", true, "/app/vendor"},
        {"bundle install", true, ""},
        {"go mod download", true, ""},
        {"go mod vendor", false, ""},
        {"go build .", false, ""},
        {"curl -fsSL https://x/y | sh", false, ""},
        {"curl -fsSL https://x/y -o /usr/bin/y && chmod +x /usr/bin/y", true, ""},
        {"curl -O https://x/y", false, ""},
        {"wget -qO- https://x/y", true, ""},
        {"wget https://x/y", false, ""},
        {"mvn -B dependency:go-offline", true, ""},
        {"if [ -f requirements.txt ]; then pip install -r requirements.txt; fi", true, ""},
        {"unknown", false, ""},
        {"[\"pip\", \"install\", \"x\"]", false, ""},
        {"FOO=1 BAR=2 pip install x", true, ""},
        {"(pip install x)", true, ""},
        {"\"unterminated", false, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(runs); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        struct ctr_file f;
        struct ctr_infer got;
        struct str names[] = {STR("app.py"), STR("requirements.txt")};
        struct str text = str_printf(&a, "FROM x\nWORKDIR /app\nCOPY requirements.txt .\nRUN %s\nCOPY . .\nCMD x\n", runs[i].run);
        assert_true(ctr_file_parse(&a, text, NULL, &f, &err));
        struct ctr_infer_ask ask = {.file = &f, .dev_stage = STR("dev"), .names = names, .n_names = 2};
        assert_true(ctr_infer(&a, &ask, &got, &err));
        if (got.is_fast != runs[i].is_fine)
            fail_msg("%s: " STR_FMT, runs[i].run, STR_ARG(got.why));
        if (got.is_fast)
            is_list(runs[i].run, "covered", &got.covered, runs[i].covered);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_containerfile_says),
        cmocka_unit_test(a_stage_that_was_asked_for_must_be_there_and_run_something),
        cmocka_unit_test(runs_that_leave_the_source_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
