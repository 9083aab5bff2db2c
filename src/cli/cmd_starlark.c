/* cli/cmd_starlark.c: `openrun starlark`: the Starlark tool, which reads its own arguments.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"
#include "starlark.h"

static bool run_starlark(struct cli *c, struct err *err)
{
    const struct str_list *words = &c->args->words;
    char **argv = arena_array(c->arena, char *, words->len + 2);
    argv[0] = str_z(c->arena, STR("openrun starlark"));
    for (size_t i = 0; i < words->len; i++)
        argv[i + 1] = str_z(c->arena, words->items[i]);
    c->exit_code = star_tool_main((int)words->len + 1, argv);
    return true;
}

const struct command cmd_starlark = {
    .name = "starlark",
    .words = "[arguments of the tool]",
    .summary = "run or check Starlark files",
    .exec = run_starlark,
    .is_raw = true,
    .needs_no_config = true,
};
