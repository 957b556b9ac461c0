//! The public members of each language's built artefact, spelled as the inventory spells them: `Noun.member` in snake_case.
use crate::artefacts;
use crate::sh::{self, Outcome};
use crate::workspace::{dist, root};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Public members of the nouns in `nouns`, in one language.
pub fn members(language: &str, nouns: &BTreeSet<String>) -> Outcome<BTreeSet<String>> {
    match language {
        "python" => python(nouns),
        "node" => {
            Ok(node(&read_all(&artefacts::node_environment().join("node_modules/natsune/dist"), ".d.ts")?, nouns))
        }
        "swift" => Ok(swift(&read_all(&dist().join("swift/Natsune/Sources/Natsune"), ".swift")?, nouns)),
        "kotlin" => kotlin(nouns),
        // The crates are their own artefacts.
        "rust" => {
            let folders = ["core/src", "core/protocol/src", "broker/src/server.rs"];
            let texts =
                folders.into_iter().map(|folder| read_all(&root().join(folder), ".rs")).collect::<Outcome<Vec<_>>>()?;
            Ok(rust(&texts.concat(), nouns))
        }
        other => Err(format!("{other} is no language of this family")),
    }
}

fn read_all(folder: &Path, ending: &str) -> Outcome<String> {
    let mut text = String::new();
    for entry in ignore::WalkBuilder::new(folder).standard_filters(false).build() {
        let entry = entry.map_err(|error| error.to_string())?;
        let name = entry.path().to_string_lossy();
        if name.ends_with(ending) && !name.ends_with("Generated.swift") && !name.ends_with("_tests.rs") {
            text.push_str(&std::fs::read_to_string(entry.path()).map_err(|error| format!("{name}: {error}"))?);
            text.push('\n');
        }
    }
    if text.is_empty() { Err(format!("nothing to read in {}", folder.display())) } else { Ok(text) }
}

fn snake(name: &str) -> String {
    let mut out = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.extend(letter.to_lowercase());
    }
    out
}

fn python(nouns: &BTreeSet<String>) -> Outcome<BTreeSet<String>> {
    // What the interpreter itself says of the installed package.
    let script = "import natsune\nfor n in natsune.__all__:\n  c = getattr(natsune, n)\n  if callable(c) and not isinstance(c, type): print(n)\n  elif isinstance(c, type):\n    for m in dir(c):\n      if not m.startswith('_') or m == '__aiter__': print(f'{n}.{m}')\n";
    let place = artefacts::python_environment();
    let told = sh::quiet(sh::command(place.join("bin/python"), &place).args(["-I", "-c", script]))?;
    Ok(told
        .lines()
        .map(|line| line.replace(".__aiter__", ".iterate"))
        .filter(|name| !name.contains('.') || name.split('.').next().is_some_and(|noun| nouns.contains(noun)))
        .collect())
}

/// Hands out the lines directly inside of each declaration at the left margin. All sources and outputs read here are formatted:
/// a declaration ends at the first brace in the first column, its members are indented by four.
fn declarations<'a>(text: &'a str, name_of: impl Fn(&'a str) -> Option<String>, mut member: impl FnMut(&str, &'a str)) {
    let mut inside: Option<String> = None;
    for line in text.lines() {
        if line.starts_with('}') {
            inside = None;
        } else if let Some(name) = name_of(line) {
            inside = Some(name).filter(|_| !line.trim_end().ends_with('}'));
        } else if let (Some(name), Some(rest)) = (&inside, line.strip_prefix("    "))
            && !rest.starts_with([' ', '/', '*', '@', '}'])
        {
            member(name, rest);
        }
    }
}

fn word_after(line: &str, before: &str) -> Option<String> {
    let rest = line.split_once(before)?.1;
    let word: String = rest.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
    (!word.is_empty()).then_some(word)
}

/// Classes of declaration files, with what they have from the classes they extend; of the functions only what the index exports.
fn node(text: &str, nouns: &BTreeSet<String>) -> BTreeSet<String> {
    let mut of_class: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut bases: BTreeMap<String, String> = BTreeMap::new();
    let class_of = |line: &str| {
        let starts = ["export declare class ", "export declare abstract class "];
        starts.into_iter().find(|start| line.starts_with(start)).and_then(|start| word_after(line, start))
    };
    for line in text.lines() {
        if let (Some(class), Some(base)) = (class_of(line), word_after(line, " extends ")) {
            bases.insert(class, base);
        }
    }
    declarations(text, class_of, |class, line| {
        let line = ["static ", "get ", "readonly "]
            .into_iter()
            .fold(line, |line, word| line.strip_prefix(word).unwrap_or(line));
        let iterates = line.starts_with("[Symbol.asyncIterator]");
        let name = if iterates { "iterate".to_owned() } else { word_after(line, "").unwrap_or_default() };
        let is_member = iterates || line.contains(['(', ':', ';']) && !line.starts_with(['#', '_', '[']);
        let hidden = ["private", "constructor", "protected", "abstract"];
        let hidden = hidden.contains(&name.as_str()) && !line.starts_with(&format!("{name}("));
        if is_member && !hidden && !name.starts_with('_') && !line.starts_with("set data") {
            of_class.entry(class.to_owned()).or_default().insert(snake(&name));
        }
    });
    let mut found = BTreeSet::new();
    for noun in nouns {
        let mut class = Some(noun.clone());
        while let Some(name) = class {
            let members = of_class.get(&name).into_iter().flatten().filter(|member| *member != "constructor");
            found.extend(members.map(|member| format!("{noun}.{member}")));
            class = bases.get(&name).cloned();
        }
    }
    // `export { Client, connect, type X } from`: words in lower case are functions.
    for line in text.lines().filter(|line| line.starts_with("export {")) {
        let names = line.trim_start_matches("export {").split('}').next().unwrap_or_default();
        found.extend(
            names
                .split(',')
                .map(str::trim)
                .filter(|name| name.starts_with(char::is_lowercase) && !name.contains(' '))
                .map(snake),
        );
    }
    found
}

