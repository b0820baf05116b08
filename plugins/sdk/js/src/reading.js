import { oneOf, range } from "./checks.js";
import { apart, WORDS } from "./columns.js";
import { History } from "./history.js";
import { numberOf } from "./value.js";
import { ACCEPTED } from "./verdict.js";

// An interpreter runs this, for which a variable costs a tenth of a property, a property a third of
// a call, and taking an array apart or `for … of` as much as ten calls. So what changes with each row
// is kept in variables of this module, and a reading has as properties what is asked of it most: the
// attribute, which each reading is made for, and the number of a float.

/** The rows of this call, and what is known of values before; one batch is judged at a time. */
let columns;
let history;
/** The row that is shown. */
let row = 0;
/** The value before: `earlier + 1` of a row, `-entry - 1` of a value given, 0 for none. */
let before = 0;
/** Microseconds since the value before, if there is one. */
let elapsed = 0;

/** A value with its surroundings; the same object shows each value of an attribute in turn. */
class Reading {
  constructor(attribute) {
    this.attribute = attribute;
  }

  get entity() {
    return columns.externalIds.at(columns.entity[row]);
  }

  get entityType() {
    return columns.entityTypes.at(columns.entity[row]);
  }

  get observedAt() {
    return columns.batch.observedAt[row];
  }

  get previous() {
    return before === 0 ? undefined : history.value(before, this.attribute.type);
  }

  sibling(name) {
    let other = row;
    while (other > 0 && together(other - 1)) other--;
    for (; other < columns.rows && together(other); other++) {
      if (columns.attributes[columns.attribute[other]].name === name) return columns.value(other);
    }
    return undefined;
  }
}

/** Whether another row is of the same entity and time as the one that is shown. */
function together(other) {
  return columns.entity[other] === columns.entity[row] && apart(columns.times, other, columns.times, row) === 0;
}

class FloatReading extends Reading {
  constructor(attribute) {
    super(attribute);
    this.value = this.number = 0;
  }
}

class IntegerReading extends Reading {
  get value() {
    return columns.value(row);
  }

  /** Rounded once, like `Number` of the bigint. */
  get number() {
    return columns.words[2 * row + 1] * WORDS + (columns.words[2 * row] >>> 0);
  }
}

class StringReading extends Reading {
  constructor(attribute) {
    super(attribute);
    this.last = this.other = "";
  }

  /** Most texts are those of a value before: comparing costs less than cutting out. */
  get value() {
    const { blob, starts } = columns.texts;
    const index = columns.words[2 * row];
    const start = starts[index];
    const length = starts[index + 1] - start;
    const { last } = this;
    if (last.length === length && blob.startsWith(last, start)) return last;
    const { other } = this;
    this.other = last;
    this.last = other.length === length && blob.startsWith(other, start) ? other : blob.substr(start, length);
    return this.last;
  }

  get number() {
    return NaN;
  }
}

class OtherReading extends Reading {
  get value() {
    return columns.value(row);
  }

  get number() {
    return numberOf(columns.value(row));
  }
}

const READINGS = { float: FloatReading, integer: IntegerReading, string: StringReading };

/** Change per second since the value before the one that is shown, which is `number`. */
export function rateOf(number) {
  if (before === 0 || !(elapsed > 0)) return undefined;
  return (number - history.number(before, columns.attributes[columns.attribute[row]].type)) / (elapsed / 1e6);
}

/** Shows all rows to the definition's `checks`, then to its `validate`; `answer` gets the verdicts. */
export function judge(batch, { checks, validate }, settings, previous, answer) {
  columns = batch;
  history = History.of(batch, previous);
  before = elapsed = 0;
  const readings = batch.attributes.map((one) => new (READINGS[one.type] ?? OtherReading)(one));
  const isFloat = batch.attributes.map(({ type }) => type === "float");
  const rules = rulesOf(typeof checks === "function" ? checks(settings) : checks);
  if (rules !== undefined && validate === undefined) return byRules(rules, readings, answer);
  const both = (reading) => kept(reading, rules[reading.attribute.index]) ?? validate(reading, settings);
  const judged = rules === undefined ? validate : both;
  if (history === undefined) rowByRow(judged, settings, readings, isFloat, answer);
  else rowAfterRow(judged, settings, readings, isFloat, answer);
}

