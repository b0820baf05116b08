//! The standard plugin, where `upload` finds it, too.

pub(super) use crate::plugin_life::standard::find;
