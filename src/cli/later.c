/* cli/later.c: commands that come in a later version: declared in full, so that help, completion and checks
 * of the command line are true already; without an exec, so that running one says so.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"

static const struct flag dry_run_flags[] = {FLAG_DRY_RUN, FLAG_END};
static const struct flag format_flags[] = {FLAG_FORMAT, FLAG_END};


/* ---- service ---- */

#define FLAG_CONFIG {"config", "c", FLAG_LIST, NULL, "configuration entry: key=value"}

static const struct flag service_create_flags[] = {
    {"is-default", NULL, FLAG_BOOL, NULL, "make it the default of its type"},
    {"staging", NULL, FLAG_STR, NULL, "name of the service that staging apps use instead"},
    FLAG_CONFIG,
    FLAG_DRY_RUN,
    FLAG_END,
};
static const struct flag service_update_flags[] = {
    {"set-default", NULL, FLAG_BOOL, NULL, "make it, or with =false no longer, the default of its type"},
    {"staging", NULL, FLAG_STR, NULL, "name of the service that staging apps use instead; empty for none"},
    {"config", "c", FLAG_LIST, NULL, "configuration entry: key=value; an empty value removes it"},
    FLAG_DRY_RUN,
    FLAG_END,
};

static const struct command service_table[] = {
    {"create", NULL, "<service_id>", "add a service: <type>/<name>", NULL, service_create_flags},
    {"update", NULL, "<service_id>", "change a service", NULL, service_update_flags},
    {"delete", NULL, "<service_id>", "delete a service", NULL, dry_run_flags},
    {"list", NULL, "[<service_id>]", "list services, all or of a type", NULL, format_flags},
    {"health", NULL, "<service_id>", "check that a service answers"},
};
static const struct command *const service_commands[] = {&service_table[0], &service_table[1], &service_table[2],
                                                         &service_table[3], &service_table[4], NULL};
const struct command cmd_service = {
    .name = "service", .summary = "manage services: databases and the like", .subs = service_commands};

/* ---- provider ---- */

static const struct flag install_flags[] = {
    {"source-url", NULL, FLAG_STR, NULL, "where to get it"},
    {"version", NULL, FLAG_STR, NULL, "version to install"},
    {"sha256", NULL, FLAG_STR, NULL, "checksum that the download must have"},
    FLAG_END,
};
static const struct flag uninstall_flags[] = {
    {"force", NULL, FLAG_BOOL, NULL, "uninstall even if it is in use"},
    FLAG_END,
};

static const struct command provider_table[] = {
    {"install", NULL, "<provider_name>", "install a provider of services or plugins", NULL, install_flags},
    {"uninstall", NULL, "<provider_name>", "remove a provider", NULL, uninstall_flags},
    {"list", NULL, NULL, "list providers", NULL, format_flags},
};
static const struct command *const provider_commands[] = {&provider_table[0], &provider_table[1], &provider_table[2],
                                                          NULL};
const struct command cmd_provider = {.name = "provider", .summary = "manage providers", .subs = provider_commands};

/* ---- binding ---- */

static const struct flag binding_create_flags[] = {
    FLAG_CONFIG,
    {"grant", NULL, FLAG_LIST, NULL, "access to grant"},
    FLAG_DRY_RUN,
    FLAG_END,
};
static const struct flag binding_update_flags[] = {
    {"add-grant", NULL, FLAG_LIST, NULL, "access to grant"},
    {"delete-grant", NULL, FLAG_LIST, NULL, "access to take away"},
    FLAG_PROMOTE,
    {"reapply-all", NULL, FLAG_BOOL, NULL, "grant everything again"},
    FLAG_DRY_RUN,
    FLAG_END,
};
static const struct flag binding_list_flags[] = {
    {"source", "s", FLAG_STR, NULL, "only those of this source"},
    FLAG_FORMAT,
    FLAG_END,
};
static const struct flag staging_flags[] = {
    {"staging", "s", FLAG_BOOL, NULL, "the staging account"},
    FLAG_END,
};

