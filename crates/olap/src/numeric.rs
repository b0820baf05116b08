//! PostgreSQL's binary `numeric` as the text that `::text` gives, digit for digit.
//!
//! Format: `numeric_send` in PostgreSQL's `src/backend/utils/adt/numeric.c`: counts and digits to
//! the base 10,000, most significant first.

use std::fmt::Write as _;

const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const MINUS_INFINITY: u16 = 0xF000;
/// More digits than PostgreSQL's own limits allow are garbage, not a number to allocate for.
const MOST_DIGITS: i32 = 16_383 + 131_072;

/// The text; `None` if the bytes are no numeric.
pub(crate) fn text(bytes: &[u8]) -> Option<String> {
    let (head, digits) = bytes.split_at_checked(8)?;
    let field = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let (count, weight, sign, scale) = (field(0), field(2).cast_signed(), field(4), field(6));
    match sign {
        NAN => return Some("NaN".into()),
        INFINITY => return Some("Infinity".into()),
        MINUS_INFINITY => return Some("-Infinity".into()),
        0 | NEGATIVE => {}
        _ => return None,
    }
    if digits.len() != usize::from(count) * 2 || i32::from(scale) > 16_383 {
        return None;
    }
    let digit = |place: i32| -> u16 {
        let at = usize::try_from(place).unwrap_or(usize::MAX).checked_mul(2);
        let pair = at.and_then(|at| digits.get(at..at + 2));
        pair.map_or(0, |pair| u16::from_be_bytes([pair[0], pair[1]]))
    };
    if (0..i32::from(count)).any(|place| digit(place) > 9999) {
        return None;
    }
    let (weight, scale) = (i32::from(weight), usize::from(scale));
    if weight * 4 > MOST_DIGITS {
        return None;
    }
    let mut out = String::from(if sign == NEGATIVE { "-" } else { "" });
    if weight < 0 {
        out.push('0');
    }
    for place in 0..=weight {
        // Only the first group is written without leading zeros.
        let written =
            if place == 0 { write!(out, "{}", digit(0)) } else { write!(out, "{:04}", digit(place)) };
        written.ok()?;
    }
    if scale > 0 {
        let mut fraction = String::with_capacity(scale + 4);
        let mut place = weight + 1;
        while fraction.len() < scale {
            // Below the first group there may be groups of zeros that are not sent.
            let group = if place < 0 { 0 } else { digit(place) };
            write!(fraction, "{group:04}").ok()?;
            place += 1;
        }
        fraction.truncate(scale);
        out.push('.');
        out.push_str(&fraction);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::text;

    fn numeric(weight: i16, sign: u16, scale: u16, digits: &[u16]) -> Vec<u8> {
        let head = [digits.len() as u16, weight.cast_unsigned(), sign, scale];
        head.iter().chain(digits).flat_map(|n| n.to_be_bytes()).collect()
    }

    #[test]
    fn digits_and_scale_are_kept() {
        let check = |bytes: Vec<u8>, wanted: &str| assert_eq!(text(&bytes).as_deref(), Some(wanted));
        check(numeric(0, 0, 0, &[]), "0");
        check(numeric(0, 0, 2, &[]), "0.00");
        check(numeric(0, 0, 2, &[1, 5000]), "1.50");
        check(numeric(1, 0x4000, 1, &[1, 2345, 6000]), "-12345.6");
        check(numeric(2, 0, 0, &[7]), "700000000");
        check(numeric(-1, 0, 3, &[1230]), "0.123");
        check(numeric(-2, 0, 8, &[5]), "0.00000005");
        check(numeric(-8, 0, 28, &[]), "0.0000000000000000000000000000");
        check(numeric(6, 0, 0, &[7922, 8162, 5142, 6433, 7593, 5439, 5033]), "7922816251426433759354395033");
        check(numeric(0, 0xC000, 0, &[]), "NaN");
    }

    #[test]
    fn what_is_no_numeric_is_none() {
        for bytes in [
            vec![],
            vec![0; 7],
            numeric(0, 1, 0, &[]),
            numeric(0, 0, 0, &[10_000]),
            vec![0, 2, 0, 0, 0, 0, 0, 0],
        ] {
            assert_eq!(text(&bytes), None, "{bytes:?}");
        }
    }
}
