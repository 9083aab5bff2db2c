/* server/check.c: the metadata of a home whose server does not run.
 * SPDX-License-Identifier: Apache-2.0 */
#include "config.h"
#include "deploy.h"
#include "server.h"
#include "store.h"

#include <fcntl.h>
#include <sys/file.h>

/* Holds off a server while its metadata is looked at; -1 in *fd when none has ever run here. */
static bool lock_home(struct arena *a, const struct home *home, int *fd, struct err *err)
{
    struct str path = path_join(a, home->dir, STR("run/openrun.pid"));
    if (!fs_exists(path))
        return true;
    *fd = fs_open(path, O_RDWR, 0, err);
    if (*fd < 0)
        return false;
    return flock(*fd, LOCK_EX | LOCK_NB) == 0 ||
           err_set(err, ERR_CONFLICT,
                   "a server holds the home " STR_FMT ", but does not answer: wait until it has started or ended, and "
                   "try again", STR_ARG(home->dir));
}

/* Never makes a database, nor changes an older one. */
static bool open_metadata(struct arena *a, const struct config *c, struct store **out, struct err *err)
{
    struct store_options options = {
        .metadata_connection = config_path(c, a, "metadata.db_connection"),
        .audit_connection = config_path(c, a, "metadata.audit_db_connection"),
        .ignore_higher_version = config_bool(c, "metadata.ignore_higher_version"),
    };
    const struct str *connections[] = {&options.metadata_connection, &options.audit_connection};
    for (size_t i = 0; i < ARRAY_LEN(connections); i++) {
        struct str file = *connections[i];
        if (!str_starts(file, STR("sqlite:")))
            continue;
        file = str_from_off(file, strlen("sqlite:"));
        if (!fs_exists(file))
            return err_set(err, ERR_NOT_FOUND, "there is no database " STR_FMT ": no server has been started here yet",
                           STR_ARG(file));
    }
    return store_open(&options, out, err);
}

bool server_check_home(const struct home *home, bool fix, struct arena *a, struct str_list *problems, struct err *err)
{
    scoped_fd int fd = -1;
    struct config config;
    struct store *store = NULL;
    if (!config_load(a, home, &config, err) || !lock_home(a, home, &fd, err) ||
        !open_metadata(a, &config, &store, err))
        return false;
    bool ok = (!fix || deploy_fix(store, err)) && deploy_check(store, a, problems, err);
    store_close(store);
    return ok;
}
