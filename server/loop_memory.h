/* libevent's memory: whole cache lines, since a loop writes its own at every turn and loops are made side by side. */
#pragma once

/* Before any loop is made; again changes nothing. */
void loop_memory_install(void);
