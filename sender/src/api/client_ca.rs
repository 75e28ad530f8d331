//! `/v1/client-ca`: the certificate that receivers check our client certificates against.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;

use super::Api;
use super::auth::{Allowed, ToRead};
use super::problem::Problem;
use super::request::NoQuery;

/// PEM, with the media type of RFC 8555 section 9.1. It is public; a consumer's own token is enough.
pub(super) async fn get(State(api): State<Api>, _: Allowed<ToRead>, _: NoQuery) -> Result<Response, Problem> {
    let authority = api.client_authority.current().await?;
    Ok(([(CONTENT_TYPE, "application/pem-certificate-chain")], authority.certificate.clone()).into_response())
}
