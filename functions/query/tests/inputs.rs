//! The smaller parsers of what callers send, under random input.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use eaves_fn_query::testing::takes;
use proptest::prelude::*;

fn taken(text: &str, what: &str) -> bool {
    takes(text).into_iter().any(|(name, taken)| name == what && taken)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// Nothing panics, and no text is a cursor of two kinds.
    #[test]
    fn any_text_is_taken_or_refused(text in ".{0,80}") {
        for plain in [text.clone(), URL_SAFE_NO_PAD.encode(&text)] {
            let cursors = takes(&plain).into_iter().filter(|(name, taken)| *taken && name.ends_with("cursor"));
            prop_assert!(cursors.count() <= 1, "{plain}");
        }
    }

    #[test]
    fn a_cursor_of_numbers_is_taken_if_its_window_is_one(from: i64, span in -1_000_000_i64..4_000_000_000_000,
                                                         at: i64, id: i32) {
        let year = 31_556_952_000_000_i64;
        let from = from % (1900 * year);
        let text = URL_SAFE_NO_PAD.encode(format!("sd {from} {} {at} {id}", from + span));
        // Thirty days, and the day that values may be dated ahead.
        let window = (1..=31 * 86_400_000_000).contains(&span);
        // Times are in the years 1 to 9999.
        let time = (-1960 * year..7900 * year).contains(&at);
        if time {
            prop_assert_eq!(taken(&text, "series cursor"), window);
        }
    }

    #[test]
    fn durations_are_numbers_with_a_unit(number in 0_u64..50_000_000, unit in "[smhdwy]?") {
        let text = format!("{number}{unit}");
        let seconds = match unit.as_str() { "s" => 1, "m" => 60, "h" => 3600, "d" => 86_400, _ => 0 };
        let expect = seconds > 0 && (1..=366 * 86_400).contains(&(number * seconds));
        prop_assert_eq!(taken(&text, "duration"), expect);
    }

    #[test]
    fn an_accept_that_names_a_form_is_taken(form in "(application/json|text/csv|application/x-ndjson)",
                                             noise in "[a-z/*;=0-9. ]{0,20}") {
        let accept = format!("{form},x{noise}");
        prop_assert!(taken(&accept, "Accept"));
    }
}
