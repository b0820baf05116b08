//! A plugin's answers on their way between two processes, as they are: they are checked
//! where they arrive.

use crate::bindings::{promotion, validation};
use crate::message::Answer;
use crate::wire::{BadFrame, Reader, Sink};

impl Answer for validation::SettingsFault {
    fn put(&self, sink: &mut impl Sink) {
        sink.text(&self.path);
        sink.text(&self.message);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, BadFrame> {
        Ok(Self { path: r.string()?, message: r.string()? })
    }
}

impl Answer for validation::ValidateError {
    fn put(&self, sink: &mut impl Sink) {
        match self {
            Self::Settings(fault) => {
                sink.number(0);
                fault.put(sink);
            }
            Self::Failed(why) => {
                sink.number(1);
                sink.text(why);
            }
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, BadFrame> {
        match r.number()? {
            0 => Ok(Self::Settings(Answer::read(r)?)),
            1 => Ok(Self::Failed(r.string()?)),
            _ => Err(BadFrame("an unknown error of a plugin")),
        }
    }
}

fn put_names(names: Option<&Vec<String>>, sink: &mut impl Sink) {
    sink.number(u64::from(names.is_some()));
    if let Some(names) = names {
        sink.texts(names);
    }
}

fn read_names(r: &mut Reader<'_>) -> Result<Option<Vec<String>>, BadFrame> {
    match r.number()? {
        0 => Ok(None),
        1 => r.strings().map(Some),
        _ => Err(BadFrame("neither some nor none")),
    }
}

impl Answer for validation::Interest {
    fn put(&self, sink: &mut impl Sink) {
        put_names(self.attributes.as_ref(), sink);
        put_names(self.entity_types.as_ref(), sink);
        sink.texts(&self.previous);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, BadFrame> {
        Ok(Self { attributes: read_names(r)?, entity_types: read_names(r)?, previous: r.strings()? })
    }
}

impl Answer for validation::Description {
    fn put(&self, sink: &mut impl Sink) {
        sink.text(&self.name);
        sink.text(&self.version);
        self.interest.put(sink);
        sink.text(&self.settings_schema);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, BadFrame> {
        Ok(Self {
            name: r.string()?,
            version: r.string()?,
            interest: Answer::read(r)?,
            settings_schema: r.string()?,
        })
    }
}

impl Answer for validation::Decision {
    fn put(&self, sink: &mut impl Sink) {
        for list in [
            &self.rejected_row,
            &self.rejected_reason,
            &self.replaced_row,
            &self.derived_row,
            &self.derived_attribute,
            &self.texts.offsets,
        ] {
            sink.list(list);
        }
        sink.list(&self.replaced_bits);
        sink.list(&self.derived_bits);
        sink.number(self.reasons.len() as u64);
        for reason in &self.reasons {
            sink.text(&reason.code);
            sink.text(&reason.text);
        }
        sink.number(self.derived_attributes.len() as u64);
        for attribute in &self.derived_attributes {
            sink.text(&attribute.name);
            sink.number(attribute.type_ as u64);
        }
        sink.text(&self.texts.blob);
        sink.list(&self.decimals.low);
        sink.list(&self.decimals.high);
        sink.list(&self.decimals.scale);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, BadFrame> {
        let (rejected_row, rejected_reason) = (owned(r)?, owned(r)?);
        let (replaced_row, derived_row, derived_attribute, offsets) =
            (owned(r)?, owned(r)?, owned(r)?, owned(r)?);
        let (replaced_bits, derived_bits) = (owned(r)?, owned(r)?);
        let reason = |r: &mut Reader<'_>| Ok(validation::Reason { code: r.string()?, text: r.string()? });
        let reasons = (0..r.count()?).map(|_| reason(r)).collect::<Result<_, BadFrame>>()?;
        let attribute = |r: &mut Reader<'_>| {
            let name = r.string()?;
            let number = u8::try_from(r.number()?).map_err(|_| BadFrame("an unknown type"))?;
            Ok(validation::DerivedAttribute { name, type_: crate::message::value_type(number)? })
        };
        let derived_attributes = (0..r.count()?).map(|_| attribute(r)).collect::<Result<_, BadFrame>>()?;
        let texts = validation::TextsResult { blob: r.string()?, offsets };
        let decimals = validation::DecimalsResult { low: owned(r)?, high: owned(r)?, scale: owned(r)? };
        Ok(Self {
            rejected_row,
            rejected_reason,
            reasons,
            replaced_row,
            replaced_bits,
            derived_row,
            derived_attribute,
            derived_bits,
            derived_attributes,
            texts,
            decimals,
        })
    }
}

impl Answer for promotion::Decision {
    fn put(&self, sink: &mut impl Sink) {
        sink.list(&self.row);
        sink.list(&self.verdict.iter().map(|v| *v as u8).collect::<Vec<_>>());
        sink.list(&self.reason);
        sink.number(self.reasons.len() as u64);
        for reason in &self.reasons {
            sink.text(&reason.code);
            sink.text(&reason.text);
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, BadFrame> {
        use promotion::Verdict::{Demote, Keep, Promote};
        let row = owned(r)?;
        let verdict = |number: &u8| {
            let known = [Keep, Promote, Demote].into_iter().find(|v| *v as u8 == *number);
            known.ok_or(BadFrame("an unknown verdict"))
        };
        let verdict = r.list::<u8>()?.iter().map(verdict).collect::<Result<_, _>>()?;
        let why = owned(r)?;
        let reason = |r: &mut Reader<'_>| Ok(promotion::Reason { code: r.string()?, text: r.string()? });
        let reasons = (0..r.count()?).map(|_| reason(r)).collect::<Result<_, BadFrame>>()?;
        Ok(Self { row, verdict, reason: why, reasons })
    }
}

fn owned<T: bytemuck::Pod>(r: &mut Reader<'_>) -> Result<Vec<T>, BadFrame> {
    r.list().map(<[T]>::to_vec)
}
