/* cli/record.c: the records of the management API as lists print them (docs/cli.md, "Records").
 *
 * What the server sends is read leniently and written strictly: known members only, in this order, each
 * present and of its type, whatever was missing or odd.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"

#include <stdlib.h>

#define ZERO_TIME "0001-01-01T00:00:00Z"
#define MASK      "********"

static const struct field record_webhook_tokens[] = {
    {"reload", FIELD_STR, .is_secret = true},
    {"reload_promote", FIELD_STR, .is_secret = true},
    {"promote", FIELD_STR, .is_secret = true},
    {NULL},
};

static const struct field record_settings[] = {
    {"authn_type", FIELD_STR},
    {"git_auth_name", FIELD_STR},
    {"stage_write_access", FIELD_BOOL},
    {"preview_write_access", FIELD_BOOL},
    {"webhook_tokens", FIELD_OBJECT, record_webhook_tokens},
    {"orig_source_url", FIELD_STR},
    {NULL},
};

static const struct field record_version_metadata[] = {
    {"version", FIELD_INT},
    {"previous_version", FIELD_INT},
    {"git_branch", FIELD_STR},
    {"git_commit", FIELD_STR},
    {"git_message", FIELD_STR},
    {"apply_info", FIELD_STR},
    {"applied_sync_id", FIELD_STR},
    {NULL},
};

static const struct field record_permission[] = {
    {"plugin", FIELD_STR},
    {"method", FIELD_STR},
    {"arguments", FIELD_LIST},
    {"permit", FIELD_LIST},
    {"is_read", FIELD_BOOL, .is_optional = true},
    {"secrets", FIELD_LIST},
    {NULL},
};

static const struct field record_account[] = {
    {"plugin", FIELD_STR},
    {"account_name", FIELD_STR},
    {NULL},
};

static const struct field record_app_metadata[] = {
    {"name", FIELD_STR},
    {"version_metadata", FIELD_OBJECT, record_version_metadata},
    {"loads", FIELD_LIST},
    {"permissions", FIELD_OBJECTS, record_permission},
    {"accounts", FIELD_OBJECTS, record_account},
    {"param_values", FIELD_MAP},
    {"spec", FIELD_STR},
    {"spec_files", FIELD_FILES},
    {"container_options", FIELD_MAP},
    {"container_args", FIELD_MAP},
    {"container_volumes", FIELD_LIST},
    {"appconfig", FIELD_MAP},
    {"authn_type", FIELD_STR},
    {"git_auth_name", FIELD_STR},
    {"bindings", FIELD_LIST},
    {"applied_sync_id", FIELD_STR},
    {"builder_published", FIELD_ANY, .is_optional = true},
    {NULL},
};

const struct field record_app[] = {
    {"id", FIELD_STR},
    {"path", FIELD_STR},
    {"domain", FIELD_STR},
    {"main_app", FIELD_STR},
    {"linked_app_path", FIELD_STR},
    {"source_url", FIELD_STR},
    {"is_dev", FIELD_BOOL},
    {"user_id", FIELD_STR},
    {"create_time", FIELD_TIME},
    {"update_time", FIELD_TIME},
    {"settings", FIELD_OBJECT, record_settings},
    {"metadata", FIELD_OBJECT, record_app_metadata},
    {"staged_changes", FIELD_BOOL},
    {NULL},
};

const struct field record_preview[] = {
    {"id", FIELD_STR},
    {"path", FIELD_STR},
    {"domain", FIELD_STR},
    {"main_app", FIELD_STR},
    {"linked_app_path", FIELD_STR},
    {"source_url", FIELD_STR},
    {"user_id", FIELD_STR},
    {"create_time", FIELD_TIME},
    {"http_url", FIELD_STR},
    {"https_url", FIELD_STR},
    {"metadata", FIELD_OBJECT, record_app_metadata},
    {NULL},
};

const struct field record_version[] = {
    {"Active", FIELD_BOOL},
    {"AppId", FIELD_STR},
    {"Version", FIELD_INT},
    {"PreviousVersion", FIELD_INT},
    {"UserId", FIELD_STR},
    {"Metadata", FIELD_OBJECT, record_app_metadata},
    {"CreateTime", FIELD_TIME},
    {NULL},
};

const struct field record_file[] = {
    {"Name", FIELD_STR},
    {"Etag", FIELD_STR},
    {"Size", FIELD_INT},
    {NULL},
};

const struct field record_operation[] = {
    {"id", FIELD_STR},
    {"name", FIELD_STR},
    {"target", FIELD_STR},
    {"user_id", FIELD_STR},
    {"state", FIELD_STR},
    {"outcome", FIELD_STR, .is_optional = true},
    {"is_cancelling", FIELD_BOOL},
    {"create_time", FIELD_TIME},
    {"start_time", FIELD_TIME, .is_optional = true},
    {"end_time", FIELD_TIME, .is_optional = true},
    {"line_count", FIELD_INT},
    {"status", FIELD_INT, .is_optional = true},
    {"error", FIELD_STR, .is_optional = true},
    {"dropped_count", FIELD_INT, .is_optional = true},
    {"lines", FIELD_LIST, .is_optional = true},
    {"reply", FIELD_ANY, .is_optional = true},
    {NULL},
};

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The members of `in`, sorted bytewise; with `is_blank` each value "". */
static json_t *sorted_map(const json_t *in, bool is_blank)
{
    json_t *out = json_object();
    size_t n = json_object_size(in), i = 0;
    if (n == 0)
        return out;
    scoped_free const char **keys = xcalloc(n, sizeof *keys);
    for (void *it = json_object_iter((json_t *)in); it; it = json_object_iter_next((json_t *)in, it))
        keys[i++] = json_object_iter_key(it);
    qsort(keys, n, sizeof *keys, compare_keys);
    for (i = 0; i < n; i++)
        json_object_set_new(out, keys[i], is_blank ? json_string("") : json_incref(json_object_get(in, keys[i])));
    return out;
}

