//! Files for whoever started the server: the process id and the ports.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::shared::Shared;
use super::{Error, dialable};
use crate::config::Config;

/// What was written, to be removed at the end.
#[derive(Default)]
pub(super) struct Files(Vec<PathBuf>);

#[derive(Serialize)]
struct Ports {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    nats: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    monitoring: Vec<String>,
}

impl Files {
    pub(super) fn write(shared: &Shared, config: &Config) -> Result<Files, Error> {
        let mut files = Files::default();
        match files.write_all(shared, config) {
            Ok(()) => Ok(files),
            Err(error) => {
                // A server that does not start leaves nothing behind that says it runs.
                files.remove();
                Err(error)
            }
        }
    }

    fn write_all(&mut self, shared: &Shared, config: &Config) -> Result<(), Error> {
        if let Some(path) = &config.pid_file {
            // No line end: readers parse the bare text.
            self.put(path.clone(), std::process::id().to_string().as_bytes())?;
        }
        if let Some(dir) = &config.ports_file_dir {
            let scheme = if config.tls.is_some() { "tls" } else { "nats" };
            let url = |scheme: &str, address: Option<&std::net::SocketAddr>| {
                address.map(|address| format!("{scheme}://{}", dialable(*address))).into_iter().collect()
            };
            let ports = Ports {
                nats: url(scheme, shared.address.get()),
                monitoring: url("http", shared.monitor_address.get()),
            };
            let text = serde_json::to_vec(&ports).unwrap_or_default();
            self.put(dir.join(format!("{}_{}.ports", program(), std::process::id())), &text)?;
        }
        Ok(())
    }

    /// In one step, so that whoever waits for the file never reads half of it.
    fn put(&mut self, path: PathBuf, text: &[u8]) -> Result<(), Error> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let half = path.with_file_name(format!(".{name}.{}", std::process::id()));
        let wrote = std::fs::write(&half, text).and_then(|()| std::fs::rename(&half, &path));
        match wrote {
            Ok(()) => self.0.push(path),
            Err(source) => {
                let _ = std::fs::remove_file(half);
                return Err(Error::File { path: path.display().to_string(), source });
            }
        }
        Ok(())
    }

    pub(super) fn remove(&mut self) {
        for path in self.0.drain(..) {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The name the program was started under: harnesses look for the ports file by it.
fn program() -> String {
    let started = std::env::args().next().unwrap_or_default();
    let name = Path::new(&started).file_name().and_then(|name| name.to_str()).unwrap_or("natsune-broker");
    name.to_owned()
}
