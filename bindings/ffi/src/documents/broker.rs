//! The broker inside the library: how to start it, its namespaces and their credentials.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::documents::{fields, info, options};

options! {
    /// How to start a broker. Without anything: in memory, on a free port of this machine, for everybody.
    BrokerOptions {
        ;
        /// A configuration file in nats-server's language; the other fields win over it.
        config_file: Option<String>,
        /// Name of the server.
        server_name: Option<String>,
        /// Address to listen on; this machine only unless clients must authenticate.
        host: Option<String>,
        /// Port to listen on; absent or 0 for a free one.
        port: Option<u16>,
        /// Port of the monitoring pages; 0 for a free one, absent for none.
        monitor_port: Option<u16>,
        /// False: without JetStream.
        jetstream: Option<bool>,
        /// Folder of the store; absent: everything is in memory and gone in the end.
        store_dir: Option<String>,
        /// The JetStream domain.
        domain: Option<String>,
        /// Sync the disk at this interval instead of before each ack: the last moments can be lost with the power.
        #[serde(with = "fields::seconds_option")]
        sync_interval: Option<Duration>,
        /// Namespaces and their credentials; every client needs credentials then.
        namespaces: bool,
        /// Folder of the namespaces' keys; `store_dir` unless given.
        namespaces_dir: Option<String>,
        /// The one user that may connect, with `password`.
        user: Option<String>,
        /// Password of `user`.
        password: Option<String>,
        /// The token that clients must give.
        token: Option<String>,
        /// Largest payload in bytes.
        max_payload: Option<u64>,
        /// File that is logged to; absent: no log.
        log_file: Option<String>,
    }
}

impl fmt::Debug for BrokerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerOptions")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("store_dir", &self.store_dir)
            .finish_non_exhaustive()
    }
}

info! {
    #[derive(Debug)]
    /// A namespace: an account with its own subjects and streams.
    NamespaceInfo {
        /// Its id: the account's public key.
        id: String,
        /// Its name.
        name: String,
        /// When it was made.
        #[serde(with = "fields::instant_option")]
        created: Option<SystemTime>,
    }
}

info! {
    /// Credentials of a namespace.
    CredentialsInfo {
        /// Their id, a UUID.
        id: String,
        /// Their name.
        name: String,
        /// Name of the namespace.
        namespace: String,
        /// Id of the namespace.
        namespace_id: String,
        /// The user's public key.
        public_key: String,
        /// When they were made.
        #[serde(with = "fields::instant_option")]
        created: Option<SystemTime>,
        /// The text of the credentials file: a secret, given once, when they are made.
        creds_text: Option<String>,
    }
}

impl fmt::Debug for CredentialsInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialsInfo")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}
