import { Decimal, Timestamp, TYPES } from "./value.js";

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
export const WORDS = 4294967296;

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
    this.entity = batch.entity;
    this.attribute = batch.attribute;
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

  value(row) {
    return this.decode(this.attributes[this.attribute[row]].type, this.batch.bits[row]);
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
