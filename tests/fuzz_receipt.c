/* Any lines as an export of receipts: nothing but the right answer is said of them. */
#include <stdlib.h>
#include <string.h>

#include "tenants/dp/contract/receipt.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct text rest = {(const char *)bytes, length}, line;
	struct receipt_check *check = receipt_check_new(NULL);
	struct buffer problem = {0}, summary = {0};
	enum status status = STATUS_OK;
	if (check == NULL)
		return 0;
	for (bool done = false; status == STATUS_OK && text_next_part(&rest, '\n', &line, &done);)
		status = receipt_check_line(check, line, &problem);
	if (status == STATUS_OK)
		status = receipt_check_end(check, &problem, &summary);
	if (status != STATUS_OK && problem.length == 0)
		abort();
	receipt_check_free(check);
	buffer_free(&problem);
	buffer_free(&summary);
	return 0;
}
