/* Ingest, the consumer's side of a push: POST or PUT /api/ingest/{ctx}/{flow}[/path] with a token of the flow takes an
 * object, or a segment of it (Content-Range), into the flow's sink; HEAD tells how much is there (Upload-Offset). The
 * protocol is that of push.h. Only for push flows of consumers, while they are PREPARED or STARTED. */
#include <stdlib.h>
#include <string.h>

#include "server/answer.h"
#include "server/path.h"
#include "server/range.h"
#include "tenants/dp/sink/sink.h"

/* AHEAD: what is taken from the peer before the sink has it; beyond, its window stays shut. */
enum { NAME_LIMIT = 1024, SEGMENTS_MAX = 16, AHEAD = 512 * 1024 };

/* What came in one turn goes on in one piece: a task cannot be taken back, so it has memory of its own. */
struct gather {
	struct task task;      /* first */
	struct ingest *ingest; /* NULL: over */
	bool is_queued;
};

struct ingest {
	struct pull *pull;
	struct gather *gather;
	struct intake intake;
	struct buffer pending; /* at most AHEAD and the peer's window */
	size_t held, owed;     /* bytes the sink does not have yet; of these, not given back to the peer's window */
	int64_t came;          /* offset behind the last byte that came */
	bool is_writing, is_ended, is_finishing;
};

/* --- answers */

static void add_offset(struct exchange *exchange, int64_t offset)
{
	struct buffer text = {0};
	buffer_append_number(&text, offset);
	exchange_add_header_copy(exchange, TEXT("upload-offset"), buffer_text(&text));
	buffer_free(&text);
}

static void refuse(struct ingest *ingest, enum status status)
{
	static const struct {
		enum status status;
		int http;
		const char *detail;
	} answers[] = {{STATUS_CONFLICT, 409, "the bytes do not go on where this object ends"},
		{STATUS_TOO_LARGE, 413, "the object is larger than its limit"}, {STATUS_REFUSED, 507, "there is no room"},
		{STATUS_NOT_FOUND, 400, "the path cannot be the name of an object"},
		{STATUS_INVALID, 400, "the body does not have the length that was said"},
		{STATUS_PROTOCOL, 400, "this sink takes segments of whole multiples of 8 MiB"},
		{STATUS_NO_MEMORY, 503, "out of memory"}, {STATUS_TIMEOUT, 504, "the sink did not answer in time"},
		{STATUS_FORBIDDEN, 502, "the sink is not to be reached"},
		{STATUS_UNAVAILABLE, 503, "the sink does not answer"}};
	int http = 500;
	const char *detail = "the sink failed";
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		if (answers[i].status == status) {
			http = answers[i].http;
			detail = answers[i].detail;
		}
	}
	if (!exchange_responded(ingest->pull->exchange))
		pull_refuse(ingest->pull, http, text_of(detail));
}

/* --- bytes */

static void go_on(struct ingest *ingest)
{
	if (ingest->is_writing || ingest->is_finishing)
		return;
	if (ingest->pending.length > 0) {
		ingest->is_writing = true;
		ingest->intake.driver->write(&ingest->intake, &ingest->pending);
	} else if (ingest->is_ended) {
		const struct intake *intake = &ingest->intake;
		if (intake->end >= 0 && ingest->came != intake->end) {
			refuse(ingest, STATUS_INVALID);
			return;
		}
		ingest->is_finishing = true;
		intake->driver->finish(&ingest->intake, !intake->is_segment || ingest->came == intake->total);
	}
}

static void give_back(struct ingest *ingest)
{
	size_t owed = ingest->owed;
	if (ingest->held >= AHEAD || owed == 0)
		return;
	ingest->owed = 0;
	exchange_consume(ingest->pull->exchange, owed);
}

static void on_gathered(struct task *task)
{
	struct gather *gather = (struct gather *)task;
	gather->is_queued = false;
	if (gather->ingest == NULL)
		free(gather);
	else if (!exchange_responded(gather->ingest->pull->exchange))
		go_on(gather->ingest);
}

static void go_on_later(struct ingest *ingest)
{
	if (ingest->gather->is_queued)
		return;
	ingest->gather->is_queued = true;
	worker_later(ingest->pull->home->worker, &ingest->gather->task);
}

