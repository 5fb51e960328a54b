/* Management of participant contexts, on a real store, vault and registry; this thread plays the worker. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "no_provider_keys.h"
#include "server/answer.h"
#include "server/base/log.h"
#include "server/worker_pool.h"
#include "tenants/cp/management.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define C "cccccccccccccccccccccccccccccccc"

/* --- the worker */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t posted = PTHREAD_COND_INITIALIZER;
static struct task *tasks, **tasks_end = &tasks;
static struct worker *const worker = (struct worker *)(uintptr_t)&lock;
static struct worker_pool *const pool = (struct worker_pool *)(uintptr_t)&lock;

void worker_post(struct worker *to, struct task *task)
{
	(void)to;
	pthread_mutex_lock(&lock);
	task->next = NULL;
	*tasks_end = task;
	tasks_end = &task->next;
	pthread_cond_signal(&posted);
	pthread_mutex_unlock(&lock);
}

void worker_pool_barrier(struct worker_pool *of, void (*done)(void *context), void *context)
{
	(void)of;
	done(context);
}

void worker_pool_retire(struct worker_pool *of, void (*release)(void *object), void *object)
{
	(void)of;
	release(object);
}

/* Runs one task, waiting for it. */
static void turn(void)
{
	pthread_mutex_lock(&lock);
	while (tasks == NULL)
		pthread_cond_wait(&posted, &lock);
	struct task *task = tasks;
	tasks = task->next;
	if (tasks == NULL)
		tasks_end = &tasks;
	pthread_mutex_unlock(&lock);
	task->run(task);
}

/* --- the engine's side of the one exchange */

static struct {
	struct exchange exchange;
	struct header headers[2];
	const char *query;
	void (*collected)(struct exchange *exchange, struct text body);
	int status;
	char body[16384], allow[64];
} shot;

struct text exchange_header(const struct exchange *exchange, struct text name)
{
	(void)exchange;
	return text_equals(name, TEXT("authorization")) ? shot.headers[0].value : TEXT_NONE;
}

unsigned exchange_header_count(const struct exchange *exchange, struct text name)
{
	return exchange_header(exchange, name).bytes == NULL ? 0 : 1;
}

struct text exchange_query(const struct exchange *exchange)
{
	(void)exchange;
	return shot.query == NULL ? TEXT_NONE : text_of(shot.query);
}

struct text exchange_copy(struct exchange *exchange, struct text text)
{
	(void)exchange;
	snprintf(shot.allow, sizeof(shot.allow), "%.*s", TEXT_ARGUMENTS(text));
	return text_of(shot.allow);
}

bool exchange_add_header(struct exchange *exchange, struct text name, struct text value)
{
	(void)exchange, (void)name, (void)value;
	return true;
}

void answer(struct exchange *exchange, int status, struct text content_type, struct text body)
{
	(void)exchange, (void)content_type;
	assert_int_equal(shot.status, 0);
	shot.status = status;
	snprintf(shot.body, sizeof(shot.body), "%.*s", TEXT_ARGUMENTS(body));
}

void answer_json(struct exchange *exchange, int status, struct text json)
{
	assert_int_equal(json_check(json, NULL, NULL), STATUS_OK);
	answer(exchange, status, TEXT("application/json"), json);
}

void answer_empty(struct exchange *exchange, int status)
{
	answer(exchange, status, TEXT_NONE, TEXT(""));
}

void answer_problem(struct exchange *exchange, int status, struct text detail)
{
	answer(exchange, status, TEXT("application/problem+json"), detail.bytes == NULL ? TEXT("") : detail);
}

void collect_body(struct exchange *exchange, size_t limit, void (*done)(struct exchange *exchange, struct text body))
{
	(void)exchange;
	assert_int_equal(limit, 1024 * 1024);
	shot.collected = done;
}

/* --- the cell */

static char folder[64], database[128], vault_folder[128], key_file[128], admin_token[2048];
static struct store *store;
static struct vault *vault;
static struct registry *registry;
static struct access *access_gate;
static struct management *management;

