import { Answer } from "./answer.js";
import { Columns } from "./columns.js";
import { judge } from "./reading.js";
import { rehearse } from "./rehearsal.js";

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
  const judges = typeof validate === "function" || (validate === undefined && definition.checks !== undefined);
  if (typeof name !== "string" || typeof version !== "string" || !judges) {
    throw new TypeError("a plugin has a name, a version and a function validate, or checks");
  }
  rehearse();
  const schema = definition.settingsSchema;
  const interest = (narrowed = {}) => ({
    attributes: narrowed.attributes ?? definition.attributes,
    entityTypes: narrowed.entityTypes ?? definition.entityTypes,
    previous: narrowed.previous ?? definition.previous ?? [],
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
        const { previous } = interest(definition.interest?.(settings));
        const answer = new Answer();
        judge(new Columns(batch), definition, settings, previous, answer);
        return answer.finish();
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
