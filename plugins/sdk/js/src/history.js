import { apart, wordsOf } from "./columns.js";
import { numberOf } from "./value.js";

/** The previous values of the rows: those given, and those of rows before in the call. Which
 * they are is remembered as numbers: `row + 1` of a row, `-entry - 1` of a value given. */
export class History {
  /** Nothing if none of the attributes is among the names. */
  static of(columns, names) {
    const asked = columns.attributes.map(({ name }) => names.includes(name));
    return asked.includes(true) ? new History(columns, asked) : undefined;
  }

  constructor(columns, asked) {
    this.columns = columns;
    this.asked = asked;
    this.given = columns.batch.previous;
    this.givenTimes = wordsOf(this.given.observedAt);
    this.known = new Map();
    this.replaced = new Map();
    this.next = this.key = this.at = this.row = 0;
  }

  /** Goes to a row; rows are shown in order. */
  show(row) {
    const { entity, attribute } = this.columns.batch;
    const given = this.given.row[this.next] === row ? ++this.next : 0;
    this.row = row;
    this.at = 0;
    if (!this.asked[attribute[row]]) return;
    this.key = entity[row] * this.asked.length + attribute[row];
    const known = this.known.get(this.key);
    this.at = known ?? -given;
    if (known === undefined && given > 0) this.known.set(this.key, this.at);
  }

  /** The value before the row that is shown. */
  previous() {
    const { at, columns } = this;
    if (at === 0) return undefined;
    if (at > 0) return { value: this.taken(at - 1), observedAt: columns.batch.observedAt[at - 1] };
    const { bits, observedAt } = this.given;
    const value = columns.decode(columns.attribute(this.row).type, bits[-at - 1]);
    return { value, observedAt: observedAt[-at - 1] };
  }

  /** Microseconds since the value before; NaN if there is none. */
  elapsed() {
    const { at, columns } = this;
    if (at === 0) return NaN;
    return at > 0
      ? apart(columns.times, this.row, columns.times, at - 1)
      : apart(columns.times, this.row, this.givenTimes, -at - 1);
  }

  /** The value before as a double. */
  number() {
    const { at } = this;
    if (at > 0 && this.replaced.size === 0) return this.columns.number(at - 1);
    return numberOf(this.previous().value);
  }

  /** The value that was taken of a row before. */
  taken(row) {
    return this.replaced.get(row) ?? this.columns.value(row);
  }

  /** After the row that is shown was taken: what comes late is not the latest. */
  remember(replacement) {
    if (!this.asked[this.columns.batch.attribute[this.row]] || this.elapsed() < 0) return;
    this.known.set(this.key, this.row + 1);
    if (replacement !== undefined) this.replaced.set(this.row, replacement);
  }
}
