/** Which attributes are hot: what a plugin is told, and what it decides. */
import { Column, Texts, lowerReasons, oneLine } from "./memory";
import { ValueType } from "./value";

/** Where the fields of the WIT record `statistics` stand, in bytes from its beginning. */
enum At {
  WindowSeconds = 0,
  TenantEntities = 8,
  ByteBudget = 16,
  Names = 20,
  Types = 36,
  Units = 44,
  Hot = 60,
  SettledSeconds = 68,
  WritesPerSecond = 76,
  Entities = 84,
  DistinctValues = 92,
  ChangeRatio = 100,
  ValueBytes = 108,
  FiltersPerSecond = 116,
  ReturnsPerSecond = 124,
  QueryMilliseconds = 132,
}

/** Bytes of the record, up to what follows it. */
export const STATISTICS_BYTES: usize = 144;

/** What becomes of an attribute, numbered as in the WIT package. */
enum Place {
  Keep,
  Promote,
  Demote,
  Unsaid,
}

/** What is known of one attribute. Rates and counts are estimates over the statistics' window. */
export class AttributeStatistics {
  name: string = "";
  type: ValueType = ValueType.String;
  /** Empty if none is set. */
  unit: string = "";
  /** Whether it is hot now: in the projection, fast to read and filter by, dearer to write. */
  hot: bool = false;
  /** Seconds since it became hot or ceased to be; since it was first seen if neither. */
  settledSeconds: f64 = 0;
  writesPerSecond: f64 = 0;
  /** Distinct entities with a value of it. */
  entities: u64 = 0;
  distinctValues: u64 = 0;
  /** How many writes changed the value, as a share from 0 to 1. */
  changeRatio: f64 = 0;
  /** Mean size of a value, in bytes. */
  valueBytes: f64 = 0;
  /** Queries per second that filter by it. */
  filtersPerSecond: f64 = 0;
  /** Queries per second that return it. */
  returnsPerSecond: f64 = 0;
  /** Mean time of the queries that name it, in milliseconds. */
  queryMilliseconds: f64 = 0;

  private place: Place = Place.Unsaid;
  private code: string = "";
  private text: string = "";

  /** It becomes hot: `code` for machines (`read_often`: snake case), `text` for people. */
  promote(code: string, text: string): void {
    this.decide(Place.Promote, code, text);
  }

  /** It ceases to be hot. */
  demote(code: string, text: string): void {
    this.decide(Place.Demote, code, text);
  }

  /** It stays as it is, like an attribute of which nothing is said, and here is why. */
  keep(code: string, text: string): void {
    this.decide(Place.Keep, code, text);
  }

  private decide(place: Place, code: string, text: string): void {
    this.place = place;
    this.code = code;
    this.text = oneLine(text);
  }

  /** Adds what was said to the columns of a decision. */
  lower(row: u32, rows: Column<u32>, verdicts: Column<u8>, reasons: string[]): void {
    if (this.place == Place.Unsaid) return;
    rows.push(row);
    verdicts.push(<u8>this.place);
    reasons.push(this.code);
    reasons.push(this.text);
  }
}

/** What is known of a tenant's attributes. */
export class Statistics {
  /** The time the rates were taken over. */
  readonly windowSeconds: f64;
  /** The tenant's entities. */
  readonly tenantEntities: u64;
  /** How many bytes of hot values an entity may have. */
  readonly byteBudget: u32;
  readonly attributes: AttributeStatistics[];
  /** Why nothing could be decided; empty while all is well. */
  failure: string = "";

  /** At the address of a `statistics` record. */
  constructor(at: usize) {
    this.windowSeconds = load<f64>(at, At.WindowSeconds);
    this.tenantEntities = load<u64>(at, At.TenantEntities);
    this.byteBudget = load<u32>(at, At.ByteBudget);
    const names = new Texts(at + At.Names);
    const units = new Texts(at + At.Units);
    this.attributes = new Array<AttributeStatistics>(0);
    const count = load<i32>(at, At.Types + 4);
    for (let i = 0; i < count; i++) {
      const attribute = new AttributeStatistics();
      attribute.name = names.at(i);
      attribute.type = <ValueType>item<u8>(at + At.Types, i);
      attribute.unit = units.at(i);
      attribute.hot = item<u8>(at + At.Hot, i) != 0;
      attribute.settledSeconds = item<f64>(at + At.SettledSeconds, i);
      attribute.writesPerSecond = item<f64>(at + At.WritesPerSecond, i);
      attribute.entities = item<u64>(at + At.Entities, i);
      attribute.distinctValues = item<u64>(at + At.DistinctValues, i);
      attribute.changeRatio = item<f64>(at + At.ChangeRatio, i);
      attribute.valueBytes = item<f64>(at + At.ValueBytes, i);
      attribute.filtersPerSecond = item<f64>(at + At.FiltersPerSecond, i);
      attribute.returnsPerSecond = item<f64>(at + At.ReturnsPerSecond, i);
      attribute.queryMilliseconds = item<f64>(at + At.QueryMilliseconds, i);
      this.attributes.push(attribute);
    }
  }

  /** Writes the WIT record `decision`. */
  lower(at: usize): void {
    const rows = new Column<u32>();
    const verdicts = new Column<u8>();
    const reasonOf = new Column<u32>();
    const reasons: string[] = [];
    for (let i = 0; i < this.attributes.length; i++) this.attributes[i].lower(i, rows, verdicts, reasons);
    for (let i = 0; i < rows.length; i++) reasonOf.push(i);
    rows.lower(at);
    verdicts.lower(at + 8);
    reasonOf.lower(at + 16);
    lowerReasons(at + 24, reasons);
  }
}

/** One item of the list whose address and length stand at `at`. */
function item<T>(at: usize, index: i32): T {
  return load<T>(<usize>load<u32>(at) + <usize>index * sizeof<T>());
}
