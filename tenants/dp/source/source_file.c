/* Source "file": a file, or the files below a folder, of the tenant's directory. Properties: path, contentType. */
#include <stdlib.h>
#include <string.h>

#include "server/answer.h"
#include "server/base/id.h"
#include "server/etag.h"
#include "server/http_date.h"
#include "server/path.h"
#include "server/range.h"
#include "tenants/dp/source/digest_field.h"
#include "tenants/dp/source/file_answer.h"
#include "tenants/dp/source/file_digests.h"

enum { CHECK_BYTES = 4 * 1024 * 1024, PATH_LIMIT = 4000, PIECES_MAX = 2 * RANGES_MAX + 1 };

struct file_source {
	struct text path, content_type; /* both its own */
};

/* The body is a row of these: a text, or bytes of the file. */
struct piece {
	struct text text; /* absent: bytes of the file */
	int64_t offset, length;
};

struct file_pull {
	const struct open_file *file;
	struct file_answer *answer;
	struct text path; /* absent: no digest is wanted */
	bool is_plain;    /* no range, no condition, no wish */
	struct file_digests digests;
	struct file_window window;
	unsigned piece, count;
	int64_t at;        /* inside the piece */
	int64_t unchecked; /* bytes copied since the file was last seen unchanged */
	struct piece pieces[];
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

/* --- the body */

static enum body_state read_file(struct file_pull *state, uint8_t *into, size_t length)
{
	const struct piece *piece = &state->pieces[state->piece];
	enum status status = open_file_copy(state->file, &state->window, piece->offset + state->at, into, length);
	state->unchecked += (int64_t)length;
	return status == STATUS_OK ? BODY_MORE : BODY_FAILED;
}

/* Fills the frame across pieces; *count is what was produced. */
static enum body_state fill(struct file_pull *state, uint8_t *frame, size_t room, size_t *count)
{
	while (*count < room && state->piece < state->count) {
		const struct piece *piece = &state->pieces[state->piece];
		int64_t left = piece->length - state->at;
		size_t part = left < (int64_t)(room - *count) ? (size_t)left : room - *count;
		if (piece->text.bytes != NULL)
			memcpy(frame + *count, piece->text.bytes + state->at, part);
		else if (part > 0 && read_file(state, frame + *count, part) != BODY_MORE)
			return BODY_FAILED;
		*count += part;
		state->at += (int64_t)part;
		if (state->at == piece->length) {
			state->piece++;
			state->at = 0;
		}
	}
	return state->piece == state->count ? BODY_END : BODY_MORE;
}

/* a file that changes under the transfer fails it: never a mixture, cleanly ended */
static bool is_unchanged(struct file_pull *state, bool at_end)
{
	if (!at_end && state->unchecked < CHECK_BYTES)
		return true;
	state->unchecked = 0;
	return state->file->held != NULL || open_file_is_same(state->file);
}

static enum body_state on_read(struct exchange *exchange, uint8_t *frame, size_t room, size_t *count)
{
	struct pull *pull = exchange->state;
	struct file_pull *state = pull->source_state;
	*count = 0;
	enum body_state result = fill(state, frame, room, count);
	if (result != BODY_FAILED && !is_unchanged(state, result == BODY_END))
		result = BODY_FAILED;
	if (result != BODY_FAILED && !file_digests_pass(&state->digests, frame, *count, result == BODY_END))
		result = BODY_FAILED;
	if (result == BODY_FAILED) {
		dp_count(DP_SOURCE_ERRORS);
		*count = 0;
	}
	pull_count(pull, *count);
	return result;
}

/* Straight from the mapping. */
static enum body_state on_lend(
	struct exchange *exchange, size_t room, bool may_read, const uint8_t **bytes, size_t *count)
{
	struct pull *pull = exchange->state;
	struct file_pull *state = pull->source_state;
	const struct piece *piece = &state->pieces[state->piece];
	*count = 0;
	(void)may_read;
	if (piece->text.bytes != NULL || piece->length - state->at < (int64_t)room ||
		(*bytes = open_file_bytes(state->file, piece->offset + state->at)) == NULL)
		return BODY_MORE;
	state->at += (int64_t)room;
	state->unchecked += (int64_t)room;
	if (state->at == piece->length) {
		state->piece++;
		state->at = 0;
	}
	if (!is_unchanged(state, false)) {
		dp_count(DP_SOURCE_ERRORS);
		return BODY_FAILED;
	}
	*count = room;
	pull_count(pull, room);
	return BODY_MORE;
}

/* --- the head */

static bool add_text_header(struct exchange *exchange, struct text name, struct text value)
{
	struct text copy = exchange_copy(exchange, value);
	return copy.bytes != NULL && exchange_add_header(exchange, name, copy);
}

static bool add_validators(struct exchange *exchange, const struct file_pull *state)
{
	return exchange_add_header(exchange, TEXT("accept-ranges"), TEXT("bytes")) &&
		   exchange_add_header(exchange, TEXT("etag"), state->answer->etag) &&
		   exchange_add_header(exchange, TEXT("last-modified"), (struct text){state->file->modified, HTTP_DATE_LENGTH});
}

/* 0: go on; else the status that answers the conditions (RFC 9110 section 13.2.2). */
static int check_conditions(const struct exchange *exchange, const struct file_pull *state, int64_t now)
{
	struct text tag = state->answer->etag, value = exchange_header(exchange, TEXT("if-match"));
	int64_t modified = state->file->mtime_ns / 1000000000, date;
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

static bool add_part(struct exchange *exchange, struct file_pull *state, const struct byte_range *range,
	struct text content_type, const char *boundary)
{
	struct buffer head = {0};
	buffer_printf(&head, "%s--%s\r\nContent-Type: %.*s\r\nContent-Range: ", state->count == 0 ? "" : "\r\n", boundary,
		TEXT_ARGUMENTS(content_type));
	range_format(range, (uint64_t)state->file->size, &head);
	buffer_append(&head, TEXT("\r\n\r\n"));
	struct text copy = head.failed ? TEXT_NONE : exchange_copy(exchange, buffer_text(&head));
	buffer_free(&head);
	if (copy.bytes == NULL)
		return false;
	state->pieces[state->count++] = (struct piece){.text = copy, .length = (int64_t)copy.length};
	state->pieces[state->count++] = (struct piece){.offset = (int64_t)range->first, .length = (int64_t)range->length};
	return true;
}

static bool plan_multipart(
	struct exchange *exchange, struct file_pull *state, const struct byte_ranges *ranges, struct text content_type)
{
	char boundary[ID_LENGTH + 1];
	id_random(boundary);
	for (unsigned i = 0; i < ranges->count; i++) {
		if (!add_part(exchange, state, &ranges->at[i], content_type, boundary))
			return false;
	}
	struct buffer text = {0};
	buffer_printf(&text, "\r\n--%s--\r\n", boundary);
	struct text end = text.failed ? TEXT_NONE : exchange_copy(exchange, buffer_text(&text));
	buffer_clear(&text);
	buffer_printf(&text, "multipart/byteranges; boundary=%s", boundary);
	bool is_done =
		end.bytes != NULL && !text.failed && add_text_header(exchange, TEXT("content-type"), buffer_text(&text));
	buffer_free(&text);
	if (is_done)
		state->pieces[state->count++] = (struct piece){.text = end, .length = (int64_t)end.length};
	return is_done;
}

static bool plan_one(struct exchange *exchange, struct file_pull *state, const struct byte_range *range)
{
	struct buffer text = {0};
	if (exchange->status == 206) {
		range_format(range, (uint64_t)state->file->size, &text);
		bool is_added = !text.failed && add_text_header(exchange, TEXT("content-range"), buffer_text(&text));
		buffer_free(&text);
		if (!is_added)
			return false;
	}
	state->pieces[state->count++] = (struct piece){.offset = (int64_t)range->first, .length = (int64_t)range->length};
	exchange->file_descriptor = state->file->held != NULL ? -1 : state->file->descriptor;
	exchange->file_offset = (int64_t)range->first;
	return true;
}

static void answer_bodiless(struct pull *pull, int status)
{
	struct exchange *exchange = pull->exchange;
	const struct file_pull *state = pull->source_state;
	bool is_added = add_validators(exchange, state);
	if (status == 416) {
		struct buffer range = {0};
		range_format(NULL, (uint64_t)state->file->size, &range);
		is_added = is_added && !range.failed && add_text_header(exchange, TEXT("content-range"), buffer_text(&range));
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
	if (!if_range(
			exchange_header(exchange, TEXT("if-range")), state->answer->etag, state->file->mtime_ns / 1000000000, now))
		return RANGE_WHOLE;
	return range_parse(range, (uint64_t)state->file->size, ranges);
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
	ranges->at[0] = (struct byte_range){0, (uint64_t)state->file->size};
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
	if (file_digests_wait(&state->digests, state->path, state->file, respond))
		return;
	exchange->status = status;
	bool is_planned = ranges.count == 1 ? plan_one(exchange, state, &ranges.at[0])
										: plan_multipart(exchange, state, &ranges, source->content_type) &&
											  add_validators(exchange, state);
	if (!is_planned) {
		pull_refuse(pull, 503, TEXT_NONE);
		return;
	}
	exchange->response_length = 0;
	for (unsigned i = 0; i < state->count; i++)
		exchange->response_length += state->pieces[i].length;
	if (!file_digests_begin(&state->digests, exchange->response_length)) {
		pull_refuse(pull, 503, TEXT_NONE);
		return;
	}
	exchange->known = ranges.count == 1 ? state->answer->fields : NULL;
	exchange->read_body = on_read;
	exchange->lend_body = state->digests.running == NULL ? on_lend : NULL; /* what is digested must be seen */
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
	struct file_pull *state =
		exchange_allocate(pull->exchange, sizeof(*state) + (is_plain ? 1 : PIECES_MAX) * sizeof(struct piece));
	if (state == NULL) {
		pull_refuse(pull, 503, TEXT_NONE);
		return;
	}
	memset(state, 0, sizeof(*state));
	state->is_plain = is_plain;
	enum status status = full_path(source->path, below, room, sizeof(room), &path);
	if (status == STATUS_OK)
		status = open_file_get(
			pull->home->files, text_of(pull->flow->ctx), path, worker_now_ms(pull->home->worker), &state->file);
	if (status != STATUS_OK) {
		state->file = NULL;
		pull_refuse(pull, status == STATUS_UNAVAILABLE || status == STATUS_NO_MEMORY ? 503 : 404, TEXT_NONE);
		return;
	}
	pull->source_state = state;
	state->answer = file_answer_take(state->file, pull->part, source->content_type, below);
	if (state->answer == NULL) {
		pull_refuse(pull, 503, TEXT_NONE);
		return;
	}
	if (!is_plain)
		file_digests_read(&state->digests, pull);
	if (state->digests.wants_repr) {
		state->path = exchange_copy(pull->exchange, path);
		state->digests.wants_repr = state->path.bytes != NULL;
	}
	respond(pull);
}

/* Which bytes of the file have left. */
static void tell_sent(struct pull *pull, const struct file_pull *state)
{
	struct text tag = state->answer == NULL ? TEXT_NONE : state->answer->etag;
	struct buffer digest = {0};
	if (state->digests.is_known)
		digest_print(state->digests.repr, state->digests.digest, &digest);
	bool is_kernels = state->count == 1 && pull->exchange->file_descriptor >= 0;
	if (is_kernels)
		pull_sent(pull, tag, buffer_text(&digest), (uint64_t)state->pieces[0].offset, pull->exchange->bytes_sent);
	for (unsigned i = 0; i <= state->piece && i < state->count && !is_kernels; i++) {
		const struct piece *piece = &state->pieces[i];
		int64_t length = i < state->piece ? piece->length : state->at;
		if (piece->text.bytes == NULL && length > 0)
			pull_sent(pull, tag, buffer_text(&digest), (uint64_t)piece->offset, (uint64_t)length);
	}
	buffer_free(&digest);
}

static void file_close(struct pull *pull)
{
	struct file_pull *state = pull->source_state;
	if (state == NULL)
		return;
	tell_sent(pull, state);
	file_digests_close(&state->digests);
	file_window_close(&state->window);
	file_answer_leave(state->answer);
	open_file_release(pull->home->files, state->file);
}

const struct source_driver source_file = {
	.type = "file",
	.build = file_build,
	.free = file_free,
	.methods = file_methods,
	.start = file_start,
	.close = file_close,
};
