/* cellctl: the operator's tool. Every command is one call of the cell's management API, described by one row of a
 * table. */
#include <curl/curl.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/cellctl.h"
#include "control/cellctl_receipt.h"
#include "server/base/json.h"
#include "server/base/secret.h"
#include "tenants/access.h"

enum { INPUT_MAX = 8 * 1024 * 1024, TIMEOUT_S = 60, TOKEN_S = 300 };
/* A cell looks for the first, the managers of a fabric for one of the others. */
#define SCOPES                                                                                                         \
	"management-api:admin tenant-manager-api:read tenant-manager-api:write "                                           \
	"provision-manager-api:read provision-manager-api:write"
#define PARTICIPANTS "/api/mgmt/v5beta/participants"
#define TENANT "/api/cell/v1/participants/{0}"

static const struct {
	const char *name, *environment, *help;
	bool is_flag; /* without a value */
} option_table[OPTION_COUNT] = {
	[OPTION_URL] = {"--url", "CELLCTL_URL", "of the cell (https://localhost:8443)"},
	[OPTION_CA] = {"--ca", "CELLCTL_CA", "PEM file of the authority of its certificate"},
	[OPTION_STATE] = {"--state", "CELLCTL_STATE", "the cell's state directory: a token is made with its key"},
	[OPTION_TOKEN_FILE] = {"--token-file", "CELLCTL_TOKEN_FILE", "a management token, instead of --state"},
	[OPTION_JSON] = {"--json", NULL, "print what the cell answered", true},
	[OPTION_ID] = {"--id", NULL, "identifier of what is created"},
	[OPTION_IDENTITY] = {"--identity", NULL, "DID of the participant"},
	[OPTION_PARTICIPANT_STATE] = {"--participant-state", NULL, "CREATED, ACTIVATED, DEACTIVATED"},
	[OPTION_FILE] = {"--file", NULL, "JSON document or secret; - or none: standard input"},
	[OPTION_DATASET] = {"--dataset", NULL, "of the flow"},
	[OPTION_AGREEMENT] = {"--agreement", NULL, "of the flow"},
	[OPTION_CONSUMER] = {"--consumer", NULL, "counter party of the flow"},
	[OPTION_NOT_BEFORE] = {"--not-before", NULL, "milliseconds since 1970"},
	[OPTION_EXPIRES] = {"--expires", NULL, "milliseconds since 1970"},
	[OPTION_LIFETIME] = {"--lifetime", NULL, "seconds"},
	[OPTION_SCOPES] = {"--scopes", NULL, "space-separated"},
	[OPTION_SUBJECT] = {"--subject", NULL, "of the token"},
	[OPTION_FLOW] = {"--flow", NULL, "only of this flow"},
	[OPTION_KEY] = {"--key", NULL, "public JWK file: the one key that counts"},
	[OPTION_OUTPUT] = {"--output", NULL, "file to write; a part of it is taken up again"},
	[OPTION_APPROVE] = {"--approve", NULL, "the cell is let in at once", true},
	[OPTION_FORCE] = {"--force", NULL, "although something stands against it", true},
	[OPTION_EXPLAIN] = {"--explain", NULL, "tell of each cell why", true},
};

static int fail(const char *what)
{
	fprintf(stderr, "cellctl: %s\n", what);
	return EXIT_FAILED;
}

/* --- input */

static bool read_whole(const char *path, struct buffer *into)
{
	FILE *file = path == NULL || strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	char block[8192];
	size_t count;
	if (file == NULL)
		return false;
	while ((count = fread(block, 1, sizeof(block), file)) > 0 && into->length < INPUT_MAX)
		buffer_append(into, (struct text){block, count});
	bool is_read = !ferror(file) && !into->failed;
	wipe(block, sizeof(block));
	if (file != stdin)
		fclose(file);
	return is_read;
}

