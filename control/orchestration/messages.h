/* What managers and agents tell each other on cfm-stream (cfm.md 3.2): manifests, activity messages and responses, one
 * JSON object each. Read as the existing programs read (unknown members are ignored, null is absent), written as they
 * write, member for member. */
#pragma once

#include "server/base/id.h"
#include "server/base/json.h"

/* An id that may be a bucket's key, a type that may be a subject's token. */
enum { MESSAGE_NAME_MAX = 255 };

#define ORCHESTRATION_STREAM TEXT("cfm-stream")
#define ORCHESTRATION_BUCKET TEXT("cfm-bucket")
#define ORCHESTRATION_SUBJECT TEXT("event.cfm-orchestration")
#define ORCHESTRATION_RESPONSE_SUBJECT TEXT("event.cfm-orchestration-response")
#define ORCHESTRATION_DEPLOY TEXT("cfm.orchestration.vpa.deploy")
#define ORCHESTRATION_DISPOSE TEXT("cfm.orchestration.vpa.dispose")

/* W3C trace context, of the headers of a message or a request (cfm.md 3.1): borrowed, absent when there is none; never
 * printed. */
struct trace {
	struct text parent, state;
};
/* What may be handed on: one line each, and not longer than anybody needs; a state without a parent is none. */
struct trace trace_of(struct text parent, struct text state);
/* The same, as a member holds it: {"traceparent","tracestate"?}. */
struct trace trace_read(const struct json *object);
/* An object for a member; NULL: there is none, or out of memory. */
struct json *trace_json(const struct trace *trace);

/* Texts and trees are borrowed from `root`, which message_free frees; in messages to print, root is NULL. */
struct manifest {
	struct text id, correlation_id, type;
	const struct json *payload; /* an object, or NULL */
	struct trace trace;
	struct json *root;
};
struct activity_message {
	struct text orchestration_id, id, type, discriminator;
	const struct json *activity; /* the object as it was sent */
	struct json *root;
};
struct response {
	struct text id, manifest_id, correlation_id, type, error_detail; /* error_detail may be absent */
	bool is_success;
	const struct json *properties; /* an object, or NULL */
	struct json *root;
};

/* INVALID (one line in `error` that names the member), TOO_LARGE or NO_MEMORY. */
enum status manifest_parse(struct text body, struct manifest *manifest, struct buffer *error) MUST_CHECK;
enum status manifest_read(const struct json *object, struct manifest *manifest, struct buffer *error) MUST_CHECK;
enum status activity_message_parse(struct text body, struct activity_message *message, struct buffer *error) MUST_CHECK;
enum status response_parse(struct text body, struct response *response, struct buffer *error) MUST_CHECK;

/* `before` as it stands, then the value as a JSON string. */
void message_print_text(struct buffer *into, const char *before, struct text value);
void manifest_print(const struct manifest *manifest, struct buffer *into);
void activity_message_print(struct text orchestration_id, const struct json *activity, struct buffer *into);
void response_print(const struct response *response, struct buffer *into);

/* ^[a-zA-Z0-9._-]+$, at most MESSAGE_NAME_MAX. */
bool message_type_is_valid(struct text type);
/* What may be a key of the bucket: letters, digits, - _ = / and dots between them. */
bool message_id_is_valid(struct text id);

/* "edcv-activity" of "edcv-activity", "test-activity" of "test.activity": the durable's name; the subject is "event."
 * and that. */
void activity_queue(struct text type, struct buffer *into);
/* The type for a cell with an executor of its own: "<type>--<cell>", what no type has becoming '-' (control.md 2.7.9).
 */
void activity_type_of_cell(struct text type, struct text cell, struct buffer *into);
