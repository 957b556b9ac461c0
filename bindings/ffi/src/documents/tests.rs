//! Documents against core's and the server's: nothing is lost on the way, and nothing is defined twice in two ways.

use std::time::{Duration, SystemTime};

use natsune::jetstream::{ConsumerConfig as CoreConsumer, StreamConfig as CoreStream};
use serde_json::{Map, Value, json};

use super::wire::{Table, from_wire, to_wire};
use super::*;

fn keys(value: &impl Serialize) -> Vec<String> {
    let Value::Object(map) = serde_json::to_value(value).expect("JSON") else { panic!("not an object") };
    let mut keys: Vec<String> = map.keys().cloned().collect();
    keys.sort();
    keys
}

/// Every field of a Rust struct, found by asking for one that it does not have.
fn fields_of<T: DeserializeOwned>() -> Vec<String> {
    let refusal =
        serde_json::from_value::<T>(json!({ "~": 1 })).err().expect("an unknown field is refused").to_string();
    let mut names: Vec<String> = refusal.split('`').skip(3).step_by(2).map(str::to_owned).collect();
    names.sort();
    assert!(names.len() > 1, "{refusal}");
    names
}

#[test]
fn connect_options_are_cores() {
    assert_eq!(fields_of::<ConnectOptions>(), keys(&natsune::ConnectOptions::default()));
    assert_eq!(fields_of::<TlsOptions>(), keys(&natsune::TlsOptions::default()));
    let options = connect_options(json!({ "connect_timeout": 0.25, "tls": { "required": true } })).expect("read");
    assert_eq!((options.connect_timeout, options.tls.required), (Duration::from_millis(250), true));
    assert_eq!(options.ping_interval, natsune::ConnectOptions::default().ping_interval);
}

#[cfg(feature = "mobile")]
#[test]
fn typed_connect_options_leave_cores_defaults() {
    let ours =
        ConnectOptions { password: Some("hunter2".to_owned()), user: Some("u".to_owned()), ..Default::default() };
    assert!(!format!("{ours:?}").contains("hunter2"));
    let core = ours.into_core().expect("read");
    let default = natsune::ConnectOptions::default();
    assert_eq!((core.request_timeout, core.outbound_limit), (default.request_timeout, default.outbound_limit));
    let long = ConnectOptions { request_timeout: Some(Duration::from_millis(1500)), ..Default::default() };
    assert_eq!(long.into_core().expect("read").request_timeout, Duration::from_millis(1500));
}

#[test]
fn counters_are_cores() {
    assert_eq!(keys(&Stats::default()), keys(&natsune::Stats::default()));
    assert_eq!(keys(&PublishCounts::default()), keys(&natsune::PublishCounts::default()));
    assert_eq!(keys(&SubscriptionStats::default()), keys(&natsune::SubscriptionStats::default()));
    let mut core = natsune::ServerInfo::default();
    core.lame_duck = true;
    core.max_payload = 7;
    let ours = ServerInfo::from_core(&core).expect("read");
    assert_eq!((ours.lame_duck, ours.max_payload), (true, 7));
    let mut theirs = keys(&core);
    theirs.iter_mut().filter(|name| *name == "ldm").for_each(|name| *name = "lame_duck".to_owned());
    theirs.sort();
    assert_eq!(keys(&ours), theirs);
}

#[test]
fn every_event_is_told() {
    let event = natsune::Event::Reconnecting { attempt: 3, delay: Duration::from_millis(250) };
    let text = Event::from_core(&event).expect("read").to_json().expect("written");
    assert_eq!(
        serde_json::from_str::<Value>(&text).expect("JSON"),
        json!({"kind": "reconnecting", "attempt": 3, "delay": 0.25})
    );
    let event = natsune::Event::PermissionDenied { operation: "publish".into(), subject: "a".into() };
    let event = Event::from_core(&event).expect("read");
    assert_eq!((event.kind.as_str(), event.operation.as_deref()), ("permission_denied", Some("publish")));
}

