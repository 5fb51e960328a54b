/* Receipts at the operator's tool. */
#include "control/cellctl_receipt.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/json.h"
#include "tenants/dp/contract/receipt.h"

enum { PAGE = 500, KEY_FILE_MAX = 65536 };
static const struct json_limits page_limits = {(size_t)64 << 20, 32, 4000000};

static int fail(const char *what)
{
	fprintf(stderr, "cellctl: %s\n", what);
	return 1;
}

/* --- showing */

static void print_line(const char *name, const struct json *value)
{
	struct buffer line = {0};
	if (name != NULL)
		buffer_printf(&line, "{\"%s\":", name);
	json_print(value, &line);
	printf("%s%s\n", line.bytes == NULL ? "" : line.bytes, name != NULL ? "}" : "");
	buffer_free(&line);
}

static void print_row(const struct json *line)
{
	const struct json *receipt = json_member(line, "receipt");
	int64_t sequence = 0, bytes = 0, requests = 0;
	json_integer(json_member(receipt, "sequence"), &sequence);
	json_integer(json_member(receipt, "bytes"), &bytes);
	json_integer(json_member(receipt, "requests"), &requests);
	printf("%8" PRId64 "  %.*s  %.*s  %.*s  %" PRId64 " requests  %" PRId64 " bytes%s\n", sequence,
		TEXT_ARGUMENTS(json_member_text(receipt, "last")), TEXT_ARGUMENTS(json_member_text(receipt, "flow")),
		TEXT_ARGUMENTS(json_member_text(receipt, "agreement")), requests, bytes,
		json_text(json_member(line, "signature")).bytes == NULL ? "  not signed" : "");
}

static void print_head(const char *ctx, const char *flow, const struct json *page)
{
	struct json *head = json_object_new();
	json_add_text(head, "ctx", text_of(ctx));
	if (flow != NULL)
		json_add_text(head, "flow", text_of(flow));
	if (head != NULL)
		print_line("export", head);
	json_free(head);
	const struct json *keys = json_member(page, "keys");
	for (const struct json *key = json_first(keys); key != NULL; key = json_next(key))
		print_line("jwk", key);
}

static void print_page(const struct json *page, bool as_lines)
{
	const struct json *receipts = json_member(page, "receipts");
	for (const struct json *line = json_first(receipts); line != NULL; line = json_next(line)) {
		if (as_lines)
			print_line(NULL, line);
		else
			print_row(line);
	}
}

int receipts_show(const char *ctx, const char *flow, bool as_lines, receipts_fetch *fetch, void *context)
{
	char *after = NULL;
	int result = 0;
	for (bool is_first = true; result == 0 && (is_first || after != NULL); is_first = false) {
		struct buffer query = {0}, answer = {0};
		struct json *page = NULL;
		buffer_printf(&query, "limit=%d%s%s%s%s", PAGE, flow == NULL ? "" : "&flow=", flow == NULL ? "" : flow,
			after == NULL ? "" : "&after=", after == NULL ? "" : after);
		free(after);
		after = NULL;
		result = query.failed ? fail("out of memory") : fetch(context, query.bytes, &answer);
		if (result == 0 && json_parse(buffer_text(&answer), &page_limits, &page) != STATUS_OK)
			result = fail("the answer is not JSON");
		if (result == 0) {
			if (is_first && as_lines)
				print_head(ctx, flow, page);
			print_page(page, as_lines);
			struct text next = json_member_text(page, "next");
			after = next.length == 0 ? NULL : text_copy(next);
		}
		json_free(page);
		buffer_free(&query);
		buffer_free(&answer);
	}
	free(after);
	return result;
}

/* --- verifying */

static bool read_key(const char *path, struct key **key)
{
	char bytes[KEY_FILE_MAX];
	FILE *file = fopen(path, "re");
	if (file == NULL)
		return false;
	size_t length = fread(bytes, 1, sizeof(bytes), file);
	bool is_read = !ferror(file) && length < sizeof(bytes);
	fclose(file);
	return is_read && key_from_public_jwk(text_trim((struct text){bytes, length}), key) == STATUS_OK;
}

/* False: it has been said where it breaks. */
static bool check_lines(struct receipt_check *check, FILE *file)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t length;
	unsigned long number = 0;
	bool is_good = true;
	while (is_good && (length = getline(&line, &room, file)) >= 0) {
		struct buffer problem = {0};
		number++;
		if (length > 0 && line[length - 1] == '\n')
			length--;
		is_good = receipt_check_line(check, (struct text){line, (size_t)length}, &problem) == STATUS_OK;
		if (!is_good)
			printf("broken at line %lu: %s\n", number, problem.bytes == NULL ? "out of memory" : problem.bytes);
		buffer_free(&problem);
	}
	free(line);
	return is_good;
}

static bool check_end(struct receipt_check *check)
{
	struct buffer problem = {0}, summary = {0};
	bool is_good = receipt_check_end(check, &problem, &summary) == STATUS_OK;
	if (is_good)
		printf("%s", summary.bytes);
	else
		printf("broken at the end: %s\n", problem.bytes == NULL ? "out of memory" : problem.bytes);
	buffer_free(&problem);
	buffer_free(&summary);
	return is_good;
}

int receipts_verify(const char *path, const char *key_file)
{
	struct key *key = NULL;
	if (key_file != NULL && !read_key(key_file, &key))
		return fail("--key must be a file with one public JWK");
	FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	struct receipt_check *check = receipt_check_new(key);
	key_free(key);
	int result = file == NULL || check == NULL ? fail("the file cannot be read") : 0;
	if (result == 0)
		result = check_lines(check, file) && check_end(check) ? 0 : 1;
	receipt_check_free(check);
	if (file != NULL && file != stdin)
		fclose(file);
	return result;
}
