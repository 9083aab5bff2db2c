/* tests/fuzz/fuzz_cli_args.c: command lines against the real tree: tokens are separated by newlines.
 * links: cli
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"

#include <stdlib.h>

enum { ARGC_MAX = 64 };

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
    bool ok = args_parse(&a, &cmd_root, argc, argv, &args, &err);
    if (ok == err_is_set(&err) || (ok && (args.depth < 1 || args.cmd != args.path[args.depth - 1])))
        abort();
    FILE *out = fopen("/dev/null", "w");
    if (ok && out)
        print_help(out, &args);
    if (out)
        print_completions(out, &cmd_root, argc, argv);
    if (out)
        fclose(out);
    return 0;
}
