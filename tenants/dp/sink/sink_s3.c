/* Sink "s3": objects of a bucket, by multipart uploads (AmazonS3 as a sink, dataplane.md section 1.1). Properties:
 * those of a bucket (s3_request.h), folderName, objectName (for a push without a path; else <flow>/<path>).
 *
 * Part n of an object always holds the bytes from (n - 1) * P on, P being 8 MiB, or 16 MiB for objects over 80,000 MiB
 * and of unknown length: so whatever parts an upload has, from whichever attempt, are the right ones. Segments must
 * therefore begin and end at multiples of P. At most two parts are in flight; a part whose sending failed is sent again
 * a few times. What broke off is found again by listing the bucket's uploads. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tenants/dp/sink/teller.h"
#include "tenants/dp/source/s3_store.h"
#include "tenants/dp/source/s3_talk.h"
#include "tenants/dp/source/s3_xml.h"
#include "tenants/jose/digest.h"
#include "tenants/jose/running_digest.h"

enum { SLOTS = 2, PARTS_MAX = 10000, TRIES = 3, TAG_MAX = 128, UPLOAD_MAX = 1024 };
#define PART_SMALL ((int64_t)8 << 20)
#define PART_LARGE ((int64_t)16 << 20)

struct s3_sink {
	struct s3_store store;
	char *folder, *object;
};

enum slot_phase { SLOT_FREE, SLOT_FILLING, SLOT_READY, SLOT_SENDING };
/* One part on its way. */
struct slot {
	struct s3_intake *home;
	enum slot_phase phase;
	struct buffer bytes;
	struct running_digest *digest; /* NULL over TLS: the payload is not signed there */
	char payload[DIGEST_HEX + 1];
	size_t number, sent;
	unsigned tries;
	struct client_call *call;
};

struct s3_intake {
	struct teller told; /* first */
	struct credential_waiter waiter;
	struct secret *secret;
	struct buffer key;
	char upload[UPLOAD_MAX]; /* id; "" none */
	char (*tags)[TAG_MAX];   /* of part 1, 2, ... */
	size_t tag_count, tag_room;
	int64_t part_bytes;
	size_t next_number;
	struct s3_talk *talk;
	struct slot slots[SLOTS];
	size_t used; /* of the write under way */
	bool is_whole;
};

static const struct client_events part_events;
static void feed(struct s3_intake *state);
static void list_parts(struct s3_intake *state);

static void state_free(struct teller *teller)
{
	struct s3_intake *state = (struct s3_intake *)teller;
	secret_free(state->secret);
	buffer_free(&state->key);
	free(state->tags);
	free(state);
}

static enum status status_of(int http)
{
	return http >= 200 && http < 300    ? STATUS_OK
		   : http == 401 || http == 403 ? STATUS_FORBIDDEN
		   : http == 413                ? STATUS_TOO_LARGE
		   : http == 507                ? STATUS_REFUSED
										: STATUS_UNAVAILABLE;
}

/* --- talks about the upload */

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
		teller_fail(&state->told, status_of(status));
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
	if (status_of(status) != STATUS_OK && status != 404)
		teller_fail(&state->told, status_of(status));
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

static bool keep_tag(struct s3_intake *state, size_t number, const char *tag)
{
	if (number > PARTS_MAX)
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
	snprintf(state->tags[number - 1], TAG_MAX, "%s", tag);
	if (number > state->tag_count)
		state->tag_count = number;
	return true;
}

