/* Entity tags: a small scanner for lists, and two ways to compare. */
#include "server/etag.h"

#include "server/http_date.h"

static bool is_weak(struct text tag)
{
	return text_starts_with(tag, TEXT("W/"));
}

static struct text opaque(struct text tag)
{
	return is_weak(tag) ? text_slice(tag, 2, tag.length) : tag;
}

/* The tag at the start of `rest`, quotes included; length 0: none. */
static struct text tag_take(struct text *rest)
{
	size_t at = is_weak(*rest) ? 2 : 0;
	if (at >= rest->length || rest->bytes[at] != '"')
		return TEXT_NONE;
	for (at++; at < rest->length && rest->bytes[at] != '"'; at++) {
		uint8_t byte = (uint8_t)rest->bytes[at];
		if (byte <= 0x20 || byte == 0x7f)
			return TEXT_NONE;
	}
	if (at == rest->length)
		return TEXT_NONE;
	struct text tag = text_slice(*rest, 0, at + 1);
	*rest = text_slice(*rest, at + 1, rest->length);
	return tag;
}

bool etag_is_valid(struct text tag)
{
	struct text rest = tag;
	return tag_take(&rest).length > 0 && rest.length == 0;
}

static bool equals_weakly(struct text a, struct text b)
{
	return a.length > 0 && text_equals(opaque(a), opaque(b));
}

bool etag_equals_strongly(struct text a, struct text b)
{
	return a.length > 0 && !is_weak(a) && text_equals(a, b);
}

/* A malformed list matches up to its fault. A comma may stand inside quotes: no splitting at commas. */
static bool list_matches(struct text value, struct text tag, bool (*equals)(struct text a, struct text b))
{
	value = text_trim(value);
	if (tag.length == 0)
		return false;
	if (text_equals(value, TEXT("*")))
		return true;
	while (value.length > 0) {
		if (value.bytes[0] == ',' || value.bytes[0] == ' ' || value.bytes[0] == '\t') {
			value = text_slice(value, 1, value.length);
			continue;
		}
		struct text candidate = tag_take(&value);
		if (candidate.length == 0)
			return false;
		if (equals(candidate, tag))
			return true;
	}
	return false;
}

bool if_none_match(struct text value, struct text tag)
{
	return list_matches(value, tag, equals_weakly);
}

bool if_match(struct text value, struct text tag)
{
	return list_matches(value, tag, etag_equals_strongly);
}

bool if_not_modified_since(struct text value, int64_t last_modified, int64_t now)
{
	int64_t since;
	return last_modified >= 0 && http_date_parse(text_trim(value), now, &since) == STATUS_OK && last_modified <= since;
}

bool if_range(struct text value, struct text tag, int64_t last_modified, int64_t now)
{
	int64_t date;
	if (value.bytes == NULL)
		return true;
	value = text_trim(value);
	if (etag_is_valid(value))
		return etag_equals_strongly(value, tag);
	return last_modified >= 0 && last_modified < now - 60 && http_date_parse(value, now, &date) == STATUS_OK &&
		   date == last_modified;
}
