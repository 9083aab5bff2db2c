/* source/source.h: where app code comes from: app paths and globs, file sets, git, app specs.
 *
 * Four parts, from pure to worldly:
 *   app paths   "example.com:/x", their checks, stage locations, overlap, globs over them
 *   file sets   a sorted list of files with their content hashes; read lazily, overlaid, hashed, extracted
 *   git         any repository that the `git` program can reach, fetched as little as the server allows
 *   app specs   folders of files that are merged under an app's source, bundled in the binary
 *
 * Nothing here knows of the metadata store. Functions that touch disk or network block: job threads only.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SOURCE_SOURCE_H
#define SOURCE_SOURCE_H

#include "base.h"

#include <stdatomic.h>

/* ---- app paths ------------------------------------------------------------------------------------ */

#define SRC_APPPATH_MAX 1024 /* bytes of a path; a domain has at most 253 */
#define SRC_APPPATH_DEPTH 32 /* segments of a path: the router keeps a bit for each depth */

/* Where an app is served. */
struct src_apppath {
    struct str domain; /* empty: the server's default domain */
    struct str path;   /* starts with '/', no '/' at the end except for the root itself */
};

/* Parses "[domain:]path". Slashes at the end go, an empty path is "/". Syntax only: an app that exists
 * is looked up with this. Slices of *out point into `text`. Fails (400) on more than one ':' or a path
 * that does not start with '/'. */
bool src_apppath_parse(struct str text, struct src_apppath *out, struct err *err);

/* What a new app's path must fulfil beyond its syntax: no dot segments, no "//", no control characters,
 * none of "?#%\", no reserved prefix (/_openrun), no "_cl_" in the last segment. */
bool src_apppath_check(const struct src_apppath *p, struct err *err);

/* A domain as it is stored: lower case, "maps." completed to "maps.<default_domain>". Empty stays empty.
 * Fails (400) if it is no host name, or relative while `default_domain` is empty. */
bool src_domain_normalize(struct arena *a, struct str domain, struct str default_domain, struct str *out,
                          struct err *err);

/* The whole of what create does with a path: parse, normalize the domain, check. */
bool src_apppath_new(struct arena *a, struct str text, struct str default_domain, struct src_apppath *out,
                     struct err *err);

/* "path" or "domain:path". */
struct str src_apppath_str(struct arena *a, const struct src_apppath *p);
bool src_apppath_eq(const struct src_apppath *x, const struct src_apppath *y);

/* True if one equals or contains the other at a '/' boundary in the same domain. An empty domain is
 * `default_domain`; domains compare without case. */
bool src_apppath_overlaps(const struct src_apppath *x, const struct src_apppath *y,
                          struct str default_domain);

/* Where the staging twin of an app is served.
 *   stage_at       "domain" (also when empty), "path", or a domain; what the request or the server says
 *   stage_domain   system.default_stage_domain, put before the app's domain; empty: "stage"
 * Fails (400) on a bad domain and when the stage location would be the app's own. */
bool src_apppath_stage(struct arena *a, const struct src_apppath *p, struct str stage_at,
                       struct str stage_domain, struct str default_domain, struct src_apppath *out,
                       struct err *err);

/* "https://host:port/path"; port 0 leaves it out. The root app gives "https://host:port/". */
struct str src_apppath_url(struct arena *a, const struct src_apppath *p, const char *scheme,
                           struct str default_domain, unsigned port);

/* ---- globs ---------------------------------------------------------------------------------------- */

/* A compiled path pattern. `*` any run of characters but '/', `?` one, `[a-z]` `[^x]` `[!x]` classes,
 * `{a,b}` alternatives, `\c` literal, `**` as a whole segment any number of segments. Matching is of the
 * whole text, sees UTF-8 characters, and costs at most pattern length times text length. */
struct src_glob;
#define SRC_GLOB_MAX 1024 /* bytes of a pattern */

