/* DataAddresses in messages: read, and judged by the flow they come for (dps.md 1.5, 4.2, 9.5, 9.6). */
#include "tenants/dp/signaling/offer.h"
#include "tenants/dp/signaling/signaling.h"

enum { LIFETIME_MAX_S = 366 * 24 * 3600 };
#define HTTP_PROFILE "https://w3id.org/dspace-sig/profile/http"

static bool wrong(struct signal *signal, const char *detail)
{
	signal_refuse(signal, 400, detail);
	return false;
}

static bool check_url(
	struct signal *signal, const struct participant *participant, struct text text, const char *detail)
{
	struct url url;
	if (url_parse(text, &url) != STATUS_OK || (!url.tls && !participant->signaling.allows_clear))
		return wrong(signal, detail);
	struct address_rules rules = participant_address_rules(participant);
	if (client_check_url(signal->home->worker, &url, &rules) != STATUS_OK)
		return wrong(signal, "dataAddress.endpoint: leads where this participant may not connect to");
	return true;
}

/* What the renewal of tokens needs (dps.md 4.3); its endpoint may be the data's own. */
static bool is_renewable(const struct data_address *address)
{
	uint64_t lifetime_s;
	return data_address_property(address, "authorization").length > 0 &&
		   text_equals_ignoring_case(data_address_property(address, "authType"), TEXT("bearer")) &&
		   data_address_property(address, "refreshToken").length > 0 &&
		   text_to_unsigned(data_address_property(address, "expiresIn"), LIFETIME_MAX_S, &lifetime_s) == STATUS_OK;
}

/* The HTTP profile's addresses are of its own type and direction (dps.md 4.2); older profiles name no type. */
static bool has_right_type(const struct data_address *address, struct text profile)
{
	struct text http = TEXT(HTTP_PROFILE), type = data_address_type(address);
	if (text_starts_with(profile, http))
		return text_equals(type, profile);
	bool is_push = text_ends_with(type, TEXT("-push"));
	return !text_starts_with(type, http) ||
		   is_push == flow_terms_is_push(&(struct flow_terms){.profile = (char *)(uintptr_t)profile.bytes});
}

/* Reads the message's address into signal->address. False: answered. */
static bool read_address(struct signal *signal)
{
	const struct json *body = signal->message.fields[MESSAGE_FIELD_ADDRESS];
	struct buffer error = {0};
	if (body == NULL || json_count(body) == 0) /* {}: an example of the specification has it so */
		return true;
	enum status status = data_address_parse(body, &signal->address, &error);
	if (status != STATUS_OK)
		signal_refuse(signal, status_to_http(status), error.bytes);
	buffer_free(&error);
	return status == STATUS_OK;
}

bool signal_check_address(struct signal *signal, const struct participant *participant, const struct flow_terms *terms)
{
	bool is_push = flow_terms_is_push(terms),
		 is_http_pull = text_equals(text_of(terms->profile), TEXT(HTTP_PROFILE "-pull"));
	bool needs_renewal = is_http_pull && participant->signaling.needs_renewal;
	if (!read_address(signal))
		return false;
	const struct data_address *address = signal->address;
	if (address != NULL && flow_terms_offers(terms))
		return wrong(signal, "dataAddress: this side of the flow gives the address");
	if (address == NULL && signal->verb == SIGNALING_START && is_push)
		return wrong(signal, "dataAddress: is missing");
	if (address == NULL && signal->verb == SIGNALING_STARTED && !is_push && is_http_pull)
		return wrong(signal, "dataAddress: is missing");
	if (address == NULL)
		return true;
	if (!has_right_type(address, text_of(terms->profile)))
		return wrong(signal, "dataAddress.endpointType: is not that of the profile");
	if (needs_renewal && !is_renewable(address))
		return wrong(signal, "dataAddress: lacks properties for renewal");
	struct text refresh = data_address_property(address, "refreshEndpoint");
	return check_url(
			   signal, participant, data_address_endpoint(address), "dataAddress.endpoint: must be an https URL") &&
		   (refresh.bytes == NULL ||
			   check_url(signal, participant, refresh, "dataAddress.refreshEndpoint: must be an https URL"));
}
