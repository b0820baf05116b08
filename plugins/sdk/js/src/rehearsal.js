import { Answer } from "./answer.js";
import { Columns } from "./columns.js";
import { judge } from "./reading.js";
import { TYPES } from "./value.js";
import { reject, replace } from "./verdict.js";

const texts = (blob, count) => ({
  blob,
  offsets: Uint32Array.from({ length: count + 1 }, (_, i) => (i * blob.length) / count),
});

/** Judges a few values of each type while the component is built. A function is compiled when it is
 * called for the first time, and each instance starts as the build left it: what ran there need not
 * be compiled in each call. The author's functions are not called. */
export function rehearse() {
  const rows = 4 * TYPES.length;
  const batch = {
    entities: { externalIds: texts("a", 1), types: texts("a", 1) },
    attributes: { names: texts("abcdef", 6), types: TYPES, units: texts("abcdef", 6) },
    entity: new Uint32Array(rows),
    attribute: Uint32Array.from({ length: rows }, (_, row) => row % TYPES.length),
    observedAt: new BigInt64Array(rows),
    bits: new BigUint64Array(rows),
    previous: { row: Uint32Array.of(0), observedAt: new BigInt64Array(1), bits: new BigUint64Array(1) },
    texts: texts("a", 1),
    decimals: { low: new BigUint64Array(1), high: new BigInt64Array(1), scale: new Uint8Array(1) },
  };
  const answer = new Answer();
  const validate = (reading) => {
    const { value, number, previous } = reading;
    if (number === 0 && previous !== undefined) return replace(value);
    return reading.sibling("b") === "a" ? reject("a", "a").derive("g", value) : undefined;
  };
  judge(new Columns(batch), { validate }, {}, ["a", "b"], answer);
  judge(new Columns(batch), { validate }, {}, [], answer);
  judge(new Columns(batch), { checks: { a: { min: 0 }, b: { oneOf: ["b"] } } }, {}, [], answer);
  answer.finish();
}
