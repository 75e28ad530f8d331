//! What a POST carries beside the token: credentials of the endpoint that it is for, and a session of its own.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};
use reqwest::Client;

use super::{Egress, EgressError};
use crate::model::certificate::CertificateWithKey;
use crate::model::server_authentication::ServerAuthentication;

/// What one endpoint's server is shown. Most need none of it.
#[derive(Clone, Default)]
pub struct Access {
    headers: Vec<(HeaderName, HeaderValue)>,
    client: Option<Client>,
}

impl Access {
    /// Adds a header field. The value should be marked as sensitive.
    pub fn header(&mut self, name: HeaderName, value: HeaderValue) {
        self.headers.push((name, value));
    }

    /// Lets it go over sessions in which this certificate is shown and this is asked of the server.
    ///
    /// # Errors
    /// [`EgressError`], if no such session can be had.
    pub fn own_session(
        &mut self,
        egress: &Egress,
        shown: Option<&CertificateWithKey>,
        asked: Option<&ServerAuthentication>,
    ) -> Result<(), EgressError> {
        self.client = Some(egress.clients.of_own(shown, asked)?);
        Ok(())
    }

    /// The values of its header fields.
    pub(crate) fn values(&self) -> impl Iterator<Item = &[u8]> {
        self.headers.iter().map(|(_, value)| value.as_bytes())
    }

    pub(in crate::engine) fn client(&self) -> Option<&Client> {
        self.client.as_ref()
    }

    pub(in crate::engine) fn add_to(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("Access")
            .field("headers", &names)
            .field("own_session", &self.client.is_some())
            .finish()
    }
}