static void on_body(struct exchange *exchange, const uint8_t *bytes, size_t length, bool ended)
{
	const struct pull *pull = exchange->state;
	struct ingest *ingest = pull->source_state;
	if (exchange_responded(exchange)) {
		exchange_consume(exchange, length);
		return;
	}
	ingest->is_ended = ended;
	ingest->came += (int64_t)length;
	buffer_append(&ingest->pending, (struct text){(const char *)bytes, length});
	ingest->held += length;
	ingest->owed += length;
	give_back(ingest);
	if (ingest->pending.failed)
		exchange_abort(exchange, STATUS_NO_MEMORY);
	else if (ingest->intake.end >= 0 && ingest->came > ingest->intake.end)
		refuse(ingest, STATUS_INVALID);
	else
		go_on_later(ingest);
}

static void on_opened(struct intake *intake, enum status status, int64_t offset)
{
	struct ingest *ingest = intake->pull->source_state;
	struct exchange *exchange = intake->pull->exchange;
	if (status == STATUS_CONFLICT || (status == STATUS_OK && intake->is_question && offset >= 0))
		add_offset(exchange, offset);
	if (status != STATUS_OK)
		refuse(ingest, status);
	else if (intake->is_question)
		answer_empty(exchange, 204);
	else
		exchange_receive(exchange, on_body);
}

static void on_written(struct intake *intake, enum status status, size_t length)
{
	struct ingest *ingest = intake->pull->source_state;
	ingest->is_writing = false;
	if (status != STATUS_OK) {
		refuse(ingest, status);
		return;
	}
	pull_count(intake->pull, length);
	ingest->held -= length;
	give_back(ingest);
	go_on(ingest);
}

static void on_finished(struct intake *intake, enum status status)
{
	struct ingest *ingest = intake->pull->source_state;
	if (status != STATUS_OK) {
		refuse(ingest, status);
		return;
	}
	add_offset(intake->pull->exchange, ingest->came);
	answer_empty(intake->pull->exchange, 204);
}

static const struct intake_events events = {on_opened, on_written, on_finished};

/* --- the request */

static bool read_range(struct text value, struct intake *intake)
{
	struct byte_range range;
	uint64_t total;
	if (!content_range_parse(value, &range, &total))
		return false;
	intake->first = (int64_t)range.first;
	intake->end = (int64_t)(range.first + range.length);
	intake->total = (int64_t)total;
	intake->is_segment = true;
	return true;
}

static bool read_head(struct exchange *exchange, struct intake *intake)
{
	struct text range = exchange_header(exchange, TEXT("content-range"));
	intake->end = intake->total = -1;
	intake->content_type = exchange_header(exchange, TEXT("content-type"));
	intake->is_question = text_equals(exchange->method, TEXT("HEAD"));
	if (intake->is_question)
		return true;
	if (range.bytes != NULL)
		return exchange_header_count(exchange, TEXT("content-range")) == 1 && read_range(range, intake) &&
			   (exchange->request_length < 0 || exchange->request_length == intake->end - intake->first);
	intake->end = intake->total = exchange->request_length;
	return true;
}

/* "/a/b" decoded; absent when it cannot be a name. */
static struct text name_of(struct exchange *exchange, struct text path)
{
	struct text segment, decoded;
	size_t length = 0;
	unsigned count = 0;
	char *name = path.length > NAME_LIMIT ? NULL : exchange_allocate(exchange, path.length + 1);
	if (name == NULL)
		return TEXT_NONE;
	while (path_next(&path, &segment)) {
		if (length > 0)
			name[length++] = '/';
		if (++count > SEGMENTS_MAX ||
			percent_decode(segment, name + length, segment.length + 1, &decoded) != STATUS_OK || decoded.length == 0 ||
			decoded.bytes[0] == '.')
			return TEXT_NONE;
		for (size_t i = 0; i < decoded.length; i++) {
			if ((unsigned char)decoded.bytes[i] < 0x20 || decoded.bytes[i] == 0x7f || decoded.bytes[i] == '/')
				return TEXT_NONE;
		}
		length += decoded.length;
	}
	return length == 0 ? TEXT("data") : (struct text){name, length};
}

