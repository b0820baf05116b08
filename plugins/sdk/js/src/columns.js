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

/** The rows of a call. */
export class Columns {
  constructor(batch) {
    this.batch = batch;
    this.rows = batch.bits.length;
    this.floats = new Float64Array(batch.bits.buffer, batch.bits.byteOffset, batch.bits.length);
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

  value(row) {
    const { type } = this.attribute(row);
    return type === "float" ? this.floats[row] : this.decode(type, this.batch.bits[row]);
  }

  number(row) {
    const { type } = this.attribute(row);
    return type === "float" ? this.floats[row] : numberOf(this.decode(type, this.batch.bits[row]));
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
  constructor(columns) {
    this.columns = columns;
    this.row = this.first = this.end = 0;
    this.previous = undefined;
  }

  get value() {
    return this.columns.value(this.row);
  }

  get number() {
    return this.columns.number(this.row);
  }

  get attribute() {
    return this.columns.attribute(this.row);
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

  sibling(attribute) {
    for (let row = this.first; row < this.end; row++) {
      if (this.columns.attribute(row).name === attribute) return this.columns.value(row);
    }
    return undefined;
  }
}
