//! The log: one thread of its own writes the lines, nobody ever waits for it.
//!
//! Lines look like those of nats-server, for the tools that wait for some of them. What does not fit into the queue is
//! dropped and counted, and the count stands in the log. Callers keep secrets out; control characters are escaped here.

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use crate::config::LogConfig;

/// Lines that may wait for the writer.
const QUEUE: usize = 4096;
/// Longest line; the rest of it is cut.
const LINE: usize = 4096;
/// How long a flush waits for a stuck terminal or disk.
const FLUSH: Duration = Duration::from_secs(2);

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The server cannot go on.
    Fatal,
    /// Something failed.
    Error,
    /// Something is not as it should be.
    Warn,
    /// What an operator wants to know.
    Info,
    /// What a developer wants to know.
    Debug,
    /// Each protocol line.
    Trace,
}

impl Level {
    fn tag(self) -> &'static str {
        match self {
            Level::Fatal => "FTL",
            Level::Error => "ERR",
            Level::Warn => "WRN",
            Level::Info => "INF",
            Level::Debug => "DBG",
            Level::Trace => "TRC",
        }
    }
}

/// A handle to the log; clones write to the same place. The default one writes nowhere.
#[derive(Clone, Default)]
pub struct Log {
    shared: Option<Arc<Shared>>,
}

struct Shared {
    queue: SyncSender<Order>,
    debug: AtomicBool,
    trace: AtomicBool,
    dropped: AtomicU64,
    /// The file was moved away. No order of the queue: it must arrive when the queue is full, too.
    reopen: AtomicBool,
}

enum Order {
    Line(OffsetDateTime, Level, String),
    /// Nothing to write, something to look at.
    Wake,
    Flush(SyncSender<()>),
}

impl Log {
    /// Writes nowhere: what embedded brokers do unless told otherwise.
    pub fn off() -> Log {
        Log::default()
    }

    /// Opens the place to log to and starts the writer.
    pub fn start(config: &LogConfig) -> io::Result<Log> {
        if !config.enabled {
            return Ok(Log::off());
        }
        let target = match &config.file {
            Some(path) => Target::File(open(path)?, path.clone()),
            None => Target::Stderr(io::stderr()),
        };
        Log::spawn(config, target)
    }

    fn spawn(config: &LogConfig, target: Target) -> io::Result<Log> {
        let (queue, orders) = sync_channel(QUEUE);
        let shared = Arc::new(Shared {
            queue,
            debug: AtomicBool::new(config.debug),
            trace: AtomicBool::new(config.trace),
            dropped: AtomicU64::new(0),
            reopen: AtomicBool::new(false),
        });
        // The writer must not keep the queue open: it ends when the last handle is gone.
        let weak = Arc::downgrade(&shared);
        let with_time = config.time;
        std::thread::Builder::new().name("natsune-log".to_owned()).spawn(move || {
            Writer { target, with_time, batch: Vec::new(), shared: weak }.run(&orders);
        })?;
        Ok(Log { shared: Some(shared) })
    }

    /// Whether a line of this level would be written: to be asked before an expensive text is made.
    pub fn enabled(&self, level: Level) -> bool {
        self.shared.as_ref().is_some_and(|shared| match level {
            Level::Debug => shared.debug.load(Ordering::Relaxed),
            Level::Trace => shared.trace.load(Ordering::Relaxed),
            _ => true,
        })
    }

    /// Turns debug and protocol lines on or off.
    pub fn set_levels(&self, debug: bool, trace: bool) {
        if let Some(shared) = &self.shared {
            shared.debug.store(debug, Ordering::Relaxed);
            shared.trace.store(trace, Ordering::Relaxed);
        }
    }

