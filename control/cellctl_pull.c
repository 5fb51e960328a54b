/* cellctl pull: a flow's data from the consumer's own cell into a file. What is cut is taken up again, in this run or
 * in a later one: FILE.part holds the bytes, FILE.tag the entity tag they belong to. The whole is checked against the
 * provider's digest before it gets its name. */
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "control/cellctl.h"
#include "server/base/json.h"
#include "server/base/secret.h"
#include "server/etag.h"
#include "tenants/dp/source/digest_field.h"

enum { ATTEMPTS_MAX = 6, SILENCE_S = 60, ANSWER_MAX = 4096, TAG_MAX = 1024, LINE_MS = 200 };

struct transfer {
	const struct call *call;
	CURL *curl;
	struct buffer url, part, tag_file;
	FILE *file;
	struct running_digest *digest; /* of what is in the file */
	int64_t offset, total;         /* bytes there; -1: unknown */
	char tag[TAG_MAX];             /* of those bytes; "": none */
	bool is_over, is_tty;
	int64_t shown_ms;
	char reason[512]; /* why it failed; "": it did not */
	/* one answer */
	long status;
	int64_t first; /* of its content-range, -1: none */
	char new_tag[TAG_MAX];
	bool has_digest, has_begun, is_whole;
	uint8_t expected[HASH_BYTES_MAX];
	struct buffer answer; /* of an error */
};

static bool fail(struct transfer *transfer, const char *what)
{
	if (transfer->reason[0] == 0)
		snprintf(transfer->reason, sizeof(transfer->reason), "%s", what);
	return false;
}

/* --- the file */

static bool start_digest(struct transfer *transfer)
{
	running_digest_free(transfer->digest);
	transfer->digest = NULL;
	return running_digest_new(HASH_SHA256, &transfer->digest) == STATUS_OK;
}

static bool start_over(struct transfer *transfer)
{
	transfer->offset = 0;
	transfer->tag[0] = 0;
	if (transfer->file != stdout &&
		(ftruncate(fileno(transfer->file), 0) != 0 || fseek(transfer->file, 0, SEEK_SET) != 0))
		return fail(transfer, strerrordesc_np(errno));
	return start_digest(transfer) || fail(transfer, "out of memory");
}

static bool read_tag(struct transfer *transfer)
{
	FILE *file = fopen(transfer->tag_file.bytes, "re");
	size_t count = file == NULL ? 0 : fread(transfer->tag, 1, TAG_MAX - 1, file);
	transfer->tag[count] = 0;
	if (file != NULL)
		fclose(file);
	return etag_is_valid((struct text){transfer->tag, count}) && transfer->tag[0] == '"';
}

static bool write_tag(struct transfer *transfer)
{
	if (transfer->file == stdout)
		return true;
	FILE *file = fopen(transfer->tag_file.bytes, "we");
	bool is_written = file != NULL && fputs(transfer->tag, file) >= 0;
	if (file != NULL && fclose(file) != 0)
		is_written = false;
	return is_written || fail(transfer, strerrordesc_np(errno));
}

/* What an earlier run left, hashed; without its tag it is worth nothing. */
static bool open_part(struct transfer *transfer)
{
	uint8_t block[65536];
	size_t count;
	transfer->file = fopen(transfer->part.bytes, "a+e");
	if (transfer->file == NULL)
		return fail(transfer, strerrordesc_np(errno));
	if (!read_tag(transfer))
		return start_over(transfer);
	if (!start_digest(transfer) || fseek(transfer->file, 0, SEEK_SET) != 0)
		return fail(transfer, "out of memory");
	while ((count = fread(block, 1, sizeof(block), transfer->file)) > 0) {
		if (running_digest_add(transfer->digest, block, count) != STATUS_OK)
			return fail(transfer, "out of memory");
		transfer->offset += (int64_t)count;
	}
	return !ferror(transfer->file) || fail(transfer, strerrordesc_np(errno));
}

/* --- one answer */

