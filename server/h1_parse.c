/* HTTP/1.1 heads and chunked bodies: one pass over complete lines, one table of bytes. */
#include "server/h1_parse.h"

#include <string.h>

enum { METHOD_LIMIT = 32 };

/* What a byte may be part of: RFC 9110 §5.6.2 token, request-target (visible ASCII), field value (§5.5, obs-text
 * included). */
enum { IN_TOKEN = 1, IN_TARGET = 2, IN_VALUE = 4 };

#define T (IN_TOKEN | IN_TARGET | IN_VALUE)
#define V (IN_TARGET | IN_VALUE)
static const uint8_t byte_kinds[256] = {
	['\t'] = IN_VALUE,
	[' '] = IN_VALUE,
	['!'] = T,
	['"'] = V,
	['#'] = T,
	['$'] = T,
	['%'] = T,
	['&'] = T,
	['\''] = T,
	['('] = V,
	[')'] = V,
	['*'] = T,
	['+'] = T,
	[','] = V,
	['-'] = T,
	['.'] = T,
	['/'] = V,
	['0' ... '9'] = T,
	[':'] = V,
	[';'] = V,
	['<'] = V,
	['='] = V,
	['>'] = V,
	['?'] = V,
	['@'] = V,
	['A' ... 'Z'] = T,
	['['] = V,
	['\\'] = V,
	[']'] = V,
	['^'] = T,
	['_'] = T,
	['`'] = T,
	['a' ... 'z'] = T,
	['{'] = V,
	['|'] = T,
	['}'] = V,
	['~'] = T,
	[0x80 ... 0xff] = IN_VALUE,
};
#undef T
#undef V

/* What a name's bytes become in lower case; 0: not in a name. The same bytes as IN_TOKEN. */
#define SELF(byte) [byte] = byte
#define LETTER(upper, lower) [upper] = lower, [lower] = lower
static const uint8_t name_bytes[256] = {
	SELF('!'),
	SELF('#'),
	SELF('$'),
	SELF('%'),
	SELF('&'),
	SELF('\''),
	SELF('*'),
	SELF('+'),
	SELF('-'),
	SELF('.'),
	SELF('^'),
	SELF('_'),
	SELF('`'),
	SELF('|'),
	SELF('~'),
	SELF('0'),
	SELF('1'),
	SELF('2'),
	SELF('3'),
	SELF('4'),
	SELF('5'),
	SELF('6'),
	SELF('7'),
	SELF('8'),
	SELF('9'),
	LETTER('A', 'a'),
	LETTER('B', 'b'),
	LETTER('C', 'c'),
	LETTER('D', 'd'),
	LETTER('E', 'e'),
	LETTER('F', 'f'),
	LETTER('G', 'g'),
	LETTER('H', 'h'),
	LETTER('I', 'i'),
	LETTER('J', 'j'),
	LETTER('K', 'k'),
	LETTER('L', 'l'),
	LETTER('M', 'm'),
	LETTER('N', 'n'),
	LETTER('O', 'o'),
	LETTER('P', 'p'),
	LETTER('Q', 'q'),
	LETTER('R', 'r'),
	LETTER('S', 's'),
	LETTER('T', 't'),
	LETTER('U', 'u'),
	LETTER('V', 'v'),
	LETTER('W', 'w'),
	LETTER('X', 'x'),
	LETTER('Y', 'y'),
	LETTER('Z', 'z'),
};
#undef SELF
#undef LETTER

static bool byte_is(char byte, unsigned kind)
{
	return (byte_kinds[(uint8_t)byte] & kind) != 0;
}

static bool all_are(struct text text, unsigned kind)
{
	for (size_t i = 0; i < text.length; i++)
		if (!byte_is(text.bytes[i], kind))
			return false;
	return true;
}

/* Walks the lines of a head. */
struct lines {
	char *bytes;
	size_t length, at;
};

