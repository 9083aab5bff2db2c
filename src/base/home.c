/* base/home.c: finds the home folder and the configuration file.
 * SPDX-License-Identifier: Apache-2.0 */
#include "home.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#define CONFIG_NAME "openrun.toml"

/* Where packages put the configuration, and the home that goes with it. */
static const struct {
    const char *config, *home;
} system_places[] = {
#ifdef __APPLE__
    {"/opt/homebrew/etc/" CONFIG_NAME, "/opt/homebrew/var/openrun"},
    {"/usr/local/etc/" CONFIG_NAME, "/usr/local/var/openrun"},
#else
    {"/home/linuxbrew/.linuxbrew/etc/" CONFIG_NAME, "/home/linuxbrew/.linuxbrew/var/openrun"},
    {"/usr/local/etc/" CONFIG_NAME, "/usr/local/var/openrun"},
    {"/var/lib/openrun/" CONFIG_NAME, "/var/lib/openrun"},
#endif
};

static struct str env_get(const struct home_sys *sys, const char *name)
{
    return str_from(sys->env(sys->ctx, name));
}

/* Makes `path` absolute and drops "." parts, doubled and trailing slashes. ".." stays: with links
 * its meaning is the file system's to say. */
static struct str absolute(struct arena *a, const struct home_sys *sys, struct str path)
{
    struct str rest = path;
    if (path.len == 0 || path.ptr[0] != '/')
        rest = str_printf(a, STR_FMT "/" STR_FMT, STR_ARG(sys->cwd), STR_ARG(path));
    struct str out = {0}, part;
    while (str_next(&rest, '/', &part))
        if (part.len > 0 && !str_eq(part, STR(".")))
            out = str_printf(a, STR_FMT "/" STR_FMT, STR_ARG(out), STR_ARG(part));
    return out.len > 0 ? out : STR("/");
}

/* The folder part of an absolute path. */
static struct str parent(struct str path)
{
    size_t slash = str_rchr(path, '/');
    return slash == 0 || slash == STR_NPOS ? STR("/") : str_slice(path, 0, slash);
}

static struct str last_part(struct str path)
{
    size_t slash = str_rchr(path, '/');
    return slash == STR_NPOS ? path : str_from_off(path, slash + 1);
}

/* An installation unpacked into one folder: the executable (or its bin/) beside the configuration,
 * in a folder whose name says that it is ours, so that a stray file does not decide. */
static struct str exe_home(struct str exe)
{
    if (exe.len == 0 || exe.ptr[0] != '/')
        return (struct str){0};
    struct str dir = parent(exe);
    if (str_eq(last_part(dir), STR("bin")))
        dir = parent(dir);
    bool is_ours = str_find(dir, STR("openrun")) != STR_NPOS || str_find(dir, STR("clhome")) != STR_NPOS;
    return is_ours ? dir : (struct str){0};
}

static bool is_absent(int errnum)
{
    return errnum == ENOENT || errnum == ENOTDIR;
}

/* Rules 3 and 4: files that are looked for. A file that is there but may not be read is remembered in
 * *denied, its errno in *why: falling through to another home would talk to the wrong server. */
static bool find_installed(struct arena *a, const struct home_sys *sys, struct home *out, struct str *denied,
                           int *why)
{
    struct str dir = exe_home(sys->exe);
    if (dir.len > 0) {
        struct str file = str_printf(a, STR_FMT "/" CONFIG_NAME, STR_ARG(dir));
        int e = sys->probe(sys->ctx, file.ptr);
        if (e == 0) {
            *out = (struct home){.dir = dir, .config_file = file, .origin = HOME_EXE};
            return true;
        }
        if (!is_absent(e))
            *denied = file, *why = e;
    }
    for (size_t i = 0; i < ARRAY_LEN(system_places); i++) {
        int e = sys->probe(sys->ctx, system_places[i].config);
        if (e == 0) {
            *out = (struct home){.dir = str_from(system_places[i].home),
                                 .config_file = str_from(system_places[i].config),
                                 .origin = HOME_SYSTEM};
            return true;
        }
        if (!is_absent(e) && denied->len == 0)
            *denied = str_from(system_places[i].config), *why = e;
    }
    return false;
}

bool home_find(struct arena *a, const char *config_flag, const struct home_sys *sys, struct home *out,
               struct err *err)
{
    struct str named = config_flag ? str_from(config_flag) : env_get(sys, "CL_CONFIG_FILE");
    struct str file = named.len > 0 ? absolute(a, sys, named) : (struct str){0};

    struct str dir = env_get(sys, "OPENRUN_HOME");
    if (dir.len > 0) {
        dir = absolute(a, sys, dir);
        bool is_explicit = file.len > 0;
        if (!is_explicit)
            file = str_printf(a, STR_FMT "/" CONFIG_NAME, STR_ARG(dir));
        *out = (struct home){.dir = dir, .config_file = file, .origin = HOME_ENV, .is_file_explicit = is_explicit};
        return true;
    }
    if (file.len > 0) {
        *out = (struct home){
            .dir = parent(file), .config_file = file, .origin = HOME_CONFIG_FILE, .is_file_explicit = true};
        return true;
    }

    struct str denied = {0};
    int why = 0;
    if (find_installed(a, sys, out, &denied, &why))
        return true;

    struct str user = env_get(sys, "HOME");
    if (user.len > 0) {
        dir = absolute(a, sys, str_cat(a, user, STR("/openrun")));
        file = str_printf(a, STR_FMT "/" CONFIG_NAME, STR_ARG(dir));
    }
    struct home found = {.dir = dir, .config_file = file, .origin = HOME_DEFAULT};
    if (denied.len > 0) {
        if (user.len == 0 || sys->probe(sys->ctx, file.ptr) != 0)
            return err_set(err, ERR_FORBIDDEN,
                           "cannot read " STR_FMT ": %s: run as a user who may read it, or set OPENRUN_HOME",
                           STR_ARG(denied), strerror(why));
        found.warning = str_printf(a, "Warning: cannot read " STR_FMT " (%s), using " STR_FMT, STR_ARG(denied),
                                   strerror(why), STR_ARG(file));
    }
    if (user.len == 0)
        return err_set(err, ERR_INVALID, "cannot tell where home is: set OPENRUN_HOME (HOME is not set either)");
    *out = found;
    return true;
}

static const char *real_env(void *ctx, const char *name)
{
    return getenv(name);
}

static int real_probe(void *ctx, const char *path)
{
    scoped_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    return fd >= 0 ? 0 : errno;
}

bool home_find_here(struct arena *a, const char *config_flag, struct home *out, struct err *err)
{
    char exe[PATH_MAX], cwd[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe);
    if (!getcwd(cwd, sizeof cwd))
        memcpy(cwd, "/", 2); /* removed under us: only relative paths suffer */
    struct home_sys sys = {
        .env = real_env,
        .probe = real_probe,
        .exe = n > 0 && (size_t)n < sizeof exe ? str_dup(a, str_of(exe, (size_t)n)) : (struct str){0},
        .cwd = str_dup(a, str_from(cwd)),
    };
    return home_find(a, config_flag, &sys, out, err);
}

bool home_export(const struct home *home, struct err *err)
{
    scoped_arena a = {0};
    if (setenv("OPENRUN_HOME", str_z(&a, home->dir), 1) < 0)
        return err_set_errno(err, errno, "setting OPENRUN_HOME");
    return true;
}
