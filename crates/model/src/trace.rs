//! Where something came from, as W3C Trace Context (level 1) writes it.

use std::fmt;
use std::str::FromStr;

/// A trace and the span in it that caused something: the header `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceParent {
    /// The trace, never zero.
    pub trace_id: u128,
    /// The span, never zero.
    pub span_id: u64,
    /// Whether the trace is recorded.
    pub sampled: bool,
}

/// Not a `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a traceparent, such as 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]
pub struct NotTraceParent;

impl TraceParent {
    /// Bytes of its text.
    pub const LENGTH: usize = 55;
}

impl FromStr for TraceParent {
    type Err = NotTraceParent;

    fn from_str(text: &str) -> Result<Self, NotTraceParent> {
        let mut parts = text.splitn(5, '-');
        let mut part = |length: usize| parts.next().filter(|p| is_hex(p, length)).ok_or(NotTraceParent);
        let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        // Later versions may have more behind these four; this one has not, and ff is none.
        if version == "ff" || (version == "00" && text.len() != Self::LENGTH) {
            return Err(NotTraceParent);
        }
        let trace_id = u128::from_str_radix(trace, 16).map_err(|_| NotTraceParent)?;
        let span_id = u64::from_str_radix(span, 16).map_err(|_| NotTraceParent)?;
        let flags = u8::from_str_radix(flags, 16).map_err(|_| NotTraceParent)?;
        if trace_id == 0 || span_id == 0 {
            return Err(NotTraceParent);
        }
        Ok(Self { trace_id, span_id, sampled: flags & 1 == 1 })
    }
}

/// Lower case only, as the standard has it.
fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace_id, span_id, sampled } = self;
        write!(f, "00-{trace_id:032x}-{span_id:016x}-{:02x}", u8::from(*sampled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    #[test]
    fn what_is_no_traceparent_is_told() {
        let zeros = "0".repeat(32);
        for text in [
            String::new(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", &zeros[..16]),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-+7ad6b7169203331-01"),
            format!(" 00-{TRACE}-{SPAN}-01"),
        ] {
            assert_eq!(text.parse::<TraceParent>(), Err(NotTraceParent), "{text:?}");
        }
        // A version to come, with what it may add.
        let later: TraceParent = format!("01-{TRACE}-{SPAN}-03-what-ever").parse().unwrap();
        assert!(later.sampled);
        assert_eq!(later.to_string(), format!("00-{TRACE}-{SPAN}-01"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(trace_id in 1..=u128::MAX, span_id in 1..=u64::MAX, sampled: bool) {
            let parent = TraceParent { trace_id, span_id, sampled };
            let text = parent.to_string();
            prop_assert_eq!(text.len(), TraceParent::LENGTH);
            prop_assert_eq!(text.parse(), Ok(parent));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "([0-9a-f]{0,2}-)?\\PC{0,60}") {
            if let Ok(parent) = text.parse::<TraceParent>() {
                prop_assert!(parent.trace_id != 0 && parent.span_id != 0);
            }
        }
    }
}
