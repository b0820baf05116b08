import { Column, lowerReasons, lowerText, oneLine } from "./memory";
import { Value, ValueType } from "./value";
import { ACCEPTED, Verdict } from "./verdict";

/** Collects verdicts into the columns of a decision. */
export class Answer {
  /** Why the batch could not be judged; empty while all is well. */
  failure: string = "";
  private rejectedRow: Column<u32> = new Column<u32>();
  private rejectedReason: Column<u32> = new Column<u32>();
  private reasons: string[] = [];
  private reasonIndex: Map<string, u32> = new Map<string, u32>();
  private replacedRow: Column<u32> = new Column<u32>();
  private replacedBits: Column<u64> = new Column<u64>();
  private derivedRow: Column<u32> = new Column<u32>();
  private derivedAttribute: Column<u32> = new Column<u32>();
  private derivedBits: Column<u64> = new Column<u64>();
  private derivedNames: string[] = [];
  private derivedTypes: ValueType[] = [];
  private texts: string[] = [];
  private low: Column<u64> = new Column<u64>();
  private high: Column<i64> = new Column<i64>();
  private scale: Column<u8> = new Column<u8>();

  /** Adds the verdict on a row, whose attribute holds values of `type`. */
  add(row: i32, type: ValueType, verdict: Verdict): void {
    if (verdict == ACCEPTED) return;
    const replacement = verdict.replacement;
    if (verdict.code.length) {
      this.rejectedRow.push(row);
      this.rejectedReason.push(this.reason(verdict.code, oneLine(verdict.text)));
    } else if (replacement) {
      if (replacement.type != type) {
        this.failure = "row " + row.toString() + ": a value was replaced by one of another type";
        return;
      }
      this.replacedRow.push(row);
      this.replacedBits.push(this.bits(replacement));
    }
    const names = verdict.derivedNames;
    const values = verdict.derivedValues;
    if (!names || !values) return;
    for (let i = 0; i < names.length; i++) {
      this.derivedRow.push(row);
      this.derivedAttribute.push(this.attribute(names[i], values[i].type));
      this.derivedBits.push(this.bits(values[i]));
    }
  }

  private reason(code: string, text: string): u32 {
    const key = code + "\n" + text;
    if (this.reasonIndex.has(key)) return this.reasonIndex.get(key);
    const index = <u32>(this.reasons.length >> 1);
    this.reasons.push(code);
    this.reasons.push(text);
    this.reasonIndex.set(key, index);
    return index;
  }

  private attribute(name: string, type: ValueType): u32 {
    const known = this.derivedNames.indexOf(name);
    if (known >= 0) {
      if (this.derivedTypes[known] != type) this.failure = "derived attribute " + name + " has two types";
      return known;
    }
    this.derivedNames.push(name);
    this.derivedTypes.push(type);
    return this.derivedNames.length - 1;
  }

  private bits(value: Value): u64 {
    if (value.type == ValueType.String) {
      this.texts.push(value.text);
      return this.texts.length - 1;
    }
    const decimal = value.decimal;
    if (decimal) {
      this.low.push(decimal.low);
      this.high.push(decimal.high);
      this.scale.push(decimal.scale);
      return this.low.length - 1;
    }
    if (value.type == ValueType.Float && !isFinite(value.float)) this.failure = "a number to be stored is NaN or infinite";
    return value.bits;
  }

  /** Writes the WIT record `decision`. */
  lower(at: usize): void {
    this.rejectedRow.lower(at);
    this.rejectedReason.lower(at + 8);
    lowerReasons(at + 16, this.reasons);
    this.replacedRow.lower(at + 24);
    this.replacedBits.lower(at + 32);
    this.derivedRow.lower(at + 40);
    this.derivedAttribute.lower(at + 48);
    this.derivedBits.lower(at + 56);
    this.lowerDerived(at + 64);
    this.lowerTexts(at + 72);
    this.low.lower(at + 88);
    this.high.lower(at + 96);
    this.scale.lower(at + 104);
  }

  private lowerDerived(at: usize): void {
    const start = heap.alloc(<usize>this.derivedNames.length * 12);
    for (let i = 0; i < this.derivedNames.length; i++) {
      lowerText(start + <usize>i * 12, this.derivedNames[i]);
      store<u8>(start + <usize>i * 12, <u8>this.derivedTypes[i], 8);
    }
    store<u32>(at, <u32>start);
    store<u32>(at, <u32>this.derivedNames.length, 4);
  }

  private lowerTexts(at: usize): void {
    const offsets = new Column<u32>();
    if (this.texts.length) offsets.push(0);
    let bytes = 0;
    for (let i = 0; i < this.texts.length; i++) {
      bytes += String.UTF8.byteLength(this.texts[i]);
      offsets.push(bytes);
    }
    const start = heap.alloc(bytes);
    let to = start;
    for (let i = 0; i < this.texts.length; i++) {
      const text = this.texts[i];
      to += String.UTF8.encodeUnsafe(changetype<usize>(text), text.length, to);
    }
    store<u32>(at, <u32>start);
    store<u32>(at, <u32>bytes, 4);
    offsets.lower(at + 8);
  }
}
