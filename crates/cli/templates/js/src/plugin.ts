// Three rules to start from: a highest temperature, how fast it may rise, and which states a
// device may report. A temperature near the limit is marked by a value of its own.
import { accept, oneOf, plugin, rate, type Reading, reject, SettingsFault, type Verdict } from "eaves-plugin-sdk";

interface Settings {
  /** degC */
  highest: number;
  /** degC a second; 0 for any */
  maxRise: number;
}

function number(settings: Record<string, unknown>, field: string, otherwise: number): number {
  const value = settings[field] ?? otherwise;
  if (typeof value !== "number") throw new SettingsFault(field, `expected a number, found ${JSON.stringify(value)}`);
  return value;
}

function temperature(reading: Reading, settings: Settings): Verdict | undefined {
  const degrees = reading.number;
  if (degrees > settings.highest) return reject("too_hot", `${degrees} is over ${settings.highest}`);
  const rise = rate(reading) ?? 0;
  if (settings.maxRise > 0 && rise > settings.maxRise) {
    return reject("too_fast", `rose by ${rise} a second, at most ${settings.maxRise} is plausible`);
  }
  return degrees > settings.highest - 5 ? accept().derive("near_limit", true) : undefined;
}

export const validation = plugin<Settings>({
  name: "{{name}}",
  version: "0.1.0",
  attributes: ["temperature", "status"],
  previous: ["temperature"],
  settingsSchema: {
    type: "object",
    properties: { highest: { type: "number" }, max_rise_per_second: { type: "number", minimum: 0 } },
  },
  configure(settings) {
    const maxRise = number(settings, "max_rise_per_second", 0);
    if (maxRise < 0) throw new SettingsFault("max_rise_per_second", "must not be below 0");
    return { highest: number(settings, "highest", 90), maxRise };
  },
  validate(reading, settings) {
    if (reading.attribute.name === "temperature") return temperature(reading, settings);
    if (reading.attribute.type !== "string") return undefined;
    const known = oneOf(reading, ["online", "offline", "fault"]);
    return known && reject("unknown_state", `${reading.value} is none of online, offline, fault`);
  },
});
