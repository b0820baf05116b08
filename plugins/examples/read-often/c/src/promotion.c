/* What queries filter by often becomes hot. What they hardly filter by any more ceases to be hot,
 * but not within an hour: a change of place costs, too. */
#include "settings.h"

void eaves_promote(const eaves_statistics *statistics, const void *settings, eaves_promotions *into) {
  const read_often *own = settings;
  for (size_t i = 0; i < statistics->count; i++) {
    const eaves_attribute_statistics *a = &statistics->attributes[i];
    if (!a->hot && a->filters_per_second >= own->worth)
      eaves_decide(into, a, EAVES_PROMOTE, "read_often", "%g queries a second filter by it", a->filters_per_second);
    else if (a->hot && a->filters_per_second < own->worth / 2 && a->settled_seconds < 3600)
      eaves_decide(into, a, EAVES_KEEP, "settling", "its place was changed %g s ago", a->settled_seconds);
    else if (a->hot && a->filters_per_second < own->worth / 2)
      eaves_decide(into, a, EAVES_DEMOTE, "hardly_read", "%g queries a second filter by it", a->filters_per_second);
  }
}
