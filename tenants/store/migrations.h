/* The schema, step by step: step N makes version N of version N-1. Both databases speak this subset. */
#pragma once

static const char *const migrations[] = {
	"CREATE TABLE record (ctx TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL, revision BIGINT NOT NULL, body TEXT,"
	" PRIMARY KEY (ctx, kind, id));"
	"CREATE UNIQUE INDEX record_revision ON record (revision);",
	/* up to this revision tombstones may be gone */
	"INSERT INTO meta VALUES ('pruned', 0) ON CONFLICT DO NOTHING;",
};
enum { SCHEMA_VERSION = sizeof(migrations) / sizeof(migrations[0]) };
