/* source/git_run.c: calling the git program so that it never asks, never runs hooks and never tells secrets.
 *
 * Everything that shapes a call travels in the environment, not in arguments that other users could read.
 * Configuration goes through GIT_CONFIG_COUNT and wins over the user's files, which are otherwise honoured:
 * proxies, certificates, URL rewriting and credential helpers work as the server's user has set them up.
 * SPDX-License-Identifier: Apache-2.0 */
#include "git_int.h"
#include "proc.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

enum {
    SAID_MAX = 64 * 1024, /* of stderr, the end of it */
    LINE_MAX_LEN = 1024,  /* of a progress line */
};

/* The GIT_ variables that say how to reach servers. The others say which repository to work on, and may be
 * those of a repository that the server was started from. */
static const char *const kept[] = {
    "GIT_SSL_",           "GIT_HTTP_",          "GIT_PROXY_",
    "GIT_CONFIG_GLOBAL=", "GIT_CONFIG_SYSTEM=", "GIT_CONFIG_NOSYSTEM=",
    "GIT_EXEC_PATH=",     "GIT_CURL_",
};

static const char *const dropped[] = {
    "GIT_", "SSH_ASKPASS", "LC_", "LANG=", "LANGUAGE=", "OPENRUN_GIT_", "DISPLAY=",
};

static bool has_prefix(const char *var, const char *const *prefixes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strncmp(var, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return false;
}

static void env_add(struct git *g, const char *name, struct str value)
{
    str_list_add(g->scratch, &g->env, str_printf(g->scratch, "%s=" STR_FMT, name, STR_ARG(value)));
}

/* Configuration as a list of key, value, key, value... */
static void config_add(struct git *g, struct str_list *config, const char *key, struct str value)
{
    str_list_add(g->scratch, config, str_from(key));
    str_list_add(g->scratch, config, value);
}

static void env_config(struct git *g, const struct str_list *config)
{
    env_add(g, "GIT_CONFIG_COUNT", str_printf(g->scratch, "%zu", config->len / 2));
    for (size_t i = 0; i < config->len; i += 2) {
        str_list_add(g->scratch, &g->env,
                     str_printf(g->scratch, "GIT_CONFIG_KEY_%zu=" STR_FMT, i / 2, STR_ARG(config->items[i])));
        str_list_add(
            g->scratch, &g->env,
            str_printf(g->scratch, "GIT_CONFIG_VALUE_%zu=" STR_FMT, i / 2, STR_ARG(config->items[i + 1])));
    }
}

static void config_basics(struct git *g, struct str_list *config)
{
    static const char *const basics[][2] = {
        {"core.hooksPath", "/dev/null"},
        {"core.fsmonitor", "false"},
        {"core.sparseCheckout", "true"},
        {"core.sparseCheckoutCone", "false"}, /* cone mode would take the files of the folders above, too */
        {"core.symlinks", "true"}, /* so that the file set sees and refuses them */
        {"core.autocrlf", "false"},
        {"core.protectHFS", "true"},
        {"core.protectNTFS", "true"},
        {"core.askPass", ""},
        {"credential.interactive", "never"},
        {"protocol.ext.allow", "never"},
        {"fetch.recurseSubmodules", "false"},
        {"submodule.recurse", "false"},
        {"fetch.fsckObjects", "false"}, /* old histories have harmless faults; checkout has its own checks */
        {"filter.lfs.smudge", ""},
        {"filter.lfs.process", ""},
        {"filter.lfs.required", "false"},
        {"gc.auto", "0"},
        {"maintenance.auto", "false"},
        {"init.defaultBranch", "main"},
        {"advice.detachedHead", "false"},
        {"http.lowSpeedLimit", "1"}, /* bytes a second: a server that says nothing for a minute is gone */
        {"http.lowSpeedTime", "60"},
    };
    for (size_t i = 0; i < ARRAY_LEN(basics); i++)
        config_add(g, config, basics[i][0], str_from(basics[i][1]));
    config_add(g, config, "remote.origin.url", g->repo);
}

static bool has_key(const struct src_git_auth *auth)
{
    return auth && (!str_is_empty(auth->private_key) || !str_is_empty(auth->key_file));
}

/* User and password for the repository's own host only: a redirect elsewhere gets nothing. git runs the
 * helper's text with sh; the secrets are in variables that it names. */
static bool config_password(struct git *g, struct str_list *config, struct err *err)
{
    const struct src_git_auth *auth = g->auth;
    if (str_chr(auth->user, '\n') != STR_NPOS || str_chr(auth->password, '\n') != STR_NPOS)
        return err_set(err, ERR_INVALID, "git_auth entry " STR_FMT ": user and password must be one line",
                       STR_ARG(auth->name));
    size_t host = str_find(g->repo, STR("://")) + 3;
    size_t slash = str_chr(str_from_off(g->repo, host), '/');
    struct str origin = str_slice(g->repo, 0, slash == STR_NPOS ? g->repo.len : host + slash);
    config_add(g, config, "credential.helper", STR(""));
    config_add(g, config,
               str_z(g->scratch, str_printf(g->scratch, "credential." STR_FMT ".helper", STR_ARG(origin))),
               STR("!f() { test \"$1\" = get && printf 'username=%s\\npassword=%s\\n' \"$OPENRUN_GIT_USER\" "
                   "\"$OPENRUN_GIT_PASSWORD\"; }; f"));
    env_add(g, "OPENRUN_GIT_USER", auth->user);
    env_add(g, "OPENRUN_GIT_PASSWORD", auth->password);
    return true;
}

/* Quoted for the shell that git runs GIT_SSH_COMMAND with. */
static struct str shell_quote(struct arena *a, struct str s)
{
    char *out = arena_alloc(a, s.len * 4 + 3);
    size_t n = 0;
    out[n++] = '\'';
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '\'') {
            memcpy(out + n, "'\\''", 4);
            n += 4;
        } else {
            out[n++] = s.ptr[i];
        }
    }
    out[n++] = '\'';
    return str_of(out, n);
}

