//! What the process that asks and the one that runs plugins say to each other.

use crate::bindings::{promotion, validation};
use crate::guest::{Bounds, Usage};
use crate::wire::{BadFrame, Put, Reader, Sink};
use crate::{LoadError, PluginError};
use std::time::Duration;

/// A loaded plugin, by a number that the asking side gives.
pub(crate) type Id = u64;

/// A request.
pub(crate) enum Request<'a> {
    /// Machine code whose signature was verified, so many bytes: the file comes with the request.
    Load {
        id: Id,
        bytes: u64,
    },
    /// The plugin is not needed any more. There is no reply.
    Drop {
        id: Id,
    },
    Describe {
        id: Id,
        bounds: Bounds,
    },
    Configure {
        id: Id,
        bounds: Bounds,
        settings: &'a str,
    },
    Validate {
        id: Id,
        bounds: Bounds,
        settings: &'a str,
        batch: validation::Batch<'a>,
    },
    Promote {
        id: Id,
        bounds: Bounds,
        settings: &'a str,
        statistics: promotion::Statistics<'a>,
    },
}

const LOAD: u64 = 1;
const DROP: u64 = 2;
const DESCRIBE: u64 = 3;
const CONFIGURE: u64 = 4;
const VALIDATE: u64 = 5;
const PROMOTE: u64 = 6;

/// Where the types of a request's attributes are while it is read: in the frame they are
/// bytes that may be anything.
#[derive(Default)]
pub(crate) struct Types {
    validation: Vec<validation::ValueType>,
    promotion: Vec<promotion::ValueType>,
}

impl Put for Request<'_> {
    fn put(&self, sink: &mut impl Sink) {
        let none: &[u8] = &[];
        let head = |sink: &mut _, types: &[u8], what, id| {
            Sink::list(sink, types);
            Sink::list(sink, &[what, id]);
        };
        let bounded = |sink: &mut _, b: &Bounds| {
            let (left, limit) = (b.left.as_nanos() as u64, b.limit.as_nanos() as u64);
            Sink::list(sink, &[left, limit, b.memory_bytes as u64]);
        };
        match self {
            Self::Load { id, bytes } => {
                head(sink, none, LOAD, *id);
                sink.number(*bytes);
            }
            Self::Drop { id } => head(sink, none, DROP, *id),
            Self::Describe { id, bounds } => {
                head(sink, none, DESCRIBE, *id);
                bounded(sink, bounds);
            }
            Self::Configure { id, bounds, settings } => {
                head(sink, none, CONFIGURE, *id);
                bounded(sink, bounds);
                sink.text(settings);
            }
            Self::Validate { id, bounds, settings, batch } => {
                let types: Vec<u8> = batch.attributes.types.iter().map(|t| *t as u8).collect();
                head(sink, &types, VALIDATE, *id);
                bounded(sink, bounds);
                sink.text(settings);
                put_batch(batch, sink);
            }
            Self::Promote { id, bounds, settings, statistics } => {
                let types: Vec<u8> = statistics.types.iter().map(|t| *t as u8).collect();
                head(sink, &types, PROMOTE, *id);
                bounded(sink, bounds);
                sink.text(settings);
                put_statistics(statistics, sink);
            }
        }
    }
}

impl<'a> Request<'a> {
    pub(crate) fn read(frame: &'a [u8], types: &'a mut Types) -> Result<Self, BadFrame> {
        let mut r = Reader(frame);
        let raw: &[u8] = r.list()?;
        types.validation = raw.iter().map(|t| value_type(*t)).collect::<Result<_, _>>()?;
        types.promotion = types.validation.iter().map(|t| promotion_type(*t)).collect();
        let &[what, id] = r.list::<u64>()? else { return Err(BadFrame("the head has another length")) };
        let bounds = |r: &mut Reader<'_>| match r.list::<u64>()? {
            [left, limit, memory_bytes] => Ok(Bounds {
                left: Duration::from_nanos(*left),
                limit: Duration::from_nanos(*limit),
                memory_bytes: usize::try_from(*memory_bytes).unwrap_or(usize::MAX),
            }),
            _ => Err(BadFrame("bounds are not three numbers")),
        };
        let request = match what {
            LOAD => Self::Load { id, bytes: r.number()? },
            DROP => Self::Drop { id },
            DESCRIBE => Self::Describe { id, bounds: bounds(&mut r)? },
            CONFIGURE => Self::Configure { id, bounds: bounds(&mut r)?, settings: r.text()? },
            VALIDATE => Self::Validate {
                id,
                bounds: bounds(&mut r)?,
                settings: r.text()?,
                batch: read_batch(&mut r, &types.validation)?,
            },
            PROMOTE => Self::Promote {
                id,
                bounds: bounds(&mut r)?,
                settings: r.text()?,
                statistics: read_statistics(&mut r, &types.promotion)?,
            },
            _ => return Err(BadFrame("an unknown request")),
        };
        r.end()?;
        Ok(request)
    }
}

