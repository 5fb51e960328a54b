/* Questions and answers about silent cells: any bytes; what is taken prints to what is taken again. */
#include <stdlib.h>
#include <string.h>

#include "control/command/doubt_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	const struct text body = {(const char *)bytes, length};
	struct doubt_question question, asked_again;
	struct doubt_answer answer, said_again;
	struct buffer printed = {0};
	if (doubt_question_parse(body, &question) == STATUS_OK) {
		doubt_question_print(&question, &printed);
		if (doubt_question_parse(buffer_text(&printed), &asked_again) != STATUS_OK ||
			!text_equals(asked_again.url, question.url) || asked_again.number != question.number ||
			strcmp(asked_again.cell, question.cell) != 0)
			abort();
		doubt_question_free(&asked_again);
		doubt_question_free(&question);
	}
	buffer_clear(&printed);
	if (doubt_answer_parse(body, &answer) == STATUS_OK) {
		doubt_answer_print(&answer, &printed);
		if (doubt_answer_parse(buffer_text(&printed), &said_again) != STATUS_OK ||
			said_again.is_alive != answer.is_alive)
			abort();
	}
	buffer_free(&printed);
	return 0;
}
