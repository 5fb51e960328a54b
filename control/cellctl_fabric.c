/* cellctl: cells of a fabric, and a broker's operator of one's own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/bus/nats_operator.h"
#include "control/cellctl.h"
#include "control/fabric/fleet/credentials.h"
#include "server/base/clock.h"
#include "server/base/id.h"
#include "server/base/json.h"
#include "server/base/secret.h"
#include "tenants/vault/safe_file.h"

#define CELLS "/api/celld/v1/cells"
#define CELL CELLS "/{0}"
#define PARKED "/api/celld/v1/parked"
#define AUDIT "/api/celld/v1/audit"
enum { BROKER_PORT = 4222, AGENT_LIFETIME_S = 365 * 86400 };

static int fail(const char *what)
{
	fprintf(stderr, "cellctl: %s\n", what);
	return EXIT_FAILED;
}

/* --- cells */

/* An empty body: the server wants a length. */
static bool build_nothing(struct call *call)
{
	(void)call;
	return true;
}

static bool build_definition(struct call *call)
{
	return cellctl_read_file(call->options[OPTION_FILE], &call->body);
}

static bool build_cell_token(struct call *call)
{
	const char *lifetime = call->options[OPTION_LIFETIME];
	buffer_append(&call->body, TEXT("{\"cellId\":"));
	buffer_append_json(&call->body, text_of(call->words[0]));
	if (lifetime != NULL)
		buffer_printf(&call->body, ",\"lifetimeSeconds\":%s", lifetime);
	buffer_printf(&call->body, ",\"approve\":%s}", call->options[OPTION_APPROVE] != NULL ? "true" : "false");
	return true;
}

/* The token alone: for a file that the cell reads. */
static int cell_token(const struct command *command, struct call *call)
{
	struct buffer answer = {0};
	struct json *root = NULL;
	if (!build_cell_token(call))
		return EXIT_USAGE;
	int result = cellctl_ask(command, call, &answer);
	if (result == 0 && call->options[OPTION_JSON] != NULL)
		puts(answer.bytes);
	else if (result == 0 && json_parse(buffer_text(&answer), NULL, &root) == STATUS_OK)
		printf("%.*s\n", TEXT_ARGUMENTS(json_member_text(root, "token")));
	else if (result == 0)
		result = fail("the answer is not JSON");
	json_free(root);
	buffer_wipe(&answer);
	return result;
}

static bool build_why(struct call *call)
{
	buffer_append(&call->body, TEXT("{\"why\":"));
	buffer_append_json(&call->body, text_of(call->words[0]));
	buffer_append_byte(&call->body, '}');
	return true;
}

static int remove_cell(const struct command *command, struct call *call)
{
	struct buffer answer = {0};
	struct command forced = *command;
	forced.path = CELL "?force=true";
	int result = cellctl_ask(call->options[OPTION_FORCE] != NULL ? &forced : command, call, &answer);
	if (result == 0)
		puts("done");
	buffer_free(&answer);
	return result;
}

/* --- the audit */

/* A commit of decisions by its first, as it is found. */
static void print_decisions(const struct json *decisions)
{
	const struct json *bad = json_member(decisions, "firstBad");
	int64_t whole = 0, dropped = 0, outside = 0, entry = 0;
	json_integer(json_member(decisions, "whole"), &whole);
	json_integer(json_member(decisions, "noLongerKept"), &dropped);
	json_integer(json_member(decisions, "outside"), &outside);
	json_integer(json_member(bad, "entry"), &entry);
	if (bad != NULL) {
		struct text first = json_member_text(bad, "first"), last = json_member_text(bad, "last");
		printf("the decisions of the commit that begins with %.*s", TEXT_ARGUMENTS(first));
		if (last.length > 0)
			printf(" and ends with %.*s", TEXT_ARGUMENTS(last));
		printf(" %.*s", TEXT_ARGUMENTS(json_member_text(bad, "why")));
		if (entry > 0)
			printf(" (entry %lld)", (long long)entry);
		printf("\n");
	} else if (whole > 0) {
		printf("the decisions of %lld commits are as they were decided\n", (long long)whole);
	}
	if (dropped > 0)
		printf("those of %lld older commits are no longer kept\n", (long long)dropped);
	if (outside > 0)
		printf("%lld records of decisions are from before the audit told of them\n", (long long)outside);
}

