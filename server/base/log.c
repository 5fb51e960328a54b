/* The log: lines are built on the caller's stack and go through a bounded ring to the writer thread. */
#include "server/base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/base/clock.h"

enum { RING_BYTES = 4 * 1024 * 1024, LINE_MAX_BYTES = 8192, VALUE_MAX = 1024, BATCH_BYTES = 256 * 1024, IDLE_MS = 20 };

enum log_level log_threshold = LOG_INFO;

/* Producers copy whole lines under a lock that is held for a memcpy only and never waited for by a worker longer than
 * that; the writer takes what is there, lets go, and writes. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t filled;
	pthread_t thread;
	char *ring;
	size_t start, length;
	uint64_t dropped_unsaid;
	_Atomic uint64_t dropped;
	atomic_bool is_open;
	bool is_closing;
	int descriptor;
} writer = {.lock = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER};

/* --- lines */

struct line {
	size_t length;
	bool is_cut; /* something did not fit */
	char bytes[LINE_MAX_BYTES];
};

static void add(struct line *line, const char *bytes, size_t length)
{
	if (length > sizeof(line->bytes) - 64 - line->length) {
		line->is_cut = true;
		return;
	}
	memcpy(line->bytes + line->length, bytes, length);
	line->length += length;
}

static void add_number(struct line *line, int64_t number)
{
	char digits[24], *at = digits + sizeof(digits);
	uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
	do {
		*--at = (char)('0' + left % 10);
		left /= 10;
	} while (left > 0);
	if (number < 0)
		*--at = '-';
	add(line, at, (size_t)(digits + sizeof(digits) - at));
}

static bool is_plain(struct text text)
{
	for (size_t i = 0; i < text.length; i++) {
		unsigned char byte = (unsigned char)text.bytes[i];
		if (byte < 0x20 || byte > 0x7e || byte == '"' || byte == '\\')
			return false;
	}
	return true;
}

static void add_text(struct line *line, struct text text)
{
	if (text.length > VALUE_MAX)
		text.length = VALUE_MAX;
	if (is_plain(text)) {
		add(line, "\"", 1);
		add(line, text.bytes, text.length);
		add(line, "\"", 1);
		return;
	}
	struct buffer escaped = {0};
	buffer_append_json(&escaped, text);
	if (escaped.failed || escaped.length > sizeof(line->bytes) / 2)
		add(line, "\"...\"", 5);
	else
		add(line, escaped.bytes, escaped.length);
	buffer_free(&escaped);
}

static void add_time(struct line *line)
{
	static _Thread_local char formatted[25];
	static _Thread_local int64_t formatted_ms = -1;
	int64_t now_ms = clock_wall_ms();
	if (now_ms != formatted_ms) {
		clock_format(now_ms, formatted);
		formatted_ms = now_ms;
	}
	add(line, formatted, 24);
}

static void build(
	struct line *line, enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
	static const char *const levels[] = {"debug", "info", "warning", "error"};
	line->length = 0;
	line->is_cut = false;
	add(line, "{\"time\":\"", 9);
	add_time(line);
	add(line, "\",\"level\":\"", 11);
	add(line, levels[level], strlen(levels[level]));
	add(line, "\",\"event\":\"", 11);
	add(line, event, strlen(event));
	add(line, "\"", 1);
	for (size_t i = 0; i < count; i++) {
		size_t before = line->length;
		if (fields[i].kind == LOG_KIND_TEXT && fields[i].text.bytes == NULL)
			continue;
		add(line, ",\"", 2);
		add(line, fields[i].name, strlen(fields[i].name));
		add(line, "\":", 2);
		switch (fields[i].kind) {
		case LOG_KIND_TEXT:
			add_text(line, fields[i].text);
			break;
		case LOG_KIND_NUMBER:
			add_number(line, fields[i].number);
			break;
		case LOG_KIND_BOOL:
			add(line, fields[i].number ? "true" : "false", fields[i].number ? 4 : 5);
			break;
		}
		if (line->is_cut) { /* whole or not at all */
			line->length = before;
			line->is_cut = false;
		}
	}
	line->bytes[line->length++] = '}';
	line->bytes[line->length++] = '\n';
}

/* --- the ring and its writer */

