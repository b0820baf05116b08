//! Tokens: what the local HTTP front and the Lambda authorizer check of them, with the same code.
//!
//! [`Verifier`] checks what API Gateway's JWT authorizer checks: the signature by a key of the issuer
//! (found by `kid`), `iss`, `aud`, `exp`, `nbf`, `iat`. Each key of [`Keys`] is good for the one algorithm
//! that the issuer's list names for it: what a token's header says decides nothing. [`Remote`] has the
//! list from the issuer over HTTPS.

mod keys;
mod remote;
mod verify;

pub use keys::{Keys, KeysError};
pub use remote::{MAX_BYTES, Refused, Remote, Source, SourceError};
pub use verify::{Authorized, Denied, Verifier};
