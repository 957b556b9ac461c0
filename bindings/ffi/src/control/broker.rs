//! Control of the broker inside the library.

use crate::documents::BrokerOptions;
use crate::failure::{Failure, R};

#[cfg(not(feature = "embedded"))]
use absent as room;
#[cfg(feature = "embedded")]
use embedded as room;
#[cfg(feature = "embedded")]
pub(crate) use embedded::BrokerObject;

/// Starts a broker; finishes with its handle.
pub(crate) fn start_broker(queue: u64, options: BrokerOptions) -> R<u64> {
    room::start(queue, options)
}

/// Ends a broker: what was acknowledged is on disk.
pub(crate) fn stop_broker(queue: u64, target: u64) -> R<u64> {
    room::stop(queue, target)
}

/// Finishes with a `NamespaceInfo`.
pub(crate) fn create_namespace(queue: u64, target: u64, name: String) -> R<u64> {
    room::create_namespace(queue, target, name)
}

/// Finishes with a list of `NamespaceInfo`.
pub(crate) fn list_namespaces(queue: u64, target: u64) -> R<u64> {
    room::list_namespaces(queue, target)
}

/// By name or id.
pub(crate) fn delete_namespace(queue: u64, target: u64, name: String) -> R<u64> {
    room::delete_namespace(queue, target, name)
}

/// Finishes with a `CredentialsInfo` that has the text, this once.
pub(crate) fn create_credentials(queue: u64, target: u64, namespace: String, name: String) -> R<u64> {
    room::create_credentials(queue, target, namespace, name)
}

/// Finishes with a list of `CredentialsInfo` without texts.
pub(crate) fn list_credentials(queue: u64, target: u64, namespace: String) -> R<u64> {
    room::list_credentials(queue, target, namespace)
}

/// By name or id.
pub(crate) fn delete_credentials(queue: u64, target: u64, namespace: String, name: String) -> R<u64> {
    room::delete_credentials(queue, target, namespace, name)
}

/// Where clients connect.
pub(crate) fn broker_url(handle: u64) -> R<String> {
    room::url(handle)
}

/// Where the monitoring pages are, if anywhere.
pub(crate) fn broker_monitor_url(handle: u64) -> R<Option<String>> {
    room::monitor_url(handle)
}

/// A library built without the broker.
#[cfg(not(feature = "embedded"))]
mod absent {
    use super::*;

    fn none<T>() -> R<T> {
        Err(Failure::new("unsupported", "this build of the library has no broker inside"))
    }

    pub(super) fn start(_queue: u64, _options: BrokerOptions) -> R<u64> {
        none()
    }
    pub(super) fn stop(_queue: u64, _target: u64) -> R<u64> {
        none()
    }
    pub(super) fn create_namespace(_queue: u64, _target: u64, _name: String) -> R<u64> {
        none()
    }
    pub(super) fn list_namespaces(_queue: u64, _target: u64) -> R<u64> {
        none()
    }
    pub(super) fn delete_namespace(_queue: u64, _target: u64, _name: String) -> R<u64> {
        none()
    }
    pub(super) fn create_credentials(_queue: u64, _target: u64, _namespace: String, _name: String) -> R<u64> {
        none()
    }
    pub(super) fn list_credentials(_queue: u64, _target: u64, _namespace: String) -> R<u64> {
        none()
    }
    pub(super) fn delete_credentials(_queue: u64, _target: u64, _namespace: String, _name: String) -> R<u64> {
        none()
    }
    pub(super) fn url(_handle: u64) -> R<String> {
        none()
    }
    pub(super) fn monitor_url(_handle: u64) -> R<Option<String>> {
        none()
    }
}

#[cfg(feature = "embedded")]
mod embedded {
    use std::path::PathBuf;
    use std::sync::Arc;

    use natsune_broker::Broker;
    use natsune_broker::config::{
        Config, JetStreamConfig, LogConfig, NamespacesConfig, Secret, SocketSpec, SyncMode, UserConfig,
    };
    use natsune_broker::namespaces::{self, NamespaceError, Namespaces};
    use tokio::sync::Mutex;