/* NULL (400) when the pattern is malformed or longer than SRC_GLOB_MAX. */
struct src_glob *src_glob_compile(struct arena *a, struct str pattern, struct err *err);
bool src_glob_match(const struct src_glob *g, struct str text);
/* Compiles and matches once; a malformed pattern matches nothing. */
bool src_glob_match_once(struct str pattern, struct str text);

/* Selects apps: "[domain:]path", either part a pattern; "", "all" and "*:**" select every app. */
struct src_appglob {
    bool is_all;
    bool is_domain_empty;    /* only apps without a domain of their own */
    struct src_glob *domain; /* matches "/" + domain */
    struct src_glob *path;
};
bool src_appglob_compile(struct arena *a, struct str text, struct src_appglob *out, struct err *err);
bool src_appglob_match(const struct src_appglob *g, const struct src_apppath *p);

/* ---- file sets ------------------------------------------------------------------------------------ */

struct src_file;

/* How the content of a file that is not in memory is got. Lives as long as the files that name it. */
struct src_reader {
    /* The whole content in `a`. Called on job threads; must verify nothing, the caller checks the hash. */
    bool (*read)(const struct src_reader *self, const struct src_file *f, struct arena *a, struct str *out,
                 struct err *err);
};

struct src_file {
    struct str name; /* relative, '/'-separated, clean */
    struct str sha;  /* hex SHA-256 of the content, 64 bytes */
    uint64_t size;
    bool is_spec;                    /* comes from the app spec, not from the source */
    const char *content;             /* [size] in memory; NULL: ask `reader` */
    const struct src_reader *reader; /* NULL when `content` is set */
};

/* Files sorted bytewise by name, each name once. Plain data in an arena. */
struct src_files {
    struct src_file *items;
    size_t len;
    uint64_t total;           /* bytes of all contents */
    struct str_list warnings; /* sentences for the user: LFS pointers, submodules */
};

struct src_limits {
    size_t max_files;
    uint64_t max_total; /* bytes */
    uint64_t max_file;  /* bytes */
};
#define SRC_LIMITS_DEFAULT ((struct src_limits){100000, UINT64_C(1) << 30, UINT64_C(1) << 29})

/* Reads the folder `dir` as an app source: every regular file below it, dot files included. A top-level
 * `.git` is skipped, and so are `.git` folders deeper; sockets, devices and fifos too; and what the folder's
 * .openrunignore leaves out, in the manner of .gitignore. Fails if `dir` is
 * missing or no folder, on any symbolic link, on names that are not UTF-8 or hold a backslash, and past a
 * limit (NULL: the default ones). Contents stay on disk and are read again on use; if a file has changed
 * by then, that read fails. Zero files is not an error here. */
bool src_files_scan(struct arena *a, struct str dir, const struct src_limits *limits, struct src_files *out,
                    struct err *err);

/* Makes a set from items in any order (rows of the store, files in memory): checks and cleans names,
 * sorts, refuses duplicates. Items without `sha` must have `content`; their hash is computed. */
bool src_files_make(struct arena *a, const struct src_file *items, size_t len, struct src_files *out,
                    struct err *err);

/* The files of `source`, and those of `spec` whose names `source` lacks, marked `is_spec`. */
void src_files_overlay(struct arena *a, const struct src_files *source, const struct src_files *spec,
                       struct src_files *out);

/* NULL when there is none. The name is compared as it is; see src_name_clean(). */
const struct src_file *src_files_find(const struct src_files *s, struct str name);

/* The content of one file, checked against its hash. In `a`, or borrowed from the set. */
bool src_file_read(struct arena *a, const struct src_file *f, struct str *out, struct err *err);
/* Finds and reads; 404 `file NAME not found` without it. */
bool src_files_read(struct arena *a, const struct src_files *s, struct str name, struct str *out,
                    struct err *err);

/* The files whose names match. With `only_source`, spec files are left out. */
void src_files_glob(struct arena *a, const struct src_files *s, const struct src_glob *g, bool only_source,
                    struct src_files *out);

