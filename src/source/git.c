/* source/git.c: sessions, and fetching a folder of a repository with as little as the server allows.
 *
 *     PARTIAL --fails--> SHALLOW --fails--> FULL              a branch, a tag, a commit that is given
 *        '--commit refused or short--> HISTORY --fails--> FULL    any other commit
 *
 *     PARTIAL   the commit alone, files of the wanted folder only (filter blob:none, sparse checkout)
 *     SHALLOW   the commit alone, all files
 *     HISTORY   all commits, files of the wanted folder only
 *     FULL      everything
 *
 * Each step starts from an empty repository. A fault that asking for less cannot avoid (credentials, host,
 * time) ends the descent.
 * SPDX-License-Identifier: Apache-2.0 */
#include "git_int.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    REF_MAX = 250,   /* bytes of a branch's name */
    REFS_NAMED = 10, /* branches that a message lists */
    SHORT_MIN = 4,   /* digits of an abbreviated commit, as git wants them */
    SHA_LEN = 40,
};

enum level { PARTIAL, SHALLOW, HISTORY, FULL, LEVELS };

/* A repository at one commit, checked out for one folder after another. */
struct session_repo {
    struct str key;
    struct str dir; /* of the working copy, .git in it */
    struct str commit, message, branch;
    struct str_list folders; /* checked out so far; "" is everything */
    struct str_list shallow; /* those of which only the files are checked out, not the folders below */
};

struct session_head {
    struct str key;
    struct str commit;
};

/* ---- sessions ---- */

struct src_session *src_session_open(const struct src_session_opts *opts)
{
    struct src_session *s = xcalloc(1, sizeof *s);
    s->opts = *opts;
    s->opts.tmp_dir = str_dup(&s->arena, opts->tmp_dir);
    return s;
}

void src_session_close(struct src_session *s)
{
    if (!s)
        return;
    scoped_err ignored = {0}; /* nobody could do anything about it; the next start sweeps the folder */
    if (!str_is_empty(s->dir))
        fs_remove_tree(s->dir, &ignored);
    vec_foreach(m, &s->mirrors) mirror_drop(*m);
    arena_release(&s->arena);
    free(s);
}

bool git_session_dir(struct src_session *s, struct err *err)
{
    if (!str_is_empty(s->dir))
        return true;
    struct str dir, tmp = s->opts.tmp_dir;
    if (str_is_empty(tmp)) {
        if (!fs_temp_dir(&s->arena, STR("openrun-git-"), &dir, err))
            return false;
    } else {
        if (!fs_mkdir_p(tmp, 0700, err))
            return false;
        char *path = str_z(&s->arena, path_join(&s->arena, tmp, STR("openrun-git-XXXXXX")));
        if (!mkdtemp(path))
            return err_set_errno(err, errno, "making a folder for git in " STR_FMT, STR_ARG(tmp));
        dir = str_from(path);
    }
    return fs_real_path(&s->arena, dir, &s->dir, err);
}

struct str git_session_path(struct src_session *s, const char *what)
{
    return str_printf(&s->arena, STR_FMT "/%s-%u", STR_ARG(s->dir), what, s->next++);
}

static struct str session_key(struct arena *a, const struct git *g, const struct src_git_opts *o)
{
    return str_printf(a, STR_FMT "\n" STR_FMT "\n" STR_FMT "\n" STR_FMT "\n" STR_FMT "\n%d", STR_ARG(g->repo),
                      STR_ARG(o->branch), STR_ARG(o->commit), STR_ARG(g->auth ? g->auth->name : STR("")),
                      STR_ARG(g->auth ? g->auth->user : STR("")), o->full_history);
}

/* ---- what is asked for ---- */

/* A name that cannot be taken for an option, a pattern or a refspec (git check-ref-format has the rest). */
static bool is_ref_name(struct str name)
{
    if (str_is_empty(name) || name.len > REF_MAX || strchr("-/.", name.ptr[0]) || str_ends(name, STR("/")) ||
        str_find(name, STR("..")) != STR_NPOS || str_find(name, STR("@{")) != STR_NPOS)
        return false;
    for (size_t i = 0; i < name.len; i++)
        if ((unsigned char)name.ptr[i] <= 0x20 || strchr(":*?[\\^~\x7f", name.ptr[i]))
            return false;
    return true;
}

static bool is_hex(struct str s)
{
    return str_is_lower_hex(s) && s.len >= SHORT_MIN && s.len <= SHA_LEN;
}

/* One request, resolved as far as its text allows. */
struct want {
    struct git *g;
    struct str folder;
    struct str branch; /* "" with a commit */
    struct str commit; /* hex, lower case; "" without */
    struct str tag;    /* a commit that is no hash */
    bool full_history, only_files;
};