/* The next line without its CRLF. OK with line->bytes == NULL: it is not complete yet. */
static enum status line_next(struct lines *lines, struct text *line)
{
	*line = TEXT_NONE;
	size_t left = lines->length - lines->at;
	char *start = lines->bytes + lines->at;
	const char *end = left == 0 ? NULL : memchr(start, '\n', left);
	if (end == NULL)
		return STATUS_OK;
	size_t length = (size_t)(end - start);
	if (length == 0 || start[length - 1] != '\r')
		return STATUS_INVALID;
	*line = (struct text){start, length - 1};
	lines->at += length + 1;
	return STATUS_OK;
}

/* PROTOCOL for a well-formed version that is not ours. */
static enum status version_parse(struct text text, int *minor)
{
	if (text.length != 8 || !text_starts_with(text, TEXT("HTTP/")) || text.bytes[6] != '.')
		return STATUS_INVALID;
	char major = text.bytes[5], last = text.bytes[7];
	if (major < '0' || major > '9' || last < '0' || last > '9')
		return STATUS_INVALID;
	if (major != '1' || last > '1')
		return STATUS_PROTOCOL;
	*minor = last - '0';
	return STATUS_OK;
}

static enum status request_line_parse(struct text line, struct h1_head *head)
{
	size_t method_end = text_find(line, ' ');
	if (method_end == line.length)
		return STATUS_INVALID;
	struct text rest = text_slice(line, method_end + 1, line.length);
	size_t target_end = text_find(rest, ' ');
	if (target_end == rest.length)
		return STATUS_INVALID;
	head->method = text_slice(line, 0, method_end);
	head->target = text_slice(rest, 0, target_end);
	if (head->method.length == 0 || head->method.length > METHOD_LIMIT || !all_are(head->method, IN_TOKEN) ||
		head->target.length == 0 || !all_are(head->target, IN_TARGET))
		return STATUS_INVALID;
	return version_parse(text_slice(rest, target_end + 1, rest.length), &head->minor_version);
}

static enum status status_line_parse(struct text line, struct h1_head *head)
{
	enum status status = version_parse(text_slice(line, 0, line.length < 8 ? line.length : 8), &head->minor_version);
	if (status != STATUS_OK)
		return status;
	/* The space before an absent reason phrase is often absent too: RFC 9112 §4 lets the client take that. */
	if (line.length < 12 || line.bytes[8] != ' ' || (line.length > 12 && line.bytes[12] != ' '))
		return STATUS_INVALID;
	uint64_t code;
	if (text_to_unsigned(text_slice(line, 9, 12), 599, &code) != STATUS_OK || code < 100)
		return STATUS_INVALID;
	head->status = (int)code;
	return text_is_line(text_slice(line, 12, line.length)) ? STATUS_OK : STATUS_INVALID;
}

/* What the fields that frame a message said, until all are read. */
struct framing {
	unsigned hosts, lengths, encodings;
	bool close, keep_alive, upgrade_option, expect;
};

static enum status field_host(struct text value, struct h1_head *head, struct framing *framing)
{
	(void)value, (void)head;
	return ++framing->hosts > 1 ? STATUS_INVALID : STATUS_OK;
}

static enum status field_content_length(struct text value, struct h1_head *head, struct framing *framing)
{
	/* Equal repetitions are refused too: nothing sane sends them (RFC 9112 §6.3 allows either). */
	uint64_t length;
	if (++framing->lengths > 1 || text_to_unsigned(value, INT64_MAX, &length) != STATUS_OK)
		return STATUS_INVALID;
	head->content_length = (int64_t)length;
	return STATUS_OK;
}

static enum status field_transfer_encoding(struct text value, struct h1_head *head, struct framing *framing)
{
	if (++framing->encodings > 1 || !text_equals_ignoring_case(value, TEXT("chunked")))
		return STATUS_INVALID;
	head->chunked = true;
	return STATUS_OK;
}

