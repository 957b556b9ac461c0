//! Walks over a text character by character, knowing the line and column: blanks, comments, quoted and bare words.

use std::sync::Arc;

use super::value::{Pos, SyntaxError};

/// A cursor in one text.
pub(super) struct Scanner<'a> {
    file: Arc<str>,
    rest: &'a str,
    line: u32,
    column: u32,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(file: Arc<str>, text: &'a str) -> Scanner<'a> {
        Scanner { file, rest: text.strip_prefix('\u{feff}').unwrap_or(text), line: 1, column: 1 }
    }

    pub(super) fn at(&self) -> Pos {
        Pos { file: Arc::clone(&self.file), line: self.line, column: self.column }
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        if c == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        Some(c)
    }

    /// Takes `c` if it is next.
    pub(super) fn eat(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        if found {
            self.next();
        }
        found
    }

    pub(super) fn at_comment(&self) -> bool {
        self.rest.starts_with('#') || self.rest.starts_with("//")
    }

    fn skip_line(&mut self) {
        while self.peek().is_some_and(|c| c != '\n') {
            self.next();
        }
    }

    /// Blanks inside a line.
    pub(super) fn skip_blanks(&mut self) {
        while self.peek().is_some_and(|c| c != '\n' && c.is_whitespace()) {
            self.next();
        }
    }

    /// Blanks, line ends and comments; also separators when `separators`.
    pub(super) fn skip_space(&mut self, separators: bool) {
        loop {
            match self.peek() {
                Some(c) if c.is_whitespace() || (separators && matches!(c, ',' | ';')) => {
                    self.next();
                }
                Some(_) if self.at_comment() => self.skip_line(),
                _ => return,
            }
        }
    }

    /// A key: quoted, or up to a blank or a separator.
    pub(super) fn key(&mut self) -> Result<String, SyntaxError> {
        match self.peek() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote),
            _ => {
                let start = self.rest;
                while self.peek().is_some_and(|c| !c.is_whitespace() && !matches!(c, ':' | '=' | '{' | '}' | ',' | ';'))
                {
                    self.next();
                }
                Ok(start[..start.len() - self.rest.len()].to_owned())
            }
        }
    }

    /// A string in quotes; the cursor is on the opening one. Escapes exist in double quotes only.
    pub(super) fn quoted(&mut self, quote: char) -> Result<String, SyntaxError> {
        let opened = self.at();
        self.next();
        let mut text = String::new();
        loop {
            let at = self.at();
            match self.next() {
                None => return Err(SyntaxError::new(opened, "this string has no closing quote")),
                Some(c) if c == quote => return Ok(text),
                Some('\\') if quote == '"' => self.escape(at, &mut text)?,
                Some(c) => text.push(c),
            }
        }
    }

    fn escape(&mut self, at: Pos, text: &mut String) -> Result<(), SyntaxError> {
        let bad = |why: &str| SyntaxError::new(at.clone(), why.to_owned());
        match self.next() {
            Some('n') => text.push('\n'),
            Some('t') => text.push('\t'),
            Some('r') => text.push('\r'),
            Some('b') => text.push('\u{8}'),
            Some('f') => text.push('\u{c}'),
            Some(c @ ('"' | '\\' | '/' | '\'')) => text.push(c),
            Some('x') => {
                // Bytes above 0x7f would have to be put together to UTF-8 by the writer: characters or \u do that.
                let code = self
                    .hex(2)
                    .filter(|code| *code < 0x80)
                    .ok_or_else(|| bad("\\x needs two hexadecimal digits below 80"))?;
                text.extend(char::from_u32(code));
            }
            Some('u') => {
                let first = self.hex(4).ok_or_else(|| bad("\\u needs four hexadecimal digits"))?;
                let code = match first {
                    0xd800..=0xdbff => {
                        if !(self.eat('\\') && self.eat('u')) {
                            return Err(bad("the second half of this \\u pair is missing"));
                        }
                        let second = self
                            .hex(4)
                            .filter(|low| (0xdc00..=0xdfff).contains(low))
                            .ok_or_else(|| bad("the second half of this \\u pair is wrong"))?;
                        0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
                    }
                    code => code,
                };
                text.push(char::from_u32(code).ok_or_else(|| bad("this \\u escape is no character"))?);
            }
            _ => return Err(bad("unknown escape: use \\\\ \\\" \\n \\r \\t \\xHH or \\uHHHH")),
        }
        Ok(())
    }

    fn hex(&mut self, digits: usize) -> Option<u32> {
        let mut code = 0;
        for _ in 0..digits {
            code = code * 16 + self.peek()?.to_digit(16)?;
            self.next();
        }
        Some(code)
    }

    /// A bare word: up to a blank, a separator or a closing bracket.
    pub(super) fn word(&mut self) -> &'a str {
        let start = self.rest;
        while self.peek().is_some_and(|c| !c.is_whitespace() && !matches!(c, ',' | ';' | ']' | '}' | '\'')) {
            self.next();
        }
        &start[..start.len() - self.rest.len()]
    }

    /// A block string: everything between `(` and a line that is only `)`.
    pub(super) fn block(&mut self) -> Result<String, SyntaxError> {
        let opened = self.at();
        self.next();
        let mut text = String::new();
        loop {
            let line = self.rest.split_inclusive('\n').next().unwrap_or_default();
            if line.is_empty() {
                return Err(SyntaxError::new(opened, "this block string has no line with only `)` at its end"));
            }
            if line.trim() == ")" {
                while self.next() != Some(')') {}
                return Ok(text);
            }
            text.push_str(line);
            for _ in line.chars() {
                self.next();
            }
        }
    }
}
