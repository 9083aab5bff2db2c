/* base/str.h: string slices: a pointer and a length, not NUL-terminated, never owning.
 *
 * A slice lives as long as what it points into. `{NULL, 0}` is the empty slice. Functions that make
 * text take an arena first. NUL-terminated text exists only at the border with a library: str_z().
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_STR_H
#define BASE_STR_H

#include "util.h"

#include <stdarg.h>

struct arena;

struct str {
    const char *ptr;
    size_t len;
};

#define STR(literal) ((struct str){"" literal, sizeof(literal) - 1})
#define STR_INIT(literal) {"" literal, sizeof(literal) - 1}   /* for static initializers */
#define STR_FMT      "%.*s"
#define STR_ARG(s)   (int)(s).len, (s).ptr

/* A slice of NUL-terminated `z`; NULL gives the empty slice. */
struct str str_from(const char *z);
static inline struct str str_of(const void *ptr, size_t len)
{
    return (struct str){ptr, len};
}
static inline bool str_is_empty(struct str s)
{
    return s.len == 0;
}

bool str_eq(struct str a, struct str b);
bool str_eq_z(struct str a, const char *z);
bool str_eq_nocase(struct str a, struct str b);   /* ASCII case only */
int str_cmp(struct str a, struct str b);          /* bytewise, shorter first */
void str_sort(struct str *items, size_t n);       /* by str_cmp() */
bool str_starts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);

#define STR_NPOS ((size_t)-1)
/* Offset of the first (last) byte or substring, or STR_NPOS. */
size_t str_chr(struct str s, char c);
size_t str_rchr(struct str s, char c);
size_t str_find(struct str s, struct str needle);

/* Bytes [from, to) of `s`; both are clamped to its length. */
struct str str_slice(struct str s, size_t from, size_t to);
struct str str_from_off(struct str s, size_t from);
/* At most the first `max` bytes, cut between the characters of UTF-8. */
struct str str_clip(struct str s, size_t max);
struct str str_trim(struct str s);                  /* ASCII white space at both ends */
struct str str_trim_char(struct str s, char c);     /* `c` at both ends */
struct str str_trim_right(struct str s, char c);    /* `c` at the end */

/* Splits at the first `sep`: *before, *after, true; without one *before = s, *after empty, false.
 * `before` and `after` may be NULL or point at `s`'s own storage. */
bool str_cut(struct str s, char sep, struct str *before, struct str *after);

/* Takes the next `sep`-separated part off `*rest`; false when nothing is left (an empty tail after a
 * last separator is one more, empty, part). Start with a copy of the text; `rest->ptr` becomes NULL
 * at the end. */
bool str_next(struct str *rest, char sep, struct str *part);

/* Whole-string number parse; false on empty, sign misuse, other bytes or overflow. */
bool str_to_i64(struct str s, int64_t *out);
bool str_to_u64(struct str s, uint64_t *out);

/* The value of a hexadecimal digit, of either case; -1 for any other byte. */
static inline int hex_digit(int c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}
/* True if there is nothing but digits and a to f, as digests are written. */
bool str_is_lower_hex(struct str s);

/* Copies and formats, allocated in `a`. */
struct str str_dup(struct arena *a, struct str s);
char *str_z(struct arena *a, struct str s);   /* NUL-terminated copy; an inner NUL ends it early for C */
struct str str_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
struct str str_vprintf(struct arena *a, const char *fmt, va_list ap) PRINTF_LIKE(2, 0) __attribute__((nonnull(2)));
struct str str_cat(struct arena *a, struct str x, struct str y);
struct str str_lower(struct arena *a, struct str s);   /* ASCII */
struct str str_hex(struct arena *a, const void *bytes, size_t len);
/* An address as it may be shown: without the user and password between "://" and "@" (for ssh: without the password),
 * and without the query, where tokens stand too. A slice or in `a`; what is no address comes back as it is. */
struct str str_shown_url(struct arena *a, struct str url);

/* SipHash-1-3 with a key drawn at process start: safe for keys that an attacker chooses. */
uint64_t str_hash(struct str s);

/* Constant-time equality for secrets (length may leak). */
bool str_eq_secret(struct str a, struct str b);

/* True if `s` is valid UTF-8 (no surrogates, no overlong forms, at most U+10FFFF; RFC 3629). */
bool str_is_utf8(struct str s);

/* The candidate most like `s` (for "did you mean"), or an empty slice when none is near enough:
 * an edit distance of at most a third of the longer length. */
struct str str_nearest(struct str s, const struct str *candidates, size_t n);

#endif
