/* The log: lines grow in the thread's own bounded ring, from which the writer thread takes them. */
#include "server/base/log_line.h"

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

enum { RING_BYTES = 1024 * 1024, BATCH_BYTES = 256 * 1024, IDLE_MS = 20 };

_Atomic(enum log_level) log_threshold = LOG_INFO;

/* One thread's ring: that thread alone writes and moves `end`, the writer alone reads and moves `start`; both only
 * grow. A lane outlives its thread, and is then another's: it is never freed, so that nobody can be late for it.
 * What each writes stands on lines of its own. NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding) */
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

/* What ends every line. */
enum { LINE_TAIL = 2 };
static const char line_tail[LINE_TAIL] = {'}', '\n'};

static void add(struct log_line *line, struct text text)
{
	if (log_line_fits(line, text.length))
		line->at = log_copy(line->at, text.bytes, text.length);
}

void log_line_escaped(struct log_line *line, struct text name, struct text value)
{
	struct buffer escaped = {0};
	buffer_append_json(&escaped, value);
	struct text text = buffer_text(&escaped);
	if (escaped.failed || text.length > LOG_LINE_MOST / 2)
		text = TEXT("\"...\"");
	if (log_line_fits(line, name.length + text.length)) {
		add(line, name);
		add(line, text);
	}
	buffer_free(&escaped);
}

/* With what is before it. */
static struct text time_now(void)
{
	static _Thread_local char formatted[] = "{\"time\":\"................................";
	static _Thread_local int64_t formatted_ms = -1;
	enum { BEFORE = 9, TIME = 24 };
	int64_t now_ms = clock_wall_ms();
	if (now_ms != formatted_ms) {
		clock_format(now_ms, formatted + BEFORE);
		formatted_ms = now_ms;
	}
	return (struct text){formatted, BEFORE + TIME};
}

static void begin(struct log_line *line, enum log_level level, struct text event)
{
#define LEVEL(name) TEXT("\",\"level\":\"" name "\",\"event\":\"")
	static const struct text levels[] = {LEVEL("debug"), LEVEL("info"), LEVEL("warning"), LEVEL("error")};
#undef LEVEL
	line->end = line->at + LOG_LINE_MOST - LINE_TAIL;
	add(line, time_now());
	add(line, levels[level]);
	add(line, event);
	add(line, TEXT("\""));
}

static void begin_in_room(struct log_line *line, enum log_level level, struct text event)
{
	line->lane = NULL;
	line->at = line->room;
	begin(line, level, event);
}

static void add_field(struct log_line *line, const struct log_field *field)
{
	switch (field->kind) {
	case LOG_KIND_TEXT:
		log_line_text(line, field->name, field->text);
		break;
	case LOG_KIND_NUMBER:
		log_line_number(line, field->name, field->number);
		break;
	case LOG_KIND_BOOL: {
		struct text word = field->number ? TEXT("true") : TEXT("false");
		if (log_line_fits(line, field->name.length + word.length)) {
			add(line, field->name);
			add(line, word);
		}
		break;
	}
	}
}

/* Returns where it ends. */
static char *close_line(struct log_line *line)
{
	memcpy(line->at, line_tail, LINE_TAIL);
	return line->at + LINE_TAIL;
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
	static struct log_line line;
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
		begin_in_room(&line, LOG_WARNING, TEXT("log.dropped"));
		add_field(&line, &field);
		size_t length = (size_t)(close_line(&line) - line.room);
		write_all(writer.descriptor, line.room, length);
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

/* In place, if the longest line would fit in one piece. */
void log_line_begin(struct log_line *line, enum log_level level, struct text event)
{
	struct lane *lane = atomic_load_explicit(&writer.is_open, memory_order_acquire) ? own : NULL;
	uint64_t end = lane == NULL ? 0 : atomic_load_explicit(&lane->end, memory_order_relaxed);
	uint64_t start = lane == NULL ? 0 : atomic_load_explicit(&lane->start, memory_order_acquire);
	size_t at = end % RING_BYTES;
	if (lane == NULL || at > RING_BYTES - LOG_LINE_MOST || end - start > RING_BYTES - LOG_LINE_MOST) {
		begin_in_room(line, level, event);
		return;
	}
	line->lane = lane;
	line->at = lane->bytes + at;
	begin(line, level, event);
}

static void put_room(const char *bytes, size_t length)
{
	if (!atomic_load_explicit(&writer.is_open, memory_order_acquire) || (own == NULL && (own = lane_take()) == NULL)) {
		write_all(STDERR_FILENO, bytes, length);
		return;
	}
	if (!lane_put(own, bytes, length))
		atomic_store_explicit(
			&own->dropped, atomic_load_explicit(&own->dropped, memory_order_relaxed) + 1, memory_order_relaxed);
	wake();
}

void log_line_end(struct log_line *line)
{
	const char *end = close_line(line);
	struct lane *lane = line->lane;
	if (lane == NULL) {
		put_room(line->room, (size_t)(end - line->room));
		return;
	}
	uint64_t before = atomic_load_explicit(&lane->end, memory_order_relaxed);
	size_t length = (size_t)(end - (lane->bytes + before % RING_BYTES));
	atomic_store(&lane->end, before + length); /* before is_asleep is looked at */
	wake();
}

void log_write(enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
	struct log_line line;
	log_line_begin(&line, level, text_of(event));
	for (size_t i = 0; i < count; i++)
		add_field(&line, &fields[i]);
	log_line_end(&line);
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
