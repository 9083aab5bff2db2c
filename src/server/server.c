/* server/server.c: opens everything in order, waits for signals, closes everything in the other order.
 *
 * Main thread: start, then one turn a second for housekeeping until a signal. Signals are blocked in every
 * thread and taken here, so nothing runs in a signal handler.
 * SPDX-License-Identifier: Apache-2.0 */
#include "job.h"
#include "server_int.h"

#include "background.h"
#include "source.h"
#include "syncs.h"
#include "unload.h"
#include "version_gen.h"
#include "webhook.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

const char server_version[] = VERSION_GEN, server_commit[] = COMMIT_GEN;

enum {
    JOB_THREADS = 64,       /* they mostly wait: git, builds, disks */
    API_THREADS = 32,       /* of those: for calls of the management API */
    TASK_THREADS = 64,      /* for commands in containers, which may take hours */
    API_DRAIN_MS = 10000,   /* a call that takes longer to end is cancelled at a stop */
};

/* --- preparation ------------------------------------------------------------------------------------ */

static struct str home_path(struct server *s, const char *rest)
{
    return path_join(&s->arena, s->home->dir, str_from(rest));
}

static bool open_logs(struct server *s, struct err *err)
{
    const struct config *c = &s->config;
    struct str dir = home_path(s, "logs"), level_text = config_str(c, "logging.level");
    struct log_opts opts = {
        .level = LOG_LEVEL_INFO,
        .file = {.max_size = config_int(c, "logging.max_size_mb") << 20,
                 .max_backups = (int)config_int(c, "logging.max_backups")},
        .console = config_bool(c, "logging.console"),
    };
    bool level_known = log_level_parse(level_text, &opts.level);
    if (!fs_mkdir_p(dir, 0744, err))
        return err_wrap(err, "making the log folder");
    if (config_bool(c, "logging.file"))
        opts.path = path_join(&s->arena, dir, STR("openrun.json"));
    if (!log_open(&opts, err))
        return err_wrap(err, "opening the server log");
    if (!level_known)
        log_warn("unknown logging.level, using INFO", LOG_STR("level", level_text));
    if (config_bool(c, "logging.access_logging")) {
        s->access_file = log_file_open(path_join(&s->arena, dir, STR("access.log")), &opts.file, err);
        if (!s->access_file)
            return err_wrap(err, "opening the access log");
    }
    vec_foreach (warning, &c->warnings) {
        fprintf(stderr, "Warning: " STR_FMT "\n", STR_ARG(*warning));
        log_warn("configuration", LOG_STR("warning", *warning));
    }
    return true;
}

/* One server per home: the lock is held as long as this process lives, whatever way it ends. */
static bool lock_home(struct server *s, struct err *err)
{
    if (!fs_mkdir_p(home_path(s, "run"), 0700, err))
        return false;
    scoped_fd int fd = fs_open(home_path(s, "run/openrun.pid"), O_RDWR | O_CREAT, 0644, err);
    if (fd < 0)
        return false;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        char pid[32];
        ssize_t n = read(fd, pid, sizeof pid);
        struct str who = str_trim(str_of(pid, n > 0 ? (size_t)n : 0));
        return err_set(err, ERR_CONFLICT,
                       "another server already running with home " STR_FMT " (pid " STR_FMT "): stop it with \"openrun "
                       "server stop\" or set OPENRUN_HOME to another folder",
                       STR_ARG(s->home->dir), STR_ARG(str_is_empty(who) ? STR("unknown, it is starting") : who));
    }
    s->lock_fd = fd;
    fd = -1;
    return true;
}

/* The pid is there while the server can be reached; an empty file otherwise. */
static bool write_pid(struct server *s, struct err *err)
{
    if (ftruncate(s->lock_fd, 0) != 0 || lseek(s->lock_fd, 0, SEEK_SET) != 0)
        return err_set_errno(err, errno, "writing run/openrun.pid");
    return fs_write_fd(s->lock_fd, str_printf(&s->arena, "%d\n", (int)getpid()), err);
}

static void unlock_home(struct server *s)
{
    if (s->lock_fd < 0)
        return;
    if (ftruncate(s->lock_fd, 0) != 0)
        log_warn("emptying run/openrun.pid");
    close(s->lock_fd);
}

