//! The command line: what to do, and the flags that beat the file. One or two dashes, `--flag value` or `--flag=value`.

use std::path::{Path, PathBuf};

use super::command::{self, CredentialsCommand, NamespaceCommand};
use super::read::{Real, read};
use super::{Config, ConfigError, JetStreamConfig, LogConfig, NamespacesConfig, Secret, SocketSpec, UserConfig};

/// What a command line asks for.
#[derive(Debug)]
pub enum Invocation {
    /// Run the server.
    Run(Box<Config>),
    /// Print the help.
    Help,
    /// Print the version.
    Version,
    /// The configuration is valid: say so and end.
    Check(Box<Config>),
    /// Send a signal to a running server.
    Signal(SignalRequest),
    /// Look after namespaces.
    Namespace(NamespaceCommand),
    /// Look after the credentials of a namespace.
    Credentials(CredentialsCommand),
}

/// A signal for a running server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignalRequest {
    /// What the server shall do.
    pub signal: ServerSignal,
    /// A process id, or the path of a pid file; `None`: the only server that runs here.
    pub target: Option<String>,
}

/// What a signal can ask of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerSignal {
    /// End at once.
    Quit,
    /// End cleanly.
    Stop,
    /// Open the log file anew.
    Reopen,
    /// Read the configuration anew.
    Reload,
    /// Send clients elsewhere, then end.
    LameDuck,
}

/// Command lines come from outside: what a flag is, apart from its names.
enum Kind {
    Switch(fn(&mut Flags, bool)),
    Value(fn(&mut Flags, &str) -> Result<(), ConfigError>),
}

/// What one flag changes.
type Change = Box<dyn FnOnce(&mut Config)>;

/// What the flags said, to be laid over the file.
#[derive(Default)]
struct Flags {
    file: Option<PathBuf>,
    check: bool,
    help: bool,
    version: bool,
    signal: Option<SignalRequest>,
    over: Vec<Change>,
    user: Option<String>,
    pass: Option<Secret>,
    token: Option<Secret>,
    tls: bool,
    tls_verify: bool,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    tls_ca: Option<PathBuf>,
    store_dir: Option<PathBuf>,
}

impl Flags {
    fn set(&mut self, change: impl FnOnce(&mut Config) + 'static) {
        self.over.push(Box::new(change));
    }
}

impl Config {
    /// Reads a configuration file and checks it.
    pub fn parse_file(path: impl AsRef<Path>) -> Result<Config, ConfigError> {
        let config = load(path.as_ref())?;
        config.check()?;
        Ok(config)
    }

    /// Reads a configuration text; what it includes is looked for where the process stands.
    pub fn parse_str(text: &str) -> Result<Config, ConfigError> {
        let config = read(Path::new("<config>"), text, &Real)?;
        config.check()?;
        Ok(config)
    }

    /// Reads a command line, without the name of the program.
    pub fn from_args<I: IntoIterator<Item = S>, S: Into<String>>(args: I) -> Result<Invocation, ConfigError> {
        let args: Vec<String> = args.into_iter().map(Into::into).collect();
        match args.first().map(String::as_str) {
            Some("namespace" | "namespaces") => return command::namespace(&args[1..]),
            Some("credentials") => return command::credentials(&args[1..]),
            Some("help") => return Ok(Invocation::Help),
            Some("version") => return Ok(Invocation::Version),
            _ => {}
        }
        let mut flags = Flags::default();
        let mut rest = args.iter();
        while let Some(arg) = rest.next() {
            let Some(flag) = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')).filter(|flag| !flag.is_empty())
            else {
                return Err(ConfigError::new(format!("unrecognized command: {arg:?}")));
            };
            let (name, inline) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (flag, None),
            };
            match kind(name).ok_or_else(|| ConfigError::new(format!("flag provided but not defined: -{name}")))? {
                Kind::Switch(apply) => apply(&mut flags, inline.map_or(Ok(true), |text| switch(name, text))?),
                Kind::Value(apply) => {
                    let value = inline
                        .or_else(|| rest.next().map(String::as_str))
                        .ok_or_else(|| ConfigError::new(format!("flag needs an argument: -{name}")))?;
                    apply(&mut flags, value).map_err(|error| ConfigError::new(format!("flag -{name}: {error}")))?;
                }
            }
        }
        flags.finish()
    }
}

/// A file as a document, not checked yet.
pub(super) fn load(path: &Path) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError::new(format!("cannot read the configuration file {}: {error}", path.display())))?;
    let mut config = read(path, &text, &Real)?;
    config.config_file = Some(path.to_owned());
    Ok(config)
}