static void mint(const char *scopes, const char *subject, char *into, size_t room)
{
	struct buffer token = {0};
	assert_int_equal(access_token(access_gate, text_of(subject), text_of(scopes), 600, &token), STATUS_OK);
	snprintf(into, room, "Bearer %s", token.bytes);
	buffer_free(&token);
}

static int set_up(void **state)
{
	(void)state;
	struct buffer error = {0};
	log_threshold = LOG_ERROR + 1;
	snprintf(folder, sizeof(folder), "/tmp/management-XXXXXX");
	if (mkdtemp(folder) == NULL)
		return -1;
	snprintf(database, sizeof(database), "%s/cell.db", folder);
	snprintf(vault_folder, sizeof(vault_folder), "%s/vault", folder);
	snprintf(key_file, sizeof(key_file), "%s/cell.key", folder);
	const struct store_settings stored = {
		.file = database, .queued_transactions = 100, .poll_ms = 1000, .statement_ms = 200};
	const struct vault_settings vaulted = {.directory = vault_folder};
	const struct access_settings keyed = {.key_file = key_file};
	if (store_open(&stored, pool, &store, &error) != STATUS_OK || vault_open(&vaulted, &vault, &error) != STATUS_OK ||
		access_open(&keyed, pool, &access_gate, &error) != STATUS_OK ||
		registry_open(store, pool, NULL, &registry) != STATUS_OK ||
		management_open(store, vault, registry, access_gate, &management) != STATUS_OK ||
		store_load(store, &error) != STATUS_OK) {
		print_error("%s\n", error.bytes);
		return -1;
	}
	mint("management-api:admin", "operator", admin_token, sizeof(admin_token));
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	char command[128];
	store_close(store);
	vault_close(vault);
	management_free(management);
	registry_free(registry);
	access_close(access_gate);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command); /* NOLINT: a test's own folder */
}

/* Starts a call; it may be waiting afterwards. */
static void begin(const char *method, const char *rest, const char *body, const char *token)
{
	memset(&shot, 0, sizeof(shot));
	const char *mark = strchr(rest, '?');
	shot.query = mark == NULL ? NULL : mark + 1;
	shot.headers[0] = (struct header){TEXT("authorization"), token == NULL ? TEXT_NONE : text_of(token)};
	shot.exchange = (struct exchange){.worker = worker, .method = text_of(method)};
	const struct route route = {
		.rest = text_slice(text_of(rest), 0, mark == NULL ? strlen(rest) : (size_t)(mark - rest))};
	management_handle(management, &shot.exchange, &route);
	if (shot.collected != NULL && shot.status == 0)
		shot.collected(&shot.exchange, text_of(body == NULL ? "" : body));
}

static int call_as(const char *method, const char *rest, const char *body, const char *token)
{
	begin(method, rest, body, token);
	while (shot.status == 0)
		turn();
	if (shot.exchange.on_close != NULL)
		shot.exchange.on_close(&shot.exchange, STATUS_OK);
	return shot.status;
}

static int call(const char *method, const char *rest, const char *body)
{
	return call_as(method, rest, body, admin_token);
}

#define PARTICIPANT(id, more)                                                                                          \
	"{\"@context\":[\"https://w3id.org/edc/connector/management/v2\"],\"@type\":\"ParticipantContext\",\"@id\":\"" id  \
	"\",\"identity\":\"did:web:example.com\",\"properties\":{}" more "}"

