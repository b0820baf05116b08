// The rules of plugins/examples/telemetry-rules, as far as benches/src/plugin.rs sets them.
import { type Checks, plugin } from "eaves-plugin-sdk";

type Rule = { min?: number; max?: number; allowed?: string[] };

export const validation = plugin<Checks>({
  name: "ranges",
  version: "1.0.0",
  configure(settings) {
    const rules = Object.entries((settings.attributes ?? {}) as Record<string, Rule>);
    return Object.fromEntries(rules.map(([name, { min, max, allowed }]) => [name, { min, max, oneOf: allowed }]));
  },
  checks: (checks) => checks,
});
