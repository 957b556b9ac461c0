//! The byte stream below the protocol: TCP, and TLS over it.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use rand::seq::SliceRandom;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::engine::pool::Server;
use crate::error::{Code, Error, Result};
use crate::options::TlsOptions;

/// A connection's bytes.
pub(crate) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Transport {
    /// Another handle of the socket, to be written to beside the driver; none where the bytes are not plain.
    pub(crate) fn direct(&self) -> Option<std::net::TcpStream> {
        match self {
            Transport::Plain(stream) => socket2::SockRef::from(stream).try_clone().ok().map(Into::into),
            Transport::Tls(_) => None,
        }
    }
}

/// Connects to the first address that answers; the addresses are tried in random order within `limit`.
pub(crate) async fn dial(server: &Server, limit: Duration) -> Result<TcpStream> {
    let address = server.address();
    let failed = |why: &dyn std::fmt::Display| {
        Error::new(Code::Connection, format!("cannot connect to {address}: {why}")).with_server(address.clone())
    };
    let found = tokio::net::lookup_host((server.host.as_str(), server.port)).await;
    let mut addresses: Vec<SocketAddr> = found.map_err(|e| failed(&e))?.collect();
    addresses.shuffle(&mut rand::rng());
    let mut last = failed(&"the name has no address");
    let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    for at in addresses {
        // One address that swallows packets must not use up the time of the others.
        match tokio::time::timeout(limit / count, TcpStream::connect(at)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(e)) => last = failed(&e).with_source(e),
            Err(_) => last = failed(&"no answer"),
        }
    }
    Err(last)
}

/// Socket options: no delay, and the kernel gives up on a peer that vanished after `dead_after`.
pub(crate) fn tune(stream: &TcpStream, dead_after: Duration) {
    // An option that this system does not have costs only the early notice; our own PINGs still find a dead peer.
    let _ = stream.set_nodelay(true);
    let socket = socket2::SockRef::from(stream);
    let keepalive = socket2::TcpKeepalive::new().with_time(Duration::from_secs(15));
    let _ = socket.set_tcp_keepalive(&keepalive);
    #[cfg(any(target_os = "android", target_os = "linux"))]
    let _ = socket.set_tcp_user_timeout(Some(dead_after));
    let _ = dead_after;
}

/// Wraps a stream in TLS.
pub(crate) async fn wrap(stream: TcpStream, server: &Server, options: &TlsOptions) -> Result<Transport> {
    let address = server.address();
    let config = config(options).await?;
    let name = options.server_name.as_deref().or(server.tls_name.as_deref()).unwrap_or(&server.host).to_owned();
    let name = ServerName::try_from(name.clone())
        .map_err(|_| Error::new(Code::InvalidArgument, format!("{name:?} is no name that TLS can verify")))?;
    let stream = TlsConnector::from(config).connect(name, stream).await.map_err(|e| {
        Error::new(Code::Connection, format!("TLS with {address} failed: {e}")).with_server(address).with_source(e)
    })?;
    Ok(Transport::Tls(Box::new(stream)))
}

/// The TLS set-up. Files are read at each connect, so renewed certificates are used at once.
async fn config(options: &TlsOptions) -> Result<Arc<ClientConfig>> {
    let options = options.clone();
    tokio::task::spawn_blocking(move || pem::config(&options))
        .await
        .map_err(|e| Error::new(Code::Internal, "reading the certificates was interrupted").with_source(e))?
}

mod pem {
    use std::path::Path;

    use rustls::RootCertStore;
    use rustls_pki_types::pem::PemObject;
    use rustls_pki_types::{CertificateDer, PrivateKeyDer};

    use super::*;

    /// The system's certificates: slow to load on some systems, and they do not change while we run.
    static SYSTEM: OnceLock<std::result::Result<Arc<RootCertStore>, String>> = OnceLock::new();

    fn invalid(what: &str, why: &dyn std::fmt::Display) -> Error {
        Error::new(Code::InvalidArgument, format!("{what} cannot be used: {why}"))
    }

    fn text_or_file(what: &str, text: &Option<String>, file: Option<&Path>) -> Result<Option<Vec<u8>>> {
        match (text, file) {
            (Some(text), _) => Ok(Some(text.clone().into_bytes())),
            (None, Some(path)) => {
                std::fs::read(path).map(Some).map_err(|e| invalid(&format!("{what} {}", path.display()), &e))
            }
            (None, None) => Ok(None),
        }
    }

    fn certificates(what: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
        let found: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        match found {
            Ok(found) if found.is_empty() => Err(invalid(what, &"it holds no certificate")),
            Ok(found) => Ok(found),
            Err(e) => Err(invalid(what, &e)),
        }
    }

    pub(super) fn config(options: &TlsOptions) -> Result<Arc<ClientConfig>> {
        let roots = match text_or_file("the CA certificate", &options.ca_pem, options.ca_file.as_deref())? {
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates("the CA certificate", &pem)? {
                    roots.add(certificate).map_err(|e| invalid("the CA certificate", &e))?;
                }
                Arc::new(roots)
            }
            None => SYSTEM
                .get_or_init(system)
                .clone()
                .map_err(|e| Error::new(Code::InvalidArgument, format!("{e}; give ca_pem or ca_file")))?,
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| Error::new(Code::Internal, "TLS could not be set up").with_source(e))?
            .with_root_certificates(roots);
        let chain = text_or_file("the client certificate", &options.cert_pem, options.cert_file.as_deref())?;
        let key =
            text_or_file("the client key", &options.key_pem, options.key_file.as_deref())?.map(zeroize::Zeroizing::new);
        let config = match (chain, key) {
            (Some(chain), Some(key)) => {
                let chain = certificates("the client certificate", &chain)?;
                // The parser's own words may repeat a part of the key.
                let key = PrivateKeyDer::from_pem_slice(&key)
                    .map_err(|_| invalid("the client key", &"it holds no private key in PEM form"))?;
                builder.with_client_auth_cert(chain, key).map_err(|e| invalid("the client certificate", &e))?
            }
            _ => builder.with_no_client_auth(),
        };
        Ok(Arc::new(config))
    }

    fn system() -> std::result::Result<Arc<RootCertStore>, String> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        // Some stores hold a certificate or two that cannot be read: the others still count.
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            let why = found.errors.first().map(|e| format!(": {e}")).unwrap_or_default();
            return Err(format!("the system has no certificates to trust{why}"));
        }
        Ok(Arc::new(roots))
    }
}

impl AsyncRead for Transport {
    #[inline]
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(s) => Pin::new(s).poll_read(cx, buf),
            Transport::Tls(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    #[inline]
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Transport::Plain(s) => Pin::new(s).poll_write(cx, buf),
            Transport::Tls(s) => Pin::new(s).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(_) => Poll::Ready(Ok(())),
            Transport::Tls(s) => Pin::new(s).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(s) => Pin::new(s).poll_shutdown(cx),
            Transport::Tls(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}
