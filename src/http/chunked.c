/* http/chunked.c: decodes chunked bodies (RFC 9112 §7.1), whatever pieces they come in.
 *
 *     SIZE --";"--> EXT --CR--> SIZE_LF --> DATA --> DATA_CR --> DATA_LF --> SIZE
 *       '----------CR-----------^  '--size 0--> TRAILER --CR--> END_LF --> DONE
 *                                                 |  ^
 *                                                 v  '--LF--.
 *                                               FIELD --CR--> FIELD_LF
 *
 * Data is given out as slices of the input. Extensions and trailer fields mean nothing to us: their bytes
 * are checked, counted against OVERHEAD_MAX and dropped.
 * SPDX-License-Identifier: Apache-2.0 */
#include "http_int.h"

enum {
    SIZE_FIRST, /* the first digit of a chunk size */
    SIZE,       /* further digits */
    EXT,        /* chunk extension, up to CR */
    SIZE_LF,    /* LF after size and extension */
    DATA,       /* `left` bytes to come */
    DATA_CR,    /* CRLF after the data */
    DATA_LF,
    TRAILER, /* start of a trailer line, or CR of the final one */
    FIELD,   /* inside a trailer line */
    FIELD_LF,
    END_LF, /* LF of the final line */
    DONE,
};

enum {
    OVERHEAD_MAX = 4096,  /* one chunk's extension, or all trailers */
    SIZE_DIGITS_MAX = 15, /* leaves room to add without overflow */
};

static bool is_text(unsigned char c)
{
    return (c >= 0x20 && c != 0x7f) || c == '\t';
}

/* One byte that is not data. Returns what is wrong with it, or NULL. */
static const char *step(struct http_chunked *d, unsigned char c)
{
    int digit;
    switch (d->state) {
    case SIZE_FIRST:
    case SIZE:
        digit = hex_digit(c);
        if (digit >= 0) {
            if (d->state == SIZE && ++d->overhead >= SIZE_DIGITS_MAX)
                return "a chunk size is too large";
            d->left = d->left * 16 + (unsigned)digit;
            d->state = SIZE;
            return NULL;
        }
        if (d->state == SIZE_FIRST)
            return "a chunk does not start with its size";
        d->overhead = 0;
        if (c == '\r')
            d->state = SIZE_LF;
        else if (c == ';')
            d->state = EXT;
        else
            return "CRLF must follow a chunk size";
        return NULL;
    case EXT:
        if (c == '\r')
            d->state = SIZE_LF;
        else if (!is_text(c))
            return "a chunk extension has a control character";
        else if (++d->overhead > OVERHEAD_MAX)
            return "a chunk extension is too long";
        return NULL;
    case SIZE_LF:
        if (c != '\n')
            return "CRLF must follow a chunk size";
        d->overhead = 0;
        d->state = d->left > 0 ? DATA : TRAILER;
        return NULL;
    case DATA_CR: d->state = DATA_LF; return c == '\r' ? NULL : "CRLF must follow a chunk";
    case DATA_LF: d->state = SIZE_FIRST; return c == '\n' ? NULL : "CRLF must follow a chunk";
    case TRAILER:
        if (c == '\r') {
            d->state = END_LF;
            return NULL;
        }
        if (c == ' ' || c == '\t' || c == ':')
            return "a trailer line has no name";
        d->state = FIELD;
        /* fall through */
    case FIELD:
        if (c == '\r')
            d->state = FIELD_LF;
        else if (!is_text(c))
            return "a trailer has a control character";
        else if (++d->overhead > OVERHEAD_MAX)
            return "the trailers are too long";
        return NULL;
    case FIELD_LF: d->state = TRAILER; return c == '\n' ? NULL : "CRLF must follow a trailer";
    case END_LF: d->state = DONE; return c == '\n' ? NULL : "CRLF must follow the last chunk";
    default: return "data after the last chunk";
    }
}

enum http_parse http_chunked_next(struct http_chunked *d, struct str in, size_t *used, struct str *data,
                                  const char **why)
{
    *data = (struct str){0};
    for (size_t i = 0; i < in.len; i++) {
        if (d->state == DATA) {
            size_t n = d->left < in.len - i ? (size_t)d->left : in.len - i;
            *data = str_of(in.ptr + i, n);
            *used = i + n;
            d->left -= n;
            if (d->left == 0)
                d->state = DATA_CR;
            return HTTP_PARSE_MORE;
        }
        const char *wrong = step(d, (unsigned char)in.ptr[i]);
        if (wrong) {
            *why = wrong;
            return HTTP_PARSE_BAD;
        }
        if (d->state == DONE) {
            *used = i + 1;
            return HTTP_PARSE_DONE;
        }
    }
    *used = in.len;
    return HTTP_PARSE_MORE;
}
