//! Swift: a package with the facade, the generated control lane and the static library, found by pkg-config; no unsafe flags.
use super::{copy, fresh, make};
use crate::doctor::{swift_command, swift_format, swift_program};
use crate::report::Report;
use crate::sh::{self, Outcome};
use crate::workspace::{VERSION, dist, root, target};
use std::path::{Path, PathBuf};
use std::process::Command;

fn place() -> PathBuf {
    dist().join("swift")
}

fn source() -> PathBuf {
    root().join("bindings/swift")
}

/// The Swift testee, built against the packed Swift package.
pub fn testee() -> PathBuf {
    place().join("testee")
}

/// The measured program, built against the packed Swift package.
pub fn bench() -> PathBuf {
    place().join("bench")
}

/// The packed package: what a user would depend on.
pub fn build() -> Outcome {
    let package = place().join("Natsune");
    fresh(&package)?;
    for folder in ["Sources/Natsune", "Sources/CNatsune", "Tests/NatsuneTests"] {
        make(&package.join(folder))?;
        copy_all(&source().join(folder), &package.join(folder))?;
    }
    copy(&source().join("Package.swift"), &package.join("Package.swift"))?;
    copy(&source().join("README.md"), &package.join("README.md"))?;
    copy(&root().join("bindings/ffi/include/natsune.h"), &package.join("Sources/CNatsune/natsune.h"))?;
    make(&package.join("lib"))?;
    let library = target().join("release/libnatsune_native.a");
    copy(&library, &package.join("lib/libnatsune_native.a"))?;
    let generated = target().join("natsune/generated-swift");
    fresh(&generated)?;
    let mut bindgen = sh::command(target().join("release/natsune-bindgen"), &root());
    sh::quiet(bindgen.arg("swift").arg(&library).arg(&generated))?;
    copy(&generated.join("NatsuneFFI.h"), &package.join("Sources/CNatsune/NatsuneFFI.h"))?;
    let text = std::fs::read_to_string(generated.join("NatsuneGenerated.swift")).map_err(|error| error.to_string())?;
    std::fs::write(package.join("Sources/Natsune/Generated.swift"), documents_only(&rounded(&text)?))
        .map_err(|error| error.to_string())
}

/// Of the generated code users see the documents only, with the prefix that all types of the package have.
fn documents_only(text: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for line in text.lines() {
        for start in ["public struct ", "public enum "] {
            if let Some(rest) = line.strip_prefix(start) {
                names.extend(rest.split(|end: char| !end.is_alphanumeric()).next().filter(|name| !name.is_empty()));
            }
        }
    }
    let mut out = String::with_capacity(text.len() + text.len() / 16);
    let mut rest = text;
    while let Some(at) = rest.find(|begin: char| begin.is_alphanumeric() || begin == '_') {
        let (before, after) = rest.split_at(at);
        let end = after.find(|end: char| !(end.is_alphanumeric() || end == '_')).unwrap_or(after.len());
        let (word, next) = after.split_at(end);
        out.push_str(before);
        if names.contains(&word) {
            out.push_str("Nats");
        }
        out.push_str(word);
        rest = next;
    }
    out.push_str(rest);
    let import = "#if canImport(NatsuneFFI)\nimport NatsuneFFI\n#endif";
    out.replace("\npublic func ", "\nfunc ").replace(import, "import CNatsune")
}

/// Whole nanoseconds: the generator cuts them off, so that 2.3 s came back one less each time it went to a server.
fn rounded(text: &str) -> Outcome<String> {
    let mut text = text.to_owned();
    for name in ["value", "delta"] {
        let cut = format!("UInt32(({name} - Double(seconds)) * 1.0e9)");
        if !text.contains(&cut) {
            return Err(format!("{cut:?} was not generated: the generator changed"));
        }
        text = text.replace(&cut, &format!("UInt32((({name} - Double(seconds)) * 1.0e9).rounded())"));
    }
    Ok(text)
}

