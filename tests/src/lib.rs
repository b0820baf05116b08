//! Scenarios across the whole platform, through the real binaries. See `platform/`.
