//! Rows of a CSV file as readings.

use anyhow::{Result, anyhow, bail};
use csv::{ByteRecord, StringRecord};
use eaves_codec::encode;
use eaves_model::ValueType;

/// Which column is what.
#[derive(Debug)]
pub(super) struct Mapping {
    tenant: Option<usize>,
    entity: usize,
    observed_at: usize,
    entity_type: Option<usize>,
    values: Vec<Column>,
    /// The tenant of rows without one.
    default_tenant: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
struct Column {
    index: usize,
    name: String,
    value_type: Option<ValueType>,
}

/// What a column can be besides an attribute.
const FIELDS: [&str; 4] = ["tenant", "entity", "observed_at", "type"];

/// Reads `--delimiter`.
pub(super) fn parse_delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() && !byte.is_ascii_alphanumeric() => Ok(*byte),
        _ if text == "\\t" => Ok(b'\t'),
        _ => Err("give one character, such as ; or \\t".into()),
    }
}

impl Mapping {
    /// From a file's header and the `--map` options.
    pub(super) fn new(header: &StringRecord, maps: &[String], tenant: Option<&str>) -> Result<Self> {
        let columns: Vec<&str> = header.iter().map(|c| c.trim_start_matches('\u{feff}').trim()).collect();
        let listed = columns.join(", ");
        let mut targets: Vec<&str> = columns.clone();
        let mut mapped = vec![false; columns.len()];
        for map in maps {
            let (column, target) = map
                .split_once('=')
                .filter(|(column, target)| !column.is_empty() && !target.is_empty())
                .ok_or_else(|| anyhow!("--map {map}: give COLUMN=TARGET, such as device=entity"))?;
            let index = columns.iter().position(|c| *c == column).ok_or_else(|| {
                anyhow!("--map {map}: there is no column {column:?}; the file has {listed}")
            })?;
            if std::mem::replace(&mut mapped[index], true) {
                bail!("--map {map}: the column {column:?} is mapped twice");
            }
            targets[index] = target;
        }
        let mut fields = [None; 4];
        let mut values: Vec<Column> = Vec::new();
        for (index, target) in targets.into_iter().enumerate() {
            if target == "-" {
                continue;
            }
            if let Some(field) = FIELDS.iter().position(|f| *f == target) {
                if fields[field].replace(index).is_some() {
                    bail!("two columns are {target}: tell them apart with --map COLUMN=TARGET");
                }
                continue;
            }
            let target = target.strip_prefix("values.").unwrap_or(target);
            let typed = target.rsplit_once(':').and_then(|(name, t)| Some((name, t.parse().ok()?)));
            let (name, value_type) = match typed.filter(|(name, _)| mapped[index] && !name.is_empty()) {
                Some((name, value_type)) => (name, Some(value_type)),
                None => (target, None),
            };
            if name.is_empty() {
                bail!("column {} has no name: give it one in the header", index + 1);
            }
            if values.iter().any(|v| v.name == name) {
                bail!("two columns are the attribute {name:?}: leave one out with --map COLUMN=-");
            }
            values.push(Column { index, name: name.to_owned(), value_type });
        }
        let required = |field: usize| {
            fields[field].ok_or_else(|| {
                let name = FIELDS[field];
                anyhow!("no column is {name}: say which with --map COLUMN={name}; the file has {listed}")
            })
        };
        let (entity, observed_at) = (required(1)?, required(2)?);
        if fields[0].is_none() && tenant.is_none() {
            bail!("no column is tenant: give --tenant");
        }
        if values.is_empty() {
            bail!("no column is left to be an attribute; the file has {listed}");
        }
        let default_tenant = tenant.map(str::to_owned);
        Ok(Self { tenant: fields[0], entity, observed_at, entity_type: fields[3], values, default_tenant })
    }