static void read_range(struct transfer *transfer, struct text range)
{
	uint64_t number;
	struct text rest = range;
	if (text_starts_with(rest, TEXT("bytes ")))
		rest = text_slice(rest, 6, rest.length);
	size_t slash = text_find(rest, '/');
	if (text_to_unsigned(text_slice(rest, 0, text_find(rest, '-')), INT64_MAX, &number) == STATUS_OK)
		transfer->first = (int64_t)number;
	if (slash < rest.length &&
		text_to_unsigned(text_slice(rest, slash + 1, rest.length), INT64_MAX, &number) == STATUS_OK)
		transfer->total = (int64_t)number;
}

static size_t on_header(char *bytes, size_t size, size_t count, void *context)
{
	struct transfer *transfer = context;
	struct text line = {bytes, size * count};
	while (line.length > 0 && (line.bytes[line.length - 1] == '\n' || line.bytes[line.length - 1] == '\r'))
		line.length--;
	size_t colon = text_find(line, ':');
	struct text name = text_slice(line, 0, colon);
	struct text value = colon < line.length ? text_trim(text_slice(line, colon + 1, line.length)) : TEXT_NONE;
	uint64_t number;
	if (text_starts_with(line, TEXT("HTTP/"))) { /* the last head counts */
		transfer->is_whole = text_starts_with(text_slice(line, text_find(line, ' '), line.length), TEXT(" 200"));
		transfer->first = -1;
		transfer->new_tag[0] = 0;
		transfer->has_digest = false;
	} else if (text_equals_ignoring_case(name, TEXT("etag")) && value.length < TAG_MAX && etag_is_valid(value)) {
		snprintf(transfer->new_tag, TAG_MAX, "%.*s", TEXT_ARGUMENTS(value));
	} else if (text_equals_ignoring_case(name, TEXT("content-range"))) {
		read_range(transfer, value);
	} else if (text_equals_ignoring_case(name, TEXT("content-length")) && transfer->is_whole &&
			   text_to_unsigned(value, INT64_MAX, &number) == STATUS_OK) {
		transfer->total = (int64_t)number;
	} else if (text_equals_ignoring_case(name, TEXT("repr-digest"))) {
		transfer->has_digest = digest_find(value, HASH_SHA256, transfer->expected);
	}
	return size * count;
}

/* Before the first byte: is this the rest of what is there, or the whole again? */
static bool begin(struct transfer *transfer)
{
	transfer->has_begun = true;
	if (transfer->status == 206) {
		bool is_rest = transfer->first == transfer->offset && strcmp(transfer->tag, transfer->new_tag) == 0;
		return is_rest || fail(transfer, "the cell sent another part than asked for");
	}
	if (transfer->file == stdout && transfer->offset > 0)
		return fail(transfer, "the data has changed");
	if (!start_over(transfer))
		return false;
	if (transfer->new_tag[0] == '"')
		memcpy(transfer->tag, transfer->new_tag, sizeof(transfer->tag));
	return transfer->tag[0] == 0 || write_tag(transfer);
}

static void show(struct transfer *transfer, bool is_last)
{
	struct timespec now;
	if (!transfer->is_tty)
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	int64_t now_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
	if (!is_last && now_ms - transfer->shown_ms < LINE_MS)
		return;
	transfer->shown_ms = now_ms;
	if (transfer->total > 0)
		fprintf(stderr, "\r%lld of %lld MiB, %d %% ", (long long)(transfer->offset >> 20),
			(long long)(transfer->total >> 20), (int)(100.0 * (double)transfer->offset / (double)transfer->total));
	else
		fprintf(stderr, "\r%lld MiB ", (long long)(transfer->offset >> 20));
	if (is_last)
		fputc('\n', stderr);
}

static size_t on_body(char *bytes, size_t size, size_t count, void *context)
{
	struct transfer *transfer = context;
	size_t length = size * count;
	curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &transfer->status);
	if (transfer->status != 200 && transfer->status != 206) {
		if (transfer->answer.length < ANSWER_MAX)
			buffer_append(&transfer->answer, (struct text){bytes, length});
		return length;
	}
	if (!transfer->has_begun && !begin(transfer))
		return 0;
	if (fwrite(bytes, 1, length, transfer->file) != length) {
		fail(transfer, strerrordesc_np(errno));
		return 0;
	}
	if (running_digest_add(transfer->digest, (const uint8_t *)bytes, length) != STATUS_OK) {
		fail(transfer, "out of memory");
		return 0;
	}
	transfer->offset += (int64_t)length;
	show(transfer, false);
	return length;
}

