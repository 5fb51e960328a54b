/* cellctl: the operator's tool. Every command is one call of the cell's management API, described by one row of a
 * table. */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/cellctl.h"
#include "control/cellctl_receipt.h"

#define PARTICIPANTS "/api/mgmt/v5beta/participants"
#define TENANT "/api/cell/v1/participants/{0}"

static const struct {
	const char *name, *environment, *help;
	bool is_flag; /* without a value */
} option_table[OPTION_COUNT] = {
	[OPTION_URL] = {"--url", "CELLCTL_URL", "of the cell (https://localhost:8443)", false},
	[OPTION_CA] = {"--ca", "CELLCTL_CA", "PEM file of the authority of its certificate", false},
	[OPTION_STATE] = {"--state", "CELLCTL_STATE", "the cell's state directory: a token is made with its key", false},
	[OPTION_TOKEN_FILE] = {"--token-file", "CELLCTL_TOKEN_FILE", "a management token, instead of --state", false},
	[OPTION_JSON] = {"--json", NULL, "print what the cell answered", true},
	[OPTION_ID] = {"--id", NULL, "identifier of what is created", false},
	[OPTION_IDENTITY] = {"--identity", NULL, "DID of the participant", false},
	[OPTION_PARTICIPANT_STATE] = {"--participant-state", NULL, "CREATED, ACTIVATED, DEACTIVATED", false},
	[OPTION_FILE] = {"--file", NULL, "JSON document or secret; - or none: standard input", false},
	[OPTION_DATASET] = {"--dataset", NULL, "of the flow", false},
	[OPTION_AGREEMENT] = {"--agreement", NULL, "of the flow", false},
	[OPTION_CONSUMER] = {"--consumer", NULL, "counter party of the flow", false},
	[OPTION_NOT_BEFORE] = {"--not-before", NULL, "milliseconds since 1970", false},
	[OPTION_EXPIRES] = {"--expires", NULL, "milliseconds since 1970", false},
	[OPTION_LIFETIME] = {"--lifetime", NULL, "seconds", false},
	[OPTION_SCOPES] = {"--scopes", NULL, "space-separated", false},
	[OPTION_SUBJECT] = {"--subject", NULL, "of the token", false},
	[OPTION_FLOW] = {"--flow", NULL, "only of this flow", false},
	[OPTION_KEY] = {"--key", NULL, "public JWK file: the one key that counts", false},
	[OPTION_OUTPUT] = {"--output", NULL, "file to write; a part of it is taken up again", false},
	[OPTION_APPROVE] = {"--approve", NULL, "the cell is let in at once", true},
	[OPTION_FORCE] = {"--force", NULL, "although something stands against it", true},
	[OPTION_EXPLAIN] = {"--explain", NULL, "tell of each cell why", true},
};

bool cellctl_needs(const struct call *call, enum option option)
{
	if (call->options[option] != NULL)
		return true;
	fprintf(stderr, "cellctl: %s is needed: %s\n", option_table[option].name, option_table[option].help);
	return false;
}

/* --- one request */

static int request(const struct command *command, struct call *call)
{
	struct buffer answer = {0};
	if (command->build != NULL && !command->build(call))
		return EXIT_USAGE;
	int result = cellctl_ask(command, call, &answer);
	if (result == 0)
		result = cellctl_print(command, call, &answer);
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
	int result = path.failed ? cellctl_fail("out of memory") : cellctl_ask(&page, fetching->call, answer);
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
		access_token_run, "a management token, made with the cell's key"},
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
	for (int i = 0; i < OPTION_COUNT; i++) {
		const char *name = option_table[i].environment;
		call->options[i] = name == NULL ? NULL : getenv(name); /* NOLINT(concurrency-mt-unsafe): one thread */
	}
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

/* "[PATH]": one word more may be given; "[--approve]" is none. */
static bool has_optional(const struct command *command)
{
	const char *at = strchr(command->arguments, '[');
	while (at != NULL && (at[1] < 'A' || at[1] > 'Z'))
		at = strchr(at + 1, '[');
	return at != NULL;
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
						  (has_optional(command) && call.word_count == command->needed + 1);
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
