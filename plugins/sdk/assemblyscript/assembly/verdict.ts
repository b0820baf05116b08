import { Value } from "./value";

/** What becomes of a value, and what is derived from it. */
export class Verdict {
  code: string = "";
  text: string = "";
  replacement: Value | null = null;
  derivedNames: string[] | null = null;
  derivedValues: Value[] | null = null;

  /** The value is taken as it is. */
  static accept(): Verdict {
    return ACCEPTED;
  }

  /** It is not taken: `code` for machines (`above_range`), `text` for people (one line). */
  static reject(code: string, text: string): Verdict {
    const verdict = new Verdict();
    verdict.code = code;
    verdict.text = text;
    return verdict;
  }

  /** Another value of the same type is taken in its place. */
  static replace(value: Value): Verdict {
    const verdict = new Verdict();
    verdict.replacement = value;
    return verdict;
  }

  /** Adds a value of another attribute, for the same entity and time. */
  andDerive(attribute: string, value: Value): Verdict {
    const verdict: Verdict = this == ACCEPTED ? new Verdict() : this;
    let names = verdict.derivedNames;
    let values = verdict.derivedValues;
    if (!names || !values) {
      names = [];
      values = [];
      verdict.derivedNames = names;
      verdict.derivedValues = values;
    }
    names.push(attribute);
    values.push(value);
    return verdict;
  }
}

/** One for all: accepting is by far the most frequent verdict. */
export const ACCEPTED = new Verdict();
