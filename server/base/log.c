/* The log: lines are built on the caller's stack and go through the thread's own bounded ring to the writer thread. */
#include "server/base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "server/base/clock.h"

enum { RING_BYTES = 1024 * 1024, LINE_MAX_BYTES = 8192, VALUE_MAX = 1024, BATCH_BYTES = 256 * 1024, IDLE_MS = 20 };

_Atomic(enum log_level) log_threshold = LOG_INFO;

/* One thread's ring: that thread alone writes and moves `end`, the writer alone reads and moves `start`; both only
 * grow. A lane outlives its thread, and is then another's: it is never freed, so that nobody can be late for it. */
struct lane {
	struct lane *next;
	atomic_flag is_taken;
	_Alignas(64) _Atomic uint64_t end;
	_Atomic uint64_t dropped;
	_Alignas(64) _Atomic uint64_t start;
	uint64_t dropped_said; /* the writer's */
	_Alignas(64) char bytes[RING_BYTES];
};

static struct {
	pthread_t thread;
	pthread_once_t once;
	pthread_key_t key; /* gives the lane of a thread that ends to the next */
	_Atomic(struct lane *) lanes;
	atomic_bool is_open, is_closing, is_asleep;
	int wake; /* eventfd, kept for the life of the process */
	int descriptor;
} writer = {.once = PTHREAD_ONCE_INIT};

static _Thread_local struct lane *own;

/* --- lines */

struct line {
	char *at, *end; /* where the next byte goes, and where none may */
	bool is_cut;    /* something did not fit */
};

/* What ends every line has its place behind `end`. */
enum { LINE_TAIL = 2 };
static const char line_tail[LINE_TAIL] = {'}', '\n'};

typedef uint64_t loose64 __attribute__((aligned(1), may_alias));
typedef uint32_t loose32 __attribute__((aligned(1), may_alias));

/* A line is some thirty short pieces: most are two words that overlap. */
static void copy(char *to, const char *from, size_t length)
{
	if (length > 16) {
		memcpy(to, from, length);
	} else if (length >= 8) {
		loose64 last = *(const loose64 *)(from + length - 8);
		*(loose64 *)to = *(const loose64 *)from;
		*(loose64 *)(to + length - 8) = last;
	} else if (length >= 4) {
		loose32 last = *(const loose32 *)(from + length - 4);
		*(loose32 *)to = *(const loose32 *)from;
		*(loose32 *)(to + length - 4) = last;
	} else {
		for (size_t i = 0; i < length; i++)
			to[i] = from[i];
	}
}