/* In their order; body NULL: none. `part` is in the answer. */
static const struct {
	const char *method, *rest, *body;
	int status;
	const char *part;
} life[] = {
	{"GET", "/" A, NULL, 404, "[{\"message\":\"there is no such participant context\",\"type\":\"ObjectNotFound\""},
	{"GET", "/" A "/config", NULL, 404, "ObjectNotFound"},
	{"PUT", "/" A, "{}", 404, "ObjectNotFound"},
	{"DELETE", "/" A, NULL, 404, "ObjectNotFound"},
	/* cfm.md 4.4 B1: exactly 200, an IdResponse */
	{"POST", "", PARTICIPANT(A, ",\"state\":\"ACTIVATED\""), 200,
		"\"@type\":\"IdResponse\",\"@id\":\"" A "\",\"createdAt\":"},
	/* an agent that did not hear the answer says it again; what differs is a conflict */
	{"POST", "", PARTICIPANT(A, ",\"state\":\"ACTIVATED\""), 200,
		"\"@type\":\"IdResponse\",\"@id\":\"" A "\",\"createdAt\":"},
	{"POST", "", PARTICIPANT(A, ",\"state\":\"DEACTIVATED\""), 409, "ObjectConflict"},
	{"POST", "", "{\"@id\":\"" A "\",\"identity\":\"did:web:other.example\",\"state\":\"ACTIVATED\"}", 409,
		"ObjectConflict"},
	{"GET", "/" A, NULL, 200, "\"identity\":\"did:web:example.com\",\"properties\":{},\"state\":\"ACTIVATED\""},
	{"GET", "/" A "/config", NULL, 200, "\"entries\":{},\"privateEntries\":{}"},
	/* B2: merge, null deletes, private values never come back */
	{"PATCH", "/" A "/config",
		"{\"@type\":\"ParticipantContextConfig\",\"entries\":{\"one\":\"1\",\"two\":\"2\"},"
		"\"privateEntries\":{\"secret\":\"value\"},\"identity\":\"" A "\"}",
		204, ""},
	{"PATCH", "/" A "/config", "{\"entries\":{\"one\":null,\"three\":\"3\"}}", 204, ""},
	{"GET", "/" A "/config", NULL, 200, "\"entries\":{\"two\":\"2\",\"three\":\"3\"},\"privateEntries\":{}"},
	{"PUT", "/" A "/config", "{\"entries\":{\"four\":\"4\"}}", 204, ""},
	{"GET", "/" A "/config", NULL, 200, "\"entries\":{\"four\":\"4\"}"},
	/* states; what a PUT does not name stays */
	{"PUT", "/" A, "{\"state\":\"DEACTIVATED\"}", 204, ""},
	{"GET", "/" A, NULL, 200, "\"identity\":\"did:web:example.com\",\"properties\":{},\"state\":\"DEACTIVATED\""},
	{"PUT", "/" A, "{\"state\":\"CREATED\",\"properties\":{\"a\":[1,{}]}}", 204, ""},
	{"PUT", "/" A, "{\"identity\":\"did:web:other\",\"@id\":\"" A "\"}", 204, ""},
	{"GET", "/" A, NULL, 200, "\"identity\":\"did:web:other\",\"properties\":{\"a\":[1,{}]},\"state\":\"CREATED\""},
	{"PUT", "/" A, "{\"@id\":\"" B "\"}", 400, "\"path\":\"@id\""},
	/* without a state: CREATED; without an id: one is made */
	{"POST", "", PARTICIPANT(B, ""), 200, B},
	{"GET", "/" B, NULL, 200, "\"state\":\"CREATED\""},
	{"POST", "", "{\"identity\":\"did:web:x\"}", 200, "\"@id\":\""},
	/* B3: exactly 200, then gone */
	{"DELETE", "/" A, NULL, 200, ""},
	{"GET", "/" A, NULL, 404, "ObjectNotFound"},
	{"DELETE", "/" A, NULL, 404, "ObjectNotFound"},
	{"POST", "", PARTICIPANT(A, ""), 200, A},
	{"GET", "/" A "/config", NULL, 200, "\"entries\":{}"},
};

static void participants_live_as_the_agents_want_it(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(life); i++) {
		int status = call(life[i].method, life[i].rest, life[i].body);
		if (status != life[i].status || strstr(shot.body, life[i].part) == NULL)
			fail_msg("%zu: %s %s: %d %s", i, life[i].method, life[i].rest, status, shot.body);
	}
}

