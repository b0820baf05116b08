import { bitsOf } from "./columns.js";
import { typeOf } from "./value.js";

const MAX_REASON_BYTES = 500;

const encoder = new TextEncoder();
const CONTROL = /[\0-\x1f\x7f-\x9f]/;
const CONTROLS = /[\0-\x1f\x7f-\x9f]/g;

/** Without control characters, and cut to what the platform takes. */
export function oneLine(text) {
  const line = CONTROL.test(text) ? text.replace(CONTROLS, " ") : text;
  // A unit of UTF-16 becomes three bytes at most.
  if (line.length * 3 <= MAX_REASON_BYTES) return line;
  const { read } = encoder.encodeInto(line, new Uint8Array(MAX_REASON_BYTES));
  return line.slice(0, read);
}

/** How many bytes each text takes in UTF-8. */
function utf8Lengths(texts, blob) {
  if (encoder.encode(blob).length === blob.length) return texts.map(({ length }) => length);
  return texts.map((text) => encoder.encode(text).length);
}

/** Collects verdicts into the columns of a decision. */
export class Answer {
  rejectedRow = [];
  rejectedReason = [];
  reasons = [];
  reasonIndex = new Map();
  replacedRow = [];
  replacedBits = [];
  derivedRow = [];
  derivedAttribute = [];
  derivedBits = [];
  derivedAttributes = [];
  texts = [];
  decimals = [];

  /** Adds the verdict on a row, whose attribute holds values of `type`. */
  add(row, type, verdict) {
    if (verdict.code !== undefined) {
      this.rejectedRow.push(row);
      this.rejectedReason.push(this.reason(verdict.code, verdict.text));
    } else if (verdict.replacement !== undefined) {
      const got = typeOf(verdict.replacement);
      if (got !== type) throw new TypeError(`row ${row}: a value of type ${got} cannot replace one of type ${type}`);
      this.replacedRow.push(row);
      this.replacedBits.push(this.bits(verdict.replacement));
    }
    const { derived } = verdict;
    for (let i = 0; derived !== undefined && i < derived.length; i += 2) {
      const value = derived[i + 1];
      this.derivedRow.push(row);
      this.derivedAttribute.push(this.attribute(derived[i], typeOf(value)));
      this.derivedBits.push(this.bits(value));
    }
  }

  reason(code, text) {
    const key = `${code}\n${text}`;
    let index = this.reasonIndex.get(key);
    if (index === undefined) {
      index = this.reasons.push({ code, text: oneLine(text) }) - 1;
      this.reasonIndex.set(key, index);
    }
    return index;
  }

  attribute(name, type) {
    const known = this.derivedAttributes.findIndex((attribute) => attribute.name === name);
    if (known < 0) return this.derivedAttributes.push({ name, type }) - 1;
    const first = this.derivedAttributes[known].type;
    if (first !== type) throw new TypeError(`derived attribute ${name} is a ${first} here and a ${type} there`);
    return known;
  }

  bits(value) {
    switch (typeOf(value)) {
      case "string":
        return BigInt(this.texts.push(value) - 1);
      case "integer":
        return BigInt.asUintN(64, value);
      case "float":
        if (!Number.isFinite(value)) throw new RangeError(`${value} cannot be stored`);
        return bitsOf(value);
      case "decimal":
        return BigInt(this.decimals.push(value.parts()) - 1);
      case "boolean":
        return value ? 1n : 0n;
      default:
        return BigInt.asUintN(64, value.micros);
    }
  }

  finish() {
    const blob = this.texts.join("");
    const offsets = new Uint32Array(this.texts.length && this.texts.length + 1);
    const lengths = utf8Lengths(this.texts, blob);
    for (let i = 0; i < lengths.length; i++) offsets[i + 1] = offsets[i] + lengths[i];
    return {
      rejectedRow: Uint32Array.from(this.rejectedRow),
      rejectedReason: Uint32Array.from(this.rejectedReason),
      reasons: this.reasons,
      replacedRow: Uint32Array.from(this.replacedRow),
      replacedBits: BigUint64Array.from(this.replacedBits),
      derivedRow: Uint32Array.from(this.derivedRow),
      derivedAttribute: Uint32Array.from(this.derivedAttribute),
      derivedBits: BigUint64Array.from(this.derivedBits),
      derivedAttributes: this.derivedAttributes,
      texts: { blob, offsets },
      decimals: {
        low: BigUint64Array.from(this.decimals, ({ low }) => low),
        high: BigInt64Array.from(this.decimals, ({ high }) => high),
        scale: Uint8Array.from(this.decimals, ({ scale }) => scale),
      },
    };
  }
}
