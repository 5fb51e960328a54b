/* JetStream in its own requests: publishing with an acknowledgement, streams, buckets. */
#include <inttypes.h>
#include <stdlib.h>

#include "control/bus/bus_private.h"
#include "server/base/json.h"

enum { API_MS = 5000, PUBLISH_MS = 5000, SUBJECT_MAX = 512 };
enum { ERROR_NO_ROOM = 10023, ERROR_STORE_FAILED = 10077 };
enum { ERROR_WRONG_LAST_SEQUENCE = 10071, ERROR_SUBJECTS_OVERLAP = 10065, ERROR_NAME_IN_USE = 10058 };

/* The error of an answer: OK when it has none. */
static enum status judge(const struct json *root)
{
	const struct json *error = json_member(root, "error");
	int64_t code = 0, detail = 0;
	if (error == NULL)
		return json_kind(root) == JSON_OBJECT ? STATUS_OK : STATUS_PROTOCOL;
	json_integer(json_member(error, "code"), &code);
	json_integer(json_member(error, "err_code"), &detail);
	if (detail == ERROR_WRONG_LAST_SEQUENCE || detail == ERROR_SUBJECTS_OVERLAP || detail == ERROR_NAME_IN_USE)
		return STATUS_CONFLICT;
	if (detail == ERROR_STORE_FAILED || detail == ERROR_NO_ROOM) /* 503 too, and no broker is away */
		return STATUS_REFUSED;
	return code == 404 ? STATUS_NOT_FOUND : code == 503 ? STATUS_UNAVAILABLE : STATUS_REFUSED;
}

/* --- publishing */

struct publication {
	void (*done)(void *context, enum status status, uint64_t sequence, bool is_duplicate);
	void *context;
};

static void on_published(void *context, enum status status, const struct bus_message *message)
{
	struct publication publication = *(struct publication *)context;
	struct json *root = NULL;
	int64_t sequence = 0;
	bool is_duplicate = false;
	free(context);
	if (status == STATUS_UNAVAILABLE && message == NULL)
		status = STATUS_UNAVAILABLE;
	if (status == STATUS_OK)
		status = json_parse(message->body, NULL, &root) == STATUS_OK ? judge(root) : STATUS_PROTOCOL;
	if (status == STATUS_OK && !json_integer(json_member(root, "seq"), &sequence))
		status = STATUS_PROTOCOL;
	json_bool(json_member(root, "duplicate"), &is_duplicate);
	json_free(root);
	publication.done(publication.context, status, (uint64_t)sequence, is_duplicate);
}

enum { HEADERS_MAX = 16 };

void bus_publish(struct bus *bus, struct text subject, struct text message_id, const struct bus_header *headers,
	size_t count, struct text body,
	void (*done)(void *context, enum status status, uint64_t sequence, bool is_duplicate), void *context)
{
	struct bus_header all[HEADERS_MAX];
	size_t used = 0;
	struct publication *publication = malloc(sizeof(*publication));
	if (publication == NULL || count >= HEADERS_MAX)
		abort(); /* whoever waits would wait for ever */
	*publication = (struct publication){done, context};
	if (message_id.length > 0)
		all[used++] = (struct bus_header){TEXT("Nats-Msg-Id"), message_id};
	for (size_t i = 0; i < count; i++)
		all[used++] = headers[i];
	bus_request(bus, subject, all, used, body, PUBLISH_MS, on_published, publication);
}

/* --- the API */

struct api_call {
	void (*done)(void *context, enum status status, struct text json);
	void *context;
};

static void on_api(void *context, enum status status, const struct bus_message *message)
{
	struct api_call call = *(struct api_call *)context;
	struct json *root = NULL;
	free(context);
	if (status == STATUS_OK)
		status = json_parse(message->body, NULL, &root) == STATUS_OK ? judge(root) : STATUS_PROTOCOL;
	json_free(root);
	call.done(call.context, status, message == NULL ? TEXT_NONE : message->body);
}

void bus_api(struct bus *bus, struct text subject, struct text body,
	void (*done)(void *context, enum status status, struct text json), void *context)
{
	char full[SUBJECT_MAX];
	struct api_call *call = malloc(sizeof(*call));
	int length = snprintf(full, sizeof(full), "$JS.API.%.*s", TEXT_ARGUMENTS(subject));
	if (call == NULL || length >= (int)sizeof(full))
		abort();
	*call = (struct api_call){done, context};
	bus_request(bus, (struct text){full, (size_t)length}, NULL, 0, body, API_MS, on_api, call);
}

/* --- streams */

struct ensuring {
	struct bus *bus;
	char *name, *config;
	void (*done)(void *context, enum status status, struct text error);
	void *context;
};

static void ensured(struct ensuring *ensuring, enum status status, struct text error)
{
	ensuring->done(ensuring->context, status, error);
	free(ensuring->name);
	free(ensuring->config);
	free(ensuring);
}

static void append_error(struct buffer *into, const char *stream, const struct json *answer)
{
	struct text text = json_member_text(json_member(answer, "error"), "description");
	buffer_printf(into, "stream %s: %.*s", stream, TEXT_ARGUMENTS(text));
}

