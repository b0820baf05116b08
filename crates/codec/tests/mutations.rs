//! The fuzz target over mutated records, so that every `make test` goes some of the way.

#[path = "../../../fuzz/src/decode.rs"]
mod target;

use eaves_codec::encode;

/// Mutants per seed record.
const ROUNDS: u64 = 400;

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let reading = r#"{"tenant":"acme","entity":"pump-7","type":"pump","observed_at":"2026-03-01T11:00:00.25Z","values":{"t":72.50,"n":-42,"on":true,"s":"a\"\u00e9\ud83d\ude00","kwh":{"type":"decimal","value":"12.30"},"bad":null}}"#;
    let list = format!("[{reading}, {reading},\n{reading}]");
    let lines = format!("{reading}\n\n{reading}\r\n{reading}");
    let pretty = reading.replace(',', ",\n  ");
    vec![
        Vec::new(),
        reading.into(),
        list.clone().into(),
        lines.clone().into(),
        pretty.into(),
        encode::gzip(lines.as_bytes()),
        encode::kpl(&[
            ("a", reading.as_bytes()),
            ("b", &encode::gzip(list.as_bytes())),
            ("a", lines.as_bytes()),
        ]),
    ]
}

/// What breaks parsers when it stands where it should not.
const TOKENS: [&[u8]; 24] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b":",
    b",",
    b"\n",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"\xff",
    b"\0",
    b"\xef\xbb\xbf",
    b"NaN",
    b"-Infinity",
    b"null",
    b"1e999",
    b"00",
    b"{\"type\":\"decimal\",\"value\":1}",
    b"\"tenant\":\"u\",",
    b"[[[[[[[[[[",
    b"\x1f\x8b\x08\0",
    b"\xf3\x89\x9a\xc2",
];

fn mutate(record: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(record.len() + 1);
    match random.below(6) {
        0 => record.truncate(at),
        1 => {
            if let Some(byte) = record.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        2 => drop(record.splice(at..at, TOKENS[random.below(TOKENS.len())].iter().copied())),
        3 => drop(record.drain(at..(at + 1 + random.below(12)).min(record.len()))),
        4 => {
            let end = (at + random.below(60)).min(record.len());
            let copy = record[at..end].to_vec();
            let to = random.below(record.len() + 1);
            record.splice(to..to, copy);
        }
        _ => {
            let token = TOKENS[random.below(TOKENS.len())];
            let end = (at + token.len()).min(record.len());
            record.splice(at..end, token.iter().copied());
        }
    }
}

#[test]
fn mutated_records_keep_the_rules() {
    for (index, seed) in seeds().into_iter().enumerate() {
        target::check(&seed);
        let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (index as u64 + 1));
        for _ in 0..ROUNDS {
            let mut record = seed.clone();
            for _ in 0..=random.below(4) {
                mutate(&mut record, &mut random);
            }
            target::check(&record);
        }
    }
}
