/* The schema in PostgreSQL, brought up to this program's version. */
#include <stdio.h>

#include "tenants/store/migrations.h"
#include "tenants/store/postgres_private.h"

enum { MIGRATION_LOCK = 0x63656c6c };

/* The first failure goes into `error`. */
static enum status run_script(struct connection *connection, const char *script, struct buffer *error)
{
	PGresult *result = PQexec(connection->handle, script);
	ExecStatusType kind = PQresultStatus(result);
	PQclear(result);
	if (kind == PGRES_COMMAND_OK || kind == PGRES_TUPLES_OK)
		return STATUS_OK;
	buffer_printf(error, "store: PostgreSQL: %.*s", TEXT_ARGUMENTS(connection_message(connection)));
	return STATUS_UNAVAILABLE;
}

static enum status read_version(struct connection *connection, int64_t *version, struct buffer *error)
{
	PGresult *result = connection_query(connection, "SELECT value FROM meta WHERE name = 'schema'");
	bool is_read = result != NULL && PQntuples(result) == 1 && result_number(result, 0, 0, version);
	PQclear(result);
	if (!is_read) {
		buffer_printf(error, "store: PostgreSQL: the schema's version cannot be read");
		return STATUS_UNAVAILABLE;
	}
	if (*version > SCHEMA_VERSION) {
		buffer_printf(
			error, "store: the schema is version %lld, this program knows %d", (long long)*version, SCHEMA_VERSION);
		return STATUS_INVALID;
	}
	return STATUS_OK;
}

enum status postgres_migrate(struct connection *connection, struct buffer *error)
{
	char script[256];
	int64_t version = 0;
	/* under a lock, since two processes may start at once; a large table may take its time */
	snprintf(script, sizeof(script), "BEGIN; SET LOCAL statement_timeout = 0; SELECT pg_advisory_xact_lock(%d)",
		MIGRATION_LOCK);
	enum status status = run_script(connection, script, error);
	if (status == STATUS_OK)
		status = run_script(connection,
			"CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BIGINT NOT NULL);"
			"INSERT INTO meta VALUES ('schema', 0), ('revision', 0) ON CONFLICT DO NOTHING",
			error);
	if (status == STATUS_OK)
		status = read_version(connection, &version, error);
	for (; status == STATUS_OK && version < SCHEMA_VERSION; version++) {
		status = run_script(connection, migrations[version].postgres, error);
		snprintf(script, sizeof(script), "UPDATE meta SET value = %lld WHERE name = 'schema'", (long long)version + 1);
		if (status == STATUS_OK)
			status = run_script(connection, script, error);
	}
	return status == STATUS_OK ? run_script(connection, "COMMIT", error) : status; /* else the connection is closed */
}
