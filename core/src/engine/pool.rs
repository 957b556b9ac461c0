//! The servers to connect to: those given, and those the cluster tells about.

use std::net::IpAddr;

use rand::seq::SliceRandom;
use url::Url;

use crate::error::{Code, Error, Result};
use crate::options::{ConnectOptions, redact};

const DEFAULT_URL: &str = "nats://localhost:4222";
const DEFAULT_PORT: u16 = 4222;
/// More than any real cluster; a server that gossips without end must not fill the memory.
const MOST_DISCOVERED: usize = 1024;

/// One server of the pool.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// TLS or nothing.
    pub(crate) tls: bool,
    /// User information of the URL.
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    /// The name to verify when the host is a discovered address.
    pub(crate) tls_name: Option<String>,
    pub(crate) discovered: bool,
    /// The last refusal of our credentials here.
    pub(crate) refused: Option<String>,
}

impl Server {
    /// `host:port`, without anything secret.
    pub(crate) fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    fn is(&self, other: &Server) -> bool {
        self.port == other.port && self.host.eq_ignore_ascii_case(&other.host)
    }
}

/// The pool, used in turn.
pub(crate) struct Pool {
    servers: Vec<Server>,
    next: usize,
    tls: bool,
    keep_order: bool,
}

impl Pool {
    pub(crate) fn new(options: &ConnectOptions) -> Result<Pool> {
        let mut pool =
            Pool { servers: Vec::new(), next: 0, tls: options.tls.is_wanted(), keep_order: options.keep_server_order };
        pool.set(&options.servers)?;
        Ok(pool)
    }

    /// Replaces the pool.
    pub(crate) fn set(&mut self, urls: &[String]) -> Result<()> {
        let mut servers = Vec::new();
        for list in urls {
            for url in list.split(',').map(str::trim).filter(|u| !u.is_empty()) {
                // A comma may be part of a password that was not escaped: then no part alone is fit to be shown.
                let shown = if list.contains('@') { list } else { url };
                servers.push(parse_shown(url, shown)?);
            }
        }
        if servers.is_empty() {
            servers.push(parse(DEFAULT_URL)?);
        }
        // One tls:// makes the whole pool TLS: a break must not lead to a server that is spoken to in clear.
        self.tls |= servers.iter().any(|s| s.tls);
        servers.iter_mut().for_each(|s| s.tls = self.tls);
        if !self.keep_order {
            servers.shuffle(&mut rand::rng());
        }
        self.servers = servers;
        self.next = 0;
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.servers.len()
    }

    /// The next server in turn.
    pub(crate) fn take(&mut self) -> Server {
        let at = self.next % self.servers.len().max(1);
        self.next = at + 1;
        self.servers.get(at).cloned().unwrap_or_else(|| Server {
            host: "localhost".into(),
            port: DEFAULT_PORT,
            tls: self.tls,
            user: None,
            password: None,
            tls_name: None,
            discovered: false,
            refused: None,
        })
    }

    /// Adds what the cluster told, learned from `from`. True: something was new.
    pub(crate) fn discover(&mut self, urls: &[String], from: &Server) -> bool {
        let mut new = false;
        for url in urls {
            let Ok(mut server) = parse(url) else { continue };
            if self.servers.iter().any(|have| have.is(&server)) || self.servers.len() >= MOST_DISCOVERED {
                continue;
            }
            server.discovered = true;
            server.tls = self.tls;
            (server.user, server.password) = (from.user.clone(), from.password.clone());
            if server.host.parse::<IpAddr>().is_ok() {
                // An address is no name for another one: without a name each certificate speaks for its own address.
                let named = from.host.parse::<IpAddr>().is_err();
                server.tls_name = from.tls_name.clone().or_else(|| named.then(|| from.host.clone()));
            }
            // Among those that come later, so that a whole cluster does not move to one server.
            let at = if self.keep_order {
                self.servers.len()
            } else {
                rand::random_range(self.next.min(self.servers.len())..=self.servers.len())
            };
            self.servers.insert(at, server);
            new = true;
        }
        // Servers that left the cluster are not tried any more.
        if !urls.is_empty() {
            let told: Vec<Server> = urls.iter().filter_map(|u| parse(u).ok()).collect();
            let stays = |s: &Server| !s.discovered || s.is(from) || told.iter().any(|t| t.is(s));
            let ahead = self.servers.iter().take(self.next).filter(|s| !stays(s)).count();
            self.servers.retain(stays);
            self.next = self.next.saturating_sub(ahead);
        }
        new
    }

    /// Notes a refusal of our credentials. True: the same one as last time, so a third try is pointless.
    pub(crate) fn refused(&mut self, server: &Server, text: &str) -> bool {
        let Some(have) = self.servers.iter_mut().find(|s| s.is(server)) else { return false };
        let again = have.refused.as_deref() == Some(text);
        have.refused = Some(text.to_owned());
        again
    }

    /// Our credentials were accepted.
    pub(crate) fn accepted(&mut self, server: &Server) {
        if let Some(have) = self.servers.iter_mut().find(|s| s.is(server)) {
            have.refused = None;
        }
    }

    /// The addresses, for people.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.servers.iter().map(Server::address).collect()
    }
}

/// Reads a server URL; a bare `host:port` is `nats://`.
pub(crate) fn parse(text: &str) -> Result<Server> {
    parse_shown(text, text)
}