static bool open_store(struct server *s, struct err *err)
{
    const struct config *c = &s->config;
    struct store_options options = {
        .metadata_connection = config_path(c, &s->arena, "metadata.db_connection"),
        .audit_connection = config_path(c, &s->arena, "metadata.audit_db_connection"),
        .auto_upgrade = config_bool(c, "metadata.auto_upgrade"),
        .ignore_higher_version = config_bool(c, "metadata.ignore_higher_version"),
        .journal_size_limit = config_int(c, "metadata.sqlite_journal_size_limit"),
    };
    return fs_mkdir_p(home_path(s, "metadata"), 0700, err) && store_open(&options, &s->store, err);
}

/* The first start of a home gives it a dynamic configuration, version and all. */
static bool init_dynamic_config(struct server *s, struct err *err)
{
    scoped_arena a = {0};
    struct store_config config = {0};
    bool found = false;
    scoped_store_tx *tx = store_begin(s->store, err);
    if (!tx || !store_config_get(tx, &a, &config, &found, err))
        return false;
    if (found)
        return true;
    config.version_id = str_cat(&a, STR("ver_"), id_ksuid(&a));
    config.user_id = STR("admin");
    config.config = str_printf(&a,
                               "{\"version_id\":\"" STR_FMT "\",\"rbac\":{\"enabled\":false,\"groups\":{},\"roles\":{},"
                               "\"grants\":[]}}",
                               STR_ARG(config.version_id));
    int64_t history = config_int(&s->config, "metadata.config_history_versions");
    return store_config_put(tx, &config, (struct str){0}, history > 0 ? history : 20, err) && store_commit(&tx, err);
}

static bool open_auth(struct server *s, struct err *err)
{
    const struct config *c = &s->config;
    struct auth_config config = {
        .admin_user = config_str(c, "admin_user"),
        .admin_password_bcrypt = config_str(c, "security.admin_password_bcrypt"),
        .default_type = config_str(c, "security.app_default_auth_type"),
        .default_domain = config_str(c, "system.default_domain"),
        .callback_domain = config_str(c, "security.auth_callback_domain"),
        .session_max_age_secs = config_int(c, "security.session_max_age"),
        .is_session_https_only = config_bool(c, "security.session_https_only"),
        .is_login_form_disabled = config_bool(c, "security.disable_login_form"),
        .is_auth_required = config_bool(c, "security.auth_required"),
        .client_ip = pipeline_client_ip,
    };
    if (!str_is_empty(config.admin_user) && str_is_empty(config.admin_password_bcrypt)) {
        struct str password = password_random(&s->arena, 16);
        if (!bcrypt_hash(&s->arena, password, BCRYPT_COST, &config.admin_password_bcrypt, err))
            return false;
        printf("Admin user    : " STR_FMT "\nAdmin password: " STR_FMT "\n", STR_ARG(config.admin_user), STR_ARG(password));
        fflush(stdout);
    }
    if (!auth_open(&config, s->store, s->loops, s->jobs, &s->auth, err))
        return false;
    s->auth_domain = auth_domain(s->auth);
    return true;
}

/* For a prune, which must tell what is current from what is left over. */
static bool current_version(void *arg, struct arena *a, struct str id, struct str *version, struct err *err)
{
    struct server *s = arg;
    struct store_app app;
    scoped_err e = {0};
    scoped_store_tx *tx = store_read(s->store, err);
    if (!tx)
        return false;
    *version = (struct str){0};
    if (store_app_get_by_id(tx, a, id, &app, &e))
        *version = str_printf(a, "%lld", (long long)app.metadata.version_metadata.version);
    return e.code == ERR_NOT_FOUND || !err_is_set(&e) || err_move(err, &e);
}

