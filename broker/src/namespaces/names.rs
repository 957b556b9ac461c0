//! Names of namespaces and credentials: they become file names of users, so little is allowed.

use super::error::NamespaceError;

/// Longest name.
const LONGEST: usize = 64;

pub(super) fn check(kind: &str, name: &str) -> Result<(), NamespaceError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ' ');
    let why = if name.is_empty() {
        "is empty"
    } else if name.len() > LONGEST {
        "is longer than 64 characters"
    } else if !name.chars().all(allowed) {
        "may only hold letters, digits, `.`, `_`, `-` and blanks"
    } else if !name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') || name.ends_with([' ', '.']) {
        "must begin with a letter, a digit or `_`, and not end with a blank or `.`"
    } else {
        return Ok(());
    };
    Err(NamespaceError::InvalidName(format!("the name of {kind} {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_safe_as_file_names() {
        for name in ["shop", "a", "Shop 2", "a.b-c_d", "_x", "0", &"x".repeat(64)] {
            assert!(check("a namespace", name).is_ok(), "{name}");
        }
        for name in
            ["", " a", "a ", "a.", ".", "..", ".a", "-x", "a/b", "a\\b", "a\0", "a\nb", "é", "a*", &"x".repeat(65)]
        {
            assert!(check("a namespace", name).is_err(), "{name}");
        }
    }
}
