/* cli/applied.c: what a declarative apply has done: of `apply`, and of a run of a sync.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"

static void print_creations(struct cli *c, const json_t *created, bool is_approved)
{
    if (json_array_size(created) > 0)
        say(c->out, "Created apps:\n");
    for (size_t i = 0; i < json_array_size(created); i++) {
        if (i > 0)
            say(c->out, "\n");
        print_created(c, json_array_get(created, i), is_approved);
    }
}

/* "<title>: /b1, /b2" unless there are none. */
static void print_names(struct cli *c, const char *title, const json_t *names)
{
    size_t n = json_array_size(names);
    for (size_t i = 0; i < n; i++)
        say(c->out, "%s%s" STR_FMT "%s", i == 0 ? title : "", i == 0 ? ": " : ", ",
            STR_ARG(json_str(json_array_get(names, i))), i + 1 == n ? "\n" : "");
}

static void print_bindings(struct cli *c, const json_t *reply)
{
    const json_t *created = json_get(reply, "create_binding_results");
    const json_t *updated = json_get(reply, "update_binding_results");
    const json_t *promoted = json_get(reply, "promote_binding_results");
    print_names(c, "Created bindings", created);
    print_names(c, "Updated bindings", updated);
    print_names(c, "Promoted bindings", promoted);
}

void print_applied(struct cli *c, const json_t *reply, bool is_approved)
{
    const json_t *created = json_get(reply, "create_results"), *updated = json_get(reply, "update_results");
    const json_t *reloaded = json_get(reply, "reload_results"), *skipped = json_get(reply, "skipped_results");
    const json_t *approved = json_get(reply, "approve_results"), *promoted = json_get(reply, "promote_results");
    size_t bindings_created = json_array_size(json_get(reply, "create_binding_results"));
    size_t bindings_updated = json_array_size(json_get(reply, "update_binding_results"));
    size_t bindings_promoted = json_array_size(json_get(reply, "promote_binding_results"));
    print_creations(c, created, is_approved);
    print_paths(c, "Updated apps", updated);
    print_paths(c, "Reloaded apps", reloaded);
    print_paths(c, "Skipped apps", skipped);
    print_approved(c, approved);
    print_promoted(c, promoted);
    print_bindings(c, reply);
    say(c->out,
        "%zu app(s) created, %zu app(s) updated, %zu app(s) reloaded, %zu app(s) skipped, %zu app(s) approved, "
        "%zu app(s) promoted.\n",
        json_array_size(created), json_array_size(updated), json_array_size(reloaded), json_array_size(skipped),
        json_array_size(approved), json_array_size(promoted));
    if (bindings_created + bindings_updated + bindings_promoted > 0)
        say(c->out, "%zu binding(s) created, %zu binding(s) updated, %zu binding(s) promoted.\n", bindings_created,
            bindings_updated, bindings_promoted);
}