static void print_verdict(const struct json *verdict)
{
	const struct json *last = json_member(verdict, "last"), *bad = json_member(verdict, "firstBad");
	int64_t good = 0, outside = 0, waiting = 0;
	json_integer(json_member(verdict, "good"), &good);
	json_integer(json_member(verdict, "outside"), &outside);
	json_integer(json_member(verdict, "waiting"), &waiting);
	if (bad != NULL)
		printf("entry %lld %.*s; those before it are good\n", (long long)good + 1,
			TEXT_ARGUMENTS(json_member_text(bad, "why")));
	else
		printf("all %lld entries are good; note the last: %lld:%.*s\n", (long long)good, (long long)good,
			TEXT_ARGUMENTS(json_member_text(last, "hash")));
	if (outside > 0)
		printf("%lld older entries are from before the chain, and not covered by it\n", (long long)outside);
	if (waiting > 0)
		printf("%lld entries wait to be sealed\n", (long long)waiting);
	if (json_member(verdict, "decisions") != NULL)
		print_decisions(json_member(verdict, "decisions"));
}

static bool is_whole(const struct json *verdict)
{
	bool value = false;
	return json_bool(json_member(verdict, "isWhole"), &value) && value;
}

static int verify_audit(const struct command *command, struct call *call)
{
	struct buffer answer = {0};
	struct command asked = *command;
	struct json *root = NULL;
	asked.path = call->word_count == 1 ? AUDIT ":verify?noted={0}" : AUDIT ":verify";
	int result = cellctl_ask(&asked, call, &answer);
	if (result == 0 && json_parse(buffer_text(&answer), NULL, &root) != STATUS_OK)
		result = fail("the answer is not JSON");
	else if (result == 0 && call->options[OPTION_JSON] != NULL)
		puts(answer.bytes);
	else if (result == 0)
		print_verdict(root);
	if (result == 0 && !is_whole(root))
		result = EXIT_FAILED;
	json_free(root);
	buffer_free(&answer);
	return result;
}

/* --- the broker's operator */

static int init_operator(const struct command *command, struct call *call)
{
	const char *folder = call->words[0];
	struct buffer error = {0};
	(void)command;
	if (mkdir(folder, 0700) != 0 && access(folder, W_OK) != 0) {
		fprintf(stderr, "cellctl: %s: %m\n", folder);
		return EXIT_FAILED;
	}
	char *whole = realpath(folder, NULL);
	const struct nats_operator_settings settings = {whole, TEXT("celld"), BROKER_PORT};
	enum status status = whole == NULL ? STATUS_NO_MEMORY : nats_operator_make(&settings, clock_wall_ms(), &error);
	if (status == STATUS_OK)
		printf(
			"nats-server -c %s/nats.conf\ncells.signing_key_file: %s/signing.nk\ncells.account_file: %s/account.jwt\n",
			whole, whole, whole);
	else
		fail(error.bytes == NULL ? status_text(status) : error.bytes);
	buffer_free(&error);
	free(whole);
	return status == STATUS_OK ? 0 : EXIT_FAILED;
}

