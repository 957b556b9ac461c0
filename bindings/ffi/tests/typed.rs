//! The typed control lane, as generated Swift and Kotlin call it.

mod common;

use std::time::Duration;

use common::World;
use natsune_ffi::documents::{
    BrokerOptions, ConnectOptions, ConsumeOptions, ConsumerConfig, FetchOptions, StreamConfig, SubscribeOptions,
};
use natsune_ffi::inject_panic;
use natsune_ffi::typed::{self, NativeFailure};

fn code<T>(result: Result<T, NativeFailure>) -> String {
    match result {
        Ok(_) => "none".to_owned(),
        Err(NativeFailure::Failed { code, .. }) => code,
    }
}

#[test]
fn the_same_operations_with_types() {
    let world = World::new();
    let queue = &world.queue;
    let wait = |id: Result<u64, NativeFailure>| {
        let id = id.expect("started");
        queue.wait(id);
        id
    };
    let options = ConnectOptions {
        servers: vec![world.url.clone()],
        name: Some("typed".to_owned()),
        connect_timeout: Some(Duration::from_secs(5)),
        ..ConnectOptions::default()
    };
    let client = typed::finish_handle(wait(typed::start_connect(queue.number, options))).expect("connected");
    let options = SubscribeOptions { subject: "a".to_owned(), ..SubscribeOptions::default() };
    let sub = typed::finish_handle(wait(typed::start_subscribe(queue.number, client, options))).expect("subscribed");
    natsune_ffi::publish(client, b"a", None, &[], b"x").expect("accepted");
    let counts = typed::finish_counts(wait(typed::start_flush(queue.number, client))).expect("flushed");
    assert_eq!((counts.published, counts.flushed), (1, 1));
    assert!(typed::finish_rtt(wait(typed::start_rtt(queue.number, client))).expect("rtt") > Duration::ZERO);
    assert_eq!(typed::subscription_stats(sub).expect("stats").received, 1);
    assert_eq!(typed::client_stats(client).expect("stats").subscriptions, 1);
    assert!(typed::client_server_info(client).expect("info").headers);
    assert_eq!(typed::client_max_payload(client).expect("a size"), 1 << 20);
    assert!(typed::client_new_inbox(client).expect("a subject").starts_with("_INBOX."));
    assert_eq!(typed::client_state(client).expect("a state"), "connected");
    assert_eq!(typed::broker_url(world.broker).expect("a URL"), world.url);
    assert_eq!(typed::broker_monitor_url(world.broker).expect("none"), None);
    let events = typed::finish_handle(wait(typed::start_events(queue.number, client))).expect("events");
    assert_eq!(typed::take_events(events, 5).expect("nothing").events, []);
    typed::finish_unit(wait(typed::start_unsubscribe(queue.number, sub, None))).expect("unsubscribed");
    typed::finish_unit(wait(typed::start_subscription_closed(queue.number, sub))).expect("ended");
    let closing = typed::start_closed(queue.number, client).expect("started");
    typed::finish_unit(wait(typed::start_close(queue.number, client))).expect("closed");
    assert_eq!(typed::finish_closed(wait(Ok(closing))).expect("closed"), None);
    assert_eq!(code(typed::finish_unit(wait(typed::start_flush(queue.number, client)))), "closed");
    // The wrong finish is a fault of the facade, not a crash.
    let id = wait(typed::start_list_namespaces(queue.number, world.broker));
    assert_eq!(code(typed::finish_namespaces(id)), "unsupported");
    let id = wait(typed::start_closed(queue.number, client));
    assert_eq!(code(typed::finish_stream_info(id)), "internal");
}

