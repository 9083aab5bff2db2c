/* source/git_explain.c: from what git says on stderr to what the user can do about it.
 *
 * git has one exit code for nearly everything, so its words decide. They are asked for in the C locale; the
 * phrases have been the same for many years, and one that changes only makes a message less helpful.
 * SPDX-License-Identifier: Apache-2.0 */
#include "git_int.h"

enum { WORDS_MAX = 500 };

static const struct {
    const char *phrase;
    enum git_fault fault;
    enum err_code code;
    const char *message; /* NULL: depends on the credentials */
    const char *advice;
} phrases[] = {
    {"couldn't find remote ref", GIT_NO_REF, ERR_NOT_FOUND, "no such branch or tag in", ""},
    {"not our ref", GIT_NO_OBJECT, ERR_NOT_FOUND, "no such commit in", ""},
    {"unadvertised object", GIT_NO_OBJECT, ERR_NOT_FOUND, "no such commit in", ""},
    {"Host key verification failed", GIT_FINAL, ERR_UPSTREAM,
     "the host key is not known or has changed:", ": add it to the known_hosts file of the server's user"},
    {"Enter passphrase", GIT_FINAL, ERR_UNAUTHORIZED, NULL, ""},
    {"terminal prompts disabled", GIT_FINAL, ERR_UNAUTHORIZED, NULL, ""},
    {"could not read Username", GIT_FINAL, ERR_UNAUTHORIZED, NULL, ""},
    {"could not read Password", GIT_FINAL, ERR_UNAUTHORIZED, NULL, ""},
    {"Authentication failed", GIT_FINAL, ERR_UNAUTHORIZED, NULL, ""},
    {"Invalid username or", GIT_FINAL, ERR_UNAUTHORIZED, NULL, ""},
    {"returned error: 401", GIT_FINAL, ERR_UNAUTHORIZED, NULL, ""},
    {"returned error: 403", GIT_FINAL, ERR_UNAUTHORIZED, NULL, ""},
    {"Permission denied (", GIT_FINAL, ERR_UNAUTHORIZED, NULL, ""},
    {"Permission denied, please try again", GIT_FINAL, ERR_UNAUTHORIZED, NULL, ""},
    {"dubious ownership", GIT_FINAL, ERR_FORBIDDEN,
     "git does not trust this repository, since another user owns it:",
     ": run \"git config --global --add safe.directory PATH\" as the server's user"},
    {"fatal: repository '", GIT_FINAL, ERR_NOT_FOUND, "repository not found:", ""},
    {"epository not found", GIT_FINAL, ERR_NOT_FOUND, "repository not found:", ""},
    {"not exported", GIT_FINAL, ERR_NOT_FOUND, "repository not found or not exported:", ""},
    {"not appear to be a git repository", GIT_FINAL, ERR_NOT_FOUND, "repository not found:", ""},
    {"not a git repository", GIT_FINAL, ERR_NOT_FOUND, "repository not found:", ""},
    {"returned error: 404", GIT_FINAL, ERR_NOT_FOUND, "repository not found:", ""},
    {"project you were looking for could not be found", GIT_FINAL, ERR_NOT_FOUND,
     "repository not found:", ""},
    {"Could not resolve host", GIT_FINAL, ERR_UPSTREAM, "the host name cannot be resolved:", ""},
    {"unable to look up", GIT_FINAL, ERR_UPSTREAM, "the host name cannot be resolved:", ""},
    {"Connection refused", GIT_FINAL, ERR_UPSTREAM, "the host refuses connections:", ""},
    {"Failed to connect", GIT_FINAL, ERR_UPSTREAM, "cannot connect to the host:", ""},
    {"Connection timed out", GIT_FINAL, ERR_UPSTREAM, "the host does not answer:", ""},
    {"Network is unreachable", GIT_FINAL, ERR_UPSTREAM, "the host cannot be reached:", ""},
    {"No space left on device", GIT_FINAL, ERR_INTERNAL, "the disk is full while fetching", ""},
};

static void explain_auth(const struct git *g, struct err *err)
{
    err_set(err, ERR_UNAUTHORIZED, "authentication failed for " STR_FMT ": ", STR_ARG(g->repo));
    if (!g->auth)
        err_append(err,
                   "it is private, or does not exist: set git_auth to an entry of [git_auth] in the server's "
                   "configuration that may read it");
    else if (!str_is_empty(g->auth->name))
        err_append(err, "check the git_auth entry " STR_FMT, STR_ARG(g->auth->name));
    else
        err_append(err, "check the git credentials");
}

/* The lines in which git and the server complain, joined; else the last line. */
static struct str complaints(struct arena *a, struct str said)
{
    static const char *const starts[] = {"fatal:", "error:", "remote:", "ERROR:", "ssh:"};
    struct str rest = said, line, all = STR(""), last = STR("");
    while (str_next(&rest, '\n', &line)) {
        line = str_trim(line);
        size_t cr = str_rchr(line, '\r'); /* what a progress line has overwritten */
        line = cr == STR_NPOS ? line : str_trim(str_from_off(line, cr + 1));
        if (str_is_empty(line))
            continue;
        last = line;
        for (size_t i = 0; i < ARRAY_LEN(starts); i++)
            if (str_starts(line, str_from(starts[i])) && line.len > strlen(starts[i]) && all.len < WORDS_MAX)
                all = str_printf(a, STR_FMT "%s" STR_FMT, STR_ARG(all), all.len ? "; " : "", STR_ARG(line));
    }
    return str_slice(str_is_empty(all) ? last : all, 0, WORDS_MAX);
}

enum git_fault git_explain(const struct git *g, struct str said, int exit_code, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(phrases); i++) {
        if (str_find(said, str_from(phrases[i].phrase)) == STR_NPOS)
            continue;
        if (phrases[i].message)
            err_set(err, phrases[i].code, "%s " STR_FMT "%s", phrases[i].message, STR_ARG(g->repo),
                    phrases[i].advice);
        else
            explain_auth(g, err);
        return phrases[i].fault;
    }
    struct str words = complaints(g->scratch, said);
    err_set(err, ERR_UPSTREAM, "git failed with exit code %d for " STR_FMT "%s" STR_FMT, exit_code,
            STR_ARG(g->repo), str_is_empty(words) ? "" : ": ", STR_ARG(words));
    return GIT_OTHER;
}
