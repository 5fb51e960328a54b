/* Small files are held once they lie still, served as they were, and seen anew when they change. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tenants/dp/source/file_answer.h"

#define CTX TEXT("0123456789abcdef0123456789abcdef")

static char root[] = "/tmp/open_file_test.XXXXXX";
static struct open_files *files;
static uint64_t now_ms;

static void path_of(const char *name, char into[256])
{
	snprintf(into, 256, "%s/%.*s/%s", root, TEXT_ARGUMENTS(CTX), name);
}

static void write_file(const char *name, char fill, size_t size)
{
	char path[256];
	path_of(name, path);
	FILE *file = fopen(path, "wb");
	assert_non_null(file);
	for (size_t i = 0; i < size; i++)
		assert_int_equal(fputc(fill, file), fill);
	fclose(file);
}

static const struct open_file *get(const char *name)
{
	const struct open_file *file;
	assert_int_equal(open_file_get(files, CTX, text_of(name), now_ms, &file), STATUS_OK);
	return file;
}

/* The file system's clock must have gone on first. */
static const struct open_file *get_held(const char *name)
{
	for (int i = 0; i < 5000; i++, usleep(1000)) {
		const struct open_file *file = get(name);
		if (file->held != NULL)
			return file;
		open_file_release(files, file);
		now_ms++;
	}
	fail_msg("never held");
	return NULL;
}

static char byte_of(const struct open_file *file, int64_t at)
{
	struct file_window window = {0};
	uint8_t byte;
	assert_int_equal(open_file_copy(file, &window, at, &byte, 1), STATUS_OK);
	file_window_close(&window);
	return (char)byte;
}

static void a_held_file_stays_what_it_was(void **state)
{
	(void)state;
	write_file("small", 'a', 100);
	const struct open_file *young = get("small");
	assert_null(young->held);
	assert_int_equal(byte_of(young, 99), 'a');
	open_file_release(files, young);
	const struct open_file *held = get_held("small");
	assert_int_equal(strlen(held->modified), HTTP_DATE_LENGTH);
	write_file("small", 'b', 100);
	assert_int_equal(byte_of(held, 0), 'a');
	assert_int_equal(byte_of(held, 99), 'a');
	assert_ptr_equal(get("small"), held); /* within one millisecond it is not looked at again */
	now_ms++;
	const struct open_file *next = get("small");
	assert_ptr_not_equal(next, held);
	assert_int_equal(byte_of(next, 99), 'b');
	assert_int_equal(byte_of(held, 99), 'a');
	open_file_release(files, held);
	open_file_release(files, held);
	open_file_release(files, next);
}

static void a_replaced_file_is_seen(void **state)
{
	(void)state;
	char from[256], to[256];
	write_file("first", 'a', 10);
	open_file_release(files, get_held("first"));
	write_file("other", 'c', 10);
	path_of("other", from);
	path_of("first", to);
	assert_int_equal(rename(from, to), 0);
	now_ms++;
	const struct open_file *file = get("first");
	assert_int_equal(byte_of(file, 0), 'c');
	open_file_release(files, file);
	assert_int_equal(unlink(to), 0);
	now_ms++;
	assert_int_equal(open_file_get(files, CTX, TEXT("first"), now_ms, &file), STATUS_NOT_FOUND);
}

static void large_and_empty_files_are_not_held(void **state)
{
	(void)state;
	write_file("large", 'l', (size_t)16 * 1024 + 1);
	write_file("most", 'm', (size_t)16 * 1024);
	write_file("empty", 'e', 0);
	open_file_release(files, get_held("most")); /* by then the others are as old */
	const char *const names[] = {"large", "empty"};
	for (size_t i = 0; i < 2; i++) {
		const struct open_file *file = get(names[i]);
		assert_null(file->held);
		open_file_release(files, file);
	}
}

/* More than are kept: each is itself, and what was closed is opened again. */
static void each_path_is_its_own(void **state)
{
	enum { FILES = 24 };
	(void)state;
	for (int i = 0; i < 3 * FILES; i++) {
		char name[] = "a_path_a";
		name[7] = (char)('a' + i % FILES);
		if (i < FILES)
			write_file(name, name[7], 20);
		for (int again = 0; again < 2; again++) {
			const struct open_file *file = get(name);
			assert_int_equal(byte_of(file, 19), name[7]);
			open_file_release(files, file);
		}
	}
}

/* Of the same part and path one; those that were given out stay what they were. */
static void what_answers_say_is_kept(void **state)
{
	const struct text type = TEXT("text/plain"), below = TEXT("/a");
	const struct dataset_part part = {.serial = 7, .binding = "0123456789abcdef"};
	const struct dataset_part other = {.serial = 8, .binding = "fedcba9876543210"};
	char tag[FILE_TAG_LENGTH + 1];
	(void)state;
	write_file("said", 's', 10);
	const struct open_file *file = get("said");
	file_tag_print(part.binding, false, below, file, tag);
	struct file_answer *first = file_answer_take(file, &part, type, below);
	assert_true(text_equals(first->etag, text_of(tag)));
	assert_true(text_equals(first->fields->fields[0].value, type));
	struct file_answer *again = file_answer_take(file, &part, type, TEXT("/a"));
	assert_ptr_equal(again, first);
	file_answer_leave(again);
	struct file_answer *elsewhere = file_answer_take(file, &part, type, TEXT("/b"));
	struct file_answer *bound = file_answer_take(file, &other, type, below);
	assert_false(text_equals(elsewhere->etag, text_of(tag)));
	assert_false(text_equals(bound->etag, text_of(tag)));
	assert_true(text_equals(first->etag, text_of(tag)));
	open_file_release(files, file);
	write_file("said", 't', 11);
	now_ms++;
	const struct open_file *next = get("said");
	struct file_answer *newer = file_answer_take(next, &part, type, below);
	assert_false(text_equals(newer->etag, text_of(tag)));
	open_file_release(files, next);
	struct file_answer *const given[] = {first, elsewhere, bound, newer};
	for (size_t i = 0; i < 4; i++)
		file_answer_leave(given[i]);
}

static int set_up(void **state)
{
	(void)state;
	char path[256];
	if (mkdtemp(root) == NULL)
		return 1;
	path_of("", path);
	if (mkdir(path, 0700) != 0)
		return 1;
	files = open_files_new(open(root, O_PATH | O_DIRECTORY), 8);
	return files == NULL;
}

static int tear_down(void **state)
{
	(void)state;
	open_files_free(files);
	char command[300];
	snprintf(command, sizeof(command), "rm -r '%s'", root);
	return system(command); /* NOLINT(cert-env33-c, concurrency-mt-unsafe) */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_held_file_stays_what_it_was),
		cmocka_unit_test(a_replaced_file_is_seen),
		cmocka_unit_test(large_and_empty_files_are_not_held),
		cmocka_unit_test(each_path_is_its_own),
		cmocka_unit_test(what_answers_say_is_kept),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
