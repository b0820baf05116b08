// Three rules to start from: a highest temperature, how fast it may rise, and which states a
// device may report. A temperature near the limit is marked by a value of its own.
import { Plugin, Reading, Settings, Value, ValueType, Verdict, shown } from "../.eaves/sdk/assemblyscript/assembly";

const STATES: string[] = ["online", "offline", "fault"];

class Limits extends Plugin {
  private highest: f64 = 90; // degC
  private maxRise: f64 = 0; // degC a second; 0 for any

  name(): string {
    return "{{name}}";
  }

  version(): string {
    return "0.1.0";
  }

  attributes(): string[] | null {
    return ["temperature", "status"];
  }

  previous(): string[] {
    return ["temperature"];
  }

  settingsSchema(): string {
    return '{"type": "object", "properties": {"highest": {"type": "number"}, "max_rise_per_second": {"type": "number", "minimum": 0}}}';
  }

  configure(settings: Settings): void {
    this.highest = settings.number("highest", 90);
    this.maxRise = settings.number("max_rise_per_second", 0);
    if (this.maxRise < 0) settings.fault("max_rise_per_second", "must not be below 0");
  }

  validate(reading: Reading): Verdict {
    if (reading.attribute.name == "temperature") return this.temperature(reading);
    const value = reading.value;
    if (value.type == ValueType.String && !STATES.includes(value.text)) {
      return Verdict.reject("unknown_state", value.text.slice(0, 40) + " is none of " + STATES.join(", "));
    }
    return Verdict.accept();
  }

  private temperature(reading: Reading): Verdict {
    const degrees = reading.value.toF64();
    if (degrees > this.highest) {
      return Verdict.reject("too_hot", shown(degrees) + " is over " + shown(this.highest));
    }
    const rate = reading.ratePerSecond();
    if (this.maxRise > 0 && rate > this.maxRise) {
      return Verdict.reject("too_fast", "rose by " + shown(rate) + " a second, at most " + shown(this.maxRise) + " is plausible");
    }
    if (degrees > this.highest - 5) return Verdict.accept().andDerive("near_limit", Value.boolean(true));
    return Verdict.accept();
  }
}

export function plugin(): Plugin {
  return new Limits();
}
