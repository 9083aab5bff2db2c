/* cli/staged.c: calls that change apps in staging, and what they have changed.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"

bool call_staged(struct cli *c, struct call *call, const char *title, const char *done, struct err *err)
{
    json_t *reply = call_server(c, call, err);
    if (!reply)
        return false;
    if (print_result_json(c, reply))
        return true;
    const json_t *staged = json_get(reply, "staged_update_results"), *promoted = json_get(reply, "promote_results");
    for (size_t i = 0; i < json_array_size(staged); i++)
        say(c->out, "%s " STR_FMT "\n", title, STR_ARG(app_path_of(c, json_array_get(staged, i))));
    print_promoted(c, promoted);
    say(c->out, "%zu app(s) %s, %zu app(s) promoted.\n", json_array_size(staged), done, json_array_size(promoted));
    print_dry_run(c, reply);
    return true;
}
