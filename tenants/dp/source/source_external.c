/* External sources: signalled for, never served. */
#include "tenants/dp/source/source_external.h"

#include <stdlib.h>

#include "tenants/dp/pull.h"

#define LATEST_MS (INT64_C(366) * 24 * 3600 * 1000)

static enum status read_time(const struct json *properties, const char *name, int64_t *into, struct buffer *error)
{
	struct text value = property(properties, name);
	uint64_t number = 0;
	if (value.bytes != NULL && text_to_unsigned(value, LATEST_MS, &number) != STATUS_OK)
		return buffer_invalid(error, name, "must be a decimal number of milliseconds, at most a year");
	*into = (int64_t)number;
	return STATUS_OK;
}

static void external_free(void *source)
{
	struct external_source *external = source;
	if (external != NULL)
		free(external->endpoint);
	free(external);
}

static enum status build(const struct json *properties, unsigned workers, void **source, struct buffer *error)
{
	struct external_source *made = calloc(1, sizeof(*made));
	struct text endpoint = property(properties, "endpoint");
	struct url url;
	(void)workers;
	if (made == NULL)
		return STATUS_NO_MEMORY;
	enum status status = read_time(properties, "readyAfterMs", &made->ready_after_ms, error);
	if (status == STATUS_OK)
		status = read_time(properties, "completeAfterMs", &made->complete_after_ms, error);
	if (status == STATUS_OK && endpoint.bytes != NULL && url_parse(endpoint, &url) != STATUS_OK)
		status = buffer_invalid(error, "endpoint", "must be an http or https URL");
	if (status == STATUS_OK && endpoint.bytes != NULL && (made->endpoint = text_copy(endpoint)) == NULL)
		status = STATUS_NO_MEMORY;
	if (status == STATUS_OK)
		*source = made;
	else
		external_free(made);
	return status;
}

static unsigned methods(const void *source)
{
	(void)source;
	return 1U << METHOD_GET | 1U << METHOD_HEAD;
}

static void start(struct pull *pull)
{
	pull_refuse(pull, 404, TEXT("the bytes of this dataset are not served here"));
}

static void nothing_to_close(struct pull *pull)
{
	(void)pull;
}

const struct source_driver source_external = {.type = "external",
	.build = build,
	.free = external_free,
	.methods = methods,
	.start = start,
	.close = nothing_to_close};

const struct external_source *dataset_external(const struct dataset *dataset)
{
	return dataset != NULL && dataset->part_count == 1 && dataset->parts[0].driver == &source_external
			   ? dataset->parts[0].source
			   : NULL;
}
