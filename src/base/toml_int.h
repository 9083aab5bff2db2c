/* base/toml_int.h: the scanner that the parts of the TOML reader share.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_TOML_INT_H
#define BASE_TOML_INT_H

#include "buf.h"
#include "toml.h"

enum { TOML_VALUES_MAX = 1000000 };

struct toml_parser {
    struct arena *arena;
    struct str text;
    size_t pos;
    uint32_t line;
    size_t line_start;   /* offset of the line's first byte */
    size_t values;       /* made so far */
    struct buf scratch;  /* the string or number being read */
    struct err *err;
};

/* The byte at `pos` + `ahead`, -1 at the end. */
static inline int toml_peek(const struct toml_parser *p, size_t ahead)
{
    return p->pos + ahead < p->text.len ? (unsigned char)p->text.ptr[p->pos + ahead] : -1;
}
/* Fails with the place of offset `pos`. */
bool toml_fail_at(struct toml_parser *p, size_t pos, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* newline = %x0A / %x0D.0A; false if there is none here. */
bool toml_take_newline(struct toml_parser *p);
/* ws = *( %x20 / %x09 ) */
void toml_skip_ws(struct toml_parser *p);

/* string = ml-basic-string / basic-string / ml-literal-string / literal-string; the parser is at a quote. */
bool toml_string(struct toml_parser *p, bool multi_line_ok, struct str *out);
/* boolean / date-time / float / integer: whatever is not quoted or bracketed. */
bool toml_scalar(struct toml_parser *p, struct toml_value *v);

#endif
