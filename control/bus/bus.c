#include "control/bus/bus.h"