static void start(struct pull *pull)
{
	struct exchange *exchange = pull->exchange;
	struct ingest *ingest = exchange_allocate(exchange, sizeof(*ingest));
	if (ingest == NULL) {
		pull_refuse(pull, 503, TEXT_NONE);
		return;
	}
	*ingest = (struct ingest){.pull = pull, .intake = {.pull = pull, .events = &events}};
	ingest->intake.name = name_of(exchange, pull->below);
	if (ingest->intake.name.bytes == NULL) {
		refuse(ingest, STATUS_NOT_FOUND);
		return;
	}
	if (!read_head(exchange, &ingest->intake)) {
		pull_refuse(pull, 400, TEXT("content-range: must be like \"bytes 0-9/100\", once, and as long as the body"));
		return;
	}
	ingest->gather = calloc(1, sizeof(*ingest->gather));
	if (ingest->gather == NULL) {
		refuse(ingest, STATUS_NO_MEMORY);
		return;
	}
	*ingest->gather = (struct gather){.task.run = on_gathered, .ingest = ingest};
	ingest->came = ingest->intake.first;
	intake_choose(&ingest->intake);
	pull->source_state = ingest;
	ingest->intake.driver->open(&ingest->intake);
	if (ingest->intake.driver_state == NULL)
		refuse(ingest, STATUS_NO_MEMORY);
}

static void close(struct pull *pull)
{
	struct ingest *ingest = pull->source_state;
	if (ingest == NULL)
		return;
	ingest->intake.driver->close(&ingest->intake);
	buffer_free(&ingest->pending);
	ingest->gather->ingest = NULL;
	if (!ingest->gather->is_queued)
		free(ingest->gather);
}

/* An ingest is a pull the other way round: admitted to its flow, counted and cut alike. */
static const struct source_driver ingest_driver = {.type = "ingest", .start = start, .close = close};
static const struct dataset_part ingest_part = {.driver = &ingest_driver};

/* --- admission */

static struct flow *find_flow(const struct dp *dp, const struct participant *participant, struct text id,
	const struct verdict *verdict, int64_t now_ms)
{
	struct text ctx = text_of(participant->ctx);
	struct flow *flow = text_equals(id, verdict->flow) ? dp_find(dp, DP_FLOWS, ctx, id) : NULL;
	if (flow == NULL || dp_find(dp, DP_REVOCATIONS, ctx, verdict->jti) != NULL)
		return NULL;
	const struct flow_terms *terms = atomic_load_explicit(&flow->terms, memory_order_acquire);
	bool is_its_own =
		text_equals(verdict->audience, text_of(terms->counter_party)) && verdict->issued_s >= terms->created_ms / 1000;
	bool is_open = (terms->state == FLOW_PREPARED || terms->state == FLOW_STARTED) && now_ms >= terms->not_before_ms &&
				   (terms->expires_ms == 0 || now_ms < terms->expires_ms);
	return is_its_own && is_open && terms->role == FLOW_CONSUMER && flow_terms_is_push(terms) ? flow : NULL;
}

void dp_ingest(void *context, struct exchange *exchange, const struct route *route)
{
	static const char *const methods[] = {"HEAD", "POST", "PUT"};
	struct dp *dp = context;
	struct dp_worker *home = dp_here(dp, exchange->worker);
	struct text rest = route->rest, id;
	const struct verdict *verdict = NULL;
	struct flow *flow = NULL;
	exchange->on_close = NULL;
	exchange->state = NULL;
	if (route->participant == NULL || !path_next(&rest, &id)) {
		answer_problem(exchange, 404, TEXT_NONE);
		return;
	}
	enum status status = pull_check_token(home, route->participant, exchange, &verdict);
	if (status == STATUS_OK)
		flow = find_flow(dp, route->participant, id, verdict, worker_wall_ms(home->worker));
	if (flow == NULL) { /* as with pulls: nothing is told about flows */
		bool is_known = status == STATUS_OK || status == STATUS_FORBIDDEN;
		if (!is_known)
			exchange_add_header(exchange, TEXT("www-authenticate"), TEXT("Bearer"));
		answer_problem(exchange,
			status == STATUS_NO_MEMORY ? 503
			: is_known                 ? 403
									   : 401,
			is_known ? TEXT("this token does not open this") : TEXT("a valid access token is required"));
		return;
	}
	if (text_find_word(exchange->method, methods, sizeof(methods) / sizeof(methods[0])) < 0) {
		exchange_add_header(exchange, TEXT("allow"), TEXT("HEAD, POST, PUT"));
		answer_problem(exchange, 405, TEXT_NONE);
		return;
	}
	/* later segments belong to the use that the first began */
	struct text range = exchange_header(exchange, TEXT("content-range"));
	struct pull *pull =
		pull_admit(home, exchange, flow, range.bytes != NULL && !text_starts_with(range, TEXT("bytes 0-")));
	if (pull == NULL)
		return;
	pull->below = rest;
	pull->part = &ingest_part;
	ingest_driver.start(pull);
}
