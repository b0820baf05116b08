//! Which values a plugin wants to see.

use crate::bindings;

/// Which values a plugin wants to see. The platform accepts others without asking it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// The names of the attributes; none for all.
    pub attributes: Option<Vec<String>>,
    /// The types of the entities; none for all.
    pub entity_types: Option<Vec<String>>,
    /// The names of the attributes whose previous value it wants to see
    /// ([`crate::Reading::previous`]).
    pub previous: Vec<String>,
}

impl From<Interest> for bindings::Interest {
    fn from(interest: Interest) -> Self {
        Self {
            attributes: interest.attributes,
            entity_types: interest.entity_types,
            previous: interest.previous,
        }
    }
}
