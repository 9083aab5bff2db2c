/* tests/images/webapp.c: the app in the small test image: a static HTTP/1.1 server, one thread per connection.
 *
 * It listens on $PORT (default 8080), after $START_DELAY_MS, and answers:
 *
 *     /             text: "hello from <HOSTNAME>"
 *     /json, other  JSON: method, path, body bytes, headers, and the environment
 *     /status/N     status N                      /slow?ms=N    answers after N milliseconds
 *                                                 (&say=N writes "slow N" to stdout first)
 *     /stream?n=N   N lines, chunked, one each 100 ms
 *     /bytes?n=N    N bytes of 'x'                /echo         the body of the request
 *     /exit?code=N  ends the process              /sse          three server-sent events, then stays open
 *     /file/NAME    that file of the working folder
 *     /ws           WebSocket echo (RFC 6455)     /log?n=N      writes N lines to stdout
 *
 * As `sh -c COMMAND` (in the place of a shell) it is the server, and shows $COMMAND. Called as `webapp build N` it is a
 * step of a build instead: it writes N lines, 200 ms apart, and ends.
 *
 * $HEALTH_STATUS is the status of /health (200). $EXIT_CODE ends it at the start, after a line on stderr;
 * $NO_LISTEN=1 never listens; $CRASH_AFTER_MS ends it so long after the first connection.
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_MAX = 64 * 1024, OUT_MAX = 256 * 1024, MAX_HEADERS = 100 };

extern char **environ;

struct conn {
    int fd;
    char head[HEAD_MAX + 1];
    size_t len;               /* bytes in `head`, of the request head and what came after it */
    size_t head_len;          /* of the current request's head, its empty line included */
    char *method, *path, *query;
    struct {
        char *name, *value;
    } headers[MAX_HEADERS];
    int n_headers;
    long long body_left;      /* of a Content-Length body */
    bool keep;
};

