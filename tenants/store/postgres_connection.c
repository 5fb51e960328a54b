/* One connection to PostgreSQL. */
#include "tenants/store/postgres_connection.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/log.h"

enum {
	CONNECTION_MAX = 4096,
	RETRY_FIRST_MS = 200,
	RETRY_LAST_MS = 5000,
	GRACE_MS = 1000,
	IDLE_MS = 3000 /* who is cut off in a transaction has the counter's lock: so long all others wait for it */
};

enum { NUMBER = -1 }; /* a length that says: the value is among the numbers */

/* --- values */

void parameters_text(struct parameters *parameters, struct text text)
{
	parameters->values[parameters->count] = text.bytes;
	parameters->lengths[parameters->count++] = (int)text.length;
}

void parameters_number(struct parameters *parameters, int64_t number)
{
	unsigned char *wire = parameters->numbers[parameters->count];
	for (size_t i = 0; i < sizeof(number); i++)
		wire[i] = (unsigned char)((uint64_t)number >> (8 * (sizeof(number) - 1 - i)));
	parameters->values[parameters->count] = NULL; /* it lies here, wherever here will be */
	parameters->lengths[parameters->count++] = NUMBER;
}

bool result_number(const PGresult *result, int row, int column, int64_t *number)
{
	uint64_t value;
	struct text digits = {PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column)};
	if (text_to_unsigned(digits, INT64_MAX, &value) != STATUS_OK)
		return false;
	*number = (int64_t)value;
	return true;
}

int64_t result_wire_number(const PGresult *result, int row, int column)
{
	const unsigned char *wire = (const unsigned char *)PQgetvalue(result, row, column);
	uint64_t number = 0;
	for (int i = 0; i < PQgetlength(result, row, column); i++)
		number = number << 8 | wire[i];
	return (int64_t)number;
}

struct text result_text(const PGresult *result, int row, int column)
{
	if (PQgetisnull(result, row, column))
		return TEXT_NONE;
	return (struct text){PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column)};
}

/* --- the wire */

bool connection_is_lost(const struct connection *connection)
{
	return connection->handle == NULL || PQstatus(connection->handle) != CONNECTION_OK;
}

/* libpq's messages end, and sometimes go on, with line ends. */
struct text connection_message(const struct connection *connection)
{
	struct text message = text_trim(text_of(PQerrorMessage(connection->handle)));
	return text_slice(message, 0, text_find(message, '\n'));
}

/* The server says nothing: the connection is as good as lost, and not tried again at once. */
static void give_up(struct connection *connection)
{
	LOG(WARNING, "store.lost", log_number("patience_ms", connection->patience_ms));
	PQfinish(connection->handle);
	connection->handle = NULL;
	connection->retry_at_ms = clock_monotonic_ms() + connection->retry_ms;
}

/* It can be made again at once. */
static void drop(struct connection *connection)
{
	PQfinish(connection->handle);
	connection->handle = NULL;
}

/* Sends what is left and receives the next result whole; false: lost. */
static bool await_result(struct connection *connection)
{
	for (;;) {
		int unsent = PQflush(connection->handle);
		if (unsent == 0 && PQisBusy(connection->handle) == 0)
			return true;
		struct pollfd wanted = {.fd = PQsocket(connection->handle)};
		wanted.events = (short)(POLLIN | (unsent > 0 ? POLLOUT : 0));
		int ready = unsent < 0 ? -1 : poll(&wanted, 1, (int)connection->patience_ms);
		if (ready == 0 || unsent < 0 || (ready < 0 && errno != EINTR)) {
			give_up(connection);
			return false;
		}
		if (ready > 0 && (wanted.revents & ~POLLOUT) != 0 && PQconsumeInput(connection->handle) == 0)
			return false;
	}
}

/* The next result, when it is there; NULL: none, or lost. */
static PGresult *next_result(struct connection *connection)
{
	return await_result(connection) ? PQgetResult(connection->handle) : NULL;
}

/* The verdict on a result; what failed has been logged. */
static enum status judge(struct connection *connection, const PGresult *result)
{
	ExecStatusType kind = PQresultStatus(result);
	if (kind == PGRES_TUPLES_OK || kind == PGRES_COMMAND_OK)
		return STATUS_OK;
	const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	if (code != NULL && strcmp(code, "23505") == 0)
		return STATUS_CONFLICT; /* unique_violation: not a failure of the server */
	LOG(WARNING, "store.query", log_text("error", connection_message(connection)));
	connection->is_healthy = !connection_is_lost(connection) && connection->is_healthy;
	/* a data exception, as bytes that are no UTF-8 */
	return code != NULL && strncmp(code, "22", 2) == 0 ? STATUS_INVALID : STATUS_UNAVAILABLE;
}

