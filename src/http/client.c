/* http/client.c: the blocking client: one libcurl transfer at a time over a kept connection cache.
 *
 * Each fetch configures the one easy handle anew (curl_easy_reset keeps connections, which live in the
 * multi handle) and drives it with curl_multi_poll, so that cancelling and the idle deadline need no
 * help from the peer.
 * SPDX-License-Identifier: Apache-2.0 */
#include "http.h"

#include <curl/curl.h>

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>

enum { PATIENT_MS = 30000 };
enum { TICK_MS = 100 }; /* longest wait before the cancel flag and the idle deadline are looked at */

struct http_client {
    CURLM *multi;
    CURL *easy;
};

/* One fetch under way. */
struct transfer {
    CURL *easy;
    const struct http_fetch *f;
    struct arena *arena;
    struct http_answer res;      /* headers valid once head_done */
    struct buf head;             /* lines of the response head being received */
    struct buf body;
    bool head_done;              /* the blank line of a final head was seen: what follows are trailers */
    bool head_told;              /* on_head was called */
    bool failed;                 /* a callback filled `err` */
    uint64_t ticks;              /* bytes seen by callbacks: any change is progress */
    struct err err;
    char curl_text[CURL_ERROR_SIZE];
};

static void transfer_release(struct transfer *t)
{
    buf_release(&t->head);
    buf_release(&t->body);
    err_release(&t->err);
}

static void slist_cleanup(struct curl_slist **l)
{
    curl_slist_free_all(*l);
}

static void curlu_cleanup(CURLU **u)
{
    curl_url_cleanup(*u);
}

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void curl_start(void)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        BUG("libcurl does not start");
}

struct http_client *http_client_open(void)
{
    pthread_once(&curl_once, curl_start);
    struct http_client *c = xcalloc(1, sizeof *c);
    c->multi = curl_multi_init();
    c->easy = curl_easy_init();
    if (!c->multi || !c->easy)
        BUG("libcurl cannot allocate its handles");
    return c;
}

void http_client_close(struct http_client *c)
{
    if (!c)
        return;
    curl_easy_cleanup(c->easy);
    curl_multi_cleanup(c->multi);
    free(c);
}

void http_client_cleanup(struct http_client **c)
{
    http_client_close(*c);
}

struct str http_answer_header(const struct http_answer *res, struct str name)
{
    for (size_t i = 0; i < res->header_count; i++)
        if (str_eq_nocase(res->headers[i].name, name))
            return res->headers[i].value;
    return (struct str){0};
}

/* --- what curl calls --- */

static size_t give_up(struct transfer *t)
{
    t->failed = true;
    return 0; /* any count but the full one ends the transfer */
}

/* Turns the received lines into res.status and res.headers. */
static bool parse_head(struct transfer *t)
{
    size_t lines = 0;
    for (size_t i = 0; i < t->head.len; i++)
        lines += t->head.ptr[i] == '\n';
    char *text = arena_try_alloc(t->arena, t->head.len + 1);
    struct http_pair *headers = arena_try_alloc(t->arena, (lines + 1) * sizeof *headers);
    if (!text || !headers)
        return err_set(&t->err, ERR_TOO_LARGE, "the answer's headers do not fit in the memory allowed");
    memcpy(text, t->head.ptr, t->head.len);
    struct str rest = str_of(text, t->head.len), line;
    size_t n = 0;
    str_next(&rest, '\n', &line); /* the status line */
    while (str_next(&rest, '\n', &line)) {
        struct str name, value;
        if (str_cut(line, ':', &name, &value))
            headers[n++] = (struct http_pair){str_trim(name), str_trim(value)};
    }
    long status = 0;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    t->res.status = (int)status;
    t->res.headers = headers;
    t->res.header_count = n;
    return true;
}

static bool tell_head(struct transfer *t)
{
    if (t->head_told)
        return true;
    t->head_told = true;
    return !t->f->on_head || t->f->on_head(t->f->body_arg, &t->res, &t->err);
}

