/* source/giturl.c: tells git sources from local folders, and splits them into repository and folder.
 *
 *     source = "git@" host ":" path | scheme "://" [user "@"] host [":" port] "/" path
 *            | host "/" path | "/" path
 *     path   = repository ["//" folder] | repository-by-rule "/" folder
 * SPDX-License-Identifier: Apache-2.0 */
#include "source_int.h"

enum { URL_MAX = 2048 };

enum form {
    FORM_HTTP, /* also without a scheme */
    FORM_SSH,
    FORM_SCP, /* git@host:path */
    FORM_GIT,
    FORM_FILE, /* also an absolute path */
};

static const struct {
    struct str prefix;
    enum form form;
} schemes[] = {
    {STR_INIT("https://"), FORM_HTTP}, {STR_INIT("http://"), FORM_HTTP}, {STR_INIT("ssh://"), FORM_SSH},
    {STR_INIT("git://"), FORM_GIT},    {STR_INIT("file://"), FORM_FILE},
};

/* A bare repository's name; ".git" itself is the inside of a working copy, which is a local folder. */
static bool is_repo_name(struct str segment)
{
    return segment.len > 4 && str_ends(segment, STR(".git"));
}

static bool is_bare_repo_path(struct str path)
{
    struct str repo = str_slice(path, 0, str_find(path, STR("//")));
    repo = str_trim_right(repo, '/');
    size_t slash = str_rchr(repo, '/');
    return slash != STR_NPOS && is_repo_name(str_from_off(repo, slash + 1));
}

bool src_is_git(struct str source)
{
    if (str_is_empty(source) || source.ptr[0] == '.' || source.ptr[0] == '~')
        return false;
    if (source.ptr[0] == '/')
        return is_bare_repo_path(source);
    if (str_starts(source, STR("git@")))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
        if (str_starts(source, schemes[i].prefix))
            return true;
    size_t slashes = 0;
    for (size_t i = 0; i < source.len; i++)
        slashes += source.ptr[i] == '/';
    struct str host;
    str_cut(source, '/', &host, NULL);
    return slashes >= 2 && str_chr(host, '.') != STR_NPOS;
}

/* A source taken apart, before the rule that finds the folder. */
struct parts {
    enum form form;
    struct str scheme; /* with its "://"; empty for FORM_SCP */
    struct str user;   /* ssh only */
    struct str host;   /* with its port; empty for FORM_FILE */
    struct str path;   /* FORM_SCP: without, others: with the '/' it starts with */
};

static bool is_host(struct str host)
{
    if (str_is_empty(host) || host.ptr[0] == '-')
        return false;
    for (size_t i = 0; i < host.len; i++) {
        char c = host.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              (c != '\0' && strchr(".-_:[]", c))))
            return false;
    }
    return true;
}

/* A user name that ssh cannot take for an option. */
static bool is_user(struct str user)
{
    if (!str_is_empty(user) && user.ptr[0] == '-')
        return false;
    return str_find(user, STR("@")) == STR_NPOS && str_find(user, STR(":")) == STR_NPOS &&
           str_find(user, STR("/")) == STR_NPOS;
}

/* NULL, or what is wrong. */
static const char *take_apart(struct str source, struct parts *p)
{
    struct str rest = source;
    if (str_starts(source, STR("git@"))) {
        p->form = FORM_SCP;
        p->user = STR("git");
        if (!str_cut(str_from_off(source, 4), ':', &p->host, &p->path))
            return "expected git@host:org/repo";
        return is_host(p->host) ? NULL : "its host is not valid";
    }
    if (source.ptr[0] == '/') {
        p->form = FORM_FILE;
        p->scheme = STR("file://");
        p->path = source;
        return NULL;
    }
    p->form = FORM_HTTP;
    p->scheme = STR("https://");
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        if (str_starts(source, schemes[i].prefix)) {
            p->form = schemes[i].form;
            p->scheme = schemes[i].prefix;
            rest = str_from_off(source, schemes[i].prefix.len);
            break;
        }
    }
    if (p->form != FORM_FILE) {
        str_cut(rest, '#', &rest, NULL);
        str_cut(rest, '?', &rest, NULL);
    }
    size_t slash = str_chr(rest, '/');
    struct str authority = str_slice(rest, 0, slash);
    p->path = slash == STR_NPOS ? STR("") : str_from_off(rest, slash);
    size_t at = str_rchr(authority, '@');
    p->host = at == STR_NPOS ? authority : str_from_off(authority, at + 1);
    if (p->form == FORM_SSH && at != STR_NPOS)
        str_cut(str_slice(authority, 0, at), ':', &p->user, NULL);
    if (p->form == FORM_FILE)
        return str_is_empty(authority) || str_eq(authority, STR("localhost"))
                   ? NULL
                   : "expected file:///absolute/path";
    if (!is_user(p->user))
        return "its user is not valid";
    return is_host(p->host) ? NULL : "its host is not valid";
}

/* The offset in `path` at which the `n`th segment ends, or STR_NPOS if there are fewer. */
static size_t segments_end(struct str path, size_t n)
{
    size_t pos = 0;
    while (n > 0) {
        while (pos < path.len && path.ptr[pos] == '/')
            pos++;
        size_t start = pos;
        while (pos < path.len && path.ptr[pos] != '/')
            pos++;
        if (pos == start)
            return STR_NPOS;
        n--;
    }
    return pos;
}

/* The offset after the first segment that is named like a bare repository, or STR_NPOS. */
static size_t repo_name_end(struct str path)
{
    size_t pos = 0;
    while (pos < path.len) {
        size_t start = pos;
        while (pos < path.len && path.ptr[pos] != '/')
            pos++;
        if (is_repo_name(str_slice(path, start, pos)))
            return pos;
        pos++;
    }
    return STR_NPOS;
}

