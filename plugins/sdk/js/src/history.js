/** The previous values of the rows: those given, and those of rows before in the call. */
export class History {
  constructor(columns, names) {
    this.columns = columns;
    this.asked = columns.attributes.map(({ name }) => names.includes(name));
    this.none = !this.asked.includes(true);
    this.known = new Map();
    this.next = 0;
  }

  find(reading) {
    if (this.none) return;
    const { batch, attributes } = this.columns;
    const { row } = reading;
    const entry = this.next;
    const given = entry < batch.previous.row.length && batch.previous.row[entry] === row;
    if (given) this.next++;
    reading.previous = undefined;
    if (!this.asked[batch.attribute[row]]) return;
    const key = this.key(row);
    if (given && !this.known.has(key)) {
      const value = this.columns.decode(attributes[batch.attribute[row]].type, batch.previous.bits[entry]);
      this.known.set(key, { value, observedAt: batch.previous.observedAt[entry] });
    }
    reading.previous = this.known.get(key);
  }

  /** After a row was taken: what comes late is not the latest. */
  remember(reading, replacement) {
    if (this.none || !this.asked[this.columns.batch.attribute[reading.row]]) return;
    const { observedAt } = reading;
    if (reading.previous && reading.previous.observedAt > observedAt) return;
    this.known.set(this.key(reading.row), { value: replacement ?? reading.value, observedAt });
  }

  key(row) {
    const { entity, attribute } = this.columns.batch;
    return entity[row] * this.asked.length + attribute[row];
  }
}
