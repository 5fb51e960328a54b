/* What a participant's VPAs ask of their cells. By default one VPA of each type, all in one cell, as the existing
 * manager has it. properties["celld.placement"] of the selected dataspace profiles, of the tenant and of the request
 * say more, each over the one before it (objects are merged, all else is replaced, null removes):
 *
 *   {"require", "prefer", "affinity", ...,        constraints (control.md 2.7.1) of all VPAs
 *    "cfm.dataplane": {"require", ...},           of the VPAs of one type, over those
 *    "dataplanes": [{"require", ..., "properties": {}}, ...]}   one data plane each, over those, not bound to the other
 *                                                 VPAs' cell; "properties" are added to the VPA's own */
#pragma once

#include "control/fabric/place/place.h"
#include "server/base/id.h"

enum { PLAN_DATAPLANES_MAX = 32, PLAN_VPAS_MAX = VPA_TYPE_COUNT - 1 + PLAN_DATAPLANES_MAX, PLAN_LAYERS_MAX = 34 };

struct planned_vpa {
	char id[UUID_LENGTH + 1];
	enum vpa_type type;
	struct place_request *request;
	struct json *properties; /* NULL: none */
};
struct vpa_plan {
	size_t count;
	struct planned_vpa vpas[PLAN_VPAS_MAX];
};

struct vpa_plan_sources {
	const struct json *layers[PLAN_LAYERS_MAX]; /* properties, the weakest first; may be NULL */
	size_t layer_count;
	const struct json *vpa_properties; /* of the request, by type; NULL: none */
	struct text participant, tenant;
	struct text cell;            /* all but the named data planes go there; absent: wherever they fit */
	const struct text *profiles; /* dataspace profiles that each cell must have */
	size_t profile_count;
};
/* INVALID with one line that names the member. Makes new ids. vpa_plan_free what is OK. */
enum status vpa_plan_make(
	const struct vpa_plan_sources *sources, struct vpa_plan *plan, struct buffer *error) MUST_CHECK;
void vpa_plan_free(struct vpa_plan *plan);