static void add_member(struct buffer *body, const char *name, const char *value, bool is_number)
{
	if (value == NULL)
		return;
	buffer_append_byte(body, body->length == 0 ? '{' : ',');
	buffer_append_json(body, text_of(name));
	buffer_append_byte(body, ':');
	if (is_number)
		buffer_append(body, text_of(value));
	else
		buffer_append_json(body, text_of(value));
}

static bool needs(const struct call *call, enum option option)
{
	if (call->options[option] != NULL)
		return true;
	fprintf(stderr, "cellctl: %s is needed: %s\n", option_table[option].name, option_table[option].help);
	return false;
}

static bool build_participant(struct call *call)
{
	const char *state = call->options[OPTION_PARTICIPANT_STATE];
	if (!needs(call, OPTION_IDENTITY))
		return false;
	add_member(&call->body, "@type", "ParticipantContext", false);
	add_member(&call->body, "@id", call->options[OPTION_ID], false);
	add_member(&call->body, "identity", call->options[OPTION_IDENTITY], false);
	add_member(&call->body, "state", state == NULL ? "CREATED" : state, false);
	buffer_append(&call->body, TEXT(",\"properties\":{}}"));
	return true;
}

static bool build_activate(struct call *call)
{
	buffer_append(&call->body, TEXT("{\"state\":\"ACTIVATED\"}"));
	return true;
}

static bool build_deactivate(struct call *call)
{
	buffer_append(&call->body, TEXT("{\"state\":\"DEACTIVATED\"}"));
	return true;
}

/* KEY=VALUE sets, KEY= with nothing deletes. */
static bool build_entries(struct call *call)
{
	buffer_append(&call->body, TEXT("{\"entries\":{"));
	for (unsigned i = 1; i < call->word_count; i++) {
		struct text word = text_of(call->words[i]);
		size_t equals = text_find(word, '=');
		if (equals == word.length || equals == 0) {
			fprintf(stderr, "cellctl: %s: must be KEY=VALUE\n", call->words[i]);
			return false;
		}
		buffer_append(&call->body, i > 1 ? TEXT(",") : TEXT(""));
		buffer_append_json(&call->body, text_slice(word, 0, equals));
		buffer_append_byte(&call->body, ':');
		if (equals + 1 == word.length)
			buffer_append(&call->body, TEXT("null"));
		else
			buffer_append_json(&call->body, text_slice(word, equals + 1, word.length));
	}
	buffer_append(&call->body, TEXT("}}"));
	return true;
}

bool cellctl_read_file(const char *path, struct buffer *into)
{
	if (read_whole(path, into))
		return true;
	fprintf(stderr, "cellctl: %s: cannot be read\n", path);
	return false;
}

static bool build_file(struct call *call)
{
	return cellctl_read_file(call->options[OPTION_FILE], &call->body);
}

static bool build_flow(struct call *call)
{
	if (!needs(call, OPTION_DATASET) || !needs(call, OPTION_AGREEMENT) || !needs(call, OPTION_CONSUMER))
		return false;
	add_member(&call->body, "id", call->options[OPTION_ID], false);
	add_member(&call->body, "datasetId", call->options[OPTION_DATASET], false);
	add_member(&call->body, "agreementId", call->options[OPTION_AGREEMENT], false);
	add_member(&call->body, "counterParty", call->options[OPTION_CONSUMER], false);
	add_member(&call->body, "notBefore", call->options[OPTION_NOT_BEFORE], true);
	add_member(&call->body, "expiresAt", call->options[OPTION_EXPIRES], true);
	buffer_append_byte(&call->body, '}');
	return true;
}

static bool build_token(struct call *call)
{
	add_member(&call->body, "lifetimeSeconds", call->options[OPTION_LIFETIME], true);
	buffer_append(&call->body, call->body.length == 0 ? TEXT("{}") : TEXT("}"));
	return true;
}

