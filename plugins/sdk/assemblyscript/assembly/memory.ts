/** Lists of the component model's canonical ABI: an address and a length. */

const MAX_REASON_BYTES: i32 = 500;

/** Texts end to end, with the offsets where each starts. */
export class Texts {
  private blob: usize;
  private offsets: usize;
  private count: u32;

  /** At the address of a `texts` record. */
  constructor(at: usize) {
    this.blob = load<u32>(at);
    this.offsets = load<u32>(at, 8);
    this.count = load<u32>(at, 12);
  }

  at(index: u32): string {
    if (index + 1 >= this.count) return "";
    const from = load<u32>(this.offsets + (<usize>index << 2));
    const to = load<u32>(this.offsets + (<usize>index << 2), 4);
    return String.UTF8.decodeUnsafe(this.blob + from, to - from);
  }
}

/** A list that grows; its memory is where the host will read it. */
export class Column<T> {
  length: i32 = 0;
  private room: i32 = 0;
  private start: usize = 0;

  push(value: T): void {
    if (this.length == this.room) {
      const room = this.room * 2 + 16;
      const grown = heap.alloc(<usize>room * sizeof<T>());
      memory.copy(grown, this.start, <usize>this.length * sizeof<T>());
      this.start = grown;
      this.room = room;
    }
    store<T>(this.start + <usize>this.length * sizeof<T>(), value);
    this.length++;
  }

  /** Writes address and length. */
  lower(at: usize): void {
    store<u32>(at, <u32>this.start);
    store<u32>(at, <u32>this.length, 4);
  }
}

/** Writes a text: address and length in bytes. */
export function lowerText(at: usize, text: string): void {
  const bytes = String.UTF8.byteLength(text);
  const start = heap.alloc(bytes);
  String.UTF8.encodeUnsafe(changetype<usize>(text), text.length, start);
  store<u32>(at, <u32>start);
  store<u32>(at, <u32>bytes, 4);
}

/** Writes a list of texts: address and length. */
export function lowerTexts(at: usize, texts: string[]): void {
  const start = heap.alloc(<usize>texts.length << 3);
  for (let i = 0; i < texts.length; i++) lowerText(start + (<usize>i << 3), texts[i]);
  store<u32>(at, <u32>start);
  store<u32>(at, <u32>texts.length, 4);
}

/** Writes a list of reasons, code and text in turn: address and length. */
export function lowerReasons(at: usize, reasons: string[]): void {
  const start = heap.alloc(<usize>reasons.length << 3);
  for (let i = 0; i < reasons.length; i++) lowerText(start + (<usize>i << 3), reasons[i]);
  store<u32>(at, <u32>start);
  store<u32>(at, <u32>(reasons.length >> 1), 4);
}

/** Without control characters, and cut to what the platform takes. */
export function oneLine(text: string): string {
  let line = "";
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    line += c < 0x20 || c == 0x7f ? " " : text.charAt(i);
  }
  while (String.UTF8.byteLength(line) > MAX_REASON_BYTES) line = line.slice(0, line.length - 1);
  return line;
}
