/* The signaling API: routes, callers, bodies. */
#include "tenants/dp/signaling/signaling.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/secret.h"
#include "server/path.h"

enum { BODY_MAX = 256 * 1024, NAME_ROOM = 128 };

static const struct signaling_route routes[] = {
	{"POST", "dataflows", 2, true, {{"dataflow", 8}, ACCESS_WRITE}, signal_create},
	{"POST", "dataflows", 3, true, {{"dataflow", 8}, ACCESS_WRITE}, signal_move},
	{"GET", "dataflows", 3, false, {{"dataflow", 8}, ACCESS_READ}, signal_status},
	{"PUT", "controlplanes", 1, true, {{"controlplane", 12}, ACCESS_WRITE}, signal_register},
	{"DELETE", "controlplanes", 2, false, {{"controlplane", 12}, ACCESS_WRITE}, signal_unregister},
};

/* --- life */

static void signal_free(struct signal *signal)
{
	jwks_leave(&signal->waiter);
	agreement_fetch_leave(&signal->agreement_waiter);
	signaling_message_free(&signal->message);
	data_address_free(signal->address);
	transaction_free(signal->transaction);
	buffer_wipe(&signal->offer);
	control_plane_unref(signal->plane);
	buffer_free(&signal->record);
	free(signal->id);
	free(signal->control_plane);
	free(signal->public_url);
	free(signal);
}

static void on_close(struct exchange *exchange, enum status outcome)
{
	struct signal *signal = exchange->state;
	(void)outcome;
	signal->exchange = NULL;
	if (!signal->is_pending)
		signal_free(signal);
}

bool signal_resumes(struct signal *signal)
{
	signal->is_pending = false;
	if (signal->exchange != NULL)
		return true;
	signal_free(signal);
	return false;
}

void signal_refuse(struct signal *signal, int status, const char *detail)
{
	if (status == 401)
		exchange_add_header(signal->exchange, TEXT("www-authenticate"), TEXT("Bearer"));
	answer_problem(signal->exchange, status, detail == NULL ? TEXT_NONE : text_of(detail));
}

void signal_refuse_status(struct signal *signal, enum status status)
{
	signal_refuse(signal, status_to_http(status), NULL);
}

const struct participant *signal_participant(struct signal *signal)
{
	const struct participant *participant = registry_find(signal->home->dp->registry, text_of(signal->ctx));
	if (participant == NULL)
		signal_refuse(signal, 404, NULL);
	return participant;
}

/* --- callers */

static void refuse_caller(struct signal *signal, enum caller_verdict verdict)
{
	switch (verdict) {
	case CALLER_UNKNOWN:
		signal_refuse(signal, 401, "a valid token is required");
		break;
	case CALLER_FORBIDDEN: /* the same whatever there is behind it */
		signal_refuse(signal, 403, "this token does not reach this participant's signaling");
		break;
	case CALLER_GOOD:
	case CALLER_WAITS:
	case CALLER_UNAVAILABLE:
		exchange_add_header(signal->exchange, TEXT("retry-after"), TEXT("2"));
		signal_refuse(signal, 503, "the keys of the caller cannot be had now");
		break;
	}
}

/* Whose callbacks the flows of this caller are. */
static bool set_control_plane(struct signal *signal, struct text caller)
{
	const struct control_planes *planes = dp_find(signal->home->dp, DP_CONTROL_PLANES, text_of(signal->ctx), TEXT(""));
	signal->is_control_plane = caller.length > 0;
	if (caller.length == 0 && planes != NULL && planes->count == 1)
		caller = text_of(planes->items[0]->id);
	if (caller.length == 0)
		return true;
	signal->control_plane = text_copy(caller);
	return signal->control_plane != NULL;
}

static void run(struct signal *signal, struct text caller)
{
	if (!set_control_plane(signal, caller))
		signal_refuse(signal, 503, NULL);
	else
		signal->route->run(signal, signal->body);
}

static enum caller_verdict check(struct signal *signal, const struct participant *participant, struct caller *caller)
{
	return caller_check(signal->home, participant, signal->exchange, &signal->route->need, caller);
}

static void fetch_keys(struct signal *signal, const struct participant *participant, struct text uri)
{
	struct address_rules rules = participant_address_rules(participant);
	jwks_fetch(signal->home->jwks, text_of(signal->ctx), uri, &rules, &signal->waiter);
}

/* The second look: after it no further fetch. */
static void on_keys(struct jwks_waiter *waiter, enum status status)
{
	struct signal *signal = (struct signal *)(void *)((char *)waiter - offsetof(struct signal, waiter));
	const struct participant *participant = signal_participant(signal);
	if (participant == NULL)
		return;
	if (status != STATUS_OK) {
		refuse_caller(signal, CALLER_UNAVAILABLE);
		return;
	}
	enum caller_verdict verdict = check(signal, participant, &signal->caller);
	if (verdict == CALLER_GOOD)
		run(signal, signal->caller.control_plane);
	else
		refuse_caller(signal, verdict);
}

