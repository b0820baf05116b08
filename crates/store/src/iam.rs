//! Tokens that stand for a password: RDS and RDS Proxy take a request for `rds-db:connect`,
//! signed with AWS credentials, instead of one (RDS user guide, "IAM database authentication").
//! Signed in process, with the credentials that Lambda puts into the environment: no call.

use crate::StoreError;
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4::SigningParams;
use eaves_settings::{Postgres, Secret};
use std::time::{Duration, SystemTime};

/// How long a token may be used to connect with; the service allows no longer.
const GOOD_FOR: Duration = Duration::from_secs(15 * 60);

/// A variable that Lambda sets is not there.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not set: EAVES_DB_AUTH=iam needs AWS credentials in the environment, as Lambda sets them")]
struct NoCredentials(&'static str);

/// A token for a new connection of the settings' role.
pub(crate) fn token(settings: &Postgres, region: &str) -> Result<Secret, StoreError> {
    let credentials = credentials(|name| std::env::var(name).ok().filter(|v| !v.is_empty()))
        .map_err(|e| StoreError::Token(e.into()))?;
    signed(settings, region, credentials, SystemTime::now())
}

fn credentials(var: impl Fn(&'static str) -> Option<String>) -> Result<Credentials, NoCredentials> {
    let required = |name| var(name).ok_or(NoCredentials(name));
    let (id, secret) = (required("AWS_ACCESS_KEY_ID")?, required("AWS_SECRET_ACCESS_KEY")?);
    Ok(Credentials::new(id, secret, var("AWS_SESSION_TOKEN"), None, "environment"))
}

fn signed(
    settings: &Postgres,
    region: &str,
    credentials: Credentials,
    now: SystemTime,
) -> Result<Secret, StoreError> {
    let failed = |e: Box<dyn std::error::Error + Send + Sync>| StoreError::Token(e);
    let mut signing = SigningSettings::default();
    signing.expires_in = Some(GOOD_FOR);
    signing.signature_location = SignatureLocation::QueryParams;
    signing.percent_encoding_mode = PercentEncodingMode::Single;
    let identity = credentials.into();
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("rds-db")
        .time(now)
        .settings(signing)
        .build()
        .map_err(|e| failed(e.into()))?
        .into();
    let (host, port) = (&settings.host, settings.port);
    let user = encoded(&settings.user);
    let url = format!("https://{host}:{port}/?Action=connect&DBUser={user}");
    let authority = format!("{host}:{port}");
    let headers = [("host", authority.as_str())];
    let request = SignableRequest::new("GET", &url, headers.into_iter(), SignableBody::Bytes(&[]))
        .map_err(|e| failed(e.into()))?;
    let (instructions, _) = sign(request, &parameters).map_err(|e| failed(e.into()))?.into_parts();
    let mut token = format!("{authority}/?Action=connect&DBUser={user}");
    for (name, value) in instructions.params() {
        token.push('&');
        token.push_str(name);
        token.push('=');
        token.push_str(&encoded(value));
    }
    Ok(Secret::new(token))
}

/// Percent-encoding as signatures have it: all but letters, digits and `-._~`.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use eaves_settings::{SignIn, Tls};

    fn settings() -> Postgres {
        Postgres {
            host: "prod-instance.us-east-1.rds.amazonaws.com".into(),
            port: 3306,
            database: "eaves".into(),
            user: "peccy".into(),
            password: Secret::new(""),
            sign_in: SignIn::Iam { region: "us-east-1".into() },
            tls: Tls::VerifyFull { ca_file: None },
            statement_timeout: Duration::from_secs(1),
        }
    }

    fn signed_at(seconds: u64, session: Option<&str>) -> String {
        let credentials = Credentials::new("akid", "secret", session.map(Into::into), None, "test");
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        signed(&settings(), "us-east-1", credentials, now).unwrap().expose().to_owned()
    }

    /// The figures of the test in AWS's SDK for Rust (aws-sdk-rds, `signing_works`).
    #[test]
    fn the_token_is_what_awss_sdk_for_rust_makes() {
        // 2024-08-26T22:00:00Z
        assert_eq!(signed_at(1_724_709_600, None), PUBLISHED);
    }

    /// Made with `generate_db_auth_token` of AWS's SDK for Python (botocore).
    #[test]
    fn with_and_without_a_session_it_is_what_botocore_makes() {
        // 2026-11-21T18:26:18Z
        assert_eq!(parts(&signed_at(1_795_285_578, None)), parts(VECTOR));
        assert_eq!(parts(&signed_at(1_795_285_578, Some("session/token+x="))), parts(WITH_SESSION));
    }

    #[test]
    fn missing_credentials_are_named() {
        let e = credentials(|name| (name == "AWS_ACCESS_KEY_ID").then(|| "x".into())).unwrap_err();
        assert!(e.to_string().starts_with("AWS_SECRET_ACCESS_KEY is not set"), "{e}");
    }

    /// The order of the parameters is free.
    fn parts(token: &str) -> std::collections::BTreeSet<&str> {
        token.split(['?', '&']).collect()
    }

    const PUBLISHED: &str = "prod-instance.us-east-1.rds.amazonaws.com:3306/?\
         Action=connect&DBUser=peccy&\
         X-Amz-Algorithm=AWS4-HMAC-SHA256&\
         X-Amz-Credential=akid%2F20240826%2Fus-east-1%2Frds-db%2Faws4_request&\
         X-Amz-Date=20240826T220000Z&\
         X-Amz-Expires=900&\
         X-Amz-SignedHeaders=host&\
         X-Amz-Signature=dd0cba843009474347af724090233265628ace491ea17ce3eb3da098b983ad89";
    const VECTOR: &str = "prod-instance.us-east-1.rds.amazonaws.com:3306/?\
         Action=connect&DBUser=peccy&\
         X-Amz-Algorithm=AWS4-HMAC-SHA256&\
         X-Amz-Credential=akid%2F20261121%2Fus-east-1%2Frds-db%2Faws4_request&\
         X-Amz-Date=20261121T182618Z&\
         X-Amz-SignedHeaders=host&\
         X-Amz-Expires=900&\
         X-Amz-Signature=c9461802b230d9166d0e5100094909133bc7cb2bb62783847c88fe78926e7766";
    const WITH_SESSION: &str = "prod-instance.us-east-1.rds.amazonaws.com:3306/?\
         Action=connect&DBUser=peccy&\
         X-Amz-Algorithm=AWS4-HMAC-SHA256&\
         X-Amz-Credential=akid%2F20261121%2Fus-east-1%2Frds-db%2Faws4_request&\
         X-Amz-Date=20261121T182618Z&\
         X-Amz-SignedHeaders=host&\
         X-Amz-Expires=900&\
         X-Amz-Security-Token=session%2Ftoken%2Bx%3D&\
         X-Amz-Signature=de9b94143128f6c3f980daf33704ea27f55cf506386d470547e974a78d34948c";
}
