import { Batch } from "./batch";
import { Value, ValueType } from "./value";

/** The attribute a value is of. */
export class Attribute {
  constructor(
    /** Its number in this batch. */
    public index: i32,
    public name: string,
    public type: ValueType,
    /** Empty if none is set. */
    public unit: string,
  ) {}
}

/** One value with its surroundings. Belongs to one call of `validate`: do not keep it. */
export class Reading {
  row: i32 = 0;
  first: i32 = 0;
  end: i32 = 0;
  /** The value before, of the same entity and attribute; null if none is known. */
  previous: Value | null = null;
  /** When it was seen, in microseconds since 1970. */
  previousAt: i64 = 0;

  constructor(private batch: Batch) {}

  get value(): Value {
    return this.batch.value(this.row);
  }

  get attribute(): Attribute {
    return this.batch.attributeOf(this.row);
  }

  /** The tenant's own name for the entity. */
  get entity(): string {
    return this.batch.externalIds.at(this.batch.entityOf(this.row));
  }

  /** The entity's type; empty if it is not known. */
  get entityType(): string {
    return this.batch.entityTypes.at(this.batch.entityOf(this.row));
  }

  /** When it was seen, in microseconds since 1970-01-01T00:00:00Z. */
  get observedAt(): i64 {
    return this.batch.observedAt(this.row);
  }

  /** The value of another attribute in the same reading; null if there is none. */
  sibling(attribute: string): Value | null {
    for (let row = this.first; row < this.end; row++) {
      if (this.batch.attributeOf(row).name == attribute) return this.batch.value(row);
    }
    return null;
  }

  /** Change per second since the previous value; NaN if there is none or it is not earlier. */
  ratePerSecond(): f64 {
    const previous = this.previous;
    if (!previous || this.previousAt >= this.observedAt) return NaN;
    return (this.value.toF64() - previous.toF64()) / (<f64>(this.observedAt - this.previousAt) / 1e6);
  }
}