static bool read_want(struct git *g, const struct src_git_opts *o, struct want *w, struct err *err)
{
    struct str commit = str_trim(o->commit), branch = str_trim(o->branch);
    w->g = g;
    w->full_history = o->full_history;
    w->only_files = o->only_files;
    if (!str_is_empty(commit)) {
        if (!is_ref_name(commit))
            return err_set(err, ERR_INVALID, "invalid git commit \"" STR_FMT "\"", STR_ARG(commit));
        struct str lower = str_lower(g->scratch, commit);
        if (is_hex(lower))
            w->commit = lower;
        else
            w->tag = commit;
        return true;
    }
    w->branch = str_is_empty(branch) ? STR("main") : branch;
    if (!is_ref_name(w->branch))
        return err_set(err, ERR_INVALID, "invalid git branch \"" STR_FMT "\"", STR_ARG(w->branch));
    return true;
}

/* ---- listing ---- */

/* "<hash> TAB <ref>" lines. */
static bool next_ref(struct str *rest, struct str *hash, struct str *ref)
{
    struct str line;
    while (str_next(rest, '\n', &line))
        if (str_cut(line, '\t', hash, ref) && hash->len >= SHA_LEN)
            return true;
    return false;
}

static bool branch_not_found(struct git *g, struct str branch, struct err *err)
{
    scoped_err ignored = {0};
    err_set(err, ERR_NOT_FOUND, "branch \"" STR_FMT "\" not found in " STR_FMT, STR_ARG(branch),
            STR_ARG(g->repo));
    const char *args[] = {"ls-remote", "--heads", "origin", NULL};
    struct git_result r = git_run(g, g->session->dir, args, &ignored);
    if (r.fault != GIT_OK)
        return false;
    struct str rest = r.out, hash, ref;
    size_t n = 0;
    while (next_ref(&rest, &hash, &ref)) {
        if (n++ < REFS_NAMED)
            err_append(err, "%s" STR_FMT, n == 1 ? ", it has: " : ", ",
                       STR_ARG(str_from_off(ref, strlen("refs/heads/"))));
    }
    if (n > REFS_NAMED)
        err_append(err, " and %zu more", n - REFS_NAMED);
    if (n == 0)
        err_append(err, ", which is empty");
    return false;
}

/* The commit that branch or tag `name` is at: the branch of this name first, then the tag's target. */
static bool remote_head(struct git *g, struct str name, struct str *commit, struct err *err)
{
    struct arena *a = g->scratch;
    bool is_full = str_starts(name, STR("refs/"));
    const char *head = str_z(a, str_cat(a, is_full ? STR("") : STR("refs/heads/"), name));
    const char *tag = str_z(a, str_cat(a, is_full ? STR("") : STR("refs/tags/"), name));
    const char *peeled = str_z(a, str_cat(a, str_from(tag), STR("^{}")));
    const char *args[] = {"ls-remote", "origin", head, tag, peeled, NULL};
    struct git_result r = git_run(g, g->session->dir, args, err);
    if (r.fault != GIT_OK)
        return false;
    struct str rest = r.out, hash, ref;
    int best = 0;
    while (next_ref(&rest, &hash, &ref)) {
        int rank = str_eq_z(ref, head) ? 3 : str_eq_z(ref, peeled) ? 2 : str_eq_z(ref, tag) ? 1 : 0;
        if (rank > best) {
            best = rank;
            *commit = hash;
        }
    }
    return best > 0 || branch_not_found(g, name, err);
}

/* The whole hash, if an abbreviated one is that of a branch or tag; else empty. */
static struct str advertised(struct git *g, struct str prefix)
{
    scoped_err ignored = {0};
    const char *args[] = {"ls-remote", "origin", NULL};
    struct git_result r = git_run(g, g->session->dir, args, &ignored);
    struct str rest = r.fault == GIT_OK ? r.out : STR(""), hash, ref, found = STR("");
    while (next_ref(&rest, &hash, &ref)) {
        if (!str_starts(hash, prefix))
            continue;
        if (!str_is_empty(found) && !str_eq(found, hash))
            return STR("");
        found = hash;
    }
    return found;
}

/* ---- fetching ---- */

static const char all_heads[] = "+refs/heads/*:refs/openrun/heads/*";

