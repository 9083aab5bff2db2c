/* cli/config.c: the client's share of openrun.toml.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"

#include <errno.h>
#include <fcntl.h>

enum { CONFIG_FILE_MAX = 4 << 20 };

const char *cli_errno_text(int errnum)
{
    switch (errnum) {
    case ENOENT:
        return "no such file or directory";
    case EACCES:
        return "permission denied";
    case ENOTDIR:
        return "not a directory";
    default:
        return strerror(errnum);
    }
}

static bool is_url(struct str uri)
{
    return str_starts(uri, STR("http://")) || str_starts(uri, STR("https://"));
}

static bool read_keys(const struct toml_value *root, struct client_config *c, struct err *err)
{
    const struct toml_value *client = NULL;
    struct str format = {0};
    if (!toml_read_str(root, "server_uri", &c->server_uri, err) ||
        !toml_read_str(root, "admin_user", &c->admin_user, err) ||
        !toml_read_table(root, "client", &client, err) ||
        !toml_read_str(client, "admin_password", &c->admin_password, err) ||
        !toml_read_bool(client, "skip_cert_check", &c->skip_cert_check, err) ||
        !toml_read_str(client, "default_format", &format, err))
        return false;
    if (toml_get(client, STR("default_format")) && !format_parse(format, &c->default_format))
        return err_set(err, ERR_INVALID,
                       "invalid client.default_format \"" STR_FMT "\" in config: valid options are " FORMAT_NAMES,
                       STR_ARG(format));
    return true;
}

static bool parse(struct arena *a, const struct home *home, struct client_config *c, struct err *err)
{
    struct str text;
    struct toml_value root;
    if (!fs_read_all(a, home->config_file, CONFIG_FILE_MAX, &text, err))
        return err_wrap(err, "error parsing config");
    if (!toml_parse(a, text, &root, err) || !read_keys(&root, c, err))
        return err_wrap(err, "error parsing config: " STR_FMT, STR_ARG(home->config_file));
    return true;
}

/* Why the file cannot be read, 0 if it can. */
static int probe(struct arena *a, struct str path)
{
    scoped_fd int fd = open(str_z(a, path), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    return fd >= 0 ? 0 : errno;
}

bool client_config_load(struct arena *a, const struct home *home, FILE *warnings, struct client_config *out,
                 struct err *err)
{
    struct client_config c = {
        .server_uri = STR("$OPENRUN_HOME/run/openrun.sock"),
        .admin_user = STR("admin"),
        .default_format = FORMAT_BASIC,
    };
    if (home->warning.len > 0)
        say(warnings, STR_FMT "\n", STR_ARG(home->warning));
    int why = probe(a, home->config_file);
    bool may_lack = !home->is_file_explicit && (home->origin == HOME_ENV || home->origin == HOME_DEFAULT);
    if (why == 0) {
        if (!parse(a, home, &c, err))
            return false;
    } else if (!may_lack || (home->origin == HOME_DEFAULT && why != ENOENT && why != ENOTDIR)) {
        return err_set(err, ERR_INVALID, "error parsing config: open " STR_FMT ": %s", STR_ARG(home->config_file),
                       cli_errno_text(why));
    } else if (home->origin == HOME_ENV) {
        say(warnings, "Warning: unable to read config file open " STR_FMT ": %s, using default config\n",
            STR_ARG(home->config_file), cli_errno_text(why));
    }
    c.server_uri = str_expand_env(a, c.server_uri);
    c.is_tcp = is_url(c.server_uri);
    *out = c;
    return true;
}