static const struct command binding_table[] = {
    {"create", NULL, "<source> <binding_path>", "give apps access to a service", NULL, binding_create_flags},
    {"update", NULL, "<path>", "change what a binding grants", NULL, binding_update_flags},
    {"delete", NULL, "<path>", "delete a binding", NULL, dry_run_flags},
    {"get", NULL, "<path>", "show a binding", NULL, format_flags},
    {"show-account", NULL, "<path>", "print the credentials of a binding", NULL, staging_flags},
    {"list", NULL, NULL, "list bindings", NULL, binding_list_flags},
    {"run-command", NULL, "<binding> <cmd...>", "run a command in the service", NULL, staging_flags, .takes_text = true},
    {"health", NULL, "<binding_name>", "check that a binding works", NULL, staging_flags},
};
static const struct command *const binding_commands[] = {
    &binding_table[0], &binding_table[1], &binding_table[2], &binding_table[3], &binding_table[4],
    &binding_table[5], &binding_table[6], &binding_table[7], NULL,
};
const struct command cmd_binding = {.name = "binding", .summary = "manage bindings of services", .subs = binding_commands};

/* ---- replication, secret ---- */

static const struct command replication_table[] = {
    {"status", NULL, NULL, "show the state of database replication", NULL, format_flags},
};
static const struct command *const replication_commands[] = {&replication_table[0], NULL};
const struct command cmd_replication = {
    .name = "replication", .summary = "look at database replication", .subs = replication_commands};

#define FLAG_PROVIDER {"provider", "p", FLAG_STR, NULL, "name of the secret provider; the server's default if not given"}

static const struct flag secret_create_flags[] = {
    {"name", "n", FLAG_STR, NULL, "name of the secret"},
    {"value", "v", FLAG_STR, NULL, "its value; it will be in the shell's history"},
    {"file", "f", FLAG_STR, NULL, "read the value from this file"},
    {"description", "d", FLAG_STR, NULL, "what it is for"},
    FLAG_PROVIDER,
    {"update", "u", FLAG_BOOL, NULL, "replace the value of an existing secret"},
    FLAG_END,
};
static const struct flag secret_list_flags[] = {FLAG_PROVIDER, FLAG_FORMAT, FLAG_END};
static const struct flag secret_show_flags[] = {
    FLAG_PROVIDER,
    {"reveal", "r", FLAG_BOOL, NULL, "print the value and nothing else"},
    FLAG_END,
};
static const struct flag secret_flags[] = {FLAG_PROVIDER, FLAG_END};

static const struct command secret_table[] = {
    {"create", NULL, "[<prefix>]", "store a secret", NULL, secret_create_flags},
    {"list", NULL, "[<glob>]", "list secrets, without their values", NULL, secret_list_flags},
    {"show", NULL, "<name>", "show a secret", NULL, secret_show_flags},
    {"delete", NULL, "<name>", "delete a secret", NULL, secret_flags},
    {"rekey", NULL, NULL, "encrypt all secrets with the newest key", NULL, secret_flags},
};
static const struct command *const secret_commands[] = {&secret_table[0], &secret_table[1], &secret_table[2],
                                                        &secret_table[3], &secret_table[4], NULL};
const struct command cmd_secret = {.name = "secret", .summary = "manage secrets", .subs = secret_commands};

/* ---- user ---- */

static const struct flag user_flags[] = {
    {"value", "v", FLAG_STR, NULL, "the password; it will be in the shell's history"},
    {"random", "r", FLAG_BOOL, NULL, "generate a password"},
    {"prompt", "p", FLAG_BOOL, NULL, "ask for the password"},
    {"groups", "g", FLAG_STR, NULL, "groups, separated by commas"},
    FLAG_END,
};
static const struct command user_table[] = {
    {"add", NULL, "<username>", "add a user", NULL, user_flags},
    {"update", NULL, "<username>", "change a user's password or groups", NULL, user_flags},
    {"delete", NULL, "<username>", "delete a user"},
    {"list", NULL, NULL, "list users", NULL, format_flags},
};
static const struct command *const user_commands[] = {&user_table[0], &user_table[1], &user_table[2], &user_table[3],
                                                      NULL};
const struct command cmd_user = {.name = "user", .summary = "manage users who sign in with a password", .subs = user_commands};
