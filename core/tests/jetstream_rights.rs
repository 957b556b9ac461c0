//! A user without the right to pull is told so, and does not wait for ever.

mod support;

use natsune::jetstream::{ConsumeOptions, ConsumerConfig, StreamConfig};
use natsune::{Client, Code};
use support::*;

const CONFIG: &str = r#"
    jetstream { store_dir: js }
    authorization {
      users = [
        { user: all, password: p },
        { user: some, password: p, permissions: { publish: { deny: ["$JS.API.CONSUMER.MSG.NEXT.>"] } } },
      ]
    }"#;

async fn connect(server: &NatsServer, user: &str) -> Client {
    let mut with_user = options(&server.url());
    (with_user.user, with_user.password) = (Some(user.into()), Some("p".into()));
    client_with(with_user).await
}

#[tokio::test]
async fn a_pull_that_may_not_be_made_is_a_failure() {
    let Some(server) = NatsServer::with_config(CONFIG) else { return };
    let js = connect(&server, "all").await.jetstream();
    let stream =
        js.create_stream(StreamConfig { name: "S".into(), subjects: vec!["s.>".into()], ..Default::default() }).await;
    let stream = stream.unwrap();
    stream.create_consumer(ConsumerConfig { durable_name: Some("c".into()), ..Default::default() }).await.unwrap();
    js.publish("s.1", "x").await.unwrap();
    let js = connect(&server, "some").await.jetstream();
    let consumer = js.consumer("S", "c").unwrap();
    let error = soon("next", consumer.next(LIMIT)).await.unwrap_err();
    assert_eq!(error.code(), Code::Permission, "{error}");
    assert_eq!(soon("fetch", consumer.fetch(2, LIMIT)).await.unwrap_err().code(), Code::Permission);
    let consumption = consumer.consume(&ConsumeOptions::default()).await.unwrap();
    assert_eq!(soon("consume", consumption.next()).await.unwrap_err().code(), Code::Permission);
    let reader = js.stream("S").unwrap().read(0).await.unwrap();
    assert_eq!(soon("read", reader.next()).await.unwrap_err().code(), Code::Permission);
    until("nothing is left open", || js.client().stats().subscriptions <= 1).await;
}
