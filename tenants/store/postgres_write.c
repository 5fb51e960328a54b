/* Changes to PostgreSQL: gathered and written together; or one after another, as far as they must be. */
#include "tenants/store/postgres_private.h"

#include <stdlib.h>

const struct statement postgres_statements[] = {
#define STATEMENT_ROW(member, word, text) {.name = word, .sql = text, .bit = 1U << STATEMENT_##member},
	STATEMENT_LIST(STATEMENT_ROW)
#undef STATEMENT_ROW
};

/* --- many at once */

static struct question question_of(enum statement_name name)
{
	return (struct question){.statement = &postgres_statements[name]};
}

/* False: too much. */
static bool give_arrays(struct question *question, const struct buffer *arrays, int count)
{
	for (int i = 0; i < count; i++) {
		if (arrays[i].failed || arrays[i].length > INT32_MAX / 2)
			return false;
		parameters_text(&question->parameters, buffer_text(&arrays[i]));
	}
	return true;
}

static void free_arrays(struct buffer *arrays)
{
	for (int i = 0; i < PARAMETERS_MAX; i++)
		buffer_free(&arrays[i]);
}

/* What of records (or of owners) the server must be asked for. */
static uint32_t list_asked(const struct batch *batch, bool is_owner, struct buffer *arrays)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < batch->known_count; i++)
		count += batch->known[i].is_asked && (batch->known[i].id.bytes == NULL) == is_owner;
	for (int i = 0; i < (is_owner ? 1 : 3); i++)
		array_begin(&arrays[i], ARRAY_TEXT, count);
	for (uint32_t i = 0; i < batch->known_count; i++) {
		const struct batch_known *known = &batch->known[i];
		if (!known->is_asked || (known->id.bytes == NULL) != is_owner)
			continue;
		array_text(&arrays[0], known->ctx);
		if (is_owner)
			continue;
		array_text(&arrays[1], text_of(record_kind_name(known->kind)));
		array_text(&arrays[2], known->id);
	}
	return count;
}

/* Rows of (place among those asked for, from 1; revision), in any order. */
static void take_answer(struct batch *batch, bool is_owner, const int64_t *revisions)
{
	uint32_t at = 0;
	for (uint32_t i = 0; i < batch->known_count; i++) {
		struct batch_known *known = &batch->known[i];
		if (known->is_asked && (known->id.bytes == NULL) == is_owner)
			known->revision = revisions[at++];
	}
}

static enum status read_answer(struct batch *batch, bool is_owner, uint32_t count, const PGresult *result)
{
	int64_t *revisions = calloc(count + 1, sizeof(*revisions));
	if (revisions == NULL)
		return STATUS_NO_MEMORY;
	for (int row = 0; row < PQntuples(result); row++) {
		int64_t at = 0, revision = 0;
		if (result_number(result, row, 0, &at) && result_number(result, row, 1, &revision) && at > 0 && at <= count)
			revisions[at - 1] = revision;
	}
	take_answer(batch, is_owner, revisions);
	free(revisions);
	return STATUS_OK;
}

/* One round trip; none when everything is known. */
static enum status look_up(struct database *database)
{
	static const enum statement_name names[] = {STATEMENT_LOOK_UP, STATEMENT_OWNERS};
	struct buffer arrays[2][PARAMETERS_MAX] = {{{0}}};
	struct question questions[2];
	uint32_t counts[2];
	size_t asked = 0, read = 0;
	bool is_given = true;
	for (int which = 0; which < 2; which++) {
		counts[which] = list_asked(&database->batch, which == 1, arrays[which]);
		if (counts[which] == 0)
			continue;
		questions[asked] = question_of(names[which]);
		is_given = give_arrays(&questions[asked++], arrays[which], which == 1 ? 1 : 3) && is_given;
	}
	enum status status = !is_given    ? STATUS_NO_MEMORY
						 : asked == 0 ? STATUS_OK
									  : connection_ask(&database->connection, questions, asked);
	if (status == STATUS_OK) {
		for (int which = 0; which < 2 && status == STATUS_OK; which++) {
			if (counts[which] > 0)
				status = read_answer(&database->batch, which == 1, counts[which], questions[read++].result);
		}
		question_free(questions, asked);
	}
	free_arrays(arrays[0]);
	free_arrays(arrays[1]);
	return status;
}

