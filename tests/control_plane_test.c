/* Registrations of control planes: what is taken, what is kept, and the list of a participant. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tenants/dp/signaling/control_plane.h"

#define HEAD "{\"controlplaneId\":\"cp\",\"endpoint\":\"https://c.example/s/\""
#define CREDENTIALS                                                                                                    \
	"\"type\":\"oauth2_client_credentials\",\"tokenEndpoint\":\"https://t.example/\",\"clientId\":\"me\","             \
	"\"clientSecret\":\"s3cret\""
#define KEY "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"k\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}"
#define EXCHANGE                                                                                                       \
	"\"type\":\"oauth2_token_exchange\",\"tokenExchangeEndpoint\":\"https://t.example/x\",\"issuer\":\"https://i\","   \
	"\"jwksUri\":\"https://i/jwks\""

static enum status parse(
	const char *text, struct json **root, struct control_plane **plane, struct text *secret, struct buffer *error)
{
	assert_int_equal(json_parse(text_of(text), NULL, root), STATUS_OK);
	return control_plane_parse(*root, plane, secret, error);
}

static void test_read(void **state)
{
	static const struct {
		const char *body, *wrong; /* NULL: good */
	} cases[] = {
		{HEAD "}", NULL},
		{HEAD ",\"authorization\":{}}", NULL},
		{"{\"id\":\"cp\",\"endpoint\":\"http://c\"}", NULL},
		{HEAD ",\"authorization\":{" CREDENTIALS ",\"jwks\":{\"keys\":[" KEY "]}}}", NULL},
		{HEAD ",\"authorization\":{" CREDENTIALS ",\"jwksUri\":\"https://j/\",\"extra\":1}}", NULL},
		{HEAD ",\"authorization\":{" EXCHANGE ",\"scope\":\"a b\",\"audience\":\"x\",\"resource\":\"y\"}}", NULL},
		{"{\"endpoint\":\"https://c\"}", "controlplaneId"},
		{"{\"controlplaneId\":\"a/b\",\"endpoint\":\"https://c\"}", "controlplaneId"},
		{"{\"controlplaneId\":\"cp\",\"endpoint\":\"c\"}", "endpoint"},
		{"{\"controlplaneId\":\"cp\",\"endpoint\":\"https://c/?q\"}", "endpoint"},
		{HEAD ",\"authorization\":\"x\"}", "authorization.type"},
		{HEAD ",\"authorization\":{\"type\":\"x\"}}", "authorization.type"},
		{HEAD ",\"authorization\":{" CREDENTIALS ",\"jwks\":{\"keys\":[]}}}", "jwks"},
		{HEAD ",\"authorization\":{" CREDENTIALS ",\"jwks\":{\"keys\":[" KEY "]},\"jwksUri\":\"https://j/\"}}", "jwks"},
		{HEAD ",\"authorization\":{" CREDENTIALS ",\"jwksUri\":\"ftp://j/\"}}", "jwksUri"},
		{HEAD ",\"authorization\":{\"type\":\"oauth2_client_credentials\"}}", "tokenEndpoint"},
		{HEAD ",\"authorization\":{" EXCHANGE ",\"jwks\":{\"keys\":[" KEY "]}}}", "jwks"},
		{HEAD ",\"authorization\":{\"type\":\"oauth2_token_exchange\",\"tokenExchangeEndpoint\":\"https://t\"}}",
			"issuer"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct control_plane *plane = NULL;
		struct json *root = NULL;
		struct text secret;
		struct buffer error = {0};
		enum status status = parse(cases[i].body, &root, &plane, &secret, &error);
		if (status != (cases[i].wrong == NULL ? STATUS_OK : STATUS_INVALID))
			print_error("%s\n", cases[i].body);
		assert_int_equal(status, cases[i].wrong == NULL ? STATUS_OK : STATUS_INVALID);
		if (cases[i].wrong != NULL)
			assert_true(text_starts_with(buffer_text(&error), text_of(cases[i].wrong)));
		control_plane_unref(plane);
		json_free(root);
		buffer_free(&error);
	}
}

