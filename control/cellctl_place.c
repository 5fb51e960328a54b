/* cellctl: where a VPA would be placed, and why. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/cellctl.h"
#include "server/base/json.h"

#define PLACEMENTS "/api/celld/v1/placements"

static int usage(const char *what)
{
	fprintf(stderr, "cellctl: %s\n", what);
	return EXIT_USAGE;
}

/* --- a request from words: "cfm.dataplane region=eu-1 jurisdictions=EU,DE label.tier=gold tolerate=edge" */

/* An array of the parts between commas. */
static struct json *parts_of(struct text value)
{
	struct json *array = json_array_new();
	struct text part;
	for (bool done = false; text_next_part(&value, ',', &part, &done);)
		json_add_text(array, NULL, part);
	return array;
}

/* The member of that name, made when it is missing. */
static struct json *member_of(struct json *object, const char *name, bool is_array)
{
	if (json_member(object, name) == NULL)
		json_add(object, name, is_array ? json_array_new() : json_object_new());
	return (struct json *)(uintptr_t)json_member(object, name);
}

static bool add_number(struct json *object, struct text name, struct text value)
{
	uint64_t number;
	char *key = text_copy(name);
	bool is_number = key != NULL && text_to_unsigned(value, INT64_MAX, &number) == STATUS_OK &&
					 json_add_integer(object, key, (int64_t)number);
	free(key);
	return is_number;
}

/* What a word's key means: a member of "require" with a text, with a list, with a number, or one of its own. */
struct word {
	const char *key;
	enum { WORD_TEXT, WORD_LIST, WORD_NUMBER, WORD_TOLERATION, WORD_TOP } kind;
};
static const struct word words[] = {{"cell", WORD_TEXT}, {"region", WORD_LIST}, {"provider", WORD_LIST},
	{"zone", WORD_LIST}, {"site", WORD_LIST}, {"type", WORD_LIST}, {"jurisdictions", WORD_LIST},
	{"compliance", WORD_LIST}, {"profiles", WORD_LIST}, {"components", WORD_LIST}, {"protocol", WORD_NUMBER},
	{"tolerate", WORD_TOLERATION}, {"participant", WORD_TOP}, {"tenant", WORD_TOP}, {"class", WORD_TOP},
	{"strategy", WORD_TOP}, {"current", WORD_TOP}};

static const struct word *find_word(struct text key)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (text_equals(text_of(words[i].key), key))
			return &words[i];
	}
	return NULL;
}

/* "edge" or "edge:value" */
static bool add_toleration(struct json *request, struct text value)
{
	struct json *one = json_object_new(), *list = member_of(request, "tolerations", true);
	size_t colon = text_find(value, ':');
	bool is_made = json_add_text(one, "key", text_slice(value, 0, colon)) &&
				   (colon == value.length || json_add_text(one, "value", text_slice(value, colon + 1, value.length))) &&
				   json_add(list, NULL, one);
	if (!is_made)
		json_free(one);
	return is_made;
}

static bool add_label(struct json *labels, struct text key, struct text value)
{
	char *name = text_copy(key);
	bool is_added = name != NULL && json_add_text(labels, name, value);
	free(name);
	return is_added;
}

static bool add_word(struct json *request, const char *word)
{
	struct text whole = text_of(word);
	size_t equals = text_find(whole, '=');
	struct text key = text_slice(whole, 0, equals), value = text_slice(whole, equals + 1, whole.length);
	struct json *require = member_of(request, "require", false);
	if (equals == whole.length)
		return false;
	if (text_starts_with(key, TEXT("require.")))
		key = text_slice(key, 8, key.length);
	if (text_starts_with(key, TEXT("label.")))
		return add_label(member_of(require, "labels", false), text_slice(key, 6, key.length), value);
	if (text_starts_with(key, TEXT("prefer.label.")))
		return add_label(
			member_of(member_of(request, "prefer", false), "labels", false), text_slice(key, 13, key.length), value);
	if (text_starts_with(key, TEXT("demand.")))
		return add_number(member_of(request, "demand", false), text_slice(key, 7, key.length), value);
	const struct word *found = find_word(key);
	if (found == NULL)
		return false;
	switch (found->kind) {
	case WORD_TEXT:
		return json_add_text(require, found->key, value);
	case WORD_LIST:
		return json_add(require, found->key, parts_of(value));
	case WORD_NUMBER:
		return add_number(require, key, value);
	case WORD_TOLERATION:
		return add_toleration(request, value);
	case WORD_TOP:
		return json_add_text(request, found->key, value);
	}
	return false;
}

