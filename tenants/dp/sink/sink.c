/* The types of sink, and which one a flow has. */
#include "tenants/dp/sink/sink.h"

extern const struct sink_driver sink_file, sink_http, sink_s3;

static const struct sink_driver *const drivers[] = {&sink_file, &sink_http, &sink_s3};

const struct sink_driver *sink_driver_find(struct text type)
{
	for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++) {
		if (text_equals(type, text_of(drivers[i]->type)))
			return drivers[i];
	}
	return NULL;
}

const char *sink_types(void)
{
	return "\"file\", \"http\" or \"s3\"";
}

void intake_choose(struct intake *intake)
{
	const struct dataset *dataset = intake->pull->dataset;
	bool has_sink = dataset != NULL && dataset->sink_driver != NULL;
	intake->driver = has_sink ? dataset->sink_driver : &sink_file;
	intake->sink = has_sink ? dataset->sink : NULL;
}