/* Lower-case hex SHA-256 over "name NUL sha NUL" of the sorted source files, then of the spec files.
 * When the source has a top-level *.go.html, names that match one of `exclude` do not count, so that a
 * change of pages alone rebuilds nothing. NULL, 0: SRC_HASH_EXCLUDE. Fails on a malformed pattern. */
bool src_files_hash(struct arena *a, const struct src_files *s, const struct str *exclude, size_t exclude_len,
                    struct str *out, struct err *err);
extern const struct str SRC_HASH_EXCLUDE[];
extern const size_t SRC_HASH_EXCLUDE_LEN;

/* Writes all files under `dir`, which is made if missing, 0700; a file that exists is an error. Folders
 * below are 0755, files 0644, and those that start with "#!" or as ELF programs 0755: container builds copy
 * modes, and the store does not keep them. After a failure some files are there: the caller removes `dir`. */
bool src_files_extract(const struct src_files *s, struct str dir, struct err *err);
/* The same for a folder that stays: makes it hold these files and nothing else, touching only those that have changed since
 * the last time ("<dir>.index" says what it held). Returns a descriptor that the caller closes when it no longer reads
 * the folder, which nobody else can change till then; or -1, with ERR_CONFLICT when somebody reads it. */
int src_files_keep(const struct src_files *s, struct str dir, struct err *err);

/* A file name from outside made relative and clean: '\' becomes '/', "." and empty segments go.
 * Fails (400) on "..", absolute names, drive letters, NUL, and an empty result. */
bool src_name_clean(struct arena *a, struct str name, struct str *out, struct err *err);

/* Reads a file below `dir` (clean relative name), never through a symbolic link, at most `max` bytes.
 * For sources that are served from disk. */
bool src_disk_read(struct arena *a, struct str dir, struct str name, uint64_t max, struct str *out,
                   struct err *err);
/* The same, opened: a read-only descriptor of a regular file that the caller closes, or -1. */
int src_disk_open(struct str dir, struct str name, struct err *err);

/* ---- git ------------------------------------------------------------------------------------------ */

/* A source that is a git repository rather than a local path: git@..., http(s)://, ssh://, git://,
 * file://, "github.com/org/repo...", and absolute paths of a bare repository, /srv/x.git, /srv/x.git//sub. */
bool src_is_git(struct str source);

/* `source` as it may be shown: without user, password and query, none of which is used (ssh keeps the user). A slice or in
 * `a`. */
struct str src_shown(struct arena *a, struct str source);
/* `source` as it may be stored, which is src_shown(); fails (400) on a password, saying where it belongs. */
bool src_check_plain(struct arena *a, struct str source, struct str *out, struct err *err);

struct src_giturl {
    struct str repo;   /* what git is given; never holds a password */
    struct str folder; /* the app's root in it, clean, "" for the top */
};

/* Splits a git source into repository and folder. The first rule that fits:
 *   "//" after the host           repository before, folder after
 *   a segment that ends in .git   ends the repository
 *   https, http, ssh, git@        org/repo is the repository, the rest the folder
 *   git, file, absolute path      all of it is the repository
 * A missing scheme is https. User, query and fragment are dropped (ssh keeps the user). With `ssh_user`
 * (the selected credentials are a key) an http form becomes ssh_user@host:org/repo.git. Fails (400) saying
 * what is missing. */
bool src_giturl_parse(struct arena *a, struct str source, struct str ssh_user, struct src_giturl *out,
                      struct err *err);

/* How to sign in; all empty: nobody. With a key ssh is used, otherwise user and password over http(s). */
struct src_git_auth {
    struct str name;        /* of the git_auth entry, for messages */
    struct str user;        /* ssh: default "git" */
    struct str password;    /* of the http user (or a token), or of the key */
    struct str private_key; /* PEM text; wins over the file */
    struct str key_file;
};

/* What operations share: mirrors of repositories, so that only what is new is fetched, and heads of branches. For any
 * number of threads; outlives its sessions. */
