/**
 * Write a plugin for Eaves in AssemblyScript: a class with a function over one value.
 *
 * Extend `Plugin`, export `function plugin(): Plugin`, and run `eaves plugin build`. The columns
 * of the WIT package are hidden in `abi.ts`. There is no clock, no randomness and no output.
 */
export { Plugin } from "./plugin";
export { Reading, Attribute } from "./reading";
export { Settings } from "./settings";
export { Value, ValueType, Decimal, shown } from "./value";
export { Verdict } from "./verdict";