PGresult *connection_query(struct connection *connection, const char *sql)
{
	PGresult *last = NULL, *next = NULL;
	if (connection_is_lost(connection))
		return NULL;
	if (PQsendQuery(connection->handle, sql) != 0) {
		while ((next = next_result(connection)) != NULL) {
			PQclear(last);
			last = next;
		}
	}
	if (!connection_is_lost(connection) && judge(connection, last) == STATUS_OK)
		return last;
	PQclear(last);
	return NULL;
}

enum status connection_run(struct connection *connection, const char *sql)
{
	PGresult *result = connection_query(connection, sql);
	enum status status = result == NULL ? STATUS_UNAVAILABLE : STATUS_OK;
	PQclear(result);
	return status;
}

/* --- several questions at once */

static bool send_one(struct connection *connection, struct question *question)
{
	static const int formats[PARAMETERS_MAX] = {1, 1, 1, 1, 1};
	const struct statement *statement = question->statement;
	const struct parameters *given = &question->parameters;
	const char *values[PARAMETERS_MAX];
	int lengths[PARAMETERS_MAX];
	for (int i = 0; i < given->count; i++) {
		bool is_number = given->lengths[i] == NUMBER;
		values[i] = is_number ? (const char *)given->numbers[i] : given->values[i];
		lengths[i] = is_number ? (int)sizeof(given->numbers[i]) : given->lengths[i];
	}
	question->result = NULL;
	question->is_preparing = statement->name != NULL && (connection->prepared & statement->bit) == 0;
	if (question->is_preparing && PQsendPrepare(connection->handle, statement->name, statement->sql, 0, NULL) == 0)
		return false;
	return statement->name == NULL ? PQsendQueryParams(connection->handle, statement->sql, given->count, NULL, values,
										 lengths, formats, statement->is_binary) != 0
								   : PQsendQueryPrepared(connection->handle, statement->name, given->count, values,
										 lengths, formats, statement->is_binary) != 0;
}

/* One result and the nothing behind it. NULL: lost. */
static PGresult *receive_one(struct connection *connection)
{
	PGresult *result = next_result(connection);
	if (result != NULL)
		PQclear(next_result(connection));
	return result;
}

/* The status is of the first that failed. */
static enum status receive(struct connection *connection, struct question *questions, size_t count)
{
	enum status status = STATUS_OK;
	for (size_t i = 0; i < count && !connection_is_lost(connection); i++) {
		struct question *question = &questions[i];
		if (question->is_preparing) {
			PGresult *prepared = receive_one(connection);
			if (status == STATUS_OK)
				status = judge(connection, prepared);
			if (status == STATUS_OK)
				connection->prepared |= question->statement->bit;
			PQclear(prepared);
		}
		question->result = receive_one(connection);
		if (status == STATUS_OK)
			status = judge(connection, question->result);
	}
	PGresult *end = connection_is_lost(connection) ? NULL : next_result(connection);
	bool is_whole = PQresultStatus(end) == PGRES_PIPELINE_SYNC;
	PQclear(end);
	return is_whole || status != STATUS_OK ? status : STATUS_UNAVAILABLE;
}

enum status connection_ask(struct connection *connection, struct question *questions, size_t count)
{
	enum status status = STATUS_UNAVAILABLE;
	if (connection_is_lost(connection))
		return status;
	bool is_sent = PQenterPipelineMode(connection->handle) != 0;
	for (size_t i = 0; i < count && is_sent; i++)
		is_sent = send_one(connection, &questions[i]);
	if (is_sent && PQpipelineSync(connection->handle) != 0)
		status = receive(connection, questions, count);
	if (connection->handle != NULL && PQexitPipelineMode(connection->handle) == 0)
		drop(connection); /* half asked, or half answered */
	if (status != STATUS_OK)
		question_free(questions, count);
	return status;
}

enum status connection_copy(struct connection *connection, const char *sql, struct text rows)
{
	if (connection_is_lost(connection) || PQsendQuery(connection->handle, sql) == 0)
		return STATUS_UNAVAILABLE;
	PGresult *result = next_result(connection);
	bool is_wanted = PQresultStatus(result) == PGRES_COPY_IN;
	if (is_wanted) {
		PQclear(result);
		result = NULL;
		/* libpq keeps what cannot be sent at once */
		if (PQputCopyData(connection->handle, rows.bytes, (int)rows.length) != 1 ||
			PQputCopyEnd(connection->handle, NULL) != 1) {
			drop(connection);
			return STATUS_UNAVAILABLE;
		}
		result = next_result(connection);
	}
	enum status status = connection_is_lost(connection) ? STATUS_UNAVAILABLE : judge(connection, result);
	PQclear(result);
	while ((result = connection_is_lost(connection) ? NULL : next_result(connection)) != NULL)
		PQclear(result);
	return status == STATUS_OK && !is_wanted ? STATUS_UNAVAILABLE : status;
}