    /// Hands a line to the writer; never waits.
    pub fn line(&self, level: Level, text: fmt::Arguments<'_>) {
        let Some(shared) = self.shared.as_ref().filter(|_| self.enabled(level)) else { return };
        if let Err(TrySendError::Full(_)) = shared.queue.try_send(order(level, text)) {
            shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A line that the server cannot go on; waits until it is written.
    pub fn fatal(&self, text: fmt::Arguments<'_>) {
        if let Some(shared) = &self.shared {
            shared.insist(order(Level::Fatal, text));
        }
        self.flush();
    }

    /// An error.
    pub fn error(&self, text: fmt::Arguments<'_>) {
        self.line(Level::Error, text);
    }

    /// A warning.
    pub fn warn(&self, text: fmt::Arguments<'_>) {
        self.line(Level::Warn, text);
    }

    /// An ordinary line.
    pub fn info(&self, text: fmt::Arguments<'_>) {
        self.line(Level::Info, text);
    }

    /// A debug line.
    pub fn debug(&self, text: fmt::Arguments<'_>) {
        self.line(Level::Debug, text);
    }

    /// A protocol line.
    pub fn trace(&self, text: fmt::Arguments<'_>) {
        self.line(Level::Trace, text);
    }

    /// Opens the log file anew, after somebody moved it away.
    pub fn reopen(&self) {
        if let Some(shared) = &self.shared {
            shared.reopen.store(true, Ordering::Release);
            // A full queue needs no waking.
            let _ = shared.queue.try_send(Order::Wake);
        }
    }

    /// Waits until what was logged before is written, two seconds at most. Blocks: for the end of a program only.
    pub fn flush(&self) {
        if let Some(shared) = &self.shared {
            let (done, written) = sync_channel(1);
            shared.insist(Order::Flush(done));
            let _ = written.recv_timeout(FLUSH);
        }
    }
}

impl Shared {
    /// Hands an order over even if it must wait for room, as long as a flush may take.
    fn insist(&self, mut order: Order) {
        let end = Instant::now() + FLUSH;
        while let Err(TrySendError::Full(back)) = self.queue.try_send(order)
            && Instant::now() < end
        {
            order = back;
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.shared.is_some() { "Log(on)" } else { "Log(off)" })
    }
}

fn order(level: Level, text: fmt::Arguments<'_>) -> Order {
    let mut line = Bounded(String::new());
    let _ = line.write_fmt(text);
    Order::Line(OffsetDateTime::now_utc(), level, line.0)
}

/// Takes text up to the longest line, so that a huge text from a client costs no memory.
struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = LINE.saturating_sub(self.0.len());
        let end = (0..=room.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        self.0.push_str(text.get(..end).unwrap_or_default());
        if end < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

enum Target {
    Stderr(io::Stderr),
    File(File, PathBuf),
    #[cfg(test)]
    Test(Box<dyn Write + Send>),
}

impl Target {
    fn write(&mut self, bytes: &[u8]) {
        // A log that cannot be written has nobody to tell.
        let _ = match self {
            Target::Stderr(stderr) => stderr.write_all(bytes),
            Target::File(file, _) => file.write_all(bytes),
            #[cfg(test)]
            Target::Test(writer) => writer.write_all(bytes),
        };
    }
}

struct Writer {
    target: Target,
    with_time: bool,
    batch: Vec<u8>,
    shared: Weak<Shared>,
}

impl Writer {
    fn run(mut self, orders: &Receiver<Order>) {
        while let Ok(first) = orders.recv() {
            // Everything that waits goes out in one write.
            let mut next = Some(first);
            while let Some(order) = next {
                self.obey(order);
                next = if self.batch.len() < 64 * 1024 { orders.try_recv().ok() } else { None };
            }
            self.write();
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Line(at, level, text) => self.line(at, level, &text),
            Order::Wake => {}
            Order::Flush(done) => {
                self.write();
                let _ = done.try_send(());
            }
        }
    }

    fn reopen(&mut self) {
        if let Target::File(file, path) = &mut self.target
            && self.shared.upgrade().is_some_and(|shared| shared.reopen.swap(false, Ordering::Acquire))
            && let Ok(new) = open(path)
        {
            *file = new;
        }
    }

    fn line(&mut self, at: OffsetDateTime, level: Level, text: &str) {
        let _ = write!(self.batch, "[{}] ", std::process::id());
        if self.with_time {
            let _ = write!(
                self.batch,
                "{:04}/{:02}/{:02} {:02}:{:02}:{:02}.{:06} ",
                at.year(),
                u8::from(at.month()),
                at.day(),
                at.hour(),
                at.minute(),
                at.second(),
                at.microsecond()
            );
        }
        let _ = write!(self.batch, "[{}] ", level.tag());
        // Texts hold names from clients: none of them may begin a line of its own or speak to a terminal.
        for c in text.chars() {
            let _ =
                if c.is_control() { write!(self.batch, "{}", c.escape_default()) } else { write!(self.batch, "{c}") };
        }
        self.batch.push(b'\n');
    }

    /// Writes what was gathered, and how much could not be.
    fn write(&mut self) {
        let dropped = self.shared.upgrade().map_or(0, |shared| shared.dropped.swap(0, Ordering::Relaxed));
        if dropped > 0 {
            let text = format!("{dropped} log lines were dropped: they came faster than they could be written");
            self.line(OffsetDateTime::now_utc(), Level::Warn, &text);
        }
        // As late as this: a line that was logged after the move never goes to the old file.
        self.reopen();
        self.target.write(&self.batch);
        self.batch.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Condvar, Mutex};

    use super::*;

    /// Takes lines once the gate is open.
    #[derive(Clone, Default)]
    struct Gate(Arc<(Mutex<Taken>, Condvar)>);

    type Taken = (bool, Vec<u8>);

    impl Gate {
        fn open(&self) {
            self.0.0.lock().unwrap().0 = true;
            self.0.1.notify_all();
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.0.lock().unwrap().1.clone()).unwrap()
        }
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut state = self.0.1.wait_while(self.0.0.lock().unwrap(), |state| !state.0).unwrap();
            state.1.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn log(config: &LogConfig) -> (Log, Gate) {
        let gate = Gate::default();
        (Log::spawn(config, Target::Test(Box::new(gate.clone()))).unwrap(), gate)
    }

    #[test]
    fn lines_have_the_usual_shape() {
        let (log, gate) = log(&LogConfig::default());
        gate.open();
        log.info(format_args!("Listening for client connections on {}:{}", "127.0.0.1", 4222));
        log.debug(format_args!("not shown"));
        log.warn(format_args!("user \"a\r\n[1] [INF] b\u{1b}[2J\""));
        log.flush();
        let text = gate.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        let words: Vec<&str> = lines[0].splitn(4, ' ').collect();
        assert_eq!(words[0], format!("[{}]", std::process::id()));
        assert_eq!((words[1].len(), words[2].len()), ("2026/01/01".len(), "00:00:00.000000".len()));
        assert_eq!(words[3], "[INF] Listening for client connections on 127.0.0.1:4222");
        assert!(lines[1].ends_with(r#"[WRN] user "a\r\n[1] [INF] b\u{1b}[2J""#), "{}", lines[1]);
    }

    #[test]
    fn levels_and_time_can_be_chosen() {
        let (log, gate) = log(&LogConfig { time: false, debug: true, ..LogConfig::default() });
        gate.open();
        log.debug(format_args!("d"));
        log.trace(format_args!("t"));
        log.set_levels(false, true);
        log.debug(format_args!("d"));
        log.trace(format_args!("t"));
        log.flush();
        let pid = std::process::id();
        assert_eq!(gate.text(), format!("[{pid}] [DBG] d\n[{pid}] [TRC] t\n"));
    }

    #[test]
    fn nobody_waits_and_what_is_lost_is_counted() {
        let (log, gate) = log(&LogConfig { time: false, ..LogConfig::default() });
        let sent = QUEUE * 3;
        for n in 0..sent {
            log.info(format_args!("line {n}"));
        }
        // The queue is full now: what must not be lost waits for room.
        std::thread::scope(|scope| {
            scope.spawn(|| log.fatal(format_args!("the end")));
            gate.open();
        });
        let text = gate.text();
        let kept = text.lines().filter(|line| line.contains("line ")).count();
        let lost: usize =
            text.lines().filter_map(|line| line.split("[WRN] ").nth(1)?.split(' ').next()?.parse::<usize>().ok()).sum();
        assert_eq!(kept + lost, sent);
        assert!(lost > 0);
        assert!(text.contains("[FTL] the end"));
    }

    #[test]
    fn long_lines_are_cut_and_files_reopened() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let log = Log::start(&LogConfig { file: Some(path.clone()), ..LogConfig::default() }).unwrap();
        log.info(format_args!("{}", "é".repeat(LINE)));
        log.flush();
        assert!(std::fs::read_to_string(&path).unwrap().len() < LINE + 64);
        std::fs::rename(&path, dir.path().join("b.log")).unwrap();
        log.reopen();
        log.info(format_args!("new"));
        log.flush();
        assert!(std::fs::read_to_string(&path).unwrap().ends_with("[INF] new\n"));
        Log::off().info(format_args!("nowhere"));
    }
}
