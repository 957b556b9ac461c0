//! Nothing that a newer server says is lost on the way through.

use serde_json::json;

use super::*;

/// The configuration in an answer of nats-server 2.15.1, with inventions.
fn from_the_future() -> Value {
    json!({
        "name": "ORDERS", "subjects": ["orders.>"], "retention": "workqueue", "max_consumers": -1, "max_msgs": -1, "max_bytes": -1,
        "max_age": 0, "max_msgs_per_subject": -1, "max_msg_size": -1, "discard": "old", "storage": "file", "num_replicas": 1,
        "duplicate_window": 120_000_000_000_u64, "compression": "none", "allow_direct": false, "mirror_direct": false,
        "sealed": false, "deny_delete": false, "deny_purge": false, "allow_rollup_hdrs": false, "consumer_limits": {},
        "allow_msg_ttl": false, "metadata": {"_nats.level": "5"},
        "republish": {"src": "a.>", "dest": "b.>", "colour": "red"},
        "sources": [
            {"name": "A", "speed": 3},
            {"name": "B", "external": {"api": "$JS.x.API", "deliver": "", "via": [1, 2]}},
        ],
        "orbit": {"height": 7}, "hidden": false, "sparkle": 0,
    })
}

#[test]
fn unknown_fields_are_kept_and_sent_back() {
    let told = from_the_future();
    let mut config: Document<StreamConfig> = serde_json::from_value(told.clone()).unwrap();
    assert_eq!(config.name, "ORDERS");
    assert_eq!(config.retention, RetentionPolicy::WorkQueue);
    let mut names: Vec<&str> = config.extra.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["hidden", "orbit", "republish", "sources", "sparkle"],
        "known fields are not extra, even empty ones"
    );
    assert_eq!(config.extra["republish"], json!({"colour": "red"}));
    assert_eq!(config.extra["sources"], json!([{"speed": 3}, {"external": {"via": [1, 2]}}]));

    config.max_messages = 10;
    config.sealed = true;
    let sent = serde_json::to_value(&config).unwrap();
    assert_eq!(sent["orbit"], json!({"height": 7}));
    assert_eq!((&sent["hidden"], &sent["sparkle"]), (&json!(false), &json!(0)));
    assert_eq!((&sent["max_msgs"], &sent["sealed"]), (&json!(10), &json!(true)));
    assert_eq!(sent["republish"]["colour"], "red");
    assert_eq!(sent["sources"][0]["speed"], 3);
    assert_eq!(sent["sources"][1]["external"]["via"], json!([1, 2]));
    // And once more through: nothing grows or shrinks.
    let again: Document<StreamConfig> = serde_json::from_value(sent.clone()).unwrap();
    assert_eq!(again, config);
    assert_eq!(serde_json::to_value(&again).unwrap(), sent);
}

#[test]
fn what_is_changed_wins_over_what_came() {
    let mut config: Document<StreamConfig> = serde_json::from_value(from_the_future()).unwrap();
    config.republish = None;
    config.sources = Some(Vec::new());
    config.extra.remove("orbit");
    let sent = serde_json::to_value(&config).unwrap();
    assert_eq!(sent.get("orbit"), None);
    assert_eq!(sent["sources"], json!([]));
}

#[test]
fn a_consumers_policy_can_be_changed_although_its_fields_are_spread() {
    let mut config: Document<ConsumerConfig> = serde_json::from_value(json!({
        "durable_name": "work", "name": "work", "deliver_policy": "by_start_sequence", "opt_start_seq": 7, "ack_policy": "explicit",
        "ack_wait": 30_000_000_000_u64, "max_deliver": -1, "replay_policy": "instant", "max_waiting": 512, "max_ack_pending": 1000,
        "num_replicas": 0, "flow_control": false, "filter_subject": "", "wormhole": true, "backoff": [],
    }))
    .unwrap();
    assert_eq!(config.deliver_policy, DeliverPolicy::ByStartSequence { start_sequence: 7 });
    assert_eq!(config.extra, serde_json::from_value(json!({"wormhole": true})).unwrap());
    config.deliver_policy = DeliverPolicy::New;
    let sent = serde_json::to_value(&config).unwrap();
    assert_eq!(
        (sent.get("opt_start_seq"), &sent["deliver_policy"], &sent["wormhole"]),
        (None, &json!("new"), &json!(true))
    );
}

#[test]
fn a_document_of_ones_own_carries_nothing_extra() {
    let config = Document::from(StreamConfig { name: "S".into(), ..Default::default() });
    assert!(config.extra.is_empty());
    assert_eq!(serde_json::to_value(&config).unwrap(), serde_json::to_value(&config.known).unwrap());
}

#[test]
fn information_is_the_servers_own_document() {
    let told = json!({
        "type": "io.nats.jetstream.api.v1.stream_info_response", "did_create": true, "total": 0, "offset": 0, "limit": 0,
        "config": from_the_future(), "created": "2026-11-24T13:05:39.587083137Z",
        "state": {"messages": 8, "bytes": 1064, "first_seq": 11, "first_ts": "2026-11-24T13:05:46.217622016Z", "last_seq": 19,
                  "last_ts": "0001-01-01T00:00:00Z", "num_subjects": 1, "num_deleted": 1, "consumer_count": 1},
        "cluster": {"leader": "x"}, "ts": "2026-11-24T13:05:47.726452713Z", "mood": "fine",
    });
    let info: StreamInfo = serde_json::from_value(told).unwrap();
    assert_eq!((info.state.messages, info.state.last_sequence), (8, 19));
    assert_eq!(info.config.extra["orbit"], json!({"height": 7}));
    assert_eq!(info.raw()["mood"], "fine");
    let written = serde_json::to_value(&info).unwrap();
    assert_eq!((written.get("type"), &written["ts"]), (None, &json!("2026-11-24T13:05:47.726452713Z")));
}

#[test]
fn nonsense_is_refused_with_a_text() {
    for told in [json!([]), json!(7), json!({"name": 5}), json!({"name": "S", "retention": "sideways"})] {
        assert!(serde_json::from_value::<Document<StreamConfig>>(told).is_err());
    }
}
