/**
 * Write a plugin for Eaves in AssemblyScript: a class with a function over one value.
 *
 * Extend `Plugin`, export `function plugin(): Plugin`, and run `eaves plugin build`. A project with
 * `assembly/promotion.ts` that exports `function promote(statistics: Statistics, settings: Settings): void`
 * decides which attributes are hot, too. The columns of the WIT package are hidden in `abi.ts`. There is no clock, no randomness and no output.
 */
export { Plugin } from "./plugin";
export { AttributeStatistics, Statistics } from "./promotion";
export { Reading, Attribute } from "./reading";
export { Settings } from "./settings";
export { Value, ValueType, Decimal, shown } from "./value";
export { Verdict } from "./verdict";