/// Our table names every field that core's type names, and every field of ours is in the table.
fn covers<Ours: DeserializeOwned + Serialize + Default>(table: &Table, core: &impl Serialize) {
    let theirs: Vec<&str> = table.fields.iter().map(|(_, theirs, _)| *theirs).collect();
    for name in keys(core) {
        assert!(theirs.contains(&name.as_str()), "`{name}` of core is not in our table");
    }
    let mut named: Vec<String> = table.fields.iter().map(|(ours, _, _)| (*ours).to_owned()).collect();
    named.push("extra".to_owned());
    named.sort();
    assert_eq!(fields_of::<Ours>(), named);
}

#[test]
fn tables_cover_what_core_knows() {
    covers::<StreamConfig>(&STREAM_CONFIG, &CoreStream::default());
    covers::<ConsumerConfig>(&CONSUMER_CONFIG, &CoreConsumer::default());
}

#[test]
fn a_stream_goes_to_the_server_and_back() {
    let config: StreamConfig = parse(
        r#"{"name":"S","subjects":["s.>"],"retention":"workqueue","max_age":3600.25,"max_messages":10,"discard":"new",
        "sources":[{"name":"O","start_time":"2026-01-31T12:00:00.5Z","external":{"api_prefix":"$JS.hub.API"}}],
        "republish":{"source":">","destination":"r.>"},"duplicate_window":120,"metadata":{"a":"b"},"extra":{"new_field":{"x":[1]}}}"#,
    )
    .expect("read");
    assert_eq!(config.retention, Some(RetentionPolicy::Workqueue));
    assert_eq!(config.sources[0].start_time, Some(SystemTime::UNIX_EPOCH + Duration::new(1_769_860_800, 500_000_000)));
    let wire = Value::Object(to_wire(&config, &STREAM_CONFIG).expect("written"));
    assert_eq!(
        wire,
        json!({"name": "S", "subjects": ["s.>"], "retention": "workqueue", "max_age": 3_600_250_000_000i64, "max_msgs": 10,
            "discard": "new", "duplicate_window": 120_000_000_000i64, "metadata": {"a": "b"}, "new_field": {"x": [1]},
            "sources": [{"name": "O", "opt_start_time": "2026-01-31T12:00:00.5Z", "external": {"api": "$JS.hub.API"}}],
            "republish": {"src": ">", "dest": "r.>"}})
    );
    assert_eq!(from_wire::<StreamConfig>(wire, &STREAM_CONFIG).expect("read"), config);
}

#[test]
fn long_durations_keep_their_nanoseconds() {
    for nanos in [1i64, 999_999_999, 86_400_000_000_000, 31_536_000_000_000_000, 94_608_000_000_000_000] {
        let info: StreamConfig = from_wire(json!({"name": "S", "max_age": nanos}), &STREAM_CONFIG).expect("read");
        let wire = to_wire(&info, &STREAM_CONFIG).expect("written");
        assert_eq!(wire["max_age"], json!(nanos));
    }
}

#[test]
fn what_a_newer_server_says_is_kept() {
    let answer = json!({"type": "io.nats.jetstream.api.v1.stream_info_response", "total": 0, "offset": 0, "limit": 256,
        "config": {"name": "S", "retention": "shiny", "novel": 1, "placement": {"cluster": "C", "preferred": "a"}},
        "created": "2026-11-24T12:00:00.123456789Z", "ts": "2026-11-24T12:00:01Z",
        "state": {"messages": 3, "bytes": 9, "first_seq": 1, "first_ts": "0001-01-01T00:00:00Z", "last_seq": 3,
            "last_ts": "2026-11-24T12:00:00Z", "consumer_count": 2, "odd": null},
        "cluster": {"name": "C", "leader": "a", "raft_group": "g", "replicas": [{"name": "b", "current": true, "active": 1_500_000_000, "peer": "x"}]},
        "mirror": {"name": "M", "lag": 0, "active": -1}, "alternates": []});
    let info: StreamInfo = from_wire(answer, &STREAM_INFO).expect("read");
    assert_eq!(info.config.retention, Some(RetentionPolicy::Other { name: "shiny".to_owned() }));
    assert_eq!(info.config.extra["novel"], "1");
    assert_eq!((info.state.messages, info.state.first_timestamp), (3, None));
    let cluster = info.cluster.as_ref().expect("a cluster");
    assert_eq!(
        (cluster.extra["raft_group"].as_str(), cluster.replicas[0].active),
        ("\"g\"", Some(Duration::from_millis(1500)))
    );
    assert_eq!(info.mirror.as_ref().expect("a mirror").active, None);
    assert_eq!(info.extra.keys().collect::<Vec<_>>(), ["alternates"]);
    let wire = to_wire(&info.config, &STREAM_CONFIG).expect("written");
    assert_eq!(
        (&wire["novel"], &wire["retention"], &wire["placement"]["preferred"]),
        (&json!(1), &json!("shiny"), &json!("a"))
    );
    let text = info.to_json().expect("written");
    let json: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (&json["config"]["extra"]["novel"], &json["created"]),
        (&json!(1), &json!("2026-11-24T12:00:00.123456789Z"))
    );
}

