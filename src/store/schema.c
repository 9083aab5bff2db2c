/* store/schema.c: the tables (spec server.md 9.1), as this release writes them.
 *
 * A later version adds its tables here and a step to the list: steps are never changed once released.
 * SPDX-License-Identifier: Apache-2.0 */
#include "store_int.h"

static const char *const metadata_tables[] = {
    "CREATE TABLE apps (id text UNIQUE, path text, domain text, source_url text, is_dev bool, main_app text, "
    "user_id text, create_time $datetime, update_time $datetime, settings $json, metadata $json, "
    "linked_app_path text, UNIQUE (path, domain))",
    "CREATE INDEX idx_apps_domain_path ON apps (domain, path)",
    "CREATE INDEX idx_apps_main_app ON apps (main_app, create_time DESC)",
    "CREATE TABLE app_versions (appid text, version int, user_id text, metadata $json, create_time $datetime, "
    "previous_version int DEFAULT 0, PRIMARY KEY (appid, version))",
    "CREATE TABLE app_files (appid text, version int, name text, sha text, uncompressed_size int, "
    "create_time $datetime, PRIMARY KEY (appid, version, name))",
    "CREATE INDEX idx_app_files_sha ON app_files (sha)",
    "CREATE TABLE files (sha text PRIMARY KEY, compression_type text, content $blob, create_time $datetime)",
    "CREATE TABLE sync (id text PRIMARY KEY, path text, is_scheduled bool, user_id text, create_time $datetime, "
    "metadata $json, status $json)",
    "CREATE TABLE config (version_id text, user_id text, update_time $datetime, config $json)",
    "CREATE TABLE config_history (version_id text PRIMARY KEY, user_id text, update_time $datetime, config $json)",
    "CREATE TABLE config_draft (id int PRIMARY KEY CHECK (id = 1), draft $json)",
    "CREATE TABLE keystore (key text PRIMARY KEY, value $blob, create_time $datetime, delete_at $datetime)",
    "CREATE INDEX idx_keystore_delete_at ON keystore (delete_at) WHERE delete_at IS NOT NULL",
    "CREATE TABLE secrets (name text PRIMARY KEY, value $blob, nonce $blob, key_id text, created_by text, "
    "create_time $datetime, update_time $datetime, metadata $json)",
    "CREATE TABLE services (id text UNIQUE, name text, service_type text, is_default bool, staging text, "
    "config $json, create_time $datetime, update_time $datetime, created_by text, PRIMARY KEY (name, service_type))",
    "CREATE UNIQUE INDEX idx_services_default ON services (service_type) WHERE is_default",
    "CREATE TABLE bindings (id text UNIQUE, path text PRIMARY KEY, source text, service_type text, "
    "service_name text, base_binding text, metadata $json, staged_metadata $json, create_time $datetime, "
    "update_time $datetime, created_by text)",
    "CREATE TABLE binding_providers (name text PRIMARY KEY, version text, source_url text, checksums $json, "
    "service_types $json, created_by text, create_time $datetime, update_time $datetime, "
    "provider_type text DEFAULT 'binding', manifest $json)",
    "CREATE TABLE cert_data (id text PRIMARY KEY, value $blob, update_time $datetime)",
    "CREATE TABLE cert_locks (id text PRIMARY KEY, expires bigint)",
    "CREATE TABLE builder_sessions (id text PRIMARY KEY, user_id text, name text, spec text, agent text, "
    "profile text, edit_app text, edit_version int, status text, workspace_dir text, preview_path text, "
    "publish_path text, create_time $datetime, update_time $datetime, services $json, acp_session_id text)",
    "CREATE TABLE builder_activity (id text PRIMARY KEY, session_id text, user_id text, create_time $datetime, "
    "kind text, content text, metadata $json)",
    "CREATE INDEX idx_builder_activity_session ON builder_activity (session_id, id)",
};

const struct db_schema store_schema = {
    .version = STORE_SCHEMA_VERSION,
    .version_table = "version",
    .create = metadata_tables,
    .n_create = ARRAY_LEN(metadata_tables),
};

static const char *const audit_tables[] = {
    "CREATE TABLE audit (rid text, app_id text, create_time bigint, user_id text, event_type text, operation text, "
    "target text, status text, detail text)",
    "CREATE INDEX idx_audit_rid ON audit (rid, create_time DESC)",
    "CREATE INDEX idx_audit_misc ON audit (app_id, event_type, operation, target, create_time DESC)",
    "CREATE INDEX idx_audit_time ON audit (create_time DESC)",
};

const struct db_schema store_audit_schema = {
    .version = STORE_AUDIT_VERSION,
    .version_table = "audit_version",
    .create = audit_tables,
    .n_create = ARRAY_LEN(audit_tables),
};
