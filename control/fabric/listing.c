/* Pages and queries. What is shown is kept (as references) when the count is known, and printed as it is taken. */
#include "control/fabric/listing.h"

#include <stdlib.h>

enum { TURN_BYTES = 64 * 1024 /* of bodies that a query reads in one turn */ };

struct page {
	const struct listing *listing;
	const struct record_item **items;
	size_t count, room;
};

struct scan {
	struct page page; /* first: the call's state */
	struct task task;
	struct rest_call *call;
	struct listing_query asked;
	struct worker *worker;
	const char *path;
	char *cursor; /* the key that was read last; NULL: none */
	int64_t total;
};

static void page_free(struct page *page)
{
	for (size_t i = 0; i < page->count; i++)
		record_item_unref(page->items[i]);
	free(page->items);
}

static void free_page(void *state)
{
	page_free(state);
	free(state);
}

static void free_scan(void *state)
{
	struct scan *scan = state;
	page_free(&scan->page);
	query_free(scan->asked.query);
	free(scan->cursor);
	free(scan);
}

static bool page_add(struct page *page, const struct record_item *item)
{
	if (page->count == page->room) {
		size_t room = page->room == 0 ? 64 : page->room * 2;
		const struct record_item **more = realloc(page->items, room * sizeof(struct record_item *));
		if (more == NULL)
			return false;
		page->items = more;
		page->room = room;
	}
	page->items[page->count++] = record_item_ref(item);
	return true;
}

static bool print_item(struct rest_call *call, size_t index, struct buffer *into)
{
	const struct page *page = call->state;
	return page->listing->print(page->items[index], into);
}

static void answer_page(struct rest_call *call, const struct page *page)
{
	rest_answer_list(call, page->count, print_item);
}

/* --- headers. limit 0: all. */

static void add_link(struct buffer *links, const char *path, int64_t offset, int64_t limit, const char *relation)
{
	buffer_printf(links, "%s<%s?offset=%lld&limit=%lld>; rel=\"%s\"", links->length == 0 ? "" : ", ", path,
		(long long)offset, (long long)limit, relation);
}

bool listing_add_headers(struct rest_call *call, const char *path, int64_t offset, int64_t limit, int64_t total)
{
	struct buffer links = {0}, count = {0};
	add_link(&links, path, offset, limit, "self");
	if (limit > 0 && offset + limit < total)
		add_link(&links, path, offset + limit, limit, "next");
	if (offset > 0)
		add_link(&links, path, limit > 0 && offset > limit ? offset - limit : 0, limit, "prev");
	add_link(&links, path, 0, limit, "first");
	if (limit > 0)
		add_link(&links, path, total > 0 ? (total - 1) / limit * limit : 0, limit, "last");
	buffer_append_number(&count, total);
	bool is_added = !links.failed && !count.failed && rest_add_header(call, "link", buffer_text(&links)) &&
					rest_add_header(call, "x-total-count", buffer_text(&count));
	buffer_free(&links);
	buffer_free(&count);
	return is_added;
}

/* --- pages */

/* Absent: 0. False: it has answered. */
static bool read_number(struct rest_call *call, const char *name, int64_t *number)
{
	struct text text = rest_parameter(call, name);
	uint64_t value = 0;
	if (text.length > 0 && text_to_unsigned(text, INT32_MAX, &value) != STATUS_OK) {
		struct buffer message = {0};
		buffer_printf(&message, "Invalid %s: must be a number from 0 to %d", name, INT32_MAX);
		rest_refuse_with(call, 400, message.failed ? "Invalid number" : message.bytes);
		buffer_free(&message);
		return false;
	}
	*number = (int64_t)value;
	return true;
}

static bool page_fill(struct page *page, int64_t offset, int64_t limit)
{
	const struct record_index *index = page->listing->index;
	size_t count = record_index_count(index);
	for (size_t i = (size_t)offset; i < count && (limit == 0 || (int64_t)page->count < limit); i++) {
		if (!page_add(page, record_index_at(index, i)))
			return false;
	}
	return true;
}

static struct page *page_new(struct rest_call *call, const struct listing *listing)
{
	struct page *page = calloc(1, sizeof(*page));
	if (page == NULL)
		return NULL;
	page->listing = listing;
	call->state = page;
	call->free_state = free_page;
	return page;
}

void listing_page(struct rest_call *call, const struct listing *listing)
{
	int64_t offset, limit;
	if (!read_number(call, "offset", &offset) || !read_number(call, "limit", &limit))
		return;
	struct page *page = page_new(call, listing);
	if (page != NULL && page_fill(page, offset, limit) &&
		listing_add_headers(call, listing->path, offset, limit, (int64_t)record_index_count(listing->index)))
		answer_page(call, page);
	else
		rest_refuse(call, STATUS_NO_MEMORY, NULL);
}

static bool add_all(void *context, const struct record_item *item)
{
	return page_add(context, item);
}

