//! One device: its state, how it moves on, and what it reports.

use crate::random::Random;
use eaves_codec::encode;
use eaves_model::Timestamp;
use std::fmt::Write as _;
use std::sync::Arc;

/// What a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Moves a liquid.
    Pump,
    /// Heats and cools rooms.
    Hvac,
    /// Keeps goods below zero.
    Freezer,
    /// Measures electricity.
    Meter,
}

impl Kind {
    /// All kinds, in the order in which a fleet's devices take them.
    pub const ALL: [Self; 4] = [Self::Pump, Self::Hvac, Self::Freezer, Self::Meter];

    /// The entity type in its readings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pump => "pump",
            Self::Hvac => "hvac",
            Self::Freezer => "freezer",
            Self::Meter => "meter",
        }
    }
}

pub(crate) struct Device {
    pub(crate) tenant: Arc<str>,
    pub(crate) entity: Arc<str>,
    kind: Kind,
    /// Where in the day its cycle begins, 0 to 1.
    phase: f64,
    /// How it differs from others of its kind, about -1 to 1.
    character: f64,
    /// Wear: moves away from 0 by small steps.
    drift: f64,
    running: bool,
    alarm: bool,
    /// In watt hours.
    energy: i64,
    count: i64,
    /// When `running` last changed.
    changed: Timestamp,
    last: Timestamp,
}

/// The values of a message on their way into it.
pub(crate) struct Values<'a> {
    out: &'a mut String,
    pub(crate) count: u32,
}

impl<'a> Values<'a> {
    pub(crate) fn new(out: &'a mut String) -> Self {
        Self { out, count: 0 }
    }

    fn raw(&mut self, name: &str) -> &mut String {
        self.out.push_str(if self.count == 0 { "\"" } else { ",\"" });
        self.out.push_str(name);
        self.out.push_str("\":");
        self.count += 1;
        self.out
    }

    /// With two digits behind the point.
    fn float(&mut self, name: &str, value: f64) {
        let hundredths = (value * 100.0).round() as i64;
        let sign = if hundredths < 0 { "-" } else { "" };
        let (whole, part) = (hundredths.unsigned_abs() / 100, hundredths.unsigned_abs() % 100);
        let _ = write!(self.raw(name), "{sign}{whole}.{part:02}");
    }

    fn integer(&mut self, name: &str, value: i64) {
        let _ = write!(self.raw(name), "{value}");
    }

    fn boolean(&mut self, name: &str, value: bool) {
        self.raw(name).push_str(if value { "true" } else { "false" });
    }

    fn text(&mut self, name: &str, value: &str) {
        encode::write_string(self.raw(name), value);
    }

    fn kilowatt_hours(&mut self, name: &str, watt_hours: i64) {
        let (whole, part) = (watt_hours / 1000, watt_hours % 1000);
        let _ = write!(self.raw(name), "{{\"type\":\"decimal\",\"value\":\"{whole}.{part:03}\"}}");
    }

    fn time(&mut self, name: &str, value: Timestamp) {
        let _ = write!(self.raw(name), "{{\"type\":\"timestamp\",\"value\":\"{value}\"}}");
    }
}