/// Like `parse`; what failures show, without secrets, is `shown`.
fn parse_shown(text: &str, shown: &str) -> Result<Server> {
    let bad = |why: &str| Error::new(Code::InvalidArgument, format!("server URL {:?}: {why}", redact(shown)));
    let whole = if text.contains("://") { text.to_owned() } else { format!("nats://{text}") };
    let url = Url::parse(&whole).map_err(|e| bad(&e.to_string()))?;
    let tls = match url.scheme() {
        "nats" => false,
        "tls" => true,
        "ws" | "wss" | "unix" => {
            return Err(Error::new(
                Code::Unsupported,
                format!("server URL {:?}: this version speaks nats:// and tls:// only", redact(shown)),
            ));
        }
        _ => return Err(bad("the scheme must be nats or tls")),
    };
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err(bad("nothing may follow the port"));
    }
    let host = url.host_str().filter(|h| !h.is_empty()).ok_or_else(|| bad("there is no host"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let decode = |part: &str| {
        percent_decode(part).filter(|p| !p.is_empty()).ok_or_else(|| bad("the user information is not valid UTF-8"))
    };
    let user = if url.username().is_empty() { None } else { Some(decode(url.username())?) };
    // An empty password is one, too; the reader of URLs does not tell it from none, which would make the user a token.
    let mut password = url.password().map(decode).transpose()?;
    let named = |(_, rest): (&str, &str)| rest.rsplit_once('@').is_some_and(|(who, _)| who.contains(':'));
    if password.is_none() && whole.split_once("://").is_some_and(named) {
        password = Some(String::new());
    }
    if password.is_some() && user.is_none() {
        return Err(bad("there is a password and no user"));
    }
    Ok(Server {
        host,
        port: url.port().unwrap_or(DEFAULT_PORT),
        tls,
        user,
        password,
        tls_name: None,
        discovered: false,
        refused: None,
    })
}

fn percent_decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let high = char::from(bytes.next()?).to_digit(16)?;
        let low = char::from(bytes.next()?).to_digit(16)?;
        out.push((high * 16 + low) as u8);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(servers: &[&str]) -> Pool {
        Pool::new(&ConnectOptions {
            servers: servers.iter().map(|s| (*s).to_owned()).collect(),
            keep_server_order: true,
            ..ConnectOptions::default()
        })
        .unwrap()
    }

    #[test]
    fn urls_are_read_and_refused() {
        let s = parse("nats://us%40er:p%3Ass@host:1").unwrap();
        assert_eq!(
            (s.user.as_deref(), s.password.as_deref(), s.address()),
            (Some("us@er"), Some("p:ss"), "host:1".into())
        );
        assert_eq!(parse("tok@h").unwrap().user.as_deref(), Some("tok"));
        assert_eq!(parse("[::1]:5").unwrap().address(), "[::1]:5");
        assert_eq!(parse("h").unwrap().port, 4222);
        assert!(parse("tls://h").unwrap().tls);
        let s = parse("nats://joe:@h").unwrap();
        assert_eq!((s.user.as_deref(), s.password.as_deref()), (Some("joe"), Some("")));
        for bad in
            ["http://h", "nats://", "nats://h:99999", "nats://h/path", "nats://a b", "nats://:pw@h", "nats://:@h"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let text = parse("nats://joe:secret@h:x").err().unwrap().to_string();
        assert!(!text.contains("secret"), "{text}");
    }

    #[test]
    fn one_tls_url_makes_all_tls() {
        let mut pool = pool(&["nats://a", "tls://b"]);
        let a = pool.take();
        assert!(pool.discover(&["1.2.3.4:4222".into()], &a));
        assert!((0..3).all(|_| pool.take().tls));
    }

    #[test]
    fn gossip_is_added_once_and_leaves_again() {
        let mut pool = pool(&["user:pw@a:1"]);
        let a = pool.take();
        assert!(pool.discover(&["b:1".into(), "A:1".into(), "10.0.0.1:2".into(), "nonsense://".into()], &a));
        assert!(!pool.discover(&["b:1".into(), "10.0.0.1:2".into()], &a));
        assert_eq!(pool.addresses(), ["a:1", "b:1", "10.0.0.1:2"]);
        let b = pool.take();
        assert_eq!((b.user.as_deref(), b.tls_name), (Some("user"), None));
        assert_eq!(pool.take().tls_name.as_deref(), Some("a"));
        let at_address = Server { host: "10.0.0.9".into(), ..a.clone() };
        assert!(pool.discover(&["b:1".into(), "10.0.0.1:2".into(), "10.0.0.3:2".into()], &at_address));
        assert_eq!(pool.servers.iter().find(|s| s.host == "10.0.0.3").map(|s| s.tls_name.clone()), Some(None));
        assert!(pool.discover(&["c:1".into()], &a));
        assert_eq!(pool.addresses(), ["a:1", "c:1"]);
    }

    #[test]
    fn the_same_refusal_twice_is_final() {
        let mut pool = pool(&["a"]);
        let a = pool.take();
        assert!(!pool.refused(&a, "no"));
        assert!(pool.refused(&a, "no"));
        pool.accepted(&a);
        assert!(!pool.refused(&a, "no"));
    }
}