    use super::*;
    use crate::documents::{CredentialsInfo, NamespaceInfo};
    use crate::hub::{hub_of, start_future};
    use crate::object::Object;
    use crate::outcome::Done;

    /// A running broker. It is taken out when it stops.
    pub(crate) struct BrokerObject {
        broker: Mutex<Option<Broker>>,
        namespaces: Option<Namespaces>,
        url: String,
        monitor_url: Option<String>,
    }

    impl BrokerObject {
        pub(crate) async fn stop(&self) {
            if let Some(broker) = self.broker.lock().await.take() {
                broker.shutdown().await;
            }
        }
    }

    fn broker_of(handle: u64) -> R<Arc<BrokerObject>> {
        match hub_of(handle)?.handles.get(handle)? {
            Object::Broker(broker) => Ok(broker),
            _ => Err(Failure::invalid("this is not a broker")),
        }
    }

    /// The configuration file first, then what was said beside it.
    fn config(options: BrokerOptions) -> R<Config> {
        let mut config = match &options.config_file {
            Some(path) => Config::parse_file(path).map_err(|error| Failure::field("config_file", error.to_string()))?,
            None => Config::ephemeral(),
        };
        if let Some(name) = options.server_name {
            config.server_name = Some(name);
        }
        if let Some(host) = options.host {
            config.host = Some(host);
        }
        if let Some(port) = options.port {
            config.port = port;
        }
        if let Some(port) = options.monitor_port {
            config.http = Some(SocketSpec { host: None, port });
        }
        if options.namespaces || options.namespaces_dir.is_some() {
            let Some(dir) = options.namespaces_dir.as_ref().or(options.store_dir.as_ref()) else {
                return Err(Failure::field(
                    "namespaces",
                    "namespaces need a folder: give `store_dir` or `namespaces_dir`",
                ));
            };
            config.namespaces = Some(NamespacesConfig { dir: PathBuf::from(dir) });
        }
        match options.jetstream {
            Some(false) => config.jetstream = None,
            _ => {
                let jetstream = config.jetstream.get_or_insert_with(JetStreamConfig::default);
                if let Some(dir) = options.store_dir {
                    jetstream.store_dir = Some(PathBuf::from(dir));
                }
                if let Some(domain) = options.domain {
                    jetstream.domain = Some(domain);
                }
                if let Some(interval) = options.sync_interval {
                    jetstream.sync = SyncMode::Interval(interval);
                }
            }
        }
        match (options.user, options.password) {
            (Some(name), Some(password)) => {
                let password = Some(Secret::new(password));
                config.auth.users.push(UserConfig { name, password, ..UserConfig::default() });
            }
            (None, None) => {}
            // Half of it would let in everybody.
            (Some(_), None) => return Err(Failure::field("password", "a user needs a password: give both")),
            (None, Some(_)) => return Err(Failure::field("user", "a password needs a user: give both")),
        }
        if let Some(token) = options.token {
            config.auth.token = Some(Secret::new(token));
        }
        if let Some(bytes) = options.max_payload {
            config.limits.max_payload = usize::try_from(bytes).unwrap_or(usize::MAX);
        }
        if let Some(file) = options.log_file {
            config.log = LogConfig { file: Some(PathBuf::from(file)), ..LogConfig::default() };
        }
        Ok(config)
    }

    fn failed(error: natsune_broker::Error) -> Failure {
        let code = match &error {
            natsune_broker::Error::Config(_) | natsune_broker::Error::Tls(_) => "invalid_argument",
            _ => "unavailable",
        };
        Failure::new(code, error.to_string())
    }

    pub(super) fn start(queue: u64, options: BrokerOptions) -> R<u64> {
        start_future(queue, |hub| {
            Ok(async move {
                let broker = Broker::start(config(options)?).await.map_err(failed)?;
                let object = BrokerObject {
                    url: broker.url(),
                    monitor_url: broker.monitor_url(),
                    namespaces: broker.namespaces().cloned(),
                    broker: Mutex::new(Some(broker)),
                };
                Ok(Done::Handle(hub.handles.add(Object::Broker(Arc::new(object)))?))
            })
        })
    }