static const struct {
	const char *method, *rest, *body, *path; /* path NULL: of the whole body */
} wrong[] = {
	{"POST", "", "", NULL},
	{"POST", "", "{", NULL},
	{"POST", "", "[]", NULL},
	{"POST", "", "{} x", NULL},
	{"POST", "", "{\"a\":1,\"a\":2}", NULL},
	{"POST", "", "{}", "identity"},
	{"POST", "", "{\"identity\":\"\"}", "identity"},
	{"POST", "", "{\"identity\":7}", "identity"},
	{"POST", "", PARTICIPANT("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", ""), "@id"},
	{"POST", "", PARTICIPANT("short", ""), "@id"},
	{"POST", "", PARTICIPANT(C, ",\"state\":\"SLEEPING\""), "state"},
	{"POST", "", PARTICIPANT(C, ",\"state\":200"), "state"},
	{"POST", "", PARTICIPANT(C, ",\"surprise\":1"), "surprise"},
	{"POST", "", "{\"identity\":\"x\",\"@type\":\"Other\"}", "@type"},
	{"POST", "", "{\"identity\":\"x\",\"properties\":[]}", "properties"},
	{"PUT", "/" A, "{\"identity\":\"\"}", "identity"},
	{"PUT", "/" A, "{\"state\":\"sleeping\"}", "state"},
	{"PATCH", "/" A "/config", "{\"entries\":[]}", "entries"},
	{"PATCH", "/" A "/config", "{\"entries\":{\"a\":1}}", "entries"},
	{"PATCH", "/" A "/config", "{\"entries\":{\"a b\":\"\"}}", "entries"},
	{"PATCH", "/" A "/config", "{\"privateEntries\":{\"../x\":\"\"}}", "privateEntries"},
	{"PATCH", "/" A "/config", "{\"identity\":\"" B "\"}", "identity"},
	{"PATCH", "/" A "/config", "{\"@type\":\"ParticipantContext\"}", "@type"},
	{"PATCH", "/" A "/config", "{\"other\":{}}", "other"},
	{"PUT", "/" A "/config", "{\"entries\":{\"celld.limits.streams\":\"0\"}}", "entries"},
	{"PUT", "/" A "/config", "{\"entries\":{\"celld.limits.streams\":\"many\"}}", "entries"},
	{"PUT", "/" A "/config", "{\"entries\":{\"celld.weight\":\"1001\"}}", "entries"},
	{"PUT", "/" A "/config", "{\"entries\":{\"celld.http.allow\":\"10.0.0.0/99\"}}", "entries"},
	{"PUT", "/" A "/config", "{\"entries\":{\"celld.hosts\":\"UPPER.example\"}}", "entries"},
	{"PUT", "/" A "/config", "{\"entries\":{\"celld.vpas\":\"cfm.dataplane,cfm.other\"}}", "entries"},
};

static void wrong_bodies_name_the_member_and_change_nothing(void **state)
{
	(void)state;
	assert_int_equal(call("POST", "", PARTICIPANT(A, ",\"state\":\"ACTIVATED\"")), 200);
	for (size_t i = 0; i < COUNT(wrong); i++) {
		char path[64];
		int status = call(wrong[i].method, wrong[i].rest, wrong[i].body);
		snprintf(path, sizeof(path), wrong[i].path == NULL ? "\"path\":null" : "\"path\":\"%s\"", wrong[i].path);
		if (status != 400 || strstr(shot.body, path) == NULL || strstr(shot.body, "\"invalidValue\":") == NULL)
			fail_msg("%zu: %s: %d %s", i, wrong[i].body, status, shot.body);
	}
	assert_int_equal(registry_count(registry), 1);
	assert_int_equal(call("GET", "/" A "/config", NULL), 200);
	assert_non_null(strstr(shot.body, "\"entries\":{},"));
}