static json_t *shape_list(const struct field *record, const json_t *in, bool reveal)
{
    json_t *out = json_array();
    for (size_t i = 0; i < json_array_size(in); i++)
        json_array_append_new(out, record_shape(record, json_array_get(in, i), reveal));
    return out;
}

static json_t *shape_value(const struct field *f, json_t *in, bool reveal)
{
    switch (f->kind) {
    case FIELD_STR:
        if (f->is_secret && !reveal && json_string_length(in) > 0)
            return json_string(MASK);
        return json_is_string(in) ? json_incref(in) : json_string("");
    case FIELD_TIME:
        return json_is_string(in) ? json_incref(in) : json_string(ZERO_TIME);
    case FIELD_INT:
        return json_is_integer(in) ? json_incref(in) : json_integer(0);
    case FIELD_BOOL:
        return json_boolean(json_is_true(in));
    case FIELD_LIST:
        return json_is_array(in) ? json_incref(in) : json_array();
    case FIELD_MAP:
        return sorted_map(in, false);
    case FIELD_FILES:
        return json_is_object(in) ? sorted_map(in, true) : json_null();
    case FIELD_OBJECT:
        return record_shape(f->sub, in, reveal);
    case FIELD_OBJECTS:
        return shape_list(f->sub, in, reveal);
    case FIELD_ANY:
        return in ? json_incref(in) : json_null();
    }
    return json_null();
}

json_t *record_shape(const struct field *record, const json_t *in, bool reveal)
{
    json_t *out = json_object();
    for (const struct field *f = record; f->name; f++) {
        json_t *value = json_object_get(in, f->name);
        if (!f->is_optional || (value && !json_is_null(value)))
            json_object_set_new(out, f->name, shape_value(f, value, reveal));
    }
    return out;
}
