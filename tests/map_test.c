/* The persistent map against a plain array: every version says what it said, and nothing leaks as versions retire. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "server/base/map.h"

enum { KEYS = 600, VERSIONS = 40 };

static int values[KEYS];

static struct text name_key(unsigned key, char into[16])
{
	int length = snprintf(into, 16, "key-%u", key);
	return (struct text){into, (size_t)length};
}

/* What a version should hold. */
struct model {
	void *values[KEYS];
	size_t count;
};

struct walk {
	const struct model *model;
	size_t seen;
};

static bool visit(void *context, struct text key, void *value)
{
	struct walk *walk = context;
	uint64_t number;
	assert_int_equal(text_to_unsigned(text_slice(key, 4, key.length), KEYS - 1, &number), STATUS_OK);
	assert_ptr_equal(walk->model->values[number], value);
	walk->seen++;
	return true;
}

static void check(const struct map *map, const struct model *model)
{
	char name[16];
	struct walk walk = {.model = model};
	assert_int_equal(map_count(map), model->count);
	for (unsigned key = 0; key < KEYS; key++)
		assert_ptr_equal(map_find(map, name_key(key, name)), model->values[key]);
	map_each(map, visit, &walk);
	assert_int_equal(walk.seen, model->count);
}

static uint32_t next_random(uint32_t *state)
{
	return (*state = *state * 1664525 + 1013904223) >> 8;
}

static struct map *step(struct map *map, struct model *model, uint32_t *random)
{
	char name[16];
	unsigned key = next_random(random) % KEYS;
	struct map *next = NULL;
	if (next_random(random) % 3 == 0) {
		assert_int_equal(map_remove(map, name_key(key, name), &next), STATUS_OK);
		assert_true((next == map) == (model->values[key] == NULL));
		model->count -= model->values[key] != NULL;
		model->values[key] = NULL;
		return next;
	}
	void *value = &values[next_random(random) % KEYS];
	assert_int_equal(map_put(map, name_key(key, name), value, &next), STATUS_OK);
	assert_ptr_not_equal(next, map);
	model->count += model->values[key] == NULL;
	model->values[key] = value;
	return next;
}

/* A queue of living versions, as readers hold them; the oldest goes first. */
static void versions_stay_as_they_were(void **state)
{
	(void)state;
	static struct model models[VERSIONS];
	struct map *versions[VERSIONS] = {map_new()};
	uint32_t random = 1;
	unsigned first = 0, last = 0;
	memset(models, 0, sizeof(models));
	for (int i = 0; i < 6000; i++) {
		struct model model = models[last % VERSIONS];
		struct map *next = step(versions[last % VERSIONS], &model, &random);
		if (next == versions[last % VERSIONS])
			continue;
		if (last - first == VERSIONS - 1) {
			if (i % 7 == 0)
				check(versions[first % VERSIONS], &models[first % VERSIONS]);
			map_retire(versions[first++ % VERSIONS]);
		}
		last++;
		models[last % VERSIONS] = model;
		versions[last % VERSIONS] = next;
		if (i % 50 == 0)
			check(next, &model);
	}
	assert_true(models[last % VERSIONS].count > 300); /* it has grown on the way */
	for (; first < last; first++)
		map_retire(versions[first % VERSIONS]);
	map_free(versions[last % VERSIONS]);
}

static void loading_is_the_same_as_putting(void **state)
{
	(void)state;
	struct map *map = map_new();
	static struct model model;
	char name[16];
	memset(&model, 0, sizeof(model));
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned key = 0; key < KEYS; key++) {
			assert_int_equal(map_load(map, name_key(key, name), &values[key / (round + 1)]), STATUS_OK);
			model.count += model.values[key] == NULL;
			model.values[key] = &values[key / (round + 1)];
		}
		check(map, &model);
	}
	map_free(map);
}

static bool visit_two(void *context, struct text key, void *value)
{
	(void)key, (void)value;
	return ++*(int *)context < 2;
}

static void edges(void **state)
{
	(void)state;
	struct map *map = map_new(), *next = NULL;
	int one = 1, visits = 0;
	assert_null(map_find(NULL, TEXT("a")));
	assert_int_equal(map_count(NULL), 0);
	map_retire(NULL);
	map_free(NULL);
	assert_int_equal(map_load(map, TEXT_NONE, &one), STATUS_OK);
	assert_int_equal(map_load(map, (struct text){"a\0b", 3}, &one), STATUS_OK);
	assert_int_equal(map_load(map, (struct text){"a\0c", 3}, &visits), STATUS_OK);
	assert_ptr_equal(map_find(map, TEXT("")), &one);
	assert_ptr_equal(map_find(map, (struct text){"a\0b", 3}), &one);
	assert_null(map_find(map, TEXT("a")));
	map_each(map, visit_two, &visits);
	assert_int_equal(visits, 2);
	assert_int_equal(map_remove(map, TEXT(""), &next), STATUS_OK);
	assert_int_equal(map_count(map), 3);
	assert_int_equal(map_count(next), 2);
	map_retire(map);
	map_free(next);
}

static void compound_keys_are_unambiguous(void **state)
{
	(void)state;
	char a[64], b[64];
	const struct text first[] = {TEXT("ab"), TEXT("c")}, second[] = {TEXT("a"), TEXT("bc")},
					  third[] = {TEXT("ab"), TEXT("c"), TEXT("")};
	struct text key = map_key(a, sizeof(a), first, 2);
	assert_int_equal(key.length, 2 * sizeof(uint32_t) + 3);
	assert_false(text_equals(key, map_key(b, sizeof(b), second, 2)));
	assert_false(text_equals(key, map_key(b, sizeof(b), third, 3)));
	assert_true(text_equals(key, map_key(b, sizeof(b), first, 2)));
	assert_int_equal(map_key(a, key.length, first, 2).length, key.length);
	assert_int_equal(map_key(a, key.length - 1, first, 2).length, 0);
	assert_int_equal(map_key(a, 3, first, 1).length, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(versions_stay_as_they_were),
		cmocka_unit_test(loading_is_the_same_as_putting),
		cmocka_unit_test(edges),
		cmocka_unit_test(compound_keys_are_unambiguous),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
