/* The plot: latency over percentiles. x: 50 % .. 99.999 %, by how rare; y: milliseconds, both logarithmic. */
#include <math.h>
#include <stdlib.h>

#include "bench/cellbench/report_group.h"

enum { WIDTH = 860, HEIGHT = 460, LEFT = 80, RIGHT = 180, TOP = 48, BOTTOM = 56, POINTS = 100 };
static const double rarest = 5; /* 1 - 10^-5 */

static const char *const colours[] = {"#0b6e99", "#d9480f", "#2b8a3e", "#862e9c", "#e67700", "#495057"};

struct scale {
	double low, high; /* exponents of ten, in milliseconds */
};

static double x_of(double rarity)
{
	double first = log10(2); /* 50 % */
	return LEFT + (rarity - first) / (rarest - first) * (WIDTH - LEFT - RIGHT);
}

static double y_of(const struct scale *scale, double ms)
{
	double at = log10(ms < 1e-4 ? 1e-4 : ms);
	return HEIGHT - BOTTOM - (at - scale->low) / (scale->high - scale->low) * (HEIGHT - TOP - BOTTOM);
}

static struct scale scale_of(const struct group *groups, size_t count)
{
	double low = 1e9, high = 1e-4;
	for (size_t i = 0; i < count; i++) {
		const struct histogram *latency = &groups[i].sum.latency;
		double smallest = (double)histogram_at(latency, 0.5) / 1e6, largest = (double)latency->maximum / 1e6;
		if (latency->count == 0)
			continue;
		low = smallest < low ? smallest : low;
		high = largest > high ? largest : high;
	}
	if (low > high)
		low = high;
	struct scale scale = {floor(log10(low < 1e-4 ? 1e-4 : low)), ceil(log10(high))};
	if (scale.high <= scale.low)
		scale.high = scale.low + 1;
	return scale;
}

static void draw_axes(const struct scale *scale, struct buffer *into)
{
	static const struct {
		double rarity;
		const char *label;
	} ticks[] = {{0.30103, "50 %"}, {1, "90 %"}, {2, "99 %"}, {3, "99.9 %"}, {4, "99.99 %"}, {5, "99.999 %"}};
	for (size_t i = 0; i < sizeof(ticks) / sizeof(ticks[0]); i++)
		buffer_printf(into,
			"<path d=\"M%.1f %dV%d\" stroke=\"#dee2e6\"/><text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n",
			x_of(ticks[i].rarity), TOP, HEIGHT - BOTTOM, x_of(ticks[i].rarity), HEIGHT - BOTTOM + 20, ticks[i].label);
	for (int i = 0; i <= (int)(scale->high - scale->low); i++) {
		double exponent = scale->low + i, y = y_of(scale, pow(10, exponent));
		buffer_printf(into,
			"<path d=\"M%d %.1fH%d\" stroke=\"#dee2e6\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%g ms</text>\n",
			LEFT, y, WIDTH - RIGHT, LEFT - 8, y + 4, pow(10, exponent));
	}
}

/* SVG text: the three characters that matter. */
static void append_escaped(struct buffer *into, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '<' || *text == '&' || *text == '>')
			buffer_append(into, *text == '<' ? TEXT("&lt;") : *text == '>' ? TEXT("&gt;") : TEXT("&amp;"));
		else
			buffer_append_byte(into, *text);
	}
}

static void draw_group(const struct scale *scale, const struct group *group, size_t index, struct buffer *into)
{
	const char *colour = colours[index % (sizeof(colours) / sizeof(colours[0]))];
	const struct histogram *latency = &group->sum.latency;
	double last = log10((double)latency->count + 1); /* rarer than this nothing was seen */
	if (latency->count == 0)
		return;
	buffer_printf(into, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"2\" d=\"", colour);
	for (int i = 0; i <= POINTS; i++) {
		double rarity = log10(2) + (rarest - log10(2)) * i / POINTS;
		if (rarity > last && i > 0)
			break;
		double ms = (double)histogram_at(latency, 1 - pow(10, -rarity)) / 1e6;
		buffer_printf(into, "%c%.1f %.1f", i == 0 ? 'M' : 'L', x_of(rarity), y_of(scale, ms));
	}
	buffer_printf(
		into, "\"/>\n<text x=\"%d\" y=\"%d\" fill=\"%s\">", WIDTH - RIGHT + 12, TOP + 16 + 20 * (int)index, colour);
	append_escaped(into, group->name);
	buffer_append(into, TEXT("</text>\n"));
}

void report_svg(const struct run *run, struct buffer *into)
{
	struct group *groups;
	size_t count = groups_sum(run, &groups);
	struct scale scale = scale_of(groups, count);
	buffer_printf(into,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"13\">\n"
		"<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n<text x=\"%d\" y=\"28\" font-size=\"16\">",
		WIDTH, HEIGHT, LEFT);
	append_escaped(into, run->scenario->name);
	buffer_append(into, TEXT(": latency</text>\n"));
	draw_axes(&scale, into);
	for (size_t i = 0; i < count; i++)
		draw_group(&scale, &groups[i], i, into);
	buffer_append(into, TEXT("</svg>\n"));
	free(groups);
}
