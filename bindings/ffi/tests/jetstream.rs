//! Streams and consumers through the boundary: against the broker inside the library, and against the real server when
//! `NATSUNE_NATS_SERVER` names it.

mod common;

use common::{Queue, RealServer, World, code, connect, payloads, publish};
use natsune_ffi::batch::{STATE_ENDED, STATE_IDLE};
use natsune_ffi::{Messages, Outcome, R, Taken};
use serde_json::{Value, json};

/// Runs a test against both servers.
fn with_jetstream(test: impl Fn(&Queue, u64)) {
    let world = World::new();
    test(&world.queue, world.client);
    if let Some(server) = RealServer::start() {
        let queue = Queue::new();
        let client = connect(&queue, &server.url);
        test(&queue, client);
        natsune_ffi::close_handle(client);
    }
}

fn messages(outcome: R<Outcome>) -> Taken {
    match outcome.expect("messages") {
        Outcome::Message(taken) | Outcome::Batch(taken) => taken,
        other => panic!("{other:?}"),
    }
}

fn store(
    queue: &Queue,
    js: u64,
    subject: &str,
    payload: &[u8],
    options: Option<&str>,
) -> R<natsune_ffi::documents::PublishAck> {
    let id = natsune_ffi::start_js_publish(queue.number, js, subject.as_bytes(), &[], payload, options)?;
    queue.wait(id);
    natsune_ffi::finish_ack(id)
}

#[test]
fn streams_are_made_changed_and_deleted() {
    with_jetstream(|queue, js| {
        assert_eq!(code(queue.run(js, "js.stream_info", json!({"stream": "S"}))), "not_found");
        let config =
            json!({"name": "S", "subjects": ["s.>"], "max_age": 3600.5, "retention": "limits", "metadata": {"a": "1"}});
        let info = queue.document(js, "js.create_stream", config.clone()).expect("made");
        assert_eq!((&info["config"]["max_age"], &info["config"]["metadata"]["a"]), (&json!(3600.5), &json!("1")));
        assert_eq!((&info["config"]["storage"], &info["state"]["messages"]), (&json!("file"), &json!(0)));
        assert!(info["created"].as_str().is_some(), "{info}");
        queue.document(js, "js.create_stream", config).expect("the same again");
        let other = json!({"name": "S", "subjects": ["t.>"]});
        assert_eq!(code(queue.run(js, "js.create_stream", other)), "already_exists");

        let mut config = info["config"].clone();
        config["description"] = json!("changed");
        let info = queue.document(js, "js.update_stream", config).expect("what the server said can be sent back");
        assert_eq!(info["config"]["description"], json!("changed"));
        let made = json!({"name": "T", "subjects": ["t.>"]});
        queue.document(js, "js.create_or_update_stream", made.clone()).expect("made");
        queue.document(js, "js.create_or_update_stream", made).expect("updated");
        let account = queue.document(js, "js.account_info", json!({})).expect("the account");
        assert_eq!(account["streams"], json!(2));

        for n in 0..10 {
            store(queue, js, &format!("s.{n}"), b"x", None).expect("stored");
        }
        let purged = queue.document(js, "js.purge_stream", json!({"stream": "S", "filter": "s.3"})).expect("purged");
        assert_eq!(purged, json!({"purged": 1}));
        let purged = queue.document(js, "js.purge_stream", json!({"stream": "S", "keep": 2})).expect("purged");
        assert_eq!(purged, json!({"purged": 7}));
        for name in ["S", "T"] {
            queue.unit(js, "js.delete_stream", json!({"stream": name})).expect("deleted");
        }
        assert_eq!(code(queue.run(js, "js.delete_stream", json!({"stream": "S"}))), "not_found");
        let failure = queue.run(js, "js.create_stream", json!({"name": "S", "subjets": []})).expect_err("refused");
        assert_eq!((failure.code, &failure.detail["field"]), ("invalid_argument", &json!("subjets")));
        assert_eq!(code(queue.run(js, "js.create_stream", json!({"name": "a.b"}))), "invalid_argument");
        assert_eq!(
            code(queue.run(js, "js.create_stream", json!({"name": "U", "retention": "nonsense"}))),
            "invalid_argument"
        );
    });
}

