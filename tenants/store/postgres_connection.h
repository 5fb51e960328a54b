/* A connection to PostgreSQL that comes back, never waits for ever, and asks several things in one round trip. Private
 * to this folder. */
#pragma once

#include <libpq-fe.h>

#include "tenants/store/backend.h"

enum { PARAMETERS_MAX = 5 };

/* Values in PostgreSQL's binary form, borrowed until the question is answered. */
struct parameters {
	int count;
	const char *values[PARAMETERS_MAX]; /* NULL: NULL */
	int lengths[PARAMETERS_MAX];
	unsigned char numbers[PARAMETERS_MAX][sizeof(int64_t)];
};
void parameters_text(struct parameters *parameters, struct text text); /* absent: NULL */
void parameters_number(struct parameters *parameters, int64_t number);

/* name: prepared once a connection, since planning it anew costs more than running it. NULL: planned each time; for
 * what is rare, or returns columns that a later version may alter. */
struct statement {
	const char *name, *sql;
	unsigned bit;   /* of the prepared ones, each its own */
	bool is_binary; /* so are its results */
};

struct question {
	const struct statement *statement;
	struct parameters parameters;
	PGresult *result; /* of one that was answered; owned */
	bool is_preparing;
};

struct connection {
	PGconn *handle;
	char *options;
	int64_t statement_ms, patience_ms; /* how long the server may be silent */
	uint64_t retry_at_ms, retry_ms;
	uint64_t serial;   /* counts the connections that were made */
	unsigned prepared; /* bits of this connection's statements */
	bool is_healthy, has_notice;
};

/* Reads the connection file and connects; what is half open is closed by connection_close. */
enum status connection_open(
	struct connection *connection, const struct store_settings *settings, struct buffer *error) MUST_CHECK;
void connection_close(struct connection *connection);
bool connection_is_lost(const struct connection *connection);
/* When lost: connects again, after a while that doubles, with some chance in it. */
enum status connection_come_back(struct connection *connection) MUST_CHECK;
/* What the server said last, without line ends. */
struct text connection_message(const struct connection *connection);

/* Asks all of them in one round trip; what comes after one that fails is not done. INVALID: values are to blame, as
 * bytes that are no UTF-8; CONFLICT: a row is there already; else UNAVAILABLE, which has been logged. All results are
 * freed on failure, else they are the caller's: question_free. */
enum status connection_ask(struct connection *connection, struct question *questions, size_t count) MUST_CHECK;
/* "COPY ... FROM STDIN (FORMAT binary)" of these bytes; verdicts as for connection_ask. */
enum status connection_copy(struct connection *connection, const char *sql, struct text rows) MUST_CHECK;
void question_free(struct question *questions, size_t count);
/* Several statements without values, of which the last or the first that fails answers. NULL: failed and logged. */
PGresult *connection_query(struct connection *connection, const char *sql);
enum status connection_run(struct connection *connection, const char *sql);

bool result_number(const PGresult *result, int row, int column, int64_t *number);
int64_t result_wire_number(const PGresult *result, int row, int column); /* of a binary result */
struct text result_text(const PGresult *result, int row, int column);
