/* plugin/plugin.h: what Starlark code may do: plugin modules, and the permissions that guard them.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PLUGIN_H
#define PLUGIN_H

#include "base.h"

struct toml_value;

/* The server's own lists: [[permissions.allow]] and [[permissions.disallow]]. Immutable, shared. */
struct plugin_rules;
/* From the merged [permissions] table (NULL: none). Regular expressions are compiled here; fails naming a
 * bad one. Lives in `a`. */
bool plugin_rules_new(struct arena *a, const struct toml_value *permissions, struct plugin_rules **out,
                      struct err *err);

#endif
