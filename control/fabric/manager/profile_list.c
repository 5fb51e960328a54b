/* Portions of records, one under way for each call. */
#include "control/fabric/manager/profile_list.h"

#include <stdlib.h>

#include "control/fabric/manager/profile.h"

enum { PORTION = 64 };

/* --- one */

struct reading {
	void (*found)(void *context, enum status status, const struct record *record);
	void *context;
};

static void on_read(void *context, enum status status, const struct record *records, size_t count)
{
	struct reading reading = *(struct reading *)context;
	free(context);
	if (status == STATUS_OK && count == 0)
		status = STATUS_NOT_FOUND;
	reading.found(reading.context, status, status == STATUS_OK ? records : NULL);
}

static void read_rows(struct manager *manager, const struct profile_row *rows, size_t count,
	void (*done)(void *context, enum status status, const struct record *records, size_t count), void *context)
{
	struct buffer printed = {0};
	struct text ids[PORTION];
	size_t starts[PORTION + 1];
	for (size_t i = 0; i < count; i++) {
		starts[i] = printed.length;
		profile_row_print(manager->profiles, &rows[i], &printed);
	}
	starts[count] = printed.length;
	for (size_t i = 0; i < count; i++)
		ids[i] = text_slice(buffer_text(&printed), starts[i], starts[i + 1]);
	if (printed.failed)
		done(context, STATUS_NO_MEMORY, NULL, 0);
	else
		store_read(state_store(manager->state), TEXT(""), RECORD_PARTICIPANT_PROFILE, ids, count,
			state_worker(manager->state), done, context);
	buffer_free(&printed);
}

void profile_read(struct manager *manager, const struct profile_row *row,
	void (*found)(void *context, enum status status, const struct record *record), void *context)
{
	struct reading *reading = malloc(sizeof(*reading));
	if (reading == NULL) {
		found(context, STATUS_NO_MEMORY, NULL);
		return;
	}
	*reading = (struct reading){found, context};
	read_rows(manager, row, 1, on_read, reading);
}

/* --- lists */

/* Of a call: what is still to be shown. */
struct list {
	struct manager *manager;
	struct rest_call *call;
	bool is_begun; /* the answer */
	/* of a tenant's */
	char *prefix, *cursor; /* cursor: the id read last; NULL: none */
	/* of a query */
	struct listing_query asked;
	struct profile_row *rows; /* those to be shown */
	size_t count, room, shown;
	struct profile_row read[PORTION]; /* those being read, to be shown or to be judged */
	size_t read_count;
	int64_t total;
};

static void free_list(void *state)
{
	struct list *list = state;
	query_free(list->asked.query);
	free(list->prefix);
	free(list->cursor);
	free(list->rows);
	free(list);
}

static struct list *list_new(struct rest_call *call)
{
	struct list *list = calloc(1, sizeof(*list));
	if (list == NULL) {
		rest_refuse(call, STATUS_NO_MEMORY, NULL);
		return NULL;
	}
	list->call = call;
	list->manager = manager_of(call);
	call->state = list;
	call->free_state = free_list;
	return list;
}

/* Before the answer has begun it is a refusal, then it is cut off. */
static void fail(struct list *list, enum status status)
{
	if (list->is_begun)
		rest_given(list->call, false, true);
	else
		rest_refuse(list->call, status, NULL);
}

static void begin(struct list *list, void (*more)(struct rest_call *call))
{
	if (list->is_begun)
		return;
	list->is_begun = true;
	rest_answer_portions(list->call, more);
}

static bool give(struct list *list, struct text body)
{
	struct buffer shown = {0};
	bool is_printed = profile_print(list->manager->cells, body, &shown);
	if (is_printed)
		rest_give(list->call, buffer_text(&shown));
	buffer_free(&shown);
	return is_printed;
}

/* --- a tenant's */

static void list_more(struct rest_call *call);

static void on_listed(void *context, enum status status, const struct record *records, size_t count)
{
	struct list *list = context;
	struct rest_call *call = list->call;
	bool is_last = count < PORTION, is_given = true;
	if (call->exchange == NULL) {
		rest_release(call);
		return;
	}
	if (status == STATUS_OK) {
		begin(list, list_more);
		for (size_t i = 0; i < count && is_given; i++) {
			if (text_starts_with(records[i].id, text_of(list->prefix))) {
				is_given = give(list, records[i].body);
			} else {
				is_last = true; /* another tenant's */
				break;
			}
		}
		free(list->cursor);
		list->cursor = count == 0 ? NULL : text_copy(records[count - 1].id);
		is_given = is_given && (is_last || list->cursor != NULL);
		rest_given(call, is_last && is_given, !is_given);
	} else {
		fail(list, status);
	}
	rest_release(call);
}

static void list_more(struct rest_call *call)
{
	struct list *list = call->state;
	rest_hold(call);
	store_list(state_store(list->manager->state), TEXT(""), RECORD_PARTICIPANT_PROFILE,
		text_of(list->cursor == NULL ? list->prefix : list->cursor), PORTION, state_worker(list->manager->state),
		on_listed, list);
}