pub(crate) fn value_type(number: u8) -> Result<validation::ValueType, BadFrame> {
    use validation::ValueType::{Boolean, Decimal, Float, Integer, String, Timestamp};
    let all = [String, Integer, Float, Decimal, Boolean, Timestamp];
    all.into_iter().find(|t| *t as u8 == number).ok_or(BadFrame("an unknown type"))
}

fn promotion_type(same: validation::ValueType) -> promotion::ValueType {
    match same {
        validation::ValueType::String => promotion::ValueType::String,
        validation::ValueType::Integer => promotion::ValueType::Integer,
        validation::ValueType::Float => promotion::ValueType::Float,
        validation::ValueType::Decimal => promotion::ValueType::Decimal,
        validation::ValueType::Boolean => promotion::ValueType::Boolean,
        validation::ValueType::Timestamp => promotion::ValueType::Timestamp,
    }
}

fn put_batch(batch: &validation::Batch<'_>, sink: &mut impl Sink) {
    let texts = [
        &batch.entities.external_ids,
        &batch.entities.types,
        &batch.attributes.names,
        &batch.attributes.units,
        &batch.texts,
    ];
    for texts in texts {
        sink.text(texts.blob);
        sink.list(texts.offsets);
    }
    sink.list(batch.entity);
    sink.list(batch.attribute);
    sink.list(batch.observed_at);
    sink.list(batch.bits);
    sink.list(batch.previous.row);
    sink.list(batch.previous.observed_at);
    sink.list(batch.previous.bits);
    sink.list(batch.decimals.low);
    sink.list(batch.decimals.high);
    sink.list(batch.decimals.scale);
}

fn read_batch<'a>(
    r: &mut Reader<'a>,
    types: &'a [validation::ValueType],
) -> Result<validation::Batch<'a>, BadFrame> {
    let mut texts = || Ok(validation::TextsParam { blob: r.text()?, offsets: r.list()? });
    let (external_ids, entity_types, names, units, values) =
        (texts()?, texts()?, texts()?, texts()?, texts()?);
    Ok(validation::Batch {
        entities: validation::Entities { external_ids, types: entity_types },
        attributes: validation::Attributes { names, types, units },
        entity: r.list()?,
        attribute: r.list()?,
        observed_at: r.list()?,
        bits: r.list()?,
        previous: validation::Previous { row: r.list()?, observed_at: r.list()?, bits: r.list()? },
        texts: values,
        decimals: validation::DecimalsParam { low: r.list()?, high: r.list()?, scale: r.list()? },
    })
}

fn put_statistics(s: &promotion::Statistics<'_>, sink: &mut impl Sink) {
    sink.list(&[s.window_seconds.to_bits(), s.tenant_entities, u64::from(s.byte_budget)]);
    for texts in [&s.names, &s.units] {
        sink.text(texts.blob);
        sink.list(texts.offsets);
    }
    sink.list(s.hot);
    for list in [
        s.settled_seconds,
        s.writes_per_second,
        s.change_ratio,
        s.value_bytes,
        s.filters_per_second,
        s.returns_per_second,
        s.query_milliseconds,
    ] {
        sink.list(list);
    }
    sink.list(s.entities);
    sink.list(s.distinct_values);
}

fn read_statistics<'a>(
    r: &mut Reader<'a>,
    types: &'a [promotion::ValueType],
) -> Result<promotion::Statistics<'a>, BadFrame> {
    let &[window, tenant_entities, budget] = r.list::<u64>()? else {
        return Err(BadFrame("statistics without their numbers"));
    };
    let names = promotion::Texts { blob: r.text()?, offsets: r.list()? };
    let units = promotion::Texts { blob: r.text()?, offsets: r.list()? };
    Ok(promotion::Statistics {
        window_seconds: f64::from_bits(window),
        tenant_entities,
        byte_budget: u32::try_from(budget).map_err(|_| BadFrame("a budget is absurd"))?,
        names,
        types,
        units,
        hot: r.list()?,
        settled_seconds: r.list()?,
        writes_per_second: r.list()?,
        change_ratio: r.list()?,
        value_bytes: r.list()?,
        filters_per_second: r.list()?,
        returns_per_second: r.list()?,
        query_milliseconds: r.list()?,
        entities: r.list()?,
        distinct_values: r.list()?,
    })
}

