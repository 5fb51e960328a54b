/* The multipart upload of an object: found again, listed part by part, made, completed, given up. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tenants/dp/sink/s3_sink.h"
#include "tenants/dp/source/s3_xml.h"

static void list_parts(struct s3_intake *state);

enum status s3_status_of(int http)
{
	return http >= 200 && http < 300    ? STATUS_OK
		   : http == 401 || http == 403 ? STATUS_FORBIDDEN
		   : http == 413                ? STATUS_TOO_LARGE
		   : http == 507                ? STATUS_REFUSED
										: STATUS_UNAVAILABLE;
}

static bool say(struct s3_intake *state, struct text method, struct text query, struct text body, s3_heard *heard)
{
	const struct s3_sink *sink = state->told.intake->sink;
	const struct pull *pull = state->told.intake->pull;
	bool is_creation = text_equals(query, TEXT("uploads="));
	const struct s3_talk_request request = {.home = pull->home,
		.ctx = text_of(pull->flow->ctx),
		.bucket = &sink->store.bucket,
		.secret = secret_expose(state->secret),
		.method = method,
		/* uploads of a bucket are listed at its root */
		.key = text_starts_with(query, TEXT("prefix=")) ? TEXT("") : buffer_text(&state->key),
		.query = query,
		.content_type = is_creation          ? state->told.intake->content_type
						: body.bytes != NULL ? TEXT("application/xml")
											 : TEXT_NONE,
		.body = body};
	state->talk = s3_talk_start(&request, heard, state);
	if (state->talk == NULL)
		teller_fail(&state->told, STATUS_UNAVAILABLE);
	return state->talk != NULL;
}

static void say_of_upload(struct s3_intake *state, const char *before, struct text method, s3_heard *heard)
{
	struct buffer query = {0};
	buffer_append(&query, text_of(before));
	buffer_append(&query, TEXT("uploadId="));
	sigv4_escape(text_of(state->upload), false, &query);
	if (query.failed)
		teller_fail(&state->told, STATUS_NO_MEMORY);
	else
		say(state, method, buffer_text(&query), TEXT_NONE, heard);
	buffer_free(&query);
}

static void on_object(void *context, int status, int64_t length, struct text body)
{
	struct s3_intake *state = context;
	(void)body;
	state->talk = NULL;
	state->told.offset = status == 200 && length > 0 ? length : 0;
	if (status != 200 && status != 404)
		teller_fail(&state->told, s3_status_of(status));
	else
		teller_tell(&state->told);
}

static void on_aborted(void *context, int status, int64_t length, struct text body)
{
	struct s3_intake *state = context;
	(void)length, (void)body;
	state->talk = NULL;
	state->upload[0] = 0;
	state->tag_count = 0;
	if (s3_status_of(status) != STATUS_OK && status != 404)
		teller_fail(&state->told, s3_status_of(status));
	else
		teller_tell(&state->told);
}

/* What is there is known: may the bytes come? */
static void decide(struct s3_intake *state)
{
	const struct intake *intake = state->told.intake;
	if (intake->is_question && state->upload[0] == 0)
		say(state, TEXT("HEAD"), TEXT_NONE, TEXT_NONE, on_object);
	else if (!intake->is_question && intake->first == 0 && state->upload[0] != 0)
		say_of_upload(state, "", TEXT("DELETE"), on_aborted); /* afresh: what is there may be of another version */
	else if (!intake->is_question && intake->first != state->told.offset)
		teller_fail(&state->told, STATUS_CONFLICT);
	else
		teller_tell(&state->told);
}

bool s3_upload_keep_tag(struct s3_intake *state, size_t number, const char *tag)
{
	if (number > S3_PARTS_MAX)
		return false;
	if (number > state->tag_room) {
		size_t room = state->tag_room == 0 ? 64 : state->tag_room * 2;
		while (room < number)
			room *= 2;
		void *more = realloc(state->tags, room * sizeof(state->tags[0]));
		if (more == NULL)
			return false;
		state->tags = more;
		memset(state->tags + state->tag_room, 0, (room - state->tag_room) * sizeof(state->tags[0]));
		state->tag_room = room;
	}
	snprintf(state->tags[number - 1], S3_TAG_MAX, "%s", tag);
	if (number > state->tag_count)
		state->tag_count = number;
	return true;
}

/* One page. Parts behind a gap, left by an attempt that broke off, do not count. */
static enum status read_parts(struct s3_intake *state, struct text body, bool *is_more)
{
	struct text rest = body, part;
	size_t before = state->tag_count;
	char truncated[8] = "", tag[S3_TAG_MAX];
	int64_t number, size;
	*is_more = s3_xml_text(body, "IsTruncated", truncated, sizeof(truncated)) && strcmp(truncated, "true") == 0;
	while (s3_xml_next(&rest, "Part", &part)) {
		if (!s3_xml_number(part, "PartNumber", &number) || !s3_xml_number(part, "Size", &size) ||
			!s3_xml_text(part, "ETag", tag, sizeof(tag)) || number < 1 || number > S3_PARTS_MAX)
			return STATUS_PROTOCOL;
		if ((size_t)number != state->tag_count + 1) {
			*is_more = false;
			break;
		}
		if (!s3_upload_keep_tag(state, (size_t)number, tag))
			return STATUS_NO_MEMORY;
		state->told.offset += size;
	}
	*is_more = *is_more && state->tag_count > before;
	return STATUS_OK;
}

