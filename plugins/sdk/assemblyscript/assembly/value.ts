/** Types of attributes, numbered as in the WIT package. */
export enum ValueType {
  String,
  Integer,
  Float,
  Decimal,
  Boolean,
  Timestamp,
}

/** `(high * 2^64 + low) / 10^scale`, exactly. */
export class Decimal {
  constructor(public low: u64, public high: i64, public scale: u8) {}

  /** The nearest double, give or take the last digit. */
  toF64(): f64 {
    return (<f64>this.high * 18446744073709551616.0 + <f64>this.low) / 10.0 ** <f64>this.scale;
  }
}

/** One value, of its attribute's type. */
export class Value {
  /** Text, when `type` is `String`. */
  text: string = "";
  /** The digits, when `type` is `Decimal`. */
  decimal: Decimal | null = null;

  constructor(
    public type: ValueType,
    /** As in the column: see `batch.bits` in the WIT package. Texts and decimals have none. */
    public bits: u64 = 0,
  ) {}

  static string(text: string): Value {
    const value = new Value(ValueType.String);
    value.text = text;
    return value;
  }

  static decimal(decimal: Decimal): Value {
    const value = new Value(ValueType.Decimal);
    value.decimal = decimal;
    return value;
  }

  static integer(integer: i64): Value {
    return new Value(ValueType.Integer, <u64>integer);
  }

  /** Must not be NaN or infinite. */
  static float(number: f64): Value {
    return new Value(ValueType.Float, reinterpret<u64>(number));
  }

  static boolean(flag: bool): Value {
    return new Value(ValueType.Boolean, flag ? 1 : 0);
  }

  /** Microseconds since 1970-01-01T00:00:00Z. */
  static timestamp(micros: i64): Value {
    return new Value(ValueType.Timestamp, <u64>micros);
  }

  @inline get integer(): i64 {
    return <i64>this.bits;
  }

  @inline get float(): f64 {
    return reinterpret<f64>(this.bits);
  }

  @inline get boolean(): bool {
    return this.bits != 0;
  }

  /** The number of an integer, float or decimal; NaN for what is no number. */
  toF64(): f64 {
    if (this.type == ValueType.Float) return this.float;
    if (this.type == ValueType.Integer) return <f64>this.integer;
    const decimal = this.decimal;
    if (this.type == ValueType.Decimal && decimal) return decimal.toF64();
    return NaN;
  }
}

/** A number for people: without the `.0` of a whole one. */
export function shown(number: f64): string {
  const text = number.toString();
  return text.endsWith(".0") ? text.slice(0, text.length - 2) : text;
}