static void only_the_admin_scope_will_do(void **state)
{
	(void)state;
	static const struct {
		const char *scopes, *subject;
		int status;
	} tokens[] = {
		{"management-api:admin", "operator", 200},
		{"management-api:*:admin", A, 200},
		{"identity-api:admin management-api:admin", "x", 200},
		{"management-api:write", A, 403}, /* not even one's own */
		{"management-api:read", A, 403},
		{"management-api:participants:admin", A, 403},
		{"identity-api:admin", A, 403},
		{"management-api:administrator", A, 403},
	};
	static const char *const calls[][3] = {{"GET", "", NULL}, {"GET", "/" A, NULL}, {"GET", "/" A "/config", NULL},
		{"PUT", "/" A, "{}"}, {"DELETE", "/" A, NULL}, {"POST", "", PARTICIPANT(B, "")},
		{"PATCH", "/" A "/config", "{}"}};
	assert_int_equal(call("POST", "", PARTICIPANT(A, "")), 200);
	for (size_t i = 0; i < COUNT(tokens); i++) {
		char token[2048];
		mint(tokens[i].scopes, tokens[i].subject, token, sizeof(token));
		for (size_t j = 0; j < (tokens[i].status == 200 ? 3 : COUNT(calls)); j++) {
			int status = call_as(calls[j][0], calls[j][1], calls[j][2], token);
			if (status != tokens[i].status ||
				(status == 403 && strcmp(shot.body, "Required scope 'management-api:admin' missing") != 0))
				fail_msg("%s: %s %s: %d %s", tokens[i].scopes, calls[j][0], calls[j][1], status, shot.body);
		}
	}
	for (size_t j = 0; j < COUNT(calls); j++) {
		assert_int_equal(call_as(calls[j][0], calls[j][1], calls[j][2], NULL), 401);
		assert_int_equal(call_as(calls[j][0], calls[j][1], calls[j][2], "Bearer x.y.z"), 401);
	}
	assert_int_equal(registry_count(registry), 1);
}

