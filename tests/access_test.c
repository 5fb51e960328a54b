/* Access: the scope grammar, the tokens taken, and the answers to those refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/answer.h"
#include "server/base/clock.h"
#include "server/worker_pool.h"
#include "tenants/access.h"
#include "tenants/jose/jws.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* --- the engine's side of an exchange, as far as access needs it */

static struct {
	struct header headers[2];
	unsigned header_count;
	int status;
	char body[256];
	bool challenged;
} request;

struct text exchange_header(const struct exchange *exchange, struct text name)
{
	(void)exchange;
	for (unsigned i = 0; i < request.header_count; i++) {
		if (text_equals(request.headers[i].name, name))
			return request.headers[i].value;
	}
	return TEXT_NONE;
}

unsigned exchange_header_count(const struct exchange *exchange, struct text name)
{
	(void)exchange, (void)name;
	return request.header_count;
}

bool exchange_add_header(struct exchange *exchange, struct text name, struct text value)
{
	(void)exchange;
	request.challenged = text_equals(name, TEXT("www-authenticate")) && text_equals(value, TEXT("Bearer"));
	return true;
}

void answer(struct exchange *exchange, int status, struct text content_type, struct text body)
{
	(void)exchange, (void)content_type;
	assert_int_equal(request.status, 0);
	request.status = status;
	snprintf(request.body, sizeof(request.body), "%.*s", TEXT_ARGUMENTS(body));
}

void answer_json(struct exchange *exchange, int status, struct text json)
{
	assert_int_equal(json_check(json, NULL, NULL), STATUS_OK);
	answer(exchange, status, TEXT("application/json"), json);
}

/* --- a folder with keys */

static char folder[64], key_file[128], jwks_file[128];
static struct worker_pool *pool; /* never started: what is retired is freed at once */
static struct key *provider;
static struct access *access_under_test;