/// A reply: what came of a request, and what it took.
pub(crate) struct Reply<T> {
    pub(crate) said: Result<T, PluginError>,
    pub(crate) usage: Usage,
}

/// What a reply can carry.
pub(crate) trait Answer: Sized {
    fn put(&self, sink: &mut impl Sink);
    fn read(r: &mut Reader<'_>) -> Result<Self, BadFrame>;
}

impl<T: Answer> Put for Reply<T> {
    fn put(&self, sink: &mut impl Sink) {
        sink.list(&[self.usage.duration.as_nanos() as u64, self.usage.memory_peak as u64]);
        match &self.said {
            Ok(answer) => {
                sink.number(0);
                answer.put(sink);
            }
            Err(error) => put_error(error, sink),
        }
    }
}

impl<T: Answer> Reply<T> {
    /// Reads the reply to a call that had `limit` and at most `memory_bytes`.
    pub(crate) fn read(frame: &[u8], limit: Duration, memory_bytes: usize) -> Result<Self, BadFrame> {
        let mut r = Reader(frame);
        let &[nanos, memory] = r.list::<u64>()? else { return Err(BadFrame("a reply without usage")) };
        let usage = Usage {
            duration: Duration::from_nanos(nanos),
            memory_peak: usize::try_from(memory).unwrap_or(usize::MAX).min(memory_bytes),
        };
        let said = match r.number()? {
            0 => Ok(T::read(&mut r)?),
            DEADLINE => Err(PluginError::Deadline { limit }),
            MEMORY => Err(PluginError::Memory { limit: memory_bytes }),
            TRAPPED => Err(PluginError::Trapped { trap: crate::guest::line(r.text()?) }),
            BUSY => Err(PluginError::Busy),
            NO_PROMOTION => Err(PluginError::NoPromotion),
            _ => return Err(BadFrame("an unknown error")),
        };
        r.end()?;
        Ok(Self { said, usage })
    }
}

const DEADLINE: u64 = 1;
const MEMORY: u64 = 2;
const TRAPPED: u64 = 3;
const BUSY: u64 = 4;
const NO_PROMOTION: u64 = 5;

fn put_error(error: &PluginError, sink: &mut impl Sink) {
    match error {
        PluginError::Deadline { .. } => sink.number(DEADLINE),
        PluginError::Memory { .. } => sink.number(MEMORY),
        PluginError::Busy => sink.number(BUSY),
        PluginError::NoPromotion => sink.number(NO_PROMOTION),
        PluginError::Trapped { trap } => {
            sink.number(TRAPPED);
            sink.text(trap);
        }
        other => {
            sink.number(TRAPPED);
            sink.text(&other.to_string());
        }
    }
}

/// What came of loading: whether it promotes, or why it is no plugin.
pub(crate) struct Loaded(pub(crate) Result<bool, LoadError>);

impl Answer for Loaded {
    fn put(&self, sink: &mut impl Sink) {
        match &self.0 {
            Ok(promotes) => sink.number(u64::from(*promotes)),
            Err(LoadError::WrongWorld(why)) => {
                sink.number(2);
                sink.text(why);
            }
            Err(LoadError::Load(why)) => {
                sink.number(3);
                sink.text(&format!("{why:#}"));
            }
            Err(other) => {
                sink.number(3);
                sink.text(&other.to_string());
            }
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, BadFrame> {
        let line = |r: &mut Reader<'_>| r.text().map(crate::guest::line);
        Ok(Self(match r.number()? {
            0 => Ok(false),
            1 => Ok(true),
            2 => Err(LoadError::WrongWorld(line(r)?)),
            3 => Err(LoadError::Load(wasmtime::Error::msg(line(r)?))),
            _ => return Err(BadFrame("neither loaded nor not")),
        }))
    }
}

impl<T: Answer, E: Answer> Answer for Result<T, E> {
    fn put(&self, sink: &mut impl Sink) {
        match self {
            Ok(value) => {
                sink.number(0);
                value.put(sink);
            }
            Err(error) => {
                sink.number(1);
                error.put(sink);
            }
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, BadFrame> {
        match r.number()? {
            0 => T::read(r).map(Ok),
            1 => E::read(r).map(Err),
            _ => Err(BadFrame("neither a result nor an error")),
        }
    }
}

impl Answer for String {
    fn put(&self, sink: &mut impl Sink) {
        sink.text(self);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, BadFrame> {
        r.string()
    }
}
