//! How authentication is shown: kinds, names and certificates, never a secret.

use serde_json::{Map, Value, json};

use crate::api::show;
use crate::model::authentication::{ApiKey, Authentication, Basic, ClientAuthentication, ClientCertificate};
use crate::model::certificate::{CertificateSummary, TrustedCertificates};
use crate::model::server_authentication::ServerAuthentication;

/// What is shown to a server, without its secrets.
pub(in crate::api) fn authentication(shown: &Authentication) -> Value {
    let mut forms = Map::new();
    if let Some(ApiKey { header, .. }) = &shown.api_key {
        forms.insert("api_key".to_owned(), json!({ "header": header }));
    }
    if let Some(Basic { username, .. }) = &shown.basic {
        forms.insert("basic".to_owned(), json!({ "username": username }));
    }
    if shown.bearer.is_some() {
        forms.insert("bearer".to_owned(), json!({}));
    }
    if let Some(oauth2) = &shown.oauth2 {
        let assertion_audience = match &oauth2.client_authentication {
            ClientAuthentication::PrivateKeyJwt { audience } => audience.as_deref(),
            ClientAuthentication::ClientSecretBasic { .. }
            | ClientAuthentication::ClientSecretPost { .. } => None,
        };
        let shown = json!({
            "token_url": oauth2.token_url,
            "client_id": oauth2.client_id,
            "client_authentication": oauth2.client_authentication.name(),
            "assertion_audience": assertion_audience,
            "scope": oauth2.scope,
            "audience": oauth2.audience,
            "ca_certificates": oauth2.ca_certificates.as_ref().map(certificates),
        });
        forms.insert("oauth2".to_owned(), shown);
    }
    match &shown.client_certificate {
        None => {}
        Some(ClientCertificate::Own) => {
            forms.insert("client_certificate".to_owned(), json!({ "source": "own" }));
        }
        Some(ClientCertificate::Uploaded(uploaded)) => {
            let mut shown = certificate(&uploaded.summary);
            shown["source"] = "uploaded".into();
            forms.insert("client_certificate".to_owned(), shown);
        }
    }
    if !shown.headers.is_empty() {
        forms.insert("headers".to_owned(), shown.headers.keys().cloned().collect());
    }
    forms.into()
}

/// What a server must prove. All of it is public.
pub(in crate::api) fn server(asked: &ServerAuthentication) -> Value {
    json!({ "ca_certificates": asked.ca_certificates.as_ref().map(certificates), "pins": asked.pins })
}

fn certificates(trusted: &TrustedCertificates) -> Value {
    trusted.certificates.iter().map(certificate).collect()
}

fn certificate(summary: &CertificateSummary) -> Value {
    json!({
        "subject": summary.subject,
        "fingerprint_sha256": summary.fingerprint_sha256,
        "not_after": show::moment(summary.not_after),
    })
}
