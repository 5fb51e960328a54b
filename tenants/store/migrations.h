/* The schema, step by step: step N makes version N of version N-1, in the words of each database. */
#pragma once

#define BOTH(sql)                                                                                                      \
	{                                                                                                                  \
		sql, sql                                                                                                       \
	}

static const struct {
	const char *sqlite, *postgres;
} migrations[] = {
	BOTH("CREATE TABLE record (ctx TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL, revision BIGINT NOT NULL, "
		 "body TEXT, PRIMARY KEY (ctx, kind, id));"
		 "CREATE UNIQUE INDEX record_revision ON record (revision);"),
	/* up to this revision tombstones may be gone */
	BOTH("INSERT INTO meta VALUES ('pruned', 0) ON CONFLICT DO NOTHING;"),
	/* keys are compared as bytes, as SQLite does, whatever the database's language */
	{"", "ALTER TABLE record ALTER COLUMN ctx TYPE TEXT COLLATE \"C\", ALTER COLUMN kind TYPE TEXT COLLATE \"C\", "
		 "ALTER COLUMN id TYPE TEXT COLLATE \"C\";"},
	/* the trail instead of an index that each change of a row would have to keep up (postgres_trail.h): so that a
	 * record that changes often changes in its place */
	{"", "DROP TABLE IF EXISTS trail; DROP INDEX IF EXISTS record_revision; ALTER TABLE record SET (fillfactor = 90);"
		 "CREATE TABLE trail (last BIGINT PRIMARY KEY, first BIGINT NOT NULL, keys BYTEA NOT NULL);"},
};
enum { SCHEMA_VERSION = sizeof(migrations) / sizeof(migrations[0]) };
