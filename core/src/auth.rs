//! CONNECT: who we are, with the proof that the server asked for.

use data_encoding::BASE64URL_NOPAD;
use natsune_credentials::{Creds, KeyPair};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::engine::info::ServerInfo;
use crate::engine::pool::Server;
use crate::error::{Code, Error, Result};
use crate::options::ConnectOptions;

/// The CONNECT document. Made after TLS is up, dropped when it is written.
#[derive(Serialize)]
struct Connect<'a> {
    verbose: bool,
    pedantic: bool,
    tls_required: bool,
    lang: &'static str,
    version: &'static str,
    protocol: u8,
    headers: bool,
    no_responders: bool,
    echo: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pass: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nkey: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwt: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sig: Option<&'a str>,
}

/// What proves who we are, read before each connect.
pub(crate) enum Proof {
    None,
    User(Zeroizing<String>, Zeroizing<String>),
    Token(Zeroizing<String>),
    Key(KeyPair),
    Creds(Box<Creds>),
}

impl Proof {
    /// Reads the credentials that the options name; a file is read again each time, so a new one is used at once.
    pub(crate) async fn read(options: &ConnectOptions) -> Result<Proof> {
        let invalid = |what: &str, why: &dyn std::fmt::Display| {
            Error::new(Code::InvalidArgument, format!("{what} cannot be used: {why}"))
        };
        if let Some(path) = options.creds_file.clone() {
            let shown = path.display().to_string();
            let loaded = tokio::task::spawn_blocking(move || Creds::load(path)).await;
            let creds = loaded
                .map_err(|e| Error::new(Code::Internal, "reading the credentials file was interrupted").with_source(e))?
                .map_err(|e| invalid(&format!("credentials file {shown}"), &e))?;
            return Ok(Proof::Creds(Box::new(creds)));
        }
        if let Some(text) = &options.creds_text {
            return Creds::parse(text).map(|c| Proof::Creds(Box::new(c))).map_err(|e| invalid("creds_text", &e));
        }
        if let Some(seed) = &options.nkey_seed {
            return KeyPair::from_seed(seed.trim()).map(Proof::Key).map_err(|e| invalid("nkey_seed", &e));
        }
        if let Some(token) = &options.token {
            return Ok(Proof::Token(Zeroizing::new(token.clone())));
        }
        if let Some(user) = &options.user {
            let password = options.password.clone().unwrap_or_default();
            return Ok(Proof::User(Zeroizing::new(user.clone()), Zeroizing::new(password)));
        }
        Ok(Proof::None)
    }

    /// What the URL says counts when the options say nothing: `user:password@` or `token@`.
    fn or_url(self, server: &Server) -> Proof {
        match (self, &server.user, &server.password) {
            (Proof::None, Some(user), Some(password)) => {
                Proof::User(Zeroizing::new(user.clone()), Zeroizing::new(password.clone()))
            }
            (Proof::None, Some(token), None) => Proof::Token(Zeroizing::new(token.clone())),
            (proof, _, _) => proof,
        }
    }

    /// The CONNECT document for this server and its nonce.
    pub(crate) fn connect(
        self,
        options: &ConnectOptions,
        server: &Server,
        info: &ServerInfo,
        over_tls: bool,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let proof = self.or_url(server);
        let mut connect = Connect {
            verbose: false,
            pedantic: false,
            tls_required: over_tls,
            lang: "rust",
            version: env!("CARGO_PKG_VERSION"),
            protocol: 1,
            headers: true,
            no_responders: true,
            echo: !options.no_echo,
            name: options.name.as_deref(),
            user: None,
            pass: None,
            auth_token: None,
            nkey: None,
            jwt: None,
            sig: None,
        };
        let sign = |key: &KeyPair| -> Result<String> {
            if info.nonce.is_empty() {
                return Ok(String::new());
            }
            let signature = key
                .sign(info.nonce.as_bytes())
                .map_err(|e| Error::new(Code::InvalidArgument, format!("the nonce cannot be signed: {e}")))?;
            Ok(BASE64URL_NOPAD.encode(&signature))
        };
        let (signature, public);
        match &proof {
            Proof::None => {}
            Proof::User(user, password) => {
                (connect.user, connect.pass) = (Some(user.as_str()), Some(password.as_str()));
            }
            Proof::Token(token) => connect.auth_token = Some(token),
            Proof::Key(key) => {
                (signature, public) = (sign(key)?, key.public_key());
                (connect.sig, connect.nkey) = (Some(signature.as_str()), Some(public.as_str()));
            }
            Proof::Creds(creds) => {
                signature = sign(&creds.key)?;
                (connect.sig, connect.jwt) = (Some(signature.as_str()), Some(creds.jwt.as_str()));
            }
        }
        serde_json::to_vec(&connect)
            .map(Zeroizing::new)
            .map_err(|e| Error::new(Code::Internal, "CONNECT could not be written").with_source(e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::pool::parse;

    async fn connect(options: &ConnectOptions, url: &str, nonce: &str) -> serde_json::Value {
        let info = ServerInfo { nonce: nonce.into(), ..ServerInfo::default() };
        let proof = Proof::read(options).await.unwrap();
        let text = proof.connect(options, &parse(url).unwrap(), &info, false).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    #[tokio::test]
    async fn each_way_sends_its_fields_and_nothing_else() {
        let none = connect(&ConnectOptions::default(), "h", "").await;
        assert!(["user", "pass", "auth_token", "jwt", "nkey", "sig", "name"].iter().all(|k| none.get(k).is_none()));
        assert_eq!(
            (&none["echo"], &none["headers"], &none["no_responders"]),
            (&true.into(), &true.into(), &true.into())
        );
        let url = connect(&ConnectOptions::default(), "joe:pw@h", "").await;
        assert_eq!((&url["user"], &url["pass"]), (&"joe".into(), &"pw".into()));
        let token = connect(&ConnectOptions::default(), "tok@h", "").await;
        assert_eq!(token["auth_token"], "tok");
        let options = ConnectOptions { user: Some("u".into()), no_echo: true, ..ConnectOptions::default() };
        let user = connect(&options, "joe:pw@h", "").await;
        assert_eq!((&user["user"], &user["echo"]), (&"u".into(), &false.into()));
        let key = KeyPair::new_user();
        let seed = key.seed().unwrap().expose().to_owned();
        let options = ConnectOptions { nkey_seed: Some(seed), ..ConnectOptions::default() };
        let signed = connect(&options, "h", "nonce").await;
        let signature = BASE64URL_NOPAD.decode(signed["sig"].as_str().unwrap().as_bytes()).unwrap();
        natsune_credentials::verify(&key.public_key(), b"nonce", &signature).unwrap();
        assert_eq!(signed["nkey"], key.public_key());
    }

    #[tokio::test]
    async fn errors_say_which_file_and_no_secret() {
        let options = ConnectOptions { creds_file: Some("/no/such.creds".into()), ..ConnectOptions::default() };
        let error = Proof::read(&options).await.err().unwrap();
        assert!(error.message().contains("/no/such.creds") && error.code() == Code::InvalidArgument);
        let options = ConnectOptions { nkey_seed: Some("SUNOTASEED".into()), ..ConnectOptions::default() };
        assert!(!Proof::read(&options).await.err().unwrap().to_string().contains("SUNOTASEED"));
    }
}
