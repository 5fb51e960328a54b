/* Elements of S3's XML. */
#include "tenants/dp/source/s3_xml.h"

#include <stdio.h>
#include <string.h>

static const struct {
	const char *escape;
	char byte;
} escapes[] = {
	{"&quot;", '"'}, {"&apos;", '\''}, {"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&#34;", '"'}, {"&#39;", '\''}};
enum { ESCAPES = sizeof(escapes) / sizeof(escapes[0]), NAME_MAX_LENGTH = 40 };

static bool find(struct text whole, struct text part, size_t *at)
{
	const char *found = whole.length == 0 ? NULL : memmem(whole.bytes, whole.length, part.bytes, part.length);
	if (found == NULL)
		return false;
	*at = (size_t)(found - whole.bytes);
	return true;
}

bool s3_xml_next(struct text *rest, const char *name, struct text *content)
{
	char open[NAME_MAX_LENGTH + 4], close[NAME_MAX_LENGTH + 4];
	size_t start, end;
	int length = snprintf(open, sizeof(open), "<%s>", name);
	snprintf(close, sizeof(close), "</%s>", name);
	if (length < 0 || (size_t)length >= sizeof(open) - 1 || !find(*rest, text_of(open), &start))
		return false;
	struct text after = text_slice(*rest, start + (size_t)length, rest->length);
	if (!find(after, text_of(close), &end))
		return false;
	*content = text_slice(after, 0, end);
	*rest = text_slice(after, end + strlen(close), after.length);
	return true;
}

bool s3_xml_text(struct text element, const char *name, char *into, size_t room)
{
	struct text rest = element, content;
	size_t length = 0;
	if (!s3_xml_next(&rest, name, &content))
		return false;
	while (content.length > 0) {
		size_t used = 1;
		char byte = content.bytes[0];
		for (size_t i = 0; i < ESCAPES && byte == '&'; i++) {
			if (text_starts_with(content, text_of(escapes[i].escape))) {
				byte = escapes[i].byte;
				used = strlen(escapes[i].escape);
			}
		}
		if (length + 1 >= room || (used == 1 && (byte == '&' || byte == '<')) || (unsigned char)byte < 0x20)
			return false;
		into[length++] = byte;
		content = text_slice(content, used, content.length);
	}
	into[length] = 0;
	return true;
}

bool s3_xml_number(struct text element, const char *name, int64_t *number)
{
	char digits[24];
	uint64_t value;
	if (!s3_xml_text(element, name, digits, sizeof(digits)) ||
		text_to_unsigned(text_of(digits), INT64_MAX, &value) != STATUS_OK)
		return false;
	*number = (int64_t)value;
	return true;
}

void s3_xml_escape(struct text text, struct buffer *into)
{
	for (size_t i = 0; i < text.length; i++) {
		size_t known = 0;
		while (known < 5 && escapes[known].byte != text.bytes[i])
			known++;
		if (known < 5)
			buffer_append(into, text_of(escapes[known].escape));
		else
			buffer_append_byte(into, text.bytes[i]);
	}
}
