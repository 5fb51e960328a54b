/* Calls to S3 stores for tenants. */
#include "tenants/dp/source/s3_order.h"

enum status s3_order_sign(const struct s3_order *order, struct s3_call *call, struct address_rules *rules)
{
	const struct participant *participant = registry_find(order->home->dp->registry, order->ctx);
	if (participant == NULL)
		return STATUS_UNAVAILABLE;
	*rules = participant_address_rules(participant);
	return s3_call_build(
		order->bucket, &order->request, order->secret, worker_wall_ms(order->home->worker) / 1000, call);
}

enum status s3_order_start(
	const struct s3_order *order, const struct client_events *events, void *context, struct client_call **call)
{
	struct s3_call signed_call = {0};
	struct address_rules rules;
	enum status status = s3_order_sign(order, &signed_call, &rules);
	if (status == STATUS_OK) {
		const struct client_request request = {.tenant = order->ctx,
			.url = &signed_call.url,
			.method = order->request.method,
			.headers = signed_call.headers,
			.header_count = signed_call.header_count,
			.body_length = order->body_length,
			.rules = &rules,
			.read_ms = (uint32_t)order->home->dp->settings.source_ms};
		status = client_call_start(order->home->worker, &request, events, context, call);
	}
	s3_call_clear(&signed_call);
	return status;
}
