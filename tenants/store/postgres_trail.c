/* Keys of changed records, as bytes. */
#include "tenants/store/postgres_trail.h"

#include "tenants/store/postgres_batch.h"

void trail_add(struct buffer *keys, struct text ctx, enum record_kind kind, struct text id)
{
	const struct text parts[] = {ctx, text_of(record_kind_name(kind)), id};
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		buffer_append(keys, parts[i]);
		buffer_append_byte(keys, 0);
	}
}

struct question trail_question(const struct buffer *keys, int64_t first, int64_t last)
{
	static const struct statement leave = {.name = "trail",
		.sql = "INSERT INTO trail (first, last, keys) VALUES ($1::bigint, $2::bigint, $3::bytea)",
		.bit = 1U << 31};
	struct question question = {.statement = &leave};
	parameters_number(&question.parameters, first);
	parameters_number(&question.parameters, last);
	parameters_text(&question.parameters, keys->length == 0 ? TEXT("") : buffer_text(keys));
	return question;
}

struct question trail_ask(int64_t after, int64_t until)
{
	static const struct statement follow = {.sql = "SELECT first, last, keys FROM trail WHERE last > $1::bigint AND "
												   "first <= $2::bigint ORDER BY last",
		.is_binary = true};
	struct question question = {.statement = &follow};
	parameters_number(&question.parameters, after);
	parameters_number(&question.parameters, until);
	return question;
}

/* Up to the next zero byte. */
static struct text next_part(struct text *rest)
{
	size_t end = text_find(*rest, 0);
	struct text part = text_slice(*rest, 0, end);
	*rest = text_slice(*rest, end + 1, rest->length);
	return part;
}

static uint32_t count_keys(struct text keys)
{
	uint32_t zeros = 0;
	for (size_t i = 0; i < keys.length; i++)
		zeros += keys.bytes[i] == 0;
	return zeros / 3;
}

enum status trail_read(const PGresult *result, int64_t after, struct trail *trail)
{
	bool has_failed = false;
	*trail = (struct trail){.covered = after};
	for (int row = 0; row < PQntuples(result); row++)
		trail->count += count_keys(result_text(result, row, 2));
	for (int i = 0; i < 3; i++)
		array_begin(&trail->arrays[i], ARRAY_TEXT, trail->count);
	for (int row = 0; row < PQntuples(result); row++) {
		struct text keys = result_text(result, row, 2);
		if (result_wire_number(result, row, 0) <= trail->covered + 1)
			trail->covered = result_wire_number(result, row, 1);
		for (uint32_t left = count_keys(keys); left > 0; left--) {
			for (int i = 0; i < 3; i++)
				array_text(&trail->arrays[i], next_part(&keys));
		}
	}
	for (int i = 0; i < 3; i++)
		has_failed = has_failed || trail->arrays[i].failed || trail->arrays[i].length > INT32_MAX / 2;
	if (!has_failed)
		return STATUS_OK;
	trail_free(trail);
	return STATUS_NO_MEMORY;
}

void trail_free(struct trail *trail)
{
	for (int i = 0; i < 3; i++)
		buffer_free(&trail->arrays[i]);
}