static void on_parts(void *context, int status, int64_t length, struct text body)
{
	struct s3_intake *state = context;
	bool is_more = false;
	(void)length;
	state->talk = NULL;
	enum status result = status == 404 ? STATUS_OK : s3_status_of(status);
	if (status == 404) /* gone meanwhile */
		state->upload[0] = 0;
	else if (result == STATUS_OK)
		result = read_parts(state, body, &is_more);
	if (result != STATUS_OK)
		teller_fail(&state->told, result == STATUS_PROTOCOL ? STATUS_UNAVAILABLE : result);
	else if (is_more)
		list_parts(state);
	else
		decide(state);
}

static void list_parts(struct s3_intake *state)
{
	char before[64] = "";
	if (state->tag_count > 0)
		snprintf(before, sizeof(before), "part-number-marker=%zu&", state->tag_count);
	say_of_upload(state, before, TEXT("GET"), on_parts);
}

static void on_uploads(void *context, int status, int64_t length, struct text body)
{
	struct s3_intake *state = context;
	struct text rest = body, upload;
	char key[S3_KEY_MAX + 1], id[S3_UPLOAD_MAX];
	(void)length;
	state->talk = NULL;
	if (s3_status_of(status) != STATUS_OK) {
		teller_fail(&state->told, s3_status_of(status));
		return;
	}
	while (s3_xml_next(&rest, "Upload", &upload)) { /* the last one begun */
		if (s3_xml_text(upload, "Key", key, sizeof(key)) && text_equals(text_of(key), buffer_text(&state->key)) &&
			s3_xml_text(upload, "UploadId", id, sizeof(id)))
			memcpy(state->upload, id, sizeof(id));
	}
	if (state->upload[0] != 0)
		list_parts(state);
	else
		decide(state);
}

void s3_upload_begin(struct s3_intake *state)
{
	const struct s3_sink *sink = state->told.intake->sink;
	const struct secret *secret = sink->store.lanes[state->told.intake->pull->home->index].value;
	state->secret = secret == NULL ? NULL : secret_copy(secret);
	if (state->secret == NULL) {
		teller_fail(&state->told, STATUS_UNAVAILABLE);
		return;
	}
	if (!state->told.intake->is_question && !state->told.intake->is_segment) {
		teller_tell(&state->told); /* an upload is made when there is more than one part */
		return;
	}
	struct buffer query = {0};
	buffer_append(&query, TEXT("prefix="));
	sigv4_escape(buffer_text(&state->key), false, &query);
	buffer_append(&query, TEXT("&uploads="));
	if (query.failed)
		teller_fail(&state->told, STATUS_NO_MEMORY);
	else
		say(state, TEXT("GET"), buffer_text(&query), TEXT_NONE, on_uploads);
	buffer_free(&query);
}

static void on_created(void *context, int status, int64_t length, struct text body)
{
	struct s3_intake *state = context;
	(void)length;
	state->talk = NULL;
	if (s3_status_of(status) != STATUS_OK || !s3_xml_text(body, "UploadId", state->upload, sizeof(state->upload)) ||
		state->upload[0] == 0) {
		state->upload[0] = 0;
		teller_fail(&state->told, s3_status_of(status) != STATUS_OK ? s3_status_of(status) : STATUS_UNAVAILABLE);
		return;
	}
	for (size_t i = 0; i < S3_SLOTS; i++) {
		if (state->slots[i].phase == SLOT_READY)
			s3_slot_send(&state->slots[i]);
	}
}

void s3_upload_create(struct s3_intake *state)
{
	say(state, TEXT("POST"), TEXT("uploads="), TEXT_NONE, on_created);
}

static void on_completed(void *context, int status, int64_t length, struct text body)
{
	struct s3_intake *state = context;
	struct text rest = body, error;
	(void)length;
	state->talk = NULL;
	/* a store may answer 200 before it knows, and the error in the body */
	if (s3_status_of(status) != STATUS_OK || s3_xml_next(&rest, "Error", &error))
		teller_fail(&state->told, s3_status_of(status) != STATUS_OK ? s3_status_of(status) : STATUS_UNAVAILABLE);
	else
		teller_tell(&state->told);
}

void s3_upload_complete(struct s3_intake *state)
{
	struct buffer query = {0}, body = {0};
	buffer_append(&query, TEXT("uploadId="));
	sigv4_escape(text_of(state->upload), false, &query);
	buffer_append(&body, TEXT("<CompleteMultipartUpload>"));
	for (size_t i = 0; i < state->tag_count; i++) {
		buffer_printf(&body, "<Part><PartNumber>%zu</PartNumber><ETag>", i + 1);
		s3_xml_escape(text_of(state->tags[i]), &body);
		buffer_append(&body, TEXT("</ETag></Part>"));
	}
	buffer_append(&body, TEXT("</CompleteMultipartUpload>"));
	if (query.failed || body.failed)
		teller_fail(&state->told, STATUS_NO_MEMORY);
	else
		say(state, TEXT("POST"), buffer_text(&query), buffer_text(&body), on_completed);
	buffer_free(&query);
	buffer_free(&body);
}

void s3_upload_abandon(struct s3_intake *state)
{
	say_of_upload(state, "", TEXT("DELETE"), NULL);
	state->talk = NULL;
}
