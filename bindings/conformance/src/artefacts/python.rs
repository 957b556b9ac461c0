//! Python: an abi3 wheel for glibc 2.17 and newer, installed into a fresh environment.
use super::{fresh, make, test_environment};
use crate::report::Report;
use crate::sh::{self, Outcome};
use crate::workspace::{VERSION, dist, root, venv};
use std::path::PathBuf;
use std::process::Command;

/// The fresh environment with the wheel installed.
pub fn environment() -> PathBuf {
    dist().join("python")
}

fn source() -> PathBuf {
    root().join("bindings/python")
}

/// The one wheel that was built, whichever of its names for glibc 2.17 maturin put first.
fn wheel() -> Outcome<PathBuf> {
    let folder = dist().join("wheels");
    let list = std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let name = format!("natsune-{VERSION}-cp311-abi3-");
    let mut found = list.flatten().map(|entry| entry.path()).filter(|path| {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        file.starts_with(&name) && file.contains("manylinux_2_17_x86_64") && file.ends_with(".whl")
    });
    found.next().ok_or_else(|| format!("maturin made no {name}...manylinux_2_17_x86_64.whl"))
}

/// Builds the wheel with a glibc floor, by the linker that ziglang brings.
pub fn build() -> Outcome {
    fresh(&dist().join("wheels"))?;
    let mut maturin = sh::command(venv("maturin"), &source());
    maturin
        .args(["build", "--release", "--quiet", "--zig", "--compatibility", "manylinux_2_17", "--out"])
        .arg(dist().join("wheels"))
        .arg("--interpreter")
        .arg(venv("python"))
        .env("PATH", path_with_venv());
    sh::run(&mut maturin)?;
    wheel().map(drop)
}

/// maturin finds the ziglang package through the first Python on the path.
fn path_with_venv() -> String {
    let folder = venv("").display().to_string();
    format!("{folder}:{}", std::env::var("PATH").unwrap_or_default())
}

/// Installs the wheel, and only it, into a new environment.
pub fn install(report: &mut Report) -> Outcome {
    let place = environment();
    let _ = std::fs::remove_dir_all(&place);
    make(&dist())?;
    sh::quiet(sh::command(venv("python"), &dist()).args(["-m", "venv"]).arg(&place))?;
    sh::quiet(
        sh::command(place.join("bin/python"), &place)
            .args(["-m", "pip", "install", "--quiet", "--no-index"])
            .arg(wheel()?),
    )?;
    let check = "import natsune, sys; print(natsune.__version__, natsune.__file__)";
    let told = sh::quiet(sh::command(place.join("bin/python"), &place).args(["-I", "-c", check]))?;
    if !told.starts_with(VERSION) || told.contains("bindings/python") {
        return Err(format!("the installed package is not the wheel's: {told}"));
    }
    report.pass(1);
    Ok(())
}

/// ruff, mypy strict, and the tests of what is Python's own.
pub fn test(report: &mut Report) -> Outcome {
    let source = source();
    sh::run(sh::command(venv("ruff"), &source).args(["check", "."]))?;
    sh::run(sh::command(venv("ruff"), &source).args(["format", "--check", "."]))?;
    report.pass(2);
    let mut mypy = sh::command(venv("mypy"), &source);
    // The tests' own tools come from the tool environment, the package from the sources being checked.
    mypy.args(["--strict", "--python-executable"]).arg(venv("python")).args(["natsune", "tests"]);
    sh::run(&mut mypy)?;
    report.pass(1);
    let packages = sh::quiet(
        sh::command(venv("python"), &source)
            .args(["-c", "import pytest, os; print(os.path.dirname(os.path.dirname(pytest.__file__)))"]),
    )?;
    let mut tests = sh::command(environment().join("bin/python"), &dist());
    let run = format!(
        "import sys; sys.path.append({:?}); import pytest; sys.exit(pytest.main(sys.argv[1:]))",
        packages.trim()
    );
    tests.args(["-I", "-c", &run, "-q", "-p", "no:cacheprovider"]).arg(source.join("tests"));
    let (lines, fine) = sh::lines(test_environment(&mut tests))?;
    let count = lines.iter().rev().find_map(|line| line.split(" passed").next()?.rsplit(' ').next()?.parse().ok());
    match (fine, count) {
        (true, Some(count)) => report.pass(count),
        _ => return Err("pytest did not end well".to_owned()),
    }
    Ok(())
}

/// The example's worker, and the file that must be there.
pub fn worker() -> (Command, PathBuf) {
    let program = environment().join("bin/python");
    let mut command = Command::new(&program);
    command.arg("-I").arg(root().join("examples/work-queue/main.py"));
    (command, program)
}
