//! Streams of namespaces: nobody else's, and gone with them.

mod auth_common;

use std::path::Path;
use std::time::Duration;

use async_nats::ConnectOptions;
use async_nats::jetstream::{self, kv, stream};
use auth_common::{PATIENCE, eventually};
use natsune_broker::Broker;
use natsune_broker::config::{Config, JetStreamConfig, NamespacesConfig};
use natsune_broker::namespaces::Namespaces;
use natsune_credentials::Secret;

fn config(dir: &Path) -> Config {
    Config {
        namespaces: Some(NamespacesConfig { dir: dir.join("ns") }),
        jetstream: Some(JetStreamConfig { store_dir: Some(dir.join("js")), ..JetStreamConfig::default() }),
        host: Some("127.0.0.1".to_owned()),
        ..Config::ephemeral()
    }
}

async fn streams(url: &str, creds: &Secret) -> jetstream::Context {
    let options = ConnectOptions::new().credentials(creds.expose()).unwrap().connection_timeout(Duration::from_secs(5));
    jetstream::new(options.connect(url).await.unwrap())
}

fn document(name: &str, storage: stream::StorageType) -> stream::Config {
    stream::Config { name: name.to_owned(), subjects: vec![format!("{name}.>")], storage, ..stream::Config::default() }
}

async fn fill(js: &jetstream::Context, subject: &'static str, payload: &'static str) {
    for _ in 0..20 {
        js.publish(subject, payload.into()).await.unwrap().await.unwrap();
    }
}

/// Whether any file below the folder holds these bytes.
fn on_disk(dir: &Path, needle: &str) -> bool {
    std::fs::read_dir(dir).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            on_disk(&path, needle)
        } else {
            std::fs::read(&path)
                .is_ok_and(|bytes| bytes.windows(needle.len()).any(|window| window == needle.as_bytes()))
        }
    })
}

#[tokio::test]
async fn the_same_names_in_two_namespaces_are_two_things() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(config(dir.path())).await.unwrap();
    let namespaces = broker.namespaces().unwrap();
    let creds = ["red", "blue"].map(|name| {
        namespaces.create_namespace(name).unwrap();
        namespaces.create_credentials(name, "app").unwrap().1
    });
    let red = streams(&broker.url(), &creds[0]).await;
    let blue = streams(&broker.url(), &creds[1]).await;
    for js in [&red, &blue] {
        js.create_stream(document("S", stream::StorageType::File)).await.unwrap();
        js.create_key_value(kv::Config { bucket: "B".to_owned(), ..kv::Config::default() }).await.unwrap();
    }
    fill(&red, "S.a", "red").await;
    red.get_key_value("B").await.unwrap().put("k", "red".into()).await.unwrap();
    assert_eq!(red.get_stream("S").await.unwrap().cached_info().state.messages, 20);
    assert_eq!(blue.get_stream("S").await.unwrap().cached_info().state.messages, 0);
    assert!(blue.get_key_value("B").await.unwrap().get("k").await.unwrap().is_none());
    assert!(blue.get_stream("S").await.unwrap().direct_get(1).await.is_err());
    red.delete_stream("S").await.unwrap();
    assert!(blue.get_stream("S").await.is_ok(), "deleting one is not deleting the other");
    broker.shutdown().await;
}

#[tokio::test]
async fn a_deleted_namespace_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(config(dir.path())).await.unwrap();
    let namespaces = broker.namespaces().unwrap().clone();
    let creds = ["gone", "kept"].map(|name| {
        namespaces.create_namespace(name).unwrap();
        namespaces.create_credentials(name, "app").unwrap().1
    });
    let gone = streams(&broker.url(), &creds[0]).await;
    let kept = streams(&broker.url(), &creds[1]).await;
    gone.create_stream(document("S", stream::StorageType::File)).await.unwrap();
    gone.create_stream(document("M", stream::StorageType::Memory)).await.unwrap();
    kept.create_stream(document("S", stream::StorageType::File)).await.unwrap();
    fill(&gone, "S.a", "canary-of-the-deleted").await;
    fill(&kept, "S.a", "kept").await;

    namespaces.delete_namespace("gone").unwrap();
    let tombs = dir.path().join("ns/deleted");
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while std::fs::read_dir(&tombs).unwrap().count() > 0 {
        assert!(tokio::time::Instant::now() < deadline, "its data is never forgotten");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The same name is another namespace, and empty.
    namespaces.create_namespace("gone").unwrap();
    let (_, new) = namespaces.create_credentials("gone", "app").unwrap();
    assert!(streams(&broker.url(), &new).await.get_stream("S").await.is_err());
    assert_eq!(kept.get_stream("S").await.unwrap().cached_info().state.messages, 20);
    broker.shutdown().await;

    let broker = Broker::start(config(dir.path())).await.unwrap();
    assert!(streams(&broker.url(), &new).await.get_stream("S").await.is_err());
    assert_eq!(streams(&broker.url(), &creds[1]).await.get_stream("S").await.unwrap().cached_info().state.messages, 20);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_namespace_deleted_while_no_broker_runs_goes_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(config(dir.path())).await.unwrap();
    let namespaces = broker.namespaces().unwrap().clone();
    let id = namespaces.create_namespace("gone").unwrap().id;
    let (_, creds) = namespaces.create_credentials("gone", "app").unwrap();
    let js = streams(&broker.url(), &creds).await;
    js.create_stream(document("S", stream::StorageType::File)).await.unwrap();
    fill(&js, "S.a", "canary-of-the-deleted").await;
    broker.shutdown().await;
    assert!(on_disk(&dir.path().join("js"), "canary-of-the-deleted"));

    Namespaces::open(dir.path().join("ns")).unwrap().delete_namespace("gone").unwrap();
    let tomb = dir.path().join("ns/deleted").join(&id);
    assert!(tomb.exists());
    let broker = Broker::start(config(dir.path())).await.unwrap();
    tokio::task::spawn_blocking(move || eventually("its data is gone", || !tomb.exists())).await.unwrap();
    assert!(broker.router().account(&id).is_none());
    broker.shutdown().await;
    // Nothing is left to be found by a further start.
    let (store, found) =
        natsune_broker::store::Store::open(natsune_broker::store::Options::new(dir.path().join("js/jetstream")))
            .unwrap();
    assert!(found.streams.values().all(|stream| stream.messages.is_empty()), "{:?}", found.streams);
    assert!(found.keys.keys().all(|key| !String::from_utf8_lossy(key).contains(&id)));
    store.close();
}