static enum status field_connection(struct text value, struct h1_head *head, struct framing *framing)
{
	(void)head;
	struct text option;
	bool done = false;
	while (text_next_part(&value, ',', &option, &done)) {
		option = text_trim(option);
		framing->close = framing->close || text_equals_ignoring_case(option, TEXT("close"));
		framing->keep_alive = framing->keep_alive || text_equals_ignoring_case(option, TEXT("keep-alive"));
		framing->upgrade_option = framing->upgrade_option || text_equals_ignoring_case(option, TEXT("upgrade"));
	}
	return STATUS_OK;
}

static enum status field_expect(struct text value, struct h1_head *head, struct framing *framing)
{
	(void)head;
	framing->expect = text_equals_ignoring_case(value, TEXT("100-continue"));
	return STATUS_OK;
}

static enum status field_upgrade(struct text value, struct h1_head *head, struct framing *framing)
{
	(void)framing;
	head->upgrade = value.length > 0;
	return STATUS_OK;
}

static const struct {
	struct text name;
	enum status (*read)(struct text value, struct h1_head *head, struct framing *framing);
} known_fields[] = {
	{{"host", 4}, field_host},
	{{"content-length", 14}, field_content_length},
	{{"transfer-encoding", 17}, field_transfer_encoding},
	{{"connection", 10}, field_connection},
	{{"expect", 6}, field_expect},
	{{"upgrade", 7}, field_upgrade},
};

static enum status field_parse(struct lines *lines, struct text line, struct h1_head *head, struct framing *framing)
{
	char *name = lines->bytes + (line.bytes - lines->bytes);
	size_t name_length = 0;
	for (uint8_t lower; name_length < line.length && (lower = name_bytes[(uint8_t)name[name_length]]) != 0;
		 name_length++)
		name[name_length] = (char)lower;
	/* A folded line starts with a space: no name. */
	if (name_length == 0 || name_length == line.length || name[name_length] != ':')
		return STATUS_INVALID;
	struct header *header = &head->headers[head->header_count++];
	header->name = (struct text){name, name_length};
	header->value = text_trim(text_slice(line, name_length + 1, line.length));
	if (!text_is_line(header->value))
		return STATUS_INVALID;
	for (size_t i = 0; i < sizeof known_fields / sizeof *known_fields; i++)
		if (text_equals(header->name, known_fields[i].name))
			return known_fields[i].read(header->value, head, framing);
	return STATUS_OK;
}

static enum status framing_settle(const struct framing *framing, struct h1_head *head)
{
	if (head->chunked && (framing->lengths > 0 || head->minor_version == 0))
		return STATUS_INVALID;
	head->keep_alive = !framing->close && (head->minor_version == 1 || framing->keep_alive);
	head->upgrade = head->upgrade && framing->upgrade_option;
	head->expect_continue = framing->expect && head->minor_version == 1;
	return STATUS_OK;
}

static enum status head_parse(char *bytes, size_t length, size_t start, const struct h1_limits *limits,
	enum status (*first_line)(struct text line, struct h1_head *head), struct h1_head *head, struct framing *framing,
	size_t *used)
{
	struct lines lines = {.bytes = bytes, .length = length < limits->bytes ? length : limits->bytes, .at = start};
	enum status incomplete = length >= limits->bytes ? STATUS_TOO_LARGE : STATUS_OK;
	struct text line;
	enum status status = line_next(&lines, &line);
	if (status == STATUS_OK && line.bytes != NULL)
		status = first_line(line, head);
	while (status == STATUS_OK && line.bytes != NULL) {
		status = line_next(&lines, &line);
		if (status != STATUS_OK || line.bytes == NULL)
			break;
		if (line.length == 0) {
			status = framing_settle(framing, head);
			*used = status == STATUS_OK ? lines.at : 0;
			return status;
		}
		if (head->header_count >= limits->fields)
			return STATUS_TOO_LARGE;
		status = field_parse(&lines, line, head, framing);
	}
	return status != STATUS_OK ? status : incomplete;
}

