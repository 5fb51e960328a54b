/* Reading scenario files. */
#include "bench/cellbench/scenario.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/json.h"

enum { FILE_MAX = 1024 * 1024, TENANTS_MAX = 100000 };

/* What is being read: for messages and relative paths. */
struct reading {
	const char *file;
	struct buffer *error;
	struct text base; /* of the URL: no trailing '/' */
};

static enum status wrong(const struct reading *reading, const char *member, const char *what)
{
	buffer_printf(reading->error, "%s: %s: %s", reading->file, member, what);
	return STATUS_INVALID;
}

static enum status read_file(const char *path, struct buffer *into)
{
	FILE *file = fopen(path, "re");
	char block[8192];
	size_t count;
	if (file == NULL)
		return STATUS_NOT_FOUND;
	while (into->length <= FILE_MAX && (count = fread(block, 1, sizeof(block), file)) > 0)
		buffer_append(into, (struct text){block, count});
	bool failed = ferror(file) != 0;
	fclose(file);
	return failed || into->failed || into->length > FILE_MAX ? STATUS_IO : STATUS_OK;
}

/* Beside the scenario's file, unless absolute. */
static char *path_beside(const char *file, struct text name)
{
	const char *slash = strrchr(file, '/');
	struct buffer path = {0};
	if (slash != NULL && (name.length == 0 || name.bytes[0] != '/'))
		buffer_append(&path, (struct text){file, (size_t)(slash - file) + 1});
	buffer_append(&path, name);
	return path.failed ? NULL : buffer_take(&path);
}

static void append_with_index(struct buffer *into, struct text pattern, unsigned index)
{
	while (pattern.length > 0) {
		size_t at = text_find(pattern, '{');
		buffer_append(into, text_slice(pattern, 0, at));
		pattern = text_slice(pattern, at, pattern.length);
		if (text_starts_with(pattern, TEXT("{i}"))) {
			buffer_append_number(into, index);
			pattern = text_slice(pattern, 3, pattern.length);
		} else if (pattern.length > 0) {
			buffer_append_byte(into, '{');
			pattern = text_slice(pattern, 1, pattern.length);
		}
	}
}

static enum status check_members(const struct reading *reading, const struct json *object, const char *const *known)
{
	if (json_kind(object) != JSON_OBJECT)
		return wrong(reading, "scenario", "must be made of JSON objects");
	for (const struct json *member = json_first(object); member != NULL; member = json_next(member)) {
		size_t i = 0;
		while (known[i] != NULL && strcmp(known[i], json_name(member)) != 0)
			i++;
		if (known[i] == NULL)
			return wrong(reading, json_name(member), "unknown member");
	}
	return STATUS_OK;
}

static enum status read_number(const struct reading *reading, const struct json *object, const char *name,
	int64_t preset, int64_t minimum, int64_t maximum, int64_t *into)
{
	const struct json *member = json_member(object, name);
	*into = preset;
	if (member == NULL || (json_integer(member, into) && *into >= minimum && *into <= maximum))
		return STATUS_OK;
	buffer_printf(
		reading->error, "%s: %s: must be %lld to %lld", reading->file, name, (long long)minimum, (long long)maximum);
	return STATUS_INVALID;
}

static enum status read_authorization(
	const struct reading *reading, struct text pattern, unsigned index, char **authorization)
{
	struct buffer name = {0}, content = {0};
	if (pattern.bytes == NULL)
		return STATUS_OK;
	append_with_index(&name, pattern, index);
	char *path = name.failed ? NULL : path_beside(reading->file, buffer_text(&name));
	enum status status = path == NULL ? STATUS_NO_MEMORY : read_file(path, &content);
	struct text value = buffer_text(&content);
	while (value.length > 0 && (value.bytes[value.length - 1] == '\n' || value.bytes[value.length - 1] == '\r'))
		value.length--;
	if (status == STATUS_OK)
		*authorization = text_copy(value);
	else
		status = wrong(reading, "authorization_file", "cannot be read");
	free(path);
	buffer_free(&name);
	buffer_free(&content);
	return status;
}