static void test_print(void **state)
{
	struct control_plane *plane, *again;
	struct json *root, *stored;
	struct text secret, none;
	struct buffer error = {0}, print = {0};
	(void)state;
	assert_int_equal(
		parse(HEAD ",\"authorization\":{" CREDENTIALS ",\"jwks\":{\"keys\":[" KEY "]},\"more\":\"s3cret\"}}", &root,
			&plane, &secret, &error),
		STATUS_OK);
	assert_true(text_equals(secret, TEXT("s3cret")));
	assert_string_equal(plane->endpoint, "https://c.example/s"); /* the base before /transfers */
	control_plane_print(root, plane, &print);
	assert_null(strstr(print.bytes, "s3cret"));
	assert_int_equal(parse(print.bytes, &stored, &again, &none, &error), STATUS_OK);
	assert_null(none.bytes);
	assert_int_equal(again->key_count, 1);
	assert_string_equal(again->token_endpoint, "https://t.example/");
	control_plane_unref(again);
	control_plane_unref(plane);
	json_free(root);
	json_free(stored);
	buffer_free(&print);
	buffer_free(&error);
}

static void test_check(void **state)
{
	static const struct {
		const char *body;
		bool allows_clear, needs_keys;
		const char *wrong;
	} cases[] = {
		{"{\"controlplaneId\":\"cp\",\"endpoint\":\"http://c\"}", false, true, "endpoint"},
		{"{\"controlplaneId\":\"cp\",\"endpoint\":\"http://c\"}", true, true, NULL},
		{HEAD ",\"authorization\":{" CREDENTIALS "}}", false, true, "jwks"},
		{HEAD ",\"authorization\":{" CREDENTIALS "}}", false, false, NULL},
		{HEAD ",\"authorization\":{" CREDENTIALS ",\"jwksUri\":\"http://j/\"}}", false, true, "jwksUri"},
		{HEAD ",\"authorization\":{\"type\":\"oauth2_client_credentials\",\"tokenEndpoint\":\"https://t\","
			  "\"clientId\":\"c\",\"jwksUri\":\"https://j/\"}}",
			false, true, "clientSecret"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct control_plane *plane;
		struct json *root;
		struct text secret;
		struct buffer error = {0};
		assert_int_equal(parse(cases[i].body, &root, &plane, &secret, &error), STATUS_OK);
		enum status status = control_plane_check(plane, secret, cases[i].allows_clear, cases[i].needs_keys, &error);
		assert_int_equal(status, cases[i].wrong == NULL ? STATUS_OK : STATUS_INVALID);
		if (cases[i].wrong != NULL)
			assert_true(text_starts_with(buffer_text(&error), text_of(cases[i].wrong)));
		control_plane_unref(plane);
		json_free(root);
		buffer_free(&error);
	}
}

static struct control_plane *make(const char *body)
{
	struct control_plane *plane;
	struct json *root;
	struct text secret;
	struct buffer error = {0};
	assert_int_equal(parse(body, &root, &plane, &secret, &error), STATUS_OK);
	json_free(root);
	return plane;
}

static void test_list(void **state)
{
	struct control_planes *one, *two, *replaced, *left, *none;
	struct text ctx = TEXT("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
	(void)state;
	assert_int_equal(control_planes_change(
						 NULL, ctx, TEXT("a"), make("{\"controlplaneId\":\"a\",\"endpoint\":\"https://one\"}"), &one),
		STATUS_OK);
	assert_int_equal(control_planes_change(
						 one, ctx, TEXT("b"), make("{\"controlplaneId\":\"b\",\"endpoint\":\"https://two\"}"), &two),
		STATUS_OK);
	assert_int_equal(control_planes_change(two, ctx, TEXT("a"),
						 make("{\"controlplaneId\":\"a\",\"endpoint\":\"https://three\"}"), &replaced),
		STATUS_OK);
	control_planes_free(one);
	control_planes_free(two);
	assert_int_equal(replaced->count, 2);
	assert_string_equal(control_planes_find(replaced, TEXT("a"))->endpoint, "https://three");
	assert_string_equal(control_planes_find(replaced, TEXT("b"))->endpoint, "https://two");
	assert_null(control_planes_find(replaced, TEXT("c")));
	assert_int_equal(control_planes_change(replaced, ctx, TEXT("a"), NULL, &left), STATUS_OK);
	assert_int_equal(left->count, 1);
	assert_int_equal(control_planes_change(left, ctx, TEXT("b"), NULL, &none), STATUS_OK);
	assert_null(none);
	assert_null(control_planes_find(NULL, TEXT("a")));
	control_planes_free(replaced);
	control_planes_free(left);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_read), cmocka_unit_test(test_print),
		cmocka_unit_test(test_check), cmocka_unit_test(test_list)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
