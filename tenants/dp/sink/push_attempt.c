/* An attempt's life: its address, its parts one after the other, its end. */
#include "tenants/dp/sink/push_attempt.h"
#include "server/base/secret.h"
#include "tenants/dp/signaling/flow_moves.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the end */

static void release(struct push_attempt *attempt)
{
	attempt_close_source(attempt);
	if (attempt->call != NULL)
		client_call_close(attempt->call);
	attempt->call = NULL;
	if (attempt->is_waiting)
		return;
	dataset_unref(attempt->dataset);
	share_unref(attempt->share);
	data_address_free(attempt->address);
	secret_free(attempt->authorization);
	buffer_free(&attempt->path);
	free(attempt->block);
	free(attempt);
}

void push_attempt_stop(struct push_attempt *attempt)
{
	attempt->push = NULL;
	release(attempt);
}

void attempt_end(struct push_attempt *attempt, enum attempt_end end, const char *error)
{
	struct push *push = attempt->push;
	push_attempt_stop(attempt);
	push_attempt_ended(push, end, error);
}

void push_attempt_check(struct push_attempt *attempt)
{
	const struct dp *dp = attempt->push->dp;
	uint64_t now_ms = worker_now_ms(attempt->push->home->worker);
	/* the silence of an answer is the client's to notice, that of the source the source's */
	if (attempt->call != NULL && attempt->held > 0 && now_ms - attempt->moved_ms > (uint64_t)dp->settings.push_ms)
		attempt_end(attempt, ATTEMPT_AGAIN, "the receiver took no bytes in time");
}

/* --- parts */

void attempt_next_part(struct push_attempt *attempt)
{
	struct push_progress *progress = &attempt->push->progress;
	if (attempt->part == attempt->dataset->part_count) {
		attempt_end(attempt, ATTEMPT_DONE, NULL);
		return;
	}
	const struct dataset_part *part = &attempt->dataset->parts[attempt->part];
	if (!progress->is_begun || !text_equals(text_of(progress->part), part->path)) {
		*progress = (struct push_progress){.is_begun = true, .length = -1};
		snprintf(progress->part, sizeof(progress->part), "%.*s", TEXT_ARGUMENTS(part->path));
	}
	struct text base = attempt->endpoint.path;
	if (part->path.length > 0 && text_ends_with(base, TEXT("/")))
		base.length--;
	buffer_clear(&attempt->path);
	buffer_append(&attempt->path, base);
	buffer_append(&attempt->path, part->path);
	if (attempt->path.failed || part->path.length > PUSH_PART_MAX)
		attempt_end(attempt, ATTEMPT_AGAIN, "out of memory");
	else
		attempt_probe(attempt);
}

static void find_part(struct push_attempt *attempt)
{
	const struct push_progress *progress = &attempt->push->progress;
	const struct dataset *dataset = attempt->dataset;
	while (attempt->part < dataset->part_count &&
		   !text_equals(dataset->parts[attempt->part].path, text_of(progress->part)))
		attempt->part++;
	if (!progress->is_begun || attempt->part == dataset->part_count)
		attempt->part = 0;
}

/* --- the address */

/* NULL, or what is wrong. */
static const char *read_address(struct push_attempt *attempt, struct text text)
{
	struct json *root = NULL;
	struct buffer error = {0};
	enum status status = json_parse(text, NULL, &root);
	if (status == STATUS_OK)
		status = data_address_parse(root, &attempt->address, &error);
	json_free(root);
	buffer_free(&error);
	if (status == STATUS_OK)
		status = url_parse(data_address_endpoint(attempt->address), &attempt->endpoint);
	if (status != STATUS_OK)
		return "the flow's data address has no usable endpoint";
	struct text token = data_address_property(attempt->address, "authorization");
	struct text type = data_address_property(attempt->address, "authType");
	if (token.length == 0)
		return NULL;
	if (type.bytes != NULL && !text_equals_ignoring_case(type, TEXT("bearer")))
		return "the flow's data address asks for an authType that is not bearer";
	struct buffer value = {0};
	buffer_append(&value, TEXT("Bearer "));
	buffer_append(&value, token);
	attempt->authorization = value.failed ? NULL : secret_new(buffer_text(&value));
	buffer_wipe(&value);
	return attempt->authorization == NULL ? "out of memory" : NULL;
}

static void on_address(void *context, enum status status, struct text value)
{
	struct push_attempt *attempt = context;
	attempt->is_waiting = false;
	if (attempt->push == NULL) {
		release(attempt);
		return;
	}
	if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
		attempt_end(attempt, ATTEMPT_AGAIN, "the vault does not answer");
		return;
	}
	const struct flow_terms *terms = atomic_load_explicit(&attempt->push->flow->terms, memory_order_acquire);
	if (status == STATUS_NOT_FOUND)
		value = text_of(terms->address == NULL ? "" : terms->address);
	const char *error = read_address(attempt, value);
	if (error != NULL)
		attempt_end(attempt, ATTEMPT_FAILED, error);
	else
		attempt_next_part(attempt);
}

struct push_attempt *push_attempt_start(struct push *push)
{
	struct push_attempt *attempt = calloc(1, sizeof(*attempt));
	char alias[FLOW_ALIAS_MAX];
	const struct participant *participant = registry_find(push->dp->registry, text_of(push->ctx));
	const struct flow_terms *terms = atomic_load_explicit(&push->flow->terms, memory_order_acquire);
	struct dataset *dataset = dp_find(push->dp, DP_DATASETS, text_of(push->ctx), text_of(terms->dataset));
	flow_alias(text_of(push->id), "address", alias);
	if (attempt == NULL || participant == NULL || dataset == NULL)
		goto failed;
	const struct share_limits limits = {
		.weight = (uint32_t)(participant->limits.weight > 0 ? participant->limits.weight : 1),
		.bytes_per_second = (uint64_t)participant->limits.bytes_per_second};
	attempt->share = share_new(push->home->worker, &limits);
	attempt->block = malloc(PUSH_BLOCK);
	if (attempt->share == NULL || attempt->block == NULL)
		goto failed;
	attempt->push = push;
	attempt->dataset = dataset;
	dataset_ref(dataset);
	find_part(attempt);
	attempt->is_waiting = true;
	vault_secret_get(push->dp->vault, text_of(push->ctx), text_of(alias), push->home->worker, on_address, attempt);
	return attempt;
failed:
	if (attempt != NULL) {
		share_unref(attempt->share);
		free(attempt->block);
	}
	free(attempt);
	return NULL;
}
