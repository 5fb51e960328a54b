/* Structured log: one JSON object per line. Callable from any thread; never blocks and shares nothing: each
 * thread has a bounded ring that a writer thread empties; what does not fit is counted and reported. The lines of one
 * thread are in order, those of several are not: each carries its time. */
#pragma once

#include <stdint.h>

#include "server/base/text.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR };

enum log_kind { LOG_KIND_TEXT, LOG_KIND_NUMBER, LOG_KIND_BOOL };
struct log_field {
	struct text name; /* with its quotes, comma and colon */
	enum log_kind kind;
	struct text text;
	int64_t number;
};

#define log_text(key, value) ((struct log_field){.name = TEXT(",\"" key "\":"), .kind = LOG_KIND_TEXT, .text = (value)})
#define log_number(key, value)                                                                                         \
	((struct log_field){.name = TEXT(",\"" key "\":"), .kind = LOG_KIND_NUMBER, .number = (int64_t)(value)})
#define log_bool(key, value)                                                                                           \
	((struct log_field){.name = TEXT(",\"" key "\":"), .kind = LOG_KIND_BOOL, .number = (value)})

/* LOG(INFO, "listener.open", log_text("address", a), log_number("port", p)); at least one field, named by literals.
 * `event` is a literal "noun.verb". Values longer than 1,024 bytes are cut. Never pass a secret. */
#define LOG(level, event, ...)                                                                                         \
	do {                                                                                                               \
		if (LOG_##level >= log_threshold)                                                                              \
			log_write(LOG_##level, event, (const struct log_field[]){__VA_ARGS__},                                     \
				sizeof((const struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field));                           \
	} while (0)

extern _Atomic(enum log_level) log_threshold;

/* Starts the writer on `descriptor` (borrowed). Before this, lines are written synchronously to stderr. */
enum status log_open(int descriptor, enum log_level threshold) MUST_CHECK;
void log_write(enum log_level level, const char *event, const struct log_field *fields, size_t count);
/* Writes what is queued, stops the thread. */
void log_close(void);
uint64_t log_dropped(void);
