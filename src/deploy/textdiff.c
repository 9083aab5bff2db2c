/* deploy/textdiff.c: two texts as a unified diff.
 *
 * Common lines at both ends go first; what is left is compared with Myers' algorithm (An O(ND) Difference
 * Algorithm, 1986), which finds the shortest edit by how many edits it takes. Texts that differ in more than
 * EDITS_MAX lines are shown as one replaced by the other: its memory grows with the square of that.
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_int.h"

enum { EDITS_MAX = 1500, CONTEXT = 3 };

struct lines {
    struct str *items;
    size_t len, cap;
    bool lacks_end; /* no line feed after the last one */
};

/* One text against the other: which lines of each are not in the other. */
struct script {
    struct lines a, b;
    bool *gone;  /* [a.len] */
    bool *added; /* [b.len] */
};

static struct lines split(struct arena *a, struct str text)
{
    struct lines out = {0};
    while (text.len > 0) {
        size_t end = str_chr(text, '\n');
        out.lacks_end = end == STR_NPOS;
        *vec_push(a, &out) = str_slice(text, 0, end);
        text = str_from_off(text, out.lacks_end ? text.len : end + 1);
    }
    return out;
}

/* The last lines of both count as the same only if both have, or lack, their line feed. */
static bool is_same(const struct script *s, size_t x, size_t y)
{
    bool x_ends = x + 1 == s->a.len && s->a.lacks_end, y_ends = y + 1 == s->b.len && s->b.lacks_end;
    return x_ends == y_ends && str_eq(s->a.items[x], s->b.items[y]);
}

/* What is compared: a[x0..x0+n) with b[y0..y0+m). */
struct window {
    size_t x0, y0;
    int n, m;
};

/* Walks back through the furthest points that were reached with each number of edits. */
static void trace_back(struct script *s, const struct window *w, int **reached, int edits)
{
    int x = w->n, y = w->m;
    for (int d = edits; d > 0; d--) {
        const int *v = reached[d - 1] + d; /* of diagonals -(d-1)..d-1, and one more at each side */
        int k = x - y;
        bool is_insert = k == -d || (k != d && v[k - 1] < v[k + 1]);
        int from = is_insert ? k + 1 : k - 1;
        int px = v[from], py = px - from;
        if (is_insert)
            s->added[w->y0 + (size_t)py] = true;
        else
            s->gone[w->x0 + (size_t)px] = true;
        x = px;
        y = py;
    }
}

/* False if it takes more edits than EDITS_MAX. */
static bool shortest_edit(struct arena *arena, struct script *s, const struct window *w)
{
    int max = MIN(w->n + w->m, EDITS_MAX);
    int **reached = arena_array(arena, int *, (size_t)max + 1);
    for (int d = 0; d <= max; d++) {
        /* reached[d][k + d + 1]: the furthest x on diagonal k after d edits; unreached ends are -1. */
        int *now = arena_array(arena, int, 2 * (size_t)d + 3), *v = now + d + 1;
        const int *before = d > 0 ? reached[d - 1] + d : NULL;
        reached[d] = now;
        v[-d - 1] = v[d + 1] = -1;
        for (int k = -d; k <= d; k++) {
            v[k] = -1;
            if (k % 2 != d % 2 && k % 2 != -(d % 2))
                continue;
            bool is_insert = d > 0 && (k == -d || (k != d && before[k - 1] < before[k + 1]));
            int from = d == 0 ? 0 : is_insert ? before[k + 1] : before[k - 1];
            int x = d == 0 || is_insert ? from : from + 1;
            if (from < 0 || x > w->n || x - k < 0 || x - k > w->m)
                continue;
            while (x < w->n && x - k < w->m && is_same(s, w->x0 + (size_t)x, w->y0 + (size_t)(x - k)))
                x++;
            v[k] = x;
            if (x == w->n && x - k == w->m) {
                trace_back(s, w, reached, d);
                return true;
            }
        }
    }
    return false;
}

static void compare(struct arena *arena, struct script *s)
{
    size_t from = 0, a_end = s->a.len, b_end = s->b.len;
    while (from < a_end && from < b_end && is_same(s, from, from))
        from++;
    while (a_end > from && b_end > from && is_same(s, a_end - 1, b_end - 1)) {
        a_end--;
        b_end--;
    }
    bool is_small = a_end - from < INT32_MAX / 4 && b_end - from < INT32_MAX / 4;
    struct window w = {from, from, (int)(a_end - from), (int)(b_end - from)};
    if (is_small && shortest_edit(arena, s, &w))
        return;
    for (size_t i = from; i < a_end; i++)
        s->gone[i] = true;
    for (size_t i = from; i < b_end; i++)
        s->added[i] = true;
}

/* --- hunks --- */

static void add_line(struct buf *out, char mark, const struct lines *l, size_t i)
{
    buf_add_char(out, mark);
    buf_add_str(out, l->items[i]);
    buf_add_char(out, '\n');
    if (l->lacks_end && i + 1 == l->len)
        buf_add_z(out, "\\ No newline at end of file\n");
}

/* The lines x..x_end of a and y..y_end of b, which begin and end at the same places. */
static void add_hunk(struct buf *out, const struct script *s, size_t x, size_t x_end, size_t y, size_t y_end)
{
    buf_printf(out, "@@ -%zu,%zu +%zu,%zu @@\n", x_end > x ? x + 1 : x, x_end - x, y_end > y ? y + 1 : y,
               y_end - y);
    while (x < x_end || y < y_end) {
        if (x < x_end && s->gone[x])
            add_line(out, '-', &s->a, x++);
        else if (y < y_end && s->added[y])
            add_line(out, '+', &s->b, y++);
        else {
            add_line(out, ' ', &s->a, x++);
            y++;
        }
    }
}

static bool is_edit(const struct script *s, size_t x, size_t y)
{
    return (x < s->a.len && s->gone[x]) || (y < s->b.len && s->added[y]);
}

/* Goes over the next edits, and the same lines between those that are near each other. */
static void skip_edits(const struct script *s, size_t *x, size_t *y)
{
    for (;;) {
        while (*x < s->a.len && s->gone[*x])
            (*x)++;
        while (*y < s->b.len && s->added[*y])
            (*y)++;
        size_t i = 0;
        while (i <= 2 * CONTEXT && *x + i < s->a.len && *y + i < s->b.len && !is_edit(s, *x + i, *y + i))
            i++;
        if (i > 2 * CONTEXT || !is_edit(s, *x + i, *y + i))
            return;
        *x += i;
        *y += i;
    }
}

bool textdiff(struct arena *arena, struct str old, struct str now, struct buf *out)
{
    struct script s = {.a = split(arena, old), .b = split(arena, now)};
    s.gone = arena_array(arena, bool, s.a.len + 1);
    s.added = arena_array(arena, bool, s.b.len + 1);
    compare(arena, &s);
    size_t x = 0, y = 0, done = 0; /* done: lines of a that are in a hunk */
    while (x < s.a.len || y < s.b.len) {
        if (!is_edit(&s, x, y)) {
            x++;
            y++;
            continue;
        }
        size_t before = MIN(MIN(x - done, y), CONTEXT), hx = x - before, hy = y - before;
        skip_edits(&s, &x, &y);
        size_t after = MIN(MIN(s.a.len - x, s.b.len - y), CONTEXT);
        x += after;
        y += after;
        add_hunk(out, &s, hx, x, hy, y);
        done = x;
    }
    return !out->is_full;
}