static enum git_fault fetch(struct git *g, struct str dir, enum level level, bool deep, const char *refspec,
                            struct err *err)
{
    const char *args[16];
    size_t n = 0;
    args[n++] = "fetch";
    args[n++] = g->session->opts.on_progress ? "--progress" : "--quiet";
    args[n++] = "--no-tags";
    args[n++] = "--no-write-fetch-head";
    if ((level == PARTIAL || level == SHALLOW) && !deep)
        args[n++] = "--depth=1";
    args[n++] = level == PARTIAL || level == HISTORY ? "--filter=blob:none" : "--no-filter";
    args[n++] = "origin";
    args[n++] = refspec;
    if (refspec == all_heads)
        args[n++] = "+refs/tags/*:refs/openrun/tags/*";
    args[n] = NULL;
    return git_run(g, dir, args, err).fault;
}

/* Fetches what `w` asks for into the empty repository `dir`; *name is what to resolve there. */
static enum git_fault fetch_want(const struct want *w, struct str dir, enum level level, const char **name,
                                 struct err *err)
{
    struct git *g = w->g;
    struct arena *a = g->scratch;
    *name = "refs/openrun/head";
    if (!str_is_empty(w->commit)) {
        *name = str_z(a, w->commit);
        bool alone = level == PARTIAL || level == SHALLOW;
        return fetch(g, dir, level, false, alone ? *name : all_heads, err);
    }
    bool is_tag = !str_is_empty(w->tag);
    struct str ref = is_tag ? w->tag : w->branch;
    const char *kinds[] = {is_tag ? "refs/tags/" : "refs/heads/", is_tag ? "refs/heads/" : "refs/tags/"};
    if (str_starts(ref, STR("refs/")))
        kinds[0] = "";
    enum git_fault fault = GIT_NO_REF;
    for (size_t i = 0; i < 2 && fault == GIT_NO_REF; i++) {
        struct str spec = str_printf(a, "+%s" STR_FMT ":refs/openrun/head", kinds[i], STR_ARG(ref));
        fault = fetch(g, dir, level, w->full_history, str_z(a, spec), err);
    }
    return fault;
}

/* Text from a repository, which may be in any encoding, as UTF-8. */
static struct str as_utf8(struct arena *a, struct str s)
{
    if (str_is_utf8(s))
        return str_dup(a, s);
    char *out = arena_memdup(a, s.ptr, s.len);
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)out[i] >= 0x80)
            out[i] = '?';
    return str_of(out, s.len);
}

/* Reads commit and message of `name` into `repo`. */
static enum git_fault resolve(struct git *g, struct str dir, const char *name, struct session_repo *repo,
                              struct err *err)
{
    struct arena *a = &g->session->arena;
    const char *commit = str_z(g->scratch, str_printf(g->scratch, "%s^{commit}", name));
    const char *args[] = {"rev-list", "--max-count=1", "--format=%B", commit, "--", NULL};
    struct git_result r = git_run(g, dir, args, err);
    if (r.fault != GIT_OK)
        return GIT_NO_OBJECT;
    struct str first, rest;
    str_cut(r.out, '\n', &first, &rest);
    repo->commit = str_dup(a, str_from_off(first, strlen("commit ")));
    repo->message = as_utf8(a, str_trim_right(rest, '\n'));
    return GIT_OK;
}

/* A line of .git/info/sparse-checkout: `before`, the folder, `after` (gitignore(5)). */
static void add_pattern(struct buf *b, const char *before, struct str folder, const char *after)
{
    buf_add_z(b, before);
    for (size_t i = 0; i < folder.len; i++) {
        if (strchr("*?[]\\ !#", folder.ptr[i]))
            buf_add_char(b, '\\');
        buf_add_char(b, folder.ptr[i]);
    }
    buf_add_z(b, folder.len ? "/" : "");
    buf_add_z(b, after);
    buf_add_char(b, '\n');
}

static bool write_sparse(struct git *g, const struct session_repo *repo, struct err *err)
{
    scoped_buf text = BUF_INIT(1 << 20);
    bool is_whole = false;
    for (size_t i = 0; i < repo->folders.len; i++)
        is_whole = is_whole || str_is_empty(repo->folders.items[i]);
    if (is_whole)
        buf_add_z(&text, "/*\n");
    for (size_t i = 0; i < repo->shallow.len && !is_whole; i++) {
        add_pattern(&text, "/", repo->shallow.items[i], "*");
        add_pattern(&text, "!/", repo->shallow.items[i], "*/");
    }
    for (size_t i = 0; i < repo->folders.len && !is_whole; i++)
        add_pattern(&text, "/", repo->folders.items[i], "");
    if (text.is_full)
        return err_set(err, ERR_TOO_LARGE, "too many folders of " STR_FMT " in one operation",
                       STR_ARG(g->repo));
    struct str info = path_join(g->scratch, repo->dir, STR(".git/info"));
    return fs_mkdir_p(info, 0700, err) &&
           fs_write_atomic(path_join(g->scratch, info, STR("sparse-checkout")), buf_str(&text), 0600, err);
}

