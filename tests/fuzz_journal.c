/* Images of snapshots and changes after them, as records of decisions hold them. */
#include <stdlib.h>

#include "control/fabric/place/journal.h"
#include "control/fabric/place/snapshot.h"

enum { HEAD = 4 };

static void decide(struct place_snapshot *snapshot, struct place_request *request)
{
	const struct place_telling telling = {.is_brief = true};
	const struct place_request *one = request;
	uint32_t slot;
	if (place_group(snapshot, &one, 1, &slot, &telling) == STATUS_OK)
		place_group_undo(snapshot, &one, 1, &slot);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/* The first two bytes say how long the image is, the next how many versions the changes behind it are, and at which of
 * them it was decided. What can be read can be decided on. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	static const char text[] =
		"{\"type\":\"cfm.dataplane\",\"vpaId\":\"v\",\"participant\":\"p\",\"tenant\":\"t\",\"affinity\":[{\"to\":"
		"\"tenant:self\",\"topologyKey\":\"zone\",\"hard\":false}],\"spread\":[{\"topologyKey\":\"zone\"}]}";
	static struct place_request *request;
	struct place_snapshot *snapshot = NULL;
	struct buffer error = {0};
	struct json *root = NULL;
	if (request == NULL && (json_parse(text_of(text), NULL, &root) != STATUS_OK ||
							   place_request_parse(root, &request, &error) != STATUS_OK))
		abort();
	json_free(root);
	if (length < HEAD)
		return 0;
	size_t image = (size_t)bytes[0] | (size_t)bytes[1] << 8;
	image = image > length - HEAD ? length - HEAD : image;
	struct text changes = {(const char *)bytes + HEAD + image, length - HEAD - image};
	if (image_parse((struct text){(const char *)bytes + HEAD, image}, &snapshot) != STATUS_OK)
		return 0;
	const struct place_request *one = request;
	struct journal_target target = {bytes[3], &one, 1, false};
	snapshot->version = 0;
	decide(snapshot, request);
	if (journal_apply(snapshot, changes, 0, bytes[2], &target) == STATUS_OK)
		decide(snapshot, request);
	place_snapshot_free(snapshot);
	return 0;
}
