/* Small calls: what the answer's arrival, size and end make of them. The client is a script of reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/fetch.h"

enum { ANSWER_MAX = 8, STEPS_MAX = 4 };

/* One read of the answer's body. */
struct step {
	const char *bytes;
	enum body_state state;
};

struct client_call {
	const struct client_events *events;
	void *state;
	struct step steps[STEPS_MAX];
	size_t step, take;
	struct buffer sent;
	struct buffer headers; /* "name: value\n" of each */
	struct url url;
	bool is_open, has_ended;
};
static struct client_call the_call;
static enum status start_status;

enum status client_call_start(struct worker *worker, const struct client_request *request,
	const struct client_events *events, void *state, struct client_call **call)
{
	(void)worker;
	if (start_status != STATUS_OK)
		return start_status;
	the_call = (struct client_call){.events = events, .state = state, .url = *request->url, .is_open = true, .take = 3};
	for (size_t i = 0; i < request->header_count; i++)
		buffer_printf(&the_call.headers, "%.*s: %.*s\n", TEXT_ARGUMENTS(request->headers[i].name),
			TEXT_ARGUMENTS(request->headers[i].value));
	*call = &the_call;
	return STATUS_OK;
}

enum body_state client_call_read(struct client_call *call, uint8_t *into, size_t room, size_t *count)
{
	const struct step *step = &call->steps[call->step++];
	assert_true(call->is_open && call->step <= STEPS_MAX);
	*count = step->bytes == NULL ? 0 : strlen(step->bytes);
	assert_true(*count <= room);
	if (*count > 0)
		memcpy(into, step->bytes, *count);
	return step->state;
}

size_t client_call_write(struct client_call *call, const uint8_t *bytes, size_t length, bool ended)
{
	size_t part = length < call->take ? length : call->take;
	buffer_append(&call->sent, (struct text){(const char *)bytes, part});
	call->has_ended = ended && part == length;
	return part;
}

void client_call_close(struct client_call *call)
{
	assert_true(call->is_open);
	call->is_open = false;
}

/* What the caller has heard. */
static struct {
	unsigned times;
	enum status status;
	int http;
	int64_t length;
	char body[32];
} heard;

static void on_done(void *context, enum status status, const struct fetch_answer *answer)
{
	assert_false(the_call.is_open); /* its connection can be used again */
	assert_ptr_equal(context, &heard);
	heard.times++;
	heard.status = status;
	heard.http = answer->http;
	heard.length = answer->length;
	snprintf(heard.body, sizeof(heard.body), "%.*s", TEXT_ARGUMENTS(answer->body));
}

static struct fetch *start(const char *method, const char *body)
{
	struct fetch *fetch = NULL;
	const struct header more[] = {{TEXT("x-more"), TEXT("1")}};
	const struct fetch_order order = {.address = TEXT("http://peer:8080/keys?a=b"),
		.method = text_of(method),
		.accept = TEXT("application/json"),
		.content_type = body == NULL ? TEXT_NONE : TEXT("text/plain"),
		.headers = more,
		.header_count = 1,
		.body = text_of(body),
		.answer_max = ANSWER_MAX};
	heard.times = 0;
	start_status = STATUS_OK;
	assert_int_equal(fetch_start(NULL, &order, on_done, &heard, &fetch), STATUS_OK);
	return fetch;
}

static void end(void)
{
	assert_false(the_call.is_open);
	buffer_free(&the_call.sent);
	buffer_free(&the_call.headers);
}

