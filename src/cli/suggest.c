/* cli/suggest.c: "did you mean": the known name most like a mistyped one.
 * SPDX-License-Identifier: Apache-2.0 */
#include "args.h"

enum { WORD_MAX = 64, PREFIX_MAX = 4 };
static const double boost_from = 0.7;

/* Jaro similarity. Words are short: what is past WORD_MAX bytes is not compared. */
static double jaro(struct str a, struct str b)
{
    bool a_hit[WORD_MAX] = {false}, b_hit[WORD_MAX] = {false};
    size_t window = MAX(a.len, b.len) / 2;
    window = window > 0 ? window - 1 : 0;
    size_t hits = 0;
    for (size_t i = 0; i < a.len; i++) {
        size_t from = i > window ? i - window : 0, to = MIN(i + window + 1, b.len);
        for (size_t j = from; j < to; j++) {
            if (b_hit[j] || a.ptr[i] != b.ptr[j])
                continue;
            a_hit[i] = b_hit[j] = true;
            hits++;
            break;
        }
    }
    if (hits == 0)
        return 0;
    size_t crossed = 0;
    for (size_t i = 0, j = 0; i < a.len; i++) {
        if (!a_hit[i])
            continue;
        while (!b_hit[j])
            j++;
        crossed += a.ptr[i] != b.ptr[j++];
    }
    double m = (double)hits;
    return (m / (double)a.len + m / (double)b.len + (m - (double)(crossed / 2)) / m) / 3;
}

double suggest_similarity(struct str a, struct str b)
{
    a = str_slice(a, 0, WORD_MAX);
    b = str_slice(b, 0, WORD_MAX);
    if (a.len == 0 || b.len == 0)
        return 0;
    double like = jaro(a, b);
    if (like <= boost_from)
        return like;
    size_t prefix = 0;
    while (prefix < PREFIX_MAX && prefix < a.len && prefix < b.len && a.ptr[prefix] == b.ptr[prefix])
        prefix++;
    return like + 0.1 * (double)prefix * (1 - like);
}

struct best {
    struct str name;
    double like;
};

static void consider(struct best *best, const char *name, const char *aliases, struct str word)
{
    for (size_t i = 0;; i++) {
        struct str candidate = name_at(name, aliases, i);
        if (candidate.len == 0)
            return;
        double like = suggest_similarity(candidate, word);
        if (like > best->like)
            *best = (struct best){candidate, like};
    }
}

struct str suggest_command(const struct command *group, struct str word)
{
    struct best best = {0};
    for (size_t i = 0; group->subs && group->subs[i]; i++)
        consider(&best, group->subs[i]->name, group->subs[i]->aliases, word);
    consider(&best, "help", "h", word);
    return best.name;
}

struct str suggest_flag(const struct command *cmd, struct str word)
{
    struct best best = {0};
    for (const struct flag *f = cmd->flags; f && f->name; f++)
        consider(&best, f->name, f->aliases, word);
    consider(&best, "help", "h", word);
    return best.name;
}
