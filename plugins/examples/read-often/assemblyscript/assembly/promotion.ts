// What queries filter by often becomes hot. What they hardly filter by any more ceases to be hot,
// but not within an hour: a change of place costs, too.
import { Settings, Statistics, shown } from "../.eaves/sdk/assemblyscript/assembly";

export function promote(statistics: Statistics, settings: Settings): void {
  const worth = settings.number("worth", 1);
  for (let i = 0; i < statistics.attributes.length; i++) {
    const a = statistics.attributes[i];
    const read = shown(a.filtersPerSecond) + " queries a second filter by it";
    if (!a.hot && a.filtersPerSecond >= worth) a.promote("read_often", read);
    if (!a.hot || a.filtersPerSecond >= worth / 2) continue;
    if (a.settledSeconds < 3600) a.keep("settling", "its place was changed " + shown(a.settledSeconds) + " s ago");
    else a.demote("hardly_read", read);
  }
}
