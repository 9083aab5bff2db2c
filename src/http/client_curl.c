/* http/client_curl.c: the blocking client over libcurl: one transfer at a time over a kept connection cache.
 *
 * The library is loaded by the first fetch that needs it, and never again unloaded. Each fetch configures the one easy
 * handle anew (curl_easy_reset keeps connections, which live in the multi handle) and drives it with curl_multi_poll, so
 * that cancelling and the idle deadline need no help from the peer.
 * SPDX-License-Identifier: Apache-2.0 */
#include "client_int.h"

#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>

/* Macros of those names would hide the members below. */
#undef curl_easy_setopt
#undef curl_easy_getinfo

#define LIBRARY "libcurl.so.4"
#define FUNCTIONS(F)                                                                                                   \
    F(global_init) F(free) F(easy_init) F(easy_cleanup) F(easy_reset) F(easy_setopt) F(easy_getinfo) F(easy_strerror)  \
    F(multi_init) F(multi_cleanup) F(multi_add_handle) F(multi_remove_handle) F(multi_perform) F(multi_poll)           \
    F(multi_info_read) F(multi_strerror) F(slist_append) F(slist_free_all) F(url) F(url_cleanup) F(url_set)            \
    F(url_get) F(url_strerror)

/* Set once, by load(). */
static struct {
#define MEMBER(name) __typeof__(&curl_##name) name;
    FUNCTIONS(MEMBER)
#undef MEMBER
    char problem[300]; /* empty: it is there */
} lib;
static pthread_once_t lib_once = PTHREAD_ONCE_INIT;

static bool find(void *library, const char *name, void *function, size_t size)
{
    void *found = dlsym(library, name);
    memcpy(function, &found, size);
    return found != NULL;
}

