/* plugin/proxy_in.c: proxy.in: what a proxy route sends requests to.
 * SPDX-License-Identifier: Apache-2.0 */
#include "plugin_int.h"

static bool proxy_config(struct star_run *run, const struct star_call *call, star_v *value, struct err *err)
{
    struct arena *a = star_run_arena(run);
    const struct plugin_param params[] = {
        {"url", STAR_STR, STAR_NULL},
        {"strip_path", STAR_STR, star_string_z(a, "")},
        {"preserve_host", STAR_BOOL, STAR_FALSE},
        {"strip_app", STAR_BOOL, STAR_TRUE},
        {"response_headers", STAR_DICT, star_dict(a, 0)},
    };
    static const char *const names[] = {"url", "strip_path", "preserve_host", "strip_app",
                                        "response_headers"};
    star_v v[ARRAY_LEN(params)];
    if (!plugin_bind(run, call, params, ARRAY_LEN(params), v, err))
        return false;
    *value = star_struct(a, "ProxyConfig", names, v, ARRAY_LEN(params));
    return true;
}

static const struct plugin_function functions[] = {{"config", false, proxy_config}};

const struct plugin_module plugin_proxy_in = {
    .name = "proxy.in",
    .functions = functions,
    .n_functions = ARRAY_LEN(functions),
};
