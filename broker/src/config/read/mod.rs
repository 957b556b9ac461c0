//! From the tree to the document: each block knows its keys, and every other key is an error.

mod accounts;
mod blocks;
mod fields;
mod permissions;
mod server;

use std::path::{Path, PathBuf};

use super::Config;
use super::error::ConfigError;
use super::syntax::{Source, SyntaxError, parse};

type Read<T = ()> = Result<T, SyntaxError>;

/// The file system and the environment.
pub(super) struct Real;

impl Source for Real {
    fn read(&self, path: &Path) -> std::io::Result<String> {
        // A device or pipe could block for ever or never end.
        if !std::fs::metadata(path)?.is_file() {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a regular file"));
        }
        std::fs::read_to_string(path)
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

/// What a text means; how it fits together is not checked yet. `file` is its path: for messages and for what it includes.
pub(super) fn read(file: &Path, text: &str, source: &dyn Source) -> Result<Config, ConfigError> {
    let root = parse(file, text, source)?;
    let folder = file.parent().unwrap_or(Path::new("")).to_owned();
    let mut reader = Reader { config: Config::default(), source, folder, store_dir: None };
    reader.server(&root)?;
    if let Some(jetstream) = &mut reader.config.jetstream {
        jetstream.store_dir = jetstream.store_dir.take().or(reader.store_dir);
    }
    Ok(reader.config)
}

/// Fills a document; warnings are collected in it.
struct Reader<'s> {
    config: Config,
    source: &'s dyn Source,
    folder: PathBuf,
    /// The top-level `store_dir`: it counts when JetStream is on and its block names none.
    store_dir: Option<PathBuf>,
}

impl Reader<'_> {
    fn warn(&mut self, text: String) {
        self.config.warnings.push(text);
    }
}