static bool holds(const struct json *list, struct text wanted)
{
	for (const struct json *one = json_first(list); one != NULL; one = json_next(one)) {
		if (text_equals(json_text(one), wanted))
			return true;
	}
	return false;
}

/* Is what is there what is wanted: its retention, and every subject? */
static enum status compare(const struct ensuring *ensuring, const struct json *answer, struct buffer *error)
{
	struct json *wanted = NULL;
	if (json_parse(text_of(ensuring->config), NULL, &wanted) != STATUS_OK)
		return STATUS_INTERNAL;
	const struct json *config = json_member(answer, "config");
	struct text retention = json_member_text(wanted, "retention");
	enum status status = STATUS_OK;
	if (retention.bytes != NULL && !text_equals(retention, json_member_text(config, "retention"))) {
		buffer_printf(error, "stream %s is there with retention %.*s, %.*s is needed", ensuring->name,
			TEXT_ARGUMENTS(json_member_text(config, "retention")), TEXT_ARGUMENTS(retention));
		status = STATUS_CONFLICT;
	}
	for (const struct json *one = json_first(json_member(wanted, "subjects")); one != NULL && status == STATUS_OK;
		 one = json_next(one)) {
		if (holds(json_member(config, "subjects"), json_text(one)))
			continue;
		buffer_printf(
			error, "stream %s is there without the subject %.*s", ensuring->name, TEXT_ARGUMENTS(json_text(one)));
		status = STATUS_CONFLICT;
	}
	json_free(wanted);
	return status;
}

static void on_stream_created(void *context, enum status status, struct text json)
{
	struct ensuring *ensuring = context;
	struct buffer error = {0};
	struct json *answer = NULL;
	if (status != STATUS_OK && json_parse(json, NULL, &answer) == STATUS_OK)
		append_error(&error, ensuring->name, answer);
	json_free(answer);
	if (status == STATUS_OK)
		consumers_stream(ensuring->bus, text_of(ensuring->name));
	ensured(ensuring, status, buffer_text(&error));
	buffer_free(&error);
}

static void on_stream_info(void *context, enum status status, struct text json)
{
	struct ensuring *ensuring = context;
	struct buffer error = {0};
	struct json *answer = NULL;
	if (status == STATUS_NOT_FOUND) {
		char subject[SUBJECT_MAX];
		int length = snprintf(subject, sizeof(subject), "STREAM.CREATE.%s", ensuring->name);
		bus_api(ensuring->bus, (struct text){subject, (size_t)length}, text_of(ensuring->config), on_stream_created,
			ensuring);
		return;
	}
	if (json.bytes != NULL && json_parse(json, NULL, &answer) != STATUS_OK)
		status = STATUS_PROTOCOL;
	if (status == STATUS_OK)
		status = compare(ensuring, answer, &error);
	else if (answer != NULL)
		append_error(&error, ensuring->name, answer);
	json_free(answer);
	ensured(ensuring, status, buffer_text(&error));
	buffer_free(&error);
}

void bus_stream_ensure(struct bus *bus, struct text name, struct text config,
	void (*done)(void *context, enum status status, struct text error), void *context)
{
	struct ensuring *ensuring = calloc(1, sizeof(*ensuring));
	char subject[SUBJECT_MAX];
	int length = snprintf(subject, sizeof(subject), "STREAM.INFO.%.*s", TEXT_ARGUMENTS(name));
	if (ensuring == NULL || length >= (int)sizeof(subject))
		abort();
	*ensuring = (struct ensuring){bus, text_copy(name), text_copy(config), done, context};
	if (ensuring->name == NULL || ensuring->config == NULL)
		abort();
	bus_api(bus, (struct text){subject, (size_t)length}, TEXT(""), on_stream_info, ensuring);
}

/* --- buckets */

void bus_bucket_ensure(struct bus *bus, struct text bucket,
	void (*done)(void *context, enum status status, struct text error), void *context)
{
	struct buffer config = {0};
	char name[256];
	int length = snprintf(name, sizeof(name), "KV_%.*s", TEXT_ARGUMENTS(bucket));
	buffer_printf(&config,
		"{\"name\":\"%s\",\"subjects\":[\"$KV.%.*s.>\"],\"retention\":\"limits\",\"max_consumers\":-1,\"max_msgs\":-1,"
		"\"max_bytes\":-1,\"max_age\":0,\"max_msgs_per_subject\":1,\"max_msg_size\":-1,\"discard\":\"new\","
		"\"storage\":\"file\",\"num_replicas\":1,\"duplicate_window\":120000000000,\"deny_delete\":true,"
		"\"allow_rollup_hdrs\":true,\"allow_direct\":true}",
		name, TEXT_ARGUMENTS(bucket));
	if (config.failed || length >= (int)sizeof(name))
		abort();
	bus_stream_ensure(bus, (struct text){name, (size_t)length}, buffer_text(&config), done, context);
	buffer_free(&config);
}

static int sextet(char byte)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *found = byte == 0 ? NULL : strchr(alphabet, byte);
	return found == NULL ? -1 : (int)(found - alphabet);
}