static void put(const char *bytes, size_t length)
{
	size_t end = (writer.start + writer.length) % RING_BYTES;
	size_t first = length < RING_BYTES - end ? length : RING_BYTES - end;
	memcpy(writer.ring + end, bytes, first);
	memcpy(writer.ring, bytes + first, length - first);
	writer.length += length;
}

static void write_all(int descriptor, const char *bytes, size_t length)
{
	while (length > 0) {
		ssize_t count = write(descriptor, bytes, length);
		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return; /* nowhere to say it */
		bytes += count;
		length -= (size_t)count;
	}
}

static void say_dropped(struct line *line)
{
	const struct log_field field = log_number("lines", writer.dropped_unsaid);
	build(line, LOG_WARNING, "log.dropped", &field, 1);
	if (line->length <= RING_BYTES - writer.length) {
		put(line->bytes, line->length);
		writer.dropped_unsaid = 0;
	}
}

static void *run(void *batch)
{
	static struct line line;
	pthread_mutex_lock(&writer.lock);
	for (;;) {
		while (writer.length == 0 && !writer.is_closing)
			pthread_cond_wait(&writer.filled, &writer.lock);
		if (writer.length == 0)
			break;
		size_t length = writer.length < BATCH_BYTES ? writer.length : BATCH_BYTES;
		size_t first = length < RING_BYTES - writer.start ? length : RING_BYTES - writer.start;
		memcpy(batch, writer.ring + writer.start, first);
		memcpy((char *)batch + first, writer.ring, length - first);
		writer.start = (writer.start + length) % RING_BYTES;
		writer.length -= length;
		if (writer.dropped_unsaid > 0)
			say_dropped(&line);
		bool is_closing = writer.is_closing;
		pthread_mutex_unlock(&writer.lock);
		write_all(writer.descriptor, batch, length);
		if (!is_closing && length < BATCH_BYTES) { /* a pause, so that lines come in batches */
			const struct timespec pause = {.tv_nsec = IDLE_MS * 1000000L};
			nanosleep(&pause, NULL);
		}
		pthread_mutex_lock(&writer.lock);
	}
	pthread_mutex_unlock(&writer.lock);
	free(batch);
	return NULL;
}

enum status log_open(int descriptor, enum log_level threshold)
{
	char *batch = malloc(BATCH_BYTES);
	writer.ring = malloc(RING_BYTES);
	log_threshold = threshold;
	writer.descriptor = descriptor;
	writer.is_closing = false;
	writer.start = writer.length = 0;
	if (batch == NULL || writer.ring == NULL || pthread_create(&writer.thread, NULL, run, batch) != 0) {
		free(batch);
		free(writer.ring);
		writer.ring = NULL;
		return STATUS_NO_MEMORY;
	}
	atomic_store_explicit(&writer.is_open, true, memory_order_release);
	return STATUS_OK;
}

void log_write(enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
	struct line line;
	build(&line, level, event, fields, count);
	if (!atomic_load_explicit(&writer.is_open, memory_order_acquire)) {
		write_all(STDERR_FILENO, line.bytes, line.length);
		return;
	}
	pthread_mutex_lock(&writer.lock);
	bool was_empty = writer.length == 0, is_late = writer.is_closing; /* then the ring may be gone */
	if (is_late) {
		pthread_mutex_unlock(&writer.lock);
		write_all(STDERR_FILENO, line.bytes, line.length);
		return;
	}
	if (line.length <= RING_BYTES - writer.length) {
		put(line.bytes, line.length);
	} else {
		writer.dropped_unsaid++;
		atomic_fetch_add_explicit(&writer.dropped, 1, memory_order_relaxed);
	}
	pthread_mutex_unlock(&writer.lock);
	if (was_empty)
		pthread_cond_signal(&writer.filled);
}

void log_close(void)
{
	if (!atomic_exchange_explicit(&writer.is_open, false, memory_order_acq_rel))
		return;
	pthread_mutex_lock(&writer.lock);
	writer.is_closing = true;
	pthread_cond_signal(&writer.filled);
	pthread_mutex_unlock(&writer.lock);
	pthread_join(writer.thread, NULL);
	free(writer.ring);
	writer.ring = NULL;
}

uint64_t log_dropped(void)
{
	return atomic_load_explicit(&writer.dropped, memory_order_relaxed);
}
