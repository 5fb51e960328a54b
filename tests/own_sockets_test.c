/* Which addresses lead to a listener of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <string.h>

#include "server/own_sockets.h"

static const struct {
	const char *listener, *address;
	uint16_t port;
	bool is_own;
} cases[] = {
	{"127.0.0.1", "127.0.0.1", 9090, true},
	{"127.0.0.1", "127.0.0.1", 9091, false},
	{"127.0.0.1", "::ffff:127.0.0.1", 9090, true},
	{"127.0.0.1", "127.0.0.2", 9090, false},
	{"127.0.0.1", "0.0.0.0", 9090, true},
	{"127.0.0.1", "::", 9090, true},
	{"127.0.0.1", "::1", 9090, false},
	{"::1", "::1", 9090, true},
	{"::1", "127.0.0.1", 9090, false},
	{"10.1.2.3", "10.1.2.3", 9090, true},
	{"10.1.2.3", "10.1.2.4", 9090, false},
	{"0.0.0.0", "127.0.0.1", 9090, true},
	{"0.0.0.0", "127.9.9.9", 9090, true},
	{"0.0.0.0", "127.0.0.1", 80, false},
	{"0.0.0.0", "203.0.113.7", 9090, false},
	{"::", "127.0.0.1", 9090, true},
	{"::", "::1", 9090, true},
	{"::", "2001:db8::1", 9090, false},
};

static void read_address(const char *text, struct sockaddr_storage *into)
{
	memset(into, 0, sizeof(*into));
	struct sockaddr_in *v4 = (struct sockaddr_in *)into;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)into;
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		into->ss_family = AF_INET;
	} else {
		assert_int_equal(inet_pton(AF_INET6, text, &v6->sin6_addr), 1);
		into->ss_family = AF_INET6;
	}
}

static void test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct own_sockets sockets = {0};
		struct sockaddr_storage address;
		read_address(cases[i].address, &address);
		assert_int_equal(own_sockets_add(&sockets, text_of(cases[i].listener), 9090), STATUS_OK);
		if (own_sockets_contain(&sockets, (struct sockaddr *)&address, cases[i].port) != cases[i].is_own)
			fail_msg("listener %s, address %s port %u", cases[i].listener, cases[i].address, cases[i].port);
		own_sockets_free(&sockets);
	}
}

static void test_no_address(void **state)
{
	(void)state;
	struct own_sockets sockets = {0};
	assert_int_equal(own_sockets_add(&sockets, TEXT("localhost"), 9090), STATUS_INVALID);
	own_sockets_free(&sockets);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases), cmocka_unit_test(test_no_address)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