enum status h1_parse_request(char *bytes, size_t length, const struct h1_limits *limits, struct header *headers,
	struct h1_head *head, size_t *used)
{
	struct framing framing = {0};
	*used = 0;
	*head = (struct h1_head){.headers = headers, .content_length = -1};
	/* One empty line before the request line is forgiven: RFC 9112 §2.2. */
	size_t start = length >= 2 && bytes[0] == '\r' && bytes[1] == '\n' ? 2 : 0;
	if (length == 1 && bytes[0] == '\r')
		return STATUS_OK;
	enum status status = head_parse(bytes, length, start, limits, request_line_parse, head, &framing, used);
	/* Only HTTP/1.0 may come without a Host: RFC 9112 §3.2. */
	if (status == STATUS_OK && *used > 0 && framing.hosts == 0 && head->minor_version > 0) {
		*used = 0;
		return STATUS_INVALID;
	}
	return status;
}

enum status h1_parse_response(char *bytes, size_t length, const struct h1_limits *limits, struct header *headers,
	struct h1_head *head, size_t *used)
{
	struct framing framing = {0};
	*used = 0;
	*head = (struct h1_head){.headers = headers, .content_length = -1};
	return head_parse(bytes, length, 0, limits, status_line_parse, head, &framing, used);
}

/* --- chunked bodies: RFC 9112 §7.1 */

enum chunk_state {
	CHUNK_SIZE_START, /* all-zero start */
	CHUNK_SIZE,
	CHUNK_SPACE, /* only an extension may follow */
	CHUNK_EXTENSION,
	CHUNK_SIZE_LF,
	CHUNK_DATA,
	CHUNK_DATA_CR,
	CHUNK_DATA_LF,
	TRAILER_START,
	TRAILER_NAME,
	TRAILER_VALUE,
	TRAILER_LF,
	TRAILER_LAST_LF,
	CHUNK_ENDED,
};

enum {
	TRAILER_LIMIT = 8192,
	OVERHEAD_LIMIT = 16384,
	OVERHEAD_REPAID = 8, /* by each byte of data: one-byte chunks pass, long extensions do not */
};