#[test]
fn a_consumer_goes_to_the_server_and_back() {
    let config: ConsumerConfig = parse(
        r#"{"durable":"w","deliver_policy":"by_start_sequence","start_sequence":7,"ack_policy":"explicit","ack_wait":1.5,
        "backoff":[0.25,2],"sample_frequency":50,"filter_subjects":["a","b"],"memory_storage":true,"max_ack_pending":-1}"#,
    )
    .expect("read");
    let wire = Value::Object(to_wire(&config, &CONSUMER_CONFIG).expect("written"));
    assert_eq!(
        wire,
        json!({"durable_name": "w", "deliver_policy": "by_start_sequence", "opt_start_seq": 7, "ack_policy": "explicit",
            "ack_wait": 1_500_000_000i64, "backoff": [250_000_000i64, 2_000_000_000i64], "sample_freq": "50",
            "filter_subjects": ["a", "b"], "mem_storage": true, "max_ack_pending": -1})
    );
    assert_eq!(from_wire::<ConsumerConfig>(wire, &CONSUMER_CONFIG).expect("read"), config);
}

#[test]
fn account_information_is_read() {
    let answer = json!({"memory": 1, "storage": 2, "streams": 3, "consumers": 4, "domain": "hub", "novel": true,
        "limits": {"max_memory": -1, "max_storage": 9, "max_streams": 10, "max_consumers": -1, "odd": 1},
        "api": {"total": 5, "errors": 1, "level": 2}, "tiers": {"R1": {"storage": 2, "limits": {"max_storage": 7}}}});
    let info: AccountInfo = from_wire(answer, &ACCOUNT_INFO).expect("read");
    assert_eq!((info.limits.max_storage, info.api.total, info.tiers["R1"].limits.max_storage), (9, 5, 7));
    assert_eq!((info.extra["novel"].as_str(), info.limits.extra["odd"].as_str()), ("true", "1"));
}

#[test]
fn refusals_name_the_field_and_tell_no_value() {
    let failure = parse::<StreamConfig>(r#"{"name":"S","subjets":[]}"#).expect_err("refused");
    assert_eq!((failure.code, &failure.detail["field"]), ("invalid_argument", &json!("subjets")));
    for wrong in
        [r#"{"user":{"x":"hunter2"}}"#, r#"{"max_reconnects":"hunter2"}"#, r#"{"tls":"hunter2"}"#, "hunter2", "[]", "5"]
    {
        let failure = parse::<ConnectOptions>(wrong).expect_err("refused");
        assert_eq!(failure.code, "invalid_argument");
        assert!(!failure.message.contains("hunter2"), "{failure}");
    }
    for wrong in [r#"{"max_age":-1}"#, r#"{"max_age":"1s"}"#, r#"{"max_age":1e300}"#] {
        assert_eq!(parse::<StreamConfig>(wrong).expect_err("refused").code, "invalid_argument");
    }
    let absent: StreamConfig =
        parse(r#"{"name":"S","max_age":null,"subjects":null,"sealed":null}"#).expect("null is absence");
    assert_eq!(absent, StreamConfig { name: "S".to_owned(), ..StreamConfig::default() });
    assert!(Map::<String, Value>::is_empty(&parse("").expect("nothing is an empty object")));
}

#[test]
fn publish_options_are_cores() {
    let ours = PublishOptions { ttl: Some(Duration::from_secs(3)), ..PublishOptions::default() };
    assert_eq!(ours.into_core().ttl, Some(Duration::from_secs(3)));
    assert_eq!(fields_of::<PublishOptions>(), fields_of::<natsune::jetstream::PublishOptions>());
}
