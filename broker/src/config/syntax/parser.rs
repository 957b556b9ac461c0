//! Text to tree: maps, lists, variables and included files, with a bound on everything that could grow without end.

use std::cell::Cell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::scanner::Scanner;
use super::units::parse_size;
use super::value::{Entry, Node, Pos, SyntaxError, Value};

/// Blocks in blocks; also keeps the recursion small.
const MAX_DEPTH: usize = 48;
/// Files including files.
const MAX_INCLUDES: usize = 16;
/// Values in all, with those that variables repeat.
const MAX_NODES: usize = 500_000;
/// Bytes of one file.
const MAX_FILE: usize = 32 * 1024 * 1024;

/// Where a text may take other texts from.
pub(crate) trait Source {
    /// The content of an included file.
    fn read(&self, path: &Path) -> std::io::Result<String>;
    /// A variable of the environment.
    fn variable(&self, name: &str) -> Option<String>;
}

/// Parses a whole text. `file` is its path: it stands in messages, and included files are looked for beside it.
pub(crate) fn parse(file: &Path, text: &str, source: &dyn Source) -> Result<Node, SyntaxError> {
    let mut parser = Parser { source, scopes: Vec::new(), files: Vec::new(), nodes: 0, depth: 0, variables: 0 };
    parser.file(file, text)
}

struct Parser<'s> {
    source: &'s dyn Source,
    /// The maps being read, outermost first: variables are looked up here.
    scopes: Vec<Scope>,
    /// The files being read, outermost first.
    files: Vec<PathBuf>,
    nodes: usize,
    depth: usize,
    /// Environment variables being read: they may name each other.
    variables: usize,
}

/// A map being read; the index keeps long ones from being searched for each key.
#[derive(Default)]
struct Scope {
    entries: Vec<Entry>,
    index: HashMap<String, usize>,
}

impl Scope {
    fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.get(*self.index.get(key)?)
    }

    /// The last one counts, so that a file can override what it includes.
    fn set(&mut self, key: String, at: Pos, node: Node) {
        match self.index.get(&key).and_then(|i| self.entries.get_mut(*i)) {
            Some(entry) => *entry = Entry { key, at, node, used: entry.used.clone() },
            None => {
                self.index.insert(key.clone(), self.entries.len());
                self.entries.push(Entry { key, at, node, used: Cell::new(false) });
            }
        }
    }
}

