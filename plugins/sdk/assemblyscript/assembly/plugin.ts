import { Reading } from "./reading";
import { Settings } from "./settings";
import { Verdict } from "./verdict";

/** What you extend. */
export abstract class Plugin {
  /** Lower case letters, digits and hyphens. */
  abstract name(): string;
  /** Such as `1.0.0`. */
  abstract version(): string;
  /** Judges one value. */
  abstract validate(reading: Reading): Verdict;

  /** Takes the settings over; call `settings.fault` for what is wrong with them. */
  configure(settings: Settings): void {}

  /** The only attributes it wants to see; null for all. */
  attributes(): string[] | null {
    return null;
  }

  /** The only types of entities it wants to see; null for all. */
  entityTypes(): string[] | null {
    return null;
  }

  /** The attributes whose previous value it wants to see. */
  previous(): string[] {
    return [];
  }

  /** A JSON Schema of its settings; empty if it takes none. */
  settingsSchema(): string {
    return "";
  }
}