static void other_paths_and_methods_are_refused(void **state)
{
	(void)state;
	static const struct {
		const char *method, *rest;
		int status;
		const char *allow;
	} cases[] = {
		{"GET", "/" A "/other", 404, ""},
		{"GET", "/" A "/config/x", 404, ""},
		{"GET", "/not-an-id", 404, ""},
		{"GET", "/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 404, ""},
		{"DELETE", "", 405, "POST, GET"},
		{"POST", "/" A, 405, "GET, PUT, DELETE"},
		{"PATCH", "/" A, 405, "GET, PUT, DELETE"},
		{"DELETE", "/" A "/config", 405, "GET, PUT, PATCH"},
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		int status = call(cases[i].method, cases[i].rest, NULL);
		if (status != cases[i].status || strcmp(shot.allow, cases[i].allow) != 0)
			fail_msg("%s %s: %d, allow %s", cases[i].method, cases[i].rest, status, shot.allow);
	}
}

static unsigned count_of(const char *part)
{
	unsigned count = 0;
	for (const char *at = shot.body; (at = strstr(at, part)) != NULL; at++)
		count++;
	return count;
}

static void lists_come_in_pages_by_id(void **state)
{
	(void)state;
	static const struct {
		const char *rest;
		int status;
		unsigned count;
	} pages[] = {{"", 200, 50}, {"?limit=100", 200, 60}, {"?offset=50", 200, 10}, {"?offset=58&limit=5", 200, 2},
		{"?offset=60", 200, 0}, {"?limit=0", 200, 0}, {"?offset=4294967295", 200, 0}, {"?x=y&limit=3", 200, 3},
		{"?limit=-1", 400, 0}, {"?limit=x", 400, 0}, {"?offset", 400, 0}, {"?limit=100001", 400, 0}};
	for (int i = 0; i < 60; i++) {
		char body[256];
		snprintf(body, sizeof(body), "{\"@id\":\"%032x\",\"identity\":\"did:web:x\"}", (i * 37) % 60);
		assert_int_equal(call("POST", "", body), 200);
	}
	for (size_t i = 0; i < COUNT(pages); i++) {
		int status = call("GET", pages[i].rest, NULL);
		if (status != pages[i].status || count_of("\"@id\"") != pages[i].count)
			fail_msg("%s: %d, %u", pages[i].rest, status, count_of("\"@id\""));
	}
	assert_int_equal(call("GET", "?offset=9&limit=2", NULL), 200);
	assert_true(strstr(shot.body, "00000009\"") < strstr(shot.body, "0000000a\""));
}

/* --- secrets */

static struct {
	bool is_done;
	enum status status;
} vault_answer;

static void on_vault(void *context, enum status status, struct text result)
{
	(void)context, (void)result;
	vault_answer.is_done = true;
	vault_answer.status = status;
}

static enum status secret_status(const char *ctx, const char *name)
{
	vault_answer.is_done = false;
	vault_secret_get(vault, text_of(ctx), text_of(name), worker, on_vault, NULL);
	while (!vault_answer.is_done)
		turn();
	return vault_answer.status;
}

static void secrets_live_as_long_as_their_entry(void **state)
{
	(void)state;
	assert_int_equal(call("POST", "", PARTICIPANT(A, "")), 200);
	assert_int_equal(call("PATCH", "/" A "/config", "{\"privateEntries\":{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\"}}"), 204);
	assert_int_equal(secret_status(A, "config.a"), STATUS_OK);
	assert_int_equal(call("PATCH", "/" A "/config", "{\"privateEntries\":{\"a\":null}}"), 204);
	assert_int_equal(secret_status(A, "config.a"), STATUS_NOT_FOUND);
	assert_int_equal(secret_status(A, "config.b"), STATUS_OK);
	assert_int_equal(call("PUT", "/" A "/config", "{\"entries\":{},\"privateEntries\":{\"c\":\"4\"}}"), 204);
	assert_int_equal(secret_status(A, "config.b"), STATUS_NOT_FOUND);
	assert_int_equal(secret_status(A, "config.c"), STATUS_OK);
	/* a refused body changes no secret */
	assert_int_equal(call("PUT", "/" A "/config", "{\"entries\":{\"celld.weight\":\"0\"}}"), 400);
	assert_int_equal(secret_status(A, "config.c"), STATUS_OK);
	assert_int_equal(call("DELETE", "/" A, NULL), 200);
	assert_int_equal(secret_status(A, "config.c"), STATUS_NOT_FOUND);
}

/* A delete was cut off after its commit: what the vault kept goes with the next delete, or before the next create. */
static void leftovers_of_a_cut_delete_go(void **state)
{
	(void)state;
	static const char *const calls[][3] = {{"DELETE", "/" A, NULL}, {"POST", "", PARTICIPANT(A, "")}};
	static const int statuses[] = {404, 200};
	for (size_t i = 0; i < 2; i++) {
		vault_answer.is_done = false;
		vault_secret_put(vault, TEXT(A), TEXT("config.old"), TEXT("1"), worker, on_vault, NULL);
		assert_int_equal(secret_status(A, "config.old"), STATUS_OK);
		assert_int_equal(call(calls[i][0], calls[i][1], calls[i][2]), statuses[i]);
		assert_int_equal(secret_status(A, "config.old"), STATUS_NOT_FOUND);
	}
}

/* Agents work side by side: a configuration may come before its participant, and is its own from the first moment. */
static const struct {
	const char *method, *rest, *body;
	int status;
	const char *part;
} early[] = {
	{"PATCH", "/" A "/config", "{\"entries\":{\"one\":\"1\",\"two\":\"2\"},\"privateEntries\":{\"secret\":\"value\"}}",
		204, ""},
	{"PATCH", "/" A "/config", "{\"entries\":{\"one\":null,\"celld.weight\":\"7\"}}", 204, ""},
	{"PATCH", "/" A "/config", "{\"entries\":{\"celld.weight\":\"0\"}}", 400, "\"path\":\"entries\""},
	{"GET", "/" A "/config", NULL, 200, "\"entries\":{\"two\":\"2\",\"celld.weight\":\"7\"},\"privateEntries\":{}"},
	{"GET", "/" A, NULL, 404, "ObjectNotFound"},
	{"GET", "", NULL, 200, "[]"},
	{"GET", "/" B "/config", NULL, 404, "ObjectNotFound"},
	{"POST", "", PARTICIPANT(A, ",\"state\":\"ACTIVATED\""), 200, A},
	{"GET", "/" A "/config", NULL, 200, "\"entries\":{\"two\":\"2\",\"celld.weight\":\"7\"},\"privateEntries\":{}"},
	{"PATCH", "/" A "/config", "{\"entries\":{\"three\":\"3\"}}", 204, ""},
	{"GET", "/" A "/config", NULL, 200, "\"two\":\"2\",\"celld.weight\":\"7\",\"three\":\"3\""},
	/* it came once: a namesake of later has nothing of it */
	{"DELETE", "/" A, NULL, 200, ""},
	{"POST", "", PARTICIPANT(A, ""), 200, A},
	{"GET", "/" A "/config", NULL, 200, "\"entries\":{}"},
	/* one that is not wanted goes as a participant does */
	{"PUT", "/" B "/config", "{\"entries\":{\"b\":\"1\"},\"privateEntries\":{\"secret\":\"b\"}}", 204, ""},
	{"DELETE", "/" B, NULL, 404, "ObjectNotFound"},
	{"GET", "/" B "/config", NULL, 404, "ObjectNotFound"},
	{"POST", "", PARTICIPANT(B, ""), 200, B},
	{"GET", "/" B "/config", NULL, 200, "\"entries\":{}"},
};

static void configurations_may_come_first(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(early); i++) {
		int status = call(early[i].method, early[i].rest, early[i].body);
		if (status != early[i].status || strstr(shot.body, early[i].part) == NULL)
			fail_msg("%zu: %s %s: %d %s", i, early[i].method, early[i].rest, status, shot.body);
		bool is_waiting = i < 7;
		assert_int_equal(secret_status("early." A, "config.secret"), is_waiting ? STATUS_OK : STATUS_NOT_FOUND);
		assert_int_equal(secret_status(A, "config.secret"), is_waiting || i > 10 ? STATUS_NOT_FOUND : STATUS_OK);
	}
	assert_int_equal(secret_status(B, "config.secret"), STATUS_NOT_FOUND);
	assert_int_equal(secret_status("early." B, "config.secret"), STATUS_NOT_FOUND);
}

