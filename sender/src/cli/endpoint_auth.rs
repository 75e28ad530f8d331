//! Flags of `waxseal endpoint` for what is shown to an endpoint's server, and for what that must prove.
//!
//! A secret is never an argument: arguments stand in process lists and in the history of shells. Flags name the file
//! that it is in, or `-` for standard input.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::error::CliError;
use super::keys::read_bytes;

/// What is shown to the endpoint's server beside the token, and what that must prove
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Authentication")]
pub struct AuthArgs {
    /// The header that an API key goes into
    #[arg(long, value_name = "NAME", requires = "api_key_file")]
    api_key_header: Option<String>,
    /// A file with the API key; `-` for standard input
    #[arg(long, value_name = "FILE", requires = "api_key_header")]
    api_key_file: Option<String>,
    /// The user name of Basic authentication
    #[arg(long, value_name = "NAME", requires = "basic_password_file")]
    basic_user: Option<String>,
    /// A file with the password; `-` for standard input
    #[arg(long, value_name = "FILE", requires = "basic_user")]
    basic_password_file: Option<String>,
    /// A file with a bearer token that does not change; `-` for standard input
    #[arg(long, value_name = "FILE")]
    bearer_token_file: Option<String>,
    /// Where OAuth2 tokens are fetched with the client credentials grant
    #[arg(long, value_name = "URL", requires = "oauth2_client_id")]
    oauth2_token_url: Option<String>,
    /// Who the sender is at the authorization server
    #[arg(long, value_name = "ID", requires = "oauth2_token_url")]
    oauth2_client_id: Option<String>,
    /// How it proves that
    #[arg(long, requires = "oauth2_token_url")]
    oauth2_method: Option<OAuth2MethodArg>,
    /// A file with the client secret; `-` for standard input
    #[arg(long, value_name = "FILE", requires = "oauth2_token_url")]
    oauth2_secret_file: Option<String>,
    /// What the token is to be good for
    #[arg(long, value_name = "WORDS", requires = "oauth2_token_url")]
    oauth2_scope: Option<String>,
    /// For whom the token is to be good
    #[arg(long, value_name = "NAME", requires = "oauth2_token_url")]
    oauth2_audience: Option<String>,
    /// Whom an assertion of `private_key_jwt` is for, if it is not the token URL
    #[arg(long, value_name = "URL", requires = "oauth2_token_url")]
    oauth2_assertion_audience: Option<String>,
    /// A PEM file with the authorization server's own root certificates
    #[arg(long, value_name = "FILE", requires = "oauth2_token_url")]
    oauth2_ca: Option<PathBuf>,
    /// `own`: a certificate of the sender's authority (see `waxseal keys client-ca`); else a PEM file
    #[arg(long, value_name = "own|FILE")]
    client_certificate: Option<String>,
    /// A PEM file with the key of that certificate; `-` for standard input
    #[arg(long, value_name = "FILE", requires = "client_certificate")]
    client_key_file: Option<String>,
    /// A file with header lines (`name: value`) to send along; `-` for standard input
    #[arg(long, value_name = "FILE")]
    headers_file: Option<String>,
    /// A PEM file with the only root certificates that the endpoint's server may have
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A key that must be in its chain, `sha256/…`; give the one in use and at least one more
    #[arg(long = "pin", value_name = "PIN")]
    pins: Vec<String>,
}

/// What an update takes away.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Authentication")]
pub struct ClearArgs {
    /// Forget a form of authentication; may be given several times
    #[arg(long = "forget", value_name = "FORM")]
    forget: Vec<FormArg>,
    /// Trust the endpoint's server as any other: no private roots, no pins
    #[arg(long, conflicts_with_all = ["ca", "pins"])]
    forget_server: bool,
}

/// How a client proves itself at a token endpoint.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum OAuth2MethodArg {
    /// Id and secret in a header
    ClientSecretBasic,
    /// Id and secret in the form
    ClientSecretPost,
    /// An assertion signed with the sender's own key
    PrivateKeyJwt,
}

/// A form of authentication.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum FormArg {
    /// All of them
    All,
    /// The key in a header
    ApiKey,
    /// User name and password
    Basic,
    /// The token that does not change
    Bearer,
    /// The token that is fetched
    Oauth2,
    /// The certificate
    ClientCertificate,
    /// Headers that are sent along
    Headers,
}

