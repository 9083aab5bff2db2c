/* plugin/container_in.c: container.in: the container that an app runs in.
 * SPDX-License-Identifier: Apache-2.0 */
#include "plugin_int.h"

static const struct str dev_keys[] = {
    STR_INIT("target"), STR_INIT("command"),   STR_INIT("dir"),
    STR_INIT("reload"), STR_INIT("env_files"), STR_INIT("additional_mounts"),
    STR_INIT("port"),   STR_INIT("dev_stage"), STR_INIT("disable"),
};

static bool check_dev_settings(star_v dict, struct err *err)
{
    size_t at = 0;
    star_v key, value;
    while (star_dict_next(dict, &at, &key, &value)) {
        struct str name = {0};
        bool known = false;
        star_to_str(key, &name);
        for (size_t i = 0; i < ARRAY_LEN(dev_keys); i++)
            known |= str_eq(name, dev_keys[i]);
        if (!known)
            return err_set(err, ERR_INVALID,
                           "unknown dev_settings key \"" STR_FMT
                           "\": allowed are target, command, dir, reload, env_files, "
                           "additional_mounts, port, dev_stage, disable",
                           STR_ARG(name));
    }
    return true;
}

static bool container_config(struct star_run *run, const struct star_call *call, star_v *value,
                             struct err *err)
{
    struct arena *a = star_run_arena(run);
    const struct plugin_param params[] = {
        {"src", STAR_STR, star_string_z(a, "auto")},     {"port", STAR_INT, star_int(a, 0)},
        {"scheme", STAR_STR, star_string_z(a, "http")},  {"health", STAR_STR, star_string_z(a, "/")},
        {"lifetime", STAR_STR, star_string_z(a, "app")}, {"build_dir", STAR_STR, star_string_z(a, "")},
        {"volumes", STAR_LIST, star_list(a, NULL, 0)},   {"cargs", STAR_DICT, star_dict(a, 0)},
        {"dev_settings", STAR_DICT, star_dict(a, 0)},
    };
    static const char *const names[] = {"source",    "port",    "scheme", "health",      "lifetime",
                                        "build_dir", "volumes", "cargs",  "dev_settings"};
    star_v v[ARRAY_LEN(params)];
    int64_t port;
    if (!plugin_bind(run, call, params, ARRAY_LEN(params), v, err))
        return false;
    if (!star_to_i64(v[1], &port) || port < 0 || port > 65535)
        return err_set(err, ERR_INVALID, "container.config: port must be between 0 and 65535");
    struct str lifetime = {0};
    star_to_str(v[4], &lifetime);
    if (!str_eq(lifetime, STR("app")) && !str_eq(lifetime, STR("command")))
        return err_set(err, ERR_INVALID, "container.config: lifetime must be \"app\" or \"command\", not \"" STR_FMT
                       "\"", STR_ARG(lifetime));
    if (!check_dev_settings(v[8], err))
        return false;
    *value = star_struct(a, "container_config", names, v, ARRAY_LEN(params));
    return true;
}

static const struct plugin_function functions[] = {
    {"config", false, container_config, NULL},
    {"run", true, NULL, container_run},
};
static const struct plugin_constant constants[] = {
    {"URL", "<CONTAINER_URL>"}, {"AUTO", "auto"},       {"NIXPACKS", "nixpacks"},
    {"IMAGE_PREFIX", "image:"}, {"COMMAND", "command"},
};

const struct plugin_module plugin_container_in = {
    .name = "container.in",
    .functions = functions,
    .n_functions = ARRAY_LEN(functions),
    .constants = constants,
    .n_constants = ARRAY_LEN(constants),
};