/* Base64 of RFC 4648 section 4, with its padding. */
static bool decode(struct text encoded, struct buffer *into)
{
	size_t padding = 0;
	if (encoded.length % 4 != 0)
		return false;
	while (padding < 2 && padding < encoded.length && encoded.bytes[encoded.length - 1 - padding] == '=')
		padding++;
	uint32_t bits = 0;
	unsigned count = 0;
	for (size_t i = 0; i < encoded.length - padding; i++) {
		int value = sextet(encoded.bytes[i]);
		if (value < 0)
			return false;
		bits = bits << 6 | (uint32_t)value;
		count += 6;
		if (count >= 8) {
			count -= 8;
			buffer_append_byte(into, (char)(bits >> count & 0xff));
		}
	}
	return !into->failed;
}

struct bucket_get {
	void (*done)(void *context, enum status status, struct text value, uint64_t revision);
	void *context;
};

static void on_value(void *context, enum status status, struct text json)
{
	struct bucket_get get = *(struct bucket_get *)context;
	struct buffer value = {0}, headers = {0};
	struct json *answer = NULL;
	int64_t sequence = 0;
	free(context);
	if (status == STATUS_OK && json_parse(json, NULL, &answer) != STATUS_OK)
		status = STATUS_PROTOCOL;
	const struct json *message = json_member(answer, "message");
	if (status == STATUS_OK &&
		(!json_integer(json_member(message, "seq"), &sequence) || !decode(json_member_text(message, "data"), &value) ||
			!decode(json_member_text(message, "hdrs"), &headers)))
		status = STATUS_PROTOCOL;
	if (status == STATUS_OK && headers.length > 0 && strstr(headers.bytes, "KV-Operation:") != NULL)
		status = STATUS_NOT_FOUND; /* the mark of a deletion */
	get.done(get.context, status, status == STATUS_OK && value.bytes != NULL ? buffer_text(&value) : TEXT(""),
		(uint64_t)sequence);
	json_free(answer);
	buffer_free(&value);
	buffer_free(&headers);
}

void bus_bucket_get(struct bus *bus, struct text bucket, struct text key,
	void (*done)(void *context, enum status status, struct text value, uint64_t revision), void *context)
{
	struct bucket_get *get = malloc(sizeof(*get));
	struct buffer subject = {0}, last = {0}, body = {0};
	if (get == NULL)
		abort();
	*get = (struct bucket_get){done, context};
	buffer_printf(&subject, "STREAM.MSG.GET.KV_%.*s", TEXT_ARGUMENTS(bucket));
	buffer_printf(&last, "$KV.%.*s.%.*s", TEXT_ARGUMENTS(bucket), TEXT_ARGUMENTS(key));
	buffer_printf(&body, "{\"last_by_subj\":");
	buffer_append_json(&body, buffer_text(&last));
	buffer_append_byte(&body, '}');
	if (subject.failed || last.failed || body.failed)
		abort();
	bus_api(bus, buffer_text(&subject), buffer_text(&body), on_value, get);
	buffer_free(&subject);
	buffer_free(&last);
	buffer_free(&body);
}

struct bucket_put {
	void (*done)(void *context, enum status status, uint64_t revision);
	void *context;
};

static void on_put(void *context, enum status status, uint64_t sequence, bool is_duplicate)
{
	struct bucket_put put = *(struct bucket_put *)context;
	(void)is_duplicate;
	free(context);
	put.done(put.context, status, sequence);
}

static void bucket_write(struct bus *bus, struct text bucket, struct text key, const struct bus_header *headers,
	size_t count, struct text value, void (*done)(void *context, enum status status, uint64_t revision), void *context)
{
	struct bucket_put *put = malloc(sizeof(*put));
	struct buffer subject = {0};
	buffer_printf(&subject, "$KV.%.*s.%.*s", TEXT_ARGUMENTS(bucket), TEXT_ARGUMENTS(key));
	if (put == NULL || subject.failed)
		abort();
	*put = (struct bucket_put){done, context};
	bus_publish(bus, buffer_text(&subject), TEXT_NONE, headers, count, value, on_put, put);
	buffer_free(&subject);
}

void bus_bucket_put(struct bus *bus, struct text bucket, struct text key, struct text value, int64_t expected,
	void (*done)(void *context, enum status status, uint64_t revision), void *context)
{
	char number[24];
	int length = snprintf(number, sizeof(number), "%" PRId64, expected);
	const struct bus_header expectation = {TEXT("Nats-Expected-Last-Subject-Sequence"), {number, (size_t)length}};
	bucket_write(bus, bucket, key, &expectation, expected == BUS_REVISION_ANY ? 0 : 1, value, done, context);
}

void bus_bucket_purge(struct bus *bus, struct text bucket, struct text key,
	void (*done)(void *context, enum status status, uint64_t revision), void *context)
{
	const struct bus_header headers[] = {{TEXT("KV-Operation"), TEXT("PURGE")}, {TEXT("Nats-Rollup"), TEXT("sub")}};
	bucket_write(bus, bucket, key, headers, 2, TEXT(""), done, context);
}
