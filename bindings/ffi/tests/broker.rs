//! The broker inside the library: options, namespaces and credentials, an end that keeps what was acknowledged.
#![cfg(feature = "embedded")]

mod common;

use common::{Queue, code, publish, text};
use serde_json::{Value, json};

#[test]
fn a_namespace_is_a_world_of_its_own() {
    let queue = Queue::new();
    let dir = tempfile::tempdir().expect("a folder");
    let options = json!({"store_dir": dir.path(), "namespaces": true, "host": "127.0.0.1", "monitor_port": 0});
    let broker = queue.handle(0, "broker.start", options).expect("started");
    let url = text(natsune_ffi::info(broker, "url"));
    assert!(text(natsune_ffi::info(broker, "monitor_url")).starts_with("http://"));
    assert_eq!(code(queue.run(0, "connect", json!({"servers": [url]}))), "auth");

    let mut clients = Vec::new();
    for name in ["shop", "bank"] {
        let namespace = queue.document(broker, "broker.create_namespace", json!({"name": name})).expect("made");
        assert!(namespace["id"].as_str().is_some_and(|id| id.starts_with('A')), "{namespace}");
        assert_eq!(code(queue.run(broker, "broker.create_namespace", json!({"name": name}))), "already_exists");
        let names = json!({"namespace": name, "name": "api"});
        let made = queue.document(broker, "broker.create_credentials", names).expect("made");
        let creds = made["creds_text"].as_str().expect("a text");
        clients.push(queue.handle(0, "connect", json!({"servers": [url], "creds_text": creds})).expect("connected"));
    }
    let list = queue.document(broker, "broker.list_namespaces", json!({})).expect("listed");
    assert_eq!(list.as_array().expect("a list").iter().map(|one| &one["name"]).collect::<Vec<_>>(), ["shop", "bank"]);
    let list = queue.document(broker, "broker.list_credentials", json!({"namespace": "shop"})).expect("listed");
    assert_eq!((&list[0]["name"], &list[0]["creds_text"]), (&json!("api"), &Value::Null), "the secret is given once");

    let sub = queue.handle(clients[0], "client.subscribe", json!({"subject": "secret"})).expect("subscribed");
    publish(clients[1], "secret", b"other world").expect("accepted");
    queue.document(clients[1], "client.flush", json!({})).expect("flushed");
    publish(clients[0], "secret", b"own").expect("accepted");
    assert_eq!(common::payloads(&queue.take(sub, 10, 0).expect("taken")), [b"own"]);

    queue.unit(broker, "broker.delete_credentials", json!({"namespace": "bank", "name": "api"})).expect("deleted");
    let closed = queue.document(clients[1], "client.closed", json!({})).expect("disconnected for good");
    assert!(closed["reason"].as_str().is_some(), "{closed}");
    queue.unit(broker, "broker.delete_namespace", json!({"name": "bank"})).expect("deleted");
    assert_eq!(code(queue.run(broker, "broker.delete_namespace", json!({"name": "bank"}))), "not_found");
    assert_eq!(code(queue.run(broker, "broker.create_namespace", json!({"name": "a/b"}))), "invalid_argument");

    queue.unit(broker, "broker.stop", json!({})).expect("stopped");
    queue.unit(broker, "broker.stop", json!({})).expect("stopping again is nothing");
    natsune_ffi::close_handle(broker);
    assert_eq!(code(natsune_ffi::info(broker, "url")), "closed");
    clients.into_iter().for_each(natsune_ffi::close_handle);
}

#[test]
fn what_was_acknowledged_survives_the_end() {
    let queue = Queue::new();
    let dir = tempfile::tempdir().expect("a folder");
    let options = json!({"store_dir": dir.path(), "server_name": "durable"});
    for round in 0..3u64 {
        let broker = queue.handle(0, "broker.start", options.clone()).expect("started");
        let url = text(natsune_ffi::info(broker, "url"));
        let client = common::connect(&queue, &url);
        let config = json!({"name": "D", "subjects": ["d"]});
        let info = queue.document(client, "js.create_or_update_stream", config).expect("there");
        assert_eq!(info["state"]["messages"], json!(round * 10));
        for _ in 0..10 {
            let id = natsune_ffi::start_js_publish(queue.number, client, b"d", &[], b"kept", None).expect("started");
            queue.wait(id);
            natsune_ffi::finish_ack(id).expect("stored");
        }
        natsune_ffi::close_handle(client);
        queue.unit(broker, "broker.stop", json!({})).expect("stopped");
        natsune_ffi::close_handle(broker);
    }
}

#[test]
fn options_that_cannot_work_are_refused() {
    let queue = Queue::new();
    let start = |options: Value| queue.run(0, "broker.start", options).expect_err("refused");
    let failure = start(json!({"stor_dir": "x"}));
    assert_eq!((failure.code, &failure.detail["field"]), ("invalid_argument", &json!("stor_dir")));
    let failure = start(json!({"namespaces": true}));
    assert_eq!((failure.code, &failure.detail["field"]), ("invalid_argument", &json!("namespaces")));
    // Half a user would be a broker for everybody, or for everybody who knows the name.
    for (half, missing) in [(json!({"password": "x"}), "user"), (json!({"user": "joe"}), "password")] {
        let failure = start(half);
        assert_eq!((failure.code, &failure.detail["field"]), ("invalid_argument", &json!(missing)));
    }
    assert_eq!(start(json!({"config_file": "/nowhere/natsune.conf"})).code, "invalid_argument");
    let running = queue.handle(0, "broker.start", json!({"token": "s3cret"})).expect("started");
    let url = text(natsune_ffi::info(running, "url"));
    let port: u16 = url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    assert_eq!(start(json!({"port": port})).code, "unavailable");
    assert_eq!(code(queue.run(0, "connect", json!({"servers": [url]}))), "auth");
    let client = queue.handle(0, "connect", json!({"servers": [url], "token": "s3cret"})).expect("connected");
    assert_eq!(code(queue.run(running, "broker.list_namespaces", json!({}))), "unsupported");
    natsune_ffi::close_handle(client);
    natsune_ffi::close_handle(running);
}
