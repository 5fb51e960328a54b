/* The message bus: one NATS connection, JetStream over it, for one worker. Everything is asynchronous: calls queue for
 * the bus's own thread, answers and messages come back as turns of the worker; no call of the client library is made
 * on the worker. A broker that is down, wiped or replaced is a normal state: subscriptions and consumers come back by
 * themselves, what waits for an answer ends UNAVAILABLE or TIMEOUT, and bus_line says so.
 *
 * Only core messages are used (publish with a reply subject): JetStream is spoken in its own requests, so that nothing
 * of the client library blocks or keeps state of its own. Traps of old servers: control.md 1.3 and 2.6.
 *
 * All functions are called on the bus's worker, unless said otherwise; all callbacks run there, never inside a call. */
#pragma once

#include "server/base/config.h"
#include "server/base/text.h"
#include "server/worker.h"

enum bus_method { BUS_NONE, BUS_USERINFO, BUS_TOKEN, BUS_NKEY, BUS_CREDENTIALS };

/* Section "nats". Secrets come from files that only their owner may read. */
struct bus_settings {
	struct setting_texts urls; /* none: no bus */
	int method;                /* enum bus_method: none | userinfo | token | nkey | credentials */
	char *username, *password_file, *token_file, *nkey_seed_file, *credentials_file;
	char *ca_file;       /* for tls:// */
	char *inbox;         /* prefix of reply subjects: "_INBOX" */
	int64_t pending_max; /* messages that may wait for the broker: 65,536; further ones end UNAVAILABLE */
	int64_t reconnect_ms;
};
extern const struct setting bus_settings_table[];
extern const size_t bus_settings_count;

struct bus;
/* INVALID (one line in `error`): a url or a secret file that is wrong. A broker that cannot be reached is no error. The
 * worker must run already, or start later; its pool must outlive the bus. */
enum status bus_open(
	const struct bus_settings *settings, struct worker *worker, struct bus **bus, struct buffer *error) MUST_CHECK;
/* From any thread but the worker's, while it runs: ends the connection for good, as if the broker had gone; nothing
 * more is posted to the worker. For who stops the worker before bus_close, so that nobody who uses the bus outlives it.
 */
void bus_disconnect(struct bus *bus);
/* From any thread but the worker's, while the worker still runs (or has never run, or has ended): every waiting call
 * ends CLOSED. */
void bus_close(struct bus *bus);
/* The credentials or urls have changed on disk or in `settings`: connects anew; subscriptions follow. */
void bus_renew(struct bus *bus, const struct bus_settings *settings);

bool bus_is_up(const struct bus *bus);
/* One line for people: "connected to nats://... (2.9.10), 0.4 ms" or "broker cannot be reached since 12 s: ...". */
void bus_line(const struct bus *bus, struct buffer *into);
/* Last round trip in microseconds; 0: none yet. Measured every few seconds. */
uint64_t bus_round_trip_us(const struct bus *bus);
/* Called with each change of up/down. At most 8 watchers. */
void bus_on_state(struct bus *bus, void (*changed)(void *context, bool is_up), void *context);

struct bus_header {
	struct text name, value;
};
/* Borrowed for the callback. */
struct bus_message {
	struct text subject, reply, body; /* body is NUL-terminated */
	struct text headers;              /* "Name: value\r\n..." of the message; see bus_message_header */
	int status;                       /* of the status line (404, 408, 409, 503), 0: none */
};
/* TEXT_NONE when absent. Names are compared as they are. */
struct text bus_message_header(const struct bus_message *message, struct text name);

/* --- core */
/* At most once. False: too many wait. */
bool bus_send(struct bus *bus, struct text subject, const struct bus_header *headers, size_t count, struct text body);
/* `done` once: OK with the answer, TIMEOUT, UNAVAILABLE (no responder, no broker), CLOSED: message NULL. */
void bus_request(struct bus *bus, struct text subject, const struct bus_header *headers, size_t count, struct text body,
	uint64_t timeout_ms, void (*done)(void *context, enum status status, const struct bus_message *message),
	void *context);
bool bus_respond(struct bus *bus, const struct bus_message *request, struct text body);
struct bus_subscription;
/* Wildcards allowed; lives across reconnects. NULL when out of memory. */
struct bus_subscription *bus_subscribe(struct bus *bus, struct text subject,
	void (*on_message)(void *context, const struct bus_message *message), void *context);