fn copy_all(from: &Path, to: &Path) -> Outcome {
    let list = std::fs::read_dir(from).map_err(|error| format!("{}: {error}", from.display()))?;
    for entry in list.flatten().filter(|entry| entry.path().is_file()) {
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// swift in the folder that holds the packed package, which pkg-config is told of.
fn swift(arguments: &[&str]) -> Outcome<Command> {
    // The toolchain may see the folder under another name, so the paths in the pkg-config file are that name.
    let seen = if swift_command(&place(), &[], &["true"]).get_program() == "unshare" {
        PathBuf::from("/mnt/w")
    } else {
        place()
    };
    let lib = seen.join("Natsune/lib");
    let text = format!(
        "Name: natsune\nDescription: Natsune's native library\nVersion: {VERSION}\nLibs: -L{} -lnatsune_native\nCflags:\n",
        lib.display()
    );
    std::fs::write(place().join("Natsune/lib/natsune.pc"), text).map_err(|error| error.to_string())?;
    Ok(swift_command(&place(), &[("PKG_CONFIG_PATH", &lib.to_string_lossy())], arguments))
}

/// Builds the testee, the example's worker and the bench as a package of their own that depends on the packed one.
pub fn install(report: &mut Report) -> Outcome {
    let programs = place().join("Testee");
    fresh(&programs)?;
    for name in ["testee", "work-queue", "bench"] {
        make(&programs.join("Sources").join(name))?;
    }
    let mut manifest =
        std::fs::read_to_string(source().join("Testee/Package.swift")).map_err(|error| error.to_string())?;
    let snippets = crate::examples::snippets("swift")?;
    for (at, snippet) in snippets.iter().enumerate() {
        let folder = programs.join(format!("Sources/readme-{at}"));
        make(&folder)?;
        std::fs::write(folder.join("main.swift"), snippet).map_err(|error| error.to_string())?;
        let target =
            format!("    targets: [\n        .executableTarget(name: \"readme-{at}\", dependencies: [\"Natsune\"]),");
        manifest = manifest.replacen("    targets: [", &target, 1);
    }
    std::fs::write(programs.join("Package.swift"), manifest).map_err(|error| error.to_string())?;
    copy_all(&source().join("Testee/Sources/testee"), &programs.join("Sources/testee"))?;
    copy(&root().join("bindings/conformance/bench/swift/main.swift"), &programs.join("Sources/bench/main.swift"))?;
    copy(&root().join("examples/work-queue/main.swift"), &programs.join("Sources/work-queue/main.swift"))?;
    copy(&root().join("examples/work-queue/Sha256.swift"), &programs.join("Sources/work-queue/Sha256.swift"))?;
    let scratch = ["--package-path", "Testee", "--scratch-path", "build", "-c", "release", "-j", "2"];
    let arguments: Vec<&str> = ["swift", "build", "--quiet"].into_iter().chain(scratch).collect();
    sh::run(&mut swift(&arguments)?)?;
    let names = (0..snippets.len()).map(|at| format!("readme-{at}"));
    for name in names.chain(["testee", "work-queue", "bench"].map(str::to_owned)) {
        copy(&place().join("build/release").join(&name), &place().join(&name))?;
    }
    let hello = sh::quiet(swift_program(&testee()).stdin(std::process::Stdio::null()))?;
    if !hello.contains("\"swift\"") {
        return Err(format!("the testee says {hello}"));
    }
    report.pass(1);
    Ok(())
}

/// Format and style of the sources, then the tests of what is Swift's own, on the packed package.
pub fn test(report: &mut Report) -> Outcome {
    let mut lint = swift_format();
    lint.args(["lint", "--strict", "--recursive", "--configuration"]).arg(source().join(".swift-format"));
    lint.args(["Sources", "Tests", "Testee/Sources"].map(|part| source().join(part)));
    lint.args(["examples/work-queue", "bindings/conformance/bench/swift"].map(|part| root().join(part)));
    sh::run(&mut lint)?;
    report.pass(1);
    let arguments = ["swift", "test", "--package-path", "Natsune", "--scratch-path", "build-tests", "-j", "2"];
    let (lines, fine) = sh::lines(&mut swift(&arguments)?)?;
    // XCTest's own closing line: "Executed 12 tests, with 0 failures ...".
    let count =
        lines.iter().rev().find_map(|line| line.trim().strip_prefix("Executed ")?.split(' ').next()?.parse().ok());
    match (fine, count) {
        (true, Some(count)) if count > 0 => report.pass(count),
        _ => return Err("swift test did not end well".to_owned()),
    }
    Ok(())
}

/// The example's worker, and the file that must be there.
pub fn worker() -> (Command, PathBuf) {
    let program = place().join("work-queue");
    (swift_program(&program), program)
}
