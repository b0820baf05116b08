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
/// Zstandard's level: 3 is its own default, much faster than gzip and smaller.
const ZSTD_LEVEL: i32 = 3;

/// How an answer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Zstd,
    Gzip,
}

impl Coding {
    fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    fn pack(self, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Zstd => zstd::bulk::compress(bytes, ZSTD_LEVEL),
            Self::Gzip => {
                let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
                packer.write_all(bytes)?;
                packer.finish()
            }
        }
    }
}

/// Compresses the answer as the request likes it most.
pub(crate) async fn compress(request: Request, next: Next) -> Response {
    let accepted = accepted(request.headers());
    let response = next.run(request).await;
    if response.headers().contains_key(CONTENT_ENCODING) {
        return response;
    }
    let (mut head, body) = response.into_parts();
    // What the answer is depends on the header, also where it is not compressed.
    head.headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    let Some(coding) = accepted else { return Response::from_parts(head, body) };
    // Answers are whole in memory; what they may have is bounded where they are made.
    let Ok(bytes) = axum::body::to_bytes(body, usize::MAX).await else {
        return crate::problem::Problem::internal().into_response();
    };
    let packed = (bytes.len() >= LEAST_BYTES).then(|| coding.pack(&bytes)).and_then(Result::ok);
    match packed.filter(|packed| packed.len() < bytes.len()) {
        Some(packed) => {
            head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
            head.headers.remove(CONTENT_LENGTH);
            Response::from_parts(head, Body::from(packed))
        }
        None => Response::from_parts(head, Body::from(bytes)),
    }
}

/// The coding with the highest quality (RFC 9110, 12.5.3), Zstandard of equal ones; `None` where
/// none is wanted, or the answer as it is is liked better.
fn accepted(headers: &HeaderMap) -> Option<Coding> {
    let mut liked: [Option<f32>; 3] = [None; 3];
    let mut others = None;
    for value in headers.get_all(ACCEPT_ENCODING) {
        for coding in value.to_str().unwrap_or_default().split(',') {
            let mut parts = coding.split(';').map(|part| part.trim().to_ascii_lowercase());
            let name = parts.next().unwrap_or_default();
            let quality = parts.find_map(|part| part.strip_prefix("q=").map(str::to_owned));
            let quality = quality.map_or(1.0, |q| q.parse::<f32>().unwrap_or(0.0)).clamp(0.0, 1.0);
            match name.as_str() {
                "zstd" => liked[0] = Some(quality),
                "gzip" | "x-gzip" => liked[1] = Some(quality),
                "identity" => liked[2] = Some(quality),
                "*" => others = Some(quality),
                _ => {}
            }
        }
    }
    let quality = |named: Option<f32>| named.or(others).unwrap_or(0.0);
    let (zstd, gzip) = (quality(liked[0]), quality(liked[1]));
    let (coding, best) = if zstd >= gzip { (Coding::Zstd, zstd) } else { (Coding::Gzip, gzip) };
    // As it is goes always, and is the choice only where it was named as the better one.
    (best > 0.0 && liked[2].is_none_or(|as_it_is| best >= as_it_is)).then_some(coding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coding_liked_most_is_taken() {
        for (accept, expect) in [
            ("gzip", Some(Coding::Gzip)),
            ("br, GZIP;q=0.5", Some(Coding::Gzip)),
            ("*", Some(Coding::Zstd)),
            ("gzip;q=0", None),
            ("*, zstd;q=0", Some(Coding::Gzip)),
            ("br, zstd", Some(Coding::Zstd)),
            ("gzip, zstd", Some(Coding::Zstd)),
            ("gzip, zstd;q=0.9", Some(Coding::Gzip)),
            ("gzip;q=0.2, zstd;q=0.3, br", Some(Coding::Zstd)),
            ("identity, gzip;q=0.5", None),
            ("identity;q=0.5, gzip;q=0.5", Some(Coding::Gzip)),
            ("gzip;q=high", None),
            ("br", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(accept));
            assert_eq!(accepted(&headers), expect, "{accept}");
        }
    }

    #[test]
    fn what_was_packed_is_what_was_said() {
        let text = "a line of a table\n".repeat(500);
        for coding in [Coding::Zstd, Coding::Gzip] {
            let packed = coding.pack(text.as_bytes()).unwrap();
            assert!(packed.len() < text.len() / 10, "{coding:?} {}", packed.len());
        }
        let packed = Coding::Zstd.pack(text.as_bytes()).unwrap();
        assert_eq!(zstd::bulk::decompress(&packed, text.len()).unwrap(), text.as_bytes());
    }
}
