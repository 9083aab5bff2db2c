/* cli/listings.c: the columns of each list.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"

enum { COMMIT_CUT = 20 };

static struct str text_at(const json_t *row, const char *path)
{
    return json_str(json_at(row, path));
}

/* ---- apps ---- */

void cell_app_type(struct buf *out, const json_t *app)
{
    struct str id = text_at(app, "id");
    const char *type = "----";
    if (json_is_true(json_at(app, "is_dev")))
        type = "DEV";
    else if (str_starts(id, STR("app_prd_")))
        type = json_is_true(json_at(app, "staged_changes")) ? "PROD*" : "PROD";
    else if (str_starts(id, STR("app_pre_")))
        type = "VIEW";
    else if (str_starts(id, STR("app_stg_")))
        type = "STG";
    buf_add_z(out, type);
}

void cell_app_auth(struct buf *out, const json_t *app)
{
    struct str auth = text_at(app, "metadata.authn_type");
    if (auth.len == 0)
        auth = text_at(app, "settings.authn_type");
    if (str_eq(auth, STR("none")))
        buf_add_z(out, "NONE");
    else if (str_eq(auth, STR("system")))
        buf_add_z(out, "SYSTEM");
    else if (auth.len == 0 || str_eq(auth, STR("default")))
        buf_add_z(out, "DEFAULT");
    else
        buf_add_str(out, auth);
}

static void cell_app_path(struct buf *out, const json_t *app)
{
    struct str domain = text_at(app, "domain");
    if (domain.len > 0)
        buf_printf(out, STR_FMT ":", STR_ARG(domain));
    buf_add_str(out, text_at(app, "path"));
}

void cell_git_info(struct buf *out, const json_t *app)
{
    struct str branch = text_at(app, "metadata.version_metadata.git_branch");
    struct str commit = str_slice(text_at(app, "metadata.version_metadata.git_commit"), 0, COMMIT_CUT);
    if (branch.len > 0 || commit.len > 0)
        buf_printf(out, STR_FMT ":" STR_FMT, STR_ARG(branch), STR_ARG(commit));
}

#define NAME    "metadata.name"
#define VERSION "metadata.version_metadata.version"
#define BRANCH  "metadata.version_metadata.git_branch"
#define COMMIT  "metadata.version_metadata.git_commit"
#define SPEC    "metadata.spec"

/* A number is 0 when it is missing, like in the JSON formats. */
static void cell_app_version(struct buf *out, const json_t *app)
{
    buf_printf(out, "%lld", (long long)json_integer_value(json_at(app, VERSION)));
}

static const struct column apps_basic[] = {
    {"Name", 30, .path = NAME},
    {"Type", 5, .cell = cell_app_type},
    {"Ver", -4, .cell = cell_app_version},
    {"Auth", 7, .cell = cell_app_auth},
    {"AppPath", 0, .cell = cell_app_path},
    {NULL},
};

static const struct column apps_table[] = {
    {"Name", 30, .path = NAME},
    {"Id", 35, .path = "id"},
    {"Type", 5, .cell = cell_app_type},
    {"Version", -7, .title_width = 7, .cell = cell_app_version},
    {"Auth", 15, .cell = cell_app_auth},
    {"AppPath", 60, .cell = cell_app_path},
    {"SourceUrl", 40, .path = "source_url"},
    {"Spec", 30, .path = SPEC},
    {"GitInfo", 30, .cell = cell_git_info},
    {NULL},
};

static const struct csv_column apps_csv[] = {
    {.path = NAME, .is_quoted = true},
    {.path = "id"},
    {.cell = cell_app_type},
    {.cell = cell_app_version},
    {.cell = cell_app_auth},
    {.path = BRANCH},
    {.cell = cell_app_path, .is_quoted = true},
    {.path = "source_url", .is_quoted = true},
    {.path = SPEC, .has_space = true},
    {.path = BRANCH, .has_space = true},
    {.path = COMMIT, .is_quoted = true, .has_space = true},
    {NULL},
};

const struct listing listing_apps = {
    .basic = apps_basic, .table = apps_table, .csv = apps_csv, .record = record_app, .has_gap = true};

/* ---- previews ---- */

static const struct column previews_basic[] = {
    {"Commit", 20, .cut = COMMIT_CUT, .path = COMMIT},
    {"AppPath", 0, .cell = cell_app_path},
    {NULL},
};

static const struct column previews_table[] = {
    {"Commit", 40, .path = COMMIT},
    {"MainApp", 40, .path = "linked_app_path"},
    {"Created", 30, .path = "create_time"},
    {"User", 15, .path = "user_id"},
    {"Url", 0, .path = "https_url"},
    {NULL},
};

static const struct csv_column previews_csv[] = {
    {.path = "id"},
    {.path = COMMIT},
    {.path = "linked_app_path", .is_quoted = true},
    {.cell = cell_app_path, .is_quoted = true},
    {.path = "create_time"},
    {.path = "user_id"},
    {.path = "https_url", .is_quoted = true},
    {NULL},
};

const struct listing listing_previews = {
    .basic = previews_basic, .table = previews_table, .csv = previews_csv, .record = record_preview, .has_gap = true};

/* ---- versions ---- */

static void cell_active(struct buf *out, const json_t *version)
{
    if (json_is_true(json_at(version, "Active")))
        buf_add_z(out, "=====>");
}

static void cell_version(struct buf *out, const json_t *version)
{
    buf_printf(out, "%lld", (long long)json_integer_value(json_at(version, "Version")));
}

static void cell_previous(struct buf *out, const json_t *version)
{
    buf_printf(out, "%lld", (long long)json_integer_value(json_at(version, "PreviousVersion")));
}