static void load(void)
{
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    bool ok = library != NULL;
#define FIND(name) ok = ok && find(library, "curl_" #name, &lib.name, sizeof lib.name);
    FUNCTIONS(FIND)
#undef FIND
    if (!ok)
        snprintf(lib.problem, sizeof lib.problem, "%s", dlerror());
    else if (lib.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        snprintf(lib.problem, sizeof lib.problem, "it does not start");
}

struct client_curl {
    CURLM *multi;
    CURL *easy;
};

/* One fetch under way. */
struct transfer {
    CURL *easy;
    const struct http_fetch *f;
    struct client_answer answer;
    struct buf head;             /* lines of the response head being received */
    bool head_done;              /* the blank line of a final head was seen: what follows are trailers */
    bool failed;                 /* a callback filled `err` */
    uint64_t ticks;              /* bytes seen by callbacks: any change is progress */
    struct err err;
    char curl_text[CURL_ERROR_SIZE];
};

static void transfer_release(struct transfer *t)
{
    buf_release(&t->head);
    client_answer_release(&t->answer);
    err_release(&t->err);
}

static void slist_cleanup(struct curl_slist **l)
{
    lib.slist_free_all(*l);
}

static void curlu_cleanup(CURLU **u)
{
    lib.url_cleanup(*u);
}

static struct client_curl *open_curl(struct err *err)
{
    pthread_once(&lib_once, load);
    if (lib.problem[0]) {
        err_set(err, ERR_UNSUPPORTED, "this URL needs the library " LIBRARY " (Debian: libcurl4): %s", lib.problem);
        return NULL;
    }
    struct client_curl *c = xcalloc(1, sizeof *c);
    c->multi = lib.multi_init();
    c->easy = lib.easy_init();
    if (!c->multi || !c->easy)
        BUG("libcurl cannot allocate its handles");
    return c;
}

void client_curl_close(struct client_curl *c)
{
    if (!c)
        return;
    lib.easy_cleanup(c->easy);
    lib.multi_cleanup(c->multi);
    free(c);
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
    char *text = arena_try_alloc(t->answer.arena, t->head.len + 1);
    struct http_pair *headers = arena_try_alloc(t->answer.arena, (lines + 1) * sizeof *headers);
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
    lib.easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    t->answer.res.status = (int)status;
    t->answer.res.headers = headers;
    t->answer.res.header_count = n;
    return true;
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
    bool may_follow = t->answer.res.status / 100 == 3 && t->f->max_redirects > 0
                      && http_answer_header(&t->answer.res, STR("location")).len > 0;
    if (t->answer.res.status >= 200 && !may_follow && !client_answer_tell(&t->answer, &t->err))
        return give_up(t);
    return len;
}

static size_t write_cb(char *data, size_t one, size_t len, void *arg)
{
    struct transfer *t = arg;
    t->ticks += len;
    return client_answer_body(&t->answer, str_of(data, len), &t->err) ? len : give_up(t);
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
    CURLUcode rc = lib.url_set(u, CURLUPART_URL, str_z(a, url), CURLU_DISALLOW_USER | CURLU_URLENCODE);
    if (rc == CURLUE_USER_NOT_ALLOWED)
        return err_set(err, ERR_INVALID, "the URL has a user name in it: pass user and password apart");
    if (rc != CURLUE_OK) {
        struct str plain;
        str_cut(url, '?', &plain, NULL); /* a query may hold secrets */
        return err_set(err, ERR_INVALID, "the URL \"%.*s\" cannot be used: %s", STR_ARG(plain),
                       lib.url_strerror(rc));
    }
    char *scheme = NULL, *host = NULL, *port = NULL, *path = NULL;
    lib.url_get(u, CURLUPART_SCHEME, &scheme, 0);
    lib.url_get(u, CURLUPART_HOST, &host, 0);
    lib.url_get(u, CURLUPART_PORT, &port, 0);
    lib.url_get(u, CURLUPART_PATH, &path, 0);
    bool ok = scheme && host && (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
    if (!ok)
        err_set(err, ERR_INVALID, "the URL must start with http:// or https://");
    else
        *shown = str_printf(a, "%s://%s%s%s%s", scheme, host, port ? ":" : "", port ? port : "",
                            path ? path : "/").ptr;
    lib.free(scheme);
    lib.free(host);
    lib.free(port);
    lib.free(path);
    return ok;
}

static void add_headers(struct arena *a, const struct http_fetch *f, struct curl_slist **list)
{
    bool has_type = false, has_expect = false;
    for (size_t i = 0; i < f->header_count; i++) {
        struct str name = f->headers[i].name, value = f->headers[i].value;
        has_type |= str_eq_nocase(name, STR("content-type"));
        has_expect |= str_eq_nocase(name, STR("expect"));
        /* "Name;" is how curl is asked for an empty value; "Name:" would remove the header. */
        struct str line = value.len > 0 ? str_printf(a, "%.*s: %.*s", STR_ARG(name), STR_ARG(value))
                                        : str_printf(a, "%.*s;", STR_ARG(name));
        *list = lib.slist_append(*list, str_z(a, line));
    }
    if (!has_type)
        *list = lib.slist_append(*list, "Content-Type:");
    if (!has_expect)
        *list = lib.slist_append(*list, "Expect:"); /* no second of waiting for a 100 that few send */
}

static void set_method_and_body(CURL *e, struct transfer *t, struct str method, struct arena *a)
{
    const struct http_fetch *f = t->f;
    if (f->read_body) {
        lib.easy_setopt(e, CURLOPT_UPLOAD, 1L);
        lib.easy_setopt(e, CURLOPT_READFUNCTION, read_cb);
        lib.easy_setopt(e, CURLOPT_READDATA, t);
        lib.easy_setopt(e, CURLOPT_INFILESIZE_LARGE, (curl_off_t)(f->body_size > 0 ? f->body_size : -1));
    } else if (f->body.len > 0 || str_eq(method, STR("POST")) || str_eq(method, STR("PUT"))
               || str_eq(method, STR("PATCH"))) {
        lib.easy_setopt(e, CURLOPT_POST, 1L);
        lib.easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)f->body.len);
        lib.easy_setopt(e, CURLOPT_POSTFIELDS, f->body.len > 0 ? f->body.ptr : "");
        if (str_eq(method, STR("POST")))
            return; /* so that a 303 turns it into GET */
    } else if (str_eq(method, STR("HEAD"))) {
        lib.easy_setopt(e, CURLOPT_NOBODY, 1L);
        return;
    } else if (str_eq(method, STR("GET"))) {
        lib.easy_setopt(e, CURLOPT_HTTPGET, 1L);
        return;
    }
    lib.easy_setopt(e, CURLOPT_CUSTOMREQUEST, str_z(a, method));
}