static void read_error(struct transfer *transfer)
{
	struct json *root = NULL;
	struct text detail = TEXT_NONE;
	if (json_parse(buffer_text(&transfer->answer), NULL, &root) == STATUS_OK) {
		detail = json_member_text(root, "detail");
		if (detail.length == 0)
			detail = json_member_text(root, "title");
	}
	if (transfer->reason[0] == 0)
		snprintf(transfer->reason, sizeof(transfer->reason), "%ld %.*s", transfer->status, TEXT_ARGUMENTS(detail));
	json_free(root);
}

/* --- attempts */

/* A token for each attempt: it need not live as long as the transfer. */
static struct curl_slist *build_headers(struct transfer *transfer, bool goes_on)
{
	struct buffer token = {0}, line = {0}, condition = {0};
	struct curl_slist *headers = NULL;
	if (cellctl_token(transfer->call, &token)) {
		buffer_printf(&line, "Authorization: Bearer %s", token.bytes);
		buffer_printf(&condition, "If-Range: %s", transfer->tag);
		headers = line.failed ? NULL : curl_slist_append(NULL, line.bytes);
		if (headers != NULL && goes_on)
			headers = curl_slist_append(headers, condition.bytes);
	}
	buffer_wipe(&token);
	buffer_wipe(&line);
	buffer_free(&condition);
	return headers;
}

static CURLcode perform(struct transfer *transfer, char *error)
{
	CURL *curl = transfer->curl;
	char range[64];
	bool goes_on = transfer->offset > 0 && transfer->tag[0] != 0;
	struct curl_slist *headers = build_headers(transfer, goes_on);
	if (headers == NULL) {
		fail(transfer, "no token could be made");
		return CURLE_OUT_OF_MEMORY;
	}
	snprintf(range, sizeof(range), "%lld-", (long long)transfer->offset);
	curl_easy_setopt(curl, CURLOPT_URL, transfer->url.bytes);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_RANGE, goes_on ? range : NULL);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https,http");
	curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)SILENCE_S);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, transfer);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, transfer);
	if (transfer->call->options[OPTION_CA] != NULL)
		curl_easy_setopt(curl, CURLOPT_CAINFO, transfer->call->options[OPTION_CA]);
	CURLcode code = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &transfer->status);
	curl_slist_free_all(headers);
	return code;
}

/* True: this was the last. */
static bool judge(struct transfer *transfer, CURLcode code, const char *error)
{
	if (transfer->reason[0] != 0)
		return true;
	if (code == CURLE_OK && (transfer->status == 200 || transfer->status == 206)) {
		transfer->is_over = transfer->has_begun || begin(transfer); /* of an empty body */
		return true;
	}
	if (code == CURLE_OK && transfer->status == 416 && transfer->total == transfer->offset) {
		transfer->is_over = true; /* nothing was left */
		return true;
	}
	if (code == CURLE_OK && transfer->status == 416 && transfer->offset > 0)
		return transfer->file == stdout || !start_over(transfer); /* it is shorter than what is here */
	if (code == CURLE_OK) {
		read_error(transfer);
		return transfer->status < 500 || transfer->status == 502;
	}
	bool is_final = code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL ||
					code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE;
	fail(transfer, error[0] != 0 ? error : "the cell cannot be reached");
	return is_final;
}

static void transfer_run(struct transfer *transfer)
{
	for (unsigned attempt = 0;;) {
		char error[CURL_ERROR_SIZE] = "";
		int64_t before = transfer->offset;
		transfer->has_begun = false;
		buffer_clear(&transfer->answer);
		transfer->reason[0] = 0;
		if (judge(transfer, perform(transfer, error), error))
			return;
		if (fflush(transfer->file) != 0)
			return;
		attempt = transfer->offset > before ? 0 : attempt + 1;
		/* bytes on a pipe cannot be taken back: without a tag they are all there will be */
		if (attempt == ATTEMPTS_MAX || (transfer->file == stdout && transfer->offset > 0 && transfer->tag[0] == 0))
			return;
		const struct timespec pause = {.tv_nsec = 100000000L << (attempt < 4 ? attempt : 3)};
		nanosleep(&pause, NULL);
	}
}