void question_free(struct question *questions, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		PQclear(questions[i].result);
		questions[i].result = NULL;
	}
}

/* --- opening and coming back */

static enum status read_options(const char *file, char **options, struct buffer *error)
{
	char text[CONNECTION_MAX + 1];
	struct stat found;
	int descriptor = file == NULL ? -1 : open(file, O_RDONLY | O_CLOEXEC);
	if (descriptor < 0 || fstat(descriptor, &found) != 0) {
		buffer_printf(error, "store.connection_file: %s: cannot be read", file == NULL ? "(not set)" : file);
		if (descriptor >= 0)
			close(descriptor);
		return STATUS_INVALID;
	}
	ssize_t length = read(descriptor, text, CONNECTION_MAX);
	close(descriptor);
	if ((found.st_mode & 077) != 0) {
		buffer_printf(error, "store.connection_file: %s: others may read it; chmod 600", file);
		return STATUS_INVALID;
	}
	*options = length < 0 ? NULL : text_copy(text_trim((struct text){text, (size_t)length}));
	for (char *at = *options; at != NULL && *at != 0; at++) {
		if (*at == '\n' || *at == '\r')
			*at = ' ';
	}
	explicit_bzero(text, sizeof(text));
	return *options == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

static bool connect_now(struct connection *connection)
{
	/* a server that has vanished is noticed; what the connection string says wins over what stands before it */
	static const char *const names[] = {"connect_timeout", "keepalives_idle", "keepalives_interval", "keepalives_count",
		"tcp_user_timeout", "fallback_application_name", "dbname", "client_encoding", NULL};
	const char *values[] = {"5", "10", "5", "3", "15000", "celld", connection->options, "UTF8", NULL};
	char limits[240];
	PQfinish(connection->handle);
	connection->prepared = 0;
	connection->serial++;
	connection->handle = PQconnectdbParams(names, values, 1);
	if (PQstatus(connection->handle) != CONNECTION_OK)
		return false;
	snprintf(limits, sizeof(limits),
		"SET statement_timeout = %lld; SET lock_timeout = %lld; SET idle_in_transaction_session_timeout = %d; "
		"SET client_min_messages = warning",
		(long long)connection->statement_ms, (long long)connection->statement_ms, IDLE_MS);
	PGresult *result = PQexec(connection->handle, limits);
	bool is_limited = PQresultStatus(result) == PGRES_COMMAND_OK;
	PQclear(result);
	/* large bodies cost a fifth of the time so; a server built without it keeps its own way */
	PQclear(PQexec(connection->handle, "SET default_toast_compression = lz4"));
	result = PQexec(connection->handle, "LISTEN celld_records");
	bool is_listening = PQresultStatus(result) == PGRES_COMMAND_OK;
	PQclear(result);
	connection->has_notice = true; /* whatever happened meanwhile is looked for */
	return is_limited && is_listening && PQsetnonblocking(connection->handle, 1) == 0;
}

enum status connection_come_back(struct connection *connection)
{
	if (!connection_is_lost(connection))
		return STATUS_OK;
	uint64_t now_ms = clock_monotonic_ms();
	connection->is_healthy = false;
	if (now_ms < connection->retry_at_ms)
		return STATUS_UNAVAILABLE;
	if (connect_now(connection)) {
		connection->retry_ms = RETRY_FIRST_MS;
		connection->is_healthy = true;
		LOG(INFO, "store.connected", log_text("backend", TEXT("postgres")));
		return STATUS_OK;
	}
	connection->retry_at_ms =
		now_ms + connection->retry_ms / 2 + (now_ms * 2654435761U) % (connection->retry_ms / 2 + 1);
	connection->retry_ms = connection->retry_ms * 2 > RETRY_LAST_MS ? RETRY_LAST_MS : connection->retry_ms * 2;
	return STATUS_UNAVAILABLE;
}

enum status connection_open(struct connection *connection, const struct store_settings *settings, struct buffer *error)
{
	connection->statement_ms = settings->statement_ms;
	connection->patience_ms = settings->statement_ms + GRACE_MS;
	connection->retry_ms = RETRY_FIRST_MS;
	enum status status = read_options(settings->connection_file, &connection->options, error);
	if (status == STATUS_OK && !connect_now(connection)) {
		buffer_printf(error, "store: PostgreSQL: %.*s", TEXT_ARGUMENTS(connection_message(connection)));
		status = STATUS_UNAVAILABLE;
	}
	connection->is_healthy = status == STATUS_OK;
	return status;
}

void connection_close(struct connection *connection)
{
	PQfinish(connection->handle);
	if (connection->options != NULL)
		explicit_bzero(connection->options, strlen(connection->options));
	free(connection->options);
	*connection = (struct connection){0};
}
