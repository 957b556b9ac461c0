//! `natsune-broker namespace ...` and `credentials ...`: the same calls from the command line, with or without a running broker.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use natsune_credentials::Secret;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{CredentialsInfo, NamespaceError, Namespaces};
use crate::config::{CredentialsCommand, CredentialsVerb, NamespaceCommand, NamespaceVerb};

/// Runs `namespace ...`. Answers go to `out`, remarks for people to `err`.
pub fn run_namespace(
    command: &NamespaceCommand,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), NamespaceError> {
    // Only making one makes the folder: a mistyped path elsewhere would look like a folder without namespaces.
    let namespaces = match &command.verb {
        NamespaceVerb::Create { .. } => Namespaces::open(&command.dir)?,
        _ => Namespaces::open_existing(&command.dir)?,
    };
    match &command.verb {
        NamespaceVerb::Create { name } => {
            let made = namespaces.create_namespace(name)?;
            if command.json {
                json(out, &made)
            } else {
                say(out, format_args!("{}", made.id))?;
                say(err, format_args!("namespace {name:?} created"))
            }
        }
        NamespaceVerb::List => {
            let all = namespaces.list_namespaces()?;
            if command.json {
                return json(out, &all);
            }
            table(
                out,
                ["NAME", "CREATED", "ID"],
                all.iter().map(|namespace| [namespace.name.clone(), stamp(namespace.created_at), namespace.id.clone()]),
            )
        }
        NamespaceVerb::Delete { name } => {
            let gone = namespaces.delete_namespace(name)?;
            if command.json {
                json(out, &gone)
            } else {
                say(err, format_args!("namespace {:?} deleted, with its credentials and streams", gone.name))
            }
        }
    }
}

/// Runs `credentials ...`. Answers go to `out`, remarks for people to `err`.
pub fn run_credentials(
    command: &CredentialsCommand,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), NamespaceError> {
    let namespaces = Namespaces::open_existing(&command.dir)?;
    match &command.verb {
        CredentialsVerb::Create { namespace, name, output } => {
            // The file comes first: credentials that cannot be written down would be lost.
            let mut file = output.as_deref().map(NewFile::create).transpose()?;
            let (info, text) = namespaces.create_credentials(namespace, name)?;
            let document =
                Created { info: &info, file: output.as_deref(), credentials: file.is_none().then(|| text.expose()) };
            let handed_over = match (&mut file, command.json) {
                (Some(file), _) => file.write(&text),
                (None, true) => json(out, &document),
                (None, false) => say(out, format_args!("{}", text.expose().trim_end())),
            };
            if let Err(error) = handed_over.and_then(|()| out.flush().map_err(stdout)) {
                if file.as_ref().is_none_or(|file| !file.written) {
                    // Nobody has them and nobody can get them again: only their name would be taken.
                    let _ = namespaces.delete_credentials(&info.namespace_id, &info.id);
                }
                return Err(error);
            }
            match output {
                Some(_) if command.json => json(out, &document),
                Some(path) => say(
                    err,
                    format_args!(
                        "credentials {name:?} of namespace {:?} written to {}",
                        info.namespace,
                        path.display()
                    ),
                ),
                None => Ok(()),
            }
        }
        CredentialsVerb::List { namespace } => {
            let all = namespaces.list_credentials(namespace.as_deref())?;
            if command.json {
                return json(out, &all);
            }
            table(
                out,
                ["NAMESPACE", "NAME", "CREATED", "PUBLIC KEY"],
                all.iter().map(|info| {
                    [info.namespace.clone(), info.name.clone(), stamp(info.created_at), info.public_key.clone()]
                }),
            )
        }
        CredentialsVerb::Delete { namespace, name } => {
            let gone = namespaces.delete_credentials(namespace, name)?;
            if command.json {
                json(out, &gone)
            } else {
                say(err, format_args!("credentials {:?} of namespace {:?} deleted", gone.name, gone.namespace))
            }
        }
    }
}

/// What `credentials create --json` answers.
#[derive(Serialize)]
struct Created<'a> {
    #[serde(flatten)]
    info: &'a CredentialsInfo,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credentials: Option<&'a str>,
}

/// A file that did not exist before; gone again unless it is written.
struct NewFile<'a> {
    path: &'a Path,
    file: std::fs::File,
    written: bool,
}

impl NewFile<'_> {
    fn create(path: &Path) -> Result<NewFile<'_>, NamespaceError> {
        let file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| {
                match error.kind() {
                    io::ErrorKind::AlreadyExists => NamespaceError::AlreadyExists(format!("file {}", path.display())),
                    _ => NamespaceError::Io(path.to_owned(), error),
                }
            })?;
        Ok(NewFile { path, file, written: false })
    }

    fn write(&mut self, text: &Secret) -> Result<(), NamespaceError> {
        self.file
            .write_all(text.expose().as_bytes())
            .and_then(|()| self.file.sync_all())
            .map_err(NamespaceError::io(self.path))?;
        self.written = true;
        Ok(())
    }
}

impl Drop for NewFile<'_> {
    fn drop(&mut self) {
        if !self.written {
            let _ = std::fs::remove_file(self.path);
        }
    }
}

fn stdout(error: io::Error) -> NamespaceError {
    NamespaceError::Io("standard output".into(), error)
}

fn say(out: &mut dyn Write, text: std::fmt::Arguments<'_>) -> Result<(), NamespaceError> {
    writeln!(out, "{text}").map_err(stdout)
}

fn json<T: Serialize>(out: &mut dyn Write, value: &T) -> Result<(), NamespaceError> {
    serde_json::to_writer(&mut *out, value).map_err(|error| stdout(error.into()))?;
    say(out, format_args!(""))
}

fn stamp(at: OffsetDateTime) -> String {
    at.replace_nanosecond(0).unwrap_or(at).format(&Rfc3339).unwrap_or_default()
}

fn table<const N: usize>(
    out: &mut dyn Write,
    head: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> Result<(), NamespaceError> {
    let rows: Vec<[String; N]> = std::iter::once(head.map(str::to_owned)).chain(rows).collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.len());
        }
    }
    for row in &rows {
        let line: String = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}  ")).collect();
        say(out, format_args!("{}", line.trim_end()))?;
    }
    Ok(())
}
