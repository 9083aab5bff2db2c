/* starlark/tool_int.h: shared by the parts of `openrun starlark`.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STARLARK_TOOL_INT_H
#define STARLARK_TOOL_INT_H

#include "starlark.h"

/* One program being run, with what it loads. */
struct tool {
    struct arena *arena;
    struct star_cache *cache;
    struct star_env env;        /* predeclared */
    struct star_options opts;
    struct star_limits limits;
    size_t memory;              /* cap in bytes, 0 none */
    star_print_fn print;        /* NULL: standard output */
    void *print_ctx;
};

void tool_init(struct tool *t, struct arena *a);
/* star_exec's setup: print and load. */
void tool_setup(struct star_run *run, void *tool);
struct star_module *tool_load(void *tool, struct star_run *run, struct str name, struct err *err);
/* A whole file, "-" for standard input. */
bool tool_read(struct arena *a, const char *path, struct str *out, struct err *err);

int tool_repl(const struct tool *base);
/* Runs a chunked file; failures go to standard error. True when every chunk held. */
bool tool_test_file(const struct tool *base, const char *path);

#endif