/* Checks out `folder` besides what is checked out already. An operation that wants a second folder wants
 * more, as a rule: then everything comes in one fetch, rather than each folder in its own. */
static enum git_fault check_out(struct git *g, struct session_repo *repo, const struct want *w,
                                struct err *err)
{
    struct str folder = w->folder;
    struct str_list *list = w->only_files ? &repo->shallow : &repo->folders;
    if (!w->only_files && repo->folders.len > 0)
        folder = (struct str){0};
    str_list_add(&g->session->arena, list, str_dup(&g->session->arena, folder));
    if (!write_sparse(g, repo, err))
        return GIT_FINAL;
    const char *commit = str_z(g->scratch, repo->commit);
    const char *args[] = {"read-tree", "-m", "-u", commit, NULL};
    struct git_result r = git_run(g, repo->dir, args, err);
    if (r.fault != GIT_OK)
        list->len--;
    return r.fault;
}

static enum git_fault folder_exists(struct git *g, const struct session_repo *repo, struct str folder,
                                    struct err *err)
{
    if (str_is_empty(folder))
        return GIT_OK;
    scoped_err ignored = {0};
    const char *object = str_z(
        g->scratch, str_printf(g->scratch, STR_FMT ":" STR_FMT, STR_ARG(repo->commit), STR_ARG(folder)));
    const char *args[] = {"cat-file", "-t", object, NULL};
    struct git_result r = git_run(g, repo->dir, args, &ignored);
    if (r.fault == GIT_OK && str_starts(r.out, STR("tree")))
        return GIT_OK;
    if (ignored.code == ERR_CANCELLED || ignored.code == ERR_TIMEOUT) {
        err_move(err, &ignored);
        return GIT_FINAL;
    }
    err_set(err, ERR_NOT_FOUND, "folder \"" STR_FMT "\" %s in " STR_FMT " at %.12s", STR_ARG(folder),
            r.fault == GIT_OK ? "is not a folder" : "not found", STR_ARG(g->repo), repo->commit.ptr);
    return GIT_FINAL;
}

/* One step of the descent. On GIT_OK, *repo is complete and `w->folder` checked out. */
static enum git_fault try_level(const struct want *w, enum level level, struct session_repo *repo,
                                struct err *err)
{
    struct git *g = w->g;
    *repo = (struct session_repo){.dir = git_session_path(g->session, "repo"),
                                  .branch = str_dup(&g->session->arena, w->branch)};
    const char *dir = str_z(g->scratch, repo->dir), *name;
    const char *args[] = {"init", "--quiet", "--template=", dir, NULL};
    enum git_fault fault = git_run(g, g->session->dir, args, err).fault;
    if (fault != GIT_OK)
        return GIT_FINAL;
    fault = fetch_want(w, repo->dir, level, &name, err);
    if (fault == GIT_OK)
        fault = resolve(g, repo->dir, name, repo, err);
    if (fault == GIT_OK)
        fault = folder_exists(g, repo, w->folder, err);
    if (fault == GIT_OK)
        fault = check_out(g, repo, w, err);
    if (fault != GIT_OK) {
        scoped_err ignored = {0};
        fs_remove_tree(repo->dir, &ignored);
    }
    return fault;
}

static bool not_found(const struct want *w, struct err *err)
{
    struct git *g = w->g;
    if (!str_is_empty(w->branch))
        return branch_not_found(g, w->branch, err);
    struct str what = str_is_empty(w->commit) ? w->tag : w->commit;
    return err_set(err, ERR_NOT_FOUND, "commit \"" STR_FMT "\" not found in " STR_FMT "%s", STR_ARG(what),
                   STR_ARG(g->repo), what.len < SHA_LEN ? ", or the abbreviation fits several" : "");
}

/* ---- through a mirror ---- */

static struct str mirror_key(struct arena *a, const struct git *g)
{
    return str_printf(a, STR_FMT "\n" STR_FMT "\n" STR_FMT, STR_ARG(g->repo),
                      STR_ARG(g->auth ? g->auth->name : STR("")), STR_ARG(g->auth ? g->auth->user : STR("")));
}

/* True if the mirror has the commit already, whole: what is in it was fetched with all its files. */
static bool mirror_has(struct git *g, struct str dir, struct str commit)
{
    struct src_session_opts *opts = &g->session->opts, before = *opts;
    scoped_err ignored = {0};
    const char *object = str_z(g->scratch, str_cat(g->scratch, commit, STR("^{commit}")));
    const char *args[] = {"cat-file", "-e", object, NULL};
    opts->on_progress = NULL; /* that it has not is nothing to tell */
    bool has = !str_is_empty(commit) && git_run(g, dir, args, &ignored).fault == GIT_OK;
    opts->on_progress = before.on_progress;
    return has;
}