static bool open_containers(struct server *s, struct err *err)
{
    const struct config *c = &s->config;
    struct ctr_manager_config config = {
        .container_command = config_str(c, "system.container_command"),
        .home = s->home->dir,
        .loop_count = (int)http_loops_len(s->loops),
        .loops = s->loops,
        .max_concurrent_builds = (int)MAX(1, config_int(c, "system.max_concurrent_builds")),
        .max_build_wait_secs = (int)config_int(c, "system.max_build_wait_secs"),
        .paused_bytes_max = MIN(config_int(c, "system.paused_memory_mb"), INT64_MAX >> 20) * (1 << 20),
        .keep_versions = (int)MIN(config_int(c, "system.container_versions_to_keep"), INT32_MAX),
        .image_bytes_max = MIN(config_int(c, "system.container_disk_budget_mb"), INT64_MAX >> 20) * (1 << 20),
        .app_version = current_version,
        .app_arg = s,
        .sweep_interval_secs = (int)config_int(c, "system.stale_container_cleanup_interval_mins") * 60,
        .forbids_root = config_bool(c, "security.forbid_root_containers"),
    };
    return ctr_manager_open(&config, &s->containers, err);
}

static unsigned task_limit(const struct config *c, const char *key)
{
    return (unsigned)MIN(MAX(config_int(c, key), (int64_t)1), (int64_t)TASK_THREADS);
}

static struct str_list allowed_mounts(const struct config *c, struct arena *a)
{
    struct str_list entries = config_list(c, a, "security.allowed_mounts"), out = {0};
    vec_foreach (entry, &entries) {
        scoped_err err = {0};
        struct str path;
        if (ctr_mount_folder_parse(a, *entry, NULL, &path, &err))
            str_list_add(a, &out, path);
        else
            log_warn("an entry of security.allowed_mounts allows nothing", LOG_ERR(&err));
    }
    return out;
}

static bool fill_env(struct server *s, struct err *err)
{
    const struct config *c = &s->config;
    struct arena *a = &s->arena;
    struct plugin_rules *rules;
    if (!plugin_rules_new(a, config_value(c, "permissions"), &rules, err))
        return err_wrap(err, "permissions");
    struct str_list mounts = allowed_mounts(c, a);
    s->env = (struct app_env){
        .home = s->home->dir,
        .default_domain = config_str(c, "system.default_domain"),
        .http_port = s->http_port,
        .https_port = s->https_port,
        .app_config = config_value(c, "app_config"),
        .node_config = config_value(c, "node_config"),
        .allowed_env = config_list(c, a, "system.allowed_env"),
        .allowed_mounts = mounts,
        .allowed_container_args = config_value(c, "security.allowed_container_args"),
        .trusted_proxies = config_list(c, a, "security.trusted_proxies"),
        .rules = rules,
        .store = s->store,
        .containers = s->containers,
        .loops = s->loops,
        .jobs = s->jobs,
        .commands = jobs_lane_new(s->task_jobs, task_limit(c, "system.max_concurrent_commands")),
        .streams = jobs_lane_new(s->task_jobs, task_limit(c, "system.max_concurrent_commands")),
    };
    return true;
}

static bool check_auth(void *server, struct str type, struct err *err)
{
    struct server *s = server;
    return auth_type_validate(s->auth, type, err);
}

/* Repositories that operations share, if the configuration asks for it. */
static bool open_git_cache(struct server *s, struct err *err)
{
    const struct config *c = &s->config;
    int64_t ttl_secs = config_int(c, "system.git_remote_check_interval_secs");
    struct src_cache_opts opts = {
        .dir = home_path(s, "run/git"),
        .max_mirrors = (size_t)MAX(config_int(c, "system.git_checkout_cache_entries"), 0),
        .head_ttl_ms = MIN(MAX(ttl_secs, 0), INT32_MAX) * 1000,
    };
    s->git_cache = src_cache_open(&opts, err);
    return s->git_cache || err_wrap(err, "system.git_checkout_cache_entries");
}

static bool open_deploy(struct server *s, struct err *err)
{
    const struct config *c = &s->config;
    if (!open_git_cache(s, err))
        return false;
    struct deploy_config config = {
        .env = &s->env,
        .store = s->store,
        .stage_at = config_str(c, "system.stage_at"),
        .default_stage_domain = config_str(c, "system.default_stage_domain"),
        .auth_domain = s->auth_domain,
        .default_git_auth = config_str(c, "security.default_git_auth"),
        .git_auth = config_value(c, "git_auth"),
        .git_timeout_secs = config_int(c, "system.git_operation_timeout_secs"),
        .git_cache = s->git_cache,
        .tmp_dir = home_path(s, HOME_TMP_DIR),
        .stage_write_access = config_bool(c, "security.stage_enable_write_access"),
        .preview_write_access = config_bool(c, "security.preview_enable_write_access"),
        .default_retain_versions = config_int(c, "app_config.fs.retain_versions"),
        .callback_url = config_str(c, "security.callback_url"),
        .default_schedule_mins = config_int(c, "system.default_schedule_mins"),
        .max_sync_failure_count = config_int(c, "system.max_sync_failure_count"),
        .check_auth = check_auth,
        .publish = publish_site,
        .arg = s,
    };
    return deploy_open(&config, &s->deploy, err);
}