static void test_answers(void **state)
{
	static const struct {
		const char *method;
		int64_t length; /* what the head says */
		struct step steps[STEPS_MAX];
		const char *body;
		int http;
		enum status status;
	} cases[] = {
		{"GET", 8, {{"12345678", BODY_END}}, "12345678", 200, STATUS_OK},
		{"GET", -1, {{"1234", BODY_MORE}, {"5678", BODY_MORE}, {NULL, BODY_END}}, "12345678", 200, STATUS_OK},
		{"GET", -1, {{"12", BODY_MORE}, {NULL, BODY_LATER}, {"34", BODY_END}}, "1234", 200, STATUS_OK},
		{"GET", 2, {{"no", BODY_END}}, "no", 404, STATUS_OK},
		{"GET", 0, {{NULL, BODY_END}}, "", 204, STATUS_OK},
		{"GET", -1, {{"1234", BODY_MORE}, {"56789", BODY_MORE}}, "123456789", 200, STATUS_TOO_LARGE},
		{"GET", -1, {{"123456789", BODY_END}}, "123456789", 200, STATUS_TOO_LARGE},
		{"GET", 9, {{NULL, BODY_FAILED}}, "", 200, STATUS_TOO_LARGE}, /* nothing of it is read */
		{"GET", 4, {{"12", BODY_MORE}, {NULL, BODY_FAILED}}, "12", 200, STATUS_UNAVAILABLE},
		{"HEAD", 1000, {{NULL, BODY_END}}, "", 200, STATUS_OK},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct client_response response = {.status = cases[i].http, .length = cases[i].length};
		(void)start(cases[i].method, NULL);
		memcpy(the_call.steps, cases[i].steps, sizeof(the_call.steps));
		the_call.events->on_head(the_call.state, &the_call, &response);
		if (heard.times == 0)
			the_call.events->on_readable(the_call.state, &the_call);
		if (heard.times != 1 || heard.status != cases[i].status || strcmp(heard.body, cases[i].body) != 0)
			fail_msg("case %zu: %u times, %s, '%s'", i, heard.times, status_text(heard.status), heard.body);
		assert_int_equal(heard.http, cases[i].http);
		assert_int_equal(heard.length, cases[i].length);
		end();
	}
}

static void test_no_answer(void **state)
{
	static const struct {
		enum status why, told;
	} cases[] = {{STATUS_TIMEOUT, STATUS_TIMEOUT}, {STATUS_FORBIDDEN, STATUS_FORBIDDEN},
		{STATUS_UNAVAILABLE, STATUS_UNAVAILABLE}, {STATUS_PROTOCOL, STATUS_UNAVAILABLE},
		{STATUS_REFUSED, STATUS_UNAVAILABLE}};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		(void)start("GET", NULL);
		the_call.events->on_failed(the_call.state, &the_call, cases[i].why);
		assert_int_equal(heard.times, 1);
		assert_int_equal(heard.status, cases[i].told);
		assert_int_equal(heard.http, 0);
		assert_int_equal(heard.length, -1);
		end();
	}
}

static void test_what_goes_out(void **state)
{
	(void)state;
	struct fetch *fetch = start("POST", "7 bytes");
	for (unsigned i = 0; i < 3; i++) {
		assert_false(the_call.has_ended);
		the_call.events->on_writable(the_call.state, &the_call);
	}
	assert_true(the_call.has_ended);
	assert_true(text_equals(buffer_text(&the_call.sent), TEXT("7 bytes")));
	assert_true(text_equals(
		buffer_text(&the_call.headers), TEXT("accept: application/json\ncontent-type: text/plain\nx-more: 1\n")));
	assert_int_equal(the_call.url.port, 8080);
	fetch_cancel(fetch);
	assert_int_equal(heard.times, 0);
	end();
	fetch_cancel(NULL);
}

static void test_what_does_not_begin(void **state)
{
	struct fetch *fetch = NULL;
	struct fetch_order order = {.address = TEXT("ftp://peer/"), .method = TEXT("GET")};
	(void)state;
	heard.times = 0;
	assert_int_equal(fetch_start(NULL, &order, on_done, &heard, &fetch), STATUS_INVALID);
	order.address = TEXT("http://169.254.169.254/");
	start_status = STATUS_FORBIDDEN;
	assert_int_equal(fetch_start(NULL, &order, on_done, &heard, &fetch), STATUS_FORBIDDEN);
	assert_null(fetch);
	assert_int_equal(heard.times, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_answers), cmocka_unit_test(test_no_answer),
		cmocka_unit_test(test_what_goes_out), cmocka_unit_test(test_what_does_not_begin)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
