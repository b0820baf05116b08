// The same as ranges.ts, as a function over each value.
import { oneOf, plugin, range } from "eaves-plugin-sdk";

type Rules = Record<string, { min?: number; max?: number; allowed?: string[] }>;

export const validation = plugin<Rules>({
  name: "ranges",
  version: "1.0.0",
  configure: (settings) => (settings.attributes ?? {}) as Rules,
  validate(reading, rules) {
    const rule = rules[reading.attribute.name];
    if (rule === undefined) return undefined;
    return rule.allowed === undefined ? range(reading, rule) : oneOf(reading, rule.allowed);
  },
});
