/* JetStream in its own requests: publishing with an acknowledgement, the API, streams. */
#include <inttypes.h>
#include <stdlib.h>

#include "control/bus/bus_private.h"
#include "server/base/json.h"

enum { API_MS = 5000, PUBLISH_MS = 5000 };
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
	bool is_raced; /* somebody else made it while we were about to */
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

static void ask_stream(struct ensuring *ensuring);

static bool is_name_in_use(const struct json *answer)
{
	int64_t code = 0;
	return json_integer(json_member(json_member(answer, "error"), "err_code"), &code) && code == ERROR_NAME_IN_USE;
}

static void on_stream_created(void *context, enum status status, struct text json)
{
	struct ensuring *ensuring = context;
	struct buffer error = {0};
	struct json *answer = NULL;
	bool is_raced = false;
	if (status != STATUS_OK && json_parse(json, NULL, &answer) == STATUS_OK) {
		append_error(&error, ensuring->name, answer);
		is_raced = is_name_in_use(answer) && !ensuring->is_raced;
	}
	json_free(answer);
	if (is_raced) { /* theirs may do as well as ours */
		buffer_free(&error);
		ensuring->is_raced = true;
		ask_stream(ensuring);
		return;
	}
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

static void ask_stream(struct ensuring *ensuring)
{
	char subject[SUBJECT_MAX];
	int length = snprintf(subject, sizeof(subject), "STREAM.INFO.%s", ensuring->name);
	if (length >= (int)sizeof(subject))
		abort();
	bus_api(ensuring->bus, (struct text){subject, (size_t)length}, TEXT(""), on_stream_info, ensuring);
}

void bus_stream_ensure(struct bus *bus, struct text name, struct text config,
	void (*done)(void *context, enum status status, struct text error), void *context)
{
	struct ensuring *ensuring = calloc(1, sizeof(*ensuring));
	if (ensuring == NULL)
		abort();
	*ensuring = (struct ensuring){
		.bus = bus, .name = text_copy(name), .config = text_copy(config), .done = done, .context = context};
	if (ensuring->name == NULL || ensuring->config == NULL)
		abort();
	ask_stream(ensuring);
}
