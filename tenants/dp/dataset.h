/* A dataset: one or several sources behind one id, compiled once from its record. */
#pragma once

#include <stdatomic.h>

#include "tenants/dp/sink/sink_driver.h"
#include "tenants/dp/source/source.h"
#include "tenants/dp/source/validator.h"

struct dataset_part {
	uint64_t serial;  /* no other part of this process has, had or will have it */
	struct text path; /* "" or "/files": what the consumer's path starts with */
	const struct source_driver *driver;
	void *source;
	char binding[BINDING_LENGTH + 1]; /* what its validators begin with */
	bool has_version;                 /* the property "version": declared, and part of the binding */
};

struct dataset {
	atomic_uint references; /* the map's, and one for each pull */
	char *ctx, *id, *body;
	int64_t revision;
	unsigned methods;           /* bits of enum method */
	struct dataset_part *parts; /* longest path first */
	size_t part_count;
	const struct sink_driver *sink_driver; /* NULL: none */
	void *sink;
};

/* {"id","type","properties"} or {"id","parts":[{"path","type","properties"}]}, both with "allowedMethods" and
 * "createdAt"; beside them, or alone, "sink":{"type","properties"}: where the bytes of consumer flows go. `error` gets
 * one line that names the member. */
enum status dataset_build(struct text ctx, struct text id, const struct json *body, unsigned workers,
	struct dataset **dataset, struct buffer *error) MUST_CHECK;
void dataset_ref(struct dataset *dataset);
void dataset_unref(void *dataset);
/* The part a path leads to and what is below it; NULL when none. */
const struct dataset_part *dataset_find(const struct dataset *dataset, struct text path, struct text *below);
/* False when the method is not one of METHOD_LIST. */
bool method_parse(struct text text, enum method *method);
/* "GET, HEAD" */
void methods_print(unsigned methods, struct buffer *into);