static size_t header_cb(char *data, size_t one, size_t len, void *arg)
{
    struct transfer *t = arg;
    struct str line = str_of(data, len);
    t->ticks += len;
    if (str_starts(line, STR("HTTP/"))) {
        buf_clear(&t->head); /* a 1xx, a redirect or an answer to a challenge came before */
        t->head_done = false;
    } else if (t->head_done) {
        return len;
    }
    if (!buf_add_str(&t->head, line)) {
        err_set(&t->err, ERR_TOO_LARGE, "the answer's headers are larger than %d bytes", HTTP_FETCH_MAX_HEAD);
        return give_up(t);
    }
    if (str_trim(line).len > 0)
        return len;
    t->head_done = true;
    if (!parse_head(t))
        return give_up(t);
    bool may_follow = t->res.status / 100 == 3 && t->f->max_redirects > 0
                      && http_answer_header(&t->res, STR("location")).len > 0;
    if (t->res.status >= 200 && !may_follow && !tell_head(t))
        return give_up(t);
    return len;
}

static size_t write_cb(char *data, size_t one, size_t len, void *arg)
{
    struct transfer *t = arg;
    t->ticks += len;
    if (!tell_head(t))
        return give_up(t);
    if (t->f->on_body)
        return t->f->on_body(t->f->body_arg, str_of(data, len), &t->err) ? len : give_up(t);
    if (buf_add(&t->body, data, len))
        return len;
    err_set(&t->err, ERR_TOO_LARGE, "the answer is larger than %zu bytes", t->body.max);
    return give_up(t);
}

static size_t read_cb(char *buf, size_t one, size_t cap, void *arg)
{
    struct transfer *t = arg;
    size_t len = 0;
    if (!t->f->read_body(t->f->read_arg, buf, cap, &len, &t->err)) {
        t->failed = true;
        return CURL_READFUNC_ABORT;
    }
    t->ticks += len;
    return len;
}

/* --- setting a transfer up --- */

/* Checks the URL; *shown is how messages name it: without user info, query and fragment. */
static bool parse_url(struct arena *a, struct str url, CURLU *u, const char **shown, struct err *err)
{
    if (url.len == 0 || !http_is_field_value(url))
        return err_set(err, ERR_INVALID, "the URL to fetch is empty or has control characters");
    CURLUcode rc = curl_url_set(u, CURLUPART_URL, str_z(a, url), CURLU_DISALLOW_USER | CURLU_URLENCODE);
    if (rc == CURLUE_USER_NOT_ALLOWED)
        return err_set(err, ERR_INVALID, "the URL has a user name in it: pass user and password apart");
    if (rc != CURLUE_OK) {
        struct str plain;
        str_cut(url, '?', &plain, NULL); /* a query may hold secrets */
        return err_set(err, ERR_INVALID, "the URL \"%.*s\" cannot be used: %s", STR_ARG(plain),
                       curl_url_strerror(rc));
    }
    char *scheme = NULL, *host = NULL, *port = NULL, *path = NULL;
    curl_url_get(u, CURLUPART_SCHEME, &scheme, 0);
    curl_url_get(u, CURLUPART_HOST, &host, 0);
    curl_url_get(u, CURLUPART_PORT, &port, 0);
    curl_url_get(u, CURLUPART_PATH, &path, 0);
    bool ok = scheme && host && (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
    if (!ok)
        err_set(err, ERR_INVALID, "the URL must start with http:// or https://");
    else
        *shown = str_printf(a, "%s://%s%s%s%s", scheme, host, port ? ":" : "", port ? port : "",
                            path ? path : "/").ptr;
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_free(path);
    return ok;
}

static bool add_headers(struct arena *a, const struct http_fetch *f, struct curl_slist **list, struct err *err)
{
    bool has_type = false, has_expect = false;
    for (size_t i = 0; i < f->header_count; i++) {
        struct str name = f->headers[i].name, value = f->headers[i].value;
        if (!http_is_token(name))
            return err_set(err, ERR_INVALID, "\"%.*s\" is not a header name", STR_ARG(name));
        if (!http_is_field_value(value))
            return err_set(err, ERR_INVALID, "the value of header %.*s has control characters", STR_ARG(name));
        has_type |= str_eq_nocase(name, STR("content-type"));
        has_expect |= str_eq_nocase(name, STR("expect"));
        /* "Name;" is how curl is asked for an empty value; "Name:" would remove the header. */
        struct str line = value.len > 0 ? str_printf(a, "%.*s: %.*s", STR_ARG(name), STR_ARG(value))
                                        : str_printf(a, "%.*s;", STR_ARG(name));
        *list = curl_slist_append(*list, str_z(a, line));
    }
    if (!has_type)
        *list = curl_slist_append(*list, "Content-Type:");
    if (!has_expect)
        *list = curl_slist_append(*list, "Expect:"); /* no second of waiting for a 100 that few send */
    return true;
}

static void set_method_and_body(CURL *e, struct transfer *t, struct str method, struct arena *a)
{
    const struct http_fetch *f = t->f;
    if (f->read_body) {
        curl_easy_setopt(e, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(e, CURLOPT_READFUNCTION, read_cb);
        curl_easy_setopt(e, CURLOPT_READDATA, t);
        curl_easy_setopt(e, CURLOPT_INFILESIZE_LARGE, (curl_off_t)(f->body_size > 0 ? f->body_size : -1));
    } else if (f->body.len > 0 || str_eq(method, STR("POST")) || str_eq(method, STR("PUT"))
               || str_eq(method, STR("PATCH"))) {
        curl_easy_setopt(e, CURLOPT_POST, 1L);
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)f->body.len);
        curl_easy_setopt(e, CURLOPT_POSTFIELDS, f->body.len > 0 ? f->body.ptr : "");
        if (str_eq(method, STR("POST")))
            return; /* so that a 303 turns it into GET */
    } else if (str_eq(method, STR("HEAD"))) {
        curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
        return;
    } else if (str_eq(method, STR("GET"))) {
        curl_easy_setopt(e, CURLOPT_HTTPGET, 1L);
        return;
    }
    curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, str_z(a, method));
}