    /// A row as a reading's JSON, or why it has none. Whether it is a good one is for the
    /// decoder to say.
    pub(super) fn reading(&self, row: &ByteRecord) -> Result<String, String> {
        let cell = |index: usize| match std::str::from_utf8(row.get(index).unwrap_or_default()) {
            Ok(text) => Ok(text.trim()),
            Err(_) => Err(format!("column {} is not UTF-8 text", index + 1)),
        };
        let named = self.tenant.map(cell).transpose()?.filter(|t| !t.is_empty());
        let tenant = named.or(self.default_tenant.as_deref()).unwrap_or_default();
        let mut json = String::from("{\"tenant\":");
        encode::write_string(&mut json, tenant);
        json.push_str(",\"entity\":");
        encode::write_string(&mut json, cell(self.entity)?);
        if let Some(entity_type) = self.entity_type.map(cell).transpose()?.filter(|t| !t.is_empty()) {
            json.push_str(",\"type\":");
            encode::write_string(&mut json, entity_type);
        }
        json.push_str(",\"observed_at\":");
        encode::write_string(&mut json, cell(self.observed_at)?);
        json.push_str(",\"values\":{");
        let mut first = true;
        for column in &self.values {
            let text = cell(column.index)?;
            if text.is_empty() {
                continue;
            }
            if !std::mem::take(&mut first) {
                json.push(',');
            }
            encode::write_string(&mut json, &column.name);
            json.push(':');
            match column.value_type {
                None => json.push_str(&inferred(text)),
                Some(value_type) => {
                    json.push_str(&format!("{{\"type\":\"{value_type}\",\"value\":"));
                    match value_type {
                        ValueType::Integer | ValueType::Float | ValueType::Boolean => {
                            json.push_str(&inferred(text))
                        }
                        _ => encode::write_string(&mut json, text),
                    }
                    json.push('}');
                }
            }
        }
        json.push_str("}}");
        if first { Err("has no value in any column".into()) } else { Ok(json) }
    }
}

/// A cell as JSON: a number or boolean if it looks like one, else a string. What a
/// spreadsheet or library writes for "not a number" stays one, so that it is reported
/// and does not become text.
fn inferred(cell: &str) -> String {
    let lower = cell.to_ascii_lowercase();
    let bare = lower.trim_start_matches(['+', '-']);
    if matches!(&*lower, "true" | "false" | "null") {
        return lower;
    }
    if is_number(cell) || matches!(bare, "nan" | "inf" | "infinity") {
        return cell.to_owned();
    }
    let mut text = String::new();
    encode::write_string(&mut text, cell);
    text
}

/// Whether a text is a number as JSON writes it: no leading zeros, no `+`, no bare point.
/// What else looks like one may be a code such as 007, and stays text.
fn is_number(text: &str) -> bool {
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (number, None),
    };
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|e| digits(e.strip_prefix(['+', '-']).unwrap_or(e)))
}

#[cfg(test)]
mod tests {
    use super::super::input::{check, read_rows};
    use super::*;

    fn mapping(header: &str, maps: &[&str], tenant: Option<&str>) -> Result<Mapping> {
        let header: Vec<&str> = header.split(',').collect();
        let maps: Vec<String> = maps.iter().map(|m| (*m).to_owned()).collect();
        Mapping::new(&StringRecord::from(header), &maps, tenant)
    }

    fn row(mapping: &Mapping, row: &str) -> Result<String, String> {
        mapping.reading(&ByteRecord::from(row.split(',').collect::<Vec<_>>()))
    }

    #[test]
    fn columns_become_fields_and_typed_attributes() {
        let maps = [
            "device=entity",
            "time=observed_at",
            "kind=type",
            "price=price:decimal",
            "note=-",
            "type=values.type",
        ];
        let m = mapping("time,device,kind,t,on,code,price,note,type", &maps, Some("acme")).unwrap();
        let json = row(&m, "2026-03-01T11:00:00Z, p-1 ,pump,72.50,TRUE,007,12.30,hello,x").unwrap();
        let expect = concat!(
            r#"{"tenant":"acme","entity":"p-1","type":"pump","observed_at":"2026-03-01T11:00:00Z","values":{"#,
            r#""t":72.50,"on":true,"code":"007","price":{"type":"decimal","value":"12.30"},"type":"x"}}"#
        );
        assert_eq!(json, expect);
        let item = check(2, json.as_bytes(), Some("acme"), "2026-03-01T12:00:00Z".parse().unwrap());
        assert_eq!((item.problems.len(), item.line.unwrap().values), (0, 5));
    }

