//! Kotlin: a jar with its native part, installed into a file repository; testee and example worker see only that.
use super::{copy, fresh, make, test_environment};
use crate::report::Report;
use crate::sh::{self, Outcome};
use crate::workspace::{VERSION, cache, dist, root, target};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Records whose fields a caller sets; every other record is what a server or the library said.
const SET_BY_CALLERS: [&str; 2] = ["Options", "Config"];

/// Members for records in place of the empty companion that the generator writes: secrets are never shown, and what reads
/// better as a call is one.
const MEMBERS: [(&str, &str); 6] = [
    (
        "ConnectOptions",
        "    /** Credentials, from a file or a text. */
    public var creds: Credentials?
        get() = credsFile?.let { Credentials.file(it) } ?: credsText?.let { Credentials.text(it) }
        set(value) {
            credsFile = value?.path
            credsText = value?.text
        }

    override fun toString(): String = \"ConnectOptions(servers=${servers.map { it.substringAfterLast('@') }}, name=$name)\"",
    ),
    ("TlsOptions", "    override fun toString(): String = \"TlsOptions(required=$required, serverName=$serverName)\""),
    ("BrokerOptions", "    override fun toString(): String = \"BrokerOptions(port=$port, storeDir=$storeDir)\""),
    (
        "CredentialsInfo",
        "    override fun toString(): String = \"CredentialsInfo(id=$id, name=$name, namespace=$namespace)\"",
    ),
    (
        "StreamConfig",
        "    /** What it stores. */
    public fun subjects(vararg subjects: String) {
        this.subjects = subjects.toList()
    }",
    ),
    (
        "ConsumerConfig",
        "    /** What it delivers. */
    public fun filterSubjects(vararg subjects: String) {
        filterSubjects = subjects.toList()
    }",
    ),
];

/// Converters with Kotlin's own types instead of the generator's: signed numbers and `kotlin.time.Duration`.
const CONVERTERS: [(&str, &str); 4] = [
    (
        "FfiConverterUShort",
        "internal object FfiConverterUShort : FfiConverter<Int, Short> {
    override fun lift(value: Short): Int = value.toInt() and 0xffff
    override fun read(buf: ByteBuffer): Int = lift(buf.getShort())
    override fun lower(value: Int): Short {
        require(value in 0..0xffff) { \"a number is not below 65536: $value\" }
        return value.toShort()
    }
    override fun allocationSize(value: Int) = 2UL
    override fun write(value: Int, buf: ByteBuffer) { buf.putShort(lower(value)) }
}
",
    ),
    (
        "FfiConverterUInt",
        "internal object FfiConverterUInt : FfiConverter<Int, Int> {
    override fun lift(value: Int): Int = value
    override fun read(buf: ByteBuffer): Int = buf.getInt()
    override fun lower(value: Int): Int {
        require(value >= 0) { \"a number is negative: $value\" }
        return value
    }
    override fun allocationSize(value: Int) = 4UL
    override fun write(value: Int, buf: ByteBuffer) { buf.putInt(lower(value)) }
}
",
    ),
    (
        "FfiConverterULong",
        "internal object FfiConverterULong : FfiConverter<Long, Long> {
    override fun lift(value: Long): Long = value
    override fun read(buf: ByteBuffer): Long = buf.getLong()
    override fun lower(value: Long): Long {
        require(value >= 0) { \"a number is negative: $value\" }
        return value
    }
    override fun allocationSize(value: Long) = 8UL
    override fun write(value: Long, buf: ByteBuffer) { buf.putLong(lower(value)) }
}
",
    ),
    (
        "FfiConverterDuration",
        "internal object FfiConverterDuration : FfiConverterRustBuffer<kotlin.time.Duration> {
    override fun read(buf: ByteBuffer): kotlin.time.Duration {
        val seconds = buf.getLong()
        return with(kotlin.time.Duration) { seconds.seconds + buf.getInt().nanoseconds }
    }
    override fun allocationSize(value: kotlin.time.Duration) = 12UL
    override fun write(value: kotlin.time.Duration, buf: ByteBuffer) {
        require(!value.isNegative()) { \"a duration is negative: $value\" }
        value.toComponents { seconds, nanoseconds ->
            buf.putLong(seconds)
            buf.putInt(nanoseconds)
        }
    }
}
",
    ),
];