static void write_jwks(const struct key *key)
{
	struct buffer set = {.bytes = NULL};
	buffer_append(&set, TEXT("{\"keys\":["));
	assert_int_equal(key_to_public_jwk(key, &set), STATUS_OK);
	buffer_append(&set, TEXT("]}"));
	int file = open(jwks_file, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	assert_int_equal(write(file, set.bytes, set.length), set.length);
	close(file);
	buffer_free(&set);
}

static enum status open_access(struct worker_pool *workers, char *jwks, char *issuer, struct access **access)
{
	struct buffer error = {.bytes = NULL};
	const struct access_settings settings = {.provider = {.jwks_file = jwks, .issuer = issuer}, .key_file = key_file};
	enum status status = access_open(&settings, workers, access, &error);
	assert_int_equal(status != STATUS_OK, error.length > 0);
	buffer_free(&error);
	return status;
}

static char issuer[] = "https://provider";

static int set_up(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/access_test.XXXXXX");
	if (mkdtemp(folder) == NULL || key_generate(KEY_ES256, TEXT("p1"), &provider) != STATUS_OK)
		return -1;
	snprintf(key_file, sizeof(key_file), "%s/cell.key", folder);
	snprintf(jwks_file, sizeof(jwks_file), "%s/jwks.json", folder);
	pool = worker_pool_new(1);
	write_jwks(provider);
	return open_access(pool, jwks_file, issuer, &access_under_test) == STATUS_OK ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	access_close(access_under_test);
	key_free(provider);
	worker_pool_free(pool);
	unlink(key_file);
	unlink(jwks_file);
	rmdir(folder);
	return 0;
}

/* --- scopes */

enum { READ = ACCESS_READ, WRITE = ACCESS_WRITE, ADMIN = ACCESS_ADMIN };

static const struct {
	const char *scopes, *resource;
	int action;
	bool satisfied, everywhere;
} scopes[] = {
	{"management-api:assets:read", "assets", READ, true, false},
	{"management-api:assets:read", "assets", WRITE, false, false},
	{"management-api:assets:write", "assets", READ, true, false},
	{"management-api:assets:write", "assets", ADMIN, false, false},
	{"management-api:assets:admin", "assets", WRITE, true, false},
	{"management-api:assets:read", "policies", READ, false, false},
	{"management-api:assets:read", "asset", READ, false, false},
	{"management-api:*:read", "assets", READ, true, false},
	{"management-api:read", "assets", READ, true, false},
	{"management-api:write", "assets", READ, true, false},
	{"management-api:write", "assets", ADMIN, false, false},
	{"management-api:write", "", ADMIN, false, false},
	{"management-api:admin", "assets", WRITE, true, true},
	{"management-api:*:admin", "assets", READ, true, true},
	{"management-api:admin", "", ADMIN, true, true},
	{"management-api:assets:admin", "", ADMIN, false, false},
	{"management-api:assets:admin", "", READ, false, false},
	{"identity-api:admin", "assets", READ, false, false},
	{"openid identity-api:read management-api:assets:read", "assets", READ, true, false},
	{"management-api:assets:read management-api:admin", "assets", READ, true, true},
	{"  management-api:read  ", "assets", READ, true, false},
	{"", "assets", READ, false, false},
	{"management-api", "assets", READ, false, false},
	{"management-api:", "assets", READ, false, false},
	{":read", "assets", READ, false, false},
	{"management-api::read", "assets", READ, false, false},
	{"management-api:assets:", "assets", READ, false, false},
	{"management-api:assets", "assets", READ, false, false},
	{"management-api:assets:read:", "assets", READ, false, false},
	{"management-api:assets:x:read", "assets", READ, false, false},
	{"management-api:assets:Read", "assets", READ, false, false},
	{"Management-api:assets:read", "assets", READ, false, false},
	{"management-api:assets:root", "assets", READ, false, false},
	{"*:admin", "assets", READ, false, false},
	{"*", "assets", READ, false, false},
	{"management-api:*", "assets", READ, false, false},
	{"management-api:assets:*", "assets", READ, false, false},
	{"management-api:asset*:read", "assets", READ, false, false},
	{"management-api:assets:read,management-api:admin", "assets", READ, false, false},
	{"management-api:assets:read\tmanagement-api:admin", "assets", READ, false, false},
	{"management-api:admin\n", "assets", READ, false, false},
};

static void test_scopes(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(scopes); i++) {
		bool everywhere = true;
		bool satisfied = scope_satisfies(text_of(scopes[i].scopes), TEXT("management-api"), text_of(scopes[i].resource),
			(enum access_action)scopes[i].action, &everywhere);
		if (satisfied != scopes[i].satisfied || everywhere != scopes[i].everywhere)
			fail_msg("%s for %s", scopes[i].scopes, scopes[i].resource);
	}
	bool everywhere;
	assert_false(scope_satisfies(TEXT_NONE, TEXT("management-api"), TEXT_NONE, ACCESS_READ, &everywhere));
}

/* --- requests */

static bool allowed(const char *authorization, const char *resource, enum access_action action, const char *ctx)
{
	struct exchange exchange = {.status = 0};
	memset(&request, 0, sizeof(request));
	if (authorization != NULL)
		request.headers[request.header_count++] = (struct header){TEXT("authorization"), text_of(authorization)};
	bool good = access_allow(access_under_test, &exchange, TEXT("management-api"), text_of(resource), action,
		ctx == NULL ? TEXT_NONE : text_of(ctx));
	assert_int_equal(good, request.status == 0);
	return good;
}

static struct buffer with_bearer(const struct buffer *token)
{
	struct buffer value = {.bytes = NULL};
	buffer_printf(&value, "Bearer %.*s", TEXT_ARGUMENTS(buffer_text(token)));
	return value;
}

/* A header value with a token of the cell's own. */
static struct buffer cell_token(const char *subject, const char *granted)
{
	struct buffer token = {.bytes = NULL};
	assert_int_equal(access_token(access_under_test, text_of(subject), text_of(granted), 60, &token), STATUS_OK);
	struct buffer value = with_bearer(&token);
	buffer_free(&token);
	return value;
}

