//! TLS against the real server: upgrade and handshake-first, own CA, client certificates, wrong names.

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use natsune::{Code, ConnectOptions, Event};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use support::{FakeServer, NatsServer, client_with, options, soon, until};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A CA with a server certificate for `localhost` and a client certificate, as files.
struct Certificates {
    dir: tempfile::TempDir,
    ca: String,
    client: (String, String),
}

impl Certificates {
    fn make() -> Certificates {
        let dir = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name.push(DnType::CommonName, "Test CA");
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let issue = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
            let key = KeyPair::generate().unwrap();
            let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &ca).unwrap();
            (certificate.pem(), key.serialize_pem())
        };
        let server = issue(&["localhost"]);
        let client = issue(&["client.local"]);
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("ca.pem", &ca.pem());
        write("cert.pem", &server.0);
        write("key.pem", &server.1);
        write("client.pem", &client.0);
        write("client-key.pem", &client.1);
        Certificates { ca: ca.pem(), client, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn server(&self, more: &str) -> Option<NatsServer> {
        let quoted = |p: &Path| format!("{:?}", p.display().to_string());
        NatsServer::with_config(&format!(
            "tls {{ cert_file: {}, key_file: {}, ca_file: {}, {more} }}\nauthorization {{ user: u, password: p }}",
            quoted(&self.path("cert.pem")),
            quoted(&self.path("key.pem")),
            quoted(&self.path("ca.pem")),
        ))
    }
}

fn tls_options(server: &NatsServer) -> ConnectOptions {
    let mut options = options(&format!("tls://u:p@localhost:{}", server.port));
    options.connect_timeout = Duration::from_secs(10);
    options
}