static enum status read_url(const struct reading *reading, struct text path, unsigned index, struct tenant_load *tenant)
{
	struct buffer url = {0};
	buffer_append(&url, reading->base);
	append_with_index(&url, path, index);
	if (url.failed)
		return STATUS_NO_MEMORY;
	tenant->url_text = buffer_take(&url);
	return url_parse(text_of(tenant->url_text), &tenant->url) == STATUS_OK
			   ? STATUS_OK
			   : wrong(reading, "path", "makes no URL with the scenario's url");
}

/* One tenant of a group; index 0: the only one. */
static enum status read_tenant(
	const struct reading *reading, const struct json *group, unsigned index, struct tenant_load *tenant)
{
	int64_t connections, streams, rate;
	struct text name = json_member_text(group, "name"), arrivals = json_member_text(group, "arrivals");
	struct buffer full = {0};
	enum status status = read_number(reading, group, "connections", 1, 1, 10000, &connections);
	if (status == STATUS_OK)
		status = read_number(reading, group, "streams", 1, 1, 100, &streams);
	if (status == STATUS_OK)
		status = read_number(reading, group, "rate", 0, 1, 10000000, &rate);
	if (status != STATUS_OK)
		return status;
	if (name.length == 0)
		return wrong(reading, "tenants.name", "is missing");
	if (arrivals.bytes != NULL && !text_equals(arrivals, TEXT("even")) && !text_equals(arrivals, TEXT("poisson")))
		return wrong(reading, "arrivals", "must be \"even\" or \"poisson\"");
	buffer_append(&full, name);
	if (index > 0)
		buffer_printf(&full, "-%u", index);
	tenant->group = text_copy(name);
	tenant->name = full.failed ? NULL : buffer_take(&full);
	if (tenant->group == NULL || tenant->name == NULL)
		return STATUS_NO_MEMORY;
	tenant->connections = (unsigned)connections;
	tenant->streams = (unsigned)streams;
	tenant->rate = (double)rate;
	tenant->is_poisson = text_equals(arrivals, TEXT("poisson"));
	status = read_url(reading, json_member_text(group, "path"), index == 0 ? 1 : index, tenant);
	if (status != STATUS_OK)
		return status;
	return read_authorization(
		reading, json_member_text(group, "authorization_file"), index == 0 ? 1 : index, &tenant->authorization);
}

static enum status read_group(const struct reading *reading, const struct json *group, struct scenario *scenario)
{
	static const char *const known[] = {
		"name", "count", "path", "authorization_file", "connections", "streams", "rate", "arrivals", NULL};
	int64_t count;
	enum status status = check_members(reading, group, known);
	if (status == STATUS_OK)
		status = read_number(reading, group, "count", 1, 1, TENANTS_MAX, &count);
	if (status != STATUS_OK)
		return status;
	struct tenant_load *more =
		realloc(scenario->tenants, (scenario->tenant_count + (size_t)count) * sizeof(scenario->tenants[0]));
	if (more == NULL)
		return STATUS_NO_MEMORY;
	scenario->tenants = more;
	for (int64_t i = 1; i <= count && status == STATUS_OK; i++) {
		struct tenant_load *tenant = &scenario->tenants[scenario->tenant_count++];
		memset(tenant, 0, sizeof(*tenant));
		status = read_tenant(reading, group, count == 1 ? 0 : (unsigned)i, tenant);
	}
	return status;
}