/* What happens without anybody waiting for it. */
static bool open_background(struct server *s)
{
    struct background_config config = {
        .jobs = s->jobs, .operations = s->operations, .store = s->store, .deploy = s->deploy};
    s->background = background_open(&config);
    s->syncs = syncs_open(s);
    return true;
}

/* --- listening ---------------------------------------------------------------------------------------- */

static struct http_cert *pick_cert(struct http_loop *loop, struct str server_name, void *arg)
{
    return certs_pick(loop_state(loop)->certs, server_name);
}

static bool load_certs(struct server *s, struct err *err)
{
    s->certs_config = (struct certs_config){
        .dir = config_path(&s->config, &s->arena, "https.cert_location"),
        .default_domain = config_str(&s->config, "system.default_domain"),
        .enable_lookup = config_bool(&s->config, "https.enable_cert_lookup"),
    };
    struct certs *certs;
    if (!certs_load(&s->certs_config, &certs, err))
        return false;
    s->certs_print = certs_fingerprint(&s->certs_config);
    publish_certs(s, certs);
    return true;
}

/* Binds http and https; ports that were 0 are known afterwards. */
static bool listen_tcp(struct server *s, struct err *err)
{
    const struct config *c = &s->config;
    struct http_handler handler = {pipeline_request, s};
    s->http = http_server_open(s->loops, NULL);
    if (config_int(c, "http.port") >= 0) {
        struct http_listener *l = http_listen(s->http, &(struct http_listen){
            .host = config_str(c, "http.host"), .port = (int)config_int(c, "http.port"), .handler = handler,
            .setting = "http.port"}, err);
        if (!l)
            return false;
        s->http_port = http_listener_port(l);
    }
    if (config_int(c, "https.port") >= 0) {
        s->tls = http_tls_open(pick_cert, s, err);
        struct http_listener *l = s->tls ? http_listen(s->http, &(struct http_listen){
            .host = config_str(c, "https.host"), .port = (int)config_int(c, "https.port"), .tls = s->tls,
            .handler = handler, .setting = "https.port"}, err) : NULL;
        if (!l)
            return false;
        s->https_port = http_listener_port(l);
    }
    return true;
}

/* The path of the management socket as bind takes it: relative to the home where it is inside, since
 * socket paths are limited to about 104 bytes. The process has changed into the home. */
static bool listen_control(struct server *s, struct err *err)
{
    struct str uri = config_path(&s->config, &s->arena, "server_uri");
    if (str_starts(uri, STR("http://")) || str_starts(uri, STR("https://")))
        return true;
    if (!fs_mkdir_p(path_dir(uri), 0700, err))
        return err_wrap(err, "server_uri");
    struct str relative = path_rel(&s->arena, s->home->dir, uri);
    s->control = http_server_open(s->loops, &(struct http_limits){.body_timeout_ms = 180000});
    struct http_listener *l = http_listen(s->control, &(struct http_listen){
        .unix_path = str_z(&s->arena, str_is_empty(relative) ? uri : relative),
        .handler = {api_request, s}, .setting = "server_uri"}, err);
    if (!l && err->code == ERR_CONFLICT)
        return err_wrap(err, "error creating socket, another server already running");
    return l != NULL;
}

/* Where scheduled jobs make their requests; never reached from elsewhere. */
static bool listen_jobs(struct server *s, struct err *err)
{
    s->job_http = http_server_open(s->loops, NULL);
    struct http_listener *l = http_listen(s->job_http, &(struct http_listen){
        .unix_path = JOB_SOCKET, .handler = {pipeline_job_request, s}, .setting = "the jobs' socket"}, err);
    return l != NULL;
}

