//! Node: two npm packages, the facade and its native part, installed into a fresh project.
use super::{copy, fresh, make, test_environment};
use crate::report::Report;
use crate::sh::{self, Outcome};
use crate::workspace::{VERSION, dist, root, target};
use std::path::{Path, PathBuf};

/// The fresh npm project with the tarballs installed, and the testee beside them.
pub fn environment() -> PathBuf {
    dist().join("node")
}

fn source() -> PathBuf {
    root().join("bindings/node")
}

/// A copy of the sources with the tools of the lock file, so that nothing is installed into the source tree.
fn workshop() -> PathBuf {
    dist().join("node-workshop")
}

fn npm(folder: &Path, arguments: &[&str]) -> Outcome {
    let mut command = sh::command("npm", folder);
    command.args(arguments).args(["--no-audit", "--no-fund", "--loglevel=error"]);
    sh::quiet(&mut command).map(drop)
}

/// Packs both packages: `dist()/npm/*.tgz`.
pub fn build() -> Outcome {
    let place = workshop();
    refresh(&place)?;
    npm(&place, &["run", "build"])?;
    let packages = dist().join("npm");
    fresh(&packages)?;
    let addon = target().join("release/libnatsune_node.so");
    sh::quiet(sh::command("node", &place).arg("scripts/package.mjs").arg(addon).arg(&packages))?;
    for name in ["natsune", "linux-x64-gnu"] {
        npm(&packages.join(name), &["pack", "--pack-destination", &packages.display().to_string()])?;
    }
    for tarball in tarballs() {
        if !tarball.exists() {
            return Err(format!("npm made no {}", tarball.display()));
        }
    }
    Ok(())
}

/// Copies the sources, and installs the tools again when the lock file changed.
fn refresh(place: &Path) -> Outcome {
    make(place)?;
    let lock = std::fs::read(source().join("package-lock.json")).map_err(|error| error.to_string())?;
    let installed = place.join("node_modules/.natsune-lock");
    let current = std::fs::read(&installed).is_ok_and(|old| old == lock);
    for old in ["dist", "lib", "scripts", "tests", "platforms"] {
        let _ = std::fs::remove_dir_all(place.join(old));
    }
    copy_tree(&source(), place)?;
    if current {
        return Ok(());
    }
    npm(place, &["ci", "--ignore-scripts"])?;
    std::fs::write(&installed, lock).map_err(|error| format!("{}: {error}", installed.display()))
}

/// Copies what is source: not what was built or installed there.
fn copy_tree(from: &Path, to: &Path) -> Outcome {
    make(to)?;
    let failed = |error: std::io::Error| format!("{}: {error}", from.display());
    for entry in std::fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if ["node_modules", "dist", "src"].iter().any(|skipped| name == *skipped) {
            continue;
        }
        if entry.file_type().map_err(failed)?.is_dir() {
            copy_tree(&entry.path(), &to.join(name))?;
        } else {
            copy(&entry.path(), &to.join(name))?;
        }
    }
    Ok(())
}

fn tarballs() -> [PathBuf; 2] {
    [format!("natsune-linux-x64-gnu-{VERSION}.tgz"), format!("natsune-{VERSION}.tgz")]
        .map(|name| dist().join("npm").join(name))
}

/// Installs the two tarballs, and only them, into a new project; both module systems must load them.
pub fn install(report: &mut Report) -> Outcome {
    let place = environment();
    fresh(&place)?;
    let [native, facade] = tarballs().map(|path| path.display().to_string());
    let manifest = r#"{ "name": "fresh", "private": true, "type": "module" }"#;
    std::fs::write(place.join("package.json"), manifest).map_err(|error| error.to_string())?;
    npm(&place, &["install", "--offline", "--ignore-scripts", &native, &facade])?;
    copy(&source().join("tests/testee.mjs"), &place.join("testee.mjs"))?;
    let example = root().join("examples/work-queue/main.mjs");
    if example.exists() {
        copy(&example, &place.join("work-queue.mjs"))?;
    }
    let esm = "import { version, connect } from 'natsune'; console.log(version, typeof connect)";
    let cjs = "const { version, connect } = require('natsune'); console.log(version, typeof connect)";
    for (kind, code) in [("module", esm), ("commonjs", cjs)] {
        let mut node = sh::command("node", &place);
        node.env_remove("NATSUNE_NATIVE").arg(format!("--input-type={kind}")).args(["--eval", code]);
        let told = sh::quiet(&mut node)?;
        if told.trim() != format!("{VERSION} function") {
            return Err(format!("as {kind} the installed package says {told:?}"));
        }
        report.pass(1);
    }
    Ok(())
}

fn test_files(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let listed = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let paths = listed.filter_map(Result::ok).map(|entry| entry.path());
    let mut files: Vec<PathBuf> = paths.filter(|path| path.to_string_lossy().ends_with(".test.mjs")).collect();
    files.sort();
    Ok(files)
}

/// The example's worker, and the file that must be there.
pub fn worker() -> (std::process::Command, PathBuf) {
    let program = environment().join("work-queue.mjs");
    let mut command = std::process::Command::new("node");
    command.arg(&program);
    (command, program)
}

/// eslint, the types as a user's compiler sees them, and the tests of what is Node's own, on the installed package.
pub fn test(report: &mut Report) -> Outcome {
    let (workshop, place) = (workshop(), environment());
    npm(&workshop, &["run", "lint"])?;
    report.pass(1);
    let tests = place.join("tests");
    let _ = std::fs::remove_dir_all(&tests);
    copy_tree(&source().join("tests"), &tests)?;
    let types = workshop.join("node_modules/@types");
    let mut compile = sh::command("node", &tests);
    compile
        .arg(workshop.join("node_modules/typescript/bin/tsc"))
        .args(["-p", "tsconfig.json", "--typeRoots"])
        .arg(types);
    sh::quiet(&mut compile)?;
    report.pass(1);
    let mut node = sh::command("node", &place);
    node.env_remove("NATSUNE_NATIVE")
        .env("NATSUNE_VECTORS", root().join("bindings/conformance/vectors/batch.json"))
        .args(["--expose-gc", "--test", "--test-reporter=tap"])
        .args(test_files(&tests)?);
    let (lines, fine) = sh::lines(test_environment(&mut node))?;
    let count = |what: &str| lines.iter().rev().find_map(|line| line.strip_prefix(what)?.trim().parse().ok());
    match (fine, count("# pass ")) {
        (true, Some(passed)) if count("# skipped ") == Some(0) => report.pass(passed),
        _ => return Err("node --test did not end well".to_owned()),
    }
    Ok(())
}
