/* Commands and answers: any bytes; what is taken prints to what is taken again. */
#include <stdint.h>
#include <stdlib.h>

#include "control/command/command.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	const struct text body = {(const char *)bytes, length};
	struct command command, again;
	struct command_answer answer;
	const char *why;
	if (command_parse(body, &command, &why) == STATUS_OK) {
		struct buffer printed = {0}, args = {0};
		json_print(command.args, &args);
		command_print(&printed, &command, buffer_text(&args));
		if (command_parse(buffer_text(&printed), &again, &why) != STATUS_OK || again.seq != command.seq)
			abort();
		command_free(&again);
		command_free(&command);
		buffer_free(&printed);
		buffer_free(&args);
	}
	if (command_answer_parse(body, &answer) == STATUS_OK)
		command_answer_free(&answer);
	return 0;
}