static bool build_text(struct call *call, const char *member)
{
	struct buffer value = {0};
	bool is_read = read_whole(call->options[OPTION_FILE], &value);
	if (value.length > 0 && value.bytes[value.length - 1] == '\n')
		value.length--;
	buffer_printf(&call->body, "{\"%s\":", member);
	buffer_append_json(&call->body, buffer_text(&value));
	buffer_append_byte(&call->body, '}');
	buffer_wipe(&value);
	return is_read;
}

static bool build_secret(struct call *call)
{
	return build_text(call, "value");
}

static bool build_key(struct call *call)
{
	return build_text(call, "privateKey");
}

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
		if (!read_whole(call->options[OPTION_TOKEN_FILE], token)) {
			fprintf(stderr, "cellctl: %s: cannot be read\n", call->options[OPTION_TOKEN_FILE]);
			return false;
		}
		while (token->length > 0 && (token->bytes[token->length - 1] == '\n' || token->bytes[token->length - 1] == ' '))
			token->bytes[--token->length] = 0;
		return true;
	}
	if (!needs(call, OPTION_STATE) || !open_access(call, &access))
		return false;
	bool is_made = access_token(access, TEXT("cellctl"), TEXT(SCOPES), TOKEN_S, token) == STATUS_OK;
	access_close(access);
	return is_made || (fprintf(stderr, "cellctl: no token could be made\n"), false);
}