/* The request of the file, or of the words. */
static bool build_request(struct call *call)
{
	if (call->options[OPTION_FILE] != NULL)
		return cellctl_read_file(call->options[OPTION_FILE], &call->body);
	struct json *request = json_object_new();
	bool is_made = json_add_text(request, "type", text_of(call->words[0]));
	for (unsigned i = 1; i < call->word_count && is_made; i++) {
		is_made = add_word(request, call->words[i]);
		if (!is_made)
			fprintf(stderr, "cellctl: %s: is not understood; see cellctl --help\n", call->words[i]);
	}
	if (is_made)
		json_print(request, &call->body);
	json_free(request);
	return is_made && !call->body.failed;
}

/* Has the answer chosen a cell? */
static bool is_chosen(const struct buffer *answer, bool is_json)
{
	struct json *root = NULL;
	if (!is_json)
		return text_starts_with(buffer_text(answer), TEXT("chosen: "));
	bool is_one =
		json_parse(buffer_text(answer), NULL, &root) == STATUS_OK && json_count(json_member(root, "chosen")) > 0;
	json_free(root);
	return is_one;
}

static int place(const struct command *command, struct call *call)
{
	struct buffer answer = {0};
	struct command asked = *command;
	bool is_json = call->options[OPTION_JSON] != NULL, is_whole = call->options[OPTION_EXPLAIN] != NULL;
	if (call->options[OPTION_FILE] == NULL && call->word_count == 0)
		return usage("place needs a type of VPA, as cfm.dataplane, or --file");
	if (!build_request(call))
		return EXIT_USAGE;
	asked.path = is_json ? PLACEMENTS : is_whole ? PLACEMENTS "?format=text" : PLACEMENTS "?format=line";
	int result = cellctl_ask(&asked, call, &answer);
	if (result == 0) {
		fputs(answer.bytes, stdout);
		fputs(is_json ? "\n" : "", stdout);
		result = is_chosen(&answer, is_json) ? 0 : EXIT_FAILED;
	}
	buffer_free(&answer);
	return result;
}

static bool build_replay(struct call *call)
{
	buffer_append(&call->body, TEXT("{\"decisionId\":"));
	buffer_append_json(&call->body, text_of(call->words[0]));
	buffer_append_byte(&call->body, '}');
	return !call->body.failed;
}

/* Before "place", which takes any words. */
const struct command place_commands[] = {
	{"place explain", "DECISION", 1, "GET", PLACEMENTS "/{0}/explain?format=text", NULL, SHAPE_TEXT, NULL, NULL,
		"why a VPA was placed where it is"},
	{"place replay", "DECISION", 1, "POST", PLACEMENTS ":replay?format=text", build_replay, SHAPE_TEXT, NULL, NULL,
		"decide again on what was known then: the same?"},
	{"place lapses", "", 0, "GET", PLACEMENTS ":lapses?format=text", NULL, SHAPE_TEXT, NULL, NULL,
		"cells whose attestation has expired while VPAs live there"},
	{"place", "TYPE [KEY=VALUE...] | --file F [--explain]", 0, "POST", PLACEMENTS, build_request, SHAPE_TEXT, NULL,
		place,
		"where it would be placed; KEY: cell, region, zone, site, provider, type, jurisdictions, compliance, "
		"label.NAME,"
		" tolerate, demand.NAME, ...; --explain: of each cell why"},
};
const size_t place_command_count = sizeof(place_commands) / sizeof(place_commands[0]);
