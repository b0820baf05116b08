//! Units that can be converted into each other.
//!
//! ```
//! assert_eq!(eaves_plugin_sdk::units::convert(212.0, "degF", "degC"), Ok(100.0));
//! ```

/// A unit, what it measures, and how it becomes the base unit: `x * factor + offset`.
struct Unit {
    name: &'static str,
    measures: &'static str,
    factor: f64,
    offset: f64,
}

const fn unit(name: &'static str, measures: &'static str, factor: f64, offset: f64) -> Unit {
    Unit { name, measures, factor, offset }
}

/// The base units are degC, kPa, m/s, m, L/min and kWh.
const UNITS: &[Unit] = &[
    unit("degC", "temperature", 1.0, 0.0),
    unit("degF", "temperature", 5.0 / 9.0, -160.0 / 9.0),
    unit("K", "temperature", 1.0, -273.15),
    unit("kPa", "pressure", 1.0, 0.0),
    unit("Pa", "pressure", 0.001, 0.0),
    unit("hPa", "pressure", 0.1, 0.0),
    unit("bar", "pressure", 100.0, 0.0),
    unit("psi", "pressure", 6.894_757_293_168_361, 0.0),
    unit("m/s", "speed", 1.0, 0.0),
    unit("km/h", "speed", 1.0 / 3.6, 0.0),
    unit("mph", "speed", 0.447_04, 0.0),
    unit("m", "length", 1.0, 0.0),
    unit("mm", "length", 0.001, 0.0),
    unit("cm", "length", 0.01, 0.0),
    unit("km", "length", 1000.0, 0.0),
    unit("in", "length", 0.0254, 0.0),
    unit("ft", "length", 0.3048, 0.0),
    unit("L/min", "flow", 1.0, 0.0),
    unit("m3/h", "flow", 1000.0 / 60.0, 0.0),
    unit("gal/min", "flow", 3.785_411_784, 0.0),
    unit("kWh", "energy", 1.0, 0.0),
    unit("Wh", "energy", 0.001, 0.0),
    unit("MJ", "energy", 1.0 / 3.6, 0.0),
];

fn find(name: &str) -> Result<&'static Unit, String> {
    UNITS.iter().find(|u| u.name == name).ok_or_else(|| {
        let names: Vec<_> = UNITS.iter().map(|u| u.name).collect();
        format!("{name:?} is not a known unit: use one of {}", names.join(", "))
    })
}

/// The number in the other unit, or why there is none.
pub fn convert(number: f64, from: &str, to: &str) -> Result<f64, String> {
    let (source, target) = (find(from)?, find(to)?);
    if source.measures != target.measures {
        let (a, b) = (source.measures, target.measures);
        return Err(format!("{from} cannot be converted to {to}: one is a {a}, the other a {b}"));
    }
    // Offsets are subtracted before the division, so that 212 degF gives 100 degC exactly.
    let base = if source.name == "degF" {
        (number - 32.0) * 5.0 / 9.0
    } else {
        number * source.factor + source.offset
    };
    Ok((base - target.offset) / target.factor)
}