static const struct {
	const char *subject, *granted, *resource;
	int action;
	const char *ctx;
	int status; /* 0: allowed */
	const char *body;
} requests[] = {
	{"p1", "management-api:assets:write", "assets", WRITE, "p1", 0, NULL},
	{"p1", "management-api:read", "assets", READ, "p1", 0, NULL},
	{"op", "management-api:admin", "assets", WRITE, "p1", 0, NULL},
	{"op", "management-api:admin", "", ADMIN, NULL, 0, NULL},
	{"p1", "management-api:assets:read", "assets", WRITE, "p1", 403,
		"Required scope 'management-api:assets:write' missing"},
	{"p1", "", "assets", READ, "p1", 403, "Required scope 'management-api:assets:read' missing"},
	{"p1", "management-api:write", "", ADMIN, "p1", 403, "Required scope 'management-api:admin' missing"},
	{"p1", "management-api:write", "", READ, NULL, 403, "Required scope 'management-api:admin' missing"},
	{"p1", "management-api:assets:write", "assets", WRITE, "p2", 403,
		"[{\"message\":\"not authorized for this participant\",\"type\":\"NotAuthorized\",\"path\":null,"
		"\"invalidValue\":null}]"},
	{"p1", "management-api:assets:write", "assets", WRITE, "p1x", 403, NULL},
	{"p1x", "management-api:assets:write", "assets", WRITE, "p1", 403, NULL},
	{"P1", "management-api:assets:write", "assets", WRITE, "p1", 403, NULL},
};

static void test_requests(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(requests); i++) {
		struct buffer value = cell_token(requests[i].subject, requests[i].granted);
		allowed(value.bytes, requests[i].resource, (enum access_action)requests[i].action, requests[i].ctx);
		if (request.status != requests[i].status)
			fail_msg("request %zu: %d", i, request.status);
		if (requests[i].body != NULL)
			assert_string_equal(request.body, requests[i].body);
		buffer_free(&value);
	}
}

static bool is_p1(void *context, struct text sub)
{
	assert_ptr_equal(context, &request);
	return text_equals(sub, TEXT("p1"));
}

static void test_callers_must_be_participants(void **state)
{
	(void)state;
	static const struct {
		const char *subject, *granted;
		int status;
	} callers[] = {{"p1", "management-api:read", 0}, {"p2", "management-api:read", 401}, {"p2", "", 401},
		{"p2", "identity-api:admin", 401}, {"p2", "management-api:assets:admin", 401},
		{"p2", "management-api:admin", 0}};
	access_know_participants(access_under_test, is_p1, &request);
	for (size_t i = 0; i < COUNT(callers); i++) {
		struct buffer value = cell_token(callers[i].subject, callers[i].granted);
		allowed(value.bytes, "assets", ACCESS_READ, "p1");
		if (request.status != callers[i].status)
			fail_msg("caller %zu: %d", i, request.status);
		if (request.status == 401)
			assert_string_equal(request.body, "Not authorized: No participant for 'sub = p2' found");
		buffer_free(&value);
	}
	access_know_participants(access_under_test, NULL, NULL);
}

static bool reads(const char *authorization)
{
	bool good = allowed(authorization, "assets", ACCESS_READ, "p1");
	if (!good) {
		assert_int_equal(request.status, 401);
		assert_string_equal(request.body, "{\"error\":\"missing or invalid token\"}");
		assert_true(request.challenged);
	}
	return good;
}