static void sleep_ms(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static long env_long(const char *name, long otherwise)
{
    const char *v = getenv(name);
    return v && *v ? strtol(v, NULL, 10) : otherwise;
}

static long query_long(const struct conn *c, const char *name, long otherwise)
{
    size_t n = strlen(name);
    for (const char *p = c->query; p; p = strchr(p, '&')) {
        p += *p == '&';
        if (strncmp(p, name, n) == 0 && p[n] == '=')
            return strtol(p + n + 1, NULL, 10);
    }
    return otherwise;
}

static bool send_all(int fd, const void *data, size_t len)
{
    const char *p = data;
    while (len > 0) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

static const char *header(const struct conn *c, const char *name)
{
    for (int i = 0; i < c->n_headers; i++) {
        if (strcasecmp(c->headers[i].name, name) == 0)
            return c->headers[i].value;
    }
    return NULL;
}

static bool answer(struct conn *c, int status, const char *type, const char *body, size_t len)
{
    char head[512];
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nSet-Cookie: webapp=1; Path=/\r\n"
                     "Connection: %s\r\n%s\r\n",
                     status, status == 200 ? "OK" : "Status", type, len, c->keep ? "keep-alive" : "close",
                     status / 100 == 3 ? "Location: /json\r\n" : "");
    bool is_head = strcmp(c->method, "HEAD") == 0;
    return send_all(c->fd, head, (size_t)n) && (is_head || send_all(c->fd, body, len));
}

/* --- SHA-1 (FIPS 180-4), for the WebSocket handshake only --- */

static uint32_t rol(uint32_t x, int n)
{
    return x << n | x >> (32 - n);
}

static void sha1(const unsigned char *data, size_t len, unsigned char out[20])
{
    uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    unsigned char block[192] = {0};   /* handshake keys fit two blocks */
    size_t total = (len + 9 + 63) / 64 * 64;
    if (total > sizeof block)
        return;
    memcpy(block, data, len);
    block[len] = 0x80;
    for (int i = 0; i < 8; i++)
        block[total - 1 - (size_t)i] = (unsigned char)((uint64_t)len * 8 >> (8 * i));
    for (size_t off = 0; off < total; off += 64) {
        uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
        for (int i = 0; i < 16; i++)
            w[i] = (uint32_t)block[off + (size_t)i * 4] << 24 | (uint32_t)block[off + (size_t)i * 4 + 1] << 16 |
                   (uint32_t)block[off + (size_t)i * 4 + 2] << 8 | block[off + (size_t)i * 4 + 3];
        for (int i = 16; i < 80; i++)
            w[i] = rol(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        for (int i = 0; i < 80; i++) {
            uint32_t f = i < 20 ? (b & c) | (~b & d) : i < 40 ? b ^ c ^ d : i < 60 ? (b & c) | (b & d) | (c & d) : b ^ c ^ d;
            uint32_t k = i < 20 ? 0x5A827999 : i < 40 ? 0x6ED9EBA1 : i < 60 ? 0x8F1BBCDC : 0xCA62C1D6;
            uint32_t t = rol(a, 5) + f + e + k + w[i];
            e = d, d = c, c = rol(b, 30), b = a, a = t;
        }
        h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
    }
    for (int i = 0; i < 20; i++)
        out[i] = (unsigned char)(h[i / 4] >> (24 - 8 * (i % 4)));
}

static void base64(const unsigned char *in, size_t len, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < len; i += 3) {
        unsigned v = (unsigned)in[i] << 16 | (i + 1 < len ? (unsigned)in[i + 1] << 8 : 0) | (i + 2 < len ? in[i + 2] : 0);
        *out++ = digits[v >> 18];
        *out++ = digits[v >> 12 & 63];
        *out++ = i + 1 < len ? digits[v >> 6 & 63] : '=';
        *out++ = i + 2 < len ? digits[v & 63] : '=';
    }
    *out = '\0';
}

/* --- Reading --- */

static bool fill(struct conn *c)
{
    if (c->len >= HEAD_MAX)
        return false;
    ssize_t n;
    do
        n = recv(c->fd, c->head + c->len, HEAD_MAX - c->len, 0);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return false;
    c->len += (size_t)n;
    c->head[c->len] = '\0';
    return true;
}

static bool read_head(struct conn *c)
{
    char *end;
    c->head[c->len] = '\0';
    while (!(end = strstr(c->head, "\r\n\r\n"))) {
        if (!fill(c))
            return false;
    }
    c->head_len = (size_t)(end - c->head) + 4;
    *end = '\0';
    char *save = NULL, *line = strtok_r(c->head, "\r\n", &save);
    if (!line)
        return false;
    c->method = strsep(&line, " ");
    c->path = line ? strsep(&line, " ") : NULL;
    if (!c->path || !line)
        return false;
    c->keep = strcmp(line, "HTTP/1.1") == 0;
    c->query = strchr(c->path, '?');
    if (c->query)
        *c->query++ = '\0';
    for (c->n_headers = 0; (line = strtok_r(NULL, "\r\n", &save)) && c->n_headers < MAX_HEADERS;) {
        char *colon = strchr(line, ':');
        if (!colon)
            continue;
        *colon++ = '\0';
        c->headers[c->n_headers].name = line;
        c->headers[c->n_headers++].value = colon + strspn(colon, " \t");
    }
    const char *connection = header(c, "Connection"), *length = header(c, "Content-Length");
    if (connection && strcasecmp(connection, "close") == 0)
        c->keep = false;
    c->body_left = length ? strtoll(length, NULL, 10) : 0;
    return true;
}

/* A chunked body is read through a byte reader over what is left in `head` and then the socket. */
struct reader {
    struct conn *c;
    size_t at;
};

static int next_byte(struct reader *r)
{
    if (r->at < r->c->len)
        return (unsigned char)r->c->head[r->at++];
    unsigned char b;
    ssize_t n = recv(r->c->fd, &b, 1, 0);
    return n == 1 ? b : -1;
}

/* Reads the body to its end; up to `max` of it into `out`. Returns its length, -1 if it broke off. */
static long long read_body(struct conn *c, char *out, size_t max)
{
    const char *coding = header(c, "Transfer-Encoding");
    struct reader r = {c, c->head_len};
    long long total = 0;
    for (bool chunked = coding && strcasecmp(coding, "chunked") == 0;;) {
        long long left = c->body_left;
        if (chunked) {
            char line[32];
            size_t n = 0;
            int b;
            while ((b = next_byte(&r)) >= 0 && b != '\n') {
                if (n < sizeof line - 1 && b != '\r')
                    line[n++] = (char)b;
            }
            line[n] = '\0';
            if (b < 0)
                return -1;
            if (n == 0)
                continue;
            left = strtoll(line, NULL, 16);
        }
        for (long long i = 0; i < left; i++, total++) {
            if (r.at == c->len) {   /* past the buffer: in larger pieces */
                char piece[16384];
                size_t want = (size_t)(left - i) < sizeof piece ? (size_t)(left - i) : sizeof piece;
                ssize_t n = recv(c->fd, piece, want, 0);
                if (n <= 0)
                    return -1;
                for (ssize_t k = 0; k < n; k++) {
                    if ((size_t)(total + k) < max)
                        out[total + k] = piece[k];
                }
                i += n - 1;
                total += n - 1;
                continue;
            }
            int b = next_byte(&r);
            if ((size_t)total < max)
                out[total] = (char)b;
        }
        if (!chunked || left == 0)
            break;
    }
    if (coding) {   /* the empty line after the last chunk */
        int b;
        while ((b = next_byte(&r)) >= 0 && b != '\n')
            continue;
    }
    memmove(c->head, c->head + r.at, c->len - r.at);
    c->len -= r.at;
    return total;
}

/* --- Pages --- */

struct out {
    char *text;
    size_t len;
};

static void put(struct out *o, const char *s)
{
    size_t n = strlen(s);
    if (o->len + n < OUT_MAX) {
        memcpy(o->text + o->len, s, n);
        o->len += n;
    }
}

static void put_json(struct out *o, const char *s)
{
    put(o, "\"");
    for (; *s; s++) {
        char one[8] = {*s, 0};
        if (*s == '"' || *s == '\\')
            snprintf(one, sizeof one, "\\%c", *s);
        else if ((unsigned char)*s < 0x20)
            snprintf(one, sizeof one, "\\u%04x", (unsigned char)*s);
        put(o, one);
    }
    put(o, "\"");
}

static void describe(const struct conn *c, long long body, struct out *o)
{
    char number[32];
    put(o, "{\"method\": ");
    put_json(o, c->method);
    put(o, ", \"path\": ");
    put_json(o, c->path);
    put(o, ", \"query\": ");
    put_json(o, c->query ? c->query : "");
    snprintf(number, sizeof number, "%lld", body);
    put(o, ", \"body_bytes\": ");
    put(o, number);
    put(o, ", \"headers\": {");
    for (int i = 0; i < c->n_headers; i++) {
        put(o, i ? ", " : "");
        put_json(o, c->headers[i].name);
        put(o, ": ");
        put_json(o, c->headers[i].value);
    }
    put(o, "}, \"env\": {");
    for (char **e = environ; *e; e++) {
        char *eq = strchr(*e, '=');
        if (!eq)
            continue;
        char *name = strndup(*e, (size_t)(eq - *e));
        put(o, e == environ ? "" : ", ");
        put_json(o, name);
        put(o, ": ");
        put_json(o, eq + 1);
        free(name);
    }
    put(o, "}}\n");
}

static bool stream_lines(struct conn *c, long n, const char *type, const char *format)
{
    char head[256], line[128], chunk[160];
    int len = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n", type);
    if (!send_all(c->fd, head, (size_t)len))
        return false;
    for (long i = 0; i < n; i++) {
        int m = snprintf(line, sizeof line, format, i);
        int k = snprintf(chunk, sizeof chunk, "%x\r\n%s\r\n", (unsigned)m, line);
        if (!send_all(c->fd, chunk, (size_t)k))
            return false;
        sleep_ms(100);
    }
    return true;
}

static bool read_exact(struct conn *c, unsigned char *out, size_t n)
{
    size_t have = c->len < n ? c->len : n;
    memcpy(out, c->head, have);
    memmove(c->head, c->head + have, c->len - have);
    c->len -= have;
    while (have < n) {
        ssize_t got = recv(c->fd, out + have, n - have, 0);
        if (got <= 0)
            return false;
        have += (size_t)got;
    }
    return true;
}

/* Echoes frames up to 64 KiB until a close (RFC 6455 5.2). */
static void websocket(struct conn *c, const char *key)
{
    unsigned char text[128], sum[20];
    char accept[32], head[256];
    int n = snprintf((char *)text, sizeof text, "%.60s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    sha1(text, (size_t)n, sum);
    base64(sum, sizeof sum, accept);
    n = snprintf(head, sizeof head,
                 "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                 accept);
    if (!send_all(c->fd, head, (size_t)n))
        return;
    memmove(c->head, c->head + c->head_len, c->len - c->head_len);
    c->len -= c->head_len;
    static _Thread_local unsigned char data[65536];
    for (;;) {
        unsigned char h[8], mask[4], out[4];
        if (!read_exact(c, h, 2))
            return;
        size_t len = h[1] & 127, n_out = 2;
        if (len == 127 || (len == 126 && !read_exact(c, h + 2, 2)))
            return;
        if (len == 126)
            len = (size_t)h[2] << 8 | h[3];
        if (!read_exact(c, mask, 4) || !read_exact(c, data, len))
            return;
        for (size_t i = 0; i < len; i++)
            data[i] ^= mask[i & 3];
        out[0] = (h[0] & 15) == 9 ? 0x8A : h[0];
        out[1] = (unsigned char)(len < 126 ? len : 126);
        if (len >= 126) {
            out[2] = (unsigned char)(len >> 8);
            out[3] = (unsigned char)len;
            n_out = 4;
        }
        if (!send_all(c->fd, out, n_out) || !send_all(c->fd, data, len) || (h[0] & 15) == 8)
            return;
    }
}

static bool page(struct conn *c)
{
    static const char prefix[] = "/status/";
    const char *key = header(c, "Sec-WebSocket-Key");
    struct out o = {.text = malloc(OUT_MAX)};
    char text[256];
    bool ok = true;
    if (!o.text)
        return false;
    if (key) {
        websocket(c, key);
        free(o.text);
        return false;
    }
    /* Names of headers and path point into the buffer that reading a body moves: describe first. */
    bool is_echo = strstr(c->path, "/echo") != NULL;
    struct conn copy = *c;
    if (strcmp(c->path, "/") == 0) {
        int n = snprintf(text, sizeof text, "hello from %s\n", getenv("HOSTNAME") ? getenv("HOSTNAME") : "webapp");
        ok = read_body(&copy, NULL, 0) >= 0 && answer(c, 200, "text/plain", text, (size_t)n);
    } else if (strcmp(c->path, "/health") == 0) {
        ok = read_body(&copy, NULL, 0) >= 0 && answer(c, (int)env_long("HEALTH_STATUS", 200), "text/plain", "ok\n", 3);
    } else if (strncmp(c->path, prefix, sizeof prefix - 1) == 0) {
        ok = read_body(&copy, NULL, 0) >= 0 &&
             answer(c, (int)strtol(c->path + sizeof prefix - 1, NULL, 10), "text/plain", "status\n", 7);
    } else if (strcmp(c->path, "/exit") == 0) {
        answer(c, 200, "text/plain", "bye\n", 4);
        fprintf(stderr, "asked to exit\n");
        _exit((int)query_long(c, "code", 1));
    } else if (strcmp(c->path, "/slow") == 0) {
        if (query_long(c, "say", 0) > 0)
            printf("slow %ld\n", query_long(c, "say", 0));
        sleep_ms(query_long(c, "ms", 1000));
        ok = read_body(&copy, NULL, 0) >= 0 && answer(c, 200, "text/plain", "slow\n", 5);
    } else if (strcmp(c->path, "/stream") == 0) {
        ok = stream_lines(c, query_long(c, "n", 10), "text/plain", "line %ld\n") && send_all(c->fd, "0\r\n\r\n", 5) &&
             read_body(&copy, NULL, 0) >= 0;
    } else if (strcmp(c->path, "/sse") == 0) {
        ok = stream_lines(c, 3, "text/event-stream", "data: event %ld\n\n");
        while (ok && recv(c->fd, text, sizeof text, 0) > 0)
            continue;
        ok = false;
    } else if (strcmp(c->path, "/log") == 0) {
        for (long i = 0, n = query_long(c, "n", 1); i < n; i++)
            printf("log line %ld\n", i);
        fflush(stdout);
        ok = read_body(&copy, NULL, 0) >= 0 && answer(c, 200, "text/plain", "logged\n", 7);
    } else if (strncmp(c->path, "/file/", 6) == 0) {
        FILE *f = strchr(c->path + 6, '/') ? NULL : fopen(c->path + 6, "r");
        size_t n = f ? fread(o.text, 1, OUT_MAX, f) : 0;
        if (f)
            fclose(f);
        ok = read_body(&copy, NULL, 0) >= 0 && answer(c, f ? 200 : 404, "text/plain", o.text, n);
    } else if (strcmp(c->path, "/bytes") == 0) {
        long n = query_long(c, "n", 1024);
        char *bytes = n >= 0 && n <= 1L << 30 ? malloc((size_t)n + 1) : NULL;
        if (bytes)
            memset(bytes, 'x', (size_t)n);
        ok = bytes && read_body(&copy, NULL, 0) >= 0 && answer(c, 200, "application/octet-stream", bytes, (size_t)n);
        free(bytes);
    } else if (is_echo) {
        long long n = read_body(&copy, o.text, OUT_MAX);
        const char *type = header(c, "Content-Type");
        ok = n >= 0 && answer(c, 200, type ? type : "application/octet-stream", o.text, n < OUT_MAX ? (size_t)n : OUT_MAX);
    } else {
        long long n = read_body(&copy, NULL, 0);
        if (n >= 0)
            describe(c, n, &o);
        ok = n >= 0 && answer(c, 200, "application/json", o.text, o.len);
    }
    memcpy(c->head, copy.head, copy.len);
    c->len = copy.len;
    free(o.text);
    return ok && c->keep;
}

static void *serve(void *arg)
{
    struct conn *c = arg;
    while (read_head(c) && page(c))
        continue;
    shutdown(c->fd, SHUT_WR);
    close(c->fd);
    free(c);
    return NULL;
}

static void *crash_later(void *arg)
{
    sleep_ms(*(long *)arg);
    fprintf(stderr, "crashing as told\n");
    _exit(3);
}

static void on_term(int sig)
{
    (void)sig;
    _exit(0);
}

/* `webapp build N`: a step of a build that writes N lines, 200 ms apart. */
static int build(long lines)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (long i = 0; i < lines; i++) {
        printf("build line %ld <&>\n", i);
        sleep_ms(200);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "build") == 0)
        return build(strtol(argv[2], NULL, 10));
    if (argc == 3 && strcmp(argv[1], "-c") == 0)
        setenv("COMMAND", argv[2], 1);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, on_term);   /* process 1 of a container ignores it otherwise */
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 256 * 1024);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    static long crash_ms;
    crash_ms = env_long("CRASH_AFTER_MS", 0);
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("webapp: starting\n");
    if (getenv("EXIT_CODE")) {
        fprintf(stderr, "webapp: told to fail\n");
        return (int)env_long("EXIT_CODE", 1);
    }
    sleep_ms(env_long("START_DELAY_MS", 0));
    while (env_long("NO_LISTEN", 0))
        sleep_ms(1000);
    pthread_t t;
    bool is_ending = false;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)env_long("PORT", 8080))};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 1024) < 0) {
        perror("webapp: listen");
        return 1;
    }
    printf("webapp: listening on port %d\n", ntohs(at.sin_port));
    for (;;) {
        int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        if (client < 0)
            continue;
        if (crash_ms > 0 && !is_ending)
            is_ending = pthread_create(&t, &attr, crash_later, &crash_ms) == 0;
        setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct conn *c = calloc(1, sizeof *c);
        if (!c) {
            close(client);
            continue;
        }
        c->fd = client;
        if (pthread_create(&t, &attr, serve, c) != 0) {
            close(client);
            free(c);
        }
    }
}
