/* base/proc_tree.c: the descendants of a program that have left its process group: steps of a container build, say,
 * which lead sessions of their own, so that no signal to the group reaches them. Linux's /proc tells who they are.
 * SPDX-License-Identifier: Apache-2.0 */
#include "proc_int.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { TREE_MAX = 512, CHILDREN_TEXT_MAX = 16384 };

struct tree {
    pid_t pids[TREE_MAX];   /* breadth first; the root is [0] */
    size_t len;
};

/* Each thread has children of its own. */
static void add_children(struct tree *t, pid_t pid, const char *tid)
{
    char path[64], text[CHILDREN_TEXT_MAX];
    snprintf(path, sizeof path, "/proc/%d/task/%.20s/children", (int)pid, tid);
    FILE *f = fopen(path, "re");
    if (!f)
        return; /* it has ended */
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    for (char *at = text, *end; t->len < TREE_MAX; at = end) {
        long child = strtol(at, &end, 10);
        if (end == at || child <= 1)
            break;
        t->pids[t->len++] = (pid_t)child;
    }
}

static void look_below(struct tree *t, pid_t pid)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *d = opendir(path);
    if (!d)
        return;
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.')
            add_children(t, pid, e->d_name);
    closedir(d);
}

bool proc_kill_outsiders(pid_t leader)
{
    struct tree t = {.pids = {leader}, .len = 1};
    bool any = false;
    for (size_t i = 0; i < t.len; i++)
        look_below(&t, t.pids[i]);
    for (size_t i = 1; i < t.len; i++) {
        pid_t group = getpgid(t.pids[i]);
        any |= group > 0 && group != leader && kill(t.pids[i], SIGKILL) == 0;
    }
    return any;
}
