//! Where one reading ends and the next begins.
//!
//! A document is a reading, a list of readings, or readings on lines of their own. What
//! is wrong inside one piece stays with that piece:
//! - in a list, elements are taken up to where the JSON itself breaks; the rest is
//!   refused as one piece, because where the next element begins would be a guess;
//! - on lines, a line whose JSON breaks is refused and the next line is read;
//! - a text in which no line is a JSON object is refused whole.

use crate::Refused;
use crate::budget::{Budget, take};
use crate::json::{Broken, Cursor};
use crate::reading::Draft;
use eaves_model::rejection::excerpt;
use eaves_model::{Code, Reading, Rejection, Timestamp, limits};

const BOM: &[u8] = b"\xef\xbb\xbf";

type Piece = Result<Reading, Refused>;

/// Decodes a document that is not compressed.
pub(crate) fn decode(bytes: &[u8], now: Timestamp, budget: &mut Budget) -> Result<Vec<Piece>, Refused> {
    let body = bytes.strip_prefix(BOM).unwrap_or(bytes);
    let refuse = |code, message: &str| Refused::new(Rejection::new(code, "record", message), bytes);
    if body.iter().all(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n')) {
        return Err(refuse(Code::UNDECODABLE, "is empty"));
    }
    let mut reader = Reader { now, budget, pieces: Vec::new() };
    let text = match std::str::from_utf8(body) {
        Ok(text) => text,
        Err(_) if reader.lines(body, 1) => return Ok(reader.pieces),
        Err(e) => {
            let message =
                format!("is neither UTF-8 text (see byte {}), nor gzip, nor a KPL record", e.valid_up_to());
            return Err(refuse(Code::UNDECODABLE, &message));
        }
    };
    let mut cursor = Cursor::new(text);
    cursor.space();
    if cursor.peek() == b'[' {
        if cursor.is_empty_list() {
            return Err(refuse(Code::BAD_SHAPE, "is a list without a reading"));
        }
        reader.list(cursor);
        return Ok(reader.pieces);
    }
    match reader.one_or_lines(cursor) {
        Ok(()) => Ok(reader.pieces),
        Err((rejection, tenant)) => Err(Refused { rejection, payload: bytes.to_vec(), tenant }),
    }
}

/// How a piece's fields are named.
#[derive(Clone, Copy)]
enum Place {
    /// It is all there is.
    Whole,
    Element(usize),
    Line(usize),
}

impl Place {
    fn field(self, inner: &str) -> String {
        let dot = if inner.is_empty() { "" } else { "." };
        match self {
            Self::Whole if inner.is_empty() => "record".into(),
            Self::Whole => inner.into(),
            Self::Element(index) => format!("[{index}]{dot}{inner}"),
            Self::Line(number) => format!("line {number}{dot}{inner}"),
        }
    }
}

struct Reader<'b> {
    now: Timestamp,
    budget: &'b mut Budget,
    pieces: Vec<Piece>,
}

