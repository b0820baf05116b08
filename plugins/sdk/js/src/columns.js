import { Decimal, numberOf, Timestamp, TYPES } from "./value.js";

/** Texts end to end, with offsets in bytes of UTF-8 while the text is UTF-16 here. */
export class Texts {
  constructor({ blob, offsets }) {
    this.blob = blob;
    // As many bytes as units: all of it is ASCII, and both count the same.
    const ascii = offsets.length === 0 || offsets[offsets.length - 1] === blob.length;
    this.starts = ascii ? offsets : unitOffsets(blob, offsets);
  }

  at(index) {
    return index + 1 < this.starts.length ? this.blob.slice(this.starts[index], this.starts[index + 1]) : "";
  }
}

function unitOffsets(blob, offsets) {
  const starts = new Uint32Array(offsets.length);
  let [bytes, unit] = [0, 0];
  for (let i = 0; i < offsets.length; i++) {
    while (bytes < offsets[i] && unit < blob.length) {
      const code = blob.codePointAt(unit);
      bytes += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
      unit += code < 0x10000 ? 1 : 2;
    }
    starts[i] = unit;
  }
  return starts;
}

/** What the upper half of a 64-bit number counts. */
const WORDS = 4294967296;

/** The halves of 64-bit numbers, the lower first: reading them makes no bigint. */
export function wordsOf(numbers) {
  return new Int32Array(numbers.buffer, numbers.byteOffset, numbers.length * 2);
}

/** `a[i] - b[j]`, exact up to 2^53, of what `wordsOf` shows. */
export function apart(a, i, b, j) {
  return (a[2 * i + 1] - b[2 * j + 1]) * WORDS + ((a[2 * i] >>> 0) - (b[2 * j] >>> 0));
}

/** The rows of a call. */
export class Columns {
  constructor(batch) {
    this.batch = batch;
    this.rows = batch.bits.length;
    this.floats = new Float64Array(batch.bits.buffer, batch.bits.byteOffset, batch.bits.length);
    this.words = wordsOf(batch.bits);
    this.times = wordsOf(batch.observedAt);
    this.externalIds = new Texts(batch.entities.externalIds);
    this.entityTypes = new Texts(batch.entities.types);
    this.texts = new Texts(batch.texts);
    const [names, units] = [new Texts(batch.attributes.names), new Texts(batch.attributes.units)];
    this.attributes = Array.from(batch.attributes.types, (type, index) => ({
      index,
      name: names.at(index),
      type: typeof type === "string" ? type : TYPES[type],
      unit: units.at(index),
    }));
  }

  attribute(row) {
    return this.attributes[this.batch.attribute[row]];
  }

  value(row, { type } = this.attribute(row)) {
    if (type === "float") return this.floats[row];
    if (type === "string") return this.texts.at(this.words[2 * row] >>> 0);
    return this.decode(type, this.batch.bits[row]);
  }

  /** Rounded once, like `Number` of the bigint. */
  number(row, { type } = this.attribute(row)) {
    if (type === "float") return this.floats[row];
    if (type === "integer") return this.words[2 * row + 1] * WORDS + (this.words[2 * row] >>> 0);
    return numberOf(this.decode(type, this.batch.bits[row]));
  }

  decode(type, bits) {
    switch (type) {
      case "string":
        return this.texts.at(Number(bits));
      case "integer":
        return BigInt.asIntN(64, bits);
      case "float":
        return floatOf(bits);
      case "decimal": {
        const { low, high, scale } = this.batch.decimals;
        const at = Number(bits);
        return Decimal.fromParts(low[at], high[at], scale[at]);
      }
      case "boolean":
        return bits !== 0n;
      default:
        return new Timestamp(BigInt.asIntN(64, bits));
    }
  }
}

const shared = new DataView(new ArrayBuffer(8));

function floatOf(bits) {
  shared.setBigUint64(0, bits);
  return shared.getFloat64(0);
}

export function bitsOf(number) {
  shared.setFloat64(0, number);
  return shared.getBigUint64(0);
}

/** One value with its surroundings; the same object shows each row in turn. */
export class Reading {
  constructor(columns, history) {
    this.columns = columns;
    this.history = history;
    this.row = this.first = this.end = 0;
    this.attribute = undefined;
  }

  get value() {
    return this.columns.value(this.row, this.attribute);
  }

  get number() {
    return this.columns.number(this.row, this.attribute);
  }

  get entity() {
    return this.columns.externalIds.at(this.columns.batch.entity[this.row]);
  }

  get entityType() {
    return this.columns.entityTypes.at(this.columns.batch.entity[this.row]);
  }

  get observedAt() {
    return this.columns.batch.observedAt[this.row];
  }

  get previous() {
    return this.history?.previous();
  }

  sibling(attribute) {
    const { columns, row } = this;
    if (row >= this.end) this.surround();
    for (let other = this.first; other < this.end; other++) {
      if (columns.attribute(other).name === attribute) return columns.value(other);
    }
    return undefined;
  }

  /** Finds the rows of the same entity and time around this one; rows are shown in order. */
  surround() {
    const { columns, row } = this;
    const { entity } = columns.batch;
    const same = (other) => entity[other] === entity[row] && apart(columns.times, other, columns.times, row) === 0;
    let [first, end] = [row, row + 1];
    while (first > 0 && same(first - 1)) first--;
    while (end < columns.rows && same(end)) end++;
    this.first = first;
    this.end = end;
  }
}