/* Fetches what `w` asks for into the mirror; *name is what to resolve there. Each branch has a ref of its own, so that
 * the next fetch can say what is there. */
static enum git_fault mirror_fetch(const struct want *w, struct str dir, const char **name, struct err *err)
{
    struct git *g = w->g;
    struct arena *a = g->scratch;
    bool is_tag = !str_is_empty(w->tag);
    struct str ref = !str_is_empty(w->commit) ? w->commit : is_tag ? w->tag : w->branch;
    struct str to = str_printf(a, "refs/openrun/%.16s", sha256_hex(a, ref).ptr);
    const char *kinds[] = {is_tag ? "refs/tags/" : "refs/heads/", is_tag ? "refs/heads/" : "refs/tags/"};
    bool is_whole = !str_is_empty(w->commit) || str_starts(ref, STR("refs/"));
    enum git_fault fault = GIT_NO_REF;
    *name = str_z(a, to);
    for (size_t i = 0; i < (is_whole ? 1 : 2) && fault == GIT_NO_REF; i++) {
        struct str spec = str_printf(a, "+%s" STR_FMT ":" STR_FMT, is_whole ? "" : kinds[i], STR_ARG(ref), STR_ARG(to));
        fault = fetch(g, dir, SHALLOW, false, str_z(a, spec), err);
    }
    return fault;
}

/* A working copy without objects of its own. */
static enum git_fault borrow(struct git *g, struct str mirror, struct session_repo *repo, struct err *err)
{
    struct arena *a = g->scratch;
    struct str shallow = path_join(a, mirror, STR(".git/shallow")), text;
    repo->dir = git_session_path(g->session, "repo");
    const char *args[] = {"init", "--quiet", "--template=", str_z(a, repo->dir), NULL};
    if (git_run(g, g->session->dir, args, err).fault != GIT_OK)
        return GIT_FINAL;
    struct str objects = path_join(a, mirror, STR(".git/objects\n")), git_dir = path_join(a, repo->dir, STR(".git"));
    if (!fs_mkdir_p(path_join(a, git_dir, STR("objects/info")), 0700, err) ||
        !fs_write_atomic(path_join(a, git_dir, STR("objects/info/alternates")), objects, 0600, err))
        return GIT_FINAL;
    bool ok = !fs_exists(shallow) || (fs_read_all(a, shallow, 16 << 20, &text, err) &&
                                      fs_write_atomic(path_join(a, git_dir, STR("shallow")), text, 0600, err));
    return ok ? GIT_OK : GIT_FINAL;
}

/* With the mirror for us alone. `head` is the commit that the branch is known to be at, or empty. */
static enum git_fault use_mirror(const struct want *w, struct str dir, struct str head, struct session_repo *repo,
                                 bool *has_fetched, struct err *err)
{
    struct git *g = w->g;
    const char *name, *args[] = {"init", "--quiet", "--template=", str_z(g->scratch, dir), NULL};
    struct str known = str_is_empty(w->commit) ? head : w->commit;
    if (!fs_exists(dir) && git_run(g, g->session->dir, args, err).fault != GIT_OK)
        return GIT_OTHER;
    *repo = (struct session_repo){.branch = str_dup(&g->session->arena, w->branch)};
    *has_fetched = !mirror_has(g, dir, known);
    name = str_z(g->scratch, known);
    enum git_fault fault = *has_fetched ? mirror_fetch(w, dir, &name, err) : GIT_OK;
    if (fault == GIT_OK)
        fault = resolve(g, dir, name, repo, err);
    return fault == GIT_OK ? borrow(g, dir, repo, err) : fault;
}

/* GIT_OTHER: it has to be done without a mirror. */
static enum git_fault fetch_through_mirror(const struct want *w, struct str head, struct session_repo *repo,
                                           struct err *err)
{
    struct git *g = w->g;
    struct src_session *s = g->session;
    bool is_short = !str_is_empty(w->commit) && w->commit.len < SHA_LEN, has_fetched = false;
    struct mirror *m = is_short || w->full_history
                           ? NULL
                           : mirror_take(s->opts.cache, mirror_key(g->scratch, g), s->opts.cancel);
    if (!m)
        return GIT_OTHER;
    enum git_fault fault = use_mirror(w, mirror_dir(m), head, repo, &has_fetched, err);
    /* Anything else may be the mirror's fault. */
    bool is_told = fault == GIT_FINAL &&
                   (err->code == ERR_CANCELLED || err->code == ERR_TIMEOUT || err->code == ERR_UNAUTHORIZED);
    bool is_bad = fault != GIT_OK && fault != GIT_NO_REF && !is_told;
    mirror_share(m, has_fetched, is_bad);
    if (fault == GIT_OK)
        *vec_push(&s->arena, &s->mirrors) = m;
    else
        mirror_drop(m);
    if (fault == GIT_OK)
        fault = folder_exists(g, repo, w->folder, err);
    if (fault == GIT_OK)
        fault = check_out(g, repo, w, err);
    return is_bad ? GIT_OTHER : fault;
}

