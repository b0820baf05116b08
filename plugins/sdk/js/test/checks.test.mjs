// `node --test`: declared checks say what `range` and `oneOf` say of each value.
import assert from "node:assert";
import test from "node:test";
import { Decimal, oneOf, plugin, range } from "../src/index.js";

const ROWS = 400;
const TYPES = ["float", "string", "integer", "decimal", "boolean"];
const STATES = ["online", "offline", "größer 🌡", ""];
const RULES = [
  {},
  { min: -5, max: 100 },
  { min: -10n },
  { max: Decimal.parse("12.50") },
  { oneOf: ["online", ""] },
  { oneOf: ["offline"], min: 0 },
  { oneOf: [true, 5, "0.5"] },
];

function texts(all) {
  const offsets = [0];
  for (const text of all) offsets.push(offsets.at(-1) + new TextEncoder().encode(text).length);
  return { blob: all.join(""), offsets: Uint32Array.from(offsets) };
}

/** Values of all types; the numbers go through all bounds. */
function batch(names, types) {
  const floats = new DataView(new ArrayBuffer(8));
  const bits = (row) => {
    const number = (row * 37) % 240 - 120;
    switch (types[row % names.length]) {
      case "float":
        floats.setFloat64(0, number / 4);
        return floats.getBigUint64(0);
      case "string":
        return BigInt(row % STATES.length);
      case "integer":
        return BigInt.asUintN(64, BigInt(number));
      case "boolean":
        return BigInt(row & 1);
      default:
        return BigInt(row);
    }
  };
  const rows = Array.from({ length: ROWS }, (_, row) => row);
  return {
    entities: { externalIds: texts(["e"]), types: texts(["pump"]) },
    attributes: { names: texts(names), units: texts(names.map(() => "")), types },
    entity: new Uint32Array(ROWS),
    attribute: Uint32Array.from(rows, (row) => row % names.length),
    observedAt: new BigInt64Array(ROWS),
    bits: BigUint64Array.from(rows, bits),
    previous: { row: new Uint32Array(0), observedAt: new BigInt64Array(0), bits: new BigUint64Array(0) },
    texts: texts(STATES),
    decimals: {
      low: BigUint64Array.from(rows, (row) => BigInt(row) * 10n),
      high: new BigInt64Array(ROWS),
      scale: new Uint8Array(ROWS).fill(2),
    },
  };
}

/** The same rules as a function. */
function byHand(rules) {
  return (reading) => {
    const { min, max, oneOf: allowed } = rules[reading.attribute.name] ?? {};
    const refused = allowed && oneOf(reading, allowed);
    return refused ?? (min === undefined && max === undefined ? undefined : range(reading, { min, max }));
  };
}

const judged = (definition, values) => plugin({ name: "x", version: "1.0.0", ...definition }).validate(values, "{}");

for (const rule of RULES) {
  const shown = JSON.stringify(rule, (_, value) => (typeof value === "bigint" ? `${value}n` : value));
  test(`checks ${shown}`, () => {
    const names = [...TYPES, "other", "constructor"];
    const types = [...TYPES, "float", "string"];
    const rules = Object.fromEntries(TYPES.map((name) => [name, rule]));
    const values = batch(names, types);
    const wanted = judged({ validate: byHand({ __proto__: null, ...rules }) }, values);
    assert.deepStrictEqual(judged({ checks: rules }, values), wanted);
    assert.deepStrictEqual(judged({ checks: () => rules, validate: () => undefined }, values), wanted);
    assert.strictEqual(wanted.rejectedRow.length > 0, Object.keys(rule).length > 0);
  });
}

test("what passes the checks is shown to validate", () => {
  const seen = [];
  const validate = ({ value }) => void seen.push(value);
  const values = batch(["float"], ["float"]);
  const { rejectedRow } = judged({ checks: { float: { min: 0 } }, validate }, values);
  assert.strictEqual(seen.length + rejectedRow.length, ROWS);
  assert.ok(seen.every((value) => value >= 0));
});

test("a plugin judges by something", () => {
  assert.throws(() => plugin({ name: "x", version: "1.0.0" }), /a function validate, or checks/);
});
