/* Waits for a commit. */
#include "control/fabric/rest_submit.h"

#include <stdlib.h>

struct waiting {
	struct rest_call *call;
	int status;
	struct buffer answer;
};

static void on_stored(void *context, enum status status, int64_t revision)
{
	struct waiting *waiting = context;
	struct rest_call *call = waiting->call;
	(void)revision;
	if (status == STATUS_OK)
		rest_answer(call, waiting->status, buffer_text(&waiting->answer));
	else if (status != STATUS_CONFLICT || call->exchange == NULL || !rest_again(call))
		rest_refuse(call, status, NULL);
	buffer_free(&waiting->answer);
	free(waiting);
	rest_release(call);
}

void rest_submit(
	struct rest_call *call, struct state *state, struct transaction *transaction, int status, struct buffer *answer)
{
	struct waiting *waiting = malloc(sizeof(*waiting));
	if (transaction == NULL || waiting == NULL || answer->failed) {
		transaction_free(transaction);
		buffer_free(answer);
		free(waiting);
		rest_refuse(call, STATUS_NO_MEMORY, NULL);
		return;
	}
	*waiting = (struct waiting){call, status, *answer};
	*answer = (struct buffer){0};
	rest_hold(call);
	state_submit(state, transaction, on_stored, waiting);
}
