/**
 * Settings: the fields of one JSON object, read where they stand. A field of another type than
 * asked for is a fault; one that is not there gives what is named for that case.
 */
export class Settings {
  /** The first fault; empty while there is none. */
  message: string = "";
  path: string = "";

  constructor(private json: string) {
    const after = this.valueEnd(this.space(0), 0);
    if (this.at(this.space(0)) != 0x7b || after < 0 || this.space(after) != json.length) {
      this.fault("", "not a JSON object");
    }
  }

  /** Says that a field is wrong; the first fault counts. */
  fault(path: string, message: string): void {
    if (this.message.length) return;
    this.path = path;
    this.message = message;
  }

  number(field: string, otherwise: f64): f64 {
    const text = this.field(field);
    if (text.length == 0) return otherwise;
    const first = text.charCodeAt(0);
    const number = first == 0x2d || (first >= 0x30 && first <= 0x39) ? parseFloat(text) : NaN;
    if (isNaN(number)) this.fault(field, "expected a number, found " + text.slice(0, 40));
    return number;
  }

  boolean(field: string, otherwise: bool): bool {
    const text = this.field(field);
    if (text == "true") return true;
    if (text.length && text != "false") this.fault(field, "expected true or false, found " + text.slice(0, 40));
    return text.length ? false : otherwise;
  }

  string(field: string, otherwise: string): string {
    const text = this.field(field);
    if (text.length == 0) return otherwise;
    if (text.charCodeAt(0) == 0x22) return this.unescape(field, text);
    this.fault(field, "expected a text, found " + text.slice(0, 40));
    return otherwise;
  }

  /** The JSON of a field as it stands; empty if it is not there. */
  private field(name: string): string {
    if (this.message.length) return "";
    let at = this.space(this.space(0) + 1);
    while (this.at(at) == 0x22) {
      const nameEnd = this.stringEnd(at);
      const value = this.space(this.space(nameEnd) + 1);
      const end = this.valueEnd(value, 1);
      if (this.json.slice(at + 1, nameEnd - 1) == name) return this.json.slice(value, end);
      at = this.space(this.space(end) + 1);
    }
    return "";
  }

  private unescape(field: string, text: string): string {
    let plain = "";
    for (let i = 1; i < text.length - 1; i++) {
      let c = text.charCodeAt(i);
      if (c == 0x5c) {
        c = text.charCodeAt(++i);
        if (c == 0x75) {
          const code = parseInt(text.slice(i + 1, i + 5), 16);
          if (isNaN(code)) this.fault(field, "has an escape that is none");
          c = <i32>code;
          i += 4;
        } else {
          const known = "bfnrt".indexOf(String.fromCharCode(c));
          if (known >= 0) c = "\b\f\n\r\t".charCodeAt(known);
        }
      }
      plain += String.fromCharCode(c);
    }
    return plain;
  }

  private at(index: i32): i32 {
    return index >= 0 && index < this.json.length ? this.json.charCodeAt(index) : -1;
  }

  private space(at: i32): i32 {
    while (this.at(at) == 0x20 || this.at(at) == 0x0a || this.at(at) == 0x0d || this.at(at) == 0x09) at++;
    return at;
  }

  // These return what comes after, or -1 if the text is not JSON.

  private stringEnd(at: i32): i32 {
    if (this.at(at) != 0x22) return -1;
    for (at++; at < this.json.length; at++) {
      const c = this.at(at);
      if (c == 0x22) return at + 1;
      if (c < 0x20) return -1;
      if (c == 0x5c) at++;
    }
    return -1;
  }

  private listEnd(at: i32, depth: i32, close: i32, names: bool): i32 {
    at = this.space(at + 1);
    if (this.at(at) == close) return at + 1;
    while (at >= 0 && at < this.json.length) {
      if (names) {
        const name = this.stringEnd(this.space(at));
        if (name < 0) return -1;
        at = this.space(name);
        if (this.at(at) != 0x3a) return -1;
        at++;
      }
      at = this.valueEnd(at, depth + 1);
      if (at < 0) return -1;
      at = this.space(at);
      if (this.at(at) == close) return at + 1;
      if (this.at(at) != 0x2c) return -1;
      at++;
    }
    return -1;
  }

  private valueEnd(from: i32, depth: i32): i32 {
    let at = this.space(from);
    if (depth > 32) return -1;
    const c = this.at(at);
    if (c == 0x7b) return this.listEnd(at, depth, 0x7d, true);
    if (c == 0x5b) return this.listEnd(at, depth, 0x5d, false);
    if (c == 0x22) return this.stringEnd(at);
    for (let i = 0; i < 3; i++) {
      const word = i == 0 ? "true" : i == 1 ? "false" : "null";
      if (this.json.slice(at, at + word.length) == word) return at + word.length;
    }
    const start = at;
    while (this.at(at) >= 0 && "+-.eE0123456789".includes(this.json.charAt(at))) at++;
    return at > start ? at : -1;
  }
}