/* The participant is made between the reading of what came early and the writing: its own has the entry then. */
static void the_participant_may_come_meanwhile(void **state)
{
	(void)state;
	sqlite3 *other = NULL;
	assert_int_equal(sqlite3_open(database, &other), SQLITE_OK);
	begin("PATCH", "/" A "/config", "{\"entries\":{\"a\":\"1\"},\"privateEntries\":{\"s\":\"1\"}}", admin_token);
	turn(); /* read: there is nothing */
	assert_int_equal(
		sqlite3_exec(other,
			"BEGIN IMMEDIATE; UPDATE meta SET value = value + 1 WHERE name = 'revision';"
			"INSERT INTO record (ctx, kind, id, revision, body) SELECT '" A "', 'participant', 'participant',"
			" value, '{\"identity\":\"did:web:x\",\"state\":\"ACTIVATED\",\"properties\":{},\"createdAt\":1}'"
			" FROM meta WHERE name = 'revision'; COMMIT",
			NULL, NULL, NULL),
		SQLITE_OK);
	while (shot.status == 0)
		turn();
	assert_int_equal(shot.status, 204);
	shot.exchange.on_close(&shot.exchange, STATUS_OK);
	assert_int_equal(call("GET", "/" A "/config", NULL), 200);
	assert_non_null(strstr(shot.body, "{\"a\":\"1\"}"));
	assert_int_equal(secret_status(A, "config.s"), STATUS_OK);
	assert_int_equal(secret_status("early." A, "config.s"), STATUS_NOT_FOUND);
	sqlite3_close(other);
}

/* What nobody came for within a day goes when another one comes. */
static void early_ones_grow_old(void **state)
{
	(void)state;
	sqlite3 *other = NULL;
	assert_int_equal(
		call("PATCH", "/" B "/config", "{\"entries\":{\"a\":\"1\"},\"privateEntries\":{\"s\":\"1\"}}"), 204);
	assert_int_equal(call("PATCH", "/" C "/config", "{\"entries\":{\"a\":\"1\"}}"), 204);
	assert_int_equal(sqlite3_open(database, &other), SQLITE_OK);
	assert_int_equal(
		sqlite3_exec(other,
			"UPDATE record SET body = replace(body, '\"at\":', '\"at\":1,\"then\":') WHERE id = '" B ".config'", NULL,
			NULL, NULL),
		SQLITE_OK);
	sqlite3_close(other);
	assert_int_equal(call("PATCH", "/" A "/config", "{\"entries\":{\"a\":\"1\"}}"), 204);
	assert_int_equal(call("GET", "/" B "/config", NULL), 404);
	assert_int_equal(call("GET", "/" C "/config", NULL), 200);
	assert_int_equal(secret_status("early." B, "config.s"), STATUS_NOT_FOUND);
}

