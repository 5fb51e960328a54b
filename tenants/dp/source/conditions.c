/* Conditions across a source (RFC 9110 section 13). */
#include "tenants/dp/source/conditions.h"

static bool has(const struct exchange *exchange, struct text name)
{
	return exchange_header_count(exchange, name) > 0;
}

/* Appends the source's spelling. */
static enum passage pass_tags(const struct pull *pull, struct text list, struct buffer *into)
{
	return tags_unbind(pull->part->binding, list, into) ? PASSES : PASSES_NOT;
}

static enum passage pass_if_range(const struct pull *pull, struct buffer *into)
{
	struct text value = text_trim(exchange_header(pull->exchange, TEXT("if-range")));
	if (exchange_header_count(pull->exchange, TEXT("if-range")) != 1)
		return PASSES_NOT;
	if (text_starts_with(value, TEXT("\"")))
		return pass_tags(pull, value, into);
	return text_starts_with(value, TEXT("W/")) ? PASSES_NOT : PASSES; /* a date */
}

/* A list that holds no tag of ours can match nothing: without it the source answers what it answers to no match, as
 * long as the dates that would count in its place (RFC 9110 section 13.2.2) and the range stay away too. */
static enum passage pass_condition(const struct pull *pull, const struct header *header, struct buffer *into)
{
	const struct exchange *exchange = pull->exchange;
	if (text_equals(header->name, TEXT("if-match")) || text_equals(header->name, TEXT("if-none-match")))
		return pass_tags(pull, header->value, into);
	if (text_equals(header->name, TEXT("if-range")))
		return pass_if_range(pull, into);
	if (text_equals(header->name, TEXT("range")) && has(exchange, TEXT("if-range"))) {
		struct buffer ignored = {0};
		enum passage passage = pass_if_range(pull, &ignored);
		buffer_free(&ignored);
		return passage == PASSES_NOT ? PASSES_NOT : PASSES;
	}
	bool is_idle = (text_equals(header->name, TEXT("if-modified-since")) && has(exchange, TEXT("if-none-match"))) ||
				   (text_equals(header->name, TEXT("if-unmodified-since")) && has(exchange, TEXT("if-match")));
	return is_idle ? PASSES_NOT : PASSES;
}

enum passage condition_pass(const struct pull *pull, const struct header *header, struct header *into)
{
	struct buffer value = {0};
	enum passage passage = pass_condition(pull, header, &value);
	*into = *header;
	if (value.length > 0 || value.failed) {
		into->value = value.failed ? TEXT_NONE : exchange_copy(pull->exchange, buffer_text(&value));
		if (into->value.bytes == NULL)
			passage = PASSAGE_FAILED;
	}
	buffer_free(&value);
	return passage;
}

bool conditions_fail(const struct pull *pull)
{
	const struct exchange *exchange = pull->exchange;
	bool can_match = false;
	for (unsigned i = 0; i < exchange->header_count; i++) {
		struct buffer ignored = {0};
		if (text_equals(exchange->headers[i].name, TEXT("if-match")))
			can_match |= pass_tags(pull, exchange->headers[i].value, &ignored) != PASSES_NOT;
		buffer_free(&ignored);
	}
	return has(exchange, TEXT("if-match")) && !can_match;
}

bool conditions_add_tag(const struct pull *pull, struct text tag)
{
	struct buffer bound = {0};
	struct text copy = TEXT_NONE;
	bool is_valid = tag_bind(pull->part->binding, tag, &bound);
	if (is_valid && !bound.failed)
		copy = exchange_copy(pull->exchange, buffer_text(&bound));
	buffer_free(&bound);
	return !is_valid || (copy.bytes != NULL && exchange_add_header(pull->exchange, TEXT("etag"), copy));
}