static void set_options(CURL *e, struct transfer *t, CURLU *url, struct curl_slist *headers, struct arena *a)
{
    const struct http_fetch *f = t->f;
    lib.easy_setopt(e, CURLOPT_CURLU, url);
    lib.easy_setopt(e, CURLOPT_HTTPHEADER, headers);
    lib.easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    lib.easy_setopt(e, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    lib.easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    lib.easy_setopt(e, CURLOPT_ERRORBUFFER, t->curl_text);
    lib.easy_setopt(e, CURLOPT_HEADERFUNCTION, header_cb);
    lib.easy_setopt(e, CURLOPT_HEADERDATA, t);
    lib.easy_setopt(e, CURLOPT_WRITEFUNCTION, write_cb);
    lib.easy_setopt(e, CURLOPT_WRITEDATA, t);
    lib.easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    lib.easy_setopt(e, CURLOPT_HTTP_VERSION,
                     (long)(f->is_http1_only ? CURL_HTTP_VERSION_1_1 : CURL_HTTP_VERSION_2TLS));
    lib.easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS,
                     (long)MIN(f->connect_timeout_ms > 0 ? f->connect_timeout_ms : HTTP_FETCH_CONNECT_MS, INT_MAX));
    if (f->total_timeout_ms > 0)
        lib.easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)MIN(f->total_timeout_ms, INT_MAX));
    if (!f->use_env_proxy)
        lib.easy_setopt(e, CURLOPT_PROXY, "");
    if (f->unix_socket.len > 0)
        lib.easy_setopt(e, CURLOPT_UNIX_SOCKET_PATH, str_z(a, f->unix_socket));
    if (f->decompress)
        lib.easy_setopt(e, CURLOPT_ACCEPT_ENCODING, "");
    if (f->max_redirects > 0) {
        lib.easy_setopt(e, CURLOPT_FOLLOWLOCATION, 1L);
        lib.easy_setopt(e, CURLOPT_MAXREDIRS, (long)f->max_redirects);
    }
    if (f->user) {
        lib.easy_setopt(e, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        lib.easy_setopt(e, CURLOPT_USERNAME, f->user);
        lib.easy_setopt(e, CURLOPT_PASSWORD, f->password ? f->password : "");
    }
    if (f->skip_tls_verify) {
        lib.easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 0L);
        lib.easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (f->ca_file) {
        lib.easy_setopt(e, CURLOPT_CAINFO, f->ca_file);
        lib.easy_setopt(e, CURLOPT_CAPATH, NULL);
    }
    if (f->client_cert_file) {
        lib.easy_setopt(e, CURLOPT_SSLCERT, f->client_cert_file);
        lib.easy_setopt(e, CURLOPT_SSLKEY, f->client_key_file ? f->client_key_file : f->client_cert_file);
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
    lib.easy_getinfo(t->easy, CURLINFO_SIZE_UPLOAD_T, &up);
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
        CURLMcode mc = lib.multi_perform(m, &running);
        if (mc != CURLM_OK)
            return err_set(err, ERR_INTERNAL, "%s", lib.multi_strerror(mc));
        for (CURLMsg *msg; (msg = lib.multi_info_read(m, &queued));) {
            if (msg->msg == CURLMSG_DONE) {
                *rc = msg->data.result;
                return true;
            }
        }
        if (f->cancel && atomic_load_explicit(f->cancel, memory_order_relaxed))
            return err_set(err, ERR_CANCELLED, "cancelled");
        int wait_ms = f->cancel ? CLIENT_TICK_MS : f->cancel_fd > 0 ? CLIENT_PATIENT_MS : 1000;
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
        lib.multi_poll(m, &stop, f->cancel_fd > 0 ? 1 : 0, wait_ms, NULL);
        if (f->cancel_fd > 0 && stop.revents)
            return err_set(err, ERR_CANCELLED, "cancelled");
    }
}

static bool finish(struct transfer *t, CURLcode rc, struct http_answer *out, struct err *err)
{
    if (t->failed)
        return err_move(err, &t->err);
    if (rc != CURLE_OK)
        return err_set(err, code_of(rc), "%s", t->curl_text[0] ? t->curl_text : lib.easy_strerror(rc));
    if (!client_answer_tell(&t->answer, &t->err))
        return err_move(err, &t->err);
    char *url = NULL;
    long opened = 0;
    lib.easy_getinfo(t->easy, CURLINFO_EFFECTIVE_URL, &url);
    lib.easy_getinfo(t->easy, CURLINFO_NUM_CONNECTS, &opened);
    t->answer.res.url = str_dup(t->answer.arena, str_from(url));
    t->answer.res.is_reused = opened == 0;
    return client_answer_end(&t->answer, out, err);
}

bool client_curl_fetch(struct client_curl **kept, struct arena *a, const struct http_fetch *f, struct str method,
                       struct http_answer *out, struct err *err)
{
    if (!*kept && !(*kept = open_curl(err)))
        return false;
    struct client_curl *c = *kept;
    scoped_arena tmp = {0};
    CLEANUP(curlu_cleanup) CURLU *url = lib.url();
    CLEANUP(slist_cleanup) struct curl_slist *headers = NULL;
    CLEANUP(transfer_release) struct transfer t = {.easy = c->easy, .f = f, .head = BUF_INIT(HTTP_FETCH_MAX_HEAD)};
    client_answer_init(&t.answer, f, a);
    const char *shown = "";
    if (!parse_url(&tmp, f->url, url, &shown, err))
        return false;
    add_headers(&tmp, f, &headers);
    lib.easy_reset(c->easy);
    set_options(c->easy, &t, url, headers, &tmp);
    set_method_and_body(c->easy, &t, method, &tmp);
    CURLMcode mc = lib.multi_add_handle(c->multi, c->easy);
    if (mc != CURLM_OK)
        return err_set(err, ERR_INTERNAL, "%s", lib.multi_strerror(mc));
    CURLcode rc = CURLE_OK;
    bool ok = drive(c->multi, &t, &rc, err) && finish(&t, rc, out, err);
    lib.multi_remove_handle(c->multi, c->easy);
    lib.easy_reset(c->easy); /* it points at `t`, `url` and `headers`, which end here */
    return ok || err_wrap(err, "%.*s %s", STR_ARG(method), shown);
}