/* The descent of the picture above. */
static bool fetch_repo(struct want *w, struct str head, struct session_repo *repo, struct err *err)
{
    enum level level = PARTIAL;
    scoped_err own = {0};
    enum git_fault cached = fetch_through_mirror(w, head, repo, &own);
    if (cached == GIT_OK)
        return true;
    if (cached == GIT_NO_REF)
        return not_found(w, err);
    if (cached == GIT_FINAL)
        return err_move(err, &own);
    if (!str_is_empty(w->commit) && w->commit.len < SHA_LEN) {
        struct str whole = advertised(w->g, w->commit);
        if (str_is_empty(whole))
            level = HISTORY;
        else
            w->commit = whole;
    }
    for (;;) {
        scoped_err why = {0};
        enum git_fault fault = try_level(w, level, repo, &why);
        if (fault == GIT_OK)
            return true;
        if (fault == GIT_NO_REF || (fault == GIT_NO_OBJECT && level >= HISTORY))
            return not_found(w, err);
        if (fault == GIT_FINAL || level == FULL)
            return err_move(err, &why);
        if (fault == GIT_NO_OBJECT)
            level = HISTORY;
        else
            level = level == PARTIAL ? SHALLOW : FULL;
    }
}

/* Submodules below the folder: they are empty folders in a checkout. */
static void warn_submodules(struct git *g, const struct session_repo *repo, struct str folder,
                            struct arena *a, struct str_list *warnings)
{
    scoped_err ignored = {0};
    struct str modules = path_join(g->scratch, repo->dir, STR(".gitmodules"));
    bool is_whole = false;
    for (size_t i = 0; i < repo->folders.len; i++)
        is_whole |= str_is_empty(repo->folders.items[i]);
    if (is_whole && !fs_exists(modules))
        return; /* there are none, and many folders may be asked for */
    if (g->env.len == 0 && !git_prepare(g, &ignored))
        return;
    const char *commit = str_z(g->scratch, repo->commit);
    const char *under = str_is_empty(folder) ? "." : str_z(g->scratch, folder);
    const char *args[] = {"--literal-pathspecs", "ls-tree", "-r", "-d", "-z", commit, "--", under, NULL};
    struct git_result r = git_run(g, repo->dir, args, &ignored);
    struct str rest = r.fault == GIT_OK ? r.out : STR(""), line, head, path;
    size_t n = 0;
    while (!str_is_empty(rest) && str_next(&rest, '\0', &line))
        if (str_starts(line, STR("160000 ")) && str_cut(line, '\t', &head, &path) && n++ < REFS_NAMED)
            str_list_add(
                a, warnings,
                str_printf(a, STR_FMT " is a git submodule; submodules are not fetched", STR_ARG(path)));
}

static struct session_repo *find_repo(const struct src_session *s, struct str key)
{
    for (size_t i = 0; i < s->repos.len; i++)
        if (str_eq(s->repos.items[i]->key, key))
            return s->repos.items[i];
    return NULL;
}

/* What the session has been told, so that all of an operation sees the same commit; empty if it has not asked. */
static struct str known_head(const struct src_session *s, struct str key)
{
    for (size_t i = 0; i < s->heads.len; i++)
        if (str_eq(s->heads.items[i]->key, key))
            return s->heads.items[i]->commit;
    return (struct str){0};
}

static bool has_folder(const struct session_repo *repo, struct str folder, bool only_files)
{
    if (only_files && str_list_has(&repo->shallow, folder))
        return true;
    for (size_t i = 0; i < repo->folders.len; i++) {
        struct str has = repo->folders.items[i];
        if (str_is_empty(has) || path_is_within(has, folder))
            return true;
    }
    return false;
}

/* Parses the source. What the session has already is found with that; git_prepare() is for asking the server.
 */
static bool start(struct git *g, const struct src_git_opts *o, struct str *folder, struct err *err)
{
    struct src_giturl url;
    struct str user = STR("");
    g->auth = o->auth;
    bool is_key = o->auth && (!str_is_empty(o->auth->private_key) || !str_is_empty(o->auth->key_file));
    if (is_key)
        user = str_is_empty(o->auth->user) ? STR("git") : o->auth->user;
    if (!src_giturl_parse(g->scratch, o->url, user, &url, err))
        return false;
    g->repo = url.repo;
    *folder = url.folder;
    return true;
}