void profile_list(struct rest_call *call)
{
	struct list *list = list_new(call);
	struct buffer prefix = {0};
	if (list == NULL)
		return;
	buffer_append(&prefix, call->arguments[0]);
	buffer_append_byte(&prefix, '/');
	list->prefix = prefix.failed ? NULL : buffer_take(&prefix);
	buffer_free(&prefix);
	if (list->prefix == NULL)
		rest_refuse(call, STATUS_NO_MEMORY, NULL);
	else
		list_more(call);
}

/* --- a query: which rows are shown is known before the first is */

static const struct record *record_of(
	const struct list *list, const struct profile_row *row, const struct record *records, size_t count)
{
	struct buffer id = {0};
	const struct record *found = NULL;
	profile_row_print(list->manager->profiles, row, &id);
	for (size_t i = 0; i < count && !id.failed && found == NULL; i++)
		found = text_equals(records[i].id, buffer_text(&id)) ? &records[i] : NULL;
	buffer_free(&id);
	return found;
}

static void show_more(struct rest_call *call);

/* What has gone meanwhile is left out. */
static void on_shown(void *context, enum status status, const struct record *records, size_t count)
{
	struct list *list = context;
	struct rest_call *call = list->call;
	bool is_given = true;
	if (call->exchange == NULL) {
		rest_release(call);
		return;
	}
	if (status == STATUS_OK && !list->is_begun &&
		!listing_add_headers(call, "/participant-profiles/query", list->asked.offset, list->asked.limit, list->total))
		status = STATUS_NO_MEMORY;
	if (status == STATUS_OK) {
		begin(list, show_more);
		for (size_t i = 0; i < list->read_count && is_given; i++) {
			const struct record *record = record_of(list, &list->rows[list->shown + i], records, count);
			is_given = record == NULL || give(list, record->body);
		}
		list->shown += list->read_count;
		rest_given(call, is_given && list->shown == list->count, !is_given);
	} else {
		fail(list, status);
	}
	rest_release(call);
}

static void show_more(struct rest_call *call)
{
	struct list *list = call->state;
	rest_hold(call);
	list->read_count = list->count - list->shown < PORTION ? list->count - list->shown : PORTION;
	if (list->read_count == 0)
		on_shown(list, STATUS_OK, NULL, 0);
	else
		read_rows(list->manager, list->rows + list->shown, list->read_count, on_shown, list);
}

static bool keep(struct list *list, const struct profile_row *row)
{
	if (list->count == list->room) {
		size_t room = list->room == 0 ? PORTION : list->room * 2;
		struct profile_row *more = realloc(list->rows, room * sizeof(*more));
		if (more == NULL)
			return false;
		list->rows = more;
		list->room = room;
	}
	list->rows[list->count++] = *row;
	return true;
}

static bool judge(struct list *list, const struct profile_row *row, const struct record *record)
{
	struct json *profile = NULL;
	if (json_parse(record->body, NULL, &profile) != STATUS_OK || !profile_stand(profile, list->manager->cells)) {
		json_free(profile);
		return false;
	}
	bool matches = query_matches(list->asked.query, profile);
	bool is_shown = matches && list->total >= list->asked.offset && (int64_t)list->count < list->asked.limit;
	json_free(profile);
	list->total += matches;
	return !is_shown || keep(list, row);
}

static void scan_more(struct list *list);

/* Records may come and go between portions: what is read is in the order of ids, each once. */
static void on_scanned(void *context, enum status status, const struct record *records, size_t count)
{
	struct list *list = context;
	struct rest_call *call = list->call;
	if (call->exchange == NULL) {
		rest_release(call);
		return;
	}
	for (size_t i = 0; status == STATUS_OK && i < list->read_count; i++) {
		const struct record *record = record_of(list, &list->read[i], records, count);
		if (record != NULL && !judge(list, &list->read[i], record))
			status = STATUS_NO_MEMORY;
	}
	if (status == STATUS_OK)
		scan_more(list);
	else
		fail(list, status);
	rest_release(call);
}

static void scan_more(struct list *list)
{
	const unsigned char *after = list->read_count == 0 ? NULL : list->read[list->read_count - 1].id;
	list->read_count = profile_index_copy_after(list->manager->profiles, after, list->read, PORTION);
	if (list->read_count == 0) {
		show_more(list->call);
		return;
	}
	rest_hold(list->call);
	read_rows(list->manager, list->read, list->read_count, on_scanned, list);
}

/* Every record matches: which are shown is known without reading any. */
static void show_page(struct list *list)
{
	size_t count = profile_index_count(list->manager->profiles);
	size_t room = (size_t)list->asked.limit < count ? (size_t)list->asked.limit : count;
	list->total = (int64_t)count;
	list->rows = malloc((room + 1) * sizeof(*list->rows));
	if (list->rows == NULL) {
		rest_refuse(list->call, STATUS_NO_MEMORY, NULL);
		return;
	}
	list->count = profile_index_copy(list->manager->profiles, (size_t)list->asked.offset, list->rows, room);
	show_more(list->call);
}

void profile_query(struct rest_call *call)
{
	struct list *list = list_new(call);
	if (list == NULL || !listing_read_query(call, profile_fields, &list->asked))
		return;
	if (query_is_all(list->asked.query))
		show_page(list);
	else
		scan_more(list);
}