fn swift(text: &str, nouns: &BTreeSet<String>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let declared = |line: &str| {
        ["public struct Nats", "public final class Nats", "public enum Nats", "extension Nats"]
            .into_iter()
            .find(|start| line.starts_with(start))
            .and_then(|start| word_after(line, start))
    };
    declarations(text, declared, |noun, line| {
        if !nouns.contains(noun) || line.contains("typealias") {
            return;
        }
        let Some(rest) = line.strip_prefix("public ").filter(|rest| !rest.starts_with("init")) else { return };
        let rest = rest.trim_start_matches("static ").trim_start_matches("mutating ");
        let name = ["func ", "var ", "let "]
            .into_iter()
            .filter(|kind| rest.starts_with(kind))
            .find_map(|kind| word_after(rest, kind));
        if let Some(name) = name {
            let name = if name == "makeAsyncIterator" { "iterate".to_owned() } else { snake(&name) };
            found.insert(format!("{noun}.{name}"));
        }
    });
    if found.contains("Client.connect") {
        found.insert("connect".to_owned());
        found.remove("Client.connect");
    }
    found
}

fn kotlin(nouns: &BTreeSet<String>) -> Outcome<BTreeSet<String>> {
    let path = std::fs::read_to_string(artefacts::kotlin_classpath()).map_err(|error| error.to_string())?;
    let mut found = BTreeSet::new();
    let names: Vec<String> = nouns.iter().map(|noun| format!("io.natsune.{noun}")).collect();
    let mut javap = sh::command("javap", &dist());
    javap.args(["-public", "-cp", path.trim()]).args(&names);
    // Functions of no class, and those that Kotlin keeps in companions.
    let told = sh::quiet(javap.args([
        "io.natsune.ClientKt",
        "io.natsune.Broker$Companion",
        "io.natsune.Credentials$Companion",
    ]))?;
    let mut noun = String::new();
    for line in told.lines() {
        if line.ends_with('{') {
            noun = word_after(line, "io.natsune.").unwrap_or_default();
        } else if let Some(before) = line.split('(').next().filter(|_| line.contains('(')) {
            let name = before.rsplit([' ', '.']).next().unwrap_or_default().split('-').next().unwrap_or_default();
            let hidden = name.contains('$')
                || name == noun
                || ["equals", "hashCode", "toString"].contains(&name)
                || name.starts_with("component");
            if hidden {
                continue;
            }
            let name =
                snake(name.strip_prefix("get").filter(|rest| rest.starts_with(char::is_uppercase)).unwrap_or(name));
            let name = if name == "messages" { "iterate".to_owned() } else { name };
            found.insert(if noun == "ClientKt" { name } else { format!("{noun}.{name}") });
        }
    }
    Ok(found)
}

fn rust(text: &str, nouns: &BTreeSet<String>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    // Of the functions that belong to no type only these two make something of the inventory.
    let functions =
        text.lines().filter(|line| line.starts_with("pub fn connect") || line.starts_with("pub async fn connect"));
    found.extend(functions.filter_map(|line| word_after(line, "fn ")));
    let block = |line: &str| {
        let rest = line.strip_prefix("impl ").filter(|rest| !rest.contains(" for "))?;
        word_after(rest, "").map(|name| match name.as_str() {
            // The crate's own, shorter names.
            "JsMessage" => "JetStreamMessage".to_owned(),
            "StreamReader" => "Reader".to_owned(),
            _ => name,
        })
    };
    declarations(text, block, |noun, line| {
        let Some(rest) = line.strip_prefix("pub ") else { return };
        let Some(name) = word_after(rest, "fn ").filter(|_| nouns.contains(noun)) else { return };
        found.insert(format!("{noun}.{name}"));
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_declarations() {
        let nouns = BTreeSet::from(["Client".to_owned()]);
        let text = "export declare class Client extends Base<X> {\n    #private;\n    private constructor();\n    /** A (b): c. */\n    newInbox(a: string): string;\n    get maxPayload(): number;\n}\nexport declare abstract class Base<M> {\n    [Symbol.asyncIterator](): X;\n}\nexport { connect, type X } from \"./a.js\";\n";
        let names: Vec<String> = node(text, &nouns).into_iter().collect();
        assert_eq!(names, ["Client.iterate", "Client.max_payload", "Client.new_inbox", "connect"]);
        let text = "impl Client {\n    /// Doc.\n    pub async fn flush(&self) -> X {\n        inner();\n    }\n    fn hidden() {}\n}\nimpl Drop for Client {\n    pub fn no() {}\n}\n";
        assert_eq!(rust(text, &nouns).into_iter().collect::<Vec<_>>(), ["Client.flush"]);
        let text = "public final class NatsClient: Sendable {\n    let x = 1\n    public func newInbox() throws -> String { \"\" }\n    public var maxPayload: Int { 1 }\n}\n";
        assert_eq!(swift(text, &nouns).into_iter().collect::<Vec<_>>(), ["Client.max_payload", "Client.new_inbox"]);
    }
}