static void add(struct line *line, const char *bytes, size_t length)
{
	if (length > (size_t)(line->end - line->at)) {
		line->is_cut = true;
		return;
	}
	copy(line->at, bytes, length);
	line->at += length;
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

static void add_escaped(struct line *line, struct text text)
{
	struct buffer escaped = {0};
	buffer_append_json(&escaped, text);
	if (escaped.failed || escaped.length > LINE_MAX_BYTES / 2)
		add(line, "\"...\"", 5);
	else
		add(line, escaped.bytes, escaped.length);
	buffer_free(&escaped);
}

static void add_plain(struct line *line, struct text text)
{
	if (text.length + 2 > (size_t)(line->end - line->at)) {
		line->is_cut = true;
		return;
	}
	*line->at++ = '"';
	copy(line->at, text.bytes, text.length);
	line->at += text.length;
	*line->at++ = '"';
}

static void add_text(struct line *line, struct text text)
{
	if (text.length > VALUE_MAX)
		text.length = VALUE_MAX;
	if (text_is_printable(text, '"', '\\'))
		add_plain(line, text);
	else
		add_escaped(line, text);
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

static void add_field(struct line *line, const struct log_field *field)
{
	if (field->kind <= LOG_KIND_PLAIN && field->text.bytes == NULL)
		return;
	add(line, field->name.bytes, field->name.length);
	switch (field->kind) {
	case LOG_KIND_TEXT:
		add_text(line, field->text);
		break;
	case LOG_KIND_PLAIN:
		add_plain(line, field->text);
		break;
	case LOG_KIND_NUMBER:
		add_number(line, field->number);
		break;
	case LOG_KIND_BOOL:
		add(line, field->number ? "true" : "false", field->number ? 4 : 5);
		break;
	}
}

/* Returns its length. */
static size_t build(
	char bytes[LINE_MAX_BYTES], enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
#define LEVEL(name) TEXT("\",\"level\":\"" name "\",\"event\":\"")
	static const struct text levels[] = {LEVEL("debug"), LEVEL("info"), LEVEL("warning"), LEVEL("error")};
#undef LEVEL
	struct line line = {bytes, bytes + LINE_MAX_BYTES - LINE_TAIL, false};
	add(&line, "{\"time\":\"", 9);
	add_time(&line);
	add(&line, levels[level].bytes, levels[level].length);
	add(&line, event, strlen(event));
	add(&line, "\"", 1);
	for (size_t i = 0; i < count; i++) {
		char *before = line.at;
		add_field(&line, &fields[i]);
		if (line.is_cut) { /* whole or not at all */
			line.at = before;
			line.is_cut = false;
		}
	}
	copy(line.at, line_tail, LINE_TAIL);
	return (size_t)(line.at + LINE_TAIL - bytes);
}

/* --- the rings and their writer */

static void lane_leave(void *lane)
{
	own = NULL;
	atomic_flag_clear_explicit(&((struct lane *)lane)->is_taken, memory_order_release);
}

static void prepare(void)
{
	writer.wake = eventfd(0, EFD_CLOEXEC);
	if (writer.wake < 0 || pthread_key_create(&writer.key, lane_leave) != 0)
		abort(); /* at the first line of the process */
}

static struct lane *lane_take(void)
{
	struct lane *lane = atomic_load_explicit(&writer.lanes, memory_order_acquire);
	while (lane != NULL && atomic_flag_test_and_set_explicit(&lane->is_taken, memory_order_acquire))
		lane = lane->next;
	if (lane == NULL) {
		lane = aligned_alloc(64, sizeof(*lane));
		if (lane == NULL)
			return NULL;
		memset(lane, 0, offsetof(struct lane, bytes));
		(void)atomic_flag_test_and_set(&lane->is_taken);
		lane->next = atomic_load_explicit(&writer.lanes, memory_order_relaxed);
		while (!atomic_compare_exchange_weak_explicit(
			&writer.lanes, &lane->next, lane, memory_order_release, memory_order_relaxed))
			;
	}
	(void)pthread_setspecific(writer.key, lane);
	return lane;
}

/* False: no room. */
static bool lane_put(struct lane *lane, const char *bytes, size_t length)
{
	uint64_t end = atomic_load_explicit(&lane->end, memory_order_relaxed);
	if (length > RING_BYTES - (end - atomic_load_explicit(&lane->start, memory_order_acquire)))
		return false;
	size_t at = end % RING_BYTES, first = length < RING_BYTES - at ? length : RING_BYTES - at;
	memcpy(lane->bytes + at, bytes, first);
	memcpy(lane->bytes, bytes + first, length - first);
	atomic_store(&lane->end, end + length); /* before is_asleep is looked at */
	return true;
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

/* Writes what the lane holds: whole lines, since both ends move by lines. Returns how much. */
static size_t lane_drain(struct lane *lane, char *batch)
{
	static char line[LINE_MAX_BYTES];
	uint64_t start = atomic_load_explicit(&lane->start, memory_order_relaxed), end = atomic_load(&lane->end);
	size_t total = (size_t)(end - start);
	while (start < end) {
		size_t length = end - start < BATCH_BYTES ? (size_t)(end - start) : BATCH_BYTES;
		size_t at = start % RING_BYTES, first = length < RING_BYTES - at ? length : RING_BYTES - at;
		memcpy(batch, lane->bytes + at, first);
		memcpy(batch + first, lane->bytes, length - first);
		start += length;
		atomic_store_explicit(&lane->start, start, memory_order_release);
		write_all(writer.descriptor, batch, length);
	}
	uint64_t dropped = atomic_load_explicit(&lane->dropped, memory_order_relaxed);
	if (dropped > lane->dropped_said) {
		const struct log_field field = log_number("lines", dropped - lane->dropped_said);
		lane->dropped_said = dropped;
		size_t length = build(line, LOG_WARNING, "log.dropped", &field, 1);
		write_all(writer.descriptor, line, length);
		total += length;
	}
	return total;
}

static size_t drain(char *batch)
{
	size_t total = 0;
	for (struct lane *lane = atomic_load_explicit(&writer.lanes, memory_order_acquire); lane != NULL; lane = lane->next)
		total += lane_drain(lane, batch);
	return total;
}

static void *run(void *batch)
{
	const struct timespec pause = {.tv_nsec = IDLE_MS * 1000000L};
	for (;;) {
		bool is_closing = atomic_load(&writer.is_closing);
		if (drain(batch) > 0) {
			if (!is_closing) /* a pause, so that lines come in batches */
				nanosleep(&pause, NULL);
			continue;
		}
		if (is_closing)
			break;
		atomic_store(&writer.is_asleep, true);
		if (drain(batch) == 0 && !atomic_load(&writer.is_closing)) {
			uint64_t count;
			(void)!read(writer.wake, &count, sizeof(count));
		}
		atomic_store(&writer.is_asleep, false);
	}
	free(batch);
	return NULL;
}

static void wake(void)
{
	if (atomic_load(&writer.is_asleep) && atomic_exchange(&writer.is_asleep, false))
		(void)!write(writer.wake, &(uint64_t){1}, sizeof(uint64_t));
}

enum status log_open(int descriptor, enum log_level threshold)
{
	pthread_once(&writer.once, prepare);
	char *batch = malloc(BATCH_BYTES);
	log_threshold = threshold;
	writer.descriptor = descriptor;
	atomic_store(&writer.is_closing, false);
	if (batch == NULL || pthread_create(&writer.thread, NULL, run, batch) != 0) {
		free(batch);
		return STATUS_NO_MEMORY;
	}
	atomic_store_explicit(&writer.is_open, true, memory_order_release);
	return STATUS_OK;
}

void log_write(enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
	char line[LINE_MAX_BYTES];
	size_t length = build(line, level, event, fields, count);
	if (!atomic_load_explicit(&writer.is_open, memory_order_acquire) || (own == NULL && (own = lane_take()) == NULL)) {
		write_all(STDERR_FILENO, line, length);
		return;
	}
	if (!lane_put(own, line, length))
		atomic_store_explicit(
			&own->dropped, atomic_load_explicit(&own->dropped, memory_order_relaxed) + 1, memory_order_relaxed);
	wake();
}

void log_close(void)
{
	if (!atomic_exchange_explicit(&writer.is_open, false, memory_order_acq_rel))
		return;
	atomic_store(&writer.is_closing, true);
	(void)!write(writer.wake, &(uint64_t){1}, sizeof(uint64_t));
	pthread_join(writer.thread, NULL);
}

uint64_t log_dropped(void)
{
	uint64_t sum = 0;
	for (struct lane *lane = atomic_load_explicit(&writer.lanes, memory_order_acquire); lane != NULL; lane = lane->next)
		sum += atomic_load_explicit(&lane->dropped, memory_order_relaxed);
	return sum;
}