fn source() -> PathBuf {
    root().join("bindings/kotlin")
}

/// Everything that Maven writes.
fn work() -> PathBuf {
    target().join("kotlin")
}

fn place() -> PathBuf {
    dist().join("kotlin")
}

fn jar() -> PathBuf {
    work().join(format!("library/natsune-{VERSION}.jar"))
}

/// Maven with a local repository in the tool's own cache, so that a jar of yesterday is never taken from anywhere else.
fn maven(folder: &Path) -> Command {
    let mut command = sh::command("mvn", folder);
    command.args(["--batch-mode", "--quiet"]).arg(format!("-Dmaven.repo.local={}", repository().display()));
    command
}

fn repository() -> PathBuf {
    cache().join("m2")
}

fn property(name: &str, value: &Path) -> String {
    format!("-D{name}={}", value.display())
}

/// Generates the control lane, then the jar with the native part.
pub fn build() -> Outcome {
    let library = target().join("release/libnatsune_native.so");
    let natives = work().join("resources/natives/linux-x86_64");
    fresh(&natives)?;
    copy(&library, &natives.join("libnatsune_native.so"))?;
    generate(&target().join("release/natsune-bindgen"), &library)?;
    sh::run(
        maven(&source())
            .args(["package", "-DskipTests", "-Dmaven.test.skip=true"])
            .arg(property("natsune.target", &work())),
    )?;
    if jar().exists() { Ok(()) } else { Err(format!("Maven made no {}", jar().display())) }
}

