/* Requests of cellctl: the token it asks with, and one call of the API. */
#include <curl/curl.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "control/cellctl.h"
#include "server/base/secret.h"
#include "tenants/access.h"

enum { TIMEOUT_S = 60, TOKEN_S = 300 };
/* A cell looks for the first, the managers of a fabric for one of the others. */
#define SCOPES                                                                                                         \
	"management-api:admin tenant-manager-api:read tenant-manager-api:write "                                           \
	"provision-manager-api:read provision-manager-api:write"

/* --- the token */

static bool open_access(const struct call *call, struct access **access)
{
	struct buffer error = {0}, file = {0};
	buffer_printf(&file, "%s/cfm.key", call->options[OPTION_STATE]); /* of cfmd, or else of celld */
	if (!file.failed && faccessat(AT_FDCWD, file.bytes, F_OK, 0) != 0) {
		buffer_clear(&file);
		buffer_printf(&file, "%s/cell.key", call->options[OPTION_STATE]);
	}
	const struct access_settings settings = {.key_file = file.bytes};
	bool is_open = access_open(&settings, NULL, access, &error) == STATUS_OK;
	if (!is_open)
		fprintf(stderr, "cellctl: %s\n", error.bytes == NULL ? "the cell's key cannot be read" : error.bytes);
	buffer_free(&error);
	buffer_free(&file);
	return is_open;
}

bool cellctl_token(const struct call *call, struct buffer *token)
{
	struct access *access;
	if (call->options[OPTION_TOKEN_FILE] != NULL) {
		if (!cellctl_read(call->options[OPTION_TOKEN_FILE], token)) {
			fprintf(stderr, "cellctl: %s: cannot be read\n", call->options[OPTION_TOKEN_FILE]);
			return false;
		}
		while (token->length > 0 && (token->bytes[token->length - 1] == '\n' || token->bytes[token->length - 1] == ' '))
			token->bytes[--token->length] = 0;
		return true;
	}
	if (!cellctl_needs(call, OPTION_STATE) || !open_access(call, &access))
		return false;
	bool is_made = access_token(access, TEXT("cellctl"), TEXT(SCOPES), TOKEN_S, token) == STATUS_OK;
	access_close(access);
	return is_made || (fprintf(stderr, "cellctl: no token could be made\n"), false);
}

int access_token_run(const struct command *command, struct call *call)
{
	struct access *access;
	struct buffer token = {0};
	uint64_t lifetime = TOKEN_S;
	const char *given = call->options[OPTION_LIFETIME], *subject = call->options[OPTION_SUBJECT];
	(void)command;
	if (!cellctl_needs(call, OPTION_SCOPES) || !cellctl_needs(call, OPTION_STATE))
		return EXIT_USAGE;
	if (given != NULL && (text_to_unsigned(text_of(given), UINT32_MAX, &lifetime) != STATUS_OK || lifetime == 0))
		return cellctl_fail("--lifetime must be seconds above 0");
	if (!open_access(call, &access))
		return EXIT_FAILED;
	bool is_made = access_token(access, text_of(subject == NULL ? "cellctl" : subject),
					   text_of(call->options[OPTION_SCOPES]), (int64_t)lifetime, &token) == STATUS_OK;
	access_close(access);
	if (is_made && call->options[OPTION_JSON] != NULL)
		printf("{\"token\":\"%s\"}\n", token.bytes);
	else if (is_made)
		puts(token.bytes);
	buffer_free(&token);
	return is_made ? 0 : cellctl_fail("no token could be made");
}

/* --- one request */

static size_t on_body(char *bytes, size_t size, size_t count, void *context)
{
	buffer_append(context, (struct text){bytes, size * count});
	return size * count;
}

static bool build_url(CURL *curl, const struct command *command, const struct call *call, struct buffer *url)
{
	const char *base = call->options[OPTION_URL];
	buffer_append(url, text_of(base == NULL ? "https://localhost:8443" : base));
	for (const char *at = command->path; *at != 0; at++) {
		if (*at != '{') {
			buffer_append_byte(url, *at);
			continue;
		}
		char *escaped = curl_easy_escape(curl, call->words[at[1] - '0'], 0);
		if (escaped == NULL)
			return false;
		buffer_append(url, text_of(escaped));
		curl_free(escaped);
		at += 2;
	}
	return !url->failed;
}

static struct curl_slist *build_headers(const struct buffer *token)
{
	struct buffer line = {0};
	buffer_printf(&line, "Authorization: Bearer %s", token->bytes);
	struct curl_slist *headers = line.failed ? NULL : curl_slist_append(NULL, line.bytes);
	struct curl_slist *more = headers == NULL ? NULL : curl_slist_append(headers, "Content-Type: application/json");
	buffer_wipe(&line);
	return more == NULL ? headers : more;
}

static CURLcode perform(CURL *curl, const struct command *command, const struct call *call, const char *url,
	struct curl_slist *headers, struct buffer *answer, char *error)
{
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, command->method);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https,http");
	curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)TIMEOUT_S);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
	if (call->options[OPTION_CA] != NULL)
		curl_easy_setopt(curl, CURLOPT_CAINFO, call->options[OPTION_CA]);
	if (command->build != NULL) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, call->body.bytes == NULL ? "" : call->body.bytes);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)call->body.length);
	}
	return curl_easy_perform(curl);
}

int cellctl_ask(const struct command *command, const struct call *call, struct buffer *answer)
{
	struct buffer token = {0}, url = {0};
	char error[CURL_ERROR_SIZE] = "";
	long status = 0;
	if (!cellctl_token(call, &token))
		return EXIT_FAILED;
	CURL *curl = curl_easy_init();
	struct curl_slist *headers = build_headers(&token);
	int result = EXIT_FAILED;
	if (curl == NULL || headers == NULL || !build_url(curl, command, call, &url))
		cellctl_fail("out of memory");
	else if (perform(curl, command, call, url.bytes, headers, answer, error) != CURLE_OK)
		cellctl_fail(error[0] == 0 ? "the cell cannot be reached" : error);
	else if (curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK && status >= 300)
		cellctl_print_error(status, answer);
	else
		result = 0;
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
	buffer_wipe(&token);
	buffer_free(&url);
	return result;
}
