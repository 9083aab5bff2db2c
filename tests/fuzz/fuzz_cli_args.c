/* tests/fuzz/fuzz_cli_args.c: command lines, their tokens separated by newlines, and the help they lead to.
 * The sources are included: linking the whole of cli would bring the server.
 * links: base
 * SPDX-License-Identifier: Apache-2.0 */
#include "../../src/cli/args.c"
#include "../../src/cli/help.c"
#include "../../src/cli/later.c"
#include "../../src/cli/suggest.c"

#include <stdlib.h>

enum { ARGC_MAX = 64 };

static const struct flag root_flags[] = {
    {"config-file", "c", FLAG_STR, NULL, "file"}, {"version", "v", FLAG_BOOL, NULL, "version"}, FLAG_END};
static const struct flag every_flag[] = {{"text", "t", FLAG_STR, "default", "text"},
                                         {"list", "l", FLAG_LIST, NULL, "texts"},
                                         {"bool", "b", FLAG_BOOL, NULL, "true or false"},
                                         {"int", "i", FLAG_INT, "7", "a number"},
                                         FLAG_END};
static const struct command every = {.name = "every", .summary = "every kind", .words = "[<glob>]", .flags = every_flag};
static const struct command *const root_commands[] = {&every,       &cmd_service, &cmd_provider, &cmd_binding,
                                                      &cmd_replication, &cmd_secret,  &cmd_user,     NULL};
static const struct command root = {
    .name = "openrun", .summary = "the root", .flags = root_flags, .subs = root_commands};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    char *argv[ARGC_MAX] = {str_z(&a, STR("openrun"))};
    int argc = 1;
    struct str rest = str_of(data, size), part;
    while (argc < ARGC_MAX && str_next(&rest, '\n', &part))
        argv[argc++] = str_z(&a, part);
    struct args args;
    bool ok = args_parse(&a, &root, argc, argv, &args, &err);
    if (ok == err_is_set(&err) || (ok && (args.depth < 1 || args.cmd != args.path[args.depth - 1])))
        abort();
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (ok)
        print_help(out, &args);
    print_completions(out, &root, argc, argv);
    fclose(out);
    free(text);
    return 0;
}
