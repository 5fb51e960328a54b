/* Participants come and go: endpoints of their own files. */
#pragma once

#include "control/fabric/manager/manager_private.h"

/* POST .../participant-profiles */
void deploy_profile(struct rest_call *call);
/* DELETE .../participant-profiles/{participantID} */
void dispose_profile(struct rest_call *call);