static void test_authorization_header(void **state)
{
	(void)state;
	static const struct {
		const char *before, *after;
		bool good;
	} forms[] = {{"Bearer ", "", true}, {"bearer ", "", true}, {"BEARER  ", "", true}, {"", "", false},
		{"Bearer", "", false}, {"Basic ", "", false}, {"Bearer: ", "", false}, {"Bearer ", "=", false},
		{"Bearer ", ",x", false}, {"Bearer ", ".x", false}, {"Bearer \"", "\"", false}, {"Bearer\t", "", false}};
	struct buffer value = cell_token("p1", "management-api:read");
	struct text token = text_slice(buffer_text(&value), 7, value.length);
	for (size_t i = 0; i < COUNT(forms); i++) {
		struct buffer form = {.bytes = NULL};
		buffer_printf(&form, "%s%.*s%s", forms[i].before, TEXT_ARGUMENTS(token), forms[i].after);
		if (reads(form.bytes) != forms[i].good)
			fail_msg("form %zu", i);
		buffer_free(&form);
	}
	assert_false(reads(NULL));
	assert_false(reads(""));
	assert_false(reads("Bearer"));
	assert_false(reads("Bearer "));
	/* two headers, both good */
	struct exchange exchange = {.status = 0};
	memset(&request, 0, sizeof(request));
	for (int i = 0; i < 2; i++)
		request.headers[request.header_count++] = (struct header){TEXT("authorization"), buffer_text(&value)};
	assert_false(
		access_allow(access_under_test, &exchange, TEXT("management-api"), TEXT("assets"), ACCESS_READ, TEXT("p1")));
	assert_int_equal(request.status, 401);
	buffer_free(&value);
}

static const char *more_claims = ""; /* each with a comma before it */

/* A header value with a token signed by `key`; exp is `lifetime_s` from now. */
static struct buffer made_token(const struct key *key, const char *kid, const char *iss, int64_t lifetime_s)
{
	struct buffer header = {.bytes = NULL}, claims = {.bytes = NULL}, token = {.bytes = NULL};
	uint8_t signature[64];
	buffer_printf(&header, "{\"alg\":\"%s\"", key_kind(key) == KEY_ES256 ? "ES256" : "EdDSA");
	if (kid != NULL)
		buffer_printf(&header, ",\"kid\":\"%s\"", kid);
	buffer_append_byte(&header, '}');
	buffer_printf(&claims, "{\"iss\":\"%s\",\"sub\":\"p1\",\"scope\":\"management-api:read\"", iss);
	if (lifetime_s != 0)
		buffer_printf(&claims, ",\"exp\":%lld", (long long)(clock_wall_ms() / 1000 + lifetime_s));
	buffer_printf(&claims, "%s}", more_claims);
	assert_int_equal(jws_input(buffer_text(&header), buffer_text(&claims), &token), STATUS_OK);
	assert_int_equal(key_sign(key, buffer_text(&token), signature), STATUS_OK);
	assert_int_equal(jws_append_signature(&token, (struct text){(char *)signature, 64}), STATUS_OK);
	struct buffer value = with_bearer(&token);
	buffer_free(&header);
	buffer_free(&claims);
	buffer_free(&token);
	return value;
}

static bool takes(const struct key *key, const char *kid, const char *iss, int64_t lifetime_s)
{
	struct buffer value = made_token(key, kid, iss, lifetime_s);
	bool good = reads(value.bytes);
	buffer_free(&value);
	return good;
}

static struct key *own_key(void)
{
	char bytes[4096];
	struct key *key = NULL;
	int file = open(key_file, O_RDONLY);
	ssize_t length = read(file, bytes, sizeof(bytes));
	close(file);
	assert_true(length > 0);
	assert_int_equal(key_from_private_der((struct text){bytes, (size_t)length}, TEXT_NONE, &key), STATUS_OK);
	return key;
}

static void test_issuers(void **state)
{
	(void)state;
	char own_kid[KEY_THUMBPRINT_LENGTH + 1];
	struct key *own = own_key(), *stranger = NULL;
	assert_int_equal(key_generate(KEY_ES256, TEXT("p1"), &stranger), STATUS_OK);
	assert_int_equal(key_thumbprint(own, own_kid), STATUS_OK);
	assert_true(takes(provider, "p1", issuer, 60));
	assert_true(takes(provider, NULL, issuer, 60)); /* the set's only key */
	assert_true(takes(own, own_kid, "urn:celld:cell", 60));
	/* each issuer with its own key alone */
	assert_false(takes(provider, "p1", "urn:celld:cell", 60));
	assert_false(takes(own, own_kid, issuer, 60));
	assert_false(takes(own, "p1", issuer, 60));
	assert_false(takes(own, NULL, "urn:celld:cell", 60));
	assert_false(takes(provider, own_kid, "urn:celld:cell", 60));
	assert_false(takes(provider, "p2", issuer, 60));
	assert_false(takes(provider, "", issuer, 60));
	assert_false(takes(stranger, "p1", issuer, 60));
	assert_false(takes(provider, "p1", "https://other", 60));
	/* time */
	assert_false(takes(provider, "p1", issuer, 0));
	assert_false(takes(provider, "p1", issuer, -60));
	assert_false(takes(own, own_kid, "urn:celld:cell", 0));
	key_free(own);
	key_free(stranger);
}

