//! A history as one line: `▁▂▅█▆▃`.

use super::cell;
use serde_json::Value;

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Columns of the line.
const WIDTH: usize = 60;

/// The line, the earliest point first, with the least and the greatest value; nothing for less than
/// two numbers.
pub(super) fn of(points: &[Value]) -> Option<String> {
    let mut numbers: Vec<(i64, f64)> = points.iter().filter_map(number).collect();
    if numbers.len() < 2 {
        return None;
    }
    numbers.sort_by_key(|(at, _)| *at);
    let values = numbers.iter().map(|(_, value)| *value);
    let (least, greatest) = (values.clone().fold(f64::MAX, f64::min), values.fold(f64::MIN, f64::max));
    let line: String = columns(&numbers)
        .into_iter()
        .map(|mean| mean.map_or(' ', |mean| block((mean - least) / (greatest - least))))
        .collect();
    Some(format!("{}  {least} to {greatest}", line.trim_end()))
}

/// A point's time and value, if that is a number.
fn number(point: &Value) -> Option<(i64, f64)> {
    let at: eaves_model::Timestamp = cell(&point["observed_at"]).parse().ok()?;
    // Decimals come with all their digits.
    let value = point["value"].as_f64().filter(|v| v.is_finite())?;
    Some((at.as_micros(), value))
}

/// The mean of the values in each part of the time; `None` where there are none.
fn columns(numbers: &[(i64, f64)]) -> Vec<Option<f64>> {
    let (Some((first, _)), Some((last, _))) = (numbers.first(), numbers.last()) else { return Vec::new() };
    let width = WIDTH.min(numbers.len());
    let span = (last - first).max(1) as f64;
    let mut sums = vec![(0.0, 0_u32); width];
    for (at, value) in numbers {
        let part = ((at - first) as f64 / span * width as f64) as usize;
        let (sum, count) = &mut sums[part.min(width - 1)];
        *sum += value;
        *count += 1;
    }
    sums.into_iter().map(|(sum, count)| (count > 0).then(|| sum / f64::from(count))).collect()
}

/// A block as high as a share from 0 to 1; a flat line is in the middle.
fn block(share: f64) -> char {
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.5 };
    BLOCKS[((share * 7.0).round() as usize).min(7)]
}

#[cfg(test)]
mod tests {
    use super::of;
    use serde_json::{Value, json};

    fn points(values: &[Value]) -> Vec<Value> {
        let point = |(i, value): (usize, &Value)| json!({"observed_at": format!("2026-03-01T12:{i:02}:00Z"), "value": value});
        values.iter().enumerate().map(point).collect()
    }

    #[test]
    fn a_line_is_as_high_as_its_values() {
        let rising =
            points(&[json!(0), json!(1), json!(2), json!(3), json!(4), json!(5), json!(6), json!(7)]);
        assert_eq!(of(&rising).unwrap(), "▁▂▃▄▅▆▇█  0 to 7");
        // The newest first, as the API gives them.
        let newest_first: Vec<Value> = rising.into_iter().rev().collect();
        assert_eq!(of(&newest_first).unwrap(), "▁▂▃▄▅▆▇█  0 to 7");
        assert_eq!(of(&points(&[json!(2.5), json!(2.5), json!(2.5)])).unwrap(), "▅▅▅  2.5 to 2.5");
        assert_eq!(of(&points(&[json!("on"), json!("off")])), None);
        assert_eq!(of(&points(&[json!(1)])), None);
    }

    #[test]
    fn many_points_are_put_together() {
        let many: Vec<Value> = (0..600)
            .map(|i| json!({"observed_at": format!("2026-03-01T{:02}:{:02}:00Z", i / 60, i % 60), "value": i % 7}))
            .collect();
        let line = of(&many).unwrap();
        assert_eq!(line.split("  ").next().unwrap().chars().count(), 60, "{line}");
    }
}