static void set_options(CURL *e, struct transfer *t, CURLU *url, struct curl_slist *headers, struct arena *a)
{
    const struct http_fetch *f = t->f;
    curl_easy_setopt(e, CURLOPT_CURLU, url);
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, t->curl_text);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, header_cb);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, write_cb);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION,
                     (long)(f->is_http1_only ? CURL_HTTP_VERSION_1_1 : CURL_HTTP_VERSION_2TLS));
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS,
                     (long)MIN(f->connect_timeout_ms > 0 ? f->connect_timeout_ms : HTTP_FETCH_CONNECT_MS, INT_MAX));
    if (f->total_timeout_ms > 0)
        curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)MIN(f->total_timeout_ms, INT_MAX));
    if (!f->use_env_proxy)
        curl_easy_setopt(e, CURLOPT_PROXY, "");
    if (f->unix_socket.len > 0)
        curl_easy_setopt(e, CURLOPT_UNIX_SOCKET_PATH, str_z(a, f->unix_socket));
    if (f->decompress)
        curl_easy_setopt(e, CURLOPT_ACCEPT_ENCODING, "");
    if (f->max_redirects > 0) {
        curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 1L);
        curl_easy_setopt(e, CURLOPT_MAXREDIRS, (long)f->max_redirects);
    }
    if (f->user) {
        curl_easy_setopt(e, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        curl_easy_setopt(e, CURLOPT_USERNAME, f->user);
        curl_easy_setopt(e, CURLOPT_PASSWORD, f->password ? f->password : "");
    }
    if (f->skip_tls_verify) {
        curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (f->ca_file) {
        curl_easy_setopt(e, CURLOPT_CAINFO, f->ca_file);
        curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
    }
    if (f->client_cert_file) {
        curl_easy_setopt(e, CURLOPT_SSLCERT, f->client_cert_file);
        curl_easy_setopt(e, CURLOPT_SSLKEY, f->client_key_file ? f->client_key_file : f->client_cert_file);
    }
}

/* --- running it --- */

static enum err_code code_of(CURLcode rc)
{
    switch (rc) {
    case CURLE_OPERATION_TIMEDOUT:
        return ERR_TIMEOUT;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
        return ERR_UNAVAILABLE;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
        return ERR_INVALID;
    case CURLE_OUT_OF_MEMORY:
        return ERR_INTERNAL;
    default:
        return ERR_UPSTREAM;
    }
}

static uint64_t progress_of(const struct transfer *t)
{
    curl_off_t up = 0;
    curl_easy_getinfo(t->easy, CURLINFO_SIZE_UPLOAD_T, &up);
    return t->ticks + (uint64_t)up;
}

/* Drives the transfer to its end; false with `err` when we end it ourselves. */
static bool drive(CURLM *m, struct transfer *t, CURLcode *rc, struct err *err)
{
    const struct http_fetch *f = t->f;
    int64_t last_ms = clock_ms();
    uint64_t last = 0;
    for (;;) {
        int running = 0, queued = 0;
        CURLMcode mc = curl_multi_perform(m, &running);
        if (mc != CURLM_OK)
            return err_set(err, ERR_INTERNAL, "%s", curl_multi_strerror(mc));
        for (CURLMsg *msg; (msg = curl_multi_info_read(m, &queued));) {
            if (msg->msg == CURLMSG_DONE) {
                *rc = msg->data.result;
                return true;
            }
        }
        if (f->cancel && atomic_load_explicit(f->cancel, memory_order_relaxed))
            return err_set(err, ERR_CANCELLED, "cancelled");
        int wait_ms = f->cancel ? TICK_MS : f->cancel_fd > 0 ? PATIENT_MS : 1000;
        if (f->idle_timeout_ms > 0) {
            int64_t now_ms = clock_ms();
            uint64_t now = progress_of(t);
            if (now != last) {
                last = now;
                last_ms = now_ms;
            }
            int64_t left = last_ms + f->idle_timeout_ms - now_ms;
            if (left <= 0)
                return err_set(err, ERR_TIMEOUT, "no progress for %lld ms", (long long)f->idle_timeout_ms);
            wait_ms = (int)MIN((int64_t)wait_ms, left);
        }
        struct curl_waitfd stop = {.fd = f->cancel_fd, .events = CURL_WAIT_POLLIN};
        curl_multi_poll(m, &stop, f->cancel_fd > 0 ? 1 : 0, wait_ms, NULL);
        if (f->cancel_fd > 0 && stop.revents)
            return err_set(err, ERR_CANCELLED, "cancelled");
    }
}

static bool finish(struct transfer *t, CURLcode rc, struct err *err)
{
    if (t->failed)
        return err_move(err, &t->err);
    if (rc != CURLE_OK)
        return err_set(err, code_of(rc), "%s", t->curl_text[0] ? t->curl_text : curl_easy_strerror(rc));
    if (!tell_head(t))
        return err_move(err, &t->err);
    if (t->body.len > 0) {
        char *p = arena_try_alloc(t->arena, t->body.len + 1);
        if (!p)
            return err_set(err, ERR_TOO_LARGE, "the answer does not fit in the memory allowed");
        memcpy(p, t->body.ptr, t->body.len);
        p[t->body.len] = '\0';
        t->res.body = str_of(p, t->body.len);
    }
    char *url = NULL;
    long opened = 0;
    curl_easy_getinfo(t->easy, CURLINFO_EFFECTIVE_URL, &url);
    curl_easy_getinfo(t->easy, CURLINFO_NUM_CONNECTS, &opened);
    t->res.url = str_dup(t->arena, str_from(url));
    t->res.is_reused = opened == 0;
    return true;
}

bool http_fetch(struct http_client *c, struct arena *a, const struct http_fetch *f, struct http_answer *out,
                struct err *err)
{
    bool has_body = f->body.len > 0 || f->read_body;
    struct str method = f->method.len > 0 ? f->method : has_body ? STR("POST") : STR("GET");
    if (!http_is_token(method))
        return err_set(err, ERR_INVALID, "\"%.*s\" is not an HTTP method", STR_ARG(method));

    scoped_arena tmp = {0};
    CLEANUP(curlu_cleanup) CURLU *url = curl_url();
    CLEANUP(slist_cleanup) struct curl_slist *headers = NULL;
    CLEANUP(transfer_release) struct transfer t = {
        .easy = c->easy, .f = f, .arena = a, .head = BUF_INIT(HTTP_FETCH_MAX_HEAD),
        .body = BUF_INIT(f->max_body > 0 ? f->max_body : HTTP_FETCH_MAX_BODY),
    };
    const char *shown = "";
    if (!parse_url(&tmp, f->url, url, &shown, err) || !add_headers(&tmp, f, &headers, err))
        return false;

    curl_easy_reset(c->easy);
    set_options(c->easy, &t, url, headers, &tmp);
    set_method_and_body(c->easy, &t, method, &tmp);
    CURLMcode mc = curl_multi_add_handle(c->multi, c->easy);
    if (mc != CURLM_OK)
        return err_set(err, ERR_INTERNAL, "%s", curl_multi_strerror(mc));
    CURLcode rc = CURLE_OK;
    bool ok = drive(c->multi, &t, &rc, err) && finish(&t, rc, err);
    curl_multi_remove_handle(c->multi, c->easy);
    curl_easy_reset(c->easy); /* it points at `t`, `url` and `headers`, which end here */
    if (!ok)
        return err_wrap(err, "%.*s %s", STR_ARG(method), shown);
    *out = t.res;
    return true;
}
