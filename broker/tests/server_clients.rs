//! Stock clients, plain and over TLS.

mod server_common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_nats::{Client, ConnectOptions, HeaderMap};
use futures_util::StreamExt;
use natsune_broker::Broker;
use natsune_broker::config::{Config, HandshakeFirst, JetStreamConfig, Secret, TlsConfig};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use server_common::{Raw, address, start, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn client(broker: &Broker) -> Client {
    within(async_nats::connect(broker.url())).await.expect("connects")
}

#[tokio::test]
async fn publish_subscribe_queue_and_request() {
    let broker = start(Config::ephemeral()).await;
    let (a, b) = (client(&broker).await, client(&broker).await);
    let mut all = a.subscribe("orders.>").await.expect("subscribes");
    let mut one = a.queue_subscribe("orders.new", "workers".into()).await.expect("subscribes");
    a.flush().await.expect("flushes");
    let mut headers = HeaderMap::new();
    headers.insert("trace", "abc");
    headers.append("trace", "def");
    b.publish_with_headers("orders.new", headers, "first".into()).await.expect("publishes");
    b.publish("orders.old", "second".into()).await.expect("publishes");
    let message = within(all.next()).await.expect("a message");
    assert_eq!((message.subject.as_str(), message.payload.as_ref()), ("orders.new", b"first".as_ref()));
    let traces: Vec<_> = message.headers.expect("headers").get_all("trace").map(ToString::to_string).collect();
    assert_eq!(traces, ["abc", "def"]);
    assert_eq!(within(all.next()).await.expect("a message").payload.as_ref(), b"second");
    assert_eq!(within(one.next()).await.expect("a message").payload.as_ref(), b"first");

    let mut service = a.queue_subscribe("echo", "svc".into()).await.expect("subscribes");
    a.flush().await.expect("flushes");
    let answering = a.clone();
    let task = tokio::spawn(async move {
        while let Some(request) = service.next().await {
            let reply = request.reply.expect("a reply");
            answering.publish(reply, request.payload).await.expect("answers");
        }
    });
    for n in 0..200 {
        let answer = within(b.request("echo", n.to_string().into())).await.expect("an answer");
        assert_eq!(answer.payload.as_ref(), n.to_string().as_bytes());
    }
    let nobody = within(b.request("nobody.there", "".into())).await.expect_err("nobody answers");
    assert_eq!(nobody.kind(), async_nats::RequestErrorKind::NoResponders);
    task.abort();
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_messages_arrive_in_order() {
    let broker = start(Config::ephemeral()).await;
    let (publisher, reader) = (client(&broker).await, client(&broker).await);
    let mut numbers = reader.subscribe("numbers").await.expect("subscribes");
    reader.flush().await.expect("flushes");
    let count = 50_000u32;
    let publish = tokio::spawn(async move {
        for n in 0..count {
            publisher.publish("numbers", n.to_be_bytes().to_vec().into()).await.expect("publishes");
        }
        publisher.flush().await.expect("flushes");
    });
    for n in 0..count {
        let message = within(numbers.next()).await.expect("a message");
        assert_eq!(message.payload.as_ref(), n.to_be_bytes());
    }
    within(publish).await.expect("publishes");
    broker.shutdown().await;
}

#[tokio::test]
async fn a_client_drains_and_leaves() {
    let broker = start(Config::ephemeral()).await;
    let (a, b) = (client(&broker).await, client(&broker).await);
    let mut sub = a.subscribe("x").await.expect("subscribes");
    sub.unsubscribe_after(2).await.expect("unsubscribes");
    a.flush().await.expect("flushes");
    for n in 0..5 {
        b.publish("x", n.to_string().into()).await.expect("publishes");
    }
    b.flush().await.expect("flushes");
    let mut got = 0;
    while within(sub.next()).await.is_some() {
        got += 1;
    }
    assert_eq!(got, 2);
    within(a.drain()).await.expect("drains");
    broker.shutdown().await;
}

#[tokio::test]
async fn streams_are_there_after_a_restart() {
    let dir = tempfile::tempdir().expect("a folder");
    let config = || {
        let jetstream = JetStreamConfig { store_dir: Some(dir.path().to_owned()), ..JetStreamConfig::default() };
        Config { jetstream: Some(jetstream), ..Config::ephemeral() }
    };
    for round in 0..3u64 {
        let broker = start(config()).await;
        let client = client(&broker).await;
        assert!(client.server_info().jetstream);
        let jetstream = async_nats::jetstream::new(client);
        let mut stream = within(jetstream.get_or_create_stream(async_nats::jetstream::stream::Config {
            name: "KEPT".to_owned(),
            subjects: vec!["kept.>".to_owned()],
            ..Default::default()
        }))
        .await
        .expect("a stream");
        assert_eq!(within(stream.info()).await.expect("its state").state.messages, round * 10);
        for n in 0..10 {
            let stored = within(jetstream.publish(format!("kept.{n}"), "x".into())).await.expect("publishes");
            assert_eq!(within(stored.into_future()).await.expect("is acknowledged").sequence, round * 10 + n + 1);
        }
        broker.shutdown().await;
    }
}

/// An authority with a certificate for the server and one for a client.
struct Certificates {
    dir: tempfile::TempDir,
}

impl Certificates {
    fn new() -> Certificates {
        let dir = tempfile::tempdir().expect("a folder");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
        let this = Certificates { dir };
        std::fs::write(this.path("ca.pem"), authority.pem()).expect("writes");
        for (name, usage) in
            [("server", ExtendedKeyUsagePurpose::ServerAuth), ("client", ExtendedKeyUsagePurpose::ClientAuth)]
        {
            let key = KeyPair::generate().expect("a key");
            let mut params =
                CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("parameters");
            params.extended_key_usages = vec![usage];
            let certificate = params.signed_by(&key, &authority).expect("a certificate");
            std::fs::write(this.path(&format!("{name}.pem")), certificate.pem()).expect("writes");
            std::fs::write(this.path(&format!("{name}.key")), key.serialize_pem()).expect("writes");
        }
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(self.dir.path()).join(name)
    }

    fn config(&self, change: impl FnOnce(&mut TlsConfig)) -> Config {
        let mut tls =
            TlsConfig { cert_file: self.path("server.pem"), key_file: self.path("server.key"), ..TlsConfig::default() };
        change(&mut tls);
        Config { tls: Some(tls), ..Config::ephemeral() }
    }

    fn options(&self) -> ConnectOptions {
        ConnectOptions::new().add_root_certificates(self.path("ca.pem")).require_tls(true)
    }
}

/// Publishes and receives, a megabyte too.
async fn works(client: &Client) {
    let mut sub = client.subscribe("over.tls").await.expect("subscribes");
    for size in [0, 1, 10_000, 1_000_000] {
        client.publish("over.tls", vec![b'x'; size].into()).await.expect("publishes");
        assert_eq!(within(sub.next()).await.expect("a message").payload.len(), size);
    }
}

#[tokio::test]
async fn tls_after_info() {
    let certificates = Certificates::new();
    let broker = start(certificates.config(|_| {})).await;
    assert!(broker.url().starts_with("tls://"));
    let client = within(certificates.options().connect(broker.url())).await.expect("connects");
    works(&client).await;
    assert!(within(ConnectOptions::new().connect(broker.url())).await.is_err(), "an unknown authority is refused");
    let mut plain = Raw::connect(&broker).await;
    assert!(plain.line().await.contains("\"tls_required\":true"));
    plain.send("CONNECT {}\r\nPING\r\n").await;
    assert_eq!(plain.rest().await, "-ERR 'Secure Connection - TLS Required'\r\n");
    broker.shutdown().await;
}

#[tokio::test]
async fn strangers_before_the_handshake_do_not_keep_friends_out() {
    let certificates = Certificates::new();
    let mut config = certificates.config(|tls| tls.timeout = Some(std::time::Duration::from_secs(3600)));
    config.limits.max_connections = 20;
    config.auth.token = Some(Secret::new("t".to_owned()));
    let broker = start(config).await;
    let mut strangers = Vec::new();
    for _ in 0..40 {
        let mut stranger = Raw::connect(&broker).await;
        assert!(stranger.line().await.starts_with("INFO "));
        strangers.push(stranger);
    }
    works(&within(certificates.options().token("t".to_owned()).connect(broker.url())).await.expect("connects")).await;
    assert_eq!(strangers[0].rest().await, "", "the oldest had to go");
    broker.shutdown().await;
}

#[tokio::test]
async fn client_certificates_are_asked_for() {
    let certificates = Certificates::new();
    let broker = start(certificates.config(|tls| {
        tls.verify = true;
        tls.ca_file = Some(certificates.path("ca.pem"));
    }))
    .await;
    let with =
        certificates.options().add_client_certificate(certificates.path("client.pem"), certificates.path("client.key"));
    works(&within(with.connect(broker.url())).await.expect("connects")).await;
    assert!(
        within(certificates.options().connect(broker.url())).await.is_err(),
        "without a certificate nobody gets in"
    );
    broker.shutdown().await;
}

#[tokio::test]
async fn tls_before_info() {
    let certificates = Certificates::new();
    for first in [HandshakeFirst::Yes, HandshakeFirst::After(std::time::Duration::from_millis(300))] {
        let broker = start(certificates.config(|tls| tls.handshake_first = first)).await;
        works(&within(certificates.options().tls_first().connect(broker.url())).await.expect("connects")).await;
        let usual = within(certificates.options().connect(broker.url()));
        match first {
            HandshakeFirst::After(_) => works(&usual.await.expect("connects")).await,
            _ => drop(usual),
        }
        broker.shutdown().await;
    }
}

#[tokio::test]
async fn with_and_without_tls_on_one_port() {
    let certificates = Certificates::new();
    let broker = start(certificates.config(|tls| tls.allow_non_tls = true)).await;
    let mut plain = Raw::connect(&broker).await;
    let info = plain.line().await;
    assert!(info.contains("\"tls_available\":true") && !info.contains("tls_required"), "{info}");
    plain.send("CONNECT {\"verbose\":false}\r\n").await;
    assert_eq!(plain.fence().await, "");
    works(&within(certificates.options().connect(broker.url())).await.expect("connects")).await;
    broker.shutdown().await;
}

#[tokio::test]
async fn bytes_of_plain_text_after_the_handshake_began_are_refused() {
    let certificates = Certificates::new();
    let broker = start(certificates.config(|tls| tls.timeout = Some(std::time::Duration::from_millis(200)))).await;
    let mut half = within(TcpStream::connect(address(&broker.url()))).await.expect("connects");
    within(half.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00])).await.expect("sends");
    let mut said = Vec::new();
    let _ = within(half.read_to_end(&mut said)).await;
    assert!(said.starts_with(b"INFO "), "closed after the timeout");
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_over_tls_gets_everything() {
    let certificates = Certificates::new();
    let broker = start(certificates.config(|_| {})).await;
    let reader = within(certificates.options().connect(broker.url())).await.expect("connects");
    let publisher = within(certificates.options().connect(broker.url())).await.expect("connects");
    let mut sub = reader.subscribe("bulk").await.expect("subscribes");
    reader.flush().await.expect("flushes");
    let body = Arc::new(vec![b'y'; 50_000]);
    let count = 400;
    let sending = tokio::spawn(async move {
        for _ in 0..count {
            publisher.publish("bulk", body.to_vec().into()).await.expect("publishes");
        }
        publisher.flush().await.expect("flushes");
    });
    for _ in 0..count {
        assert_eq!(within(sub.next()).await.expect("a message").payload.len(), 50_000);
    }
    within(sending).await.expect("publishes");
    broker.shutdown().await;
}
