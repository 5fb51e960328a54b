/* Key-value buckets, as the existing clients use them: a stream KV_<bucket>, one subject a key. */
#include <inttypes.h>
#include <stdlib.h>

#include "control/bus/bus_private.h"
#include "server/base/json.h"

enum { DIRECT_MS = 2000, DIRECT_NOT_FOUND = 404 };

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

/* --- reading. Directly, from the stream itself, which answers only once it is whole. Through the API (STREAM.MSG.GET)
 * the server looks into a stream's store before there is one when the stream is just being made, and nats-server 2.9
 * dies of it: so that is asked only of a stream that permits nothing else, after it has said that it holds messages. A
 * direct question that nobody takes is never answered: so that is asked only where it has been seen to be permitted. */

/* A stream of which a direct question is answered. */
struct bus_direct {
	struct bus_direct *next;
	char stream[];
};

static bool is_direct(struct bus *bus, const char *stream)
{
	const struct bus_direct *one = *bus_directs(bus);
	while (one != NULL && strcmp(one->stream, stream) != 0)
		one = one->next;
	return one != NULL;
}

static void direct_learn(struct bus *bus, const char *stream)
{
	size_t length = strlen(stream) + 1;
	struct bus_direct *made = is_direct(bus, stream) ? NULL : malloc(sizeof(*made) + length);
	if (made == NULL)
		return; /* asked for again */
	made->next = *bus_directs(bus);
	memcpy(made->stream, stream, length);
	*bus_directs(bus) = made;
}

void directs_forget(struct bus *bus, const char *stream)
{
	struct bus_direct **at = bus_directs(bus);
	while (*at != NULL) {
		struct bus_direct *one = *at;
		if (stream != NULL && strcmp(one->stream, stream) != 0) {
			at = &one->next;
			continue;
		}
		*at = one->next;
		free(one);
	}
}

struct bucket_get {
	struct bus *bus;
	void (*done)(void *context, enum status status, struct text value, uint64_t revision);
	void *context;
	bool was_asked; /* directly, in vain */
	char *stream, *subject;
};

static void get_end(struct bucket_get *get, enum status status, struct text value, uint64_t revision)
{
	get->done(get->context, status, status == STATUS_OK ? value : TEXT(""), revision);
	free(get->stream);
	free(get->subject);
	free(get);
}

/* What has been deleted is a message with this header. */
static bool is_deletion(struct text headers)
{
	return headers.length > 0 && strstr(headers.bytes, "KV-Operation:") != NULL;
}

static void on_api_value(void *context, enum status status, struct text json)
{
	struct bucket_get *get = context;
	struct buffer value = {0}, headers = {0};
	struct json *answer = NULL;
	int64_t sequence = 0;
	if (status == STATUS_OK && json_parse(json, NULL, &answer) != STATUS_OK)
		status = STATUS_PROTOCOL;
	const struct json *message = json_member(answer, "message");
	if (status == STATUS_OK &&
		(!json_integer(json_member(message, "seq"), &sequence) || !decode(json_member_text(message, "data"), &value) ||
			!decode(json_member_text(message, "hdrs"), &headers)))
		status = STATUS_PROTOCOL;
	if (status == STATUS_OK && is_deletion(buffer_text(&headers)))
		status = STATUS_NOT_FOUND;
	get_end(get, status, value.bytes == NULL ? TEXT("") : buffer_text(&value), (uint64_t)sequence);
	json_free(answer);
	buffer_free(&value);
	buffer_free(&headers);
}

static void ask_api(struct bucket_get *get)
{
	struct buffer subject = {0}, body = {0};
	buffer_printf(&subject, "STREAM.MSG.GET.%s", get->stream);
	buffer_printf(&body, "{\"last_by_subj\":");
	buffer_append_json(&body, text_of(get->subject));
	buffer_append_byte(&body, '}');
	if (subject.failed || body.failed)
		abort();
	bus_api(get->bus, buffer_text(&subject), buffer_text(&body), on_api_value, get);
	buffer_free(&subject);
	buffer_free(&body);
}

/* Only what may stand in a subject as it is can be asked for directly. */
static bool is_plain(struct text subject)
{
	for (size_t i = 0; i < subject.length; i++) {
		char byte = subject.bytes[i];
		if (byte <= ' ' || byte == 0x7f || byte == '*' || byte == '>')
			return false;
	}
	return true;
}

static void ask_directly(struct bucket_get *get);