impl Parser<'_> {
    fn file(&mut self, file: &Path, text: &str) -> Result<Node, SyntaxError> {
        let name: Arc<str> = file.to_string_lossy().into();
        let mut scanner = Scanner::new(Arc::clone(&name), text);
        let at = scanner.at();
        if text.len() > MAX_FILE {
            return Err(SyntaxError::new(at, "this file is too large"));
        }
        self.files.push(file.to_owned());
        self.scopes.push(Scope::default());
        self.document(&mut scanner)?;
        self.files.pop();
        Ok(Node { at, value: Value::Map(self.scopes.pop().unwrap_or_default().entries) })
    }

    /// The entries of a file into the current scope. The whole may stand in braces, as JSON does.
    fn document(&mut self, scanner: &mut Scanner<'_>) -> Result<(), SyntaxError> {
        scanner.skip_space(false);
        let braces = scanner.eat('{');
        self.entries(scanner, braces)?;
        scanner.skip_space(true);
        match scanner.peek() {
            None => Ok(()),
            Some(_) if braces => Err(SyntaxError::new(scanner.at(), "nothing may follow the closing `}` of the whole")),
            Some(_) => Err(SyntaxError::new(scanner.at(), "unexpected `}`: no block is open here")),
        }
    }

    /// Key and value pairs up to the closing brace (taken) or the end of the text.
    fn entries(&mut self, scanner: &mut Scanner<'_>, braces: bool) -> Result<(), SyntaxError> {
        loop {
            scanner.skip_space(true);
            match scanner.peek() {
                None if braces => {
                    return Err(SyntaxError::new(scanner.at(), "the file ends inside a block: a `}` is missing"));
                }
                None => return Ok(()),
                Some('}') => {
                    if braces {
                        scanner.next();
                    }
                    return Ok(());
                }
                Some(_) => self.entry(scanner)?,
            }
            self.terminated(scanner, '}')?;
        }
    }

    fn entry(&mut self, scanner: &mut Scanner<'_>) -> Result<(), SyntaxError> {
        let at = scanner.at();
        let quoted = matches!(scanner.peek(), Some('"' | '\''));
        let key = scanner.key()?;
        if key.is_empty() && !quoted {
            return Err(SyntaxError::new(at, "a name is missing here"));
        }
        // Before the separator the value may come on a later line (`accounts⏎{`), after it it may not.
        scanner.skip_blanks();
        if matches!(scanner.peek(), Some('\r' | '\n')) {
            scanner.skip_space(false);
        }
        if matches!(scanner.peek(), Some(':' | '=')) {
            scanner.next();
            scanner.skip_blanks();
        }
        if key == "include" && !quoted {
            return self.include(scanner);
        }
        if matches!(scanner.peek(), None | Some('\n' | ',' | ';' | '}' | ']')) || scanner.at_comment() {
            return Err(SyntaxError::new(scanner.at(), format!("{key:?} has no value")));
        }
        let node = self.value(scanner)?;
        if let Some(scope) = self.scopes.last_mut() {
            scope.set(key, at, node);
        }
        Ok(())
    }

    /// After a value: a separator, a line end, or the closing bracket (left for the caller).
    fn terminated(&mut self, scanner: &mut Scanner<'_>, close: char) -> Result<(), SyntaxError> {
        scanner.skip_blanks();
        match scanner.peek() {
            None | Some('\n' | ',' | ';') => Ok(()),
            Some(c) if c == close || scanner.at_comment() => Ok(()),
            Some(_) => {
                Err(SyntaxError::new(scanner.at(), format!("expected a line end, `,` or `{close}` after the value")))
            }
        }
    }

    fn value(&mut self, scanner: &mut Scanner<'_>) -> Result<Node, SyntaxError> {
        let at = scanner.at();
        self.grow(1, &at)?;
        let value = match scanner.peek() {
            Some(quote @ ('"' | '\'')) => Value::Text(scanner.quoted(quote)?),
            Some('(') => Value::Text(scanner.block()?),
            Some('[') => self.nested(&at, |parser| parser.array(scanner))?,
            Some('{') => self.nested(&at, |parser| {
                scanner.next();
                parser.scopes.push(Scope::default());
                parser.entries(scanner, true)?;
                Ok(Value::Map(parser.scopes.pop().unwrap_or_default().entries))
            })?,
            _ => {
                let word = scanner.word();
                return self.word(word, at);
            }
        };
        Ok(Node { at, value })
    }

    fn nested<T>(
        &mut self,
        at: &Pos,
        read: impl FnOnce(&mut Self) -> Result<T, SyntaxError>,
    ) -> Result<T, SyntaxError> {
        if self.depth >= MAX_DEPTH {
            return Err(SyntaxError::new(at.clone(), "blocks and lists are nested too deeply"));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn array(&mut self, scanner: &mut Scanner<'_>) -> Result<Value, SyntaxError> {
        let opened = scanner.at();
        scanner.next();
        let mut nodes = Vec::new();
        loop {
            scanner.skip_space(true);
            match scanner.peek() {
                None => return Err(SyntaxError::new(opened, "this list has no closing `]`")),
                Some(']') => {
                    scanner.next();
                    return Ok(Value::Array(nodes));
                }
                Some('}') => return Err(SyntaxError::new(scanner.at(), "unexpected `}` in a list")),
                Some(_) => nodes.push(self.value(scanner)?),
            }
            self.terminated(scanner, ']')?;
        }
    }

    /// A bare word: a boolean, a variable, a number, or just text.
    fn word(&mut self, word: &str, at: Pos) -> Result<Node, SyntaxError> {
        if let Some(name) = word.strip_prefix('$').filter(|name| !name.is_empty() && !is_bcrypt(word)) {
            return self.variable(name, at);
        }
        let value = if ["true", "yes", "on"].iter().any(|yes| word.eq_ignore_ascii_case(yes)) {
            Value::Bool(true)
        } else if ["false", "no", "off"].iter().any(|no| word.eq_ignore_ascii_case(no)) {
            Value::Bool(false)
        } else if let Some(number) = parse_size(word) {
            Value::Int(number.map_err(|why| SyntaxError::new(at.clone(), why))?)
        } else if let Some(fraction) = parse_fraction(word) {
            Value::Float(fraction)
        } else {
            Value::Text(word.to_owned())
        };
        Ok(Node { at, value })
    }

    /// A key defined before at this level or further out, else the environment.
    fn variable(&mut self, name: &str, at: Pos) -> Result<Node, SyntaxError> {
        let found = self.scopes.iter().rev().find_map(|scope| scope.get(name));
        if let Some(entry) = found {
            entry.used.set(true);
            let value = entry.node.value.clone();
            let (count, depth) = value.extent();
            self.grow(count, &at)?;
            if self.depth + depth > MAX_DEPTH {
                return Err(SyntaxError::new(at, "blocks and lists are nested too deeply"));
            }
            return Ok(Node { at, value });
        }
        let text = self
            .source
            .variable(name)
            .ok_or_else(|| SyntaxError::new(at.clone(), format!("variable \"${name}\" is not defined")))?;
        if self.variables >= MAX_INCLUDES {
            return Err(SyntaxError::new(at, format!("variable \"${name}\" refers to itself")));
        }
        self.variables += 1;
        let node = self.lone_value(&format!("${name}"), &text);
        self.variables -= 1;
        // The message says where the variable was used; what the environment holds may be a secret.
        node.map(|node| Node { at: at.clone(), value: node.value })
            .map_err(|inner| SyntaxError::new(at, format!("in variable \"${name}\": {}", inner.text)))
    }

    fn lone_value(&mut self, name: &str, text: &str) -> Result<Node, SyntaxError> {
        let mut scanner = Scanner::new(name.into(), text);
        scanner.skip_space(false);
        if scanner.peek().is_none() {
            return Ok(Node { at: scanner.at(), value: Value::Text(String::new()) });
        }
        let node = self.value(&mut scanner)?;
        scanner.skip_space(false);
        match scanner.peek() {
            None => Ok(node),
            Some(_) => Err(SyntaxError::new(scanner.at(), "more than one value")),
        }
    }

    fn include(&mut self, scanner: &mut Scanner<'_>) -> Result<(), SyntaxError> {
        let at = scanner.at();
        let written = match scanner.peek() {
            Some(quote @ ('"' | '\'')) => scanner.quoted(quote)?,
            _ => scanner.word().to_owned(),
        };
        if written.is_empty() {
            return Err(SyntaxError::new(at, "include needs the name of a file"));
        }
        let folder = self.files.last().and_then(|file| file.parent()).unwrap_or(Path::new(""));
        let path = folder.join(&written);
        if self.files.len() > MAX_INCLUDES || self.files.iter().any(|open| same_file(open, &path)) {
            return Err(SyntaxError::new(at, format!("file {written:?} includes itself")));
        }
        let text = self.source.read(&path).map_err(|error| {
            SyntaxError::new(at.clone(), format!("cannot read the included file {written:?}: {error}"))
        })?;
        if text.len() > MAX_FILE {
            return Err(SyntaxError::new(at, "this file is too large"));
        }
        let mut inner = Scanner::new(path.to_string_lossy().into(), &text);
        self.grow(1, &at)?;
        self.files.push(path);
        // The entries land in the map that is being read, as if they stood here.
        self.document(&mut inner)?;
        self.files.pop();
        Ok(())
    }

    fn grow(&mut self, count: usize, at: &Pos) -> Result<(), SyntaxError> {
        self.nodes = self.nodes.saturating_add(count);
        if self.nodes > MAX_NODES {
            return Err(SyntaxError::new(at.clone(), "this configuration is too large"));
        }
        Ok(())
    }
}

/// Hashed passwords begin like a variable would.
fn is_bcrypt(word: &str) -> bool {
    ["$2a$", "$2b$", "$2x$", "$2y$"].iter().any(|prefix| word.starts_with(prefix))
}

fn parse_fraction(word: &str) -> Option<f64> {
    let digits = word.strip_prefix('-').unwrap_or(word);
    let (whole, part) = digits.split_once('.')?;
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if plain(whole) && plain(part) { word.parse().ok() } else { None }
}

fn same_file(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
