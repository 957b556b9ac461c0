//! The two servers that every scenario runs against: our broker and the real nats-server.
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Which server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// natsune-broker, the release binary.
    Ours,
    /// nats-server 2.15.1.
    Real,
}

impl Kind {
    /// For results.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Ours => "ours",
            Kind::Real => "real",
        }
    }

    /// The program.
    pub fn program(self) -> PathBuf {
        match self {
            Kind::Ours => crate::artefacts::broker(),
            Kind::Real => crate::workspace::nats_server(),
        }
    }
}

/// A server process with a folder of its own.
pub struct Server {
    kind: Kind,
    folder: PathBuf,
    child: Child,
    port: u16,
}

impl Server {
    /// Starts it with `config` (nats-server's language) on a free port and waits until it says where it listens.
    pub fn start(kind: Kind, folder: &Path, config: &str) -> Result<Server, String> {
        let file = folder.join("server.conf");
        std::fs::write(&file, config).map_err(|error| format!("{}: {error}", file.display()))?;
        let (child, port) = launch(kind, folder, None)?;
        Ok(Server { kind, folder: folder.to_path_buf(), child, port })
    }

    /// The port for clients.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it: by SIGKILL, or by SIGTERM and waiting.
    pub fn stop(&mut self, kill: bool) -> Result<(), String> {
        if kill {
            let _ = self.child.kill();
            let _ = self.child.wait();
            return Ok(());
        }
        self.signal("TERM")?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if self.child.try_wait().map_err(|error| error.to_string())?.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Err("the server did not end within 10 s of SIGTERM".to_owned())
    }

    /// Starts it again on the same port with the same folder.
    pub fn start_again(&mut self) -> Result<(), String> {
        (self.child, self.port) = launch(self.kind, &self.folder, Some(self.port))?;
        Ok(())
    }

    /// Sends a signal by name: TERM, STOP, CONT, HUP, USR2.
    pub fn signal(&self, name: &str) -> Result<(), String> {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        if status.is_ok_and(|status| status.success()) { Ok(()) } else { Err(format!("kill -{name} failed")) }
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("server.log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn launch(kind: Kind, folder: &Path, port: Option<u16>) -> Result<(Child, u16), String> {
    let ports = folder.join("ports");
    let _ = std::fs::remove_dir_all(&ports);
    std::fs::create_dir_all(&ports).map_err(|error| error.to_string())?;
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join("server.log"))
        .map_err(|error| error.to_string())?;
    let program = kind.program();
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let mut child = Command::new(&program)
            .arg("-c")
            .arg(folder.join("server.conf"))
            .args(["-p", &port.map_or("-1".to_owned(), |port| port.to_string())])
            .arg("--ports_file_dir")
            .arg(&ports)
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(|error| error.to_string())?)
            .stderr(log.try_clone().map_err(|error| error.to_string())?)
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        // The ports file is named after the process, so it can only be this server's.
        let stem = program.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let file = ports.join(format!("{stem}_{}.ports", child.id()));
        let ended = loop {
            if let Some(found) = read_ports(&file) {
                return Ok((child, found));
            }
            if child.try_wait().map_err(|error| error.to_string())?.is_some() {
                break true;
            }
            if Instant::now() > deadline {
                break false;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let _ = child.kill();
        let _ = child.wait();
        // The same port again can still be held by the old process's closing sockets for a moment.
        if !(ended && port.is_some() && Instant::now() < deadline) {
            let log = std::fs::read_to_string(folder.join("server.log")).unwrap_or_default();
            return Err(format!("{} did not start:\n{}", program.display(), crate::sh::tail(&log, 20)));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn read_ports(file: &Path) -> Option<u16> {
    let ports: Value = serde_json::from_str(&std::fs::read_to_string(file).ok()?).ok()?;
    ports.get("nats")?.get(0)?.as_str()?.rsplit(':').next()?.trim_end_matches('/').parse().ok()
}