static void cell_active_bool(struct buf *out, const json_t *version)
{
    buf_add_z(out, json_is_true(json_at(version, "Active")) ? "true" : "false");
}

/* "2024-03-01T19:59:27.5Z" as "2024-03-01 19:59:27.5 +0000 UTC"; a text that is no time as it is. */
static void cell_create_time(struct buf *out, const json_t *version)
{
    struct str text = text_at(version, "CreateTime");
    int64_t ns;
    if (text.len == 0 || !time_parse(text, &ns)) {
        buf_add_str(out, text);
        return;
    }
    char utc[TIME_TEXT_MAX];
    size_t len = time_format_rfc3339_nano(utc, ns); /* always "YYYY-MM-DDThh:mm:ss[.fraction]Z" */
    buf_printf(out, "%.10s %.*s +0000 UTC", utc, (int)len - 12, utc + 11);
}

/* The subject line: a whole message would break the table. */
static void cell_subject(struct buf *out, const json_t *version)
{
    struct str line;
    str_cut(text_at(version, "Metadata.version_metadata.git_message"), '\n', &line, NULL);
    buf_add_str(out, line);
}

static const struct column versions_basic[] = {
    {"Active", -6, .cell = cell_active},
    {"Version", -8, .cell = cell_version},
    {"Previous", -8, .cell = cell_previous},
    {"GitCommit", 0, .title_width = 20, .cut = COMMIT_CUT, .path = "Metadata.version_metadata.git_commit"},
    {NULL},
};

static const struct column versions_table[] = {
    {"Active", -6, .cell = cell_active},
    {"Version", -8, .cell = cell_version},
    {"Previous", -8, .cell = cell_previous},
    {"CreateTime", 30, .cell = cell_create_time},
    {"GitCommit", 20, .cut = COMMIT_CUT, .path = "Metadata.version_metadata.git_commit"},
    {"GitMessage", 40, .cell = cell_subject},
    {NULL},
};

static const struct csv_column versions_csv[] = {
    {.cell = cell_active_bool},
    {.cell = cell_version},
    {.cell = cell_previous},
    {.cell = cell_create_time, .is_quoted = true},
    {.path = "Metadata.version_metadata.git_commit"},
    {.path = "Metadata.version_metadata.git_message", .is_quoted = true},
    {NULL},
};

const struct listing listing_versions = {
    .basic = versions_basic, .table = versions_table, .csv = versions_csv, .record = record_version, .has_gap = true};

/* ---- files of a version ---- */

static void cell_size(struct buf *out, const json_t *file)
{
    buf_printf(out, "%lld", (long long)json_integer_value(json_at(file, "Size")));
}

static const struct column files_table[] = {
    {"Size", -7, .cell = cell_size},
    {"Etag", 64, .path = "Etag"},
    {"Path", 50, .path = "Name"},
    {NULL},
};

static const struct csv_column files_csv[] = {
    {.cell = cell_size},
    {.path = "Etag"},
    {.path = "Name", .is_quoted = true},
    {NULL},
};

const struct listing listing_files = {
    .basic = files_table, .table = files_table, .csv = files_csv, .record = record_file, .has_gap = true};

/* ---- operations ---- */

static void cell_state(struct buf *out, const json_t *op)
{
    bool is_cancelling = json_is_true(json_at(op, "is_cancelling"));
    buf_add_str(out, is_cancelling ? STR("cancelling") : text_at(op, "state"));
    struct str outcome = text_at(op, "outcome");
    if (outcome.len > 0)
        buf_printf(out, ": " STR_FMT, STR_ARG(outcome));
}

/* How long it ran; until now while it runs. */
static void cell_took(struct buf *out, const json_t *op)
{
    int64_t start, end = wall_ns();
    if (!time_parse(text_at(op, "start_time"), &start))
        return;
    struct str end_text = text_at(op, "end_time");
    if (end_text.len == 0 && text_at(op, "outcome").len > 0)
        return; /* nobody knows when it was interrupted */
    if (end_text.len > 0 && !time_parse(end_text, &end))
        return;
    int64_t ms = MAX(end - start, 0) / 1000000;
    buf_printf(out, "%lld.%llds", (long long)(ms / 1000), (long long)(ms % 1000 / 100));
}

static void cell_error(struct buf *out, const json_t *op)
{
    struct str line;
    str_cut(text_at(op, "error"), '\n', &line, NULL);
    buf_add_str(out, line);
}

static const struct column operations_basic[] = {
    {"Id", 30, .path = "id"},
    {"Operation", 20, .path = "name"},
    {"State", 10, .cell = cell_state},
    {"Took", -8, .cell = cell_took},
    {"Target", 0, .path = "target"},
    {NULL},
};

static const struct column operations_table[] = {
    {"Id", 30, .path = "id"},
    {"Operation", 20, .path = "name"},
    {"State", 10, .cell = cell_state},
    {"Took", -8, .cell = cell_took},
    {"User", 20, .path = "user_id"},
    {"Created", 30, .path = "create_time"},
    {"Target", 40, .path = "target"},
    {"Error", 0, .cell = cell_error},
    {NULL},
};

static const struct csv_column operations_csv[] = {
    {.path = "id"},
    {.path = "name"},
    {.cell = cell_state},
    {.cell = cell_took},
    {.path = "user_id"},
    {.path = "create_time"},
    {.path = "target", .is_quoted = true},
    {.path = "error", .is_quoted = true},
    {NULL},
};

const struct listing listing_operations = {.basic = operations_basic, .table = operations_table, .csv = operations_csv,
                                           .record = record_operation, .has_gap = true};
