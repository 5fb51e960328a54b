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

#include "tenants/dp/sink/s3_sink.h"

#define PART_SMALL ((int64_t)8 << 20)
#define PART_LARGE ((int64_t)16 << 20)

static void state_free(struct teller *teller)
{
	struct s3_intake *state = (struct s3_intake *)teller;
	secret_free(state->secret);
	buffer_free(&state->key);
	free(state->tags);
	free(state);
}

/* --- parts */

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
		s3_slot_send(slot);
	else if (state->talk == NULL)
		s3_upload_create(state);
}

static struct slot *slot_to_fill(struct s3_intake *state)
{
	const struct s3_sink *sink = state->told.intake->sink;
	struct slot *free_one = NULL;
	for (size_t i = 0; i < S3_SLOTS; i++) {
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
		else if (slot->number > S3_PARTS_MAX)
			teller_fail(&state->told, STATUS_TOO_LARGE);
		else if ((int64_t)slot->bytes.length == state->part_bytes)
			dispatch(slot);
	}
	if (state->told.is_writing && state->told.failed == STATUS_OK)
		teller_tell(&state->told);
}

/* All bytes are here: the last part, then the object. */
static void settle(struct s3_intake *state)
{
	bool is_busy = false;
	if (!state->told.is_finishing || state->told.is_queued || state->talk != NULL || state->told.failed != STATUS_OK)
		return;
	if (state->is_whole && state->next_number == 1 && slot_to_fill(state) == NULL) /* an empty object is one, too */
		return;
	for (size_t i = 0; i < S3_SLOTS && state->told.failed == STATUS_OK; i++) {
		if (state->slots[i].phase == SLOT_FILLING)
			dispatch(&state->slots[i]);
		is_busy = is_busy || state->slots[i].phase != SLOT_FREE;
	}
	if (is_busy || state->told.failed != STATUS_OK)
		return;
	if (state->is_whole && state->upload[0] != 0)
		s3_upload_complete(state);
	else
		teller_tell(&state->told);
}

void s3_intake_feed(struct s3_intake *state)
{
	fill(state);
	settle(state);
}

/* --- the driver */

static void on_credential(struct credential_waiter *waiter, enum status status)
{
	struct s3_intake *state = (struct s3_intake *)(void *)((char *)waiter - offsetof(struct s3_intake, waiter));
	if (status != STATUS_OK)
		teller_fail(&state->told, status);
	else
		s3_upload_begin(state);
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
	bool is_small = intake->total >= 0 && intake->total <= S3_PARTS_MAX * PART_SMALL;
	state->part_bytes = is_small ? PART_SMALL : PART_LARGE;
	if (intake->total > S3_PARTS_MAX * PART_LARGE)
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
	for (size_t i = 0; i < S3_SLOTS; i++)
		state->slots[i].home = state;
	enum status status = set_key(state);
	if (status == STATUS_OK)
		status = set_parts(state);
	if (status == STATUS_INVALID)
		state->told.failed = STATUS_PROTOCOL; /* of the sender's: said as it is */
	if (status != STATUS_OK)
		teller_fail(&state->told, status);
	else if (credential_is_ready(intake->pull, &sink->store.credential, lane))
		s3_upload_begin(state);
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
		s3_intake_feed(state);
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
	for (size_t i = 0; i < S3_SLOTS; i++)
		s3_slot_clear(&state->slots[i]);
	if (state->upload[0] != 0 && !intake->is_question && !intake->is_segment &&
		!(state->told.is_finished && state->is_whole))
		s3_upload_abandon(state); /* half of a whole is worth nothing */
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
