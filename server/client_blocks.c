/* Blocks of unread input: small ones for heads and what comes with them, large ones for bodies. */
#include <stdlib.h>
#include <string.h>

#include "server/client_private.h"

struct free_block {
	struct free_block *next;
};

/* A small block's size is no power of two: many side by side would share the same few lines of the caches. */
static const struct {
	size_t bytes;
	unsigned kept;
} sizes[BLOCK_SIZES] = {[BLOCK_HEAD] = {20 * 1024, 256}, [BLOCK_BODY] = {CLIENT_BLOCK, 32}};

static uint8_t *take(struct client *client, enum block_size size)
{
	struct free_blocks *blocks = &client->blocks[size];
	struct free_block *block = blocks->first;
	if (block == NULL)
		return malloc(sizes[size].bytes);
	blocks->first = block->next;
	blocks->count--;
	return (uint8_t *)block;
}

static void give(struct client *client, enum block_size size, uint8_t *bytes)
{
	struct free_blocks *blocks = &client->blocks[size];
	struct free_block *block = (struct free_block *)(void *)bytes;
	if (blocks->count >= sizes[size].kept) {
		free(bytes);
		return;
	}
	block->next = blocks->first;
	blocks->first = block;
	blocks->count++;
}

bool block_take(struct upstream *upstream, enum block_size size)
{
	struct client *client = upstream->origin->client;
	if (upstream->block != NULL && upstream->block_size >= size)
		return true;
	uint8_t *block = take(client, size);
	if (block == NULL)
		return false;
	if (upstream->block != NULL) {
		memcpy(block, upstream->block, upstream->end);
		give(client, upstream->block_size, upstream->block);
	}
	upstream->block = block;
	upstream->block_size = size;
	return true;
}

size_t block_room(const struct upstream *upstream)
{
	return sizes[upstream->block_size].bytes - upstream->end;
}

void block_drop(struct upstream *upstream)
{
	if (upstream->block != NULL)
		give(upstream->origin->client, upstream->block_size, upstream->block);
	upstream->block = NULL;
	upstream->at = upstream->end = 0;
}

void blocks_free(struct client *client)
{
	for (int size = 0; size < BLOCK_SIZES; size++) {
		while (client->blocks[size].first != NULL) {
			struct free_block *next = client->blocks[size].first->next;
			free(client->blocks[size].first);
			client->blocks[size].first = next;
		}
	}
}