struct src_cache;
struct src_cache_opts {
    struct str dir;       /* its own folder: what is in it goes */
    size_t max_mirrors;   /* 0: none are kept */
    int64_t head_ttl_ms;  /* how long a head is believed; 0: not at all */
};
/* NULL with err set when `dir` cannot be emptied and made. */
struct src_cache *src_cache_open(const struct src_cache_opts *opts, struct err *err);
/* Removes the mirrors. NULL is fine. */
void src_cache_close(struct src_cache *c);

/* One operation's checkouts: several apps of one repository cost one fetch. Used by one thread. */
struct src_session;

struct src_session_opts {
    struct str tmp_dir;  /* folder for checkouts, made if missing; empty: $TMPDIR or /tmp */
    struct src_cache *cache; /* NULL: none */
    bool is_fresh;       /* heads of branches are asked for, whatever the cache says */
    int64_t timeout_ms;  /* for each call of git; 0: none */
    atomic_bool *cancel; /* set from any thread to end the running git; may be NULL */
    void (*on_progress)(void *ctx, struct str line); /* what git says, a line at a time; may be NULL */
    void *ctx;
};

/* Copies `opts`. The folder of the session, openrun-git-XXXXXX in tmp_dir, is made on first use; one that a
 * killed server has left behind may be removed by whoever owns tmp_dir. */
struct src_session *src_session_open(const struct src_session_opts *opts);
/* Removes every checkout. File sets scanned from them cannot be read any more. */
void src_session_close(struct src_session *s);

struct src_git_opts {
    struct str url;                  /* the source as the user gave it, folder included */
    struct str branch;               /* empty: main. A tag's name works too */
    struct str commit;               /* wins over the branch: a full or short hash, or a tag */
    const struct src_git_auth *auth; /* NULL: none */
    bool full_history;               /* dev apps: the whole branch, not only its head */
    bool only_files;                 /* not the folders below the wanted one */
};

struct src_checkout {
    struct str dir;           /* the app's folder, absolute; lives until the session closes */
    struct str commit;        /* 40 hex digits */
    struct str message;       /* of the commit, whole, without the newline at its end */
    struct str branch;        /* as resolved: "" when a commit was asked for */
    struct str_list warnings; /* sentences for the user: submodules that were left out */
};

/* Gets a repository's folder at a commit or at the head of a branch: shallow, without the blobs of other
 * folders where the server can do that, as a plain shallow or full fetch where it cannot. Never asks at a
 * terminal. Fails with 404 for a missing repository, branch, commit or folder, 401 for missing or wrong
 * credentials, 504 past the timeout, 499 when cancelled, else 502 with git's last lines. */
bool src_git_fetch(struct src_session *s, struct arena *a, const struct src_git_opts *opts,
                   struct src_checkout *out, struct err *err);

/* A working copy that stays and belongs to the user, in the empty or missing folder `dir`: all files, the whole
 * history of the branch, set up so that `git pull` works. out->dir is the source's folder in it. After a failure the
 * caller removes `dir`. Fails like src_git_fetch(). */
bool src_git_clone(struct src_session *s, struct arena *a, const struct src_git_opts *opts, struct str dir,
                   struct src_checkout *out, struct err *err);

/* The commit at the head of the branch (or tag) now, asked of the server once per session. */
bool src_git_remote_head(struct src_session *s, struct arena *a, const struct src_git_opts *opts,
                         struct str *commit, struct err *err);

/* ---- app specs ------------------------------------------------------------------------------------ */

/* The files of spec `name`: those of $home/config/appspecs/NAME/ if that folder can be read (it replaces
 * the bundled spec entirely; sub-folders and links in it are ignored), else the bundled ones. `home` may
 * be empty. All contents are in memory. 400 `invalid app spec NAME` with the nearest names otherwise. */
bool src_spec_load(struct arena *a, struct str home, struct str name, struct src_files *out, struct err *err);

/* True if the spec comes from a folder in `home`, whether or not there is a bundled one of that name. */
bool src_spec_is_of_user(struct arena *a, struct str home, struct str name);

/* All names, bundled and in `home`, sorted. */
void src_spec_list(struct arena *a, struct str home, struct str_list *out);

#endif