static enum status read_frame(struct reading *reading, const struct json *root, struct scenario *scenario)
{
	static const char *const known[] = {"name", "url", "http", "ca_file", "threads", "shared", "sleeps", "window",
		"warmup_ms", "duration_ms", "tenants", NULL};
	int64_t threads, warmup, duration;
	enum status status = check_members(reading, root, known);
	if (status == STATUS_OK)
		status = read_number(reading, root, "threads", 1, 1, 64, &threads);
	if (status == STATUS_OK)
		status = read_number(reading, root, "warmup_ms", 500, 0, 600000, &warmup);
	if (status == STATUS_OK)
		status = read_number(reading, root, "duration_ms", 5000, 10, 86400000, &duration);
	if (status == STATUS_OK)
		status = read_number(reading, root, "window", 512 * 1024, 16384, 16 << 20, &scenario->window);
	if (status != STATUS_OK)
		return status;
	struct text http = json_member_text(root, "http"), name = json_member_text(root, "name");
	scenario->is_http2 = http.bytes == NULL || text_equals(http, TEXT("2"));
	if (!scenario->is_http2 && !text_equals(http, TEXT("1.1")))
		return wrong(reading, "http", "must be \"2\" or \"1.1\"");
	const struct json *shared = json_member(root, "shared");
	if (shared != NULL && (!json_bool(shared, &scenario->is_shared) || (scenario->is_shared && threads > 1)))
		return wrong(reading, "shared", "must be true (with one thread) or false");
	const struct json *sleeps = json_member(root, "sleeps");
	if (sleeps != NULL && !json_bool(sleeps, &scenario->sleeps))
		return wrong(reading, "sleeps", "must be true or false");
	scenario->threads = (unsigned)threads;
	scenario->warmup_ms = (uint64_t)warmup;
	scenario->duration_ms = (uint64_t)duration;
	scenario->name = text_copy(name.bytes == NULL ? text_of(reading->file) : name);
	struct text ca_file = json_member_text(root, "ca_file");
	if (ca_file.bytes != NULL)
		scenario->ca_file = path_beside(reading->file, ca_file);
	reading->base = json_member_text(root, "url");
	struct url url;
	if (url_parse(reading->base, &url) != STATUS_OK || url.path.length > 1)
		return wrong(reading, "url", "must be like https://host:port");
	if (text_ends_with(reading->base, TEXT("/")))
		reading->base.length--;
	return scenario->name == NULL || (ca_file.bytes != NULL && scenario->ca_file == NULL) ? STATUS_NO_MEMORY
																						  : STATUS_OK;
}

static enum status read_scenario(struct reading *reading, const struct json *root, struct scenario *scenario)
{
	const struct json *groups = json_member(root, "tenants");
	enum status status = read_frame(reading, root, scenario);
	if (status == STATUS_OK && (groups == NULL || json_kind(groups) != JSON_ARRAY || json_count(groups) == 0))
		status = wrong(reading, "tenants", "must be a list of at least one");
	for (const struct json *group = json_first(groups); group != NULL && status == STATUS_OK; group = json_next(group))
		status = read_group(reading, group, scenario);
	return status;
}

enum status scenario_load(const char *file, struct scenario **scenario, struct buffer *error)
{
	struct reading reading = {.file = file, .error = error};
	struct buffer content = {0};
	struct json *root = NULL;
	struct scenario *made = calloc(1, sizeof(*made));
	enum status status = made == NULL ? STATUS_NO_MEMORY : read_file(file, &content);
	if (status == STATUS_NOT_FOUND || status == STATUS_IO)
		buffer_printf(error, "%s: cannot be read", file);
	if (status == STATUS_OK) {
		status = json_parse(buffer_text(&content), NULL, &root);
		if (status != STATUS_OK)
			buffer_printf(error, "%s: is not one JSON document", file);
	}
	if (status == STATUS_OK)
		status = read_scenario(&reading, root, made);
	json_free(root);
	buffer_free(&content);
	if (status != STATUS_OK) {
		if (error->length == 0)
			buffer_printf(error, "%s: %s", file, status_text(status));
		scenario_free(made);
		return status;
	}
	*scenario = made;
	return STATUS_OK;
}

void scenario_free(struct scenario *scenario)
{
	if (scenario == NULL)
		return;
	for (size_t i = 0; i < scenario->tenant_count; i++) {
		free(scenario->tenants[i].group);
		free(scenario->tenants[i].name);
		free(scenario->tenants[i].url_text);
		free(scenario->tenants[i].authorization);
	}
	free(scenario->tenants);
	free(scenario->name);
	free(scenario->ca_file);
	free(scenario);
}