impl AuthArgs {
    /// Adds what was given to the body of a request.
    ///
    /// # Errors
    /// If a file cannot be read, or standard input is to be read for two things.
    pub fn add_to(self, body: &mut Value) -> Result<(), CliError> {
        self.one_standard_input()?;
        let mut forms = Map::new();
        if let (Some(header), Some(file)) = (self.api_key_header, self.api_key_file) {
            forms.insert("api_key".to_owned(), json!({ "header": header, "value": *secret(&file)? }));
        }
        if let (Some(user), Some(file)) = (self.basic_user, self.basic_password_file) {
            forms.insert("basic".to_owned(), json!({ "username": user, "password": *secret(&file)? }));
        }
        if let Some(file) = self.bearer_token_file {
            forms.insert("bearer".to_owned(), json!({ "token": *secret(&file)? }));
        }
        if let Some(token_url) = self.oauth2_token_url {
            let mut oauth2 = json!({ "token_url": token_url, "client_id": self.oauth2_client_id });
            let secret = self.oauth2_secret_file.as_deref().map(secret).transpose()?;
            let roots = self.oauth2_ca.as_deref().map(text).transpose()?;
            for (name, value) in [
                ("client_authentication", self.oauth2_method.map(|method| method.name().to_owned())),
                ("client_secret", secret.map(|secret| secret.to_string())),
                ("scope", self.oauth2_scope),
                ("audience", self.oauth2_audience),
                ("assertion_audience", self.oauth2_assertion_audience),
                ("ca_certificates", roots),
            ] {
                super::consumer::set(&mut oauth2, name, value);
            }
            forms.insert("oauth2".to_owned(), oauth2);
        }
        match (self.client_certificate.as_deref(), self.client_key_file) {
            (None, _) => {}
            (Some("own"), _) => {
                forms.insert("client_certificate".to_owned(), json!({ "source": "own" }));
            }
            (Some(file), Some(key)) => {
                let (certificate, key) = (text(file.as_ref())?, secret(&key)?);
                let uploaded =
                    json!({ "source": "uploaded", "certificate": certificate, "private_key": *key });
                forms.insert("client_certificate".to_owned(), uploaded);
            }
            (Some(_), None) => {
                return Err(CliError::usage(
                    "--client-certificate: its key is needed as well, as --client-key-file",
                ));
            }
        }
        if let Some(file) = self.headers_file {
            forms.insert("headers".to_owned(), headers(&file)?);
        }
        if !forms.is_empty() {
            merge(body, "authentication", forms);
        }
        let mut server = Map::new();
        if let Some(file) = self.ca {
            server.insert("ca_certificates".to_owned(), text(&file)?.into());
        }
        if !self.pins.is_empty() {
            server.insert("pins".to_owned(), self.pins.into());
        }
        if !server.is_empty() {
            merge(body, "server_authentication", server);
        }
        Ok(())
    }

    fn one_standard_input(&self) -> Result<(), CliError> {
        let files = [
            &self.api_key_file,
            &self.basic_password_file,
            &self.bearer_token_file,
            &self.oauth2_secret_file,
            &self.client_key_file,
            &self.headers_file,
        ];
        if files.iter().filter(|file| file.as_deref() == Some("-")).count() > 1 {
            return Err(CliError::usage("standard input (`-`) can be read for one thing only"));
        }
        Ok(())
    }
}

impl ClearArgs {
    /// Adds what is to be forgotten to the body of a request.
    pub fn add_to(self, body: &mut Value) {
        if self.forget.contains(&FormArg::All) {
            body["authentication"] = Value::Null;
        } else if !self.forget.is_empty() {
            let forms = self.forget.iter().map(|form| (form.name().to_owned(), Value::Null)).collect();
            merge(body, "authentication", forms);
        }
        if self.forget_server {
            body["server_authentication"] = Value::Null;
        }
    }
}

impl OAuth2MethodArg {
    fn name(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
        }
    }
}

impl FormArg {
    fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::ApiKey => "api_key",
            Self::Basic => "basic",
            Self::Bearer => "bearer",
            Self::Oauth2 => "oauth2",
            Self::ClientCertificate => "client_certificate",
            Self::Headers => "headers",
        }
    }
}

/// Members beside those that are there already.
fn merge(body: &mut Value, name: &str, members: Map<String, Value>) {
    match body.get_mut(name) {
        Some(Value::Object(there)) => there.extend(members),
        _ => body[name] = members.into(),
    }
}