/* One page. Parts behind a gap, left by an attempt that broke off, do not count. */
static enum status read_parts(struct s3_intake *state, struct text body, bool *is_more)
{
	struct text rest = body, part;
	size_t before = state->tag_count;
	char truncated[8] = "", tag[TAG_MAX];
	int64_t number, size;
	*is_more = s3_xml_text(body, "IsTruncated", truncated, sizeof(truncated)) && strcmp(truncated, "true") == 0;
	while (s3_xml_next(&rest, "Part", &part)) {
		if (!s3_xml_number(part, "PartNumber", &number) || !s3_xml_number(part, "Size", &size) ||
			!s3_xml_text(part, "ETag", tag, sizeof(tag)) || number < 1 || number > PARTS_MAX)
			return STATUS_PROTOCOL;
		if ((size_t)number != state->tag_count + 1) {
			*is_more = false;
			break;
		}
		if (!keep_tag(state, (size_t)number, tag))
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
	enum status result = status == 404 ? STATUS_OK : status_of(status);
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
	char key[S3_KEY_MAX + 1], id[UPLOAD_MAX];
	(void)length;
	state->talk = NULL;
	if (status_of(status) != STATUS_OK) {
		teller_fail(&state->told, status_of(status));
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

static void begin(struct s3_intake *state)
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

/* --- parts */

static void slot_clear(struct slot *slot)
{
	if (slot->call != NULL)
		client_call_close(slot->call);
	running_digest_free(slot->digest);
	buffer_free(&slot->bytes);
	*slot = (struct slot){.home = slot->home};
}

static void send_slot(struct slot *slot)
{
	struct s3_intake *state = slot->home;
	const struct s3_sink *sink = state->told.intake->sink;
	const struct pull *pull = state->told.intake->pull;
	const struct dp *dp = pull->home->dp;
	const struct participant *participant = registry_find(dp->registry, text_of(pull->flow->ctx));
	const struct header type = {TEXT("content-type"), state->told.intake->content_type};
	bool is_single = state->upload[0] == 0;
	struct s3_call signed_call = {0};
	struct buffer query = {0};
	slot->phase = SLOT_SENDING;
	slot->sent = 0;
	if (!is_single) {
		buffer_printf(&query, "partNumber=%zu&uploadId=", slot->number);
		sigv4_escape(text_of(state->upload), false, &query);
	}
	const struct s3_request request = {.method = TEXT("PUT"),
		.key = buffer_text(&state->key),
		.query = is_single ? TEXT_NONE : buffer_text(&query),
		.payload = text_of(slot->payload),
		.headers = &type,
		.header_count = is_single && type.value.bytes != NULL};
	enum status status = query.failed ? STATUS_NO_MEMORY : participant == NULL ? STATUS_UNAVAILABLE : STATUS_OK;
	if (status == STATUS_OK)
		status = s3_call_build(&sink->store.bucket, &request, secret_expose(state->secret),
			worker_wall_ms(pull->home->worker) / 1000, &signed_call);
	if (status == STATUS_OK) {
		struct address_rules addresses = participant_address_rules(participant);
		const struct client_request call = {.tenant = text_of(pull->flow->ctx),
			.url = &signed_call.url,
			.method = request.method,
			.headers = signed_call.headers,
			.header_count = signed_call.header_count,
			.body_length = (int64_t)slot->bytes.length,
			.rules = &addresses,
			.read_ms = (uint32_t)dp->settings.source_ms};
		status = client_call_start(pull->home->worker, &call, &part_events, slot, &slot->call);
	}
	s3_call_clear(&signed_call);
	buffer_free(&query);
	if (status != STATUS_OK) {
		slot->call = NULL;
		teller_fail(&state->told, status);
	}
}

static void on_created(void *context, int status, int64_t length, struct text body)
{
	struct s3_intake *state = context;
	(void)length;
	state->talk = NULL;
	if (status_of(status) != STATUS_OK || !s3_xml_text(body, "UploadId", state->upload, sizeof(state->upload)) ||
		state->upload[0] == 0) {
		state->upload[0] = 0;
		teller_fail(&state->told, status_of(status) != STATUS_OK ? status_of(status) : STATUS_UNAVAILABLE);
		return;
	}
	for (size_t i = 0; i < SLOTS; i++) {
		if (state->slots[i].phase == SLOT_READY)
			send_slot(&state->slots[i]);
	}
}

/* A part is full, or the last. */
static void dispatch(struct slot *slot)
{
	struct s3_intake *state = slot->home;
	uint8_t hash[HASH_BYTES_MAX];
	slot->phase = SLOT_READY;
	snprintf(slot->payload, sizeof(slot->payload), "%s", SIGV4_UNSIGNED);
	if (slot->digest != NULL) {
		if (running_digest_end(slot->digest, hash) != STATUS_OK) {
			teller_fail(&state->told, STATUS_NO_MEMORY);
			return;
		}
		digest_hex(hash, slot->payload);
	}
	bool is_all = state->told.is_finishing && state->is_whole && slot->number == 1;
	if (state->upload[0] != 0 || is_all)
		send_slot(slot);
	else if (state->talk == NULL)
		say(state, TEXT("POST"), TEXT("uploads="), TEXT_NONE, on_created);
}

static struct slot *slot_to_fill(struct s3_intake *state)
{
	const struct s3_sink *sink = state->told.intake->sink;
	struct slot *free_one = NULL;
	for (size_t i = 0; i < SLOTS; i++) {
		if (state->slots[i].phase == SLOT_FILLING)
			return &state->slots[i];
		if (state->slots[i].phase == SLOT_FREE)
			free_one = &state->slots[i];
	}
	if (free_one == NULL)
		return NULL;
	if (!sink->store.bucket.url.tls && running_digest_new(HASH_SHA256, &free_one->digest) != STATUS_OK) {
		teller_fail(&state->told, STATUS_NO_MEMORY);
		return NULL;
	}
	free_one->phase = SLOT_FILLING;
	free_one->number = state->next_number++;
	return free_one;
}

static void fill(struct s3_intake *state)
{
	while (state->told.is_writing && state->told.failed == STATUS_OK && state->used < state->told.bytes.length) {
		struct slot *slot = slot_to_fill(state);
		if (slot == NULL)
			return;
		size_t left = state->told.bytes.length - state->used, room = (size_t)state->part_bytes - slot->bytes.length;
		struct text piece = {state->told.bytes.bytes + state->used, left < room ? left : room};
		buffer_append(&slot->bytes, piece);
		state->used += piece.length;
		if (slot->bytes.failed ||
			(slot->digest != NULL &&
				running_digest_add(slot->digest, (const uint8_t *)piece.bytes, piece.length) != STATUS_OK))
			teller_fail(&state->told, STATUS_NO_MEMORY);
		else if (slot->number > PARTS_MAX)
			teller_fail(&state->told, STATUS_TOO_LARGE);
		else if ((int64_t)slot->bytes.length == state->part_bytes)
			dispatch(slot);
	}
	if (state->told.is_writing && state->told.failed == STATUS_OK)
		teller_tell(&state->told);
}

static void on_completed(void *context, int status, int64_t length, struct text body)
{
	struct s3_intake *state = context;
	struct text rest = body, error;
	(void)length;
	state->talk = NULL;
	/* a store may answer 200 before it knows, and the error in the body */
	if (status_of(status) != STATUS_OK || s3_xml_next(&rest, "Error", &error))
		teller_fail(&state->told, status_of(status) != STATUS_OK ? status_of(status) : STATUS_UNAVAILABLE);
	else
		teller_tell(&state->told);
}

static void complete(struct s3_intake *state)
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

/* All bytes are here: the last part, then the object. */
static void settle(struct s3_intake *state)
{
	bool is_busy = false;
	if (!state->told.is_finishing || state->told.is_queued || state->talk != NULL || state->told.failed != STATUS_OK)
		return;
	if (state->is_whole && state->next_number == 1 && slot_to_fill(state) == NULL) /* an empty object is one, too */
		return;
	for (size_t i = 0; i < SLOTS && state->told.failed == STATUS_OK; i++) {
		if (state->slots[i].phase == SLOT_FILLING)
			dispatch(&state->slots[i]);
		is_busy = is_busy || state->slots[i].phase != SLOT_FREE;
	}
	if (is_busy || state->told.failed != STATUS_OK)
		return;
	if (state->is_whole && state->upload[0] != 0)
		complete(state);
	else
		teller_tell(&state->told);
}

static void feed(struct s3_intake *state)
{
	fill(state);
	settle(state);
}

static void part_done(struct slot *slot, const struct client_response *response)
{
	struct s3_intake *state = slot->home;
	struct text tag = TEXT_NONE;
	char copy[TAG_MAX];
	for (size_t i = 0; i < response->header_count; i++) {
		if (text_equals(response->headers[i].name, TEXT("etag")))
			tag = response->headers[i].value;
	}
	bool is_good = tag.length > 0 && tag.length < sizeof(copy);
	snprintf(copy, sizeof(copy), "%.*s", is_good ? (int)tag.length : 0, is_good ? tag.bytes : "");
	if (state->upload[0] != 0 && (!is_good || !keep_tag(state, slot->number, copy))) {
		teller_fail(&state->told, STATUS_UNAVAILABLE);
		return;
	}
	slot_clear(slot);
	feed(state);
}

static void part_failed(struct slot *slot, enum status why)
{
	if (slot->call != NULL)
		client_call_close(slot->call);
	slot->call = NULL;
	if (why == STATUS_FORBIDDEN || why == STATUS_TOO_LARGE || why == STATUS_REFUSED || ++slot->tries >= TRIES)
		teller_fail(&slot->home->told, why);
	else
		send_slot(slot);
}

static void on_part_head(void *context, struct client_call *call, const struct client_response *response)
{
	struct slot *slot = context;
	enum status status = status_of(response->status);
	if (status == STATUS_OK && client_call_is_sent(call))
		part_done(slot, response);
	else
		part_failed(slot, status == STATUS_OK ? STATUS_UNAVAILABLE : status);
}

static void on_part_readable(void *context, struct client_call *call)
{
	(void)context, (void)call;
}

static void on_part_writable(void *context, struct client_call *call)
{
	struct slot *slot = context;
	slot->sent +=
		client_call_write(call, (const uint8_t *)slot->bytes.bytes + slot->sent, slot->bytes.length - slot->sent, true);
}

static void on_part_failed(void *context, struct client_call *call, enum status why)
{
	(void)call;
	part_failed(context, why);
}

static const struct client_events part_events = {on_part_head, on_part_readable, on_part_writable, on_part_failed};

/* --- the driver */

static void on_credential(struct credential_waiter *waiter, enum status status)
{
	struct s3_intake *state = (struct s3_intake *)(void *)((char *)waiter - offsetof(struct s3_intake, waiter));
	if (status != STATUS_OK)
		teller_fail(&state->told, status);
	else
		begin(state);
}

static enum status set_key(struct s3_intake *state)
{
	const struct s3_sink *sink = state->told.intake->sink;
	const struct pull *pull = state->told.intake->pull;
	bool has_path = pull->below.length > 1;
	if (sink->object != NULL && has_path)
		return STATUS_NOT_FOUND;
	buffer_append(&state->key, text_of(sink->folder));
	if (sink->object != NULL) {
		buffer_append(&state->key, text_of(sink->object));
	} else {
		buffer_printf(&state->key, "%s/", pull->flow->id);
		buffer_append(&state->key, state->told.intake->name);
	}
	return state->key.failed ? STATUS_NO_MEMORY : state->key.length > S3_KEY_MAX ? STATUS_NOT_FOUND : STATUS_OK;
}

/* The size of parts follows from the object's: so every attempt has the same. */
static enum status set_parts(struct s3_intake *state)
{
	const struct intake *intake = state->told.intake;
	bool is_small = intake->total >= 0 && intake->total <= PARTS_MAX * PART_SMALL;
	state->part_bytes = is_small ? PART_SMALL : PART_LARGE;
	if (intake->total > PARTS_MAX * PART_LARGE)
		return STATUS_TOO_LARGE;
	if (intake->is_segment && (intake->first % state->part_bytes != 0 ||
								  (intake->end != intake->total && intake->end % state->part_bytes != 0)))
		return STATUS_INVALID;
	state->next_number = (size_t)(intake->first / state->part_bytes) + 1;
	return STATUS_OK;
}

static void s3_open(struct intake *intake)
{
	const struct s3_sink *sink = intake->sink;
	struct credential_lane *lane = &sink->store.lanes[intake->pull->home->index];
	struct s3_intake *state = calloc(1, sizeof(*state));
	intake->driver_state = state;
	if (state == NULL)
		return;
	teller_open(&state->told, intake, state_free);
	state->waiter.ready = on_credential;
	for (size_t i = 0; i < SLOTS; i++)
		state->slots[i].home = state;
	enum status status = set_key(state);
	if (status == STATUS_OK)
		status = set_parts(state);
	if (status == STATUS_INVALID)
		state->told.failed = STATUS_PROTOCOL; /* of the sender's: said as it is */
	if (status != STATUS_OK)
		teller_fail(&state->told, status);
	else if (credential_is_ready(intake->pull, &sink->store.credential, lane))
		begin(state);
	else
		credential_fetch(intake->pull, &sink->store.credential, lane, &state->waiter);
}

static void s3_write(struct intake *intake, struct buffer *bytes)
{
	struct s3_intake *state = intake->driver_state;
	teller_take(&state->told, bytes);
	state->used = 0;
	if (state->told.failed != STATUS_OK)
		teller_tell(&state->told);
	else
		feed(state);
}

static void s3_finish(struct intake *intake, bool is_whole)
{
	struct s3_intake *state = intake->driver_state;
	state->told.is_finishing = true;
	state->is_whole = is_whole;
	if (state->told.failed != STATUS_OK)
		teller_tell(&state->told);
	else
		settle(state);
}

static void s3_close(struct intake *intake)
{
	struct s3_intake *state = intake->driver_state;
	if (state == NULL)
		return;
	credential_leave(&state->waiter);
	s3_talk_end(state->talk);
	state->talk = NULL;
	for (size_t i = 0; i < SLOTS; i++)
		slot_clear(&state->slots[i]);
	if (state->upload[0] != 0 && !intake->is_question && !intake->is_segment &&
		!(state->told.is_finished && state->is_whole)) {
		say_of_upload(state, "", TEXT("DELETE"), NULL); /* half of a whole is worth nothing */
		state->talk = NULL;
	}
	teller_close(&state->told);
}

/* --- the record's side */

static void s3_free(void *object)
{
	struct s3_sink *sink = object;
	if (sink == NULL)
		return;
	s3_store_clear(&sink->store);
	free(sink->folder);
	free(sink->object);
	free(sink);
}

static enum status read_names(const struct json *properties, struct s3_sink *sink, struct buffer *error)
{
	struct text folder = property(properties, "folderName"), object = property(properties, "objectName");
	if (folder.length + object.length >= S3_KEY_MAX || (object.bytes != NULL && object.length == 0)) {
		buffer_printf(error, "objectName: must be 1 to %d bytes, with its folder", S3_KEY_MAX);
		return STATUS_INVALID;
	}
	bool needs_slash = folder.length > 0 && !text_ends_with(folder, TEXT("/"));
	if (asprintf(&sink->folder, "%.*s%s", TEXT_ARGUMENTS(folder), needs_slash ? "/" : "") < 0) {
		sink->folder = NULL;
		return STATUS_NO_MEMORY;
	}
	if (object.bytes != NULL)
		sink->object = text_copy(object);
	return object.bytes != NULL && sink->object == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

static enum status s3_build(const struct json *properties, unsigned workers, void **sink, struct buffer *error)
{
	struct s3_sink *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	enum status status = s3_store_build(properties, workers, &made->store, error);
	if (status == STATUS_OK)
		status = read_names(properties, made, error);
	if (status != STATUS_OK) {
		s3_free(made);
		return status;
	}
	*sink = made;
	return STATUS_OK;
}

const struct sink_driver sink_s3 = {
	.type = "s3",
	.build = s3_build,
	.free = s3_free,
	.open = s3_open,
	.write = s3_write,
	.finish = s3_finish,
	.close = s3_close,
};
