/* Questions and answers about silent cells. */
#include "control/command/doubt_message.h"

#include <string.h>

/* The longest address, each byte of which may be escaped, and what is around it. */
static const struct json_limits limits = {.bytes = 2 * DOUBT_URL_MAX + 1024, .depth = 4, .nodes = 32};

/* A name that stands in a subject: no dot. */
static bool read_cell(const struct json *root, char cell[DOUBT_CELL_MAX + 1])
{
	struct text name = json_member_text(root, "cell");
	if (!name_is_valid(name, DOUBT_CELL_MAX) || text_find(name, '.') < name.length)
		return false;
	memcpy(cell, name.bytes, name.length);
	cell[name.length] = 0;
	return true;
}

static bool read_number(const struct json *root, uint32_t *number)
{
	int64_t version = 0, value = 0;
	if (!json_integer(json_member(root, "v"), &version) || version != 1 ||
		!json_integer(json_member(root, "q"), &value) || value < 1 || value > UINT32_MAX)
		return false;
	*number = (uint32_t)value;
	return true;
}

/* Printable: printed, no byte of it becomes more than two. */
static bool is_url(struct text url)
{
	return url.length > 0 && url.length <= DOUBT_URL_MAX && text_is_printable(url, 0, 0);
}

enum status doubt_question_parse(struct text body, struct doubt_question *question)
{
	struct doubt_question made = {.number = 0};
	if (json_parse(body, &limits, &made.root) != STATUS_OK)
		return STATUS_INVALID;
	struct text from = json_member_text(made.root, "from");
	made.url = json_member_text(made.root, "url");
	bool has_url = json_member(made.root, "url") != NULL;
	if (!id_is_valid(from) || !read_number(made.root, &made.number) || !read_cell(made.root, made.cell) ||
		(has_url && !is_url(made.url))) {
		json_free(made.root);
		return STATUS_INVALID;
	}
	memcpy(made.from, from.bytes, ID_LENGTH);
	*question = made;
	return STATUS_OK;
}

void doubt_question_free(struct doubt_question *question)
{
	json_free(question->root);
	question->root = NULL;
}

void doubt_question_print(const struct doubt_question *question, struct buffer *into)
{
	buffer_printf(
		into, "{\"v\":1,\"from\":\"%s\",\"q\":%u,\"cell\":\"%s\"", question->from, question->number, question->cell);
	if (question->url.length > 0) {
		buffer_append(into, TEXT(",\"url\":"));
		buffer_append_json(into, question->url);
	}
	buffer_append_byte(into, '}');
}

enum status doubt_answer_parse(struct text body, struct doubt_answer *answer)
{
	struct doubt_answer made = {.number = 0};
	struct json *root = NULL;
	if (json_parse(body, &limits, &root) != STATUS_OK)
		return STATUS_INVALID;
	bool is_read = read_number(root, &made.number) && read_cell(root, made.cell) &&
				   json_bool(json_member(root, "alive"), &made.is_alive);
	json_free(root);
	if (!is_read)
		return STATUS_INVALID;
	*answer = made;
	return STATUS_OK;
}

void doubt_answer_print(const struct doubt_answer *answer, struct buffer *into)
{
	buffer_printf(into, "{\"v\":1,\"q\":%u,\"cell\":\"%s\",\"alive\":%s}", answer->number, answer->cell,
		answer->is_alive ? "true" : "false");
}
