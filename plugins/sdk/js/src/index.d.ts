/** An exact decimal: `coefficient / 10^scale`. */
export class Decimal {
  constructor(coefficient: bigint, scale: number);
  /** Reads digits such as `-12.50`; trailing zeros are kept. */
  static parse(text: string): Decimal;
  readonly coefficient: bigint;
  /** How many of the digits stand after the point, 0 to 28. */
  readonly scale: number;
  /** -1, 0 or 1, by the number: 12.30 equals 12.3. */
  compare(other: Decimal): -1 | 0 | 1;
  /** The nearest double. */
  toNumber(): number;
  toString(): string;
}

/** A point in time. */
export class Timestamp {
  constructor(micros: bigint | number);
  static fromDate(date: Date): Timestamp;
  /** Microseconds since 1970-01-01T00:00:00Z. */
  readonly micros: bigint;
  /** Without what is below a millisecond. */
  toDate(): Date;
}

export type ValueType = "string" | "integer" | "float" | "decimal" | "boolean" | "timestamp";

/** A value by its attribute's type: `integer` is a bigint, `float` a number. */
export type Value = string | bigint | number | Decimal | boolean | Timestamp;

export interface Attribute {
  readonly name: string;
  readonly type: ValueType;
  /** Empty if none is set. */
  readonly unit: string;
  /** Its number in this batch. */
  readonly index: number;
}

/** One value with its surroundings. Belongs to one call of `validate`: do not keep it. */
export interface Reading {
  readonly value: Value;
  /** The number of an integer, float or decimal as a double, without the detour over a bigint
   * or Decimal where there is none; NaN for what is no number. */
  readonly number: number;
  readonly attribute: Attribute;
  /** The tenant's own name for the entity. */
  readonly entity: string;
  /** Empty if it is not known. */
  readonly entityType: string;
  /** Microseconds since 1970-01-01T00:00:00Z. */
  readonly observedAt: bigint;
  /** The value before, of attributes named in `previous`, if one is known. */
  readonly previous?: { readonly value: Value; readonly observedAt: bigint };
  /** The value of another attribute in the same reading. */
  sibling(attribute: string): Value | undefined;
}

export interface Verdict {
  /** Adds a value of another attribute, for the same entity and time. */
  derive(attribute: string, value: Value): Verdict;
}

/** The value is taken as it is. Returning nothing says the same. */
export function accept(): Verdict;
/** It is not taken: `code` for machines (`above_range`: snake case), `text` for people. */
export function reject(code: string, text: string): Verdict;
/** Another value is taken in its place. It must be of the attribute's type. */
export function replace(value: Value): Verdict;

/** What a plugin wants to see. Left out: everything, and no previous values. */
export interface Interest {
  attributes?: string[];
  entityTypes?: string[];
  previous?: string[];
}

/** What `range` and `oneOf` say, for each attribute that is named. */
export type Checks = Record<
  string,
  {
    min?: number | bigint | Decimal;
    max?: number | bigint | Decimal;
    oneOf?: readonly (string | number | bigint | boolean)[];
  }
>;

export interface Definition<Settings> extends Interest {
  /** Lower case letters, digits and hyphens. */
  name: string;
  /** By Semantic Versioning. */
  version: string;
  /** A JSON Schema of the settings, for people and forms. */
  settingsSchema?: object | string;
  /** Checks the settings and makes of them what `validate` works with; throws `SettingsFault`. */
  configure?(settings: Record<string, unknown>): Settings;
  /** What a plugin with these settings wants to see: at most what is named above. */
  interest?(settings: Settings): Interest;
  /** Checks that need no function, by the attribute's name, made before `validate`. Alone they cost
   * a third of it: no call is made for a value that passes. */
  checks?: Checks | ((settings: Settings) => Checks);
  /** Judges one value. What it throws fails the whole batch. May be left out if there are checks. */
  validate?(reading: Reading, settings: Settings): Verdict | undefined | void;
}

/** Settings that the plugin cannot work with: where, as `attributes.temperature.min`, and why. */
export class SettingsFault extends Error {
  constructor(path: string, message: string);
  readonly path: string;
}

/** Makes a plugin: `export const validation = plugin({ … })`. */
export function plugin<Settings = Record<string, unknown>>(definition: Definition<Settings>): object;

/** What is known of one attribute. Rates and counts are estimates over `windowSeconds`. */
export interface AttributeStatistics {
  readonly name: string;
  readonly type: ValueType;
  /** Empty if none is set. */
  readonly unit: string;
  /** Whether it is hot now: in the projection, fast to read and filter by, dearer to write. */
  readonly hot: boolean;
  /** Seconds since it became hot or ceased to be; since it was first seen if neither. */
  readonly settledSeconds: number;
  readonly writesPerSecond: number;
  /** Distinct entities with a value of it. */
  readonly entities: number;
  readonly distinctValues: number;
  /** How many writes changed the value, as a share from 0 to 1. */
  readonly changeRatio: number;
  /** Mean size of a value, in bytes. */
  readonly valueBytes: number;
  /** Queries per second that filter by it. */
  readonly filtersPerSecond: number;
  /** Queries per second that return it. */
  readonly returnsPerSecond: number;
  /** Mean time of the queries that name it, in milliseconds. */
  readonly queryMilliseconds: number;
  /** It becomes hot: `code` for machines (`read_often`: snake case), `text` for people. */
  promote(code: string, text: string): Promotion;
  /** It ceases to be hot. */
  demote(code: string, text: string): Promotion;
  /** It stays as it is, like an attribute that is not named, and here is why. */
  keep(code: string, text: string): Promotion;
}

/** What is known of a tenant's attributes. */
export interface Statistics {
  readonly windowSeconds: number;
  /** The tenant's entities. */
  readonly tenantEntities: number;
  /** How many bytes of hot values an entity may have. */
  readonly byteBudget: number;
  readonly attributes: readonly AttributeStatistics[];
}

/** What becomes of an attribute, made by the attribute's own `promote`, `demote` and `keep`. */
export interface Promotion {
  readonly verdict: "promote" | "demote" | "keep";
  readonly code: string;
  readonly text: string;
}

/** Makes a plugin decide which attributes are hot, too: `export const promotion = promoter({ … })`,
 * beside `validation`. `configure` is that of `plugin`. Attributes without a decision keep their
 * place; each may have one. */
export function promoter<Settings = Record<string, unknown>>(definition: {
  configure?(settings: Record<string, unknown>): Settings;
  promote(statistics: Statistics, settings: Settings): Promotion[] | undefined;
}): object;

/** Rejects what is outside (`below_range`, `above_range`, `not_a_number`); bounds are inside.
 * Exact for integers and decimals. */
export function range(
  reading: Reading,
  bounds: { min?: number | bigint | Decimal; max?: number | bigint | Decimal },
): Verdict | undefined;
/** Rejects what is none of these (`not_allowed`). */
export function oneOf(reading: Reading, allowed: readonly (string | number | bigint | boolean)[]): Verdict | undefined;
/** Rejects texts of another shape (`wrong_pattern`): `#` is a digit, `@` a letter, `?` any
 * character, `*` any number of them, `\` takes the next as it is. Never slow, unlike regular
 * expressions. */
export function pattern(reading: Reading, shape: string): Verdict | undefined;
/** Change per second since the previous value, if there is an earlier one. */
export function rate(reading: Reading): number | undefined;

/** The number in another unit: `convert(212, "degF", "degC")`. Throws for units that are not
 * known or measure different things. */
export function convert(number: number, from: string, to: string): number;
/** The units that are known. */
export const units: readonly string[];
