/* The master key of a file vault. Private to this folder. */
#pragma once

#include "server/base/secret.h"

/* Reads it, or makes it when neither it nor any safe exists yet, and checks it against the mark that the first use left
 * in the vault's folder. */
enum status master_key_load(int directory, const char *file, struct secret **key, struct buffer *error) MUST_CHECK;
