/* Source "s3": one object of a bucket, or the objects below a prefix (AmazonS3, dataplane.md section 1.1). */
#include <stdlib.h>
#include <string.h>

#include "server/answer.h"
#include "server/path.h"
#include "tenants/dp/source/conditions.h"
#include "tenants/dp/source/relay.h"
#include "tenants/dp/source/s3_order.h"
#include "tenants/dp/source/s3_store.h"

struct s3_source {
	struct s3_store store;
	char *object; /* NULL: what is below `prefix` */
	char *prefix;
};

struct s3_pull {
	struct relay relay; /* first */
	struct credential_waiter waiter;
	struct text key;
	bool is_guarded; /* Range goes with If-Match, in place of the consumer's If-Range */
	bool is_whole;   /* the guard failed: once more, without a range */
};

static const struct client_events events;

/* --- the dataset's side */

static void s3_free(void *object)
{
	struct s3_source *source = object;
	if (source == NULL)
		return;
	s3_store_clear(&source->store);
	free(source->object);
	free(source->prefix);
	free(source);
}

static enum status read_names(const struct json *properties, struct s3_source *source, struct buffer *error)
{
	struct text object = property(properties, "objectName"), folder = property(properties, "folderName");
	struct text start = property(properties, "objectPrefix");
	struct buffer prefix = {0};
	buffer_append(&prefix, folder);
	if (folder.length > 0 && !text_ends_with(folder, TEXT("/")))
		buffer_append_byte(&prefix, '/');
	bool is_one = object.bytes != NULL && start.bytes == NULL;
	if (is_one)
		buffer_append(&prefix, object);
	else
		buffer_append(&prefix, start);
	bool failed = prefix.failed;
	if (prefix.length > S3_KEY_MAX || (is_one && object.length == 0)) {
		buffer_free(&prefix);
		buffer_printf(error, "%s: must be at most %d bytes", is_one ? "objectName" : "objectPrefix", S3_KEY_MAX);
		return STATUS_INVALID;
	}
	char *text = prefix.bytes == NULL ? text_copy(TEXT("")) : buffer_take(&prefix);
	*(is_one ? &source->object : &source->prefix) = text;
	return failed || text == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

static enum status s3_build(const struct json *properties, unsigned workers, void **source, struct buffer *error)
{
	struct s3_source *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	enum status status = s3_store_build(properties, workers, &made->store, error);
	if (status == STATUS_OK)
		status = read_names(properties, made, error);
	if (status != STATUS_OK) {
		s3_free(made);
		return status;
	}
	*source = made;
	return STATUS_OK;
}

static unsigned s3_methods(const void *source)
{
	(void)source;
	return 1U << METHOD_GET | 1U << METHOD_HEAD;
}

/* --- the request */

/* The object's key; absent: there is none by this path. */
static struct text key_of(struct pull *pull)
{
	const struct s3_source *source = pull->part->source;
	struct text below = pull->below, segment, decoded;
	bool is_root = below.length == 0 || text_equals(below, TEXT("/"));
	if (source->object != NULL)
		return is_root ? text_of(source->object) : TEXT_NONE;
	size_t length = strlen(source->prefix), room = length + below.length + 1;
	char *key = is_root ? NULL : exchange_allocate(pull->exchange, room);
	if (key == NULL)
		return TEXT_NONE;
	memcpy(key, source->prefix, length);
	for (bool is_first = true; path_next(&below, &segment); is_first = false) {
		if (!is_first)
			key[length++] = '/';
		if (percent_decode(segment, key + length, room - length, &decoded) != STATUS_OK)
			return TEXT_NONE;
		length += decoded.length;
	}
	return length > S3_KEY_MAX ? TEXT_NONE : (struct text){key, length};
}

/* The condition as the store may see it; absent when there is none, or it does not pass. */
static struct text condition(const struct pull *pull, const char *name, bool *failed)
{
	struct header header = {text_of(name), exchange_header(pull->exchange, text_of(name))}, passed;
	if (header.value.bytes == NULL)
		return TEXT_NONE;
	enum passage passage = condition_pass(pull, &header, &passed);
	*failed = *failed || passage == PASSAGE_FAILED;
	return passage == PASSES ? passed.value : TEXT_NONE;
}

/* Stores honour If-Range unevenly: a tag becomes If-Match, and its failure a request for the whole; with a date the
 * range is left out, which is always right. False: out of memory. */
static bool collect_headers(struct s3_pull *state, struct header *headers, size_t *count)
{
	static const char *const plain[] = {"if-none-match", "if-modified-since", "if-unmodified-since"};
	const struct pull *pull = state->relay.pull;
	bool failed = false;
	struct text range = condition(pull, "range", &failed), guard = condition(pull, "if-range", &failed);
	struct text match = condition(pull, "if-match", &failed);
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
		struct text value = condition(pull, plain[i], &failed);
		if (value.bytes != NULL)
			headers[(*count)++] = (struct header){text_of(plain[i]), value};
	}
	state->is_guarded =
		range.bytes != NULL && text_starts_with(guard, TEXT("\"")) && match.bytes == NULL && !state->is_whole;
	if (state->is_guarded)
		match = guard;
	if (range.bytes != NULL && (guard.bytes == NULL || state->is_guarded))
		headers[(*count)++] = (struct header){TEXT("range"), range};
	if (match.bytes != NULL)
		headers[(*count)++] = (struct header){TEXT("if-match"), match};
	return !failed;
}

