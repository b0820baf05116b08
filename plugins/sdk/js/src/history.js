import { wordsOf } from "./columns.js";
import { numberOf } from "./value.js";

/** With more pairs of entity and attribute than this, only those that have a value take room. */
const MOST_PLACES = 1 << 21;

/** The previous values of the rows: those given, and those of rows before in the call. Which
 * they are is remembered as numbers: `row + 1` of a row, `-entry - 1` of a value given, 0 for none. */
export class History {
  /** Nothing if none of the attributes is among the names. */
  static of(columns, names) {
    let asked = 0;
    const slots = columns.attributes.map(({ name }) => (names.includes(name) ? asked++ : -1));
    return asked > 0 ? new History(columns, slots, asked) : undefined;
  }

  constructor(columns, slots, asked) {
    this.columns = columns;
    /** For each attribute its number among those asked for; -1 if it is not. */
    this.slots = slots;
    this.asked = asked;
    this.given = columns.batch.previous;
    this.givenRow = this.given.row;
    this.givenTimes = wordsOf(this.given.observedAt);
    const places = asked * Math.max(columns.externalIds.starts.length - 1, 0);
    /** By `entity * asked + slot`. */
    this.latest = places <= MOST_PLACES ? new Int32Array(places) : [];
    this.replaced = new Map();
  }

  /** A value before, and when that was. */
  value(before, type) {
    const { columns, given } = this;
    if (before > 0) return { value: this.taken(before - 1), observedAt: columns.batch.observedAt[before - 1] };
    return { value: columns.decode(type, given.bits[-before - 1]), observedAt: given.observedAt[-before - 1] };
  }

  /** A value before as a double. */
  number(before, type) {
    if (before > 0 && type === "float" && this.replaced.size === 0) return this.columns.floats[before - 1];
    return numberOf(this.value(before, type).value);
  }

  /** The value that was taken of a row before. */
  taken(row) {
    return this.replaced.get(row) ?? this.columns.value(row);
  }
}
