/* Data Plane Signaling: messages of each verb, the data addresses in them, registrations of control planes, and the
 * agreements they give. What is taken must print as what is taken again, and no secret may stay in what is stored. */
#include <stdlib.h>
#include <string.h>

#include "tenants/dp/contract/agreement.h"
#include "tenants/dp/data_address.h"
#include "tenants/dp/signaling/agreement_answer.h"
#include "tenants/dp/signaling/control_plane.h"
#include "tenants/dp/signaling/signaling_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool is_true)
{
	if (!is_true)
		abort();
}

static void check_address(const struct json *body)
{
	struct data_address *address, *again;
	struct json *root = NULL;
	struct buffer error = {0}, whole = {0}, stored = {0};
	if (data_address_parse(body, &address, &error) != STATUS_OK) {
		check(error.length > 0);
		buffer_free(&error);
		return;
	}
	data_address_print(address, true, &whole);
	data_address_print(address, false, &stored);
	check(json_parse(buffer_text(&whole), NULL, &root) == STATUS_OK);
	check(data_address_parse(root, &again, &error) == STATUS_OK);
	check(data_address_has_secrets(address) == data_address_has_secrets(again));
	data_address_free(again);
	json_free(root);
	check(json_parse(buffer_text(&stored), NULL, &root) == STATUS_OK);
	check(data_address_parse(root, &again, &error) == STATUS_OK && !data_address_has_secrets(again));
	data_address_free(again);
	json_free(root);
	data_address_free(address);
	buffer_free(&whole);
	buffer_free(&stored);
	buffer_free(&error);
}

static void check_message(enum signaling_verb verb, struct text input)
{
	struct signaling_message message;
	struct buffer error = {0};
	if (signaling_message_parse(verb, input, &message, &error) == STATUS_OK) {
		bool is_new = verb == SIGNALING_PREPARE || verb == SIGNALING_START;
		check(!is_new || (message_text(&message, MESSAGE_FIELD_PROCESS).length > 0 &&
							 message_text(&message, MESSAGE_FIELD_PROCESS).length <= 128));
		check(!is_new || message.fields[MESSAGE_FIELD_CLAIMS] != NULL);
		if (message.fields[MESSAGE_FIELD_ADDRESS] != NULL)
			check_address(message.fields[MESSAGE_FIELD_ADDRESS]);
		signaling_message_free(&message);
	} else {
		check(error.length > 0 && message.root == NULL);
	}
	buffer_free(&error);
}

static void check_plane(struct text input)
{
	struct json *root = NULL, *stored = NULL;
	struct control_plane *plane, *again;
	struct text secret, none;
	struct buffer error = {0}, print = {0};
	if (json_parse(input, NULL, &root) == STATUS_OK &&
		control_plane_parse(root, &plane, &secret, &error) == STATUS_OK) {
		control_plane_print(root, plane, &print);
		check(json_parse(buffer_text(&print), NULL, &stored) == STATUS_OK);
		check(control_plane_parse(stored, &again, &none, &error) == STATUS_OK && none.bytes == NULL);
		check(strcmp(plane->id, again->id) == 0 && strcmp(plane->endpoint, again->endpoint) == 0 &&
			  plane->authorization == again->authorization && plane->key_count == again->key_count);
		control_plane_unref(again);
		control_plane_unref(plane);
		json_free(stored);
	}
	json_free(root);
	buffer_free(&error);
	buffer_free(&print);
}

/* What is taken is a whole record, but for its rules. */
static void check_agreement(struct text input)
{
	const struct participant participant = {.identity = (char *)(uintptr_t) "p"};
	const struct agreement_expected expected = {
		.id = TEXT("a"), .counter_party = TEXT("c"), .participant = &participant, .is_provider = true};
	struct agreement_terms *terms = NULL;
	struct json *root = NULL;
	struct buffer record = {0}, error = {0};
	if (agreement_answer_read(input, &expected, &record, &error) != STATUS_OK) {
		check(error.length > 0 && record.length == 0);
	} else if (json_parse(buffer_text(&record), NULL, &root) == STATUS_OK) { /* it may have become too deep */
		check(text_equals(json_member_text(json_member(root, "policy"), "@id"), expected.id));
		if (agreement_terms_parse(root, &terms, &error) == STATUS_OK)
			agreement_terms_free(terms);
		else
			check(error.length > 0);
	}
	json_free(root);
	buffer_free(&record);
	buffer_free(&error);
}

/* The first byte says which. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	const struct text input = {(const char *)data + 1, size - 1};
	unsigned which = data[0] % (SIGNALING_VERB_COUNT + 2);
	if (which == SIGNALING_VERB_COUNT + 1)
		check_agreement(input);
	else if (which == SIGNALING_VERB_COUNT)
		check_plane(input);
	else
		check_message((enum signaling_verb)which, input);
	return 0;
}