/* What one connection's server said is not what another server says. */
static void check_memory(struct database *database)
{
	if (database->remembered_by == database->connection.serial)
		return;
	memory_clear(&database->memory);
	database->remembered_by = database->connection.serial;
}

enum status postgres_gather(void *object, const struct changes *all, size_t count)
{
	struct database *database = object;
	for (size_t i = 0; i < count; i++) {
		if (!batch_takes(&all[i]))
			return STATUS_OK; /* one after another, as they come */
	}
	check_memory(database);
	for (size_t i = 0; i < count; i++) {
		if (!batch_gather(&database->batch, &all[i], &database->memory, database->is_doubtful))
			return STATUS_NO_MEMORY;
	}
	database->batch.is_gathered = true;
	return look_up(database);
}

/* --- writing what was gathered */

enum { COPY_FROM = 64 };

enum write_way { WAY_ADD, WAY_PUT, WAY_DROP };
static const struct {
	enum statement_name statement;
	int arrays;
} ways[] = {
	[WAY_ADD] = {STATEMENT_ADD_ALL, 5}, [WAY_PUT] = {STATEMENT_PUT_ALL, 5}, [WAY_DROP] = {STATEMENT_DROP_ALL, 3}};

static bool goes(const struct batch *batch, uint32_t write, enum write_way way)
{
	const struct batch_known *known = &batch->known[batch->writes[write].known];
	if (!batch_is_last(batch, write))
		return false;
	return way == (batch->writes[write].is_drop ? WAY_DROP : known->is_new && !known->is_asked ? WAY_ADD : WAY_PUT);
}

static uint32_t list_writes(const struct batch *batch, enum write_way way, struct buffer *arrays)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < batch->write_count; i++)
		count += goes(batch, i, way);
	for (int i = 0; i < ways[way].arrays && count > 0; i++)
		array_begin(&arrays[i], i == 3 ? ARRAY_BIGINT : ARRAY_TEXT, count);
	for (uint32_t i = 0; i < batch->write_count && count > 0; i++) {
		const struct batch_write *write = &batch->writes[i];
		const struct batch_known *known = &batch->known[write->known];
		if (!goes(batch, i, way))
			continue;
		array_text(&arrays[0], known->ctx);
		array_text(&arrays[1], text_of(record_kind_name(known->kind)));
		array_text(&arrays[2], known->id);
		if (way == WAY_DROP)
			continue;
		array_number(&arrays[3], write->revision);
		array_text(&arrays[4], write->body);
	}
	return count;
}

/* Many new rows as COPY takes them, which costs the server less than arrays do; nothing when they are few. */
static void list_copy(const struct batch *batch, struct buffer *into)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < batch->write_count; i++)
		count += goes(batch, i, WAY_ADD);
	if (count < COPY_FROM)
		return;
	copy_begin(into);
	for (uint32_t i = 0; i < batch->write_count; i++) {
		const struct batch_write *write = &batch->writes[i];
		const struct batch_known *known = &batch->known[write->known];
		if (!goes(batch, i, WAY_ADD))
			continue;
		copy_row(into, 5);
		array_text(into, known->ctx);
		array_text(into, text_of(record_kind_name(known->kind)));
		array_text(into, known->id);
		array_number(into, write->revision);
		array_text(into, write->body);
	}
	copy_end(into);
}

enum status postgres_writes(const struct batch *batch, struct writes *writes)
{
	*writes = (struct writes){.count = 0};
	if (!batch->is_gathered)
		return STATUS_OK;
	list_copy(batch, &writes->copy);
	if (writes->copy.failed || writes->copy.length > INT32_MAX / 2)
		return STATUS_NO_MEMORY;
	for (int way = writes->copy.length > 0 ? WAY_PUT : WAY_ADD; way < WRITES_MAX; way++) {
		struct buffer *arrays = writes->arrays[writes->count];
		if (list_writes(batch, (enum write_way)way, arrays) == 0)
			continue;
		struct question *question = &writes->questions[writes->count++];
		*question = question_of(ways[way].statement);
		if (!give_arrays(question, arrays, ways[way].arrays))
			return STATUS_NO_MEMORY;
	}
	return STATUS_OK;
}

