/* A copy announces the mapping it reads, so that a SIGBUS in it can be told from a bug. */
#include "server/base/mapping.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

static _Thread_local struct {
	uint8_t *volatile start;
	volatile size_t length;
	volatile sig_atomic_t is_broken;
} guarded;

static void on_sigbus(int number, siginfo_t *info, void *context)
{
	(void)context;
	uint8_t *address = info->si_addr, *start = guarded.start;
	if (start == NULL || address < start || address >= start + guarded.length) {
		signal(number, SIG_DFL);
		return; /* the instruction runs again and the default action ends the process */
	}
	uintptr_t page = (uintptr_t)address & ~(uintptr_t)4095;
	size_t left = (size_t)((uintptr_t)start + guarded.length - page);
	guarded.is_broken = 1;
	if (mmap((void *)page, left, PROT_READ, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
		signal(number, SIG_DFL);
}

enum status mapping_guard_install(void)
{
	struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
	sigemptyset(&action.sa_mask);
	return sigaction(SIGBUS, &action, NULL) == 0 ? STATUS_OK : STATUS_IO;
}

enum status mapping_copy(const uint8_t *start, size_t mapped, size_t offset, uint8_t *into, size_t length)
{
	guarded.is_broken = 0;
	guarded.length = mapped;
	guarded.start = (uint8_t *)(uintptr_t)start;
	atomic_signal_fence(memory_order_seq_cst);
	memcpy(into, start + offset, length);
	atomic_signal_fence(memory_order_seq_cst);
	guarded.start = NULL;
	return guarded.is_broken ? STATUS_IO : STATUS_OK;
}