static void on_info(void *context, enum status status, struct text json)
{
	struct bucket_get *get = context;
	struct json *answer = NULL;
	int64_t messages = 0;
	bool allows_direct = false;
	if (status == STATUS_OK && json_parse(json, NULL, &answer) != STATUS_OK)
		status = STATUS_PROTOCOL;
	json_integer(json_member(json_member(answer, "state"), "messages"), &messages);
	json_bool(json_member(json_member(answer, "config"), "allow_direct"), &allows_direct);
	json_free(answer);
	if (status == STATUS_OK && messages == 0)
		status = STATUS_NOT_FOUND;
	if (status == STATUS_OK && allows_direct)
		direct_learn(get->bus, get->stream);
	if (status != STATUS_OK)
		get_end(get, status, TEXT(""), 0);
	else if (allows_direct && is_plain(text_of(get->subject)) && !get->was_asked)
		ask_directly(get);
	else
		ask_api(get);
}

static void ask_info(struct bucket_get *get)
{
	struct buffer subject = {0};
	buffer_printf(&subject, "STREAM.INFO.%s", get->stream);
	if (subject.failed)
		abort();
	bus_api(get->bus, buffer_text(&subject), TEXT(""), on_info, get);
	buffer_free(&subject);
}

static enum status judge_direct(const struct bus_message *message, uint64_t *sequence)
{
	struct text number = bus_message_header(message, TEXT("Nats-Sequence"));
	if (message->status == DIRECT_NOT_FOUND || (message->status == 0 && is_deletion(message->headers)))
		return STATUS_NOT_FOUND;
	return message->status == 0 && text_to_unsigned(number, INT64_MAX, sequence) == STATUS_OK ? STATUS_OK
																							  : STATUS_PROTOCOL;
}

static void on_direct_value(void *context, enum status status, const struct bus_message *message)
{
	struct bucket_get *get = context;
	uint64_t sequence = 0;
	if ((status == STATUS_UNAVAILABLE || status == STATUS_TIMEOUT) && bus_is_up(get->bus)) {
		directs_forget(get->bus, get->stream); /* it has gone, or is another one now */
		get->was_asked = true;
		ask_info(get);
		return;
	}
	if (status == STATUS_OK)
		status = judge_direct(message, &sequence);
	get_end(get, status, status == STATUS_OK ? message->body : TEXT(""), sequence);
}

static void ask_directly(struct bucket_get *get)
{
	struct buffer subject = {0};
	buffer_printf(&subject, "$JS.API.DIRECT.GET.%s.%s", get->stream, get->subject);
	if (subject.failed)
		abort();
	bus_request(get->bus, buffer_text(&subject), NULL, 0, TEXT(""), DIRECT_MS, on_direct_value, get);
	buffer_free(&subject);
}

void bus_bucket_get(struct bus *bus, struct text bucket, struct text key,
	void (*done)(void *context, enum status status, struct text value, uint64_t revision), void *context)
{
	struct buffer stream = {0}, subject = {0};
	struct bucket_get *get = malloc(sizeof(*get));
	buffer_printf(&stream, "KV_%.*s", TEXT_ARGUMENTS(bucket));
	buffer_printf(&subject, "$KV.%.*s.%.*s", TEXT_ARGUMENTS(bucket), TEXT_ARGUMENTS(key));
	if (get == NULL || stream.failed || subject.failed)
		abort(); /* whoever waits would wait for ever */
	*get = (struct bucket_get){bus, done, context, false, buffer_take(&stream), buffer_take(&subject)};
	if (is_plain(text_of(get->subject)) && is_direct(bus, get->stream))
		ask_directly(get);
	else
		ask_info(get);
}

/* --- writing */

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

void bus_bucket_put(struct bus *bus, struct text bucket, struct text key, struct text value, int64_t expected,
	void (*done)(void *context, enum status status, uint64_t revision), void *context)
{
	char number[24];
	int length = snprintf(number, sizeof(number), "%" PRId64, expected);
	const struct bus_header expectation = {TEXT("Nats-Expected-Last-Subject-Sequence"), {number, (size_t)length}};
	struct bucket_put *put = malloc(sizeof(*put));
	struct buffer subject = {0};
	buffer_printf(&subject, "$KV.%.*s.%.*s", TEXT_ARGUMENTS(bucket), TEXT_ARGUMENTS(key));
	if (put == NULL || subject.failed)
		abort();
	*put = (struct bucket_put){done, context};
	bus_publish(
		bus, buffer_text(&subject), TEXT_NONE, &expectation, expected == BUS_REVISION_ANY ? 0 : 1, value, on_put, put);
	buffer_free(&subject);
}