#[tokio::test]
async fn upgrade_with_our_own_ca_in_every_form() {
    let certificates = Certificates::make();
    let Some(mut server) = certificates.server("timeout: 10") else { return };
    let mut by_text = tls_options(&server);
    by_text.tls.ca_pem = Some(certificates.ca.clone());
    let client = client_with(by_text.clone()).await;
    let mut sub = client.subscribe("s").await.unwrap();
    let payload = vec![7u8; 300_000];
    for _ in 0..20 {
        client.publish("s", &payload).await.unwrap();
    }
    for _ in 0..20 {
        assert!(soon("a message", sub.next()).await.unwrap().unwrap().payload() == payload);
    }
    for n in 0..20_000u32 {
        client.publish("s", n.to_le_bytes()).await.unwrap();
    }
    for n in 0..20_000u32 {
        assert_eq!(soon("a message", sub.next()).await.unwrap().unwrap().payload(), n.to_le_bytes());
    }
    // Also after a break.
    server.restart();
    until("a second connection", || client.connects() == 2).await;
    let counts = soon("flush", client.flush()).await.unwrap();
    assert!(counts.balanced() && counts.pending == 0);

    let mut by_file = tls_options(&server);
    by_file.tls.ca_file = Some(certificates.path("ca.pem"));
    client_with(by_file).await.rtt().await.unwrap();
    // nats:// and the option: the same.
    let mut plain_url = by_text.clone();
    plain_url.servers = vec![format!("nats://u:p@localhost:{}", server.port)];
    client_with(plain_url).await.rtt().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_trusted_is_refused() {
    let certificates = Certificates::make();
    let Some(server) = certificates.server("timeout: 10") else { return };
    // Not our CA.
    let mut stranger = tls_options(&server);
    stranger.tls.ca_pem = Some(Certificates::make().ca);
    let error = natsune::connect_with(stranger).await.unwrap_err();
    assert_eq!(error.code(), Code::Connection);
    assert!(error.message().contains("TLS"), "{error}");
    // Not that name.
    let mut by_address = tls_options(&server);
    by_address.servers = vec![format!("tls://u:p@127.0.0.1:{}", server.port)];
    by_address.tls.ca_pem = Some(certificates.ca.clone());
    assert_eq!(natsune::connect_with(by_address.clone()).await.unwrap_err().code(), Code::Connection);
    // Unless told which name to expect.
    by_address.tls.server_name = Some("localhost".into());
    client_with(by_address).await.rtt().await.unwrap();
    // Nothing that can be used.
    let mut broken = tls_options(&server);
    broken.tls.ca_pem = Some("no certificate".into());
    assert_eq!(natsune::connect_with(broken).await.unwrap_err().code(), Code::InvalidArgument);
    let mut missing = tls_options(&server);
    missing.tls.ca_file = Some("/no/such/file".into());
    let error = natsune::connect_with(missing).await.unwrap_err();
    assert!(error.code() == Code::InvalidArgument && error.message().contains("/no/such/file"));
}

#[tokio::test]
async fn client_certificates() {
    let certificates = Certificates::make();
    let Some(server) = certificates.server("verify: true, timeout: 10") else { return };
    let mut none = tls_options(&server);
    none.tls.ca_pem = Some(certificates.ca.clone());
    assert!(natsune::connect_with(none.clone()).await.is_err());
    let mut by_text = none.clone();
    (by_text.tls.cert_pem, by_text.tls.key_pem) =
        (Some(certificates.client.0.clone()), Some(certificates.client.1.clone()));
    client_with(by_text).await.rtt().await.unwrap();
    let mut by_file = none;
    by_file.tls.cert_file = Some(certificates.path("client.pem"));
    by_file.tls.key_file = Some(certificates.path("client-key.pem"));
    client_with(by_file).await.rtt().await.unwrap();
}

#[tokio::test]
async fn handshake_first() {
    let certificates = Certificates::make();
    let Some(server) = certificates.server("handshake_first: true, timeout: 10") else { return };
    let mut first = tls_options(&server);
    first.tls.ca_pem = Some(certificates.ca.clone());
    first.tls.handshake_first = true;
    client_with(first).await.rtt().await.unwrap();
}

/// The server's side of a TLS connection up to the client's first PING, which is answered.
async fn accept_over_tls(listener: &tokio::net::TcpListener, certificates: &Certificates) -> TlsStream<TcpStream> {
    let read = |name: &str| std::fs::read(certificates.path(name)).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(&read("cert.pem")).unwrap()],
            PrivateKeyDer::from_pem_slice(&read("key.pem")).unwrap(),
        )
        .unwrap();
    let (mut stream, _) = soon("a connection", listener.accept()).await.unwrap();
    stream.write_all(b"INFO {\"tls_required\":true,\"auth_required\":true}\r\n").await.unwrap();
    let stream = soon("TLS", TlsAcceptor::from(std::sync::Arc::new(config)).accept(stream)).await.unwrap();
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while line != "PING\r\n" {
        line.clear();
        assert!(soon("a line", stream.read_line(&mut line)).await.unwrap() > 0);
    }
    let mut stream = stream.into_inner();
    stream.write_all(b"PONG\r\n").await.unwrap();
    stream
}

/// A server that was only heard of gets no byte of the credentials unless it speaks TLS: at a reconnect as well as at first.
#[tokio::test]
async fn a_server_heard_of_over_tls_is_never_spoken_to_in_clear() {
    let certificates = Certificates::make();
    let seed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let found = FakeServer::start().await;
    let mut options = options(&format!("tls://canary:canary@localhost:{}", seed.local_addr().unwrap().port()));
    options.tls.ca_pem = Some(certificates.ca.clone());
    options.token = None;
    let connecting = tokio::spawn(client_with(options));
    let mut stream = accept_over_tls(&seed, &certificates).await;
    let client = soon("connected", connecting).await.unwrap();
    let mut events = client.events();
    let address = format!("127.0.0.1:{}", found.port());
    stream.write_all(format!("INFO {{\"connect_urls\":[\"{address}\"]}}\r\n").as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let expected = Event::ServersChanged { servers: vec![address] };
    while soon("an event", events.next()).await != Some(expected.clone()) {}
    client.publish("a", "canary").await.unwrap();
    // The seed goes away: only the other one is left.
    drop((seed, stream));
    for info in ["{}", "{\"auth_required\":true,\"tls_required\":false}"] {
        found.accept().await.hears_nothing(info).await;
    }
    found.accept().await.hears_a_tls_greeting(b"canary").await;
    client.close().await;
}
