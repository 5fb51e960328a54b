/* Pulls from files: admission, ranges, conditions, the end of a flow, changed and truncated files. */
#include "server/base/mapping.h"
#include "tests/dp_fixture.h"

#include <sys/stat.h>

static const char *token;

static void write_file(const char *name, const void *bytes, size_t length)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/" CTX "/%s", fake_root, name);
	FILE *file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, length, file), length);
	fclose(file);
}

static char path_room[256];
static const char *path_of(const char *name)
{
	snprintf(path_room, sizeof(path_room), "%s/" CTX "%s", fake_root, name);
	return path_room;
}

static int setup(void **state)
{
	dp_setup(state);
	assert_int_equal(mkdir(path_of(""), 0700), 0);
	assert_int_equal(mkdir(path_of("/folder"), 0700), 0);
	write_file("folder/hundred.txt",
		"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789", 100);
	write_file("folder/with space", "space", 5);
	write_file("folder/empty", "", 0);
	write_file("outside", "outside", 7);
	assert_int_equal(symlink("../outside", path_of("/folder/link")), 0);
	assert_int_equal(mkfifo(path_of("/folder/pipe"), 0600), 0);
	assert_int_equal(
		manage_status("PUT", "/" CTX "/datasets/d", "{\"type\":\"file\",\"properties\":{\"path\":\"folder\"}}"), 201);
	assert_int_equal(manage_status("POST", "/" CTX "/datasets",
						 "{\"id\":\"one\",\"type\":\"file\",\"properties\":{\"path\":\"folder/hundred.txt\"}}"),
		201);
	return 0;
}

static void make_flow(const char *id, const char *dataset, const char *more)
{
	char body[512];
	snprintf(body, sizeof(body), "{\"id\":\"%s\",\"datasetId\":\"%s\",\"agreementId\":\"a\",\"counterParty\":\"%s\"%s}",
		id, dataset, CONSUMER, more);
	assert_int_equal(manage_status("POST", "/" CTX "/flows", body), 201);
}

static void test_paths(void **state)
{
	static const struct {
		const char *rest;
		int status;
		const char *body;
	} cases[] = {{"/hundred.txt", 200, NULL}, {"/with%20space", 200, "space"}, {"/empty", 200, ""},
		{"/link", 404, NULL}, {"/pipe", 404, NULL}, {"", 404, NULL}, {"/", 404, NULL}, {"/missing", 404, NULL},
		{"/hundred.txt/x", 404, NULL}, {"/../outside", 404, NULL}, {"/%2e%2e/outside", 404, NULL},
		{"/a%00", 404, NULL}};
	(void)state;
	make_flow("paths", "d", "");
	token = flow_token("paths");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *const headers[] = {"authorization", token, NULL};
		struct shot *shot = pull("GET", cases[i].rest, headers);
		assert_int_equal(shot->exchange.status, cases[i].status);
		if (cases[i].body != NULL) {
			assert_int_equal(shot_read(shot, 3), BODY_END);
			assert_true(text_equals(buffer_text(&shot->body), text_of(cases[i].body)) || cases[i].body[0] == 0);
		}
		shot_free(shot);
	}
	assert_int_equal(manage_status("DELETE", "/" CTX "/flows/paths", NULL), 204);
}

static void test_ranges_and_conditions(void **state)
{
	static const struct {
		const char *method, *name, *value, *other, *other_value;
		int status;
		const char *body, *content_range;
	} cases[] = {
		{"GET", "range", "bytes=0-4", NULL, NULL, 206, "01234", "bytes 0-4/100"},
		{"GET", "range", "bytes=-3", NULL, NULL, 206, "789", "bytes 97-99/100"},
		{"GET", "range", "bytes=100-", NULL, NULL, 416, NULL, "bytes */100"},
		{"GET", "range", "bytes=9-1", NULL, NULL, 200, NULL, NULL},
		{"HEAD", "range", "bytes=0-4", NULL, NULL, 200, NULL, NULL},
		{"GET", "if-none-match", "*", NULL, NULL, 304, NULL, NULL},
		{"GET", "if-none-match", "\"x\"", NULL, NULL, 200, NULL, NULL},
		{"GET", "if-match", "\"x\"", NULL, NULL, 412, NULL, NULL},
		{"GET", "if-match", "*", NULL, NULL, 200, NULL, NULL},
		{"GET", "if-unmodified-since", "Sun, 06 Nov 1994 08:49:37 GMT", NULL, NULL, 412, NULL, NULL},
		{"GET", "if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT", NULL, NULL, 200, NULL, NULL},
		{"GET", "range", "bytes=0-4", "if-range", "\"x\"", 200, NULL, NULL},
		{"POST", "range", "bytes=0-4", NULL, NULL, 405, NULL, NULL},
	};
	(void)state;
	make_flow("ranges", "one", "");
	token = flow_token("ranges");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *const headers[] = {
			"authorization", token, cases[i].name, cases[i].value, cases[i].other, cases[i].other_value, NULL};
		struct shot *shot = pull(cases[i].method, "", headers);
		assert_int_equal(shot->exchange.status, cases[i].status);
		if (cases[i].body != NULL) {
			assert_int_equal(shot->exchange.response_length, strlen(cases[i].body));
			assert_int_equal(shot_read(shot, 2), BODY_END);
			assert_true(text_equals(buffer_text(&shot->body), text_of(cases[i].body)));
		}
		struct text range = shot_header(shot, "content-range");
		assert_true(
			cases[i].content_range == NULL ? range.bytes == NULL : text_equals(range, text_of(cases[i].content_range)));
		if (cases[i].status == 405)
			assert_true(text_equals(shot_header(shot, "allow"), TEXT("GET, HEAD")));
		shot_free(shot);
	}
}

