/* The functions of a type of sink, for datasets, which know no more of it; the rest is in sink.h. */
#pragma once

#include "server/base/json.h"

struct intake;

struct sink_driver {
	const char *type;
	/* As a source's: checks and compiles the record's properties. */
	enum status (*build)(const struct json *properties, unsigned workers, void **sink, struct buffer *error);
	void (*free)(void *sink);
	/* Finds out how much is there, makes ready for the bytes from `first` on: then `opened`. */
	void (*open)(struct intake *intake);
	/* After `opened` or `written`, one at a time: takes the buffer's bytes over and leaves it empty; then `written`. */
	void (*write)(struct intake *intake, struct buffer *bytes);
	/* After the last `written`: all that came is kept for good; `is_whole`: and it is the object. Then `finished`. */
	void (*finish)(struct intake *intake, bool is_whole);
	/* No event comes after it. Exactly once after open. */
	void (*close)(struct intake *intake);
};

/* NULL: no such type. */
const struct sink_driver *sink_driver_find(struct text type);
/* "\"file\", \"http\" or \"s3\"", for messages */
const char *sink_types(void);