/** For each attribute what the checks say of it. */
function rulesOf(checks) {
  if (checks === undefined) return undefined;
  return columns.attributes.map(({ name }) => (Object.hasOwn(checks, name) ? checks[name] : undefined));
}

function kept(reading, rule) {
  if (rule === undefined) return undefined;
  const refused = rule.oneOf === undefined ? undefined : oneOf(reading, rule.oneOf);
  return refused ?? (rule.min === undefined && rule.max === undefined ? undefined : range(reading, rule));
}

const isNumber = (bound) => bound === undefined || typeof bound === "number";

/** Checks alone, on the columns themselves: a value that passes costs no call. */
function byRules(rules, readings, answer) {
  const { rows, attribute, attributes, floats, words } = columns;
  const { blob, starts } = columns.texts;
  const isFloat = attributes.map(({ type }) => type === "float");
  const lows = rules.map((rule, i) => (isFloat[i] && isNumber(rule?.min) ? (rule?.min ?? -Infinity) : NaN));
  const highs = rules.map((rule, i) => (isFloat[i] && isNumber(rule?.max) ? (rule?.max ?? Infinity) : NaN));
  const isPlain = rules.map((rule, i) => isFloat[i] && rule?.oneOf === undefined);
  const texts = rules.map((rule, i) =>
    attributes[i].type === "string" && rule?.min === undefined && rule?.max === undefined ? rule?.oneOf : undefined,
  );
  /** The text that was allowed last. */
  const last = texts.map((allowed) => allowed?.find((one) => typeof one === "string") ?? "");
  for (row = 0; row < rows; row++) {
    const index = attribute[row];
    const rule = rules[index];
    if (rule === undefined) continue;
    const reading = readings[index];
    if (isFloat[index]) {
      const number = floats[row];
      if (isPlain[index] && number >= lows[index] && number <= highs[index]) continue;
      reading.value = reading.number = number;
    } else if (texts[index] !== undefined) {
      const text = last[index];
      const start = starts[words[2 * row]];
      if (text.length === starts[words[2 * row] + 1] - start && blob.startsWith(text, start)) {
        if (text !== "" || texts[index].includes("")) continue;
      }
    }
    const refused = kept(reading, rule);
    if (refused !== undefined) answer.add(row, attributes[index].type, refused);
    else if (texts[index] !== undefined && texts[index].includes(reading.value)) last[index] = reading.value;
  }
}

/** Without values before. */
function rowByRow(validate, settings, readings, isFloat, answer) {
  const { rows, attribute, attributes, floats } = columns;
  for (row = 0; row < rows; row++) {
    const index = attribute[row];
    const reading = readings[index];
    if (isFloat[index]) reading.value = reading.number = floats[row];
    const verdict = validate(reading, settings);
    if (verdict === undefined || verdict === ACCEPTED || verdict === null) continue;
    answer.add(row, attributes[index].type, verdict);
  }
}

function rowAfterRow(validate, settings, readings, isFloat, answer) {
  const { rows, entity, attribute, attributes, floats, times } = columns;
  const { slots, asked, latest, givenRow, givenTimes, replaced } = history;
  /** How many of the values given were for rows that have been shown. */
  let next = 0;
  for (row = 0; row < rows; row++) {
    const index = attribute[row];
    const reading = readings[index];
    if (isFloat[index]) reading.value = reading.number = floats[row];
    const slot = slots[index];
    const place = entity[row] * asked + slot;
    before = 0;
    if (slot >= 0) {
      before = latest[place] | 0;
      if (givenRow[next] === row) {
        next++;
        if (before === 0) before = latest[place] = -next;
      }
      if (before !== 0) {
        const earlier = before > 0 ? times : givenTimes;
        const at = 2 * (before > 0 ? before : -before) - 2;
        elapsed = (times[2 * row + 1] - earlier[at + 1]) * WORDS + ((times[2 * row] >>> 0) - (earlier[at] >>> 0));
      }
    }
    const verdict = validate(reading, settings);
    const plain = verdict === undefined || verdict === ACCEPTED || verdict === null;
    if (!plain) answer.add(row, attributes[index].type, verdict);
    // What was taken is the latest, if it does not come late.
    if (slot >= 0 && (before === 0 || elapsed >= 0) && (plain || verdict.code === undefined)) {
      latest[place] = row + 1;
      if (!plain && verdict.replacement !== undefined) replaced.set(row, verdict.replacement);
    }
  }
}