fn switch(name: &str, text: &str) -> Result<bool, ConfigError> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(ConfigError::new(format!("flag -{name}: expected true or false"))),
    }
}

fn kind(name: &str) -> Option<Kind> {
    use Kind::{Switch, Value};
    Some(match name {
        "a" | "addr" | "net" => Value(|flags, text| {
            let host = text.to_owned();
            flags.set(|config| config.host = Some(host));
            Ok(())
        }),
        "p" | "port" => Value(|flags, text| {
            let port = port(text)?;
            flags.set(move |config| config.port = port);
            Ok(())
        }),
        "n" | "name" | "server_name" => Value(|flags, text| {
            let name = text.to_owned();
            flags.set(|config| config.server_name = Some(name));
            Ok(())
        }),
        "client_advertise" => Value(|flags, text| {
            let text = text.to_owned();
            flags.set(|config| config.client_advertise = Some(text));
            Ok(())
        }),
        "m" | "http_port" => Value(|flags, text| {
            let off = text == "0";
            let port = port(text)?;
            flags.set(move |config| {
                let host = config.http.take().and_then(|http| http.host);
                config.http = (!off).then_some(SocketSpec { host, port });
            });
            Ok(())
        }),
        "c" | "config" => Value(|flags, text| {
            flags.file = Some(PathBuf::from(text));
            Ok(())
        }),
        "P" | "pid" => Value(|flags, text| {
            let path = PathBuf::from(text);
            flags.set(|config| config.pid_file = Some(path));
            Ok(())
        }),
        "ports_file_dir" => Value(|flags, text| {
            let path = PathBuf::from(text);
            flags.set(|config| config.ports_file_dir = Some(path));
            Ok(())
        }),
        "l" | "log" => Value(|flags, text| {
            let path = PathBuf::from(text);
            flags.set(|config| config.log.file = Some(path));
            Ok(())
        }),
        "T" | "logtime" => Switch(|flags, on| flags.set(move |config| config.log.time = on)),
        "D" | "debug" => Switch(|flags, on| flags.set(move |config| config.log.debug = on)),
        "V" | "trace" | "VV" => Switch(|flags, on| flags.set(move |config| config.log.trace = on)),
        "DV" | "DVV" => Switch(|flags, on| {
            flags.set(move |config| config.log = LogConfig { debug: on, trace: on, ..config.log.clone() })
        }),
        "js" | "jetstream" => Switch(|flags, on| {
            flags.set(move |config| {
                config.jetstream =
                    if on { config.jetstream.take().or_else(|| Some(JetStreamConfig::default())) } else { None }
            });
        }),
        "sd" | "store_dir" => Value(|flags, text| {
            flags.store_dir = Some(PathBuf::from(text));
            Ok(())
        }),
        "user" => Value(|flags, text| {
            flags.user = Some(text.to_owned());
            Ok(())
        }),
        "pass" => Value(|flags, text| {
            flags.pass = Some(Secret::new(text.to_owned()));
            Ok(())
        }),
        "auth" => Value(|flags, text| {
            flags.token = Some(Secret::new(text.to_owned()));
            Ok(())
        }),
        "tls" => Switch(|flags, on| flags.tls = on),
        "tlsverify" => Switch(|flags, on| flags.tls_verify = on),
        "tlscert" => Value(|flags, text| {
            flags.tls_cert = Some(PathBuf::from(text));
            Ok(())
        }),
        "tlskey" => Value(|flags, text| {
            flags.tls_key = Some(PathBuf::from(text));
            Ok(())
        }),
        "tlscacert" => Value(|flags, text| {
            flags.tls_ca = Some(PathBuf::from(text));
            Ok(())
        }),
        "namespaces" => Value(|flags, text| {
            let dir = PathBuf::from(text);
            flags.set(|config| config.namespaces = Some(NamespacesConfig { dir }));
            Ok(())
        }),
        "insecure" => Switch(|flags, on| flags.set(move |config| config.insecure = on)),
        "t" => Switch(|flags, on| flags.check = on),
        "h" | "help" | "help_tls" => Switch(|flags, on| flags.help = on),
        "v" | "version" => Switch(|flags, on| flags.version = on),
        "sl" | "signal" => Value(|flags, text| {
            flags.signal = Some(signal(text)?);
            Ok(())
        }),
        "s" | "syslog" | "no_advertise" => Switch(|flags, _| not_served(flags)),
        "r" | "remote_syslog" | "ms" | "https_port" | "routes" | "cluster" | "cluster_listen" | "cluster_name"
        | "cluster_advertise" | "connect_retries" | "profile" | "log_size_limit" | "max_traced_msg_len" => {
            Value(|flags, _| {
                not_served(flags);
                Ok(())
            })
        }
        _ => return None,
    })
}

