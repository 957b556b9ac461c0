//! The verbs beside running the server: `namespace ...` and `credentials ...`.

use std::path::PathBuf;

use super::flags::load;
use super::{ConfigError, Invocation};

/// `natsune-broker namespace create|list|delete`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceCommand {
    /// Folder of the namespaces.
    pub dir: PathBuf,
    /// Answer as JSON.
    pub json: bool,
    /// What to do.
    pub verb: NamespaceVerb,
}

/// What to do with namespaces.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the names say it
pub enum NamespaceVerb {
    Create { name: String },
    List,
    Delete { name: String },
}

/// `natsune-broker credentials create|list|delete`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialsCommand {
    /// Folder of the namespaces.
    pub dir: PathBuf,
    /// Answer as JSON.
    pub json: bool,
    /// What to do.
    pub verb: CredentialsVerb,
}

/// What to do with credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the names say it
pub enum CredentialsVerb {
    /// The text goes to `output`, a new file that only its owner can read, or to standard output.
    Create {
        namespace: String,
        name: String,
        output: Option<PathBuf>,
    },
    /// Of one namespace, or of all.
    List {
        namespace: Option<String>,
    },
    Delete {
        namespace: String,
        name: String,
    },
}

const NAMESPACE_USAGE: &str =
    "usage: natsune-broker namespace create NAME | list | delete NAME  [--dir DIR | -c FILE] [--json]";
const CREDENTIALS_USAGE: &str = "usage: natsune-broker credentials create NAMESPACE NAME [--output FILE] | list [NAMESPACE] | delete NAMESPACE NAME  [--dir DIR | -c FILE] [--json]";

pub(super) fn namespace(args: &[String]) -> Result<Invocation, ConfigError> {
    let Some(words) = Words::read(args, NAMESPACE_USAGE)? else { return Ok(Invocation::Help) };
    let verb = match words.positional().as_slice() {
        ["create", name] => NamespaceVerb::Create { name: (*name).to_owned() },
        ["list" | "ls"] => NamespaceVerb::List,
        ["delete" | "rm", name] => NamespaceVerb::Delete { name: (*name).to_owned() },
        _ => return Err(ConfigError::new(NAMESPACE_USAGE)),
    };
    if words.output.is_some() {
        return Err(ConfigError::new(NAMESPACE_USAGE));
    }
    Ok(Invocation::Namespace(NamespaceCommand { dir: words.dir()?, json: words.json, verb }))
}

pub(super) fn credentials(args: &[String]) -> Result<Invocation, ConfigError> {
    let Some(words) = Words::read(args, CREDENTIALS_USAGE)? else { return Ok(Invocation::Help) };
    let text = |word: &str| word.to_owned();
    let verb = match words.positional().as_slice() {
        ["create", namespace, name] => {
            CredentialsVerb::Create { namespace: text(namespace), name: text(name), output: words.output.clone() }
        }
        ["list" | "ls"] => CredentialsVerb::List { namespace: None },
        ["list" | "ls", namespace] => CredentialsVerb::List { namespace: Some(text(namespace)) },
        ["delete" | "rm", namespace, name] => CredentialsVerb::Delete { namespace: text(namespace), name: text(name) },
        _ => return Err(ConfigError::new(CREDENTIALS_USAGE)),
    };
    if words.output.is_some() && !matches!(verb, CredentialsVerb::Create { .. }) {
        return Err(ConfigError::new(CREDENTIALS_USAGE));
    }
    Ok(Invocation::Credentials(CredentialsCommand { dir: words.dir()?, json: words.json, verb }))
}

/// The words and flags of a verb, in any order.
#[derive(Default)]
struct Words {
    words: Vec<String>,
    json: bool,
    dir: Option<PathBuf>,
    file: Option<PathBuf>,
    output: Option<PathBuf>,
}

impl Words {
    /// `None`: help was asked for.
    fn read(args: &[String], usage: &str) -> Result<Option<Words>, ConfigError> {
        let mut found = Words::default();
        let mut rest = args.iter();
        while let Some(arg) = rest.next() {
            let Some(flag) = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')).filter(|flag| !flag.is_empty())
            else {
                found.words.push(arg.clone());
                continue;
            };
            let (name, inline) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            let slot = match name {
                "h" | "help" => return Ok(None),
                "json" if inline.is_none() => {
                    found.json = true;
                    continue;
                }
                "dir" => &mut found.dir,
                "c" | "config" => &mut found.file,
                "o" | "output" => &mut found.output,
                _ => return Err(ConfigError::new(format!("unknown flag -{name}\n{usage}"))),
            };
            let value = inline
                .or_else(|| rest.next().cloned())
                .ok_or_else(|| ConfigError::new(format!("flag needs an argument: -{name}")))?;
            *slot = Some(PathBuf::from(value));
        }
        Ok(Some(found))
    }

    fn positional(&self) -> Vec<&str> {
        self.words.iter().map(String::as_str).collect()
    }

    /// The folder: as said, else as in the configuration file, else the default one.
    fn dir(&self) -> Result<PathBuf, ConfigError> {
        if let Some(dir) = &self.dir {
            return Ok(dir.clone());
        }
        let configured = match &self.file {
            Some(file) => load(file)?.namespaces,
            None => None,
        };
        Ok(configured.unwrap_or_default().dir)
    }
}
