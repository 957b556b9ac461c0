//! What a client says in CONNECT, and what the session knows about the connection.

use std::fmt;
use std::net::SocketAddr;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

/// The CONNECT document. Unknown fields are ignored; secrets never show in its debug form.
#[derive(Clone)]
#[allow(missing_docs)] // the fields of the wire, described in the protocol's own documentation
pub struct ConnectDoc {
    pub verbose: bool,
    pub pedantic: bool,
    pub tls_required: bool,
    pub user: Option<String>,
    pub pass: Option<String>,
    pub auth_token: Option<String>,
    pub nkey: Option<String>,
    pub jwt: Option<String>,
    pub sig: Option<String>,
    pub name: Option<String>,
    pub lang: Option<String>,
    pub version: Option<String>,
    pub protocol: i64,
    pub echo: bool,
    pub headers: bool,
    pub no_responders: bool,
}

impl Default for ConnectDoc {
    fn default() -> Self {
        ConnectDoc {
            // Absent means on, as on nats-server.
            verbose: true,
            pedantic: true,
            tls_required: false,
            user: None,
            pass: None,
            auth_token: None,
            nkey: None,
            jwt: None,
            sig: None,
            name: None,
            lang: None,
            version: None,
            protocol: 0,
            echo: true,
            headers: false,
            no_responders: false,
        }
    }
}

/// As nats-server reads it: `null` says nothing, of two fields with one name the last counts, and the case of names does not.
impl<'de> Deserialize<'de> for ConnectDoc {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ConnectDoc, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = ConnectDoc;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a document of fields")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ConnectDoc, A::Error> {
        let mut doc = ConnectDoc::default();
        while let Some(mut name) = map.next_key::<String>()? {
            name.make_ascii_lowercase();
            match name.as_str() {
                "verbose" => read(&mut map, &mut doc.verbose)?,
                "pedantic" => read(&mut map, &mut doc.pedantic)?,
                "tls_required" => read(&mut map, &mut doc.tls_required)?,
                "user" => read(&mut map, &mut doc.user)?,
                "pass" => read(&mut map, &mut doc.pass)?,
                "auth_token" => read(&mut map, &mut doc.auth_token)?,
                "nkey" => read(&mut map, &mut doc.nkey)?,
                "jwt" => read(&mut map, &mut doc.jwt)?,
                "sig" => read(&mut map, &mut doc.sig)?,
                "name" => read(&mut map, &mut doc.name)?,
                "lang" => read(&mut map, &mut doc.lang)?,
                "version" => read(&mut map, &mut doc.version)?,
                "protocol" => read(&mut map, &mut doc.protocol)?,
                "echo" => read(&mut map, &mut doc.echo)?,
                "headers" => read(&mut map, &mut doc.headers)?,
                "no_responders" => read(&mut map, &mut doc.no_responders)?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(doc)
    }
}

fn read<'de, A: MapAccess<'de>, T: Deserialize<'de>>(map: &mut A, field: &mut T) -> Result<(), A::Error> {
    if let Some(value) = map.next_value::<Option<T>>()? {
        *field = value;
    }
    Ok(())
}

impl fmt::Debug for ConnectDoc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectDoc")
            .field("name", &self.name)
            .field("lang", &self.lang)
            .field("version", &self.version)
            .field("user", &self.user)
            .field("nkey", &self.nkey)
            .finish_non_exhaustive()
    }
}

/// What the session knows about a connection before CONNECT.
#[derive(Debug, Clone)]
pub struct PeerContext {
    /// The nonce of this connection's INFO; used for one authentication only. Empty when none was sent.
    pub nonce: String,
    /// Subject of a verified client certificate.
    pub tls_subject: Option<String>,
    /// Where the client connects from; `None` for an in-process pipe.
    pub addr: Option<SocketAddr>,
    /// Kind of connection: `STANDARD`, `WEBSOCKET` or `IN_PROCESS`.
    pub kind: &'static str,
}
