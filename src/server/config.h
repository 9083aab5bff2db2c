/* server/config.h: the server's configuration: defaults.toml with the user's openrun.toml laid over it.
 *
 * Immutable once loaded; lives in the arena given. Values are looked up by dotted key, at start: what the
 * request path needs is copied into the structs of those who need it.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SERVER_CONFIG_H
#define SERVER_CONFIG_H

#include "base.h"

struct config {
    struct home home;
    struct toml_value root;   /* the merged table */
    struct str_list warnings; /* unknown keys and the like, each a line for people */
};

/* Reads home->config_file (a missing one gives the defaults if the home's rule allows it, with a warning
 * where the spec wants one) and lays it over the defaults. Fails with `error parsing config: <path>: line L,
 * column C: ...`. */
bool config_load(struct arena *a, const struct home *home, struct config *out, struct err *err);
/* The same from text. `name` is for messages. */
bool config_parse(struct arena *a, struct str name, struct str text, struct config *out, struct err *err);

/* Values that the defaults guarantee; another key or type is a bug. config_path() expands `$VAR`. */
struct str config_str(const struct config *c, const char *key);
struct str config_path(const struct config *c, struct arena *a, const char *key);
int64_t config_int(const struct config *c, const char *key);
bool config_bool(const struct config *c, const char *key);
struct str_list config_list(const struct config *c, struct arena *a, const char *key);
/* A table or array of the merged tree; NULL if the user gave none and the defaults have none. */
const struct toml_value *config_value(const struct config *c, const char *key);

#endif
