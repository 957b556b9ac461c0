//! The embedded broker.

use crate::{Object, Outcome, Request, Testee};
use natsune::{Applied, Code, Error};
use natsune_broker::config::{Config, JetStreamConfig, NamespacesConfig};
use natsune_broker::server::Broker;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Mutex;

/// A broker of this process; gone after `stop`.
pub struct LocalBroker(Mutex<Option<Broker>>);

pub async fn run(testee: &Testee, request: &Request) -> Outcome {
    if request.op == "broker_start" {
        return start(testee, request).await;
    }
    let Object::Broker(local) = testee.object(request)? else { return Err("not a broker".into()) };
    if request.op == "broker_stop" {
        if let Some(broker) = local.0.lock().await.take() {
            broker.shutdown().await;
        }
        return Ok(json!({}));
    }
    let broker = local.0.lock().await;
    let namespaces = broker.as_ref().and_then(Broker::namespaces).ok_or("no namespaces")?;
    let name = request.text("name")?;
    let result = match request.op.as_str() {
        "broker_namespace" => namespaces.create_namespace(name).map(|made| json!({"id": made.id, "name": made.name})),
        "broker_delete_namespace" => namespaces.delete_namespace(name).map(|_| json!({})),
        "broker_credentials" => namespaces
            .create_credentials(request.text("namespace")?, name)
            .map(|(_, text)| json!({"creds_text": text.expose()})),
        "broker_delete_credentials" => {
            namespaces.delete_credentials(request.text("namespace")?, name).map(|_| json!({}))
        }
        other => return Err(format!("unknown operation {other}").into()),
    };
    Ok(result.map_err(|error| {
        let code = Code::ALL.into_iter().find(|code| code.as_str() == error.code()).unwrap_or(Code::Internal);
        Error::new(code, error.to_string()).with_applied(Applied::No)
    })?)
}

async fn start(testee: &Testee, request: &Request) -> Outcome {
    let folder = request.args.get("store_dir").and_then(Value::as_str).map(PathBuf::from);
    let mut config = Config { port: 0, ..Config::default() };
    config.jetstream = Some(JetStreamConfig { store_dir: folder.clone(), ..JetStreamConfig::default() });
    if request.args.get("namespaces") == Some(&Value::Bool(true)) {
        config.namespaces = folder.map(|folder| NamespacesConfig { dir: folder.join("namespaces") });
    }
    let broker = Broker::start(config).await.map_err(|error| error.to_string())?;
    let told = json!({"url": broker.url(), "monitor_url": broker.monitor_url()});
    testee.keep(&request.makes, Object::Broker(Arc::new(LocalBroker(Mutex::new(Some(broker))))));
    Ok(told)
}