static enum status write_agent(const char *folder, const char *name, int64_t lifetime_s, struct buffer *error)
{
	struct buffer signing = {0}, account = {0}, file = {0}, jwt = {0}, content = {0};
	struct credentials *credentials = NULL;
	struct nkey *user = NULL;
	int directory;
	const char *base;
	int64_t expires_ms;
	buffer_printf(&signing, "%s/signing.nk", folder);
	buffer_printf(&account, "%s/account.jwt", folder);
	buffer_printf(&file, "%s/%s.creds", folder, name);
	const struct credentials_settings settings = {.signing_key_file = signing.bytes, .account_file = account.bytes};
	enum status status = credentials_open(&settings, &credentials, error);
	if (status == STATUS_OK)
		status = nkey_generate(NKEY_USER, &user);
	if (status == STATUS_OK)
		status = credentials_issue(credentials, ROLE_AGENT, text_of(name), nkey_public(user), clock_wall_ms(),
			lifetime_s * 1000, &jwt, &expires_ms);
	if (status == STATUS_OK)
		status = nats_credentials_print(buffer_text(&jwt), user, &content);
	if (status == STATUS_OK)
		status = safe_file_split(file.bytes, &directory, &base);
	if (status == STATUS_OK) {
		status = safe_file_create(directory, base, 0600, buffer_text(&content));
		close(directory);
	}
	if (status == STATUS_OK)
		puts(file.bytes);
	else if (error->length == 0)
		buffer_printf(error, "%s: %s", file.bytes, status_text(status));
	nkey_free(user);
	credentials_free(credentials);
	buffer_free(&signing);
	buffer_free(&account);
	buffer_free(&file);
	buffer_free(&jwt);
	buffer_wipe(&content);
	return status;
}

static int make_agent(const struct command *command, struct call *call)
{
	uint64_t lifetime_s = AGENT_LIFETIME_S;
	const char *given = call->options[OPTION_LIFETIME];
	struct buffer error = {0};
	(void)command;
	if (given != NULL && (text_to_unsigned(text_of(given), UINT32_MAX, &lifetime_s) != STATUS_OK || lifetime_s == 0))
		return fail("--lifetime must be seconds above 0");
	if (!name_is_valid(text_of(call->words[1]), 64))
		return fail("the name must be 1 to 64 letters, digits and -_.:");
	enum status status = write_agent(call->words[0], call->words[1], (int64_t)lifetime_s, &error);
	if (status != STATUS_OK)
		fail(error.bytes == NULL ? status_text(status) : error.bytes);
	buffer_free(&error);
	return status == STATUS_OK ? 0 : EXIT_FAILED;
}

