import { oneLine } from "./answer.js";
import { Texts } from "./columns.js";
import { read } from "./plugin.js";
import { TYPES } from "./value.js";

/** What is known of one attribute, and what may be said of it. */
class AttributeStatistics {
  constructor(index, known) {
    this.index = index;
    Object.assign(this, known);
  }

  promote(code, text) {
    return this.decided("promote", code, text);
  }

  demote(code, text) {
    return this.decided("demote", code, text);
  }

  keep(code, text) {
    return this.decided("keep", code, text);
  }

  decided(verdict, code, text) {
    return { row: this.index, verdict, code: String(code), text: oneLine(String(text)) };
  }
}

/** The export of `eaves:rules/promotion` for what the author defined. */
export function promoter(definition) {
  if (typeof definition.promote !== "function") throw new TypeError("a promoter has a function promote");
  return {
    promote(statistics, json) {
      const settings = read(definition, json, ({ path, message }) => `settings: ${path}: ${message}`);
      try {
        return lowered(definition.promote(lifted(statistics), settings) ?? []);
      } catch (error) {
        // What the component model takes for an error is thrown as it is.
        throw `${error?.message ?? error}`;
      }
    },
  };
}

function lifted(raw) {
  const [names, units] = [new Texts(raw.names), new Texts(raw.units)];
  return {
    windowSeconds: raw.windowSeconds,
    tenantEntities: Number(raw.tenantEntities),
    byteBudget: raw.byteBudget,
    attributes: Array.from(
      raw.types,
      (type, row) =>
        new AttributeStatistics(row, {
          name: names.at(row),
          type: typeof type === "string" ? type : TYPES[type],
          unit: units.at(row),
          hot: raw.hot[row] !== 0,
          settledSeconds: raw.settledSeconds[row],
          writesPerSecond: raw.writesPerSecond[row],
          entities: Number(raw.entities[row]),
          distinctValues: Number(raw.distinctValues[row]),
          changeRatio: raw.changeRatio[row],
          valueBytes: raw.valueBytes[row],
          filtersPerSecond: raw.filtersPerSecond[row],
          returnsPerSecond: raw.returnsPerSecond[row],
          queryMilliseconds: raw.queryMilliseconds[row],
        }),
    ),
  };
}

function lowered(decisions) {
  return {
    row: Uint32Array.from(decisions, ({ row }) => row),
    verdict: decisions.map(({ verdict }) => verdict),
    reason: Uint32Array.from(decisions, (_, index) => index),
    reasons: decisions.map(({ code, text }) => ({ code, text })),
  };
}
