/* The growable byte buffer, and the one JSON string escape. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/escape.h"
#include "server/base/text.h"

bool buffer_reserve(struct buffer *buffer, size_t more)
{
	size_t need;
	if (buffer->failed)
		return false;
	if (__builtin_add_overflow(buffer->length, more, &need) || __builtin_add_overflow(need, (size_t)1, &need)) {
		buffer->failed = true;
		return false;
	}
	if (need <= buffer->room)
		return true;
	size_t room = buffer->room < 64 ? 64 : buffer->room;
	while (room < need)
		if (__builtin_mul_overflow(room, (size_t)2, &room))
			room = need;
	char *bytes = realloc(buffer->bytes, room);
	if (!bytes) {
		buffer->failed = true;
		return false;
	}
	buffer->bytes = bytes;
	buffer->room = room;
	return true;
}

static void extend(struct buffer *buffer, const char *bytes, size_t length)
{
	if (!buffer_reserve(buffer, length))
		return;
	if (length > 0)
		memcpy(buffer->bytes + buffer->length, bytes, length);
	buffer->length += length;
	buffer->bytes[buffer->length] = 0;
}

void buffer_append(struct buffer *buffer, struct text text)
{
	extend(buffer, text.bytes, text.length);
}

void buffer_append_byte(struct buffer *buffer, char byte)
{
	extend(buffer, &byte, 1);
}

size_t format_integer(int64_t number, char *into)
{
	char digits[20];
	size_t start = sizeof(digits), sign = number < 0;
	uint64_t rest = sign ? 0 - (uint64_t)number : (uint64_t)number;
	do {
		digits[--start] = (char)('0' + rest % 10);
		rest /= 10;
	} while (rest > 0);
	if (sign)
		digits[--start] = '-';
	memcpy(into, digits + start, sizeof(digits) - start);
	return sizeof(digits) - start;
}

void buffer_append_number(struct buffer *buffer, int64_t number)
{
	char digits[20];
	extend(buffer, digits, format_integer(number, digits));
}

void buffer_printf(struct buffer *buffer, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	int length = vsnprintf(NULL, 0, format, arguments);
	va_end(arguments);
	if (length < 0) {
		buffer->failed = true;
		return;
	}
	if (!buffer_reserve(buffer, (size_t)length))
		return;
	va_start(arguments, format);
	vsnprintf(buffer->bytes + buffer->length, (size_t)length + 1, format, arguments);
	va_end(arguments);
	buffer->length += (size_t)length;
}

size_t escape_byte(unsigned char byte, char *into)
{
	static const char hex[] = "0123456789abcdef";
	static const char short_forms[128] = {
		['"'] = '"', ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
	into[0] = '\\';
	if (byte < 128 && short_forms[byte]) {
		into[1] = short_forms[byte];
		return 2;
	}
	memcpy(into + 1, "u00", 3);
	into[4] = hex[byte >> 4];
	into[5] = hex[byte & 15];
	return 6;
}

void buffer_append_json(struct buffer *buffer, struct text text)
{
	buffer_append_byte(buffer, '"');
	for (size_t at = 0; at < text.length;) {
		size_t run = escape_free_run((const unsigned char *)text.bytes + at, text.length - at);
		extend(buffer, text.bytes + at, run);
		at += run;
		if (at < text.length) {
			char escape[ESCAPE_LONGEST];
			extend(buffer, escape, escape_byte((unsigned char)text.bytes[at++], escape));
		}
	}
	buffer_append_byte(buffer, '"');
}

void buffer_append_member(struct buffer *buffer, const char *name, struct text text)
{
	buffer_append_byte(buffer, ',');
	buffer_append_json(buffer, text_of(name));
	buffer_append_byte(buffer, ':');
	buffer_append_json(buffer, text);
}

struct text buffer_text(const struct buffer *buffer)
{
	return (struct text){buffer->bytes, buffer->length};
}

char *buffer_take(struct buffer *buffer)
{
	char *bytes = buffer->bytes;
	*buffer = (struct buffer){0};
	return bytes;
}

void buffer_clear(struct buffer *buffer)
{
	buffer->length = 0;
	buffer->failed = false;
	if (buffer->bytes)
		buffer->bytes[0] = 0;
}

void buffer_free(struct buffer *buffer)
{
	if (buffer->bytes != NULL) /* most are empty: not even a call */
		free(buffer->bytes);
	*buffer = (struct buffer){0};
}

enum status buffer_invalid(struct buffer *buffer, const char *name, const char *what)
{
	buffer_printf(buffer, "%s: %s", name, what);
	return STATUS_INVALID;
}
