/* container/freezer.c: whether the kernel holds a container's processes, which is what a pause is.
 *
 * Control groups tell: of version 1 in freezer.state ("FROZEN", "FREEZING", "THAWED"; Linux, cgroup-v1/freezer-subsystem),
 * of version 2 in cgroup.events ("frozen 1"; Linux, cgroup-v2). Everybody may read them, but where the engine is on
 * another machine, or its runtime freezes in another way, there is nothing to be read.
 * SPDX-License-Identifier: Apache-2.0 */
#include "service_int.h"

#include <fcntl.h>
#include <unistd.h>

enum { CGROUPS_MAX = 16 << 10, STATE_MAX = 255, ID_MIN = 12 };

static bool has_word(struct str list, struct str word)
{
    struct str one;
    while (str_next(&list, ',', &one)) {
        if (str_eq(one, word))
            return true;
    }
    return false;
}

/* The id makes sure that the process is that of the container, and not of this machine's own with the same number. */
static bool is_of(struct str path, struct str id)
{
    struct str rest = path, part;
    if (!str_starts(path, STR("/")) || id.len < ID_MIN || str_find(path, id) == STR_NPOS ||
        str_chr(path, '\0') != STR_NPOS)
        return false;
    while (str_next(&rest, '/', &part)) {
        if (str_eq(part, STR("..")))
            return false; /* outside of what we see */
    }
    return true;
}

bool freezer_path(struct arena *a, struct str cgroups, struct str id, struct str *path)
{
    struct str line, number, controllers, group;
    bool is_found = false;
    while (str_next(&cgroups, '\n', &line)) {
        if (!str_cut(line, ':', &number, &line) || !str_cut(line, ':', &controllers, &group) || !is_of(group, id))
            continue;
        if (has_word(controllers, STR("freezer"))) {
            *path = str_printf(a, "/sys/fs/cgroup/freezer" STR_FMT "/freezer.state", STR_ARG(group));
            return true; /* where both versions are in use, this is the one that freezes */
        }
        if (controllers.len == 0 && str_eq(number, STR("0"))) {
            *path = str_printf(a, "/sys/fs/cgroup" STR_FMT "/cgroup.events", STR_ARG(group));
            is_found = true;
        }
    }
    return is_found;
}

enum freezer freezer_parse(struct str text)
{
    struct str line;
    if (str_starts(text, STR("THAWED")))
        return FREEZER_THAWED;
    if (str_starts(text, STR("FROZEN")) || str_starts(text, STR("FREEZING")))
        return FREEZER_FROZEN;
    enum freezer state = FREEZER_UNKNOWN;
    while (str_next(&text, '\n', &line)) {
        if (str_eq(line, STR("populated 0")))
            return FREEZER_UNKNOWN; /* nobody is left in it */
        if (str_eq(line, STR("frozen 1")))
            state = FREEZER_FROZEN;
        else if (str_eq(line, STR("frozen 0")))
            state = FREEZER_THAWED;
    }
    return state;
}

enum freezer freezer_read(int fd)
{
    char text[STATE_MAX];
    ssize_t n = pread(fd, text, sizeof text, 0);
    return n > 0 ? freezer_parse(str_of(text, (size_t)n)) : FREEZER_UNKNOWN;
}

int freezer_open(int pid, struct str id)
{
    scoped_arena a = {0};
    scoped_err ignored = {0};
    struct str cgroups, path;
    if (pid <= 0 || !fs_read_all(&a, str_printf(&a, "/proc/%d/cgroup", pid), CGROUPS_MAX, &cgroups, &ignored) ||
        !freezer_path(&a, cgroups, id, &path))
        return -1;
    return open(str_z(&a, path), O_RDONLY | O_CLOEXEC);
}
