/* Validators of datasets. */
#include "tenants/dp/source/validator.h"

#include <string.h>

#include "server/etag.h"
#include "tenants/jose/digest.h"

enum status binding_make(
	struct text ctx, struct text dataset, struct text part, struct text version, char into[BINDING_LENGTH + 1])
{
	const struct text parts[] = {ctx, dataset, part, version.bytes == NULL ? TEXT("-") : TEXT("v"), version};
	uint8_t bytes[DIGEST_BYTES];
	char hex[DIGEST_HEX + 1];
	struct buffer input = {0};
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		buffer_append(&input, parts[i]);
		buffer_append_byte(&input, '\n'); /* in none of them */
	}
	enum status status = input.failed ? STATUS_NO_MEMORY : digest_of(buffer_text(&input), bytes);
	buffer_free(&input);
	if (status != STATUS_OK)
		return status;
	digest_hex(bytes, hex);
	memcpy(into, hex, BINDING_LENGTH);
	into[BINDING_LENGTH] = 0;
	return STATUS_OK;
}

/* FNV-1a: the same in every process and on every cell, as text_hash is not. Paths of one dataset are told apart, no
 * more: a tag is compared with those of one resource alone. */
static uint64_t path_hash(struct text path)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	for (size_t i = 0; i < path.length; i++)
		hash = (hash ^ (uint8_t)path.bytes[i]) * UINT64_C(0x100000001b3);
	return hash;
}

/* '-' and the number in hexadecimal; returns the end. */
static char *print_part(char *at, uint64_t number)
{
	enum { MOST = 16 };
	char all[MOST];
	size_t digits = (size_t)(67 - __builtin_clzll(number | 1)) / 4;
	text_write_hex(all, number);
	*at++ = '-';
	for (size_t i = MOST - digits; i < MOST; i++)
		*at++ = all[i];
	return at;
}

void file_tag_print(const char *binding, bool has_version, struct text below, const struct open_file *file,
	char into[FILE_TAG_LENGTH + 1])
{
	char *at = into;
	*at++ = '"';
	memcpy(at, binding, BINDING_LENGTH);
	at = print_part(at + BINDING_LENGTH, path_hash(below));
	at = print_part(at, (uint64_t)file->size);
	if (!has_version)
		at = print_part(at, (uint64_t)file->mtime_ns);
	*at++ = '"';
	*at = 0;
}

static bool is_weak(struct text tag)
{
	return text_starts_with(tag, TEXT("W/"));
}

bool tag_bind(const char *binding, struct text tag, struct buffer *into)
{
	tag = text_trim(tag);
	if (!etag_is_valid(tag))
		return false;
	size_t start = is_weak(tag) ? 3 : 1;
	buffer_append(into, text_slice(tag, 0, start));
	buffer_append(into, text_of(binding));
	buffer_append_byte(into, '.');
	buffer_append(into, text_slice(tag, start, tag.length));
	return true;
}

/* Where the tag at the start of `list` ends; 0: there is none. */
static size_t tag_end(struct text list)
{
	size_t at = is_weak(list) ? 2 : 0;
	if (at >= list.length || list.bytes[at] != '"')
		return 0;
	at++;
	at += text_find(text_slice(list, at, list.length), '"') + 1;
	return at <= list.length && etag_is_valid(text_slice(list, 0, at)) ? at : 0;
}

bool tags_unbind(const char *binding, struct text list, struct buffer *into)
{
	bool has_some = false;
	list = text_trim(list);
	if (text_equals(list, TEXT("*"))) {
		buffer_append_byte(into, '*');
		return true;
	}
	while (list.length > 0) {
		if (list.bytes[0] == ',' || list.bytes[0] == ' ' || list.bytes[0] == '\t') {
			list = text_slice(list, 1, list.length);
			continue;
		}
		size_t end = tag_end(list), start = is_weak(list) ? 3 : 1;
		if (end == 0)
			break;
		struct text inner = text_slice(list, start, end);
		if (text_starts_with(inner, text_of(binding)) && inner.bytes[BINDING_LENGTH] == '.') {
			buffer_append(into, has_some ? TEXT(", ") : TEXT(""));
			buffer_append(into, text_slice(list, 0, start));
			buffer_append(into, text_slice(inner, BINDING_LENGTH + 1, inner.length));
			has_some = true;
		}
		list = text_slice(list, end, list.length);
	}
	return has_some;
}