static const char *split_path(enum form form, struct str path, struct str *repo, struct str *folder)
{
    size_t cut = str_find(path, STR("//"));
    if (cut == STR_NPOS)
        cut = repo_name_end(path);
    if (cut == STR_NPOS && (form == FORM_GIT || form == FORM_FILE))
        cut = path.len;
    if (cut == STR_NPOS)
        cut = segments_end(path, 2);
    if (cut == STR_NPOS)
        return "expected host/org/repo[/folder]; write // or .git where the repository ends if it is not "
               "org/repo";
    *repo = str_trim_right(str_slice(path, 0, cut), '/');
    *folder = str_from_off(path, cut);
    return str_is_empty(str_trim_char(*repo, '/')) ? "it names no repository" : NULL;
}

/* A dot segment anywhere is a mistake or an attack. */
static bool has_dots(struct str path)
{
    struct str rest = path, part;
    while (str_next(&rest, '/', &part))
        if (str_eq(part, STR("..")) || str_eq(part, STR(".")))
            return true;
    return false;
}

static struct str without_empty_segments(struct arena *a, struct str path)
{
    char *out = arena_alloc(a, path.len + 1);
    size_t len = 0;
    struct str rest = path, part;
    while (str_next(&rest, '/', &part)) {
        if (str_is_empty(part))
            continue;
        if (len > 0)
            out[len++] = '/';
        memcpy(out + len, part.ptr, part.len);
        len += part.len;
    }
    return str_of(out, len);
}

static struct str repo_text(struct arena *a, const struct parts *p, struct str repo, struct str ssh_user)
{
    if (p->form == FORM_HTTP && !str_is_empty(ssh_user)) {
        struct str host;
        str_cut(p->host, ':', &host, NULL); /* the port was that of http */
        return str_printf(a, STR_FMT "@" STR_FMT ":" STR_FMT "%s", STR_ARG(ssh_user), STR_ARG(host),
                          STR_ARG(str_from_off(repo, 1)), str_ends(repo, STR(".git")) ? "" : ".git");
    }
    if (p->form == FORM_SCP)
        return str_printf(a, "git@" STR_FMT ":" STR_FMT, STR_ARG(p->host), STR_ARG(repo));
    if (!str_is_empty(p->user))
        return str_printf(a, STR_FMT STR_FMT "@" STR_FMT STR_FMT, STR_ARG(p->scheme), STR_ARG(p->user),
                          STR_ARG(p->host), STR_ARG(repo));
    bool is_file = p->form == FORM_FILE;
    return str_printf(a, STR_FMT "%.*s" STR_FMT, STR_ARG(p->scheme), is_file ? 0 : (int)p->host.len,
                      p->host.ptr, STR_ARG(repo));
}

struct str src_shown(struct arena *a, struct str source)
{
    bool has_scheme = str_find(source, STR("://")) != STR_NPOS;
    if (has_scheme || !src_is_git(source) || source.ptr[0] == '/' || str_starts(source, STR("git@")))
        return str_shown_url(a, source);
    struct str whole = str_cat(a, STR("https://"), source), shown = str_shown_url(a, whole);
    return shown.len == whole.len ? source : str_from_off(shown, strlen("https://"));
}

static bool has_password(struct arena *a, struct str source)
{
    struct str plain = str_slice(source, 0, str_chr(source, '?')), user, password;
    if (src_shown(a, plain).len == plain.len)
        return false; /* not even a user */
    size_t scheme = str_find(plain, STR("://")), at = str_rchr(plain, '@');
    struct str userinfo = str_slice(plain, scheme == STR_NPOS ? 0 : scheme + 3, at);
    return str_cut(userinfo, ':', &user, &password) && !str_is_empty(password);
}

bool src_check_plain(struct arena *a, struct str source, struct str *out, struct err *err)
{
    struct str shown = src_shown(a, source);
    if (has_password(a, source))
        return err_set(err, ERR_INVALID,
                       "there is a password in the address " STR_FMT ", where lists and logs would show it: leave it out, put "
                       "user_id and password in a section [git_auth.NAME] of the server's openrun.toml, and name that with "
                       "--git-auth NAME, or git_auth=\"NAME\" in a file of apps",
                       STR_ARG(shown));
    *out = shown;
    return true;
}

bool src_giturl_parse(struct arena *a, struct str source, struct str ssh_user, struct src_giturl *out,
                      struct err *err)
{
    if (source.len > URL_MAX)
        return err_set(err, ERR_INVALID, "invalid github url: it is longer than %d bytes", URL_MAX);
    for (size_t i = 0; i < source.len; i++)
        if ((unsigned char)source.ptr[i] <= 0x20 || source.ptr[i] == 0x7f)
            return err_set(err, ERR_INVALID,
                           "invalid github url: it contains white space or control characters");
    struct parts p = {0};
    struct str repo = {0}, folder = {0};
    const char *fault = str_is_empty(source) ? "it is empty" : take_apart(source, &p);
    if (!fault)
        fault = split_path(p.form, p.path, &repo, &folder);
    if (!fault && (has_dots(repo) || has_dots(folder)))
        fault = "\".\" and \"..\" are not allowed in it";
    if (!fault && !str_is_utf8(source))
        fault = "it is not valid UTF-8";
    if (fault)
        return err_set(err, ERR_INVALID, "invalid github url: " STR_FMT ": %s", STR_ARG(src_shown(a, source)),
                       fault);
    out->repo = repo_text(a, &p, repo, ssh_user);
    out->folder = without_empty_segments(a, folder);
    return true;
}
