/* Input of cellctl: files, and the bodies of its requests. */
#include <stdio.h>
#include <string.h>

#include "control/cellctl.h"
#include "server/base/secret.h"

enum { INPUT_MAX = 8 * 1024 * 1024 };

/* --- files */

bool cellctl_read(const char *path, struct buffer *into)
{
	FILE *file = path == NULL || strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	char block[8192];
	size_t count;
	if (file == NULL)
		return false;
	while ((count = fread(block, 1, sizeof(block), file)) > 0 && into->length < INPUT_MAX)
		buffer_append(into, (struct text){block, count});
	bool is_read = !ferror(file) && !into->failed;
	wipe(block, sizeof(block));
	if (file != stdin)
		fclose(file);
	return is_read;
}

bool cellctl_read_file(const char *path, struct buffer *into)
{
	if (cellctl_read(path, into))
		return true;
	fprintf(stderr, "cellctl: %s: cannot be read\n", path);
	return false;
}

/* --- bodies */

static void add_member(struct buffer *body, const char *name, const char *value, bool is_number)
{
	if (value == NULL)
		return;
	buffer_append_byte(body, body->length == 0 ? '{' : ',');
	buffer_append_json(body, text_of(name));
	buffer_append_byte(body, ':');
	if (is_number)
		buffer_append(body, text_of(value));
	else
		buffer_append_json(body, text_of(value));
}

bool build_participant(struct call *call)
{
	const char *state = call->options[OPTION_PARTICIPANT_STATE];
	if (!cellctl_needs(call, OPTION_IDENTITY))
		return false;
	add_member(&call->body, "@type", "ParticipantContext", false);
	add_member(&call->body, "@id", call->options[OPTION_ID], false);
	add_member(&call->body, "identity", call->options[OPTION_IDENTITY], false);
	add_member(&call->body, "state", state == NULL ? "CREATED" : state, false);
	buffer_append(&call->body, TEXT(",\"properties\":{}}"));
	return true;
}

bool build_activate(struct call *call)
{
	buffer_append(&call->body, TEXT("{\"state\":\"ACTIVATED\"}"));
	return true;
}

bool build_deactivate(struct call *call)
{
	buffer_append(&call->body, TEXT("{\"state\":\"DEACTIVATED\"}"));
	return true;
}

/* KEY=VALUE sets, KEY= with nothing deletes. */
bool build_entries(struct call *call)
{
	buffer_append(&call->body, TEXT("{\"entries\":{"));
	for (unsigned i = 1; i < call->word_count; i++) {
		struct text word = text_of(call->words[i]);
		size_t equals = text_find(word, '=');
		if (equals == word.length || equals == 0) {
			fprintf(stderr, "cellctl: %s: must be KEY=VALUE\n", call->words[i]);
			return false;
		}
		buffer_append(&call->body, i > 1 ? TEXT(",") : TEXT(""));
		buffer_append_json(&call->body, text_slice(word, 0, equals));
		buffer_append_byte(&call->body, ':');
		if (equals + 1 == word.length)
			buffer_append(&call->body, TEXT("null"));
		else
			buffer_append_json(&call->body, text_slice(word, equals + 1, word.length));
	}
	buffer_append(&call->body, TEXT("}}"));
	return true;
}

bool build_file(struct call *call)
{
	return cellctl_read_file(call->options[OPTION_FILE], &call->body);
}

bool build_flow(struct call *call)
{
	if (!cellctl_needs(call, OPTION_DATASET) || !cellctl_needs(call, OPTION_AGREEMENT) ||
		!cellctl_needs(call, OPTION_CONSUMER))
		return false;
	add_member(&call->body, "id", call->options[OPTION_ID], false);
	add_member(&call->body, "datasetId", call->options[OPTION_DATASET], false);
	add_member(&call->body, "agreementId", call->options[OPTION_AGREEMENT], false);
	add_member(&call->body, "counterParty", call->options[OPTION_CONSUMER], false);
	add_member(&call->body, "notBefore", call->options[OPTION_NOT_BEFORE], true);
	add_member(&call->body, "expiresAt", call->options[OPTION_EXPIRES], true);
	buffer_append_byte(&call->body, '}');
	return true;
}

bool build_token(struct call *call)
{
	add_member(&call->body, "lifetimeSeconds", call->options[OPTION_LIFETIME], true);
	buffer_append(&call->body, call->body.length == 0 ? TEXT("{}") : TEXT("}"));
	return true;
}

static bool build_text(struct call *call, const char *member)
{
	struct buffer value = {0};
	bool is_read = cellctl_read(call->options[OPTION_FILE], &value);
	if (value.length > 0 && value.bytes[value.length - 1] == '\n')
		value.length--;
	buffer_printf(&call->body, "{\"%s\":", member);
	buffer_append_json(&call->body, buffer_text(&value));
	buffer_append_byte(&call->body, '}');
	buffer_wipe(&value);
	return is_read;
}

bool build_secret(struct call *call)
{
	return build_text(call, "value");
}

bool build_key(struct call *call)
{
	return build_text(call, "privateKey");
}
