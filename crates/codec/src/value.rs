//! One value of a reading.

use crate::json::{Broken, Cursor, Number, Scalar, Skipped, too_deep};
use crate::limits::MAX_DEPTH;
use crate::text::Text;
use eaves_model::rejection::excerpt;
use eaves_model::{Code, Rejection, ValueType, WireValue, limits};

/// Reads the value that stands at the cursor. The outer error breaks the reading, the
/// inner one concerns this value only; the cursor is behind the value then. The reason
/// has no field yet: building one for every value would cost more than reading it.
pub(crate) fn read(cursor: &mut Cursor<'_>) -> Result<Result<WireValue, Rejection>, Broken> {
    if matches!(cursor.peek(), b'{' | b'[') {
        return Ok(nested(cursor.skip()?));
    }
    Ok(simple(cursor.scalar()?))
}

fn refused<T>(code: Code, message: impl Into<String>) -> Result<T, Rejection> {
    Err(Rejection::new(code, "", message))
}

fn simple(scalar: Scalar<'_>) -> Result<WireValue, Rejection> {
    match scalar {
        Scalar::Boolean(b) => Ok(WireValue::Boolean(b)),
        Scalar::Number(Number { integer: Some(i), .. }) => Ok(WireValue::Integer(i)),
        Scalar::Number(Number { digits, .. }) if digits.len() > limits::MAX_STRING_BYTES => {
            let message = format!("is a number of over {} characters", limits::MAX_STRING_BYTES);
            refused(Code::TOO_LONG, message)
        }
        Scalar::Number(Number { digits, .. }) => Ok(WireValue::Number(digits.into())),
        Scalar::Text(text) => string(text).map(WireValue::Text),
        Scalar::Null => refused(Code::BAD_VALUE, "is null: leave out what has no value"),
        Scalar::NotFinite(word) => {
            refused(Code::BAD_VALUE, format!("is {word}, not a number: leave out what has no value"))
        }
    }
}

fn string(text: Text<'_>) -> Result<Box<str>, Rejection> {
    let Ok(text) = text.decode() else {
        return refused(Code::BAD_VALUE, "has half of a surrogate pair, which is no Unicode text");
    };
    if text.len() > limits::MAX_STRING_BYTES {
        let message = format!("has {} bytes, over the limit of {}", text.len(), limits::MAX_STRING_BYTES);
        return refused(Code::TOO_LONG, message);
    }
    // PostgreSQL's text type has no way to hold it.
    if text.contains('\0') {
        return refused(Code::BAD_VALUE, "has a NUL character (\\u0000), which cannot be stored");
    }
    Ok(text.into())
}

const TYPED: &str = r#"write it as {"type": "decimal", "value": "12.30"}"#;

fn nested(skipped: Skipped<'_>) -> Result<WireValue, Rejection> {
    if skipped.depth > MAX_DEPTH {
        return Err(too_deep(""));
    }
    if skipped.raw.starts_with('[') {
        return refused(Code::BAD_VALUE, "is a list: send each element as a value of its own name");
    }
    if skipped.depth > 1 {
        return refused(Code::BAD_VALUE, "is an object with others in it: use names such as motor.speed");
    }
    match typed(&mut Cursor::new(skipped.raw)) {
        Ok(result) => result,
        // Not reached: the syntax has been checked. The text is still a reason.
        Err(_) => refused(Code::BAD_VALUE, format!("is an object: {TYPED}")),
    }
}

fn typed(cursor: &mut Cursor<'_>) -> Result<Result<WireValue, Rejection>, Broken> {
    let (mut value_type, mut value) = (None, None);
    let mut more = cursor.enter()?;
    while more {
        let key = cursor.key()?;
        let scalar = cursor.scalar()?;
        let slot = match key.decode().as_deref() {
            Ok("type") => &mut value_type,
            Ok("value") => &mut value,
            _ => {
                let message = format!("is an object with the key {}: {TYPED}", excerpt(key.raw));
                return Ok(refused(Code::BAD_VALUE, message));
            }
        };
        if slot.replace(scalar).is_some() {
            return Ok(refused(Code::DUPLICATE_KEY, format!("has {} twice", excerpt(key.raw))));
        }
        more = cursor.more()?;
    }
    let (Some(Scalar::Text(name)), Some(value)) = (value_type, value) else {
        return Ok(refused(Code::BAD_VALUE, format!("is an object without type and value: {TYPED}")));
    };
    Ok(of_type(name, value))
}

fn of_type(name: Text<'_>, value: Scalar<'_>) -> Result<WireValue, Rejection> {
    let value_type: ValueType = match name.decode().unwrap_or_default().parse() {
        Ok(t) => t,
        Err(e) => return refused(Code::BAD_VALUE, format!("type {e}")),
    };
    simple(value)?.resolve(value_type, "").map(WireValue::Typed)
}
