import { Texts } from "./memory";
import { Attribute } from "./reading";
import { Decimal, Value, ValueType } from "./value";

/** Where the fields of the WIT record `batch` stand, in bytes from its beginning. */
enum At {
  ExternalIds = 0,
  EntityTypes = 16,
  AttributeNames = 32,
  AttributeTypes = 48,
  AttributeUnits = 56,
  Entity = 72,
  Attribute = 80,
  ObservedAt = 88,
  Bits = 96,
  PreviousRow = 104,
  PreviousObservedAt = 112,
  PreviousBits = 120,
  Texts = 128,
  Low = 144,
  High = 152,
  Scale = 160,
}

/** The columns of a call. */
export class Batch {
  readonly externalIds: Texts;
  readonly entityTypes: Texts;
  readonly attributes: Attribute[];
  readonly rows: i32;
  readonly entities: i32;
  private texts: Texts;
  private entity: usize;
  private attribute: usize;
  private observed: usize;
  private bits: usize;

  constructor(private at: usize) {
    this.externalIds = new Texts(at + At.ExternalIds);
    this.entityTypes = new Texts(at + At.EntityTypes);
    this.texts = new Texts(at + At.Texts);
    this.entity = load<u32>(at, At.Entity);
    this.attribute = load<u32>(at, At.Attribute);
    this.observed = load<u32>(at, At.ObservedAt);
    this.bits = load<u32>(at, At.Bits);
    this.rows = load<i32>(at, At.Bits + 4);
    // One offset more than there are texts.
    this.entities = load<i32>(at, At.EntityTypes + 12);
    const names = new Texts(at + At.AttributeNames);
    const units = new Texts(at + At.AttributeUnits);
    const types: usize = load<u32>(at, At.AttributeTypes);
    const count = load<i32>(at, At.AttributeTypes + 4);
    this.attributes = new Array<Attribute>(0);
    for (let i = 0; i < count; i++) {
      const type = <ValueType>load<u8>(types + i);
      this.attributes.push(new Attribute(i, names.at(i), type, units.at(i)));
    }
  }

  @inline entityOf(row: i32): u32 {
    return load<u32>(this.entity + (<usize>row << 2));
  }

  @inline attributeOf(row: i32): Attribute {
    return this.attributes[load<i32>(this.attribute + (<usize>row << 2))];
  }

  @inline observedAt(row: i32): i64 {
    return load<i64>(this.observed + (<usize>row << 3));
  }

  value(row: i32): Value {
    return this.valueOf(this.attributeOf(row).type, load<u64>(this.bits + (<usize>row << 3)));
  }

  private valueOf(type: ValueType, bits: u64): Value {
    if (type == ValueType.String) return Value.string(this.texts.at(<u32>bits));
    if (type == ValueType.Decimal) {
      const low: usize = load<u32>(this.at, At.Low);
      const high: usize = load<u32>(this.at, At.High);
      const scale: usize = load<u32>(this.at, At.Scale);
      const index = <usize>bits;
      return Value.decimal(
        new Decimal(load<u64>(low + (index << 3)), load<i64>(high + (index << 3)), load<u8>(scale + index)),
      );
    }
    return new Value(type, bits);
  }

  /** How many rows have a previous value. */
  get previousCount(): i32 {
    return load<i32>(this.at, At.PreviousRow + 4);
  }

  previousRow(entry: i32): i32 {
    return load<i32>(<usize>load<u32>(this.at, At.PreviousRow) + (<usize>entry << 2));
  }

  previousAt(entry: i32): i64 {
    return load<i64>(<usize>load<u32>(this.at, At.PreviousObservedAt) + (<usize>entry << 3));
  }

  previousValue(entry: i32): Value {
    const bits = load<u64>(<usize>load<u32>(this.at, At.PreviousBits) + (<usize>entry << 3));
    return this.valueOf(this.attributeOf(this.previousRow(entry)).type, bits);
  }
}
