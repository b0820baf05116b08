//! Typed identifiers, so that a tenant can never be passed for an entity.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A tenant: the unit of isolation. Every row carries one.
    TenantId(i32)
);
id!(
    /// A device or asset. Unique over the whole platform.
    EntityId(i64)
);
id!(
    /// One attribute of one tenant. Unique over the whole platform.
    AttributeId(i32)
);
id!(
    /// A plugin version as history rows name it (`plugin_versions.plugin_id`).
    PluginId(i32)
);
