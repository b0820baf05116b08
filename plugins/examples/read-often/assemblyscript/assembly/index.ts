// Takes every value, and decides which attributes are hot: see promotion.ts.
import { Plugin, Reading, Settings, Verdict } from "../.eaves/sdk/assemblyscript/assembly";

class ReadOften extends Plugin {
  name(): string {
    return "read-often";
  }

  version(): string {
    return "1.0.0";
  }

  // No value is of interest: the plugin is never called for one.
  attributes(): string[] | null {
    return [];
  }

  settingsSchema(): string {
    return '{"type": "object", "properties": {"worth": {"type": "number", "exclusiveMinimum": 0}}}';
  }

  configure(settings: Settings): void {
    if (settings.number("worth", 1) <= 0) settings.fault("worth", "must be above 0");
  }

  validate(reading: Reading): Verdict {
    return Verdict.accept();
  }
}

export function plugin(): Plugin {
  return new ReadOften();
}
