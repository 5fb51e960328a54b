/* The digests of one answer. */
#include "tenants/dp/source/file_digests.h"

#include <string.h>

#include "tenants/dp/source/digest_field.h"

/* Several lines are one list; of an algorithm that is in two of them the later counts. */
static bool read_wish(const struct exchange *exchange, struct text name, enum hash_kind *kind)
{
	bool is_wanted = false;
	for (unsigned i = 0; i < exchange->header_count; i++) {
		if (text_equals(exchange->headers[i].name, name))
			is_wanted = digest_is_wanted(exchange->headers[i].value, kind) || is_wanted;
	}
	return is_wanted;
}

void file_digests_read(struct file_digests *digests, struct pull *pull)
{
	digests->pull = pull;
	digests->wants_repr = read_wish(pull->exchange, TEXT("want-repr-digest"), &digests->repr);
	digests->wants_content =
		pull->method == METHOD_GET && read_wish(pull->exchange, TEXT("want-content-digest"), &digests->content);
}

static void go_on(struct file_digests *digests)
{
	digest_waiter_leave(&digests->waiter);
	timer_free(digests->timer);
	digests->timer = NULL;
	digests->ready(digests->pull);
}

static void on_ready(struct digest_waiter *waiter, const uint8_t *digest)
{
	struct file_digests *digests = (struct file_digests *)waiter;
	digests->is_known = digest != NULL;
	if (digest != NULL)
		memcpy(digests->digest, digest, hash_bytes(digests->repr));
	go_on(digests);
}

static void on_late(void *context)
{
	go_on(context);
}

bool file_digests_wait(
	struct file_digests *digests, struct text path, const struct open_file *file, void (*ready)(struct pull *pull))
{
	if (!digests->wants_repr || digests->has_waited)
		return false;
	const struct dp_worker *home = digests->pull->home;
	digests->has_waited = true;
	const struct digest_key key = {
		.ctx = text_of(digests->pull->flow->ctx), .path = path, .file = file, .kind = digests->repr};
	digests->is_known = digest_lane_find(home->digests, &key, digests->digest);
	if (digests->is_known)
		return false;
	int64_t wait_ms = home->dp->settings.digest_wait_ms;
	digests->ready = ready;
	digests->waiter.ready = on_ready;
	digests->timer = timer_new(home->worker, on_late, digests);
	if (digests->timer == NULL || digest_lane_wait(home->digests, &key, &digests->waiter) != STATUS_OK) {
		timer_free(digests->timer);
		digests->timer = NULL;
		return false;
	}
	timer_set(digests->timer, wait_ms > 0 ? (uint64_t)wait_ms : 1);
	return true;
}

static struct text print(struct exchange *exchange, enum hash_kind kind, const uint8_t *digest)
{
	struct buffer field = {0};
	digest_print(kind, digest, &field);
	struct text copy = field.failed ? TEXT_NONE : exchange_copy(exchange, buffer_text(&field));
	buffer_free(&field);
	return copy;
}

static struct text end_running(struct file_digests *digests)
{
	uint8_t digest[HASH_BYTES_MAX];
	return running_digest_end(digests->running, digest) == STATUS_OK
			   ? print(digests->pull->exchange, digests->content, digest)
			   : TEXT_NONE;
}

static bool begin_content(struct file_digests *digests, int64_t length)
{
	struct exchange *exchange = digests->pull->exchange;
	if (running_digest_new(digests->content, &digests->running) != STATUS_OK)
		return false;
	if (length == 0) {
		struct text field = end_running(digests);
		return field.bytes != NULL && exchange_add_header(exchange, TEXT("content-digest"), field);
	}
	exchange->file_descriptor = -1; /* the bytes must be seen */
	exchange->has_trailers = true;
	return exchange_add_header(exchange, TEXT("trailer"), TEXT("content-digest"));
}

bool file_digests_begin(struct file_digests *digests, int64_t length)
{
	if (digests->wants_content && !begin_content(digests, length))
		return false;
	if (!digests->is_known)
		return true;
	struct text field = print(digests->pull->exchange, digests->repr, digests->digest);
	return field.bytes != NULL && exchange_add_header(digests->pull->exchange, TEXT("repr-digest"), field);
}

bool file_digests_pass(struct file_digests *digests, const uint8_t *bytes, size_t count, bool ended)
{
	if (digests->running == NULL)
		return true;
	if (running_digest_add(digests->running, bytes, count) != STATUS_OK)
		return false;
	if (!ended)
		return true;
	struct text field = end_running(digests);
	return field.bytes != NULL && exchange_add_trailer(digests->pull->exchange, TEXT("content-digest"), field);
}

void file_digests_close(struct file_digests *digests)
{
	digest_waiter_leave(&digests->waiter);
	timer_free(digests->timer);
	running_digest_free(digests->running);
}
