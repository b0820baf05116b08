import { rateOf } from "./reading.js";
import { Decimal, numberOf, Timestamp } from "./value.js";
import { reject } from "./verdict.js";

function shown(value) {
  const text = value instanceof Timestamp ? value.toDate().toISOString() : String(value);
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}

/** Compares exactly: JavaScript compares bigints with numbers by their mathematical values. */
function compare(value, bound) {
  if (typeof value === "object" || typeof bound === "object") return decimal(value).compare(decimal(bound));
  return value < bound ? -1 : value > bound ? 1 : 0;
}

function decimal(number) {
  if (number instanceof Decimal) return number;
  if (typeof number === "bigint") return new Decimal(number, 0);
  // The shortest digits that read back as the same double; with an exponent, as many as fit.
  const text = String(number);
  return Decimal.parse(text.includes("e") ? number.toFixed(20) : text);
}

export function range(reading, bounds) {
  const { value } = reading;
  const { min, max } = bounds;
  if (typeof value === "number" && (min === undefined || value >= min) && (max === undefined || value <= max)) {
    // Between numbers and bigints, JavaScript compares exactly.
    if (typeof min !== "object" && typeof max !== "object") return undefined;
  }
  if (Number.isNaN(numberOf(value))) {
    return reject("not_a_number", `${shown(value)} is not a number, and there is a range`);
  }
  if (min !== undefined && compare(value, min) < 0) return reject("below_range", `${shown(value)} is below ${min}`);
  if (max !== undefined && compare(value, max) > 0) return reject("above_range", `${shown(value)} is above ${max}`);
  return undefined;
}

export function oneOf(reading, allowed) {
  const { value } = reading;
  if (allowed.includes(value)) return undefined;
  for (let i = 0; i < allowed.length; i++) {
    const one = allowed[i];
    if (typeof one !== typeof value && String(one) === String(value)) return undefined;
  }
  return reject("not_allowed", `${shown(value)} is none of ${allowed.join(", ")}`);
}

const CLASSES = {
  "#": (c) => c >= "0" && c <= "9",
  "@": (c) => (c >= "A" && c <= "Z") || (c >= "a" && c <= "z"),
  "?": () => true,
};

/** Whether the text has the shape; each step is one of both lengths at most, whatever the text. */
function fits(text, shape) {
  let t = 0;
  let s = 0;
  let star = -1;
  let mark = 0;
  while (t < text.length) {
    const escaped = shape[s] === "\\";
    const wanted = escaped ? shape[s + 1] : shape[s];
    if (!escaped && wanted === "*") {
      star = s++;
      mark = t;
    } else if (s < shape.length && (escaped ? wanted === text[t] : (CLASSES[wanted]?.(text[t]) ?? wanted === text[t]))) {
      s += escaped ? 2 : 1;
      t++;
    } else if (star >= 0) {
      s = star + 1;
      t = ++mark;
    } else {
      return false;
    }
  }
  while (shape[s] === "*") s++;
  return s === shape.length;
}

export function pattern(reading, shape) {
  const value = reading.value;
  if (typeof value === "string" && fits(value, shape)) return undefined;
  return reject("wrong_pattern", `${shown(value)} does not look like ${shape}`);
}

export function rate(reading) {
  const perSecond = rateOf(reading.number);
  return Number.isNaN(perSecond) ? undefined : perSecond;
}
