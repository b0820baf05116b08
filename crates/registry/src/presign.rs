//! Presigned requests of S3: a URL by which somebody without credentials may put one object.
//!
//! AWS Signature Version 4 in the query ("Authenticating Requests: Using Query Parameters", S3
//! API reference), made in process by the library that signs for the SDKs.

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4::SigningParams;
use std::time::{Duration, SystemTime};

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Where an object goes, and as whom.
pub(crate) struct Put<'a> {
    /// `https://host/path`, whose characters stand for themselves.
    pub(crate) url: &'a str,
    /// The URL's host, with its port if it names one.
    pub(crate) host: &'a str,
    pub(crate) region: &'a str,
    pub(crate) credentials: Credentials,
    pub(crate) now: SystemTime,
}

/// The URL for putting an object with exactly these headers, for so long.
pub(crate) fn put(put: Put<'_>, headers: &[(String, String)], open: Duration) -> Result<String, Failed> {
    let mut settings = SigningSettings::default();
    settings.expires_in = Some(open);
    settings.signature_location = SignatureLocation::QueryParams;
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    let identity = put.credentials.into();
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(put.region)
        .name("s3")
        .time(put.now)
        .settings(settings)
        .build()?
        .into();
    let signed = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let signed = std::iter::once(("host", put.host)).chain(signed);
    // What the body is, is said by a header of its own.
    let request = SignableRequest::new("PUT", put.url, signed, SignableBody::UnsignedPayload)?;
    let (instructions, _) = sign(request, &parameters)?.into_parts();
    let mut request = http::Request::builder().method("PUT").uri(put.url).body(())?;
    instructions.apply_to_request_http1x(&mut request);
    Ok(request.uri().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand after the documentation, with the same inputs: HMAC-SHA256 of the string to sign.
    fn by_hand(canonical: &str, scope: &str, time: &str, secret: &str) -> String {
        use sha2::Digest as _;
        let mac = |key: &[u8], text: &str| {
            let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key);
            aws_lc_rs::hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
        };
        let digest = hex::encode(sha2::Sha256::digest(canonical));
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{digest}");
        let key = scope.split('/').fold(format!("AWS4{secret}").into_bytes(), |key, part| mac(&key, part));
        hex::encode(mac(&key, &text))
    }

    #[test]
    fn the_signature_is_over_size_checksum_and_host() {
        let put = |headers: &[(String, String)]| {
            let put = Put {
                url: "https://b.s3.eu-central-1.amazonaws.com/uploads/7/ab.wasm",
                host: "b.s3.eu-central-1.amazonaws.com",
                region: "eu-central-1",
                credentials: Credentials::new("akid", "secret", None, None, "test"),
                now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600),
            };
            super::put(put, headers, Duration::from_secs(900)).unwrap()
        };
        let headers = [("content-length", "9"), ("x-amz-checksum-sha256", "abc=")];
        let headers = headers.map(|(k, v)| (k.to_owned(), v.to_owned()));
        let url = put(&headers);
        let (_, query) = url.split_once('?').unwrap();
        let mut rest: Vec<&str> = query.split('&').collect();
        rest.sort_unstable();
        let signature = rest.iter().position(|p| p.starts_with("X-Amz-Signature=")).unwrap();
        let signature = rest.remove(signature).split_once('=').unwrap().1.to_owned();
        let canonical = format!(
            "PUT\n/uploads/7/ab.wasm\n{}\ncontent-length:9\nhost:b.s3.eu-central-1.amazonaws.com\n\
             x-amz-checksum-sha256:abc=\n\ncontent-length;host;x-amz-checksum-sha256\nUNSIGNED-PAYLOAD",
            rest.join("&")
        );
        let scope = "20260101/eu-central-1/s3/aws4_request";
        assert_eq!(signature, by_hand(&canonical, scope, "20260101T000000Z", "secret"), "{url}");
        assert!(rest.contains(&"X-Amz-Expires=900"), "{url}");
        // Another size has another signature.
        let mut other = headers.clone();
        other[0].1 = "10".into();
        assert!(!put(&other).contains(&signature));
    }
}