void listing_all(struct rest_call *call, const struct listing *listing, struct text prefix)
{
	struct page *page = page_new(call, listing);
	if (page == NULL) {
		rest_refuse(call, STATUS_NO_MEMORY, NULL);
		return;
	}
	if (prefix.bytes == NULL)
		page_fill(page, 0, 0);
	else
		record_index_each(listing->index, prefix, add_all, page);
	answer_page(call, page);
}

/* --- queries */

static void finish_scan(struct scan *scan)
{
	struct rest_call *call = scan->call;
	if (listing_add_headers(call, scan->path, scan->asked.offset, scan->asked.limit, scan->total))
		answer_page(call, &scan->page);
	else
		rest_refuse(call, STATUS_NO_MEMORY, NULL);
	rest_release(call);
}

static bool scan_one(struct scan *scan, const struct record_item *item)
{
	struct json *record = record_item_json(item);
	if (record == NULL)
		return false;
	bool matches = query_matches(scan->asked.query, record);
	json_free(record);
	if (!matches)
		return true;
	bool is_shown = scan->total >= scan->asked.offset && (int64_t)scan->page.count < scan->asked.limit;
	scan->total++;
	return !is_shown || page_add(&scan->page, item);
}

/* Some records more. Records may come and go between turns: what is read is in the order of keys, each once. */
static void scan_on(struct task *task)
{
	struct scan *scan = (struct scan *)((char *)task - offsetof(struct scan, task));
	const struct record_index *index = scan->page.listing->index;
	size_t count = record_index_count(index), read = 0;
	size_t at = scan->cursor == NULL ? 0 : record_index_position(index, text_of(scan->cursor), true);
	if (scan->call->exchange == NULL) {
		rest_release(scan->call);
		return;
	}
	for (; at < count && read < TURN_BYTES; at++) {
		const struct record_item *item = record_index_at(index, at);
		read += item->body.length;
		if (!scan_one(scan, item)) {
			rest_refuse(scan->call, STATUS_NO_MEMORY, NULL);
			rest_release(scan->call);
			return;
		}
	}
	if (at == count) {
		finish_scan(scan);
		return;
	}
	free(scan->cursor);
	scan->cursor = text_copy(record_index_at(index, at - 1)->id);
	if (scan->cursor != NULL) {
		worker_post(scan->worker, &scan->task);
		return;
	}
	rest_refuse(scan->call, STATUS_NO_MEMORY, NULL);
	rest_release(scan->call);
}

/* Absent and null: 0. */
static bool member_number(struct rest_call *call, const char *name, int64_t *number)
{
	const struct json *member = json_member(call->body, name);
	*number = 0;
	if (member == NULL || json_kind(member) == JSON_NULL || (json_integer(member, number) && *number >= 0))
		return true;
	struct buffer message = {0};
	buffer_printf(&message, "Invalid JSON: %s: must be a number from 0 on", name);
	rest_refuse_with(call, 400, message.failed ? "Invalid JSON" : message.bytes);
	buffer_free(&message);
	return false;
}

bool listing_read_query(struct rest_call *call, const struct query_field *fields, struct listing_query *asked)
{
	const struct json *predicate = json_member(call->body, "predicate");
	struct buffer error = {0};
	if (!member_number(call, "offset", &asked->offset) || !member_number(call, "limit", &asked->limit))
		return false;
	if (asked->limit == 0 || asked->limit > LISTING_QUERY_MAX)
		asked->limit = LISTING_QUERY_MAX;
	if (predicate != NULL && json_kind(predicate) != JSON_STRING && json_kind(predicate) != JSON_NULL) {
		rest_refuse_with(call, 400, "Invalid JSON: predicate: must be a text");
		return false;
	}
	enum status status = query_parse(json_text(predicate), fields, &asked->query, &error);
	if (status == STATUS_INVALID) {
		struct buffer message = {0};
		buffer_printf(&message, "Client error: parse error: %s", error.bytes == NULL ? "" : error.bytes);
		rest_refuse_with(call, 400, message.failed ? "Client error: parse error" : message.bytes);
		buffer_free(&message);
	} else if (status != STATUS_OK) {
		rest_refuse(call, status, NULL);
	}
	buffer_free(&error);
	return status == STATUS_OK;
}

void listing_query(struct rest_call *call, const struct listing *listing, const char *path, struct worker *worker)
{
	struct scan *scan = calloc(1, sizeof(*scan));
	if (scan == NULL) {
		rest_refuse(call, STATUS_NO_MEMORY, NULL);
		return;
	}
	*scan = (struct scan){
		.page = {.listing = listing}, .task = {.run = scan_on}, .call = call, .worker = worker, .path = path};
	call->state = scan;
	call->free_state = free_scan;
	if (!listing_read_query(call, listing->fields, &scan->asked))
		return;
	rest_hold(call);
	if (query_is_all(scan->asked.query)) {
		scan->total = (int64_t)record_index_count(listing->index);
		if (page_fill(&scan->page, scan->asked.offset, scan->asked.limit)) {
			finish_scan(scan);
			return;
		}
		rest_refuse(call, STATUS_NO_MEMORY, NULL);
		rest_release(call);
		return;
	}
	worker_post(worker, &scan->task);
}