/* The caller leaves at once; what it asked for is done all the same, and nothing answers it. */
static void callers_may_leave(void **state)
{
	(void)state;
	static const char *const calls[][3] = {{"POST", "", PARTICIPANT(A, "")},
		{"PUT", "/" A, "{\"state\":\"ACTIVATED\"}"}, {"PUT", "/" A "/config", "{\"privateEntries\":{\"a\":\"1\"}}"},
		{"DELETE", "/" A, NULL}};
	assert_int_equal(call("POST", "", PARTICIPANT(A, "")), 200);
	for (size_t i = 1; i < COUNT(calls); i++) {
		begin(calls[i][0], calls[i][1], calls[i][2], admin_token);
		assert_int_equal(shot.status, 0);
		shot.exchange.on_close(&shot.exchange, STATUS_CLOSED);
		turn();
		if (i == 3) {
			turn(); /* the vault's */
			assert_null(registry_find(registry, TEXT(A)));
		}
		assert_int_equal(shot.status, 0);
	}
	begin(calls[0][0], calls[0][1], calls[0][2], admin_token);
	shot.exchange.on_close(&shot.exchange, STATUS_CLOSED);
	turn();
	assert_int_equal(registry_count(registry), 0); /* before its commit began: not done, and not answered */
}

/* Another process changes the configuration between the reading and the writing of a merge: both are in it. */
static void a_merge_that_comes_second_merges_again(void **state)
{
	(void)state;
	sqlite3 *other = NULL;
	assert_int_equal(call("POST", "", PARTICIPANT(A, "")), 200);
	assert_int_equal(call("PATCH", "/" A "/config", "{\"entries\":{\"a\":\"1\",\"b\":\"1\"}}"), 204);
	assert_int_equal(sqlite3_open(database, &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	begin("PATCH", "/" A "/config", "{\"entries\":{\"b\":\"2\"}}", admin_token);
	assert_int_equal(shot.status, 0);
	assert_int_equal(sqlite3_exec(other,
						 "UPDATE meta SET value = value + 1 WHERE name = 'revision';"
						 "UPDATE record SET body = '{\"entries\":{\"a\":\"3\",\"b\":\"3\"},\"privateEntries\":[]}',"
						 " revision = (SELECT value FROM meta WHERE name = 'revision')"
						 " WHERE kind = 'participant_config'; COMMIT",
						 NULL, NULL, NULL),
		SQLITE_OK);
	while (shot.status == 0)
		turn();
	assert_int_equal(shot.status, 204);
	shot.exchange.on_close(&shot.exchange, STATUS_OK);
	assert_int_equal(call("GET", "/" A "/config", NULL), 200);
	assert_non_null(strstr(shot.body, "{\"a\":\"3\",\"b\":\"2\"}"));
	/* a lock that stays: said clearly */
	assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(call("PATCH", "/" A "/config", "{\"entries\":{\"b\":\"4\"}}"), 503);
	assert_non_null(strstr(shot.body, "\"type\":\"Unavailable\""));
	sqlite3_close(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(participants_live_as_the_agents_want_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(wrong_bodies_name_the_member_and_change_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(only_the_admin_scope_will_do, set_up, tear_down),
		cmocka_unit_test_setup_teardown(other_paths_and_methods_are_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(lists_come_in_pages_by_id, set_up, tear_down),
		cmocka_unit_test_setup_teardown(secrets_live_as_long_as_their_entry, set_up, tear_down),
		cmocka_unit_test_setup_teardown(leftovers_of_a_cut_delete_go, set_up, tear_down),
		cmocka_unit_test_setup_teardown(configurations_may_come_first, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_participant_may_come_meanwhile, set_up, tear_down),
		cmocka_unit_test_setup_teardown(early_ones_grow_old, set_up, tear_down),
		cmocka_unit_test_setup_teardown(callers_may_leave, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_merge_that_comes_second_merges_again, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
