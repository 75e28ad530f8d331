//! The media type of a request (RFC 8935 §2), compared exactly.
//!
//! Relies on `http`. Guarantees that what two parsers could read in two ways is refused.

use http::{HeaderMap, header::CONTENT_TYPE};

use crate::Reject;

/// Checks that a request is said to carry a Security Event Token: exactly one `Content-Type`, which is
/// `application/secevent+jwt` without parameters, in any case.
///
/// ```
/// use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
/// use waxseal_receiver::check_media_type;
///
/// let mut headers = HeaderMap::new();
/// assert!(check_media_type(&headers).is_err());
/// headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/secevent+jwt"));
/// assert!(check_media_type(&headers).is_ok());
/// headers.append(CONTENT_TYPE, HeaderValue::from_static("application/secevent+jwt"));
/// assert!(check_media_type(&headers).is_err());
/// ```
pub fn check_media_type(headers: &HeaderMap) -> Result<(), Reject> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    match (values.next(), values.next()) {
        (Some(only), None) if only.as_bytes().eq_ignore_ascii_case(SECEVENT) => Ok(()),
        _ => Err(Reject::MediaType),
    }
}

const SECEVENT: &[u8] = b"application/secevent+jwt";