/// A secret as it stands in a file; the line feed at the end is the editor's.
fn secret(file: &str) -> Result<Zeroizing<String>, CliError> {
    let bytes = Zeroizing::new(read_bytes(file)?);
    let text = std::str::from_utf8(&bytes)
        .map_err(|error| CliError::failed(format!("{file} is not text"), error))?;
    let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    Ok(Zeroizing::new(text.to_owned()))
}

fn text(file: &std::path::Path) -> Result<String, CliError> {
    std::fs::read_to_string(file).map_err(|error| CliError::file(file, error))
}

/// `name: value`, a line each.
fn headers(file: &str) -> Result<Value, CliError> {
    let text = secret(file)?;
    let mut headers = Map::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |why| CliError::usage(format!("{file}, line {}: {why}", number + 1));
        let (name, value) = line.split_once(':').ok_or_else(|| wrong("expected `name: value`"))?;
        if headers.insert(name.trim().to_owned(), value.trim().into()).is_some() {
            return Err(wrong("this header was given before"));
        }
    }
    Ok(headers.into())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        auth: AuthArgs,
        #[command(flatten)]
        clear: ClearArgs,
    }

    fn body(arguments: &[&str]) -> Result<Value, String> {
        let command =
            Command::try_parse_from([&["x"], arguments].concat()).map_err(|error| error.to_string())?;
        let mut body = json!({});
        command.clear.add_to(&mut body);
        command.auth.add_to(&mut body).map_err(|error| error.to_string())?;
        Ok(body)
    }

    #[test]
    fn flags_become_what_the_api_expects() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (secret, pem) = (file("secret", "hunter2\n"), file("pem", "PEM"));
        let lines = file("headers", "X-A: 1\n\nX-B:  two words \n");
        let given = body(&["--api-key-header", "X-Key", "--api-key-file", &secret, "--headers-file", &lines]);
        let expected = json!({ "authentication": {
            "api_key": { "header": "X-Key", "value": "hunter2" },
            "headers": { "X-A": "1", "X-B": "two words" },
        } });
        assert_eq!(given, Ok(expected));
        let given = body(&["--basic-user", "u", "--basic-password-file", &secret, "--forget", "bearer"]);
        let expected = json!({ "username": "u", "password": "hunter2" });
        assert_eq!(given, Ok(json!({ "authentication": { "basic": expected, "bearer": null } })));
        let client = ["--oauth2-token-url", "https://a.example/t", "--oauth2-client-id", "us"];
        let given = body(
            &[&client[..], &["--oauth2-method", "client_secret_post", "--oauth2-secret-file", &secret]]
                .concat(),
        );
        let expected = json!({
            "token_url": "https://a.example/t", "client_id": "us", "client_authentication": "client_secret_post", "client_secret": "hunter2",
        });
        assert_eq!(given, Ok(json!({ "authentication": { "oauth2": expected } })));
        let given = body(&["--client-certificate", &pem, "--client-key-file", &secret]);
        let expected = json!({ "source": "uploaded", "certificate": "PEM", "private_key": "hunter2" });
        assert_eq!(given, Ok(json!({ "authentication": { "client_certificate": expected } })));
        let given =
            body(&["--client-certificate", "own", "--ca", &pem, "--pin", "sha256/a", "--pin", "sha256/b"]);
        let expected = json!({
            "authentication": { "client_certificate": { "source": "own" } },
            "server_authentication": { "ca_certificates": "PEM", "pins": ["sha256/a", "sha256/b"] },
        });
        assert_eq!(given, Ok(expected));
        let given = body(&["--forget", "all", "--forget-server"]);
        assert_eq!(given, Ok(json!({ "authentication": null, "server_authentication": null })));
        assert_eq!(body(&[]), Ok(json!({})));
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for arguments in [
            &["--api-key-header", "x"][..],
            &["--basic-user", "u"],
            &["--oauth2-client-id", "x"],
            &["--client-key-file", "x"],
            &["--client-certificate", "x.pem"],
            &["--bearer-token-file", "-", "--headers-file", "-"],
            &["--forget", "everything"],
            &["--forget-server", "--pin", "sha256/a"],
            &["--bearer-token", "hunter2"],
        ] {
            assert!(body(arguments).is_err(), "{arguments:?}");
        }
    }
}