    pub(super) fn stop(queue: u64, target: u64) -> R<u64> {
        let object = broker_of(target)?;
        start_future(queue, |hub| {
            // A stop that was cancelled goes on: half a shutdown helps nobody.
            let (told, stopped) = tokio::sync::oneshot::channel();
            hub.spawn(async move {
                object.stop().await;
                let _ = told.send(());
            });
            Ok(async move {
                let _ = stopped.await;
                Ok(Done::Unit)
            })
        })
    }

    /// Starts something about namespaces: it reads and writes files, so it runs where blocking is allowed.
    fn with_namespaces(
        queue: u64,
        target: u64,
        body: impl FnOnce(&Namespaces) -> Result<Done, NamespaceError> + Send + 'static,
    ) -> R<u64> {
        let object = broker_of(target)?;
        start_future(queue, |hub| {
            Ok(async move {
                let Some(namespaces) = object.namespaces.clone() else {
                    return Err(Failure::new("unsupported", "this broker was started without namespaces"));
                };
                let task = hub.runtime.spawn_blocking(move || body(&namespaces));
                let result = task.await.map_err(|_| Failure::internal("the work on namespaces panicked"))?;
                result.map_err(|error| Failure::new(error.code(), error.to_string()))
            })
        })
    }

    fn namespace(of: namespaces::Namespace) -> NamespaceInfo {
        NamespaceInfo { id: of.id, name: of.name, created: Some(of.created_at.into()) }
    }

    fn credentials(of: namespaces::CredentialsInfo, creds_text: Option<String>) -> CredentialsInfo {
        CredentialsInfo {
            id: of.id,
            name: of.name,
            namespace: of.namespace,
            namespace_id: of.namespace_id,
            public_key: of.public_key,
            created: Some(of.created_at.into()),
            creds_text,
        }
    }

    pub(super) fn create_namespace(queue: u64, target: u64, name: String) -> R<u64> {
        with_namespaces(queue, target, move |all| Ok(Done::document(namespace(all.create_namespace(&name)?))))
    }

    pub(super) fn list_namespaces(queue: u64, target: u64) -> R<u64> {
        with_namespaces(queue, target, |all| {
            let list: Vec<NamespaceInfo> = all.list_namespaces()?.into_iter().map(namespace).collect();
            Ok(Done::document(list))
        })
    }

    pub(super) fn delete_namespace(queue: u64, target: u64, name: String) -> R<u64> {
        with_namespaces(queue, target, move |all| all.delete_namespace(&name).map(|_| Done::Unit))
    }

    pub(super) fn create_credentials(queue: u64, target: u64, of: String, name: String) -> R<u64> {
        with_namespaces(queue, target, move |all| {
            let (info, text) = all.create_credentials(&of, &name)?;
            Ok(Done::document(credentials(info, Some(text.expose().to_owned()))))
        })
    }

    pub(super) fn list_credentials(queue: u64, target: u64, of: String) -> R<u64> {
        with_namespaces(queue, target, move |all| {
            let list = all.list_credentials(Some(&of))?;
            let list: Vec<CredentialsInfo> = list.into_iter().map(|info| credentials(info, None)).collect();
            Ok(Done::document(list))
        })
    }

    pub(super) fn delete_credentials(queue: u64, target: u64, of: String, name: String) -> R<u64> {
        with_namespaces(queue, target, move |all| all.delete_credentials(&of, &name).map(|_| Done::Unit))
    }

    pub(super) fn url(handle: u64) -> R<String> {
        Ok(broker_of(handle)?.url.clone())
    }

    pub(super) fn monitor_url(handle: u64) -> R<Option<String>> {
        Ok(broker_of(handle)?.monitor_url.clone())
    }
}