/// Runs the generator and splits what it wrote: documents for everybody, calls for the facade.
fn generate(bindgen: &Path, library: &Path) -> Outcome {
    let (raw, place) = (work().join("raw"), work().join("generated"));
    fresh(&raw)?;
    fresh(&place)?;
    sh::quiet(sh::command(bindgen, &root()).arg("kotlin").arg(library).arg(&raw))?;
    let file = raw.join("io/natsune/internal/generated/natsune_ffi.kt");
    let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let (documents, calls) = split(&text)?;
    for (name, text) in [("Documents.kt", documents), ("Calls.kt", calls)] {
        std::fs::write(place.join(name), text).map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}

/// Splits the generated file: records and words become the package's own documents, everything else is internal.
fn split(text: &str) -> Outcome<(String, String)> {
    let mut text = text.to_owned();
    for (name, ours) in CONVERTERS {
        let start = text.find(&format!("public object {name}:")).ok_or_else(|| format!("no {name} was generated"))?;
        let end = text[start..].find("\n}\n").ok_or_else(|| format!("{name} has no end"))? + start + 3;
        text.replace_range(start..end, ours);
    }
    for (theirs, ours) in [
        ("kotlin.ULong", "kotlin.Long"),
        ("kotlin.UInt", "kotlin.Int"),
        ("kotlin.UShort", "kotlin.Int"),
        ("java.time.Duration", "kotlin.time.Duration"),
        ("package io.natsune.internal.generated\n", "package io.natsune.internal.generated\n\nimport io.natsune.*\n"),
    ] {
        if !text.contains(theirs) {
            return Err(format!("{theirs:?} was not generated: the generator changed"));
        }
        text = text.replace(theirs, ours);
    }
    // The converter of instants counts with Java's durations.
    text = text.replace("kotlin.time.Duration.ofSeconds", "java.time.Duration.ofSeconds");
    text = text.replace("kotlin.time.Duration.between", "java.time.Duration.between");
    let mut documents = "// Generated from the boundary crate's documents.\npackage io.natsune\n\n".to_owned();
    let mut calls = String::new();
    let (mut comment, mut inside, mut given) = (String::new(), None::<String>, 0);
    for line in text.lines().map(str::trim_end) {
        if let Some(name) = &inside {
            let end = line == "}";
            given += usize::from(document_line(name, line, &mut documents));
            if end {
                inside = None;
            }
            continue;
        }
        if let Some(name) = document_of(line) {
            documents.push_str(&comment);
            comment.clear();
            documents.push_str(&format!("public {line}\n"));
            inside = Some(name.to_owned());
            continue;
        }
        if line.starts_with("/**") || line.starts_with(" *") {
            comment.push_str(line);
            comment.push('\n');
            continue;
        }
        calls.push_str(&comment);
        comment.clear();
        calls.push_str(&internal(line));
        calls.push('\n');
    }
    if given != MEMBERS.len() {
        return Err(format!("{given} of {} records with members of ours were generated", MEMBERS.len()));
    }
    Ok((documents, calls))
}

/// The name of the document that starts here.
fn document_of(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("data class ").or_else(|| line.strip_prefix("sealed class "))?;
    let name = rest.split([' ', '(', ':', '{']).next()?;
    (!["NativeFailure", "EventsTaken"].contains(&name)).then_some(name)
}

/// One line of a document; true when it gave place to members of ours.
fn document_line(name: &str, line: &str, out: &mut String) -> bool {
    let own = SET_BY_CALLERS.iter().any(|end| name.ends_with(end));
    let members = MEMBERS.iter().find(|(record, _)| *record == name);
    let line = match line.trim_start() {
        "companion object" => {
            // Only the record's own, at one step; those of its cases are left out.
            let ours = members.filter(|_| line.starts_with("    c"));
            out.push_str(ours.map_or("", |(_, text)| text));
            out.push('\n');
            return ours.is_some();
        }
        field if own && field.starts_with("val ") => format!("    var {}", &field[4..]),
        case if case.starts_with("object ") => format!("    public data {case}"),
        case if case.starts_with("data class ") => format!("    public {case}"),
        _ => line.to_owned(),
    };
    out.push_str(&line);
    out.push('\n');
    false
}

/// A line at the top level of the calls, for this module only.
fn internal(line: &str) -> String {
    if let Some(rest) = line.strip_prefix("    @Throws(NativeFailure::class) fun ") {
        return format!("internal fun {rest}");
    }
    let starts = [
        "fun ",
        "inline fun ",
        "class ",
        "open class ",
        "interface ",
        "object ",
        "data class ",
        "sealed class ",
        "abstract class ",
        "sealed interface ",
        "fun interface ",
    ];
    match line.strip_prefix("public ") {
        Some(rest) => format!("internal {rest}"),
        None if starts.iter().any(|start| line.starts_with(start)) => format!("internal {line}"),
        None => line.to_owned(),
    }
}

/// Installs the jar into a file repository, and builds testee and example worker from a project that knows only that.
pub fn install(report: &mut Report) -> Outcome {
    let place = place();
    fresh(&place)?;
    let files = place.join("repository");
    let mut deploy = maven(&place);
    deploy
        .arg("org.apache.maven.plugins:maven-deploy-plugin:3.1.4:deploy-file")
        .arg(format!("-Durl=file://{}", files.display()))
        .args(["-DrepositoryId=natsune", &format!("-Dfile={}", jar().display())])
        .arg(format!("-DpomFile={}", source().join("pom.xml").display()));
    sh::run(&mut deploy)?;
    // What an earlier build left would be taken instead.
    let _ = std::fs::remove_dir_all(repository().join("io/natsune"));
    let settings = place.join("settings.xml");
    std::fs::write(&settings, settings_with(&files)).map_err(|error| error.to_string())?;
    let project = place.join("testee");
    copy_tree(&source().join("testee"), &project)?;
    let example = project.join("src/main/kotlin/io/natsune/examples/workqueue");
    make(&example)?;
    copy(&root().join("examples/work-queue/Main.kt"), &example.join("Main.kt"))?;
    // The programs of the READMEs, each in a package of its own.
    for (at, snippet) in crate::examples::snippets("kotlin")?.iter().enumerate() {
        let folder = project.join(format!("src/main/kotlin/readme{at}"));
        make(&folder)?;
        let text = format!("package readme{at}\n\n{snippet}");
        std::fs::write(folder.join(format!("Readme{at}.kt")), text).map_err(|error| error.to_string())?;
    }
    let bench = project.join("src/main/kotlin/io/natsune/bench");
    make(&bench)?;
    copy(&root().join("bindings/conformance/bench/kotlin/Bench.kt"), &bench.join("Bench.kt"))?;
    let classpath_file = place.join("dependencies");
    let mut package = maven(&project);
    package
        .arg("--global-settings")
        .arg(&settings)
        .args(["package", "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:build-classpath"])
        .arg(property("mdep.outputFile", &classpath_file));
    sh::run(&mut package)?;
    let dependencies = std::fs::read_to_string(&classpath_file).map_err(|error| error.to_string())?;
    let installed = repository().join(format!("io/natsune/natsune/{VERSION}/natsune-{VERSION}.jar"));
    if !dependencies.contains(&installed.display().to_string()) {
        return Err(format!("the class path has no {}: {dependencies}", installed.display()));
    }
    // The jar of this build, however many others are installed into the cache meanwhile.
    let own = place.join(format!("natsune-{VERSION}.jar"));
    copy(&installed, &own)?;
    let path = dependencies.trim().replace(&installed.display().to_string(), &own.display().to_string());
    let testee = project.join("target/testee-0.1.0.jar");
    std::fs::write(classpath(), format!("{}:{path}", testee.display())).map_err(|error| error.to_string())?;
    report.pass(1);
    Ok(())
}

/// Maven's settings with the file repository beside the others.
fn settings_with(files: &Path) -> String {
    format!(
        "<settings><profiles><profile><id>natsune</id><repositories><repository><id>natsune</id><url>file://{}</url></repository></repositories></profile></profiles>\
         <activeProfiles><activeProfile>natsune</activeProfile></activeProfiles></settings>\n",
        files.display()
    )
}

fn copy_tree(from: &Path, to: &Path) -> Outcome {
    make(to)?;
    let entries = std::fs::read_dir(from).map_err(|error| format!("{}: {error}", from.display()))?;
    for entry in entries.flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            copy(&entry.path(), &target)?;
        }
    }
    Ok(())
}