/* Sockets and files for many connections: the soft limit is often 1024. */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = MIN(limit.rlim_max, (rlim_t)1 << 20);
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* The C library would make up to eight heaps per core, each with free memory of its own between what is in use. Loops keep one
 * each, more or less; the threads for all else share. Before there are threads. */
static void limit_heaps(void)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    mallopt(M_ARENA_MAX, (int)MIN(MAX(cpus, 1L), 1024L) + 2);
}

static bool init(struct server *s, struct err *err)
{
    const struct config *c = &s->config;
    struct str_list trusted = config_list(c, &s->arena, "security.trusted_proxies");
    s->started_ns = wall_ns();
    /* The lock first: nothing of a running server's home is touched, its logs included. */
    if (!lock_home(s, err) || !open_logs(s, err) || !open_store(s, err) || !init_dynamic_config(s, err))
        return false;
    s->jobs = jobs_open("job", JOB_THREADS);
    s->task_jobs = jobs_open("task", TASK_THREADS);
    s->api_lane = jobs_lane_new(s->jobs, API_THREADS);
    s->operations = operations_open();
    s->scheduler = scheduler_open();
    s->webhooks = webhooks_open(s);
    s->loops = http_loops_open(0, err);
    if (!s->loops || !open_auth(s, err) || !open_containers(s, err) || !pipeline_trust(s, &trusted, err))
        return false;
    s->redirect_to_https = config_bool(c, "http.redirect_to_https");
    s->admin_over_tcp = config_bool(c, "security.unsafe_admin_over_tcp");
    s->rid_prefix = str_printf(&s->arena, "rid_" STR_FMT "_", STR_ARG(id_ksuid(&s->arena)));
    return true;
}

/* Before the first operation can begin. */
static bool recover(struct server *s, struct err *err)
{
    struct str notes = home_path(s, "run/operations");
    if (!fs_mkdir_p(notes, 0700, err) || !recover_operations(s, notes, &s->undone_since, err))
        return false;
    operations_keep_notes(s->operations, notes);
    deploy_undo_clones(s->deploy);
    return true;
}

static bool open_watch(struct server *s, struct err *err)
{
    s->watch = watch_open(s, err);
    return s->watch != NULL;
}

/* Before the first request can make one. */
static bool clean_output(struct server *s)
{
    plugin_clean_files(home_path(s, PLUGIN_OUTPUT_DIR));
    leftovers_empty_tmp(s);
    return true;
}

/* Listeners open before the site is there, since apps must know the ports that were bound; until then
 * requests are told to come again (pipeline.c). */
static bool start(struct server *s, struct err *err)
{
    if (chdir(str_z(&s->arena, s->home->dir)) != 0)
        return err_set_errno(err, errno, "changing to " STR_FMT, STR_ARG(s->home->dir));
    loops_start(s);
    s->job_table = job_table_open(s);
    scheduler_every(s->scheduler, 1000, job_table_tick, s->job_table);
    unload_open(s);
    return fs_mkdir_p(home_path(s, "mounts"), 0700, err) && load_certs(s, err) && listen_tcp(s, err) &&
           fill_env(s, err) && clean_output(s) && open_deploy(s, err) && open_background(s) && open_watch(s, err) && publish_site(s, NULL, err) &&
           recover(s, err) && listen_jobs(s, err) && listen_control(s, err) &&
           write_pid(s, err) && scheduler_start(s->scheduler, err);
}

/* --- running ------------------------------------------------------------------------------------------ */

/* Until SIGINT or SIGTERM. */
static void wait_for_end(struct server *s, const sigset_t *signals)
{
    int64_t started = clock_ms() / 1000, last = 0;
    housekeeping_start(s);
    for (;;) {
        siginfo_t info;
        int sig = sigtimedwait(signals, &info, &(struct timespec){.tv_sec = 1});
        if (sig == SIGINT || sig == SIGTERM) {
            log_info("stopping", LOG_INT("signal", sig));
            return;
        }
        if (sig == SIGHUP)
            log_warn("SIGHUP ignored: restarting in place is not available in this version");
        int64_t second = clock_ms() / 1000 - started;
        while (last < second)
            housekeeping_turn(s, ++last);
    }
}

