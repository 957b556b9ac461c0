//! The binary: reads the command line, makes the runtime, listens for signals.

use std::io::{Write, stderr, stdout};
use std::path::Path;
use std::process::{Command, ExitCode};

use natsune_broker::config::{Config, HELP, Invocation, ServerSignal, SignalRequest};
use natsune_broker::namespaces::{run_credentials, run_namespace};
use natsune_broker::{Broker, COMPATIBLE_VERSION, Error, VERSION};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let program = args.first().map_or("natsune-broker", |path| base_name(path)).to_owned();
    let outcome = Config::from_args(args.iter().skip(1).cloned());
    match outcome {
        Ok(Invocation::Run(config)) => run(*config),
        Ok(Invocation::Help) => say(&program, HELP),
        Ok(Invocation::Version) => say(&program, &(version_line(&program) + "\n")),
        Ok(Invocation::Check(config)) => {
            if let Err(error) = natsune_broker::check(&config) {
                return finish(&program, Err(error));
            }
            let file = config.config_file.as_deref().unwrap_or(Path::new("")).display();
            eprintln!("{program}: configuration file {file} is valid");
            ExitCode::SUCCESS
        }
        Ok(Invocation::Signal(request)) => send(&request, &program),
        Ok(Invocation::Namespace(command)) => finish(&program, run_namespace(&command, &mut stdout(), &mut stderr())),
        Ok(Invocation::Credentials(command)) => {
            finish(&program, run_credentials(&command, &mut stdout(), &mut stderr()))
        }
        Err(error) => {
            eprintln!("{program}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Harnesses that look for nats-server read the version it is compatible with; people read both.
fn version_line(program: &str) -> String {
    match program {
        "nats-server" => format!("nats-server: v{COMPATIBLE_VERSION}"),
        _ => format!("natsune-broker: v{VERSION} (nats-server compatible v{COMPATIBLE_VERSION})"),
    }
}

fn base_name(path: &str) -> &str {
    Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or(path)
}

/// As many descriptors as the system lets this process have: what shells and service managers give at first is far below
/// `max_connections`. A refusal changes nothing; a server inside another program leaves this to it.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
}

fn run(config: Config) -> ExitCode {
    raise_descriptors();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("natsune").build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("natsune-broker: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let log = config.log.file.as_ref().map(|file| file.display().to_string());
    match runtime.block_on(serve(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The log has said why, unless it is the log that cannot be written.
            if matches!(&error, Error::File { path, .. } if log.as_ref() == Some(path)) {
                eprintln!("natsune-broker: log file {error}");
            }
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: Config) -> Result<(), Error> {
    // Before the start, so that a signal right after it finds somebody home.
    let signals = Signals::new().map_err(|source| Error::File { path: "signals".to_owned(), source })?;
    let broker = Broker::start(config).await?;
    signals.obey(&broker).await;
    broker.shutdown().await;
    Ok(())
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    reopen: Signal,
    lame_duck: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            reopen: signal(SignalKind::user_defined1())?,
            lame_duck: signal(SignalKind::user_defined2())?,
        })
    }

    /// Returns when the server shall end.
    async fn obey(mut self, broker: &Broker) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                _ = self.hang_up.recv() => reload(broker),
                _ = self.reopen.recv() => broker.reopen_log(),
                _ = self.lame_duck.recv() => break,
            }
        }
        tokio::select! {
            () = broker.lame_duck() => {}
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Reads the same command line again: flags beat the file after a reload as they did at the start.
fn reload(broker: &Broker) {
    let said = match Config::from_args(std::env::args().skip(1)) {
        Ok(Invocation::Run(config)) => broker.reload(*config).map_err(|error| error.to_string()),
        Ok(_) => return,
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = said {
        broker.log().error(format_args!("Failed to reload server configuration: {error}"));
    }
}

fn finish(program: &str, outcome: Result<(), impl std::fmt::Display>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{program}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What was asked for, to standard output; a full disk or a closed pipe there is a failure like any other.
fn say(program: &str, text: &str) -> ExitCode {
    let mut out = stdout();
    let said = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    finish(program, said.map_err(|error| format!("standard output: {error}")))
}

/// `--signal NAME=TARGET`: through the system's own `kill`, which needs no unsafe code here.
fn send(request: &SignalRequest, program: &str) -> ExitCode {
    let name = match request.signal {
        ServerSignal::Quit => "INT",
        ServerSignal::Stop => "TERM",
        ServerSignal::Reopen => "USR1",
        ServerSignal::Reload => "HUP",
        ServerSignal::LameDuck => "USR2",
    };
    let sent = target(request.target.as_deref(), program).and_then(|pid| {
        let status = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(_) => Err(format!("process {pid} cannot be signalled")),
            Err(error) => Err(format!("kill: {error}")),
        }
    });
    finish(program, sent)
}

/// To `kill`, 0 is a whole group of processes, and what is too large may come out as -1: everybody.
fn process_id(text: &str) -> Option<u32> {
    text.parse().ok().filter(|pid| (1..=i32::MAX as u32).contains(pid))
}

fn target(target: Option<&str>, program: &str) -> Result<u32, String> {
    if let Some(target) = target {
        if !target.is_empty() && target.bytes().all(|byte| byte.is_ascii_digit()) {
            return process_id(target).ok_or_else(|| format!("{target} is no process id"));
        }
        let text = std::fs::read_to_string(target).map_err(|error| format!("pid file {target}: {error}"))?;
        return process_id(text.trim()).ok_or_else(|| format!("pid file {target} holds no process id"));
    }
    let own = std::process::id();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").map_err(|_| "say which server: --signal NAME=PID".to_owned())?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(line) = std::fs::read(entry.path().join("cmdline")) else { continue };
        let first = line.split(|byte| *byte == 0).next().unwrap_or_default();
        if pid != own && base_name(&String::from_utf8_lossy(first)) == program {
            found.push(pid);
        }
    }
    match found.as_slice() {
        [pid] => Ok(*pid),
        [] => Err(format!("no {program} is running")),
        _ => Err(format!("several {program} are running: say which, --signal NAME=PID")),
    }
}
