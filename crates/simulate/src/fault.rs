//! What goes wrong in real fleets, in the messages of one.

use crate::random::Random;

/// A way in which a message is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Values of the right type that no device can have: a plugin's business.
    OutOfRange,
    /// A value of another type than its attribute.
    WrongType,
    /// A string where the sensor's library failed to print a number.
    NanText,
    /// The same, not in quotes: no JSON.
    NanBare,
    /// An explicit null.
    Null,
    /// No value at all.
    Missing,
    /// A clock that was never set.
    Clock,
    /// No name of the device.
    NoEntity,
    /// Cut in the middle.
    Truncated,
}

const ALL: [Fault; 9] = [
    Fault::OutOfRange,
    Fault::WrongType,
    Fault::NanText,
    Fault::NanBare,
    Fault::Null,
    Fault::Missing,
    Fault::Clock,
    Fault::NoEntity,
    Fault::Truncated,
];

impl Fault {
    pub(crate) fn draw(random: &mut Random) -> Self {
        // Single values go wrong far more often than whole messages.
        let known = if random.chance(0.85) { 6 } else { ALL.len() as u64 };
        ALL[random.below(known) as usize]
    }

    /// What stands where the device's power should, if this is about a value; empty if
    /// nothing does.
    pub(crate) fn value(self) -> Option<&'static str> {
        Some(match self {
            Self::OutOfRange => "9999.90",
            Self::WrongType => "true",
            Self::NanText => "\"NaN\"",
            Self::NanBare => "NaN",
            Self::Null => "null",
            Self::Missing => "",
            Self::Clock | Self::NoEntity | Self::Truncated => return None,
        })
    }
}
