/* Any bytes as a request for placement: what is taken is taken again as it is kept, and is decided and explained
 * without harm; what is not has a reason. */
#include <stdlib.h>

#include "control/fabric/place/place.h"
#include "control/fabric/place/seats.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static struct place_snapshot *make(void)
{
	static const char text[] =
		"{\"cellId\":\"c\",\"name\":\"n\",\"type\":\"edge\",\"region\":\"r\",\"provider\":\"p\",\"capacity\":{"
		"\"maxVPAs\":"
		"4,\"resources\":{\"memMiB\":99}},\"labels\":{\"a\":\"b\"},\"topology\":{\"zone\":\"z\"},\"jurisdictions\":["
		"\"EU\"],\"taints\":[{\"key\":\"k\",\"value\":\"v\",\"effect\":\"NoPlace\"}]}";
	struct place_snapshot *snapshot = place_snapshot_new();
	struct place_standing standing = {.is_open = true, .ready = ~0U, .load = -1};
	struct cell_definition *definition = NULL;
	struct buffer error = {0}, warning = {0};
	struct json *root = NULL;
	if (snapshot == NULL || json_parse(text_of(text), NULL, &root) != STATUS_OK ||
		cell_definition_parse(root, &definition, &error, &warning) != STATUS_OK ||
		place_snapshot_put(snapshot, 0, TEXT("cfm"), definition, &standing) != STATUS_OK ||
		place_snapshot_put(snapshot, 1, TEXT("legacy"), NULL, &standing) != STATUS_OK)
		abort();
	cell_definition_free(definition);
	json_free(root);
	return snapshot;
}

static void decide(struct place_snapshot *snapshot, const struct place_request *request)
{
	const struct place_request *both[] = {request, request};
	struct buffer explain = {0}, line = {0};
	const struct place_telling telling = {&explain, &line, false, 10};
	struct json *root = NULL;
	uint32_t slots[2];
	if (place_group(snapshot, both, 2, slots, &telling) == STATUS_OK)
		place_group_undo(snapshot, both, 2, slots);
	if (json_parse(buffer_text(&explain), NULL, &root) != STATUS_OK || line.length == 0)
		abort();
	json_free(root);
	buffer_free(&explain);
	buffer_free(&line);
}

static void check_again(const struct place_request *request)
{
	struct place_request *again = NULL;
	struct buffer error = {0};
	struct json *root = NULL;
	if (json_parse(place_request_text(request), NULL, &root) != STATUS_OK ||
		place_request_parse(root, &again, &error) != STATUS_OK ||
		!text_equals(place_request_text(again), place_request_text(request)))
		abort();
	place_request_free(again);
	json_free(root);
	buffer_free(&error);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	static struct place_snapshot *snapshot;
	struct text text = {(const char *)bytes, length};
	struct place_request *request = NULL;
	struct buffer error = {0};
	struct json *root = NULL;
	struct seat seats[SEATS_MAX];
	size_t count = seats_read(text, seats);
	for (size_t i = 0; i < count; i++) {
		if (seats[i].cell.bytes < text.bytes || seats[i].cell.bytes + seats[i].cell.length > text.bytes + length)
			abort();
	}
	if (snapshot == NULL)
		snapshot = make();
	if (json_parse(text, NULL, &root) != STATUS_OK)
		return 0;
	if (place_request_parse(root, &request, &error) == STATUS_OK) {
		check_again(request);
		decide(snapshot, request);
	} else if (error.length == 0) {
		abort();
	}
	place_request_free(request);
	json_free(root);
	buffer_free(&error);
	return 0;
}