void postgres_writes_free(struct writes *writes)
{
	for (size_t i = 0; i < WRITES_MAX; i++)
		free_arrays(writes->arrays[i]);
	buffer_free(&writes->copy);
}

/* --- one after another */

static enum status tell(struct database *database, struct question *question)
{
	enum status status = connection_ask(&database->connection, question, 1);
	question_free(question, 1);
	return status;
}

static struct question question_of_record(
	enum statement_name name, struct text ctx, enum record_kind kind, struct text id)
{
	struct question question = question_of(name);
	parameters_text(&question.parameters, ctx);
	parameters_text(&question.parameters, text_of(record_kind_name(kind)));
	if (id.bytes != NULL)
		parameters_text(&question.parameters, id);
	return question;
}

enum status postgres_save(void *object)
{
	struct database *database = object;
	struct question question = question_of(STATEMENT_SAVE);
	database->saved = database->written;
	database->keys_saved = database->keys.length;
	batch_save(&database->batch);
	return database->batch.is_gathered ? STATUS_OK : tell(database, &question);
}

enum status postgres_release(void *object, bool is_undone)
{
	struct database *database = object;
	struct question questions[] = {question_of(STATEMENT_UNDO), question_of(STATEMENT_RELEASE)};
	if (is_undone) {
		database->written = database->saved;
		database->keys.length = database->keys_saved;
	}
	if (database->batch.is_gathered) {
		if (is_undone)
			batch_undo(&database->batch);
		return STATUS_OK;
	}
	size_t first = is_undone ? 0 : 1;
	enum status status = connection_ask(&database->connection, questions + first, 2 - first);
	question_free(questions, 2);
	return status;
}

enum status postgres_find(void *object, const struct change *change, struct found *found)
{
	struct database *database = object;
	if (database->batch.is_gathered) {
		batch_judge(&database->batch, change, found);
		return STATUS_OK;
	}
	struct question question = question_of_record(STATEMENT_FIND, change->ctx, change->record, change->id);
	enum status status = connection_ask(&database->connection, &question, 1);
	*found = (struct found){0};
	if (status == STATUS_OK) {
		(void)result_number(question.result, 0, 0, &found->revision); /* NULL: there is none */
		found->has_owner = text_equals(result_text(question.result, 0, 1), TEXT("t"));
	}
	question_free(&question, 1);
	return status;
}

enum status postgres_write(void *object, struct record *record)
{
	struct database *database = object;
	enum status status = STATUS_OK;
	record->revision = database->written + 1;
	if (database->batch.is_gathered) {
		status = batch_write(&database->batch, record) ? STATUS_OK : STATUS_NO_MEMORY;
	} else {
		struct question question = question_of_record(STATEMENT_WRITE, record->ctx, record->kind, record->id);
		parameters_number(&question.parameters, record->revision);
		parameters_text(&question.parameters, record->body);
		status = tell(database, &question);
	}
	if (status != STATUS_OK)
		return status;
	database->written = record->revision;
	if (record_kind_is_loaded(record->kind))
		trail_add(&database->keys, record->ctx, record->kind, record->id);
	return database->keys.failed ? STATUS_NO_MEMORY : STATUS_OK;
}

enum status postgres_drop(void *object, struct text ctx, enum record_kind kind, struct text id)
{
	struct database *database = object;
	if (database->batch.is_gathered)
		return batch_remove(&database->batch, ctx, kind, id) ? STATUS_OK : STATUS_NO_MEMORY;
	struct question question =
		question_of_record(id.bytes == NULL ? STATEMENT_DROP_KIND : STATEMENT_DROP, ctx, kind, id);
	return tell(database, &question);
}

enum status postgres_of_ctx(void *object, struct text ctx, record_visit *visit, void *context)
{
	static const struct statement of_ctx = {
		.sql = "SELECT ctx, kind, id, revision, body FROM record WHERE ctx = $1 AND body IS NOT NULL"};
	struct database *database = object;
	struct question question = {.statement = &of_ctx};
	parameters_text(&question.parameters, ctx);
	enum status status = connection_ask(&database->connection, &question, 1);
	return status == STATUS_OK ? postgres_visit(question.result, visit, context) : status;
}
