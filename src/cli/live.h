/* cli/live.h: the view of a long call on a terminal.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_LIVE_H
#define CLI_LIVE_H

#include "base.h"

enum { LIVE_LINES = 5, LIVE_LINE_MAX = 512, LIVE_PHASES_MAX = 16, LIVE_WORTH_MS = 100 };

/* Zeroed: nothing has been heard of yet, no colours. */
struct live {
    char phase[LIVE_LINE_MAX];              /* the one under way; empty: none */
    int64_t phase_ms;                       /* since when */
    char lines[LIVE_LINES][LIVE_LINE_MAX];  /* the last of progress in it */
    int n_lines;
    bool is_new;                            /* not drawn yet */
    bool has_colour;
    struct {
        char name[LIVE_LINE_MAX];
        int64_t took_ms;
    } done[LIVE_PHASES_MAX];
    int n_done;
};

void live_line(struct live *l, struct str line, int64_t now);
void live_draw(struct live *l, int64_t start, int64_t now);
/* Takes what was drawn off the terminal; the second is for signal handlers. */
void live_clear(void);
void live_clear_now(void);
/* One line on how long it took, and each phase; nothing without phases. */
void live_summary(struct live *l, int64_t start, int64_t now);

#endif