/* No callback comes after it. */
void bus_unsubscribe(struct bus_subscription *subscription);

/* --- JetStream */
/* At least once, acknowledged by the stream: `done` with OK and the sequence (is_duplicate: the stream knew the id),
 * NOT_FOUND: no stream takes this subject, CONFLICT: an expectation failed, REFUSED: the stream is full or says no,
 * TIMEOUT, UNAVAILABLE. message_id absent: none. */
void bus_publish(struct bus *bus, struct text subject, struct text message_id, const struct bus_header *headers,
	size_t count, struct text body,
	void (*done)(void *context, enum status status, uint64_t sequence, bool is_duplicate), void *context);

/* A stream or consumer as its API's JSON has it. */
/* Finds the stream, creates it when missing. CONFLICT: it is there with another retention or without one of these
 * subjects, or its subjects overlap those of another (10065): `error` says it in one line. `config` is the JSON object
 * of STREAM.CREATE. */
void bus_stream_ensure(struct bus *bus, struct text name, struct text config,
	void (*done)(void *context, enum status status, struct text error), void *context);
/* Any request of $JS.API: `subject` without that prefix. OK: the answer's JSON; NOT_FOUND (error code 404), CONFLICT
 * (10071, and what overlaps), REFUSED (else): the answer's JSON with its error; UNAVAILABLE, TIMEOUT: absent. */
void bus_api(struct bus *bus, struct text subject, struct text body,
	void (*done)(void *context, enum status status, struct text json), void *context);

/* A durable (or ephemeral: durable absent) pull consumer that is read all the time, a small batch at once. It is made
 * with `config` (JSON of the consumer's config without durable_name) when it is missing, and made again when the
 * broker lost it. Messages come in the broker's order; the next batch is asked for when the messages of the one before
 * have been answered (or, with ack none, delivered). */
struct bus_consumer;
struct bus_consumer_settings {
	struct text stream, durable, config;
	unsigned batch;        /* 1 .. 256; 0: only kept in order for somebody else who reads it */
	bool is_found_only;    /* use one that is there as it is; create only when missing (else: create or update) */
	bool is_reader_only;   /* somebody else makes and keeps it: this end may do nothing but read */
	bool is_queue;         /* the stream is a work queue: a consumer that has gone past what is still in it is made anew
							  (a server that was killed may number new messages as old ones) */
	bool waits_for_stream; /* a missing stream is waited for; else it is an error in the log, and waited for */
};
struct bus_consumer *bus_consume(struct bus *bus, const struct bus_consumer_settings *settings,
	void (*on_message)(void *context, const struct bus_message *message), void *context);
void bus_consumer_close(struct bus_consumer *consumer);

/* What the reply subject of a JetStream message says. */
struct bus_delivery {
	uint64_t stream_sequence, consumer_sequence, deliveries, pending;
	int64_t timestamp_ns;
};
enum status bus_delivery_parse(struct text reply, struct bus_delivery *delivery) MUST_CHECK;
enum bus_verdict { BUS_ACK, BUS_NAK, BUS_TERM, BUS_PROGRESS };
/* `reply`: of the message; may be later than its callback (copy it). delay_ms: for NAK. */
bool bus_answer(struct bus *bus, struct text reply, enum bus_verdict verdict, uint64_t delay_ms);

/* --- key-value buckets, as the existing clients use them (stream KV_<bucket>, subjects $KV.<bucket>.<key>) */
void bus_bucket_ensure(struct bus *bus, struct text bucket,
	void (*done)(void *context, enum status status, struct text error), void *context);
/* NOT_FOUND: no such key (or deleted). */
void bus_bucket_get(struct bus *bus, struct text bucket, struct text key,
	void (*done)(void *context, enum status status, struct text value, uint64_t revision), void *context);
enum { BUS_REVISION_ANY = -1 };
/* expected: 0 = must not exist, a revision, or ANY. CONFLICT: it is another (10071). */
void bus_bucket_put(struct bus *bus, struct text bucket, struct text key, struct text value, int64_t expected,
	void (*done)(void *context, enum status status, uint64_t revision), void *context);
