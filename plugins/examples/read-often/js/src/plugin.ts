// Takes every value, and decides which attributes are hot. What queries filter by often becomes
// hot. What they hardly filter by any more ceases to be hot, but not within an hour: a change of
// place costs, too.
import { type AttributeStatistics, plugin, promoter, type Promotion, SettingsFault } from "eaves-plugin-sdk";

function configure(settings: Record<string, unknown>): { worth: number } {
  const worth = settings.worth ?? 1;
  if (typeof worth !== "number") throw new SettingsFault("worth", `expected a number, found ${JSON.stringify(worth)}`);
  if (worth <= 0) throw new SettingsFault("worth", "must be above 0");
  return { worth };
}

function decide(a: AttributeStatistics, worth: number): Promotion | undefined {
  const read = `${a.filtersPerSecond} queries a second filter by it`;
  if (!a.hot && a.filtersPerSecond >= worth) return a.promote("read_often", read);
  if (!a.hot || a.filtersPerSecond >= worth / 2) return undefined;
  if (a.settledSeconds < 3600) return a.keep("settling", `its place was changed ${a.settledSeconds} s ago`);
  return a.demote("hardly_read", read);
}

export const validation = plugin({
  name: "read-often",
  version: "1.0.0",
  // No value is of interest: the plugin is never called for one.
  attributes: [],
  settingsSchema: { type: "object", properties: { worth: { type: "number", exclusiveMinimum: 0 } } },
  configure,
  validate: () => undefined,
});

export const promotion = promoter({
  configure,
  promote: ({ attributes }, { worth }) =>
    attributes.map((a) => decide(a, worth)).filter((decision) => decision !== undefined),
});