static void test_multipart(void **state)
{
	(void)state;
	token = flow_token("ranges");
	for (size_t room = 1; room < 400; room += 7) {
		const char *const headers[] = {"authorization", token, "range", "bytes=0-1,50-52", NULL};
		struct shot *shot = pull("GET", "", headers);
		assert_int_equal(shot->exchange.status, 206);
		assert_int_equal(shot->exchange.file_descriptor, -1);
		assert_int_equal(shot_read(shot, room), BODY_END);
		assert_int_equal(shot->body.length, shot->exchange.response_length);
		assert_non_null(strstr(shot->body.bytes, "Content-Range: bytes 0-1/100\r\n\r\n01\r\n--"));
		assert_non_null(strstr(shot->body.bytes, "Content-Range: bytes 50-52/100\r\n\r\n012\r\n--"));
		shot_free(shot);
	}
}

static struct shot *start(const char *flow, size_t bytes)
{
	token = flow_token(flow);
	const char *const headers[] = {"authorization", token, NULL};
	struct shot *shot = pull("GET", "", headers);
	assert_int_equal(shot->exchange.status, 200);
	uint8_t frame[64];
	size_t count;
	assert_int_equal(shot->exchange.read_body(&shot->exchange, frame, bytes, &count), BODY_MORE);
	return shot;
}

static int status_with(const char *value)
{
	const char *const headers[] = {"authorization", value, NULL};
	struct shot *shot = pull("GET", "", headers);
	int status = shot->exchange.status;
	assert_int_equal(shot_header(shot, "www-authenticate").bytes != NULL, status == 401);
	shot_free(shot);
	return status;
}

static void test_stops(void **state)
{
	static const char *const verbs[] = {"suspend", "terminate", "complete"};
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		char id[32], path[128];
		snprintf(id, sizeof(id), "stop-%s", verbs[i]);
		snprintf(path, sizeof(path), "/" CTX "/flows/%s/%s", id, verbs[i]);
		make_flow(id, "one", "");
		struct shot *first = start(id, 10), *second = start(id, 20);
		char kept[4096];
		snprintf(kept, sizeof(kept), "%s", token);
		assert_int_equal(manage_status("POST", path, NULL), 200);
		assert_true(first->is_closed && second->is_closed);
		assert_int_equal(first->outcome, STATUS_STOPPED);
		assert_int_equal(status_with(kept), 403);
		shot_free(first);
		shot_free(second);
	}
	assert_int_equal(manage_status("POST", "/" CTX "/flows/stop-suspend/resume", NULL), 200);
	assert_int_equal(status_with(flow_token("stop-suspend")), 200);
	assert_int_equal(manage_status("POST", "/" CTX "/flows/stop-terminate/resume", NULL), 409);
	struct shot *shown = manage("GET", "/" CTX "/flows/stop-suspend", NULL);
	assert_true(strstr(shown->exchange.response_text.bytes, "\"bytesSent\":30,\"requests\":3") != NULL);
	shot_free(shown);
}

static void test_deletion_and_deactivation_stop(void **state)
{
	(void)state;
	make_flow("deleted", "one", "");
	struct shot *shot = start("deleted", 10);
	assert_int_equal(manage_status("DELETE", "/" CTX "/flows/deleted", NULL), 204);
	assert_true(shot->is_closed);
	shot_free(shot);
	make_flow("hidden", "one", "");
	shot = start("hidden", 10);
	struct participant before = fake_participant, after = fake_participant;
	after.state = PARTICIPANT_DEACTIVATED;
	fake_on_change(fake_on_change_context, CTX, &after, &before);
	fake_turn();
	assert_true(shot->is_closed);
	shot_free(shot);
}

/* What a flow remembers of its dataset is looked at only while it is there: here nobody else holds it, since a pull of
 * the version before is still open, and it goes with the next change. */
