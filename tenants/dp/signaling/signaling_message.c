/* Signaling messages: one table of members. */
#include "tenants/dp/signaling/signaling_message.h"

#include "server/base/id.h"

enum { ID_MAX = 512, NAME_LIMIT = 128, TEXT_MAX = 1024, OBJECT_MAX = 32 * 1024, MESSAGE_MAX = 256 * 1024 };

static const struct {
	const char *segment;
	bool has_flow;
} verbs[] = {
#define VERB(name, segment, has_flow) {segment, has_flow},
	SIGNALING_VERB_LIST(VERB)
#undef VERB
};

static const struct {
	const char *name, *alias;
	enum message_kind kind;
	unsigned needed, known;
} fields[] = {
#define FIELD(name, wire, alias, kind, needed, known) {wire, alias, kind, needed, known},
	MESSAGE_FIELD_LIST(FIELD)
#undef FIELD
};

bool signaling_verb_parse(struct text segment, bool has_flow, enum signaling_verb *verb)
{
	for (int i = 0; i < SIGNALING_VERB_COUNT; i++) {
		if (verbs[i].has_flow == has_flow && text_equals(segment, text_of(verbs[i].segment))) {
			*verb = (enum signaling_verb)i;
			return true;
		}
	}
	return false;
}

struct text signaling_verb_name(enum signaling_verb verb)
{
	return text_of(verbs[verb].segment);
}

static bool is_visible(struct text text)
{
	for (size_t i = 0; i < text.length; i++) {
		if ((unsigned char)text.bytes[i] < 0x21 || (unsigned char)text.bytes[i] > 0x7e)
			return false;
	}
	return text.length > 0 && text.length <= ID_MAX;
}

static bool are_texts(const struct json *value)
{
	if (json_kind(value) != JSON_ARRAY)
		return false;
	for (const struct json *item = json_first(value); item != NULL; item = json_next(item)) {
		if (json_kind(item) != JSON_STRING || json_text(item).length > ID_MAX)
			return false;
	}
	return true;
}

static bool is_short(const struct json *value)
{
	struct buffer print = {0};
	json_print(value, &print);
	bool is_fine = !print.failed && print.length <= OBJECT_MAX;
	buffer_free(&print);
	return is_fine;
}

/* NULL: fine; else what it must be. */
static const char *wrong_value(enum message_kind kind, const struct json *value)
{
	switch (kind) {
	case MESSAGE_ID:
		return is_visible(json_text(value)) ? NULL : "must be 1 to 512 visible ASCII characters";
	case MESSAGE_NAME:
		return name_is_valid(json_text(value), NAME_LIMIT) ? NULL : "must be 1 to 128 of A-Z a-z 0-9 - _ . :";
	case MESSAGE_TEXT:
		return json_kind(value) == JSON_STRING && json_text(value).length <= TEXT_MAX
				   ? NULL
				   : "must be a text of at most 1024 bytes";
	case MESSAGE_OBJECT:
		return json_kind(value) == JSON_OBJECT && is_short(value) ? NULL : "must be an object of at most 32 KiB";
	case MESSAGE_TEXTS:
		return are_texts(value) && is_short(value) ? NULL : "must be an array of texts";
	}
	return "is unknown";
}

static enum status read_fields(enum signaling_verb verb, struct signaling_message *message, struct buffer *error)
{
	for (int i = 0; i < MESSAGE_FIELD_COUNT; i++) {
		if ((fields[i].known >> verb & 1U) == 0)
			continue;
		const struct json *value = json_member(message->root, fields[i].name);
		if (value == NULL && fields[i].alias != NULL)
			value = json_member(message->root, fields[i].alias);
		bool is_needed = (fields[i].needed >> verb & 1U) != 0;
		if (!is_needed && (value == NULL || json_kind(value) == JSON_NULL))
			continue;
		const char *wrong = value == NULL ? "is missing" : wrong_value(fields[i].kind, value);
		if (wrong != NULL) {
			buffer_printf(error, "%s: %s", fields[i].name, wrong);
			return STATUS_INVALID;
		}
		message->fields[i] = value;
	}
	return STATUS_OK;
}

enum status signaling_message_parse(
	enum signaling_verb verb, struct text body, struct signaling_message *message, struct buffer *error)
{
	static const struct json_limits limits = {MESSAGE_MAX, 32, 10000};
	*message = (struct signaling_message){0};
	if (body.length == 0 && verbs[verb].has_flow)
		body = TEXT("{}");
	enum status status = json_parse(body, &limits, &message->root);
	if (status == STATUS_NO_MEMORY)
		return status;
	if (status != STATUS_OK || json_kind(message->root) != JSON_OBJECT) {
		signaling_message_free(message);
		buffer_printf(error, "the body must be one JSON object");
		return STATUS_INVALID;
	}
	status = read_fields(verb, message, error);
	if (status != STATUS_OK)
		signaling_message_free(message);
	return status;
}

void signaling_message_free(struct signaling_message *message)
{
	json_free(message->root);
	*message = (struct signaling_message){0};
}

struct text message_text(const struct signaling_message *message, enum message_field field)
{
	return json_text(message->fields[field]);
}
