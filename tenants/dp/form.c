/* Forms: reading and writing a field. */
#include "tenants/dp/form.h"

#include <ctype.h>

#include "server/path.h"

static enum status decode(struct text encoded, char *room, size_t size, struct text *value)
{
	if (encoded.length >= size)
		return STATUS_INVALID;
	char plain[16384];
	if (encoded.length > sizeof(plain))
		return STATUS_INVALID;
	for (size_t i = 0; i < encoded.length; i++) {
		plain[i] = encoded.bytes[i];
		if (plain[i] == '+')
			plain[i] = ' ';
	}
	if (encoded.length == 0) {
		*value = TEXT("");
		return STATUS_OK;
	}
	return percent_decode((struct text){plain, encoded.length}, room, size, value);
}

enum status form_find(struct text form, struct text name, char *room, size_t size, struct text *value)
{
	struct text rest = form, part, found = TEXT_NONE;
	for (bool done = form.length == 0; text_next_part(&rest, '&', &part, &done);) {
		size_t equals = text_find(part, '=');
		if (!text_equals(text_slice(part, 0, equals), name))
			continue;
		if (found.bytes != NULL)
			return STATUS_INVALID;
		found = equals == part.length ? TEXT("") : text_slice(part, equals + 1, part.length);
	}
	return found.bytes == NULL ? STATUS_NOT_FOUND : decode(found, room, size, value);
}

void form_append(struct buffer *form, const char *name, struct text value)
{
	if (form->length > 0)
		buffer_append_byte(form, '&');
	buffer_append(form, text_of(name));
	buffer_append_byte(form, '=');
	for (size_t i = 0; i < value.length; i++) {
		unsigned char byte = (unsigned char)value.bytes[i];
		if (isalnum(byte) || byte == '-' || byte == '.' || byte == '_' || byte == '*')
			buffer_append_byte(form, (char)byte);
		else
			buffer_printf(form, "%%%02X", byte);
	}
}