int64_t server_drain_secs(const struct server *s)
{
    int64_t secs = config_int(&s->config, "restart.drain_timeout_secs");
    return secs > 0 ? secs : 300;
}

/* Closes what was opened, also after a failed start: everything may be NULL. */
static void finish(struct server *s)
{
    int64_t drain_secs = server_drain_secs(s);
    scheduler_close(s->scheduler);
    job_table_stop(s->job_table);
    background_stop(s->background);
    watch_stop(s->watch);
    /* Requests first, with the control socket still taking none of theirs; then what they stood on. */
    if (s->http)
        http_server_drain(s->http, drain_secs * 1000);
    if (s->control)
        http_server_drain(s->control, MIN(drain_secs * 1000, API_DRAIN_MS));
    http_server_close(s->http);
    http_server_close(s->job_http);
    http_server_close(s->control);
    operations_drain(s->operations, API_DRAIN_MS); /* those whose client has left */
    jobs_close(s->task_jobs);
    jobs_close(s->jobs);
    job_table_close(s->job_table); /* calls of the API may have asked it until now */
    syncs_close(s->syncs);
    background_close(s->background);
    watch_close(s->watch);
    deploy_close(s->deploy);
    src_cache_close(s->git_cache);
    site_unref(s->site); /* the loops have theirs; apps end while the loops are still there */
    ctr_manager_leave_loops(s->containers);
    http_loops_close(s->loops);
    webhooks_close(s->webhooks);
    operations_close(s->operations);
    certs_unref(s->certs);
    http_tls_close(s->tls);
    auth_close(s->auth);
    ctr_manager_close(s->containers);
    store_close(s->store);
    log_file_close(s->access_file);
    unlock_home(s);
    log_close();
}

/* On stdout, where scripts expect it, and on stderr, where people do; once where both are the same. */
static int fail(const char *what, const struct err *err)
{
    struct stat out, other;
    bool is_same = fstat(STDOUT_FILENO, &out) == 0 && fstat(STDERR_FILENO, &other) == 0 && out.st_dev == other.st_dev &&
                   out.st_ino == other.st_ino;
    printf("%s: %s\n", what, err_msg(err));
    fflush(stdout);
    if (!is_same)
        fprintf(stderr, "%s: %s\n", what, err_msg(err));
    return 1;
}

static int run(struct server *s, const sigset_t *signals)
{
    scoped_err err = {0};
    if (!init(s, &err)) {
        log_error("init", LOG_ERR(&err));
        return fail("Error initializing server", &err);
    }
    if (!start(s, &err)) {
        log_error("start", LOG_ERR(&err));
        return fail("Error starting server", &err);
    }
    if (s->http_port >= 0)
        fprintf(stderr, "Server listening on http://" STR_FMT ":%d\n", STR_ARG(config_str(&s->config, "http.host")),
                s->http_port);
    if (s->https_port >= 0)
        fprintf(stderr, "Server listening on https://" STR_FMT ":%d\n", STR_ARG(config_str(&s->config, "https.host")),
                s->https_port);
    log_info("server started", LOG_Z("version", server_version), LOG_INT("http_port", s->http_port),
             LOG_INT("https_port", s->https_port));
    wait_for_end(s, signals);
    /* Who presses Ctrl-C again means at once. Nothing that is committed can be lost by it. */
    sigset_t interrupt;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    pthread_sigmask(SIG_UNBLOCK, &interrupt, NULL);
    return 0;
}

int server_main(const struct home *home)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); /* threads inherit it */
    signal(SIGPIPE, SIG_IGN);
    umask(022);
    raise_file_limit();
    limit_heaps();

    struct server *s = xcalloc(1, sizeof *s);
    s->home = home;
    s->http_port = s->https_port = s->lock_fd = -1;
    pthread_mutex_init(&s->publish_lock, NULL);
    scoped_err err = {0};
    int status;
    if (!bootstrap_home(home, &err)) {
        status = fail("Error initializing server", &err);
    } else if (!config_load(&s->arena, home, &s->config, &err)) {
        fprintf(stderr, "error: %s\n", err_msg(&err));
        status = 1;
    } else {
        status = run(s, &signals);
        finish(s);
    }
    pthread_mutex_destroy(&s->publish_lock);
    arena_release(&s->arena);
    free(s);
    return status;
}
