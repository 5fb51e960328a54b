/* Management of datasets. */
#include <string.h>

#include "tenants/dp/manage/operation.h"

static void print(const void *value, struct buffer *into)
{
	buffer_append(into, text_of(((const struct dataset *)value)->body));
}

void datasets_list(struct operation *operation, struct text body)
{
	(void)body;
	manage_list(operation, DP_DATASETS, print);
}

static struct dataset *find(const struct operation *operation)
{
	return dp_find(operation->dp, DP_DATASETS, operation->ctx, operation->id);
}

void datasets_show(struct operation *operation, struct text body)
{
	const struct dataset *dataset = find(operation);
	(void)body;
	if (dataset == NULL) {
		operation_refuse(operation, 404, NULL);
		return;
	}
	print(dataset, &operation->answer);
	operation_answer(operation, 200);
}

/* The old one's createdAt, or now. */
static bool set_created(struct operation *operation, struct json *root, const struct dataset *old)
{
	struct json *before = NULL;
	int64_t created = worker_wall_ms(operation->worker);
	if (old != NULL && json_parse(text_of(old->body), NULL, &before) == STATUS_OK)
		json_integer(json_member(before, "createdAt"), &created);
	json_free(before);
	json_remove(root, "createdAt");
	return json_add_integer(root, "createdAt", created);
}

/* Checks by building what the record will become. */
static bool check(struct operation *operation, const struct json *root)
{
	struct dataset *made = NULL;
	struct buffer error = {0};
	enum status status = dataset_build(operation->ctx, operation->id, root, operation->dp->workers, &made, &error);
	if (status != STATUS_OK)
		operation_refuse(operation, status_to_http(status), error.bytes);
	buffer_free(&error);
	dataset_unref(made);
	return status == STATUS_OK;
}

void datasets_put(struct operation *operation, struct text body)
{
	struct json *root = manage_parse(operation, body);
	if (root == NULL)
		return;
	bool is_post = operation->endpoint->segments == 1;
	struct text id = json_member_text(root, "id");
	if (!is_post && json_member(root, "id") == NULL && json_add_text(root, "id", operation->id))
		id = operation->id;
	if (!name_is_valid(id, MANAGE_ID_MAX) || (!is_post && !text_equals(id, operation->id))) {
		operation_refuse(operation, 400, "id: must be 1 to 128 of A-Z a-z 0-9 - _ . : and that of the path");
		json_free(root);
		return;
	}
	operation->id = id;
	struct dataset *old = find(operation);
	if (is_post && old != NULL) {
		operation_refuse(operation, 409, "there is a dataset with this id");
	} else if (!set_created(operation, root, old)) {
		operation_refuse(operation, 503, NULL);
	} else if (check(operation, root)) {
		json_print(root, &operation->answer);
		operation->status = old == NULL ? 201 : 200;
		struct transaction *transaction = transaction_new();
		if (transaction != NULL && !transaction_put(transaction, operation->ctx, RECORD_DATASET, id,
									   buffer_text(&operation->answer), is_post ? REVISION_ABSENT : REVISION_ANY)) {
			transaction_free(transaction);
			transaction = NULL;
		}
		operation_submit(operation, transaction);
	}
	json_free(root);
}

void datasets_delete(struct operation *operation, struct text body)
{
	(void)body;
	if (find(operation) == NULL) {
		operation_refuse(operation, 404, NULL);
		return;
	}
	struct transaction *transaction = transaction_new();
	if (transaction != NULL &&
		!transaction_delete(transaction, operation->ctx, RECORD_DATASET, operation->id, REVISION_ANY)) {
		transaction_free(transaction);
		transaction = NULL;
	}
	operation->status = 204;
	operation_submit(operation, transaction);
}
