/* base/home.h: finds the home folder and the configuration file, the same way for server and client.
 *
 * The first rule that applies decides (docs/cli.md, "Where the configuration is found"). The search
 * sees the world only through `struct home_sys`, so it runs in a test on made-up machines.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_HOME_H
#define BASE_HOME_H

#include "arena.h"
#include "err.h"

/* Which rule found the home. */
enum home_origin {
    HOME_ENV,         /* OPENRUN_HOME */
    HOME_CONFIG_FILE, /* the folder of --config-file or CL_CONFIG_FILE */
    HOME_EXE,         /* beside the executable */
    HOME_SYSTEM,      /* a place where packages install */
    HOME_DEFAULT,     /* $HOME/openrun; the only one where the file may be missing silently */
};

struct home {
    struct str dir;          /* absolute */
    struct str config_file;  /* absolute; need not exist */
    enum home_origin origin;
    bool is_file_explicit;   /* the user named config_file */
    struct str warning;      /* for stderr, one line without newline; empty: none */
};

/* What the search may ask. */
struct home_sys {
    void *ctx;
    /* The value of an environment variable, NULL when unset. */
    const char *(*env)(void *ctx, const char *name);
    /* 0 when a file is there and may be opened for reading, else the errno that says why not. */
    int (*probe)(void *ctx, const char *path);
    struct str exe;          /* path of the executable with links resolved; empty: unknown */
    struct str cwd;          /* absolute; what relative paths are relative to */
};

/* Finds the home. `config_flag` is the value of --config-file, NULL without. What *out holds lives
 * as long as `a`. Fails when nothing says where home is, and when a system's configuration exists
 * but may not be read. */
bool home_find(struct arena *a, const char *config_flag, const struct home_sys *sys, struct home *out,
               struct err *err);

/* home_find() on this process and machine. */
bool home_find_here(struct arena *a, const char *config_flag, struct home *out, struct err *err);

/* Sets OPENRUN_HOME for this process, so configuration values may use it. Before threads start. */
bool home_export(const struct home *home, struct err *err);

#endif