impl Reader<'_> {
    /// Reads the elements of a list that is not empty, then what follows it.
    fn list(&mut self, mut cursor: Cursor<'_>) {
        let text = cursor.text();
        cursor.at += 1;
        for index in 0.. {
            cursor.space();
            let (start, place) = (cursor.at, Place::Element(index));
            if self.exhausted(place, cursor.rest().as_bytes()) {
                return;
            }
            let mut draft = Draft::default();
            let end = draft.read(&mut cursor, self.now, self.budget).and_then(|()| {
                let end = cursor.at;
                cursor.space();
                if matches!(cursor.peek(), b',' | b']') { Ok(end) } else { cursor.broken("',' or ']'") }
            });
            match end {
                Ok(end) => self.push(draft, place, &text[start..end]),
                Err(broken) => return self.push_broken(draft, &broken, place, text, start),
            }
            cursor.at += 1;
            if text.as_bytes()[cursor.at - 1] == b']' {
                break;
            }
        }
        cursor.space();
        if !cursor.at_end() {
            let message = format!("nothing may follow the list, found {}", excerpt(cursor.rest()));
            let rejection = Rejection::new(Code::UNDECODABLE, "record", message);
            self.pieces.push(Err(Refused::new(rejection, cursor.rest().as_bytes())));
        }
    }

    /// Reads a single reading, which may span lines, or readings on lines. The error is
    /// for the text as a whole.
    fn one_or_lines(&mut self, mut cursor: Cursor<'_>) -> Result<(), (Rejection, Option<String>)> {
        let (text, start) = (cursor.text(), cursor.at);
        if self.exhausted(Place::Whole, cursor.rest().as_bytes()) {
            return Ok(());
        }
        let before = self.budget.values;
        let mut draft = Draft::default();
        let read = draft.read(&mut cursor, self.now, self.budget);
        let raw = cursor.since(start);
        match read.and_then(|()| cursor.end_line()) {
            Ok(()) => {
                let next = 1 + newlines(&text[..cursor.at]);
                let first = 1 + newlines(&text[..start]);
                let rest = cursor.rest();
                cursor.space();
                let place = if cursor.at_end() { Place::Whole } else { Place::Line(first) };
                self.push(draft, place, raw);
                self.lines(rest.as_bytes(), next);
                Ok(())
            }
            Err(broken) => {
                // The lines are read from the start: what this try has cost is given back.
                self.budget.values = before;
                self.budget.pieces += 1;
                if self.lines(text.as_bytes(), 1) {
                    return Ok(());
                }
                let tenant = draft.tenant();
                Err((broken.refuse(&Place::Whole.field(""), text, start), tenant))
            }
        }
    }

    /// Reads each line by itself; tells whether one of them is a JSON object.
    fn lines(&mut self, bytes: &[u8], first: usize) -> bool {
        let (mut any_object, mut at) = (false, 0);
        for (index, line) in bytes.split(|b| *b == b'\n').enumerate() {
            let from = at;
            at += line.len() + 1;
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            let place = Place::Line(first + index);
            if self.exhausted(place, &bytes[from..]) {
                break;
            }
            let Ok(text) = std::str::from_utf8(line) else {
                let rejection = Rejection::new(Code::UNDECODABLE, place.field(""), "is not UTF-8 text");
                self.pieces.push(Err(Refused::new(rejection, line)));
                continue;
            };
            let mut draft = Draft::default();
            let mut cursor = Cursor::new(text);
            let read = draft.read(&mut cursor, self.now, self.budget);
            match read.and_then(|()| cursor.end_line()) {
                Ok(()) => {
                    any_object |= line[0] == b'{';
                    self.push(draft, place, text);
                }
                Err(broken) => self.push_broken(draft, &broken, place, text, 0),
            }
        }
        any_object
    }

    /// Counts a piece; if there are too many, refuses `rest` and says so.
    fn exhausted(&mut self, place: Place, rest: &[u8]) -> bool {
        if take(&mut self.budget.pieces) {
            return false;
        }
        let message = format!("the record has over {} readings", limits::MAX_READINGS_PER_RECORD);
        let rejection = Rejection::new(Code::TOO_LONG, place.field(""), message);
        self.pieces.push(Err(Refused::new(rejection, rest)));
        true
    }

    fn push(&mut self, draft: Draft, place: Place, raw: &str) {
        self.pieces.push(match draft.finish() {
            Ok(mut reading) => {
                for (rejection, _) in &mut reading.refused {
                    rejection.field = place.field(&rejection.field);
                }
                Ok(reading)
            }
            Err((why, tenant)) => {
                let rejection = Rejection { field: place.field(&why.field), ..why };
                Err(Refused { rejection, payload: raw.as_bytes().to_vec(), tenant })
            }
        });
    }

    /// Refuses all from `start` on.
    fn push_broken(&mut self, draft: Draft, broken: &Broken, place: Place, text: &str, start: usize) {
        let rejection = broken.refuse(&place.field(""), text, start);
        let payload = text.as_bytes()[start..].to_vec();
        self.pieces.push(Err(Refused { rejection, payload, tenant: draft.tenant() }));
    }
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|b| *b == b'\n').count()
}