/* --- the end */

static bool is_proven(struct transfer *transfer)
{
	uint8_t found[HASH_BYTES_MAX];
	return !transfer->has_digest || (running_digest_end(transfer->digest, found) == STATUS_OK &&
										memcmp(found, transfer->expected, hash_bytes(HASH_SHA256)) == 0);
}

static bool complete(struct transfer *transfer)
{
	bool is_file = transfer->file != stdout;
	if (transfer->total >= 0 && transfer->offset != transfer->total)
		return fail(transfer, "the data ended early");
	if (!is_proven(transfer)) {
		if (is_file) {
			unlink(transfer->part.bytes);
			unlink(transfer->tag_file.bytes);
		}
		return fail(transfer, "the data does not match the provider's digest");
	}
	if (fflush(transfer->file) != 0 || (is_file && fsync(fileno(transfer->file)) != 0))
		return fail(transfer, strerrordesc_np(errno));
	if (is_file && rename(transfer->part.bytes, transfer->call->options[OPTION_OUTPUT]) != 0)
		return fail(transfer, strerrordesc_np(errno));
	if (is_file)
		unlink(transfer->tag_file.bytes);
	return true;
}

static void print_url(const struct call *call, struct buffer *url)
{
	const char *base = call->options[OPTION_URL];
	buffer_append(url, text_of(base == NULL ? "https://localhost:8443" : base));
	buffer_printf(url, "/api/local/%s/%s", call->words[0], call->words[1]);
	if (call->word_count > 2)
		buffer_printf(url, "%s%s", call->words[2][0] == '/' ? "" : "/", call->words[2]);
}

static bool transfer_open(struct transfer *transfer)
{
	const char *output = transfer->call->options[OPTION_OUTPUT];
	print_url(transfer->call, &transfer->url);
	if (output == NULL || strcmp(output, "-") == 0) {
		transfer->file = stdout;
		return start_digest(transfer) || fail(transfer, "out of memory");
	}
	buffer_printf(&transfer->part, "%s.part", output);
	buffer_printf(&transfer->tag_file, "%s.tag", output);
	if (transfer->part.failed || transfer->tag_file.failed || transfer->url.failed)
		return fail(transfer, "out of memory");
	return open_part(transfer);
}

static void print_result(const struct transfer *transfer)
{
	const char *proof = transfer->has_digest ? "checked" : "not known";
	if (transfer->file == stdout)
		return;
	if (transfer->call->options[OPTION_JSON] != NULL)
		printf(
			"{\"bytes\":%lld,\"checked\":%s}\n", (long long)transfer->offset, transfer->has_digest ? "true" : "false");
	else
		printf("%lld bytes, digest %s\n", (long long)transfer->offset, proof);
}

int pull_run(const struct command *command, struct call *call)
{
	struct transfer transfer = {.call = call, .total = -1, .is_tty = isatty(STDERR_FILENO) == 1};
	bool is_done = false;
	(void)command;
	transfer.curl = curl_easy_init();
	if (transfer.curl == NULL)
		fail(&transfer, "out of memory");
	else if (transfer_open(&transfer)) {
		transfer_run(&transfer);
		is_done = transfer.is_over && complete(&transfer);
		show(&transfer, true);
	}
	if (is_done)
		print_result(&transfer);
	else
		fprintf(stderr, "cellctl: %s\n", transfer.reason[0] == 0 ? "the data did not come whole" : transfer.reason);
	if (transfer.file != NULL && transfer.file != stdout)
		fclose(transfer.file);
	curl_easy_cleanup(transfer.curl);
	running_digest_free(transfer.digest);
	struct buffer *const buffers[] = {&transfer.url, &transfer.part, &transfer.tag_file, &transfer.answer};
	for (size_t i = 0; i < sizeof(buffers) / sizeof(buffers[0]); i++)
		buffer_free(buffers[i]);
	return is_done ? 0 : EXIT_FAILED;
}