impl Device {
    pub(crate) fn new(
        index: usize,
        tenant: Arc<str>,
        kind: Kind,
        start: Timestamp,
        random: &mut Random,
    ) -> Self {
        let entity = format!("{}-{index}", kind.name()).into();
        let changed = start.plus_micros(-(random.below(86_400) as i64 * 1_000_000));
        Self {
            tenant,
            entity,
            kind,
            phase: random.between(-0.1, 0.1),
            character: random.noise() / 2.0,
            drift: 0.0,
            running: random.chance(0.9),
            alarm: false,
            energy: random.below(90_000_000) as i64,
            count: random.below(5_000) as i64,
            changed,
            last: start,
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Moves on to `now` and writes what it reports then, with `bad` in place of one value.
    pub(crate) fn report(
        &mut self,
        now: Timestamp,
        random: &mut Random,
        values: &mut Values<'_>,
        bad: Option<&str>,
    ) {
        let hours = (now.seconds_since(self.last) / 3600.0).clamp(0.0, 24.0);
        self.last = now;
        self.drift = (self.drift + random.noise() * 0.01).clamp(-3.0, 3.0);
        // A change of state every few hundred reports; alarms are rarer and pass.
        if random.chance(if self.running { 0.003 } else { 0.05 }) {
            self.running = !self.running;
            self.count += i64::from(self.running);
            self.changed = now;
        }
        self.alarm = random.chance(if self.alarm { 0.9 } else { 0.001 });
        let day = now.as_micros().rem_euclid(86_400_000_000) as f64 / 86_400e6;
        let cycle = (std::f64::consts::TAU * (day - 0.35 + self.phase)).sin();
        let load = if self.running { 0.6 + 0.3 * cycle + 0.02 * random.noise() } else { 0.0 };
        let power = match self.kind {
            Kind::Pump => self.pump(load, random, values),
            Kind::Hvac => self.hvac(load, cycle, random, values),
            Kind::Freezer => self.freezer(load, random, values),
            Kind::Meter => self.meter(cycle, random, values),
        };
        self.energy += (power * hours * 1000.0) as i64;
        match bad {
            None => values.float("power_kw", power),
            Some("") => {}
            Some(bad) => values.raw("power_kw").push_str(bad),
        }
        values.kilowatt_hours("energy_kwh", self.energy);
    }

    fn status(&self) -> &'static str {
        match (self.alarm, self.running) {
            (true, _) => "alarm",
            (_, true) => "running",
            (_, false) => "idle",
        }
    }

    fn pump(&self, load: f64, random: &mut Random, values: &mut Values<'_>) -> f64 {
        let hot = if self.alarm { 25.0 } else { 0.0 };
        values.float(
            "temperature",
            35.0 + 30.0 * load + 3.0 * self.character + self.drift + hot + 0.3 * random.noise(),
        );
        values.float("pressure_bar", 1.0 + 5.0 * load + 0.05 * random.noise());
        values.float("flow_lpm", 240.0 * load + 10.0 * self.character * load + random.noise() * load);
        values
            .float("vibration_mm_s", 0.3 + 2.0 * load + 0.4 * self.drift.abs() + 0.05 * random.noise().abs());
        values.integer("rpm", (2_900.0 * load) as i64);
        values.integer("starts", self.count);
        values.text("status", self.status());
        values.time("running_since", self.changed);
        0.05 + 7.5 * load
    }

    fn hvac(&self, load: f64, cycle: f64, random: &mut Random, values: &mut Values<'_>) -> f64 {
        let setpoint = if cycle > -0.5 { 21.5 } else { 18.0 };
        values.float(
            "temperature",
            setpoint + 1.5 * cycle + self.character + 0.2 * self.drift + 0.1 * random.noise(),
        );
        values.float("setpoint", setpoint);
        values.float("humidity_percent", 45.0 - 8.0 * cycle + 4.0 * self.character + 0.5 * random.noise());
        values.integer("co2_ppm", (520.0 + 280.0 * (cycle + 1.0) / 2.0 + 15.0 * random.noise()) as i64);
        values.integer("fan_percent", (100.0 * load) as i64);
        values.text(
            "mode",
            if load == 0.0 {
                "off"
            } else if cycle > 0.3 {
                "cool"
            } else {
                "heat"
            },
        );
        values.text("status", self.status());
        values.boolean("filter_due", self.drift > 1.5);
        0.1 + 4.0 * load
    }

    fn freezer(&self, load: f64, random: &mut Random, values: &mut Values<'_>) -> f64 {
        let open = random.chance(0.02);
        let warm = if self.alarm { 9.0 } else { f64::from(u8::from(open)) * 2.5 };
        values.float(
            "temperature",
            -19.0 + 1.5 * self.character + 0.3 * self.drift + warm + 0.2 * random.noise(),
        );
        values.float("setpoint", -20.0);
        values.float("humidity_percent", 60.0 + 5.0 * self.character + random.noise());
        values.boolean("door_open", open);
        values.boolean("compressor_on", self.running);
        values.integer("defrosts", self.count);
        values.text("status", self.status());
        values.time("running_since", self.changed);
        0.04 + 0.6 * load
    }

    fn meter(&self, cycle: f64, random: &mut Random, values: &mut Values<'_>) -> f64 {
        let power = (14.0 + 9.0 * cycle + 3.0 * self.character + 0.5 * random.noise()).max(0.2);
        for name in ["voltage_l1", "voltage_l2", "voltage_l3"] {
            values.float(name, 230.0 - 1.5 * cycle + 0.6 * random.noise());
        }
        values.float("current_a", power * 1000.0 / 690.0);
        values.float("frequency_hz", 50.0 + 0.02 * random.noise());
        values.float("power_factor", 0.97 - 0.03 * self.drift.abs() / 3.0);
        values.text("tariff", if cycle > -0.3 { "day" } else { "night" });
        values.boolean("connected", !self.alarm);
        power
    }
}
