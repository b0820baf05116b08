/** Types of attributes, in the order of the WIT package. */
export const TYPES = ["string", "integer", "float", "decimal", "boolean", "timestamp"];

const LOW = (1n << 64n) - 1n;
const DIGITS = /^(-?)(\d+)(?:\.(\d+))?$/;

/** An exact decimal: a coefficient and how many of its digits stand after the point. */
export class Decimal {
  constructor(coefficient, scale) {
    if (typeof coefficient !== "bigint" || !(scale >= 0 && scale <= 28)) {
      throw new RangeError("a decimal has a bigint as its coefficient and a scale from 0 to 28");
    }
    this.coefficient = coefficient;
    this.scale = scale;
  }

  static parse(text) {
    const found = DIGITS.exec(text);
    if (!found) throw new RangeError(`${JSON.stringify(text)} is not a decimal such as "-12.50"`);
    const [, sign, whole, fraction = ""] = found;
    return new Decimal(BigInt(sign + whole + fraction), fraction.length);
  }

  static fromParts(low, high, scale) {
    return new Decimal((high << 64n) | low, scale);
  }

  parts() {
    return { low: this.coefficient & LOW, high: this.coefficient >> 64n, scale: this.scale };
  }

  /** -1, 0 or 1, by the number: 12.30 equals 12.3. */
  compare(other) {
    const a = this.coefficient * 10n ** BigInt(other.scale);
    const b = other.coefficient * 10n ** BigInt(this.scale);
    return a < b ? -1 : a > b ? 1 : 0;
  }

  toNumber() {
    return Number(this.toString());
  }

  toString() {
    const negative = this.coefficient < 0n;
    const digits = (negative ? -this.coefficient : this.coefficient).toString().padStart(this.scale + 1, "0");
    const whole = digits.slice(0, digits.length - this.scale);
    const fraction = this.scale ? `.${digits.slice(digits.length - this.scale)}` : "";
    return (negative ? "-" : "") + whole + fraction;
  }
}

/** A point in time: microseconds since 1970-01-01T00:00:00Z. */
export class Timestamp {
  constructor(micros) {
    this.micros = BigInt(micros);
  }

  static fromDate(date) {
    return new Timestamp(BigInt(date.getTime()) * 1000n);
  }

  toDate() {
    return new Date(Number(this.micros / 1000n));
  }
}

/** The type of a value as the SDK represents it. */
export function typeOf(value) {
  switch (typeof value) {
    case "string":
      return "string";
    case "bigint":
      return "integer";
    case "number":
      return "float";
    case "boolean":
      return "boolean";
  }
  if (value instanceof Decimal) return "decimal";
  if (value instanceof Timestamp) return "timestamp";
  throw new TypeError(`${String(value)} is no value: use a string, bigint, number, boolean, Decimal or Timestamp`);
}

/** The number of an integer, float or decimal as a double; NaN for what is no number. */
export function numberOf(value) {
  if (typeof value === "number") return value;
  if (typeof value === "bigint") return Number(value);
  return value instanceof Decimal ? value.toNumber() : NaN;
}
