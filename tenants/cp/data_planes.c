/* The data planes a participant's control plane may use: PUT .../dataplanes as agents of a fabric and operators send it
 * (cfm.md 4.4 F4, 6.3), plain JSON. Record: DATA_PLANE (ctx, id: dataplaneId) {"dataplaneId", "endpoint",
 * "transferTypes", "labels", "authorization"?}; what authorizes is in the vault. */
#include "tenants/cp/provision.h"

#include "server/url.h"
#include "tenants/cp/management_call.h"

enum { DATA_PLANE_ID_MAX = 256, NAMES_MAX = 64, NAME_LENGTH_MAX = 256 };

static bool is_names(const struct json *list)
{
	bool is_fine = json_kind(list) == JSON_ARRAY && json_count(list) <= NAMES_MAX;
	for (const struct json *one = json_first(list); one != NULL && is_fine; one = json_next(one))
		is_fine = json_text(one).length > 0 && json_text(one).length <= NAME_LENGTH_MAX;
	return is_fine;
}

static bool is_endpoint(struct text text)
{
	struct url url;
	return url_parse(text, &url) == STATUS_OK;
}

/* NULL: fine; else the member that is wrong. "id" is what older callers say for dataplaneId. */
static const char *wrong_member(const struct json *body)
{
	for (const struct json *member = json_first(body); member != NULL; member = json_next(member)) {
		bool is_fine = json_name_is(member, "@context") || json_name_is(member, "@type");
		if (json_name_is(member, "dataplaneId") || json_name_is(member, "id"))
			is_fine = name_is_valid(json_text(member), DATA_PLANE_ID_MAX);
		else if (json_name_is(member, "endpoint"))
			is_fine = is_endpoint(json_text(member));
		else if (json_name_is(member, "transferTypes") || json_name_is(member, "labels"))
			is_fine = is_names(member);
		else if (json_name_is(member, "authorization"))
			is_fine = json_kind(member) == JSON_OBJECT || json_kind(member) == JSON_NULL;
		if (!is_fine)
			return json_name(member);
	}
	return json_member_text(body, "dataplaneId").bytes == NULL && json_member_text(body, "id").bytes == NULL
			   ? "dataplaneId"
		   : json_member(body, "endpoint") == NULL      ? "endpoint"
		   : json_member(body, "transferTypes") == NULL ? "transferTypes"
														: NULL;
}

/* authorization keeps its type alone: its secrets have no place in a record. */
static bool print_record(const struct json *body, struct text id, struct buffer *into)
{
	const struct json *labels = json_member(body, "labels");
	struct text type = json_member_text(json_member(body, "authorization"), "type");
	buffer_append(into, TEXT("{\"dataplaneId\":"));
	buffer_append_json(into, id);
	buffer_append(into, TEXT(",\"endpoint\":"));
	buffer_append_json(into, json_member_text(body, "endpoint"));
	buffer_append(into, TEXT(",\"transferTypes\":"));
	json_print(json_member(body, "transferTypes"), into);
	buffer_append(into, TEXT(",\"labels\":"));
	if (labels == NULL)
		buffer_append(into, TEXT("[]"));
	else
		json_print(labels, into);
	if (type.bytes != NULL) {
		buffer_append(into, TEXT(",\"authorization\":{\"type\":"));
		buffer_append_json(into, type);
		buffer_append_byte(into, '}');
	}
	buffer_append_byte(into, '}');
	return !into->failed;
}

const char *data_plane_add(struct transaction *transaction, struct text ctx, const struct json *body, bool *is_added)
{
	const char *wrong = wrong_member(body);
	struct text id = json_member_text(body, "dataplaneId");
	struct buffer record = {0};
	if (id.bytes == NULL)
		id = json_member_text(body, "id");
	*is_added = wrong == NULL && print_record(body, id, &record) &&
				transaction_put(transaction, ctx, RECORD_DATA_PLANE, id, buffer_text(&record), REVISION_ANY);
	buffer_free(&record);
	return wrong;
}

void data_plane_put(struct call *call, struct text body)
{
	bool is_added = false;
	if (!call_parse(call, body) || call_participant(call) == NULL)
		return;
	struct transaction *transaction = transaction_new();
	const char *wrong =
		transaction == NULL ? NULL : data_plane_add(transaction, text_of(call->ctx), call->body, &is_added);
	if (!is_added) {
		transaction_free(transaction);
		if (wrong != NULL)
			call_refuse(call, 400, "ValidationFailure", "is not what a data plane has here", wrong);
		else
			call_refuse_status(call, STATUS_NO_MEMORY);
		return;
	}
	call->status = 200;
	call_submit(call, transaction, call_on_stored);
}

/* One that is not there is gone. */
static void on_removed(void *context, enum status status, int64_t revision)
{
	call_on_stored(context, status == STATUS_NOT_FOUND ? STATUS_OK : status, revision);
}

void data_plane_delete(struct call *call, struct text body)
{
	(void)body;
	if (call_participant(call) == NULL)
		return;
	struct transaction *transaction = transaction_new();
	if (transaction == NULL ||
		!transaction_delete(transaction, text_of(call->ctx), RECORD_DATA_PLANE, call->id, REVISION_ANY)) {
		transaction_free(transaction);
		call_refuse_status(call, STATUS_NO_MEMORY);
		return;
	}
	call->status = 200;
	call_submit(call, transaction, on_removed);
}