/* The file with the key: the user's, or one of the session's that holds the given text. */
static bool key_path(struct git *g, struct str *path, struct err *err)
{
    const struct src_git_auth *auth = g->auth;
    if (str_is_empty(auth->private_key)) {
        if (!fs_exists(auth->key_file))
            return err_set(err, ERR_INVALID,
                           "git_auth entry " STR_FMT ": key_file_path " STR_FMT " does not exist",
                           STR_ARG(auth->name), STR_ARG(auth->key_file));
        *path = auth->key_file;
        return true;
    }
    *path = git_session_path(g->session, "key");
    struct str text = auth->private_key; /* ssh refuses a key without newline at its end */
    if (!str_ends(text, STR("\n")))
        text = str_cat(g->scratch, text, STR("\n"));
    return fs_write_atomic(*path, text, 0600, err);
}

/* ssh asks for a key's passphrase only through a program; this one prints a variable. */
static bool askpass(struct git *g, struct err *err)
{
    struct str path = git_session_path(g->session, "askpass");
    if (!fs_write_atomic(path, STR("#!/bin/sh\nprintf '%s\\n' \"$OPENRUN_GIT_PASSWORD\"\n"), 0700, err))
        return false;
    env_add(g, "SSH_ASKPASS", path);
    env_add(g, "SSH_ASKPASS_REQUIRE", STR("force"));
    env_add(g, "OPENRUN_GIT_PASSWORD", g->auth->password);
    return true;
}

#define SSH_COMMON "ssh -o StrictHostKeyChecking=yes -o ConnectTimeout=30 -o ServerAliveInterval=15"

static bool env_ssh(struct git *g, struct err *err)
{
    if (!has_key(g->auth)) {
        const char *own = getenv("GIT_SSH_COMMAND");
        env_add(g, "GIT_SSH_COMMAND", own ? str_from(own) : STR(SSH_COMMON " -o BatchMode=yes"));
        return true;
    }
    struct str path;
    if (!key_path(g, &path, err))
        return false;
    /* With a passphrase the prompt for it must be allowed, and no other: the answer is not for the server. */
    bool has_phrase = !str_is_empty(g->auth->password);
    if (has_phrase && !askpass(g, err))
        return false;
    env_add(g, "GIT_SSH_COMMAND",
            str_printf(g->scratch,
                       SSH_COMMON
                       " -o IdentitiesOnly=yes -o PreferredAuthentications=publickey %s -i " STR_FMT,
                       has_phrase ? "-o NumberOfPasswordPrompts=1" : "-o BatchMode=yes",
                       STR_ARG(shell_quote(g->scratch, path))));
    return true;
}