static void test_a_dataset_that_is_gone(void **state)
{
	static const char *const bodies[] = {"{\"type\":\"file\",\"properties\":{\"path\":\"folder/hundred.txt\"}}",
		"{\"type\":\"file\",\"properties\":{\"path\":\"folder/empty\"}}",
		"{\"type\":\"file\",\"properties\":{\"path\":\"folder/with space\"}}"};
	static const int64_t lengths[] = {100, 0, 5};
	(void)state;
	assert_int_equal(manage_status("PUT", "/" CTX "/datasets/changing", bodies[0]), 201);
	make_flow("remembers", "changing", "");
	struct shot *open = start("remembers", 10);
	for (size_t i = 1; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		const char *const headers[] = {"authorization", token, NULL};
		assert_int_equal(manage_status("PUT", "/" CTX "/datasets/changing", bodies[i]), 200);
		struct shot *shot = pull("GET", "", headers);
		assert_int_equal(shot->exchange.status, 200);
		assert_int_equal(shot->exchange.response_length, lengths[i]);
		shot_free(shot);
	}
	assert_int_equal(manage_status("DELETE", "/" CTX "/datasets/changing", NULL), 204);
	assert_int_equal(status_with(token), 404);
	shot_free(open);
}

static void test_expiry(void **state)
{
	char more[64];
	(void)state;
	snprintf(more, sizeof(more), ",\"expiresAt\":%lld", (long long)fake.wall_ms + 5000);
	make_flow("expiring", "one", more);
	struct shot *shot = start("expiring", 10);
	char kept[4096];
	snprintf(kept, sizeof(kept), "%s", token);
	fake_pass(4999);
	assert_false(shot->is_closed);
	fake_pass(2);
	assert_true(shot->is_closed);
	assert_int_equal(shot->outcome, STATUS_STOPPED);
	shot_free(shot);
	assert_in_range(status_with(kept), 401, 403);
}

static void test_tokens(void **state)
{
	char good[4096], bad[4100];
	(void)state;
	make_flow("tokens", "one", "");
	snprintf(good, sizeof(good), "%s", flow_token("tokens"));
	assert_int_equal(status_with(good), 200);
	assert_int_equal(status_with(good), 200);     /* cached */
	assert_int_equal(status_with(good + 7), 200); /* bare */
	snprintf(bad, sizeof(bad), "%s", good);
	char *last = strrchr(bad, '.') + 5;
	*last = *last == 'A' ? 'B' : 'A';
	static const char *const wrong[] = {"", "Bearer ", "Bearer x.y.z", "Basic abc", "Bearer ..", "Bearer e30.e30."};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(status_with(wrong[i]), 401);
	assert_int_equal(status_with(bad), 401);
	struct shot *none = pull("GET", "", NULL);
	assert_int_equal(none->exchange.status, 401);
	shot_free(none);
	/* a flow that comes after the token with the same id is another flow */
	assert_int_equal(manage_status("DELETE", "/" CTX "/flows/tokens", NULL), 204);
	assert_int_equal(status_with(good), 403);
	fake.wall_ms += 1000;
	make_flow("tokens", "one", "");
	assert_int_equal(status_with(good), 403);
	snprintf(good, sizeof(good), "%s", flow_token("tokens"));
	assert_int_equal(status_with(good), 200);
	fake.wall_ms += 601000;
	assert_int_equal(status_with(good), 401);
}

static void test_revocation(void **state)
{
	(void)state;
	make_flow("revoked", "one", "");
	struct shot *shot = manage("POST", "/" CTX "/flows/revoked/token", "");
	struct json *root = NULL;
	assert_int_equal(json_parse(shot->exchange.response_text, NULL, &root), STATUS_OK);
	char value[4096], path[256];
	snprintf(value, sizeof(value), "%.*s", TEXT_ARGUMENTS(json_member_text(root, "token")));
	snprintf(path, sizeof(path), "/" CTX "/flows/revoked/tokens/%.*s", TEXT_ARGUMENTS(json_member_text(root, "jti")));
	json_free(root);
	shot_free(shot);
	assert_int_equal(status_with(value), 200);
	assert_int_equal(manage_status("DELETE", path, NULL), 204);
	assert_int_equal(status_with(value), 403);
	assert_int_equal(status_with(flow_token("revoked")), 200);
}