/// ktlint, then the tests of what is Kotlin's own, against the native part of the release.
pub fn test(report: &mut Report) -> Outcome {
    lint()?;
    report.pass(1);
    let mut tests = maven(&source());
    tests.args(["test", "-Dsurefire.printSummary=true"]).arg(property("natsune.target", &work()));
    let reports = work().join("library/surefire-reports");
    let _ = std::fs::remove_dir_all(&reports);
    sh::run(test_environment(&mut tests))?;
    let count = count_tests(&reports);
    if count == 0 {
        return Err("Maven ran no test".to_owned());
    }
    report.pass(count);
    Ok(())
}

/// What the text reports of the test classes add up to.
fn count_tests(reports: &Path) -> u64 {
    let entries = std::fs::read_dir(reports).into_iter().flatten().flatten();
    let texts = entries.filter(|entry| entry.path().extension().is_some_and(|end| end == "txt"));
    texts
        .filter_map(|entry| std::fs::read_to_string(entry.path()).ok())
        .filter_map(|text| text.split("Tests run: ").nth(1)?.split(',').next()?.trim().parse::<u64>().ok())
        .sum()
}

fn lint() -> Outcome {
    let tools = work().join("tools");
    let ktlint = tools.join("ktlint-cli-1.7.1-all.jar");
    if !ktlint.exists() {
        make(&tools)?;
        let mut fetch = maven(&tools);
        fetch
            .arg("org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy")
            .arg("-Dartifact=com.pinterest.ktlint:ktlint-cli:1.7.1:jar:all")
            .arg(property("outputDirectory", &tools));
        sh::run(&mut fetch)?;
    }
    let mut lint = sh::command("java", &root());
    lint.args(["-jar"]).arg(&ktlint).args(["--relative", "bindings/kotlin/**/*.kt", "examples/work-queue/*.kt"]);
    sh::run(&mut lint)
}

/// A file that holds the class path of the installed jar, its dependencies and the testee.
pub fn classpath() -> PathBuf {
    place().join("classpath")
}

/// The example's worker, and the file that must be there.
pub fn worker() -> (Command, PathBuf) {
    let program = classpath();
    let path = std::fs::read_to_string(&program).unwrap_or_default();
    let mut command = Command::new("java");
    command.args(["-XX:+UseSerialGC", "-cp", path.trim(), "io.natsune.examples.workqueue.MainKt"]);
    (command, program)
}