#[test]
fn publishes_are_acknowledged_deduplicated_and_expected() {
    with_jetstream(|queue, js| {
        queue.document(js, "js.create_stream", json!({"name": "P", "subjects": ["p.>"]})).expect("made");
        let ack = store(queue, js, "p.a", b"1", Some(r#"{"id":"one"}"#)).expect("stored");
        assert_eq!((ack.stream.as_str(), ack.sequence, ack.duplicate), ("P", 1, false));
        let again = store(queue, js, "p.a", b"1", Some(r#"{"id":"one"}"#)).expect("known");
        assert_eq!((again.sequence, again.duplicate), (1, true));
        let wrong = store(queue, js, "p.a", b"2", Some(r#"{"expected_last_sequence":7}"#));
        assert_eq!(code(wrong), "conflict");
        store(
            queue,
            js,
            "p.a",
            b"2",
            Some(r#"{"expected_last_subject_sequence":1,"expected_stream":"P","timeout":5}"#),
        )
        .expect("stored");
        assert_eq!(code(store(queue, js, "p.a", b"2", Some(r#"{"no_such":1}"#))), "invalid_argument");
        assert_eq!(code(store(queue, js, "q.a", b"2", None)), "no_responders");

        let ids: Vec<u64> = (0..1000)
            .map(|_| natsune_ffi::start_js_publish(queue.number, js, b"p.many", &[], b"x", None).expect("started"))
            .collect();
        let mut sequences: Vec<u64> = ids
            .into_iter()
            .map(|id| {
                queue.wait(id);
                natsune_ffi::finish_ack(id).expect("stored").sequence
            })
            .collect();
        sequences.sort_unstable();
        assert_eq!(sequences, (3..1003).collect::<Vec<u64>>());
        queue.unit(js, "js.delete_stream", json!({"stream": "P"})).expect("deleted");
    });
}

#[test]
fn stored_messages_are_read_and_deleted() {
    with_jetstream(|queue, js| {
        queue.document(js, "js.create_stream", json!({"name": "G", "subjects": ["g.>"]})).expect("made");
        for n in 1..=20u8 {
            store(queue, js, &format!("g.{}", n % 2), &[n], None).expect("stored");
        }
        let get = |document: Value| messages(queue.run(js, "js.get_message", document));
        let found = get(json!({"stream": "G", "sequence": 3}));
        let Messages::Stored(list) = &found.messages else { panic!("{found:?}") };
        assert_eq!((list[0].message.subject(), list[0].message.payload(), list[0].sequence), ("g.1", &[3][..], 3));
        assert!(&*list[0].stream == "G" && list[0].timestamp_ns > 1_700_000_000_000_000_000);
        assert_eq!(found.pack()[8..12], 88u32.to_le_bytes());
        assert_eq!(payloads(&get(json!({"stream": "G", "last_for": "g.0"}))), [[20]]);
        assert_eq!(payloads(&get(json!({"stream": "G", "next_for": "g.0", "sequence": 5}))), [[6]]);
        assert!(get(json!({"stream": "G", "sequence": 99})).is_empty(), "absence is no failure");
        assert!(get(json!({"stream": "G", "last_for": "g.9"})).is_empty());
        assert_eq!(code(queue.run(js, "js.get_message", json!({"stream": "G"}))), "invalid_argument");
        assert_eq!(code(queue.run(js, "js.get_message", json!({"stream": "NO", "sequence": 1}))), "not_found");
        queue.unit(js, "js.delete_message", json!({"stream": "G", "sequence": 3})).expect("deleted");
        assert!(get(json!({"stream": "G", "sequence": 3})).is_empty());

        let reader = queue.handle(js, "stream.read", json!({"stream": "G", "start": 2})).expect("a reader");
        let (mut got, mut done) = (Vec::new(), 0);
        loop {
            let taken = queue.take(reader, 7, done).expect("taken");
            done = taken.len() as u32;
            got.extend(payloads(&taken).concat());
            if taken.state == STATE_ENDED {
                break;
            }
        }
        assert_eq!(got, (2..=20).filter(|n| *n != 3).collect::<Vec<u8>>());
        natsune_ffi::close_handle(reader);
        queue.unit(js, "js.delete_stream", json!({"stream": "G"})).expect("deleted");
    });
}

/// The ack subject of every message.
fn ack_subjects(taken: &Taken) -> Vec<Vec<u8>> {
    let Messages::Consumer(list) = &taken.messages else { panic!("{taken:?}") };
    list.iter().map(|message| message.reply().expect("an ack subject").as_bytes().to_vec()).collect()
}

#[test]
fn consumers_give_messages_that_are_settled() {
    with_jetstream(|queue, js| {
        queue.document(js, "js.create_stream", json!({"name": "C", "subjects": ["c.>"]})).expect("made");
        let config = json!({"durable": "w", "ack_wait": 30, "filter_subjects": ["c.a", "c.b"], "backoff": [0.5, 1], "max_deliver": 5});
        let info = queue.document(js, "js.create_consumer", json!({"stream": "C", "config": config})).expect("made");
        assert_eq!(
            (&info["stream"], &info["name"], &info["config"]["durable"]),
            (&json!("C"), &json!("w"), &json!("w"))
        );
        assert_eq!(info["config"]["backoff"], json!([0.5, 1.0]));
        let mut config = info["config"].clone();
        config["description"] = json!("changed");
        queue.document(js, "js.update_consumer", json!({"stream": "C", "config": config})).expect("sent back");
        let next = |timeout: f64| {
            messages(queue.run(js, "consumer.next", json!({"stream": "C", "consumer": "w", "timeout": timeout})))
        };
        assert!(next(0.05).is_empty(), "nothing in time is absence");
        for n in 0..10u8 {
            store(queue, js, "c.a", &[n], None).expect("stored");
        }
        let first = next(5.0);
        assert_eq!(payloads(&first), [[0]]);
        let Messages::Consumer(list) = &first.messages else { panic!("{first:?}") };
        let metadata = natsune_ffi::metadata(&list[0]).expect("metadata");
        assert_eq!(
            (metadata.stream, metadata.consumer, metadata.stream_sequence, metadata.delivered),
            ("C", "w", 1, 1)
        );

        let ack = &ack_subjects(&first)[0];
        let state = natsune_ffi::settle(js, ack, 0, 4, None).expect("in progress");
        assert_eq!(state, 0);
        let state = natsune_ffi::settle(js, ack, state, 1, None).expect("acked");
        assert_eq!(natsune_ffi::settle(js, ack, state, 1, None).expect("the same again is nothing"), state);
        assert_eq!(code(natsune_ffi::settle(js, ack, state, 2, None)), "invalid_argument");
        assert_eq!(code(natsune_ffi::settle(js, ack, 0, 9, None)), "invalid_argument");
        assert_eq!(code(natsune_ffi::settle(js, ack, 0, 2, Some("soon"))), "invalid_argument");

        let fetched = messages(queue.run(
            js,
            "consumer.fetch",
            json!({"stream": "C", "consumer": "w", "max_messages": 4, "timeout": 5}),
        ));
        assert_eq!(payloads(&fetched), [[1], [2], [3], [4]]);
        let subjects = ack_subjects(&fetched);
        natsune_ffi::settle(js, &subjects[0], 0, 2, Some("0")).expect("given back");
        natsune_ffi::settle(js, &subjects[1], 0, 3, Some("poison")).expect("terminated");
        let id = natsune_ffi::start_ack_sync(queue.number, js, &subjects[2], 0, 0).expect("started");
        let Outcome::Number(state) = queue.finish(id).expect("confirmed") else { panic!("no number") };
        assert_ne!(state, 0);
        natsune_ffi::settle(js, &subjects[3], 0, 1, None).expect("acked");
        let again = next(5.0);
        assert!(payloads(&again) == [[1]] || payloads(&again) == [[5]], "{:?}", payloads(&again));

        let none = json!({"stream": "C", "consumer": "none", "timeout": 1});
        assert_eq!(code(queue.run(js, "consumer.next", none)), "not_found");
        queue.unit(js, "js.delete_consumer", json!({"stream": "C", "consumer": "w"})).expect("deleted");
        assert_eq!(code(queue.run(js, "js.consumer_info", json!({"stream": "C", "consumer": "w"}))), "not_found");
        queue.unit(js, "js.delete_stream", json!({"stream": "C"})).expect("deleted");
    });
}

#[test]
fn a_cancelled_fetch_loses_nothing() {
    with_jetstream(|queue, js| {
        queue.document(js, "js.create_stream", json!({"name": "F", "subjects": ["f"]})).expect("made");
        queue.document(js, "js.create_consumer", json!({"stream": "F", "config": {"durable": "w"}})).expect("made");
        for n in 0..5u8 {
            store(queue, js, "f", &[n], None).expect("stored");
        }
        let fetch = json!({"stream": "F", "consumer": "w", "max_messages": 5, "timeout": 5}).to_string();
        // Finished and not looked at: what it had goes to the next one.
        let id = natsune_ffi::start(queue.number, js, "consumer.fetch", &fetch).expect("started");
        queue.wait(id);
        natsune_ffi::cancel(id);
        let all = messages(queue.run(js, "consumer.fetch", serde_json::from_str(&fetch).expect("JSON")));
        assert_eq!(payloads(&all).concat(), [0, 1, 2, 3, 4]);
        // Not finished: the same.
        for _ in 0..20 {
            let id = natsune_ffi::start(queue.number, js, "consumer.fetch", &fetch).expect("started");
            natsune_ffi::cancel(id);
        }
        for n in 5..10u8 {
            store(queue, js, "f", &[n], None).expect("stored");
        }
        let all = messages(queue.run(js, "consumer.fetch", serde_json::from_str(&fetch).expect("JSON")));
        assert_eq!(payloads(&all).concat(), [5, 6, 7, 8, 9]);
        queue.unit(js, "js.delete_stream", json!({"stream": "F"})).expect("deleted");
    });
}

#[test]
fn a_consumption_flows_until_it_is_stopped_or_drained() {
    with_jetstream(|queue, js| {
        queue.document(js, "js.create_stream", json!({"name": "K", "subjects": ["k"]})).expect("made");
        queue.document(js, "js.create_consumer", json!({"stream": "K", "config": {"durable": "w"}})).expect("made");
        let consume = json!({"stream": "K", "consumer": "w", "max_messages": 100});
        let flow = queue.handle(js, "consumer.consume", consume.clone()).expect("flows");
        assert_eq!(natsune_ffi::take(flow, 10, u32::MAX, 0).expect("nothing yet").state, STATE_IDLE);
        for n in 0..1000u32 {
            publish(js, "k", &n.to_le_bytes()).expect("accepted");
        }
        let (mut next, mut done) = (0u32, 0);
        while next < 1000 {
            let taken = queue.take(flow, 64, done).expect("taken");
            done = taken.len() as u32;
            for (payload, ack) in payloads(&taken).iter().zip(ack_subjects(&taken)) {
                assert_eq!(*payload, next.to_le_bytes());
                next += 1;
                natsune_ffi::settle(js, &ack, 0, 1, None).expect("acked");
            }
        }
        natsune_ffi::take(flow, 1, 1, done).expect("handled");
        queue.unit(flow, "consume.drain", json!({})).expect("draining");
        assert_eq!(queue.take(flow, 1, 0).expect("the end").state, STATE_ENDED);
        queue.unit(flow, "consume.closed", json!({})).expect("ended");
        natsune_ffi::close_handle(flow);

        let flow = queue.handle(js, "consumer.consume", consume).expect("flows");
        queue.unit(flow, "consume.stop", json!({"release": true})).expect("stopped");
        assert_eq!(queue.take(flow, 1, 0).expect("the end").state, STATE_ENDED);
        let gone = queue.handle(js, "consumer.consume", json!({"stream": "K", "consumer": "w"})).expect("flows");
        queue.unit(js, "js.delete_consumer", json!({"stream": "K", "consumer": "w"})).expect("deleted");
        assert_eq!(code(queue.take(gone, 1, 0)), "not_found");
        assert_eq!(code(natsune_ffi::take(gone, 1, 1, 0)), "not_found", "every time");
        queue.unit(js, "js.delete_stream", json!({"stream": "K"})).expect("deleted");
    });
}

#[test]
fn a_context_of_a_domain_is_a_handle_of_its_own() {
    let world = World::new();
    let World { queue, client, .. } = &world;
    let js = natsune_ffi::jetstream(*client, r#"{"domain":"nowhere"}"#).expect("a handle");
    assert_eq!(code(queue.run(js, "js.account_info", json!({}))), "unavailable");
    assert_eq!(code(natsune_ffi::jetstream(*client, r#"{"domain":"a","prefix":"b"}"#)), "invalid_argument");
    assert_eq!(code(natsune_ffi::jetstream(*client, r#"{"domian":"a"}"#)), "invalid_argument");
    natsune_ffi::close_handle(js);
    assert_eq!(code(queue.run(js, "js.account_info", json!({}))), "closed");
}