static void test_reload(void **state)
{
	(void)state;
	struct key *next = NULL;
	struct buffer error = {.bytes = NULL};
	assert_int_equal(key_generate(KEY_EDDSA, TEXT("p2"), &next), STATUS_OK);
	write_jwks(next);
	assert_int_equal(access_reload(access_under_test, &error), STATUS_OK);
	assert_true(takes(next, "p2", issuer, 60));
	assert_false(takes(provider, "p1", issuer, 60));
	/* a broken file changes nothing */
	assert_int_equal(truncate(jwks_file, 5), 0);
	assert_int_equal(access_reload(access_under_test, &error), STATUS_INVALID);
	assert_true(error.length > 0);
	assert_true(takes(next, "p2", issuer, 60));
	write_jwks(provider);
	assert_int_equal(access_reload(access_under_test, &error), STATUS_OK);
	assert_true(takes(provider, "p1", issuer, 60));
	buffer_free(&error);
	key_free(next);
}

/* Tokens of the provider must be meant for us; the cell's own are. */
static void test_audience(void **state)
{
	(void)state;
	static const struct {
		const char *claim, *more; /* claim NULL: the default */
		bool is_taken;
	} cases[] = {
		{NULL, "", false},
		{NULL, ",\"aud\":\"edcv\"", true},
		{NULL, ",\"aud\":\"edc\"", false},
		{NULL, ",\"aud\":\"edcv2\"", false},
		{NULL, ",\"aud\":\"\"", false},
		{NULL, ",\"aud\":[\"other\",\"edcv\"]", true},
		{NULL, ",\"aud\":[\"other\"]", false},
		{NULL, ",\"aud\":[]", false},
		{NULL, ",\"aud\":{\"edcv\":1}", false},
		{NULL, ",\"azp\":\"edcv\"", false},
		{"azp", ",\"azp\":\"edcv\"", true},
		{"azp", ",\"azp\":\"other\",\"aud\":\"edcv\"", false},
	};
	struct key *own = own_key();
	char kid[KEY_THUMBPRINT_LENGTH + 1], audience[] = "edcv";
	struct access *all = access_under_test;
	assert_int_equal(key_thumbprint(own, kid), STATUS_OK);
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct buffer error = {0};
		const struct access_settings settings = {.provider = {.jwks_file = jwks_file,
													 .issuer = issuer,
													 .audience = audience,
													 .audience_claim = (char *)(uintptr_t)cases[i].claim},
			.key_file = key_file};
		assert_int_equal(access_open(&settings, pool, &access_under_test, &error), STATUS_OK);
		more_claims = cases[i].more;
		if (takes(provider, "p1", issuer, 60) != cases[i].is_taken)
			fail_msg("%s: must%s be taken", cases[i].more, cases[i].is_taken ? "" : " not");
		more_claims = "";
		assert_true(takes(own, kid, "urn:celld:cell", 60));
		access_close(access_under_test);
	}
	access_under_test = all;
	key_free(own);
}

