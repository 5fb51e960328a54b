/* Section "store". */
#include <stddef.h>

#include "server/base/config.h"
#include "tenants/store/store.h"

static const char *const backends[] = {"sqlite", "postgres", NULL};
#define STORE(name, kind_, ...)                                                                                        \
	{                                                                                                                  \
		.key = #name, .kind = kind_, .offset = offsetof(struct store_settings, name), __VA_ARGS__                      \
	}
const struct setting store_settings_table[] = {
	STORE(backend, SETTING_CHOICE, .preset = "sqlite", .choices = backends, .help = "the database"),
	STORE(file, SETTING_TEXT, .minimum = 1, .maximum = 4096,
		.help = "SQLite: the file; null: cell.db in the state directory"),
	STORE(connection_file, SETTING_TEXT, .minimum = 1, .maximum = 4096,
		.help = "PostgreSQL: a file only its owner may read, holding the libpq connection string"),
	STORE(queued_transactions, SETTING_INTEGER, .preset = "4096", .minimum = 1, .maximum = 1000000,
		.help = "changes that may wait; further ones are refused"),
	STORE(poll_ms, SETTING_MILLISECONDS, .preset = "200 ms", .minimum = 10, .maximum = 60000,
		.help = "how often to look for commits of other processes"),
	STORE(tombstones, SETTING_INTEGER, .preset = "1000000", .minimum = 10, .maximum = 1000000000,
		.help = "how many changes back a deleted record is remembered; a process that was away for more of them ends"),
	STORE(statement_ms, SETTING_MILLISECONDS, .preset = "5 s", .minimum = 100, .maximum = 600000,
		.help = "longest time of one PostgreSQL statement, and of waiting for another process's lock"),
};
const size_t store_settings_count = sizeof(store_settings_table) / sizeof(store_settings_table[0]);