bool git_prepare(struct git *g, struct err *err)
{
    struct str_list config = {0};
    if (!git_session_dir(g->session, err))
        return false;
    g->env = (struct str_list){0};
    for (char **var = environ; *var; var++)
        if (has_prefix(*var, kept, ARRAY_LEN(kept)) || !has_prefix(*var, dropped, ARRAY_LEN(dropped)))
            str_list_add(g->scratch, &g->env, str_from(*var));
    env_add(g, "LC_ALL", STR("C"));
    env_add(g, "GIT_TERMINAL_PROMPT", STR("0"));
    env_add(g, "GIT_CEILING_DIRECTORIES",
            path_dir(g->session->dir)); /* no repository around the session's folder */
    env_add(g, "GIT_LFS_SKIP_SMUDGE", STR("1"));
    env_add(g, "GCM_INTERACTIVE", STR("never"));
    config_basics(g, &config);
    bool is_http = str_starts(g->repo, STR("http"));
    if (g->auth && is_http && !config_password(g, &config, err))
        return false;
    env_config(g, &config);
    return is_http || str_starts(g->repo, STR("file://")) || env_ssh(g, err);
}

/* Collects stderr's end, and gives it to the session's listener line by line. */
struct listener {
    const struct src_session_opts *opts;
    char line[LINE_MAX_LEN];
    size_t len;
};

static bool on_output(void *arg, enum proc_stream stream, struct str chunk)
{
    struct listener *l = arg;
    if (stream != PROC_STDERR || !l->opts->on_progress)
        return true;
    for (size_t i = 0; i < chunk.len; i++) {
        char c = chunk.ptr[i];
        if (c != '\n' && c != '\r') {
            if (l->len < sizeof l->line)
                l->line[l->len++] = c;
            continue;
        }
        if (l->len > 0)
            l->opts->on_progress(l->opts->ctx, str_of(l->line, l->len));
        l->len = 0;
    }
    return true;
}

struct git_result git_run(struct git *g, struct str dir, const char *const *args, struct err *err)
{
    const struct src_session_opts *opts = &g->session->opts;
    struct git_result r = {.fault = GIT_FINAL};
    scoped_buf out = BUF_INIT(GIT_OUT_MAX), said = BUF_INIT(SAID_MAX);
    struct listener listener = {.opts = opts};
    struct proc_spec spec = {
        .env = g->env,
        .env_only = true,
        .cwd = dir,
        .on_output = on_output,
        .arg = &listener,
        .out = &out,
        .err_out = &said,
        .keep_tail = true,
        .timeout_ms = opts->timeout_ms,
        .cancel = opts->cancel,
    };
    struct proc_result res;
    str_list_add(g->scratch, &spec.argv, STR("git"));
    for (size_t i = 0; args[i]; i++)
        str_list_add(g->scratch, &spec.argv, str_from(args[i]));
    if (!proc_run(&spec, &res, err)) {
        if (err->code == ERR_NOT_FOUND)
            err_set(err, ERR_UNAVAILABLE, "sources from git need the git program: install git on the server");
        else
            err_wrap(err, "running git");
        return r;
    }
    if (res.cancelled) {
        err_set(err, ERR_CANCELLED, "fetching " STR_FMT " was cancelled", STR_ARG(g->repo));
    } else if (res.timed_out) {
        err_set(err, ERR_TIMEOUT, "fetching " STR_FMT " took longer than %lld s", STR_ARG(g->repo),
                (long long)(opts->timeout_ms + 999) / 1000);
    } else if (res.exit_code != 0) {
        r.fault = git_explain(g, buf_str(&said), res.exit_code, err);
    } else {
        r.fault = GIT_OK;
        r.out = str_dup(g->scratch, buf_str(&out));
    }
    return r;
}
