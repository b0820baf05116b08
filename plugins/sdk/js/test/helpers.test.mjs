// `node --test`: patterns, units and rates of change.
import assert from "node:assert";
import test from "node:test";
import { convert, pattern, plugin, rate, units } from "../src/index.js";

test("a pattern is the whole text's shape", () => {
  for (const [text, shape, fits] of [
    ["AB-1234", "@@-####", true],
    ["AB-123", "@@-####", false],
    ["AB-12345", "@@-####", false],
    ["1B-1234", "@@-####", false],
    ["pump 7", "pump ?", true],
    ["pump ", "pump ?", false],
    ["", "*", true],
    ["", "", true],
    ["x", "", false],
    ["a.b.c", "*.c", true],
    ["a.b.cd", "*.c", false],
    ["a*b", "a\\*b", true],
    ["axb", "a\\*b", false],
    ["#1", "\\##", true],
    ["11", "\\##", false],
  ]) {
    const verdict = pattern({ value: text }, shape);
    assert.strictEqual(verdict === undefined, fits, `${text} as ${shape}`);
    if (!fits) assert.match(JSON.stringify(verdict), /wrong_pattern/);
  }
  assert.match(JSON.stringify(pattern({ value: 7 }, "#")), /wrong_pattern/);
});

test("a pattern of many stars is not slow", () => {
  // A regular expression that goes back would try some 10^40 ways.
  assert.notStrictEqual(pattern({ value: "a".repeat(2000) }, `${"*a".repeat(30)}*b`), undefined);
});

test("units are converted and come back", () => {
  for (const [number, from, to, wanted] of [
    [212, "degF", "degC", 100],
    [-40, "degC", "degF", -40],
    [273.15, "K", "degC", 0],
    [1, "bar", "kPa", 100],
    [36, "km/h", "m/s", 10],
    [1, "ft", "m", 0.3048],
    [1, "kWh", "MJ", 3.6],
  ]) {
    assert.ok(Math.abs(convert(number, from, to) - wanted) < 1e-9, `${number} ${from} = ${convert(number, from, to)} ${to}`);
  }
  for (const from of units) {
    for (const to of units) {
      let there;
      try {
        there = convert(12.5, from, to);
      } catch (e) {
        assert.match(e.message, /cannot be converted/);
        continue;
      }
      assert.ok(Math.abs(convert(there, to, from) - 12.5) < 1e-9, `${from} ${to}`);
    }
  }
  assert.throws(() => convert(1, "degC", "furlong"), /furlong is not a known unit/);
  assert.throws(() => convert(1, "degC", "bar"), /one is a temperature, the other a pressure/);
});

test("a rate is the change per second since the value before", () => {
  const numbers = [10, 12, 12, 6];
  const text = (one) => ({ blob: one, offsets: Uint32Array.from([0, new TextEncoder().encode(one).length]) });
  const values = {
    entities: { externalIds: text("e"), types: text("pump") },
    attributes: { names: text("level"), units: text(""), types: ["float"] },
    entity: new Uint32Array(numbers.length),
    attribute: new Uint32Array(numbers.length),
    // The third is no later than the second.
    observedAt: BigInt64Array.from([0n, 2_000_000n, 2_000_000n, 5_000_000n]),
    bits: new BigUint64Array(Float64Array.from(numbers).buffer),
    previous: { row: new Uint32Array(0), observedAt: new BigInt64Array(0), bits: new BigUint64Array(0) },
    texts: { blob: "", offsets: Uint32Array.from([0]) },
    decimals: { low: new BigUint64Array(0), high: new BigInt64Array(0), scale: new Uint8Array(0) },
  };
  const rates = [];
  const validate = (reading) => void rates.push(rate(reading));
  plugin({ name: "x", version: "1.0.0", previous: ["level"], validate }).validate(values, "{}");
  assert.deepStrictEqual(rates, [undefined, 1, undefined, -2]);
});