static int make_access_token(const struct command *command, struct call *call)
{
	struct access *access;
	struct buffer token = {0};
	uint64_t lifetime = TOKEN_S;
	const char *given = call->options[OPTION_LIFETIME], *subject = call->options[OPTION_SUBJECT];
	(void)command;
	if (!needs(call, OPTION_SCOPES) || !needs(call, OPTION_STATE))
		return EXIT_USAGE;
	if (given != NULL && (text_to_unsigned(text_of(given), UINT32_MAX, &lifetime) != STATUS_OK || lifetime == 0))
		return fail("--lifetime must be seconds above 0");
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
	return is_made ? 0 : fail("no token could be made");
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

/* --- output */

static void print_value(const struct json *value)
{
	struct text text = json_text(value);
	if (text.bytes != NULL) {
		printf("%.*s", TEXT_ARGUMENTS(text));
		return;
	}
	struct buffer json = {0};
	if (value != NULL)
		json_print(value, &json);
	printf("%.*s", (int)json.length, json.bytes == NULL ? "" : json.bytes);
	buffer_free(&json);
}

static size_t width_of(const struct json *value)
{
	struct text text = json_text(value);
	if (text.bytes != NULL)
		return text.length;
	struct buffer json = {0};
	if (value != NULL)
		json_print(value, &json);
	size_t width = json.length;
	buffer_free(&json);
	return width;
}

static void print_table(const struct json *list, const char *columns)
{
	enum { COLUMNS_MAX = 12 };
	char *names[COLUMNS_MAX];
	size_t widths[COLUMNS_MAX], count = 0;
	struct text rest = text_of(columns), part;
	for (bool done = false; count < COLUMNS_MAX && text_next_part(&rest, ',', &part, &done); count++) {
		names[count] = text_copy(part);
		widths[count] = part.length;
		for (const struct json *row = json_first(list); row != NULL; row = json_next(row)) {
			size_t width = width_of(json_member(row, names[count]));
			widths[count] = width > widths[count] ? width : widths[count];
		}
	}
	for (size_t i = 0; i < count; i++)
		printf("%-*s%s", (int)widths[i], names[i], i + 1 < count ? "  " : "\n");
	for (const struct json *row = json_first(list); row != NULL; row = json_next(row)) {
		for (size_t i = 0; i < count; i++) {
			const struct json *value = json_member(row, names[i]);
			print_value(value);
			printf("%*s", i + 1 < count ? (int)(widths[i] - width_of(value)) + 2 : 0, "");
		}
		putchar('\n');
	}
	for (size_t i = 0; i < count; i++)
		free(names[i]);
}

static void print_object(const struct json *object)
{
	size_t width = 0;
	for (const struct json *member = json_first(object); member != NULL; member = json_next(member))
		width = strlen(json_name(member)) > width ? strlen(json_name(member)) : width;
	for (const struct json *member = json_first(object); member != NULL; member = json_next(member)) {
		printf("%-*s  ", (int)width, json_name(member));
		print_value(member);
		putchar('\n');
	}
}

static const char *first_text(const struct json *object, const char *const *names, char *room, size_t size)
{
	for (size_t i = 0; names[i] != NULL; i++) {
		struct text text = json_member_text(object, names[i]);
		if (text.bytes != NULL) {
			snprintf(room, size, "%.*s", TEXT_ARGUMENTS(text));
			return room;
		}
	}
	return NULL;
}

static int print_error(long status, const struct buffer *answer)
{
	static const char *const names[] = {"detail", "message", "error", "title", NULL};
	char room[512];
	struct json *root = NULL;
	const char *what = NULL;
	if (json_parse(buffer_text(answer), NULL, &root) == STATUS_OK)
		what = first_text(json_kind(root) == JSON_ARRAY ? json_first(root) : root, names, room, sizeof(room));
	fprintf(stderr, "cellctl: %ld %s\n", status,
		what != NULL                                 ? what
		: answer->length > 0 && answer->length < 200 ? answer->bytes
													 : "");
	json_free(root);
	return EXIT_FAILED;
}

static int print_answer(const struct command *command, const struct call *call, const struct buffer *answer)
{
	struct json *root = NULL;
	if (call->options[OPTION_JSON] != NULL) {
		if (answer->length > 0)
			puts(answer->bytes);
		return 0;
	}
	if (command->shape == SHAPE_TEXT) {
		fputs(answer->bytes, stdout);
		return 0;
	}
	static const struct json_limits limits = {64 * 1024 * 1024, 32, 4000000};
	if (answer->length == 0 || command->shape == SHAPE_QUIET) {
		puts("done");
		return 0;
	}
	if (json_parse(buffer_text(answer), &limits, &root) != STATUS_OK)
		return fail("the answer is not JSON");
	if (command->shape == SHAPE_TABLE)
		print_table(root, command->columns);
	else
		print_object(root);
	json_free(root);
	return 0;
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
		fail("out of memory");
	else if (perform(curl, command, call, url.bytes, headers, answer, error) != CURLE_OK)
		fail(error[0] == 0 ? "the cell cannot be reached" : error);
	else if (curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK && status >= 300)
		print_error(status, answer);
	else
		result = 0;
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
	buffer_wipe(&token);
	buffer_free(&url);
	return result;
}

static int request(const struct command *command, struct call *call)
{
	struct buffer answer = {0};
	if (command->build != NULL && !command->build(call))
		return EXIT_USAGE;
	int result = cellctl_ask(command, call, &answer);
	if (result == 0)
		result = print_answer(command, call, &answer);
	buffer_free(&answer);
	return result;
}

/* --- receipts */

struct fetching {
	const struct command *command;
	const struct call *call;
};

/* A page: the query behind the command's path. */
static int fetch_receipts(void *context, const char *query, struct buffer *answer)
{
	const struct fetching *fetching = context;
	struct buffer path = {0};
	buffer_printf(&path, "%s?%s", fetching->command->path, query);
	struct command page = *fetching->command;
	page.path = path.bytes;
	int result = path.failed ? fail("out of memory") : cellctl_ask(&page, fetching->call, answer);
	buffer_free(&path);
	return result;
}

static int list_receipts(const struct command *command, struct call *call)
{
	struct fetching fetching = {command, call};
	return receipts_show(
		call->words[0], call->options[OPTION_FLOW], call->options[OPTION_JSON] != NULL, fetch_receipts, &fetching);
}

static int export_receipts(const struct command *command, struct call *call)
{
	struct fetching fetching = {command, call};
	return receipts_show(call->words[0], call->options[OPTION_FLOW], true, fetch_receipts, &fetching);
}

static int verify_receipts(const struct command *command, struct call *call)
{
	(void)command;
	return receipts_verify(call->words[0], call->options[OPTION_KEY]);
}

/* --- the commands */

static const struct command commands[] = {
	{"participants list", "", 0, "GET", PARTICIPANTS "?offset=0&limit=100000", NULL, SHAPE_TABLE, "@id,state,identity",
		NULL, "all participants"},
	{"participants show", "CTX", 1, "GET", PARTICIPANTS "/{0}", NULL, SHAPE_OBJECT, NULL, NULL, "one participant"},
	{"participants create", "--identity DID [--id CTX] [--state ACTIVATED]", 0, "POST", PARTICIPANTS, build_participant,
		SHAPE_OBJECT, NULL, NULL, "a new participant"},
	{"participants activate", "CTX", 1, "PUT", PARTICIPANTS "/{0}", build_activate, SHAPE_QUIET, NULL, NULL,
		"serve it"},
	{"participants deactivate", "CTX", 1, "PUT", PARTICIPANTS "/{0}", build_deactivate, SHAPE_QUIET, NULL, NULL,
		"stop serving it, transfers under way included"},
	{"participants delete", "CTX", 1, "DELETE", PARTICIPANTS "/{0}", NULL, SHAPE_QUIET, NULL, NULL,
		"with all it has, keys and secrets included"},
	{"participants config", "CTX", 1, "GET", PARTICIPANTS "/{0}/config", NULL, SHAPE_OBJECT, NULL, NULL,
		"its configuration entries"},
	{"participants config-set", "CTX KEY=VALUE...", 2, "PATCH", PARTICIPANTS "/{0}/config", build_entries, SHAPE_QUIET,
		NULL, NULL, "set entries; KEY= deletes"},
	{"datasets list", "CTX", 1, "GET", TENANT "/datasets?limit=2000", NULL, SHAPE_TABLE, "id,type,createdAt", NULL,
		"a participant's datasets"},
	{"datasets show", "CTX ID", 2, "GET", TENANT "/datasets/{1}", NULL, SHAPE_OBJECT, NULL, NULL, "one dataset"},
	{"datasets create", "CTX [--file F]", 1, "POST", TENANT "/datasets", build_file, SHAPE_QUIET, NULL, NULL,
		"from a JSON document"},
	{"datasets put", "CTX ID [--file F]", 2, "PUT", TENANT "/datasets/{1}", build_file, SHAPE_QUIET, NULL, NULL,
		"create or replace"},
	{"datasets delete", "CTX ID", 2, "DELETE", TENANT "/datasets/{1}", NULL, SHAPE_QUIET, NULL, NULL, "remove"},
	{"flows list", "CTX", 1, "GET", TENANT "/flows?limit=2000", NULL, SHAPE_TABLE,
		"id,state,datasetId,agreementId,counterParty,bytesSent,requests", NULL, "a participant's flows"},
	{"flows show", "CTX ID", 2, "GET", TENANT "/flows/{1}", NULL, SHAPE_OBJECT, NULL, NULL, "one flow"},
	{"flows create", "CTX --dataset D --agreement A --consumer C [--id ID] [--not-before MS] [--expires MS]", 1, "POST",
		TENANT "/flows", build_flow, SHAPE_OBJECT, NULL, NULL, "a dataset under an agreement"},
	{"flows suspend", "CTX ID", 2, "POST", TENANT "/flows/{1}/suspend", NULL, SHAPE_QUIET, NULL, NULL,
		"stop its bytes"},
	{"flows resume", "CTX ID", 2, "POST", TENANT "/flows/{1}/resume", NULL, SHAPE_QUIET, NULL, NULL,
		"let them flow again"},
	{"flows terminate", "CTX ID", 2, "POST", TENANT "/flows/{1}/terminate", NULL, SHAPE_QUIET, NULL, NULL, "for good"},
	{"flows complete", "CTX ID", 2, "POST", TENANT "/flows/{1}/complete", NULL, SHAPE_QUIET, NULL, NULL,
		"nothing more is to come"},
	{"flows delete", "CTX ID", 2, "DELETE", TENANT "/flows/{1}", NULL, SHAPE_QUIET, NULL, NULL, "remove"},
	{"agreements list", "CTX", 1, "GET", TENANT "/agreements?limit=2000", NULL, SHAPE_TABLE, "id,unenforceable", NULL,
		"what flows are bound by"},
	{"agreements show", "CTX ID", 2, "GET", TENANT "/agreements/{1}", NULL, SHAPE_OBJECT, NULL, NULL, "one agreement"},
	{"agreements put", "CTX ID [--file F]", 2, "PUT", TENANT "/agreements/{1}", build_file, SHAPE_QUIET, NULL, NULL,
		"create or replace: {\"policy\": an ODRL Agreement or Set}"},
	{"agreements delete", "CTX ID", 2, "DELETE", TENANT "/agreements/{1}", NULL, SHAPE_QUIET, NULL, NULL, "remove"},
	{"agreements book", "CTX ID", 2, "GET", TENANT "/agreements/{1}/book", NULL, SHAPE_OBJECT, NULL, NULL,
		"what has been sent under it"},
	{"receipt list", "CTX [--flow ID]", 1, "GET", TENANT "/receipts", NULL, SHAPE_TABLE, NULL, list_receipts,
		"what was sent, newest last"},
	{"receipt export", "CTX [--flow ID]", 1, "GET", TENANT "/receipts", NULL, SHAPE_TABLE, NULL, export_receipts,
		"the same as signed lines of JSON, with the keys"},
	{"receipt verify", "FILE [--key JWK-FILE]", 1, NULL, NULL, NULL, SHAPE_QUIET, NULL, verify_receipts,
		"check an export, without a cell"},
	{"tokens create", "CTX FLOW [--lifetime SECONDS]", 2, "POST", TENANT "/flows/{1}/token", build_token, SHAPE_OBJECT,
		NULL, NULL, "an access token for a consumer"},
	{"tokens revoke", "CTX FLOW JTI", 3, "DELETE", TENANT "/flows/{1}/tokens/{2}", NULL, SHAPE_QUIET, NULL, NULL,
		"refuse it from now on"},
	{"keys import", "CTX ALIAS [--file PEM]", 2, "PUT", TENANT "/keys/{1}", build_key, SHAPE_OBJECT, NULL, NULL,
		"a private key into the vault, where a key mapping can name it"},
	{"secrets put", "CTX ALIAS [--file F]", 2, "PUT", TENANT "/secrets/{1}", build_secret, SHAPE_QUIET, NULL, NULL,
		"into the vault, from a file or standard input"},
	{"secrets delete", "CTX ALIAS", 2, "DELETE", TENANT "/secrets/{1}", NULL, SHAPE_QUIET, NULL, NULL, "out of it"},
	{"pull", "CTX FLOW [PATH] [--output FILE]", 2, NULL, NULL, NULL, SHAPE_QUIET, NULL, pull_run,
		"the data of a flow this participant consumes, cuts survived, digest checked"},
	{"status", "", 0, "GET", "/api/cell/v1/status", NULL, SHAPE_OBJECT, NULL, NULL, "of the cell"},
	{"access-token", "--scopes S [--lifetime SECONDS] [--subject X]", 0, NULL, NULL, NULL, SHAPE_QUIET, NULL,
		make_access_token, "a management token, made with the cell's key"},
};
enum { OWN_COUNT = sizeof(commands) / sizeof(commands[0]) };

static size_t command_count(void)
{
	return OWN_COUNT + fabric_command_count + place_command_count;
}

static const struct command *command_at(size_t index)
{
	if (index < OWN_COUNT)
		return &commands[index];
	index -= OWN_COUNT;
	return index < fabric_command_count ? &fabric_commands[index] : &place_commands[index - fabric_command_count];
}

static void print_help(FILE *out)
{
	fputs("cellctl [options] COMMAND\n\n", out);
	for (size_t i = 0; i < command_count(); i++)
		fprintf(out, "  %s %s\n      %s\n", command_at(i)->words, command_at(i)->arguments, command_at(i)->help);
	fputs("\noptions\n", out);
	for (int i = 0; i < OPTION_COUNT; i++)
		fprintf(out, "  %-20s %s%s%s\n", option_table[i].name, option_table[i].help,
			option_table[i].environment == NULL ? "" : "; environment ",
			option_table[i].environment == NULL ? "" : option_table[i].environment);
}

/* How many of `words` are the command's own; 0: it is not this one. */
static unsigned match(const struct command *command, const char *const *words, unsigned count)
{
	struct text rest = text_of(command->words), part;
	unsigned used = 0;
	for (bool done = false; text_next_part(&rest, ' ', &part, &done); used++) {
		if (used == count || !text_equals(text_of(words[used]), part))
			return 0;
	}
	return used;
}

static int find_option(const char *word)
{
	for (int i = 0; i < OPTION_COUNT; i++) {
		if (strcmp(option_table[i].name, word) == 0)
			return i;
	}
	return -1;
}

static bool parse(int count, char **arguments, struct call *call)
{
	for (int i = 0; i < OPTION_COUNT; i++)
		call->options[i] = option_table[i].environment == NULL ? NULL : getenv(option_table[i].environment);
	bool is_create = false;
	for (int i = 1; i < count; i++) {
		if (strncmp(arguments[i], "--", 2) != 0) {
			if (call->word_count == WORDS_MAX)
				return false;
			is_create = is_create || strcmp(arguments[i], "create") == 0;
			call->words[call->word_count++] = arguments[i];
			continue;
		}
		int option = find_option(arguments[i]);
		if (option == OPTION_STATE && is_create) /* behind "participants create" it is the participant's */
			option = OPTION_PARTICIPANT_STATE;
		if (option < 0 || (!option_table[option].is_flag && i + 1 == count)) {
			fprintf(stderr, "cellctl: %s: %s\n", arguments[i],
				option < 0 ? "unknown option; see cellctl --help" : "a value is missing");
			return false;
		}
		call->options[option] = option_table[option].is_flag ? "" : arguments[++i];
	}
	return true;
}

int main(int count, char **arguments)
{
	struct call call = {0};
	if (count == 2 && strcmp(arguments[1], "--help") == 0) {
		print_help(stdout);
		return 0;
	}
	if (!parse(count, arguments, &call))
		return EXIT_USAGE;
	for (size_t i = 0; i < command_count(); i++) {
		const struct command *command = command_at(i);
		unsigned used = match(command, call.words, call.word_count);
		if (used == 0)
			continue;
		memmove(call.words, call.words + used, (call.word_count - used) * sizeof(call.words[0]));
		call.word_count -= used;
		bool takes_more = strstr(command->arguments, "...") != NULL ||
						  (strstr(command->arguments, "[PATH]") != NULL && call.word_count == command->needed + 1);
		if (call.word_count < command->needed || (call.word_count > command->needed && !takes_more)) {
			fprintf(stderr, "cellctl: usage: %s %s\n", command->words, command->arguments);
			return EXIT_USAGE;
		}
		curl_global_init(CURL_GLOBAL_DEFAULT);
		int result = command->run != NULL ? command->run(command, &call) : request(command, &call);
		curl_global_cleanup();
		buffer_free(&call.body);
		return result;
	}
	fprintf(stderr, "cellctl: no such command; see cellctl --help\n");
	return EXIT_USAGE;
}
