/* What a type of source is: one struct of functions. To add one: write it, and list it in dataset.c. */
#pragma once

#include "server/base/json.h"
#include "server/base/text.h"

struct pull;

/* Methods a consumer may use, as bits. */
#define METHOD_LIST(X) X(GET) X(HEAD) X(POST) X(PUT) X(DELETE) X(PATCH)
enum method {
#define METHOD_MEMBER(name) METHOD_##name,
	METHOD_LIST(METHOD_MEMBER)
#undef METHOD_MEMBER
		METHOD_COUNT
};

struct source_driver {
	const char *type;
	/* Checks and compiles a dataset's properties; immutable but for per-worker parts. `error` gets one line that names
	 * the property. */
	enum status (*build)(const struct json *properties, unsigned workers, void **source, struct buffer *error);
	void (*free)(void *source);
	unsigned (*methods)(const void *source);
	/* Answers the pull's exchange, now or later. */
	void (*start)(struct pull *pull);
	/* The exchange is over: releases what start took. Exactly once after start. */
	void (*close)(struct pull *pull);
};
extern const struct source_driver source_external, source_file, source_http, source_s3;

/* The text of a property, by bare or expanded name; TEXT_NONE when absent. */
struct text property(const struct json *properties, const char *name);
