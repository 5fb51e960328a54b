/* Answers that are agreements: which one, and whose. */
#include "tenants/dp/signaling/agreement_answer.h"

#include "tenants/dp/contract/odrl.h"

static enum status wrong(struct buffer *error, const char *what)
{
	buffer_printf(error, "%s", what);
	return STATUS_INVALID;
}

static bool is_party(const struct agreement_expected *expected, bool is_own, struct text name)
{
	return is_own ? participant_is_named(expected->participant, name) : text_equals(name, expected->counter_party);
}

static enum status check(const struct json *root, const struct agreement_expected *expected, struct buffer *error)
{
	const struct json *assigner = odrl_member(root, "assigner"), *assignee = odrl_member(root, "assignee");
	char room[24];
	if (json_kind(root) != JSON_OBJECT || !text_equals(odrl_name(json_member_text(root, "@type")), TEXT("Agreement")))
		return wrong(error, "the control plane's answer is no agreement");
	if (!text_equals(json_member_text(root, "@id"), expected->id))
		return wrong(error, "the control plane's agreement has another @id");
	if (assigner != NULL && !is_party(expected, expected->is_provider, odrl_scalar(assigner, room)))
		return wrong(error, "the assigner of the control plane's agreement is not this flow's provider");
	if (assignee != NULL && !is_party(expected, !expected->is_provider, odrl_scalar(assignee, room)))
		return wrong(error, "the assignee of the control plane's agreement is not this flow's consumer");
	return STATUS_OK;
}

enum status agreement_answer_read(
	struct text answer, const struct agreement_expected *expected, struct buffer *record, struct buffer *error)
{
	struct json *root = NULL;
	if (answer.length > AGREEMENT_ANSWER_MAX) {
		buffer_printf(error, "the control plane's agreement is too large");
		return STATUS_TOO_LARGE;
	}
	if (json_parse(answer, NULL, &root) != STATUS_OK)
		return wrong(error, "the control plane's agreement is no JSON");
	enum status status = check(root, expected, error);
	if (status == STATUS_OK) {
		buffer_append(record, TEXT("{\"policy\":"));
		json_print(root, record);
		buffer_append_byte(record, '}');
		status = record->failed ? STATUS_NO_MEMORY : STATUS_OK;
	}
	json_free(root);
	return status;
}
