//! `/.well-known/waxseal/signing-keys/{kid}.pem`: the published keys as certificates, for tools that want those.
//!
//! Open to everybody, like the JWKS, and as long in caches. A key that the JWKS does not have is not here either.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};

use super::Api;
use super::problem::Problem;
use super::request::{Name, NoQuery};

pub(super) async fn get(State(api): State<Api>, Name(file): Name, _: NoQuery) -> Result<Response, Problem> {
    if !api.signing_keys.are_trusted() {
        return Err(Problem::behind());
    }
    let certificate = file.strip_suffix(".pem").and_then(|kid| api.signing_keys.certificate(kid));
    let certificate = certificate.ok_or_else(|| Problem::not_found("published signing key"))?;
    let headers = [
        // RFC 8555 section 9.1.
        (CONTENT_TYPE, "application/pem-certificate-chain".to_owned()),
        (CACHE_CONTROL, format!("public, max-age={}", api.jwks_max_age.as_secs())),
        (ETAG, format!("\"{}\"", certificate.thumbprint())),
    ];
    Ok((headers, certificate.to_pem()).into_response())
}
