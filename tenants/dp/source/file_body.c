/* Bodies of answers from files. */
#include "tenants/dp/source/file_body.h"

#include <string.h>

#include "server/base/id.h"
#include "tenants/dp/source/digest_field.h"

enum { CHECK_BYTES = 4 * 1024 * 1024 };

/* --- which bytes */

static bool add_part(struct exchange *exchange, struct file_body *body, const struct byte_range *range,
	struct text content_type, const char *boundary)
{
	struct buffer head = {0};
	buffer_printf(&head, "%s--%s\r\nContent-Type: %.*s\r\nContent-Range: ", body->count == 0 ? "" : "\r\n", boundary,
		TEXT_ARGUMENTS(content_type));
	range_format(range, (uint64_t)body->file->size, &head);
	buffer_append(&head, TEXT("\r\n\r\n"));
	struct text copy = head.failed ? TEXT_NONE : exchange_copy(exchange, buffer_text(&head));
	buffer_free(&head);
	if (copy.bytes == NULL)
		return false;
	body->pieces[body->count++] = (struct file_piece){.text = copy, .length = (int64_t)copy.length};
	body->pieces[body->count++] =
		(struct file_piece){.offset = (int64_t)range->first, .length = (int64_t)range->length};
	return true;
}

static bool plan_multipart(
	struct exchange *exchange, struct file_body *body, const struct byte_ranges *ranges, struct text content_type)
{
	char boundary[ID_LENGTH + 1];
	id_random(boundary);
	for (unsigned i = 0; i < ranges->count; i++) {
		if (!add_part(exchange, body, &ranges->at[i], content_type, boundary))
			return false;
	}
	struct buffer text = {0};
	buffer_printf(&text, "\r\n--%s--\r\n", boundary);
	struct text end = text.failed ? TEXT_NONE : exchange_copy(exchange, buffer_text(&text));
	buffer_clear(&text);
	buffer_printf(&text, "multipart/byteranges; boundary=%s", boundary);
	bool is_done = end.bytes != NULL && !text.failed &&
				   exchange_add_header_copy(exchange, TEXT("content-type"), buffer_text(&text));
	buffer_free(&text);
	if (is_done)
		body->pieces[body->count++] = (struct file_piece){.text = end, .length = (int64_t)end.length};
	return is_done;
}

static bool plan_one(struct exchange *exchange, struct file_body *body, const struct byte_range *range)
{
	struct buffer text = {0};
	if (exchange->status == 206) {
		range_format(range, (uint64_t)body->file->size, &text);
		bool is_added = !text.failed && exchange_add_header_copy(exchange, TEXT("content-range"), buffer_text(&text));
		buffer_free(&text);
		if (!is_added)
			return false;
	}
	body->pieces[body->count++] =
		(struct file_piece){.offset = (int64_t)range->first, .length = (int64_t)range->length};
	exchange->file_descriptor = body->file->held != NULL ? -1 : body->file->descriptor;
	exchange->file_offset = (int64_t)range->first;
	return true;
}

bool file_body_plan(
	struct exchange *exchange, struct file_body *body, const struct byte_ranges *ranges, struct text content_type)
{
	return ranges->count == 1 ? plan_one(exchange, body, &ranges->at[0])
							  : plan_multipart(exchange, body, ranges, content_type);
}

/* --- sending */

static enum body_state read_file(struct file_body *body, uint8_t *into, size_t length)
{
	const struct file_piece *piece = &body->pieces[body->piece];
	enum status status = open_file_copy(body->file, &body->window, piece->offset + body->at, into, length);
	body->unchecked += (int64_t)length;
	return status == STATUS_OK ? BODY_MORE : BODY_FAILED;
}

/* Fills the frame across pieces; *count is what was produced. */
static enum body_state fill(struct file_body *body, uint8_t *frame, size_t room, size_t *count)
{
	while (*count < room && body->piece < body->count) {
		const struct file_piece *piece = &body->pieces[body->piece];
		int64_t left = piece->length - body->at;
		size_t part = left < (int64_t)(room - *count) ? (size_t)left : room - *count;
		if (piece->text.bytes != NULL)
			memcpy(frame + *count, piece->text.bytes + body->at, part);
		else if (part > 0 && read_file(body, frame + *count, part) != BODY_MORE)
			return BODY_FAILED;
		*count += part;
		body->at += (int64_t)part;
		if (body->at == piece->length) {
			body->piece++;
			body->at = 0;
		}
	}
	return body->piece == body->count ? BODY_END : BODY_MORE;
}

/* a file that changes under the transfer fails it: never a mixture, cleanly ended */
static bool is_unchanged(struct file_body *body, bool at_end)
{
	if (!at_end && body->unchecked < CHECK_BYTES)
		return true;
	body->unchecked = 0;
	return body->file->held != NULL || open_file_is_same(body->file);
}

static enum body_state on_read(struct exchange *exchange, uint8_t *frame, size_t room, size_t *count)
{
	struct pull *pull = exchange->state;
	struct file_body *body = pull->source_state;
	*count = 0;
	enum body_state result = fill(body, frame, room, count);
	if (result != BODY_FAILED && !is_unchanged(body, result == BODY_END))
		result = BODY_FAILED;
	if (result != BODY_FAILED && !file_digests_pass(&body->digests, frame, *count, result == BODY_END))
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
	struct file_body *body = pull->source_state;
	const struct file_piece *piece = &body->pieces[body->piece];
	*count = 0;
	(void)may_read;
	if (piece->text.bytes != NULL || piece->length - body->at < (int64_t)room ||
		(*bytes = open_file_bytes(body->file, piece->offset + body->at)) == NULL)
		return BODY_MORE;
	body->at += (int64_t)room;
	body->unchecked += (int64_t)room;
	if (body->at == piece->length) {
		body->piece++;
		body->at = 0;
	}
	if (!is_unchanged(body, false)) {
		dp_count(DP_SOURCE_ERRORS);
		return BODY_FAILED;
	}
	*count = room;
	pull_count(pull, room);
	return BODY_MORE;
}

bool file_body_begin(struct exchange *exchange, struct file_body *body)
{
	exchange->response_length = 0;
	for (unsigned i = 0; i < body->count; i++)
		exchange->response_length += body->pieces[i].length;
	if (!file_digests_begin(&body->digests, exchange->response_length))
		return false;
	exchange->read_body = on_read;
	exchange->lend_body = body->digests.running == NULL ? on_lend : NULL; /* what is digested must be seen */
	return true;
}

/* Which bytes of the file have left. */
static void tell_sent(struct pull *pull, const struct file_body *body, struct text tag)
{
	struct buffer digest = {0};
	if (body->digests.is_known)
		digest_print(body->digests.repr, body->digests.digest, &digest);
	bool is_kernels = body->count == 1 && pull->exchange->file_descriptor >= 0;
	if (is_kernels)
		pull_sent(pull, tag, buffer_text(&digest), (uint64_t)body->pieces[0].offset, pull->exchange->bytes_sent);
	for (unsigned i = 0; i <= body->piece && i < body->count && !is_kernels; i++) {
		const struct file_piece *piece = &body->pieces[i];
		int64_t length = i < body->piece ? piece->length : body->at;
		if (piece->text.bytes == NULL && length > 0)
			pull_sent(pull, tag, buffer_text(&digest), (uint64_t)piece->offset, (uint64_t)length);
	}
	buffer_free(&digest);
}

void file_body_close(struct pull *pull, struct file_body *body, struct text tag)
{
	tell_sent(pull, body, tag);
	file_digests_close(&body->digests);
	file_window_close(&body->window);
}
