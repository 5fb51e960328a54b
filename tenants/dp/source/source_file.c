/* Source "file": a file, or the files below a folder, of the tenant's directory. Properties: path, contentType. */
#include <stdlib.h>
#include <string.h>

#include "server/answer.h"
#include "server/etag.h"
#include "server/http_date.h"
#include "server/path.h"
#include "tenants/dp/source/file_answer.h"
#include "tenants/dp/source/file_body.h"

enum { PATH_LIMIT = 4000 };

struct file_source {
	struct text path, content_type; /* both its own */
};

struct file_pull {
	struct file_body body; /* first */
	struct file_answer *answer;
	struct text path; /* absent: no digest is wanted */
	bool is_plain;    /* no range, no condition, no wish */
	struct file_piece pieces[];
};

/* --- the dataset's side */

static bool is_relative_path(struct text path)
{
	if (path.length == 0 || path.length > PATH_LIMIT || memchr(path.bytes, 0, path.length) != NULL)
		return false;
	struct text rest = path, segment;
	for (bool done = false; text_next_part(&rest, '/', &segment, &done);) {
		if (segment.length == 0 || text_equals(segment, TEXT(".")) || text_equals(segment, TEXT("..")))
			return false;
	}
	return true;
}

static bool is_header_value(struct text value)
{
	for (size_t i = 0; i < value.length; i++) {
		if ((unsigned char)value.bytes[i] < 0x20 || (unsigned char)value.bytes[i] > 0x7e)
			return false;
	}
	return value.length > 0 && value.length <= 256;
}

static void file_free(void *object)
{
	struct file_source *source = object;
	if (source == NULL)
		return;
	free((void *)(uintptr_t)source->path.bytes);
	free((void *)(uintptr_t)source->content_type.bytes);
	free(source);
}

static enum status file_build(const struct json *properties, unsigned workers, void **source, struct buffer *error)
{
	struct text path = property(properties, "path"), type = property(properties, "contentType");
	(void)workers;
	if (!is_relative_path(path)) {
		buffer_printf(error, "path: must be a path below the participant's folder, without . and ..");
		return STATUS_INVALID;
	}
	if (type.bytes == NULL)
		type = TEXT("application/octet-stream");
	if (!is_header_value(type)) {
		buffer_printf(error, "contentType: must be a media type");
		return STATUS_INVALID;
	}
	struct file_source *made = calloc(1, sizeof(*made));
	if (made != NULL) {
		made->path = (struct text){text_copy(path), path.length};
		made->content_type = (struct text){text_copy(type), type.length};
	}
	if (made == NULL || made->path.bytes == NULL || made->content_type.bytes == NULL) {
		file_free(made);
		return STATUS_NO_MEMORY;
	}
	*source = made;
	return STATUS_OK;
}

static unsigned file_methods(const void *source)
{
	(void)source;
	return 1U << METHOD_GET | 1U << METHOD_HEAD;
}

/* --- the head */

static bool add_validators(struct exchange *exchange, const struct file_pull *state)
{
	return exchange_add_header(exchange, TEXT("accept-ranges"), TEXT("bytes")) &&
		   exchange_add_header(exchange, TEXT("etag"), state->answer->etag) &&
		   exchange_add_header(
			   exchange, TEXT("last-modified"), (struct text){state->body.file->modified, HTTP_DATE_LENGTH});
}

/* 0: go on; else the status that answers the conditions (RFC 9110 section 13.2.2). */
static int check_conditions(const struct exchange *exchange, const struct file_pull *state, int64_t now)
{
	struct text tag = state->answer->etag, value = exchange_header(exchange, TEXT("if-match"));
	int64_t modified = state->body.file->mtime_ns / 1000000000, date;
	if (value.bytes != NULL) {
		if (!if_match(value, tag))
			return 412;
	} else {
		value = exchange_header(exchange, TEXT("if-unmodified-since"));
		if (value.bytes != NULL && http_date_parse(value, now, &date) == STATUS_OK && modified > date)
			return 412;
	}
	value = exchange_header(exchange, TEXT("if-none-match"));
	if (value.bytes != NULL)
		return if_none_match(value, tag) ? 304 : 0;
	value = exchange_header(exchange, TEXT("if-modified-since"));
	return value.bytes != NULL && if_not_modified_since(value, modified, now) ? 304 : 0;
}

static void answer_bodiless(struct pull *pull, int status)
{
	struct exchange *exchange = pull->exchange;
	const struct file_pull *state = pull->source_state;
	bool is_added = add_validators(exchange, state);
	if (status == 416) {
		struct buffer range = {0};
		range_format(NULL, (uint64_t)state->body.file->size, &range);
		is_added =
			is_added && !range.failed && exchange_add_header_copy(exchange, TEXT("content-range"), buffer_text(&range));
		buffer_free(&range);
	}
	if (!is_added)
		pull_refuse(pull, 503, TEXT_NONE);
	else if (status == 304)
		answer_empty(exchange, status);
	else
		pull_refuse(pull, status, TEXT_NONE);
}

static enum range_verdict wanted_ranges(
	const struct pull *pull, const struct file_pull *state, int64_t now, struct byte_ranges *ranges)
{
	const struct exchange *exchange = pull->exchange;
	struct text range = exchange_header(exchange, TEXT("range"));
	/* only GET has ranges (RFC 9110 section 14.2); two Range headers are none */
	if (range.bytes == NULL || pull->method != METHOD_GET || exchange_header_count(exchange, TEXT("range")) != 1)
		return RANGE_WHOLE;
	if (!if_range(exchange_header(exchange, TEXT("if-range")), state->answer->etag,
			state->body.file->mtime_ns / 1000000000, now))
		return RANGE_WHOLE;
	return range_parse(range, (uint64_t)state->body.file->size, ranges);
}