/* One place for keys, an issuer where none is told, addresses that are some. */
static void test_sources(void **state)
{
	(void)state;
	static char url[] = "https://idp.example/keys", discovery[] = "http://idp.example/.well-known/openid-configuration",
				bad[] = "ftp://idp.example";
	const struct {
		struct provider_settings provider;
		enum status status;
		const char *error;
	} cases[] = {
		{{.jwks_url = url, .issuer = issuer}, STATUS_OK, NULL},
		{{.discovery_url = discovery}, STATUS_OK, NULL},
		{{.discovery_url = discovery, .issuer = issuer}, STATUS_OK, NULL},
		{{.jwks_url = url}, STATUS_INVALID, "access.issuer: required with access.jwks_url"},
		{{.jwks_url = url, .discovery_url = discovery, .issuer = issuer}, STATUS_INVALID, "access: only one of"},
		{{.jwks_file = jwks_file, .jwks_url = url, .issuer = issuer}, STATUS_INVALID, "access: only one of"},
		{{.jwks_url = bad, .issuer = issuer}, STATUS_INVALID, "access.jwks_url"},
		{{.discovery_url = bad}, STATUS_INVALID, "access.discovery_url"},
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct worker_pool *workers = worker_pool_new(1);
		const struct access_settings settings = {.provider = cases[i].provider, .key_file = key_file};
		struct access *access = NULL, *all = access_under_test;
		struct buffer error = {0};
		assert_int_equal(access_open(&settings, workers, &access, &error), cases[i].status);
		if (cases[i].error != NULL) {
			assert_ptr_equal(strstr(error.bytes, cases[i].error), error.bytes);
		} else { /* nothing is believed before the keys are there */
			access_under_test = access;
			assert_false(takes(provider, "p1", issuer, 60));
			access_under_test = all;
		}
		access_close(access);
		worker_pool_free(workers);
		buffer_free(&error);
	}
}

static void test_opening(void **state)
{
	(void)state;
	struct access *second = NULL;
	struct buffer token = {.bytes = NULL};
	struct stat info;
	assert_int_equal(stat(key_file, &info), 0);
	assert_int_equal(info.st_mode & 07777, 0400);
	/* a tool mints with the same key */
	assert_int_equal(open_access(NULL, NULL, NULL, &second), STATUS_OK);
	assert_int_equal(access_token(second, TEXT("p1"), TEXT("management-api:read"), 60, &token), STATUS_OK);
	struct buffer value = with_bearer(&token);
	assert_true(reads(value.bytes));
	assert_int_equal(access_token(second, TEXT(""), TEXT("x"), 60, &token), STATUS_INVALID);
	assert_int_equal(access_token(second, TEXT("p1"), TEXT("x"), 0, &token), STATUS_INVALID);
	assert_int_equal(access_token(second, TEXT("p1"), TEXT("x"), INT64_MAX, &token), STATUS_INVALID);
	access_close(second);
	buffer_free(&value);
	buffer_free(&token);
	char missing[] = "/nonexistent/jwks.json", own[] = "urn:celld:cell", empty[] = "";
	assert_int_equal(open_access(pool, jwks_file, NULL, &second), STATUS_INVALID);
	assert_int_equal(open_access(pool, jwks_file, empty, &second), STATUS_INVALID);
	assert_int_equal(open_access(pool, jwks_file, own, &second), STATUS_INVALID);
	assert_int_equal(open_access(pool, missing, issuer, &second), STATUS_NOT_FOUND);
	assert_int_equal(chmod(key_file, 0440), 0);
	assert_int_equal(open_access(pool, NULL, NULL, &second), STATUS_FORBIDDEN);
	assert_int_equal(chmod(key_file, 0400), 0);
	/* a tool makes no key */
	char kept[160];
	snprintf(kept, sizeof(kept), "%s.kept", key_file);
	assert_int_equal(rename(key_file, kept), 0);
	assert_int_equal(open_access(NULL, NULL, NULL, &second), STATUS_NOT_FOUND);
	assert_int_equal(rename(kept, key_file), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scopes),
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_callers_must_be_participants),
		cmocka_unit_test(test_authorization_header),
		cmocka_unit_test(test_issuers),
		cmocka_unit_test(test_reload),
		cmocka_unit_test(test_opening),
		cmocka_unit_test(test_audience),
		cmocka_unit_test(test_sources),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