#[test]
fn a_panic_in_any_function_is_internal() {
    let text = String::new;
    let calls: Vec<Box<dyn Fn() -> String>> = vec![
        Box::new(|| code(typed::start_connect(0, ConnectOptions::default()))),
        Box::new(|| code(typed::start_flush(0, 0))),
        Box::new(|| code(typed::start_rtt(0, 0))),
        Box::new(|| code(typed::start_drain(0, 0))),
        Box::new(|| code(typed::start_close(0, 0))),
        Box::new(|| code(typed::start_closed(0, 0))),
        Box::new(|| code(typed::start_reconnect(0, 0))),
        Box::new(|| code(typed::start_events(0, 0))),
        Box::new(|| code(typed::start_subscribe(0, 0, SubscribeOptions::default()))),
        Box::new(|| code(typed::start_unsubscribe(0, 0, None))),
        Box::new(|| code(typed::start_subscription_drain(0, 0))),
        Box::new(|| code(typed::start_subscription_closed(0, 0))),
        Box::new(|| code(typed::open_jetstream(0, None, None))),
        Box::new(|| code(typed::start_create_stream(0, 0, StreamConfig::default()))),
        Box::new(|| code(typed::start_update_stream(0, 0, StreamConfig::default()))),
        Box::new(|| code(typed::start_create_or_update_stream(0, 0, StreamConfig::default()))),
        Box::new(move || code(typed::start_stream_info(0, 0, text()))),
        Box::new(move || code(typed::start_delete_stream(0, 0, text()))),
        Box::new(move || code(typed::start_purge_stream(0, 0, text(), None, None, None))),
        Box::new(|| code(typed::start_account_info(0, 0))),
        Box::new(move || code(typed::start_create_consumer(0, 0, text(), ConsumerConfig::default()))),
        Box::new(move || code(typed::start_update_consumer(0, 0, text(), ConsumerConfig::default()))),
        Box::new(move || code(typed::start_create_or_update_consumer(0, 0, text(), ConsumerConfig::default()))),
        Box::new(move || code(typed::start_consumer_info(0, 0, text(), text()))),
        Box::new(move || code(typed::start_delete_consumer(0, 0, text(), text()))),
        Box::new(move || code(typed::start_get_message(0, 0, text(), Some(1), None, None))),
        Box::new(move || code(typed::start_delete_message(0, 0, text(), 1))),
        Box::new(move || code(typed::start_read_stream(0, 0, text(), None))),
        Box::new(move || code(typed::start_next(0, 0, text(), text(), None))),
        Box::new(move || code(typed::start_fetch(0, 0, text(), text(), FetchOptions::default()))),
        Box::new(move || code(typed::start_consume(0, 0, text(), text(), ConsumeOptions::default()))),
        Box::new(|| code(typed::start_consumption_stop(0, 0, false))),
        Box::new(|| code(typed::start_consumption_drain(0, 0))),
        Box::new(|| code(typed::start_consumption_closed(0, 0))),
        Box::new(|| code(typed::consumption_stats(0))),
        Box::new(|| code(typed::start_broker(0, BrokerOptions::default()))),
        Box::new(|| code(typed::start_broker_stop(0, 0))),
        Box::new(move || code(typed::start_create_namespace(0, 0, text()))),
        Box::new(|| code(typed::start_list_namespaces(0, 0))),
        Box::new(move || code(typed::start_delete_namespace(0, 0, text()))),
        Box::new(move || code(typed::start_create_credentials(0, 0, text(), text()))),
        Box::new(move || code(typed::start_list_credentials(0, 0, text()))),
        Box::new(move || code(typed::start_delete_credentials(0, 0, text(), text()))),
        Box::new(|| code(typed::finish_unit(0))),
        Box::new(|| code(typed::finish_handle(0))),
        Box::new(|| code(typed::finish_counts(0))),
        Box::new(|| code(typed::finish_rtt(0))),
        Box::new(|| code(typed::finish_closed(0))),
        Box::new(|| code(typed::finish_stream_info(0))),
        Box::new(|| code(typed::finish_purged(0))),
        Box::new(|| code(typed::finish_account_info(0))),
        Box::new(|| code(typed::finish_consumer_info(0))),
        Box::new(|| code(typed::finish_namespace(0))),
        Box::new(|| code(typed::finish_namespaces(0))),
        Box::new(|| code(typed::finish_credentials(0))),
        Box::new(|| code(typed::finish_credentials_list(0))),
        Box::new(|| code(typed::take_events(0, 1))),
        Box::new(|| code(typed::client_stats(0))),
        Box::new(|| code(typed::client_server_info(0))),
        Box::new(|| code(typed::client_max_payload(0))),
        Box::new(|| code(typed::client_new_inbox(0))),
        Box::new(|| code(typed::client_state(0))),
        Box::new(|| code(typed::subscription_stats(0))),
        Box::new(|| code(typed::broker_url(0))),
        Box::new(|| code(typed::broker_monitor_url(0))),
    ];
    for (place, call) in calls.iter().enumerate() {
        inject_panic();
        assert_eq!(call(), "internal", "number {place}");
        assert_eq!(call(), "closed", "number {place}");
    }
    let exported = include_str!("../src/typed.rs").matches("#[uniffi::export]").count();
    assert_eq!(calls.len(), exported, "every exported function has a test of its wall");
}