fn not_served(flags: &mut Flags) {
    const TEXT: &str = "flags for clusters, HTTPS monitoring, profiling and system logs are accepted but not served";
    flags.set(|config| {
        if !config.warnings.iter().any(|warning| warning == TEXT) {
            config.warnings.push(TEXT.to_owned());
        }
    });
}

fn port(text: &str) -> Result<u16, ConfigError> {
    match text {
        "-1" => Ok(0),
        _ => text.parse().map_err(|_| ConfigError::new("expected a port: 1 to 65535, or -1 for a free one")),
    }
}

fn signal(text: &str) -> Result<SignalRequest, ConfigError> {
    let (name, target) = match text.split_once('=') {
        Some((name, target)) => (name, Some(target.to_owned()).filter(|target| !target.is_empty())),
        None => (text, None),
    };
    let signal = match name {
        "quit" => ServerSignal::Quit,
        "stop" | "term" => ServerSignal::Stop,
        "reopen" => ServerSignal::Reopen,
        "reload" => ServerSignal::Reload,
        "ldm" => ServerSignal::LameDuck,
        _ => {
            return Err(ConfigError::new(
                "expected quit, stop, term, reopen, reload or ldm, then perhaps =<pid or pid file>",
            ));
        }
    };
    Ok(SignalRequest { signal, target })
}

impl Flags {
    fn finish(mut self) -> Result<Invocation, ConfigError> {
        if self.help {
            return Ok(Invocation::Help);
        }
        if self.version {
            return Ok(Invocation::Version);
        }
        if let Some(request) = self.signal {
            return Ok(Invocation::Signal(request));
        }
        if self.check && self.file.is_none() {
            return Err(ConfigError::new("-t needs a configuration file: -c FILE"));
        }
        let mut config = match &self.file {
            Some(path) => load(path)?,
            None => Config::default(),
        };
        for change in std::mem::take(&mut self.over) {
            change(&mut config);
        }
        self.users(&mut config)?;
        self.tls(&mut config)?;
        if let Some(jetstream) = &mut config.jetstream {
            jetstream.store_dir = self.store_dir.take().or(jetstream.store_dir.take());
            if jetstream.store_dir.is_none() {
                config
                    .warnings
                    .push("JetStream keeps everything in memory: --store_dir DIR puts it on disk".to_owned());
            }
        }
        config.check()?;
        Ok(if self.check { Invocation::Check(Box::new(config)) } else { Invocation::Run(Box::new(config)) })
    }

    fn users(&mut self, config: &mut Config) -> Result<(), ConfigError> {
        match (self.user.take(), self.pass.take(), self.token.take()) {
            (None, None, None) => {}
            (None, None, Some(token)) => {
                config.auth.users.clear();
                config.auth.token = Some(token);
            }
            (Some(name), password, None) => {
                config.auth.token = None;
                config.auth.users = vec![UserConfig { name, password, ..UserConfig::default() }];
            }
            (None, Some(_), _) => return Err(ConfigError::new("--pass needs --user")),
            (Some(_), _, Some(_)) => return Err(ConfigError::new("--user and --auth cannot stand together")),
        }
        Ok(())
    }

    fn tls(&mut self, config: &mut Config) -> Result<(), ConfigError> {
        let asked =
            self.tls || self.tls_verify || self.tls_cert.is_some() || self.tls_key.is_some() || self.tls_ca.is_some();
        if !asked {
            return Ok(());
        }
        let mut tls = config.tls.take().unwrap_or_default();
        let put = |slot: &mut PathBuf, flag: Option<PathBuf>| *slot = flag.unwrap_or_else(|| std::mem::take(slot));
        put(&mut tls.cert_file, self.tls_cert.take());
        put(&mut tls.key_file, self.tls_key.take());
        tls.ca_file = self.tls_ca.take().or(tls.ca_file);
        tls.verify |= self.tls_verify;
        if tls.cert_file.as_os_str().is_empty() || tls.key_file.as_os_str().is_empty() {
            return Err(ConfigError::new("--tls needs --tlscert and --tlskey"));
        }
        config.tls = Some(tls);
        Ok(())
    }
}
