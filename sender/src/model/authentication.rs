//! How we prove to an endpoint's server who we are, beside the signed token.
//!
//! The forms may be combined: a header, a client certificate and whatever fills the `Authorization` field. Of that
//! last kind there is one at most, because there is one such field.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use serde::{Deserialize, Serialize};
use url::Url;

use super::certificate::{CertificateWithKey, TrustedCertificates};
use super::secret::Secret;

/// What an endpoint wants to be shown.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Authentication {
    /// A key in a header of its choice.
    pub api_key: Option<ApiKey>,
    /// RFC 7617.
    pub basic: Option<Basic>,
    /// RFC 6750, a token that does not change.
    pub bearer: Option<Bearer>,
    /// RFC 6749 section 4.4: a bearer token that we fetch.
    pub oauth2: Option<OAuth2>,
    /// A certificate of ours in the TLS handshake.
    pub client_certificate: Option<ClientCertificate>,
    /// Header fields by name, in lower case.
    pub headers: BTreeMap<String, Secret>,
}

/// A key in a named header.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// In lower case; `authorization` is allowed here.
    pub header: String,
    /// The whole value.
    pub value: Secret,
}

/// A user and a password.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Basic {
    /// Without a colon.
    pub username: String,
    /// May be empty.
    pub password: Secret,
}

/// A token that does not change.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Bearer {
    /// The token.
    pub token: Secret,
}

/// A client of an authorization server.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OAuth2 {
    /// Where tokens are fetched.
    pub token_url: Url,
    /// Who we are there.
    pub client_id: String,
    /// How we prove it.
    pub client_authentication: ClientAuthentication,
    /// What the token is to be good for: words with spaces between them.
    pub scope: Option<String>,
    /// For whom it is to be good, where the server wants to hear that.
    pub audience: Option<String>,
    /// The authorization server's own roots, in place of the system's. An endpoint's roots are for the endpoint alone.
    pub ca_certificates: Option<TrustedCertificates>,
}

/// How a client proves itself at the token endpoint, by the names of RFC 7591 section 2.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "method", deny_unknown_fields)]
pub enum ClientAuthentication {
    /// Id and secret in the `Authorization` field (RFC 6749 section 2.3.1).
    ClientSecretBasic {
        /// The secret.
        client_secret: Secret,
    },
    /// Id and secret in the form.
    ClientSecretPost {
        /// The secret.
        client_secret: Secret,
    },
    /// A JWT signed with the ring's active key (RFC 7523), whose public half is in our JWKS.
    PrivateKeyJwt {
        /// Whom the assertion is for; the token URL if that is not said.
        audience: Option<String>,
    },
}

/// A certificate of ours.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "source", deny_unknown_fields)]
pub enum ClientCertificate {
    /// Made by the sender's own authority for the endpoint's consumer, and renewed by it.
    Own,
    /// Given with its key.
    Uploaded(Arc<CertificateWithKey>),
}

impl Authentication {
    /// Whether there is nothing to show beside the token.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Every secret text in it that a server is shown, or that something which it is shown was made of.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let client_secret = self.oauth2.as_ref().and_then(|oauth2| match &oauth2.client_authentication {
            ClientAuthentication::ClientSecretBasic { client_secret }
            | ClientAuthentication::ClientSecretPost { client_secret } => Some(client_secret),
            ClientAuthentication::PrivateKeyJwt { .. } => None,
        });
        let password = self.basic.as_ref().map(|basic| &basic.password);
        let bearer = self.bearer.as_ref().map(|bearer| &bearer.token);
        let api_key = self.api_key.as_ref().map(|key| &key.value);
        let one_each = [client_secret, password, bearer, api_key].into_iter().flatten();
        one_each.chain(self.headers.values()).map(Secret::reveal)
    }

    /// The forms that fill the `Authorization` field, by the names that the API has for them.
    pub fn authorizations(&self) -> Vec<&'static str> {
        let api_key = self.api_key.as_ref().is_some_and(|key| key.header == AUTHORIZATION.as_str());
        let forms = [
            (api_key, "api_key"),
            (self.basic.is_some(), "basic"),
            (self.bearer.is_some(), "bearer"),
            (self.oauth2.is_some(), "oauth2"),
        ];
        forms.into_iter().filter_map(|(there, name)| there.then_some(name)).collect()
    }
}

impl fmt::Debug for OAuth2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may carry a secret; its origin is enough to know it by.
        f.debug_struct("OAuth2")
            .field("origin", &self.token_url.origin().ascii_serialization())
            .field("client_id", &self.client_id)
            .field("client_authentication", &self.client_authentication)
            .finish_non_exhaustive()
    }
}

impl ClientAuthentication {
    /// Its name in the API.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ClientSecretBasic { .. } => "client_secret_basic",
            Self::ClientSecretPost { .. } => "client_secret_post",
            Self::PrivateKeyJwt { .. } => "private_key_jwt",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> Authentication {
        let secret = || Secret::new("hunter2");
        let oauth2 = |client_authentication| OAuth2 {
            token_url: Url::parse("https://login.example/token?key=hunter2").unwrap(),
            client_id: "waxseal".to_owned(),
            client_authentication,
            scope: None,
            audience: None,
            ca_certificates: None,
        };
        Authentication {
            api_key: Some(ApiKey { header: "x-api-key".to_owned(), value: secret() }),
            basic: Some(Basic { username: "u".to_owned(), password: secret() }),
            bearer: Some(Bearer { token: secret() }),
            oauth2: Some(oauth2(ClientAuthentication::ClientSecretPost { client_secret: secret() })),
            client_certificate: Some(ClientCertificate::Own),
            headers: [("x-a".to_owned(), secret())].into(),
        }
    }

    #[test]
    fn no_secret_is_shown_and_all_are_kept() {
        let all = everything();
        let shown = format!("{all:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        let kept = serde_json::to_vec(&all).unwrap();
        assert_eq!(serde_json::from_slice::<Authentication>(&kept).unwrap(), all);
    }

    #[test]
    fn forms_that_want_the_same_field_are_told() {
        let mut some = everything();
        assert_eq!(some.authorizations(), ["basic", "bearer", "oauth2"]);
        some.basic = None;
        some.bearer = None;
        assert_eq!(some.authorizations(), ["oauth2"]);
        some.api_key = Some(ApiKey { header: "authorization".to_owned(), value: Secret::new("x") });
        assert_eq!(some.authorizations(), ["api_key", "oauth2"]);
        assert!(Authentication::default().is_none() && !some.is_none());
    }
}