/* Only headers that begin like one of if-match, range and want-repr-digest change what is answered. */
static bool asks_plainly(const struct exchange *exchange)
{
	for (unsigned i = 0; i < exchange->header_count; i++) {
		struct text name = exchange->headers[i].name;
		if (name.length > 0 && (name.bytes[0] == 'i' || name.bytes[0] == 'r' || name.bytes[0] == 'w'))
			return false;
	}
	return true;
}

/* The status, and which bytes of the file are to be sent. */
static int judge(const struct pull *pull, const struct file_pull *state, struct byte_ranges *ranges)
{
	ranges->count = 1;
	ranges->at[0] = (struct byte_range){0, (uint64_t)state->body.file->size};
	if (state->is_plain)
		return 200;
	int64_t now = worker_wall_ms(pull->exchange->worker) / 1000;
	int status = check_conditions(pull->exchange, state, now);
	if (status != 0)
		return status;
	struct byte_ranges wanted;
	switch (wanted_ranges(pull, state, now, &wanted)) {
	case RANGE_WHOLE:
		return 200;
	case RANGE_UNSATISFIABLE:
		return 416;
	case RANGE_LIST:
		break;
	}
	*ranges = wanted;
	return 206;
}

/* The digest may have to be waited for: then this runs once more. */
static void respond(struct pull *pull)
{
	const struct file_source *source = pull->part->source;
	struct exchange *exchange = pull->exchange;
	struct file_pull *state = pull->source_state;
	struct byte_ranges ranges;
	int status = judge(pull, state, &ranges);
	if (status != 200 && status != 206) {
		answer_bodiless(pull, status);
		return;
	}
	if (file_digests_wait(&state->body.digests, state->path, state->body.file, respond))
		return;
	exchange->status = status;
	if (!file_body_plan(exchange, &state->body, &ranges, source->content_type) ||
		(ranges.count > 1 && !add_validators(exchange, state)) || !file_body_begin(exchange, &state->body)) {
		pull_refuse(pull, 503, TEXT_NONE);
		return;
	}
	exchange->known = ranges.count == 1 ? state->answer->fields : NULL;
	pull_respond(pull);
}

/* property path + decoded segments; INVALID when a segment cannot be a file name */
static enum status full_path(struct text folder, struct text below, char *into, size_t room, struct text *path)
{
	size_t length = folder.length;
	if (length + below.length + 1 > room)
		return STATUS_TOO_LARGE;
	memcpy(into, folder.bytes, length);
	struct text segment, decoded;
	while (path_next(&below, &segment)) {
		into[length++] = '/';
		if (percent_decode(segment, into + length, room - length, &decoded) != STATUS_OK || decoded.length == 0 ||
			text_find(decoded, '/') != decoded.length || text_equals(decoded, TEXT("..")) ||
			text_equals(decoded, TEXT(".")))
			return STATUS_INVALID;
		length += decoded.length;
	}
	*path = (struct text){into, length};
	return STATUS_OK;
}

static void file_start(struct pull *pull)
{
	const struct file_source *source = pull->part->source;
	char room[PATH_LIMIT + 1];
	struct text below = text_equals(pull->below, TEXT("/")) ? TEXT("") : pull->below, path;
	bool is_plain = asks_plainly(pull->exchange);
	struct file_pull *state = exchange_allocate(
		pull->exchange, sizeof(*state) + (is_plain ? 1 : FILE_PIECES_MAX) * sizeof(struct file_piece));
	if (state == NULL) {
		pull_refuse(pull, 503, TEXT_NONE);
		return;
	}
	memset(state, 0, sizeof(*state));
	state->body.pieces = state->pieces;
	state->is_plain = is_plain;
	enum status status = full_path(source->path, below, room, sizeof(room), &path);
	if (status == STATUS_OK)
		status = open_file_get(
			pull->home->files, text_of(pull->flow->ctx), path, worker_now_ms(pull->home->worker), &state->body.file);
	if (status != STATUS_OK) {
		state->body.file = NULL;
		pull_refuse(pull, status == STATUS_UNAVAILABLE || status == STATUS_NO_MEMORY ? 503 : 404, TEXT_NONE);
		return;
	}
	pull->source_state = state;
	state->answer = file_answer_take(state->body.file, pull->part, source->content_type, below);
	if (state->answer == NULL) {
		pull_refuse(pull, 503, TEXT_NONE);
		return;
	}
	if (!is_plain)
		file_digests_read(&state->body.digests, pull);
	if (state->body.digests.wants_repr) {
		state->path = exchange_copy(pull->exchange, path);
		state->body.digests.wants_repr = state->path.bytes != NULL;
	}
	respond(pull);
}

static void file_close(struct pull *pull)
{
	struct file_pull *state = pull->source_state;
	if (state == NULL)
		return;
	file_body_close(pull, &state->body, state->answer == NULL ? TEXT_NONE : state->answer->etag);
	file_answer_leave(state->answer);
	open_file_release(pull->home->files, state->body.file);
}

const struct source_driver source_file = {
	.type = "file",
	.build = file_build,
	.free = file_free,
	.methods = file_methods,
	.start = file_start,
	.close = file_close,
};