static enum status start_call(struct s3_pull *state)
{
	struct pull *pull = state->relay.pull;
	const struct s3_source *source = pull->part->source;
	const struct secret *secret = source->store.lanes[pull->home->index].value;
	struct header headers[8];
	if (secret == NULL)
		return STATUS_UNAVAILABLE;
	struct s3_order order = {.home = pull->home,
		.ctx = text_of(pull->flow->ctx),
		.bucket = &source->store.bucket,
		.secret = secret_expose(secret),
		.request = {
			.method = pull->exchange->method, .key = state->key, .payload = S3_EMPTY_PAYLOAD, .headers = headers}};
	if (!collect_headers(state, headers, &order.request.header_count))
		return STATUS_NO_MEMORY;
	return s3_order_start(&order, &events, state, &state->relay.call);
}

static void send_request(struct s3_pull *state)
{
	enum status status = start_call(state);
	if (status == STATUS_OK)
		return;
	state->relay.call = NULL;
	relay_refuse(state->relay.pull, status);
}

/* --- the answer */

static bool passes(struct text name, const struct header *headers, size_t count)
{
	static const char *const fields[] = {"accept-ranges", "cache-control", "content-disposition", "content-encoding",
		"content-language", "content-range", "content-type", "etag", "expires", "last-modified"};
	(void)headers, (void)count;
	return text_find_word(name, fields, sizeof(fields) / sizeof(fields[0])) >= 0;
}

/* The store's status, in our words: its own body may name buckets, keys and accounts. */
static void refuse(struct s3_pull *state, const struct client_response *response)
{
	struct pull *pull = state->relay.pull;
	int status = response->status >= 400 && response->status < 600 ? response->status : 502;
	struct text range = status == 416 ? client_response_header(response, TEXT("content-range")) : TEXT_NONE;
	if (range.bytes != NULL)
		exchange_add_header_copy(pull->exchange, TEXT("content-range"), range);
	relay_close(&state->relay);
	pull_refuse(pull, status, status == 502 ? TEXT("the source did not give a usable answer") : TEXT_NONE);
}

static void on_head(void *context, struct client_call *call, const struct client_response *response)
{
	struct s3_pull *state = context;
	(void)call;
	if (response->status == 412 && state->is_guarded) {
		relay_close(&state->relay);
		state->is_whole = true;
		send_request(state);
	} else if ((response->status >= 200 && response->status < 300) || response->status == 304) {
		relay_answer(&state->relay, response, passes);
	} else {
		refuse(state, response);
	}
}

static const struct client_events events = {on_head, relay_on_readable, NULL, relay_on_failed};

/* --- the driver */

static void on_credential(struct credential_waiter *waiter, enum status status)
{
	struct s3_pull *state = (struct s3_pull *)(void *)((char *)waiter - offsetof(struct s3_pull, waiter));
	if (status != STATUS_OK)
		relay_refuse(state->relay.pull, status);
	else
		send_request(state);
}

static void s3_start(struct pull *pull)
{
	const struct s3_source *source = pull->part->source;
	struct credential_lane *lane = &source->store.lanes[pull->home->index];
	if (conditions_fail(pull)) {
		pull_refuse(pull, 412, TEXT_NONE);
		return;
	}
	struct text key = key_of(pull);
	struct s3_pull *state = key.bytes == NULL ? NULL : exchange_allocate(pull->exchange, sizeof(*state));
	if (state == NULL) {
		pull_refuse(pull, key.bytes == NULL ? 404 : 503, TEXT_NONE);
		return;
	}
	*state = (struct s3_pull){.relay.pull = pull, .waiter.ready = on_credential, .key = key};
	pull->source_state = state;
	if (credential_is_ready(pull, &source->store.credential, lane))
		send_request(state);
	else
		credential_fetch(pull, &source->store.credential, lane, &state->waiter);
}

static void s3_close(struct pull *pull)
{
	struct s3_pull *state = pull->source_state;
	if (state == NULL)
		return;
	credential_leave(&state->waiter);
	relay_close(&state->relay);
}

const struct source_driver source_s3 = {
	.type = "s3",
	.build = s3_build,
	.free = s3_free,
	.methods = s3_methods,
	.start = s3_start,
	.close = s3_close,
};