    #[test]
    fn empty_cells_are_left_out_and_a_row_of_them_is_reported() {
        let m = mapping("entity,observed_at,a,b", &[], Some("t")).unwrap();
        assert!(row(&m, "e,now,,1").unwrap().ends_with(r#""values":{"b":1}}"#));
        assert!(row(&m, "e,now,,").unwrap_err().contains("no value"));
    }

    #[test]
    fn a_tenant_column_wins_over_the_option_where_it_is_filled() {
        let m = mapping("tenant,entity,observed_at,a", &[], Some("t")).unwrap();
        assert!(row(&m, "u,e,now,1").unwrap().starts_with(r#"{"tenant":"u""#));
        assert!(row(&m, ",e,now,1").unwrap().starts_with(r#"{"tenant":"t""#));
    }

    #[test]
    fn cells_get_the_type_they_look_like() {
        for (cell, json) in [
            ("1", "1"),
            ("-0.5e-3", "-0.5e-3"),
            ("9223372036854775808", "9223372036854775808"),
            ("01", r#""01""#),
            ("+1", r#""+1""#),
            (".5", r#"".5""#),
            ("1.", r#""1.""#),
            ("1,5", r#""1,5""#),
            ("1e", r#""1e""#),
            ("-", r#""-""#),
            ("False", "false"),
            ("yes", r#""yes""#),
            ("NaN", "NaN"),
            ("-inf", "-inf"),
            ("NULL", "null"),
            ("a\"b", r#""a\"b""#),
            ("2026-03-01", r#""2026-03-01""#),
        ] {
            assert_eq!(inferred(cell), json);
        }
    }

    #[test]
    fn a_mapping_that_makes_no_sense_says_what_would() {
        for (header, maps, tenant, text) in [
            ("a,b", &[][..], Some("t"), "--map COLUMN=entity"),
            ("entity,b", &[], Some("t"), "--map COLUMN=observed_at"),
            ("entity,observed_at,x", &[], None, "--tenant"),
            ("entity,observed_at", &[], Some("t"), "no column is left"),
            ("entity,observed_at,x", &["y=z"], Some("t"), "the file has entity, observed_at, x"),
            ("entity,observed_at,x", &["x"], Some("t"), "COLUMN=TARGET"),
            ("entity,observed_at,x", &["x=a", "x=b"], Some("t"), "mapped twice"),
            ("entity,observed_at,x", &["x=entity"], Some("t"), "two columns are entity"),
            ("entity,observed_at,x,y", &["x=y"], Some("t"), "attribute \"y\""),
            ("entity,observed_at,", &[], Some("t"), "column 3 has no name"),
        ] {
            let error = mapping(header, maps, tenant).unwrap_err().to_string();
            assert!(error.contains(text), "{header} {maps:?}: {error}");
        }
    }

    #[test]
    fn delimiters_are_read() {
        assert_eq!(
            (parse_delimiter(";"), parse_delimiter("\\t"), parse_delimiter("\t")),
            (Ok(b';'), Ok(b'\t'), Ok(b'\t'))
        );
        assert!(parse_delimiter("ab").is_err() && parse_delimiter("a").is_err());
    }

    #[test]
    fn rows_that_are_wrong_are_reported_by_line_and_the_others_are_read() {
        let text = b"entity,observed_at,x\ne,2026-01-01T00:00:00Z,1\ne,2026-01-01T00:00:00Z\n\"e\nf\",2026-01-01T00:00:00Z,1\n\
            e,2026-01-01T00:00:00Z,nan\n\xff,2026-01-01T00:00:00Z,1\ne,2026-01-01T00:00:01Z,2\n";
        let mut csv = csv::ReaderBuilder::new().from_reader(&text[..]);
        let mapping = Mapping::new(&csv.headers().unwrap().clone(), &[], Some("t")).unwrap();
        let (send, mut receive) = tokio::sync::mpsc::channel(10);
        read_rows(csv, &mapping, Some("t"), &send);
        drop(send);
        let (mut lines, mut problems) = (vec![], vec![]);
        while let Some(item) = receive.blocking_recv() {
            let item = item.unwrap();
            lines.extend(item.line.map(|l| l.number));
            problems.extend(item.problems.into_iter().map(|p| (p.line, p.text)));
        }
        assert_eq!(lines, [2, 8]);
        let expect = [(3, "2 columns"), (4, "control"), (6, "values.x: is nan"), (7, "UTF-8")];
        assert_eq!(problems.len(), 4, "{problems:?}");
        for ((line, text), (number, part)) in problems.iter().zip(expect) {
            assert!(*line == number && text.contains(part), "{line}: {text}");
        }
    }
}
