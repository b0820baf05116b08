import { typeOf } from "./value.js";

/** What becomes of a value, and what is derived from it. */
class Verdict {
  constructor(code, text, replacement) {
    this.code = code;
    this.text = text;
    this.replacement = replacement;
    /** Names and values in turn. */
    this.derived = undefined;
  }

  derive(attribute, value) {
    const verdict = this === ACCEPTED ? new Verdict() : this;
    typeOf(value);
    (verdict.derived ??= []).push(String(attribute), value);
    return verdict;
  }
}

/** One for all: accepting is by far the most frequent verdict. */
export const ACCEPTED = Object.freeze(new Verdict());

export function accept() {
  return ACCEPTED;
}

export function reject(code, text) {
  return new Verdict(String(code), String(text), undefined);
}

export function replace(value) {
  typeOf(value);
  return new Verdict(undefined, undefined, value);
}