/* With the body there: a caller whose keys must be fetched waits here, so that the body is not lost meanwhile. Who was
 * found good before it came is not checked again: a token that is good once would be taken for its own replay. */
static void on_body(struct exchange *exchange, struct text body)
{
	struct signal *signal = exchange->state;
	const struct participant *participant = signal_participant(signal);
	if (participant == NULL)
		return;
	signal->body = body;
	if (signal->caller.jwks_uri.bytes != NULL)
		fetch_keys(signal, participant, signal->caller.jwks_uri);
	else
		run(signal, signal->caller.control_plane);
}

/* --- routes */

/* NULL: answered. */
static const struct signaling_route *find_route(struct signal *signal, const struct text *parts, unsigned count)
{
	struct text verb = count == 3 ? parts[2] : parts[1], allow = TEXT_NONE;
	bool is_status = count == 3 && text_equals(verb, TEXT("status"));
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		const struct signaling_route *one = &routes[i];
		bool has_verb = one->run == signal_create || one->run == signal_move;
		if (one->segments != count || !text_equals(parts[0], text_of(one->resource)) ||
			(one->run == signal_status && !is_status) ||
			(has_verb && !signaling_verb_parse(verb, count == 3, &signal->verb)))
			continue;
		if (text_equals(signal->exchange->method, text_of(one->method)))
			return one;
		allow = text_of(one->method);
	}
	if (allow.length > 0)
		exchange_add_header(signal->exchange, TEXT("allow"), allow);
	answer_problem(signal->exchange, allow.length > 0 ? 405 : 404, TEXT_NONE);
	return NULL;
}

/* "/dataflows/prepare", "/dataflows/{id}/started", "/controlplanes/{id}": false: answered. */
static bool route(struct signal *signal, struct text rest)
{
	struct text parts[3] = {{NULL, 0}}, segment;
	unsigned count = 0;
	for (; path_next(&rest, &segment); count++) {
		if (count == 3 || !name_is_valid(segment, NAME_ROOM)) {
			answer_problem(signal->exchange, 404, TEXT_NONE);
			return false;
		}
		parts[count] = segment;
	}
	signal->route = find_route(signal, parts, count);
	if (signal->route == NULL)
		return false;
	if (count < 2 || signal->route->run == signal_create)
		return true;
	signal->id = text_copy(parts[1]);
	if (signal->id == NULL)
		answer_problem(signal->exchange, 503, TEXT_NONE);
	return signal->id != NULL;
}

/* Where the caller reached us, unless the setting knows better. */
static bool set_public_url(struct signal *signal)
{
	const struct exchange *exchange = signal->exchange;
	const char *setting = signal->home->dp->settings.public_url;
	struct buffer url = {0};
	if (setting != NULL)
		buffer_append(&url, text_of(setting));
	else
		buffer_printf(&url, "%.*s://%.*s", TEXT_ARGUMENTS(exchange->scheme), TEXT_ARGUMENTS(exchange->authority));
	while (url.length > 0 && url.bytes[url.length - 1] == '/')
		url.bytes[--url.length] = 0;
	signal->public_url = url.failed ? NULL : buffer_take(&url);
	buffer_free(&url);
	return signal->public_url != NULL;
}

void dp_signaling(void *context, struct exchange *exchange, const struct route *where)
{
	struct dp *dp = context;
	struct signal *signal = calloc(1, sizeof(*signal));
	if (signal == NULL) {
		answer_problem(exchange, 503, TEXT_NONE);
		return;
	}
	signal->home = dp_here(dp, exchange->worker);
	signal->exchange = exchange;
	signal->waiter.ready = on_keys;
	memcpy(signal->ctx, where->participant->ctx, sizeof(signal->ctx));
	exchange->state = signal;
	exchange->on_close = on_close;
	if (!route(signal, where->rest))
		return;
	if (!set_public_url(signal)) {
		signal_refuse(signal, 503, NULL);
		return;
	}
	/* who is refused anyway is refused before the body is read */
	enum caller_verdict verdict = check(signal, where->participant, &signal->caller);
	if (verdict != CALLER_GOOD && verdict != CALLER_WAITS)
		refuse_caller(signal, verdict);
	else if (signal->route->has_body)
		collect_body(exchange, BODY_MAX, on_body);
	else if (verdict == CALLER_WAITS)
		fetch_keys(signal, where->participant, signal->caller.jwks_uri);
	else
		run(signal, signal->caller.control_plane);
}
