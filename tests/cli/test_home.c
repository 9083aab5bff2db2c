/* tests/cli/test_home.c: where the home and its configuration are.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* A machine: its environment, and files as "path" or "path!" for one that may not be read. */
struct machine {
    const char *home_env, *config_env, *user_home;
    const char *files[4];
};

static const char *fake_env(void *ctx, const char *name)
{
    const struct machine *m = ctx;
    if (strcmp(name, "OPENRUN_HOME") == 0)
        return m->home_env;
    if (strcmp(name, "CL_CONFIG_FILE") == 0)
        return m->config_env;
    return strcmp(name, "HOME") == 0 ? m->user_home : NULL;
}

static int fake_probe(void *ctx, const char *path)
{
    const struct machine *m = ctx;
    for (size_t i = 0; i < ARRAY_LEN(m->files) && m->files[i]; i++) {
        size_t n = strlen(path);
        if (strncmp(m->files[i], path, n) == 0 && strcmp(m->files[i] + n, "!") == 0)
            return EACCES;
        if (strcmp(m->files[i], path) == 0)
            return 0;
    }
    return ENOENT;
}

static const struct {
    const char *name;
    struct machine machine;
    const char *exe, *flag;
    const char *dir, *file;
    enum home_origin origin;
    bool is_explicit;
    const char *warning, *error;
} cases[] = {
    {"OPENRUN_HOME goes first", {.home_env = "/h", .files = {"/usr/local/etc/openrun.toml"}}, NULL, NULL, "/h",
     "/h/openrun.toml", HOME_ENV},
    {"OPENRUN_HOME with a config file of its own", {.home_env = "/h"}, NULL, "/etc/o.toml", "/h", "/etc/o.toml",
     HOME_ENV, true},
    {"a relative OPENRUN_HOME is made absolute", {.home_env = "./x//y/"}, NULL, NULL, "/cwd/x/y",
     "/cwd/x/y/openrun.toml", HOME_ENV},
    {"an empty OPENRUN_HOME is none", {.home_env = "", .user_home = "/u"}, NULL, NULL, "/u/openrun",
     "/u/openrun/openrun.toml", HOME_DEFAULT},
    {"the folder of --config-file", {.user_home = "/u"}, NULL, "conf/o.toml", "/cwd/conf", "/cwd/conf/o.toml",
     HOME_CONFIG_FILE, true},
    {"a config file in the root folder", {.user_home = "/u"}, NULL, "/o.toml", "/", "/o.toml", HOME_CONFIG_FILE, true},
    {"CL_CONFIG_FILE", {.config_env = "/e/o.toml"}, NULL, NULL, "/e", "/e/o.toml", HOME_CONFIG_FILE, true},
    {"the flag goes before CL_CONFIG_FILE", {.config_env = "/e/o.toml"}, NULL, "/f/o.toml", "/f", "/f/o.toml",
     HOME_CONFIG_FILE, true},
    {"beside the executable", {.user_home = "/u", .files = {"/opt/openrun/openrun.toml"}}, "/opt/openrun/openrun", NULL,
     "/opt/openrun", "/opt/openrun/openrun.toml", HOME_EXE},
    {"above the executable's bin", {.user_home = "/u", .files = {"/opt/clhome/openrun.toml"}}, "/opt/clhome/bin/openrun",
     NULL, "/opt/clhome", "/opt/clhome/openrun.toml", HOME_EXE},
    {"a file beside the executable in a folder that is not ours", {.user_home = "/u", .files = {"/opt/x/openrun.toml"}},
     "/opt/x/openrun", NULL, "/u/openrun", "/u/openrun/openrun.toml", HOME_DEFAULT},
    {"a folder of ours without the file", {.user_home = "/u"}, "/opt/openrun/openrun", NULL, "/u/openrun",
     "/u/openrun/openrun.toml", HOME_DEFAULT},
    {"/usr/local goes before /var/lib",
     {.user_home = "/u", .files = {"/var/lib/openrun/openrun.toml", "/usr/local/etc/openrun.toml"}}, NULL, NULL,
     "/usr/local/var/openrun", "/usr/local/etc/openrun.toml", HOME_SYSTEM},
    {"/var/lib", {.user_home = "/u", .files = {"/var/lib/openrun/openrun.toml"}}, NULL, NULL, "/var/lib/openrun",
     "/var/lib/openrun/openrun.toml", HOME_SYSTEM},
    {"Homebrew on Linux goes first",
     {.files = {"/usr/local/etc/openrun.toml", "/home/linuxbrew/.linuxbrew/etc/openrun.toml"}}, NULL, NULL,
     "/home/linuxbrew/.linuxbrew/var/openrun", "/home/linuxbrew/.linuxbrew/etc/openrun.toml", HOME_SYSTEM},
    {"the user's home at last", {.user_home = "/u"}, NULL, NULL, "/u/openrun", "/u/openrun/openrun.toml", HOME_DEFAULT},
    {"a system file that may not be read is an error", {.user_home = "/u", .files = {"/var/lib/openrun/openrun.toml!"}},
     .error = "cannot read /var/lib/openrun/openrun.toml: Permission denied: run as a user who may read it, or set "
              "OPENRUN_HOME"},
    {"unless the user has one of their own",
     {.user_home = "/u", .files = {"/var/lib/openrun/openrun.toml!", "/u/openrun/openrun.toml"}}, NULL, NULL,
     "/u/openrun", "/u/openrun/openrun.toml", HOME_DEFAULT, false,
     "Warning: cannot read /var/lib/openrun/openrun.toml (Permission denied), using /u/openrun/openrun.toml"},
    {"nothing says where home is", {0},
     .error = "cannot tell where home is: set OPENRUN_HOME (HOME is not set either)"},
};

static bool is_text(struct str got, const char *want)
{
    return str_eq(got, str_from(want));
}

static void home_is_found_by_the_first_rule_that_applies(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        struct machine machine = cases[i].machine;
        struct home_sys sys = {
            .ctx = &machine, .env = fake_env, .probe = fake_probe, .exe = str_from(cases[i].exe), .cwd = STR("/cwd")};
        struct home h = {0};
        bool ok = home_find(&a, cases[i].flag, &sys, &h, &err);
        if (ok != (cases[i].error == NULL) || (!ok && strcmp(err_msg(&err), cases[i].error) != 0))
            fail_msg("%s: %s", cases[i].name, err_msg(&err));
        if (!ok)
            continue;
        if (!is_text(h.dir, cases[i].dir) || !is_text(h.config_file, cases[i].file) || h.origin != cases[i].origin ||
            h.is_file_explicit != cases[i].is_explicit || !is_text(h.warning, cases[i].warning))
            fail_msg("%s: got dir " STR_FMT ", file " STR_FMT ", origin %d, explicit %d, warning " STR_FMT,
                     cases[i].name, STR_ARG(h.dir), STR_ARG(h.config_file), h.origin, h.is_file_explicit,
                     STR_ARG(h.warning));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(home_is_found_by_the_first_rule_that_applies)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
