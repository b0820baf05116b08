/** The exported functions of `eaves:rules/validation` and `promotion`, by the component model's canonical ABI. */
import { Answer } from "./answer";
import { Batch } from "./batch";
import { lowerText, lowerTexts } from "./memory";
import { Plugin } from "./plugin";
import { Statistics, STATISTICS_BYTES } from "./promotion";
import { Reading } from "./reading";
import { Settings } from "./settings";
import { Value } from "./value";

const BATCH_BYTES: usize = 168;

/** Memory for what the host passes in. Nothing is freed: an instance lives for one call. */
export function realloc(old: usize, oldSize: usize, align: usize, newSize: usize): usize {
  const memory_ = heap.alloc(newSize);
  memory.copy(memory_, old, oldSize < newSize ? oldSize : newSize);
  return memory_;
}

export function describe(plugin: Plugin): usize {
  const at = zeroed(56);
  lowerText(at, plugin.name());
  lowerText(at + 8, plugin.version());
  lowerInterest(at + 16, plugin);
  lowerText(at + 48, plugin.settingsSchema());
  return at;
}

export function configure(plugin: Plugin, json: usize, length: usize): usize {
  const at = zeroed(36);
  const settings = new Settings(String.UTF8.decodeUnsafe(json, length));
  if (!settings.message.length) plugin.configure(settings);
  if (settings.message.length) {
    store<u8>(at, 1);
    lowerText(at + 4, settings.path);
    lowerText(at + 12, settings.message);
  } else {
    lowerInterest(at + 4, plugin);
  }
  return at;
}

export function validate(plugin: Plugin, args: usize): usize {
  const at = zeroed(116);
  const json = String.UTF8.decodeUnsafe(load<u32>(args, BATCH_BYTES), load<u32>(args, BATCH_BYTES + 4));
  const settings = new Settings(json);
  if (!settings.message.length) plugin.configure(settings);
  if (settings.message.length) {
    store<u8>(at, 1);
    lowerText(at + 8, settings.path);
    lowerText(at + 16, settings.message);
    return at;
  }
  const answer = judge(plugin, new Batch(args));
  if (answer.failure.length) {
    store<u8>(at, 1);
    store<u8>(at, 1, 4);
    lowerText(at + 8, answer.failure);
  } else {
    answer.lower(at + 4);
  }
  return at;
}

/** `eaves:rules/promotion`, for projects that have `assembly/promotion.ts`. */
export function promote(
  plugin: Plugin,
  decide: (statistics: Statistics, settings: Settings) => void,
  args: usize,
): usize {
  const at = zeroed(36);
  const json = load<u32>(args, STATISTICS_BYTES);
  const settings = new Settings(String.UTF8.decodeUnsafe(json, load<u32>(args, STATISTICS_BYTES + 4)));
  if (!settings.message.length) plugin.configure(settings);
  const statistics = new Statistics(args);
  if (!settings.message.length) decide(statistics, settings);
  if (settings.message.length) statistics.failure = "settings: " + settings.path + ": " + settings.message;
  if (statistics.failure.length) {
    store<u8>(at, 1);
    lowerText(at + 4, statistics.failure);
  } else {
    statistics.lower(at + 4);
  }
  return at;
}

function judge(plugin: Plugin, batch: Batch): Answer {
  const answer = new Answer();
  const reading = new Reading(batch);
  const history = new History(plugin, batch);
  for (let row = 0; row < batch.rows; row++) {
    if (row == reading.end) {
      const entity = batch.entityOf(row);
      const time = batch.observedAt(row);
      let end = row + 1;
      while (end < batch.rows && batch.entityOf(end) == entity && batch.observedAt(end) == time) end++;
      reading.first = row;
      reading.end = end;
    }
    reading.row = row;
    history.find(reading);
    const verdict = plugin.validate(reading);
    answer.add(row, batch.attributeOf(row).type, verdict);
    if (answer.failure.length) break;
    if (!verdict.code.length) history.remember(reading, verdict.replacement);
  }
  return answer;
}

/** The previous values of the rows: those given, and those of rows before in the call. */
class History {
  private asked: StaticArray<i32>;
  private askedCount: i32;
  private values: StaticArray<Value | null>;
  private times: StaticArray<i64>;
  private next: i32 = 0;
  private slot: i32 = -1;

  constructor(plugin: Plugin, private batch: Batch) {
    const names = plugin.previous();
    const asked = new StaticArray<i32>(batch.attributes.length);
    let count = 0;
    for (let i = 0; i < batch.attributes.length; i++) {
      asked[i] = names.includes(batch.attributes[i].name) ? count++ : -1;
    }
    this.asked = asked;
    this.askedCount = count;
    this.values = new StaticArray<Value | null>(batch.entities * count);
    this.times = new StaticArray<i64>(batch.entities * count);
  }

  find(reading: Reading): void {
    reading.previous = null;
    const given = this.next < this.batch.previousCount && this.batch.previousRow(this.next) == reading.row;
    const entry = this.next;
    if (given) this.next++;
    const asked = this.asked[this.batch.attributeOf(reading.row).index];
    this.slot = asked < 0 ? -1 : <i32>this.batch.entityOf(reading.row) * this.askedCount + asked;
    if (this.slot < 0) return;
    if (given && !this.values[this.slot]) {
      this.values[this.slot] = this.batch.previousValue(entry);
      this.times[this.slot] = this.batch.previousAt(entry);
    }
    reading.previous = this.values[this.slot];
    reading.previousAt = this.times[this.slot];
  }

  /** After a row was taken: what comes late is not the latest. */
  remember(reading: Reading, replacement: Value | null): void {
    if (this.slot < 0 || (reading.previous && reading.previousAt > reading.observedAt)) return;
    this.values[this.slot] = replacement ? replacement : reading.value;
    this.times[this.slot] = reading.observedAt;
  }
}

function lowerInterest(at: usize, plugin: Plugin): void {
  const attributes = plugin.attributes();
  if (attributes) {
    store<u8>(at, 1);
    lowerTexts(at + 4, attributes);
  }
  const types = plugin.entityTypes();
  if (types) {
    store<u8>(at, 1, 12);
    lowerTexts(at + 16, types);
  }
  lowerTexts(at + 24, plugin.previous());
}

function zeroed(bytes: usize): usize {
  const at = heap.alloc(bytes);
  memory.fill(at, 0, bytes);
  return at;
}
