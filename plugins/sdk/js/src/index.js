/**
 * Write a plugin for Eaves as a function over one value.
 *
 *     import { plugin, reject } from "eaves-plugin-sdk";
 *
 *     export const validation = plugin({
 *       name: "no-frost",
 *       version: "1.0.0",
 *       validate: (reading) => (reading.number < 0 ? reject("frost", "below zero") : undefined),
 *     });
 *
 * `index.d.ts` describes everything; the columns of the WIT package are hidden in `columns.js`.
 */
export { oneOf, pattern, range, rate } from "./checks.js";
export { plugin, SettingsFault } from "./plugin.js";
export { promoter } from "./promotion.js";
export { convert, units } from "./units.js";
export { Decimal, Timestamp } from "./value.js";
export { accept, reject, replace } from "./verdict.js";
