/** What a unit measures, and how it becomes the base unit: `(x + before) * factor`. */
const UNITS = {
  degC: ["temperature", 1, 0],
  degF: ["temperature", 5 / 9, -32],
  K: ["temperature", 1, -273.15],
  kPa: ["pressure", 1],
  Pa: ["pressure", 0.001],
  hPa: ["pressure", 0.1],
  bar: ["pressure", 100],
  psi: ["pressure", 6.894757293168361],
  "m/s": ["speed", 1],
  "km/h": ["speed", 1 / 3.6],
  mph: ["speed", 0.44704],
  m: ["length", 1],
  mm: ["length", 0.001],
  cm: ["length", 0.01],
  km: ["length", 1000],
  in: ["length", 0.0254],
  ft: ["length", 0.3048],
  "L/min": ["flow", 1],
  "m3/h": ["flow", 1000 / 60],
  "gal/min": ["flow", 3.785411784],
  kWh: ["energy", 1],
  Wh: ["energy", 0.001],
  MJ: ["energy", 1 / 3.6],
};

export const units = Object.freeze(Object.keys(UNITS));

function find(name) {
  if (!Object.hasOwn(UNITS, name)) throw new RangeError(`${name} is not a known unit: use one of ${units.join(", ")}`);
  const [measures, factor, before = 0] = UNITS[name];
  return { measures, factor, before };
}

export function convert(number, from, to) {
  const [source, target] = [find(from), find(to)];
  if (source.measures !== target.measures) {
    throw new RangeError(`${from} cannot be converted to ${to}: one is a ${source.measures}, the other a ${target.measures}`);
  }
  // Multiplied before divided, so that 212 degF gives 100 degC exactly.
  const base = from === "degF" ? ((number - 32) * 5) / 9 : (number + source.before) * source.factor;
  return to === "degF" ? (base * 9) / 5 + 32 : base / target.factor - target.before;
}
