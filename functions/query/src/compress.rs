//! Large answers leave compressed where the caller takes that.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write as _;

/// What is smaller is not worth it.
const LEAST_BYTES: usize = 2048;

/// Compresses the answer with gzip if the request accepts it.
pub(crate) async fn gzip(request: Request, next: Next) -> Response {
    let accepted = accepts_gzip(request.headers());
    let response = next.run(request).await;
    if !accepted || response.headers().contains_key(CONTENT_ENCODING) {
        return response;
    }
    let (mut head, body) = response.into_parts();
    // Answers are whole in memory; what they may have is bounded where they are made.
    let Ok(bytes) = axum::body::to_bytes(body, usize::MAX).await else {
        return crate::problem::Problem::internal().into_response();
    };
    head.headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    let packed = (bytes.len() >= LEAST_BYTES).then(|| pack(&bytes)).and_then(Result::ok);
    match packed.filter(|packed| packed.len() < bytes.len()) {
        Some(packed) => {
            head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            head.headers.remove(CONTENT_LENGTH);
            Response::from_parts(head, Body::from(packed))
        }
        None => Response::from_parts(head, Body::from(bytes)),
    }
}

fn pack(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(bytes)?;
    packer.finish()
}

/// Whether gzip is named, or everything is, and not with a quality of nothing.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let mut all = false;
    for value in headers.get_all(ACCEPT_ENCODING) {
        for coding in value.to_str().unwrap_or_default().split(',') {
            let mut parts = coding.split(';').map(|part| part.trim().to_ascii_lowercase());
            let name = parts.next().unwrap_or_default();
            let refused = parts.any(|p| p.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0)));
            match name.as_str() {
                "gzip" | "x-gzip" => return !refused,
                "*" => all = !refused,
                _ => {}
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_taken_where_it_is_accepted() {
        for (accept, expect) in [
            ("gzip", true),
            ("br, GZIP;q=0.5", true),
            ("*", true),
            ("gzip;q=0", false),
            ("*, gzip;q=0.0", false),
            ("br, zstd", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(accept));
            assert_eq!(accepts_gzip(&headers), expect, "{accept}");
        }
    }
}