static void test_changed_files(void **state)
{
	(void)state;
	assert_int_equal(mapping_guard_install(), STATUS_OK); /* cmocka puts its own handlers before each test */
	assert_int_equal(
		manage_status("PUT", "/" CTX "/datasets/big", "{\"type\":\"file\",\"properties\":{\"path\":\"big\"}}"), 201);
	make_flow("big", "big", "");
	size_t size = 1 << 20;
	char *bytes = calloc(1, size);
	write_file("big", bytes, size);
	struct shot *shot = start("big", 10);
	assert_int_equal(truncate(path_of("/big"), 5000), 0); /* SIGBUS in the mapping */
	assert_int_equal(shot_read(shot, 16384), BODY_FAILED);
	shot_free(shot);
	write_file("big", bytes, size);
	shot = start("big", 10);
	bytes[size - 1] = 'x';
	usleep(5000); /* the file system's clock has a grain */
	write_file("big", bytes, size);
	assert_int_equal(shot_read(shot, 16384), BODY_FAILED);
	shot_free(shot);
	shot = start("big", 10);
	assert_int_equal(shot_read(shot, 16384), BODY_END);
	assert_int_equal(shot->body.length, size - 10);
	assert_int_equal(shot->body.bytes[size - 11], 'x');
	shot_free(shot);
	free(bytes);
}

static void test_lent_files(void **state)
{
	(void)state;
	assert_int_equal(mapping_guard_install(), STATUS_OK);
	assert_int_equal(
		manage_status("PUT", "/" CTX "/datasets/lent", "{\"type\":\"file\",\"properties\":{\"path\":\"lent\"}}"), 201);
	make_flow("lent", "lent", "");
	uint8_t bytes[40000], copy[16384];
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i % 251);
	write_file("lent", (const char *)bytes, sizeof(bytes));
	struct shot *shot = start("lent", 0);
	const uint8_t *lent;
	size_t count;
	for (size_t at = 0; at < 2 * sizeof(copy); at += count) {
		assert_int_equal(shot->exchange.lend_body(&shot->exchange, sizeof(copy), false, &lent, &count), BODY_MORE);
		assert_int_equal(count, sizeof(copy));
		assert_memory_equal(lent, bytes + at, count);
	}
	const uint8_t *last = lent;
	assert_int_equal(shot->exchange.lend_body(&shot->exchange, sizeof(copy), true, &lent, &count), BODY_MORE);
	assert_int_equal(count, 0); /* fewer left */
	lent = last;
	assert_int_equal(truncate(path_of("/lent"), 100), 0);
	assert_int_equal(mapping_copy(lent, sizeof(copy), 0, copy, sizeof(copy)), STATUS_IO);
	assert_int_equal(shot_read(shot, sizeof(copy)), BODY_FAILED);
	shot_free(shot);
}

static void test_bad_documents(void **state)
{
	static const struct {
		const char *body, *where;
	} cases[] = {{"{\"id\":\"x\",\"type\":\"ftp\",\"properties\":{}}", "type"},
		{"{\"id\":\"x\",\"type\":\"http\",\"properties\":{}}", "baseUrl"},
		{"{\"id\":\"x\",\"type\":\"http\",\"properties\":{\"baseUrl\":\"gopher://x\"}}", "baseUrl"},
		{"{\"id\":\"x\",\"type\":\"file\",\"properties\":{\"path\":\"../up\"}}", "path"},
		{"{\"id\":\"a/b\",\"type\":\"file\",\"properties\":{\"path\":\"x\"}}", "id"},
		{"{\"id\":\"x\",\"type\":\"file\",\"properties\":{\"path\":\"x\"},\"extra\":1}", "extra"},
		{"{\"id\":\"x\",\"parts\":[{\"path\":\"/a\",\"type\":\"file\",\"properties\":{\"path\":\"x\"}},"
		 "{\"path\":\"/a\",\"type\":\"file\",\"properties\":{\"path\":\"y\"}}]}",
			"path"}};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct shot *shot = manage("POST", "/" CTX "/datasets", cases[i].body);
		assert_int_equal(shot->exchange.status, 400);
		assert_true(text_starts_with(shot->exchange.response_text, text_of(cases[i].where)));
		shot_free(shot);
	}
	assert_int_equal(manage_status("PATCH", "/" CTX "/datasets", ""), 405);
	assert_int_equal(manage_status("GET", "/" CTX "/nothing", ""), 404);
	assert_int_equal(manage_status("GET", "/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb/flows", ""), 404);
	assert_int_equal(manage_status("GET", "/" CTX "/datasets", ""), 200);
	assert_int_equal(manage_status("DELETE", "/" CTX "/secrets/dataplane", ""), 409);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_paths), cmocka_unit_test(test_ranges_and_conditions),
		cmocka_unit_test(test_multipart), cmocka_unit_test(test_stops),
		cmocka_unit_test(test_deletion_and_deactivation_stop), cmocka_unit_test(test_a_dataset_that_is_gone),
		cmocka_unit_test(test_expiry), cmocka_unit_test(test_tokens), cmocka_unit_test(test_revocation),
		cmocka_unit_test(test_changed_files), cmocka_unit_test(test_lent_files), cmocka_unit_test(test_bad_documents)};
	return cmocka_run_group_tests(tests, setup, dp_teardown);
}