/* Makes sure that the session has the repository with the folder checked out. */
static bool get_repo(struct git *g, struct want *w, struct str key, struct session_repo **out,
                     struct err *err)
{
    struct src_session *s = g->session;
    struct session_repo *repo = *out = find_repo(s, key);
    if (repo && has_folder(repo, w->folder, w->only_files)) {
        /* All that there is has come: the folder is there, or nowhere. */
        if (str_is_empty(w->folder) || w->only_files ||
            fs_is_dir(path_join(g->scratch, repo->dir, w->folder)))
            return true;
        return git_prepare(g, err) && folder_exists(g, repo, w->folder, err) == GIT_OK;
    }
    if (!git_prepare(g, err))
        return false;
    if (repo)
        return folder_exists(g, repo, w->folder, err) == GIT_OK && check_out(g, repo, w, err) == GIT_OK;
    repo = arena_new(&s->arena, struct session_repo);
    if (!fetch_repo(w, known_head(s, key), repo, err))
        return false;
    if (!str_is_empty(repo->branch))
        cache_head_put(s->opts.cache, key, repo->commit);
    repo->key = key;
    *vec_push(&s->arena, &s->repos) = repo;
    *out = repo;
    return true;
}

bool src_git_fetch(struct src_session *s, struct arena *a, const struct src_git_opts *opts,
                   struct src_checkout *out, struct err *err)
{
    scoped_arena scratch = {0};
    struct git g = {.session = s, .scratch = &scratch};
    struct want w = {0};
    if (!start(&g, opts, &w.folder, err) || !read_want(&g, opts, &w, err))
        return false;
    struct session_repo *repo;
    if (!get_repo(&g, &w, session_key(&s->arena, &g, opts), &repo, err))
        return false;
    struct src_checkout c = {
        .dir = str_is_empty(w.folder) ? str_dup(a, repo->dir) : path_join(a, repo->dir, w.folder),
        .commit = str_dup(a, repo->commit),
        .message = str_dup(a, repo->message),
        .branch = str_dup(a, repo->branch),
    };
    if (!w.only_files)
        warn_submodules(&g, repo, w.folder, a, &c.warnings);
    *out = c;
    return true;
}

bool src_git_remote_head(struct src_session *s, struct arena *a, const struct src_git_opts *opts,
                         struct str *commit, struct err *err)
{
    scoped_arena scratch = {0};
    struct git g = {.session = s, .scratch = &scratch};
    struct want w = {0};
    struct src_git_opts branch_only = *opts;
    branch_only.commit = STR("");
    if (!start(&g, &branch_only, &w.folder, err) || !read_want(&g, &branch_only, &w, err))
        return false;
    struct str key = session_key(&s->arena, &g, &branch_only), found;
    struct str known = known_head(s, key);
    if (!str_is_empty(known)) {
        *commit = str_dup(a, known);
        return true;
    }
    /* An operation sees a branch as it has fetched it. */
    const struct session_repo *repo = find_repo(s, key);
    if (repo) {
        *commit = str_dup(a, repo->commit);
        return true;
    }
    if (s->opts.is_fresh || !cache_head_get(s->opts.cache, key, &scratch, &found)) {
        if (!git_prepare(&g, err) || !remote_head(&g, w.branch, &found, err))
            return false;
        cache_head_put(s->opts.cache, key, found);
    }
    struct session_head *head = arena_new(&s->arena, struct session_head);
    head->key = key;
    head->commit = str_dup(&s->arena, found);
    *vec_push(&s->arena, &s->heads) = head;
    *commit = str_dup(a, found);
    return true;
}

/* ---- a working copy that stays ---- */

