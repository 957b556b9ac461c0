//! The query of a request: `?subs=1&limit=10`.

/// Parameters, looked up by name; the last of the same name counts.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn new(text: &str) -> Query {
        let pairs = text.split('&').rev().map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Query(pairs.map(|(name, value)| (decode(name), decode(value))).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that is on or off.
    pub(super) fn is_on(&self, name: &str) -> bool {
        matches!(self.get(name), Some("1" | "true" | "t" | "T" | "True" | "TRUE"))
    }

    /// A number; `Err` says what was wrong.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, String> {
        match self.get(name) {
            None | Some("") => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| format!("{name} must be a number that is not negative")),
        }
    }
}

/// Without the `%41` and `+` that most clients write: names of accounts begin with `$`.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let code = match after {
            [high, low, ..] if *first == b'%' => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                digit(high).zip(digit(low)).and_then(|(high, low)| u8::try_from(high * 16 + low).ok())
            }
            _ => None,
        };
        bytes.push(code.unwrap_or(if *first == b'+' { b' ' } else { *first }));
        rest = if code.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::Query;

    #[test]
    fn finds_parameters() {
        let query = Query::new("subs=1&limit=10&auth&offset=-1");
        assert!(query.is_on("subs") && !query.is_on("auth"));
        assert_eq!(query.number("limit"), Ok(Some(10)));
        assert_eq!(query.number("cid"), Ok(None));
        assert!(query.number("offset").is_err());
        let query = Query::new("acc=%24G&user=a+b%2b%c3%A9&x=%&y=%4&z=%zz");
        assert_eq!((query.get("acc"), query.get("user")), (Some("$G"), Some("a b+é")));
        assert_eq!((query.get("x"), query.get("y"), query.get("z")), (Some("%"), Some("%4"), Some("%zz")));
    }
}