const struct command fabric_commands[] = {
	{"cell list", "", 0, "GET", CELLS, NULL, SHAPE_TABLE, "cellId,mode,health,state,epoch,vpas,maxVPAs,heartbeatAgeMs",
		NULL, "the cells of a fabric (--url and --state of its manager)"},
	{"cell show", "NAME", 1, "GET", CELL, NULL, SHAPE_OBJECT, NULL, NULL, "one cell, with its definition"},
	{"cell health", "NAME", 1, "GET", CELL "/health?format=text", NULL, SHAPE_TEXT, NULL, NULL,
		"its panel: components, what they need, capacity, last heartbeat"},
	{"cell token", "NAME [--approve] [--lifetime SECONDS]", 1, "POST", "/api/celld/v1/join-tokens", build_cell_token,
		SHAPE_OBJECT, NULL, cell_token, "a one-time token with which it joins; --approve: and is let in at once"},
	{"cell tokens", "", 0, "GET", "/api/celld/v1/join-tokens", NULL, SHAPE_TABLE, "id,cellId,approved,expiresAt", NULL,
		"tokens that have not been used"},
	{"cell approve", "NAME", 1, "POST", CELL "/approve", build_nothing, SHAPE_QUIET, NULL, NULL,
		"let it in, or in again after offline"},
	{"cell cordon", "NAME", 1, "POST", CELL "/cordon", build_nothing, SHAPE_QUIET, NULL, NULL,
		"nothing new is placed on it"},
	{"cell uncordon", "NAME", 1, "POST", CELL "/uncordon", build_nothing, SHAPE_QUIET, NULL, NULL,
		"ready again, also after drain"},
	{"cell drain", "NAME", 1, "POST", CELL "/drain", build_nothing, SHAPE_QUIET, NULL, NULL,
		"what lives on it is to move away"},
	{"cell offline", "NAME", 1, "POST", CELL "/offline", build_nothing, SHAPE_QUIET, NULL, NULL,
		"fenced: whatever runs under its name is refused until it is approved again"},
	{"cell rotate-key", "NAME", 1, "POST", CELL "/rotate-key", build_nothing, SHAPE_QUIET, NULL, NULL,
		"its next join may bring another key, with a token"},
	{"cell define", "NAME [--file F]", 1, "PUT", CELL "/definition", build_definition, SHAPE_QUIET, NULL, NULL,
		"an operator's definition, in place of what the cell says of itself"},
	{"cell remove", "NAME [--force]", 1, "DELETE", CELL, NULL, SHAPE_QUIET, NULL, remove_cell,
		"forget it; --force: also while VPAs live on it"},
	{"fabric participant", "TENANT PROFILE", 2, "GET", "/api/v1alpha1/tenants/{0}/participant-profiles/{1}", NULL,
		SHAPE_OBJECT, NULL, NULL, "a participant's VPAs, where they live, and whether they are offline"},
	{"commands of", "NAME", 1, "GET", "/api/celld/v1/commands/{0}", NULL, SHAPE_TABLE,
		"ageMs,op,vpa,vpaEpoch,seq,sent,failed,id", NULL, "the commands that wait for one cell's answer"},
	{"commands", "", 0, "GET", "/api/celld/v1/commands", NULL, SHAPE_TABLE, "cell,waiting,oldestAgeMs,oldestOp,isAsked",
		NULL, "how many commands wait for the answer of their cell, and since when"},
	{"parked list", "", 0, "GET", PARKED, NULL, SHAPE_TABLE, "id,at,subject,reason", NULL,
		"messages and commands that could not be handled, the newest first"},
	{"parked show", "ID", 1, "GET", PARKED "/{0}", NULL, SHAPE_OBJECT, NULL, NULL, "one, with its body"},
	{"parked replay", "ID", 1, "POST", PARKED "/{0}:replay", build_nothing, SHAPE_QUIET, NULL, NULL,
		"once more: the message is published again, the command is written anew"},
	{"parked drop", "ID", 1, "DELETE", PARKED "/{0}", NULL, SHAPE_QUIET, NULL, NULL, "forget it"},
	{"fabric status", "", 0, "GET", "/api/celld/v1/fleet", NULL, SHAPE_OBJECT, NULL, NULL,
		"who leads, the broker, how many cells are well, which brakes are on"},
	{"fabric freeze", "WHY", 1, "POST", "/api/celld/v1/fabric/freeze", build_why, SHAPE_QUIET, NULL, NULL,
		"no cell is failed over until unfreeze"},
	{"fabric unfreeze", "", 0, "POST", "/api/celld/v1/fabric/unfreeze", build_nothing, SHAPE_QUIET, NULL, NULL,
		"that brake comes off"},
	{"fabric adopt", "", 0, "POST", "/api/celld/v1/fabric/adopt", build_nothing, SHAPE_QUIET, NULL, NULL,
		"the database is an older copy, and holds: epochs, terms and numbers go on above what the cells know"},
	{"fabric audit verify", "[NOTED]", 0, "GET", AUDIT ":verify", NULL, SHAPE_TEXT, NULL, verify_audit,
		"is the audit's chain whole; NOTED: does it hold the entry that was noted, SEQUENCE:HASH"},
	{"fabric audit", "", 0, "GET", AUDIT, NULL, SHAPE_TABLE, "sequence,at,what,cell,by,detail,decisions,first", NULL,
		"who was let in, refused, fenced"},
	{"fabric init", "DIRECTORY", 1, NULL, NULL, NULL, SHAPE_QUIET, NULL, init_operator,
		"keys, accounts and a configuration for nats-server in operator mode"},
	{"fabric agent", "DIRECTORY NAME [--lifetime SECONDS]", 2, NULL, NULL, NULL, SHAPE_QUIET, NULL, make_agent,
		"credentials for an agent of provisioning activities, with the keys of fabric init"},
};
const size_t fabric_command_count = sizeof(fabric_commands) / sizeof(fabric_commands[0]);