/* The branch and all its history, or for a commit all branches and tags. *name is what to check out. */
static enum git_fault fetch_clone(const struct want *w, struct str dir, const char **name, bool *is_branch,
                                  struct err *err)
{
    struct git *g = w->g;
    const char *all[] = {"fetch", "--quiet", "--no-write-fetch-head", "origin", "+refs/heads/*:refs/remotes/origin/*",
                         "+refs/tags/*:refs/tags/*", NULL};
    *is_branch = !str_is_empty(w->branch);
    if (!*is_branch) {
        *name = str_z(g->scratch, str_is_empty(w->commit) ? w->tag : w->commit);
        return git_run(g, dir, all, err).fault;
    }
    struct str spec = str_printf(g->scratch, "+refs/heads/" STR_FMT ":refs/remotes/origin/" STR_FMT, STR_ARG(w->branch),
                                 STR_ARG(w->branch));
    const char *args[] = {"fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "origin", str_z(g->scratch, spec), NULL};
    *name = str_z(g->scratch, str_cat(g->scratch, STR("refs/remotes/origin/"), w->branch));
    enum git_fault fault = git_run(g, dir, args, err).fault;
    if (fault != GIT_NO_REF)
        return fault;
    struct str tag = str_cat(g->scratch, STR("refs/tags/"), w->branch);
    spec = str_printf(g->scratch, "+" STR_FMT ":" STR_FMT, STR_ARG(tag), STR_ARG(tag));
    const char *for_tag[] = {"fetch", "--quiet", "--no-write-fetch-head", "origin", str_z(g->scratch, spec), NULL};
    *name = str_z(g->scratch, tag);
    *is_branch = false;
    return git_run(g, dir, for_tag, err).fault;
}

/* What `git clone` leaves in the configuration, so that `git pull` works there. */
static bool configure_clone(const struct want *w, struct str dir, bool is_branch, struct err *err)
{
    struct git *g = w->g;
    struct arena *a = g->scratch;
    struct str branch = is_branch ? w->branch : STR("*");
    const char *settings[][2] = {
        {"remote.origin.url", str_z(a, g->repo)},
        {"remote.origin.fetch", str_z(a, str_printf(a, "+refs/heads/" STR_FMT ":refs/remotes/origin/" STR_FMT,
                                                    STR_ARG(branch), STR_ARG(branch)))},
        {str_z(a, str_printf(a, "branch." STR_FMT ".remote", STR_ARG(branch))), "origin"},
        {str_z(a, str_printf(a, "branch." STR_FMT ".merge", STR_ARG(branch))),
         str_z(a, str_cat(a, STR("refs/heads/"), branch))},
    };
    for (size_t i = 0; i < (is_branch ? ARRAY_LEN(settings) : 2); i++) {
        const char *args[] = {"config", "--local", settings[i][0], settings[i][1], NULL};
        if (git_run(g, dir, args, err).fault != GIT_OK)
            return false;
    }
    return true;
}

/* All files, although the calls made here are set up for sparse working copies. */
static bool check_out_clone(const struct want *w, struct str dir, const char *name, bool is_branch, struct err *err)
{
    struct git *g = w->g;
    struct str info = path_join(g->scratch, dir, STR(".git/info"));
    struct str sparse = path_join(g->scratch, info, STR("sparse-checkout"));
    const char *commit = str_z(g->scratch, str_printf(g->scratch, "%s^{commit}", name));
    const char *for_branch[] = {"checkout", "--quiet", "--force", "-B", str_z(g->scratch, w->branch), name, "--", NULL};
    const char *for_commit[] = {"checkout", "--quiet", "--force", "--detach", commit, "--", NULL};
    if (!fs_mkdir_p(info, 0700, err) || !fs_write_atomic(sparse, STR("/*\n"), 0600, err))
        return false;
    bool ok = git_run(g, dir, is_branch ? for_branch : for_commit, err).fault == GIT_OK;
    scoped_err ignored = {0};
    fs_remove_tree(sparse, &ignored);
    return ok;
}

bool src_git_clone(struct src_session *s, struct arena *a, const struct src_git_opts *opts, struct str dir,
                   struct src_checkout *out, struct err *err)
{
    scoped_arena scratch = {0};
    struct git g = {.session = s, .scratch = &scratch};
    struct want w = {0};
    struct session_repo repo = {.dir = dir};
    const char *init[] = {"init", "--quiet", "--template=", str_z(&scratch, dir), NULL}, *name;
    bool is_branch;
    if (!start(&g, opts, &w.folder, err) || !read_want(&g, opts, &w, err) || !git_prepare(&g, err) ||
        git_run(&g, s->dir, init, err).fault != GIT_OK)
        return false;
    enum git_fault fault = fetch_clone(&w, dir, &name, &is_branch, err);
    if (fault == GIT_NO_REF)
        return not_found(&w, err);
    if (fault != GIT_OK)
        return false;
    if (resolve(&g, dir, name, &repo, err) != GIT_OK)
        return not_found(&w, err);
    if (folder_exists(&g, &repo, w.folder, err) != GIT_OK || !configure_clone(&w, dir, is_branch, err) ||
        !check_out_clone(&w, dir, name, is_branch, err))
        return false;
    *out = (struct src_checkout){
        .dir = str_is_empty(w.folder) ? str_dup(a, dir) : path_join(a, dir, w.folder),
        .commit = str_dup(a, repo.commit),
        .message = str_dup(a, repo.message),
        .branch = str_dup(a, w.branch),
    };
    return true;
}