static int hex_value(char byte)
{
	if (byte >= '0' && byte <= '9')
		return byte - '0';
	char lower = (char)(byte | 0x20);
	return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

static bool size_digit(struct h1_chunks *chunks, char byte)
{
	int digit = hex_value(byte);
	if (digit < 0 || chunks->left > (uint64_t)INT64_MAX >> 4)
		return false;
	chunks->left = chunks->left << 4 | (unsigned)digit;
	chunks->state = CHUNK_SIZE;
	return true;
}

static bool size_line_byte(struct h1_chunks *chunks, char byte)
{
	if (chunks->state == CHUNK_SIZE_START)
		return size_digit(chunks, byte);
	if (chunks->state == CHUNK_SIZE_LF) {
		chunks->state = chunks->left > 0 ? CHUNK_DATA : TRAILER_START;
		if (chunks->left == 0)
			chunks->overhead = 0; /* the trailer section has a limit of its own */
		return byte == '\n';
	}
	if (chunks->state == CHUNK_EXTENSION) {
		if (byte == '\r')
			chunks->state = CHUNK_SIZE_LF;
		return byte == '\r' || byte_is(byte, IN_VALUE);
	}
	if (byte == ';') {
		chunks->state = CHUNK_EXTENSION;
		return true;
	}
	if (byte == ' ' || byte == '\t') {
		chunks->state = CHUNK_SPACE;
		return true;
	}
	if (chunks->state == CHUNK_SPACE)
		return false;
	if (byte == '\r') {
		chunks->state = CHUNK_SIZE_LF;
		return true;
	}
	return size_digit(chunks, byte);
}

static bool trailer_byte(struct h1_chunks *chunks, char byte)
{
	if (chunks->state == TRAILER_LAST_LF || chunks->state == TRAILER_LF) {
		chunks->state = chunks->state == TRAILER_LF ? TRAILER_START : CHUNK_ENDED;
		return byte == '\n';
	}
	if (chunks->state == TRAILER_VALUE) {
		if (byte == '\r')
			chunks->state = TRAILER_LF;
		return byte == '\r' || byte_is(byte, IN_VALUE);
	}
	if (chunks->state == TRAILER_NAME && byte == ':') {
		chunks->state = TRAILER_VALUE;
		return true;
	}
	if (chunks->state == TRAILER_START && byte == '\r') {
		chunks->state = TRAILER_LAST_LF;
		return true;
	}
	chunks->state = TRAILER_NAME;
	return byte_is(byte, IN_TOKEN);
}

static enum status chunk_byte(struct h1_chunks *chunks, char byte)
{
	uint32_t limit = chunks->state >= TRAILER_START ? TRAILER_LIMIT : OVERHEAD_LIMIT;
	if (++chunks->overhead > limit)
		return STATUS_TOO_LARGE;
	bool fine = false;
	if (chunks->state <= CHUNK_SIZE_LF) {
		fine = size_line_byte(chunks, byte);
	} else if (chunks->state == CHUNK_DATA_CR) {
		chunks->state = CHUNK_DATA_LF;
		fine = byte == '\r';
	} else if (chunks->state == CHUNK_DATA_LF) {
		chunks->state = CHUNK_SIZE_START;
		fine = byte == '\n';
	} else if (chunks->state < CHUNK_ENDED) {
		if (chunks->trailers != NULL)
			buffer_append_byte(chunks->trailers, byte);
		fine = trailer_byte(chunks, byte);
	}
	return fine ? STATUS_OK : STATUS_INVALID;
}

static void data_take(struct h1_chunks *chunks, size_t length)
{
	chunks->left -= length;
	if (chunks->left == 0)
		chunks->state = CHUNK_DATA_CR;
	uint64_t repaid = (uint64_t)length * OVERHEAD_REPAID;
	chunks->overhead = repaid >= chunks->overhead ? 0 : chunks->overhead - (uint32_t)repaid;
}

enum status h1_chunks_take(struct h1_chunks *chunks, const char *bytes, size_t length, size_t *used, size_t *data_at,
	size_t *data_length, bool *ended)
{
	*used = *data_at = *data_length = 0;
	*ended = chunks->state == CHUNK_ENDED;
	size_t at = 0;
	while (at < length && chunks->state != CHUNK_DATA && !*ended) {
		enum status status = chunk_byte(chunks, bytes[at++]);
		if (status != STATUS_OK)
			return status;
		*ended = chunks->state == CHUNK_ENDED;
	}
	if (at < length && chunks->state == CHUNK_DATA) {
		size_t run = length - at < chunks->left ? length - at : (size_t)chunks->left;
		*data_at = at;
		*data_length = run;
		at += run;
		data_take(chunks, run);
	}
	*used = at;
	return STATUS_OK;
}

unsigned h1_trailers(char *bytes, size_t length, struct header *headers, unsigned room)
{
	struct text rest = {bytes, length}, line;
	unsigned count = 0;
	for (bool done = false; count < room && text_next_part(&rest, '\n', &line, &done);) {
		size_t colon = text_find(line, ':');
		if (colon == line.length)
			continue; /* the empty line at the end */
		char *name = (char *)(uintptr_t)line.bytes;
		for (size_t i = 0; i < colon; i++)
			if (name[i] >= 'A' && name[i] <= 'Z')
				name[i] = (char)(name[i] + ('a' - 'A'));
		size_t end = line.length > 0 && line.bytes[line.length - 1] == '\r' ? line.length - 1 : line.length;
		headers[count++] = (struct header){{name, colon}, text_trim(text_slice(line, colon + 1, end))};
	}
	return count;
}
