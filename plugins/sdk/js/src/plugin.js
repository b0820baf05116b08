import { Answer } from "./answer.js";
import { Columns, Reading } from "./columns.js";
import { History } from "./history.js";
import { ACCEPTED } from "./verdict.js";

/** Settings that the plugin cannot work with. */
export class SettingsFault extends Error {
  constructor(path, message) {
    super(message);
    this.path = path;
  }
}

/** The exports of `eaves:rules/validation` for what the author defined. */
export function plugin(definition) {
  const { name, version, validate } = definition;
  if (typeof name !== "string" || typeof version !== "string" || typeof validate !== "function") {
    throw new TypeError("a plugin has a name, a version and a function validate");
  }
  const schema = definition.settingsSchema;
  const asked = definition.previous ?? [];
  const interest = (narrowed = {}) => ({
    attributes: narrowed.attributes ?? definition.attributes,
    entityTypes: narrowed.entityTypes ?? definition.entityTypes,
    previous: narrowed.previous ?? asked,
  });
  return {
    describe: () => ({
      name,
      version,
      interest: interest(),
      settingsSchema: schema === undefined ? "" : typeof schema === "string" ? schema : JSON.stringify(schema),
    }),
    configure(json) {
      const settings = read(definition, json, (fault) => fault);
      return interest(definition.interest?.(settings));
    },
    validate(batch, json) {
      const settings = read(definition, json, (fault) => ({ tag: "settings", val: fault }));
      try {
        return judge(validate, batch, settings, asked);
      } catch (error) {
        throw { tag: "failed", val: `${error?.message ?? error}` };
      }
    },
  };
}

/** Reads the settings; what the component model takes for an error is thrown as it is. */
export function read({ configure }, json, wrap) {
  try {
    const settings = JSON.parse(json);
    if (settings === null || typeof settings !== "object" || Array.isArray(settings)) {
      throw new SettingsFault("", "not a JSON object");
    }
    return configure ? configure(settings) : settings;
  } catch (error) {
    throw wrap({ path: error?.path ?? "", message: `${error?.message ?? error}` });
  }
}

function judge(validate, batch, settings, asked) {
  const columns = new Columns(batch);
  const history = History.of(columns, asked);
  const reading = new Reading(columns, history);
  const answer = new Answer();
  const { attributes, rows } = columns;
  const { attribute } = batch;
  for (let row = 0; row < rows; row++) {
    reading.row = row;
    reading.attribute = attributes[attribute[row]];
    history?.show(row);
    const verdict = validate(reading, settings) ?? ACCEPTED;
    if (verdict !== ACCEPTED) answer.add(row, reading.attribute.type, verdict);
    if (history !== undefined && verdict.code === undefined) history.remember(verdict.replacement);
  }
  return answer.finish();
}
