//! The language: what it accepts, what it refuses and where, and that no text makes it panic or hang.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Node, Source, SyntaxError, Value, parse};

/// Files and variables of a test.
#[derive(Default)]
struct Fake {
    files: HashMap<&'static str, String>,
    variables: HashMap<&'static str, &'static str>,
}

impl Source for Fake {
    fn read(&self, path: &Path) -> std::io::Result<String> {
        self.files.get(path.to_str().unwrap()).cloned().ok_or_else(|| std::io::ErrorKind::NotFound.into())
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).map(|text| (*text).to_owned())
    }
}

fn read(text: &str) -> Result<Node, SyntaxError> {
    parse(Path::new("a.conf"), text, &Fake::default())
}

/// A tree as short text, to compare with.
fn show(node: &Node) -> String {
    match &node.value {
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => format!("{value:?}"),
        Value::Text(text) => format!("{text:?}"),
        Value::Array(nodes) => format!("[{}]", nodes.iter().map(show).collect::<Vec<_>>().join(",")),
        Value::Map(entries) => {
            let inner: Vec<_> = entries.iter().map(|entry| format!("{}:{}", entry.key, show(&entry.node))).collect();
            format!("{{{}}}", inner.join(","))
        }
    }
}

fn shown(text: &str) -> String {
    show(&read(text).unwrap_or_else(|error| panic!("{text:?}: {error}")))
}

fn refused(text: &str) -> String {
    read(text).map(|node| show(&node)).expect_err(text).to_string()
}

#[test]
fn separators_comments_and_brackets() {
    assert_eq!(shown("a: 1\nb = 2\nc 3 # end\n// all\nd{e:1,f:2;g:3}"), "{a:1,b:2,c:3,d:{e:1,f:2,g:3}}");
    assert_eq!(shown("a = [1, 2\n 3 // x\n,4]"), "{a:[1,2,3,4]}");
    assert_eq!(shown("accounts\n{\n}\nx\n[\n]\n"), "{accounts:{},x:[]}");
    assert_eq!(shown("{\"a\": {\"b\": [true, \"x\"]}, \"c\": 1.5}"), "{a:{b:[true,\"x\"]},c:1.5}");
    assert_eq!(shown("\u{feff}a: 1\r\nb: two\r\n"), "{a:1,b:\"two\"}");
    assert_eq!(shown(""), "{}");
    assert_eq!(shown("a: 1, a: 2"), "{a:2}");
}

#[test]
fn strings_and_words() {
    assert_eq!(shown(r#"a: "q\"\\\n\t\x41\u00e9\ud83d\ude00 $X #no""#), "{a:\"q\\\"\\\\\\n\\tAé😀 $X #no\"}");
    assert_eq!(shown(r"a: 'raw \n 😀'"), r#"{a:"raw \\n 😀"}"#);
    assert_eq!(shown("a: nats://u:p@h:4222/x?y=1#z"), "{a:\"nats://u:p@h:4222/x?y=1#z\"}");
    assert_eq!(
        shown("a: foo.>\nb: $\nc: 127.0.0.1:4222\nd: 2s\ne: -1\nf: 64MiB\ng: a-b"),
        "{a:\"foo.>\",b:\"$\",c:\"127.0.0.1:4222\",d:\"2s\",e:-1,f:67108864,g:\"a-b\"}"
    );
    assert_eq!(shown("a: yes\nb: Off\nc: TRUE\nd: enabled"), "{a:true,b:false,c:true,d:\"enabled\"}");
    assert_eq!(
        shown("a: $2a$11$3kIDaCxw.Glsl1.u5nKa6eUnNDLV5HV9tIuUp7EHhMt6Nm9myW1aS"),
        "{a:\"$2a$11$3kIDaCxw.Glsl1.u5nKa6eUnNDLV5HV9tIuUp7EHhMt6Nm9myW1aS\"}"
    );
    assert_eq!(shown("a: (\n one\n two)\n )\nb: 1"), "{a:\"\\n one\\n two)\\n\",b:1}");
    assert_eq!(shown("'k y': 1\n\"z\": 2"), "{k y:1,z:2}");
}

#[test]
fn variables_are_looked_up_from_the_inside_out() {
    assert_eq!(shown("X: 1\na { X: 2, b: $X, c { d: $X } }\ne: $X"), "{X:1,a:{X:2,b:2,c:{d:2}},e:1}");
    assert_eq!(
        shown("P { publish: x }\nusers [ { permissions: $P } ]"),
        "{P:{publish:\"x\"},users:[{permissions:{publish:\"x\"}}]}"
    );
    let fake = Fake {
        variables: [("PORT", "-1"), ("NAME", "'a b'"), ("NEXT", "$PORT"), ("SELF", "$SELF"), ("BAD", "[1")].into(),
        ..Fake::default()
    };
    let with =
        |text: &str| parse(Path::new("a.conf"), text, &fake).map(|node| show(&node)).map_err(|error| error.to_string());
    assert_eq!(with("a: $PORT, b: $NAME, c: $NEXT").unwrap(), "{a:-1,b:\"a b\",c:-1}");
    assert_eq!(with("PORT: 5, a: $PORT").unwrap(), "{PORT:5,a:5}");
    assert_eq!(with("a: $SELF").unwrap_err().split(": ").next(), Some("a.conf:1:4"));
    assert!(with("a: $BAD").unwrap_err().starts_with("a.conf:1:4: in variable \"$BAD\""));
    assert_eq!(with("\na: $MISSING").unwrap_err(), "a.conf:2:4: variable \"$MISSING\" is not defined");
}

#[test]
fn included_files_stand_where_they_are_named() {
    let files = [("d/b.conf", "X: 7\nuser: u"), ("d/c.conf", "include 'c.conf'"), ("d/e.conf", "{ a: 1 }")]
        .map(|(path, text)| (path, text.to_owned()));
    let fake = Fake { files: files.into(), ..Fake::default() };
    let with = |text: &str| {
        parse(Path::new("d/a.conf"), text, &fake).map(|node| show(&node)).map_err(|error| error.to_string())
    };
    assert_eq!(
        with("include b.conf\nauthorization { include \"./b.conf\"\n port: $X }").unwrap_err(),
        "d/a.conf:2:25: cannot read the included file \"./b.conf\": entity not found"
    );
    assert_eq!(
        with("include b.conf\nauthorization { include \"b.conf\"\n port: $X }").unwrap(),
        "{X:7,user:\"u\",authorization:{X:7,user:\"u\",port:7}}"
    );
    assert_eq!(with("x { include e.conf }").unwrap(), "{x:{a:1}}");
    assert_eq!(with("include c.conf").unwrap_err(), "d/c.conf:1:9: file \"c.conf\" includes itself");
}

#[test]
fn errors_say_where() {
    for (text, error) in [
        ("a: ", "a.conf:1:4: \"a\" has no value"),
        ("a:\n b", "a.conf:1:3: \"a\" has no value"),
        ("x: 1\n  a", "a.conf:2:4: \"a\" has no value"),
        ("a: \"x", "a.conf:1:4: this string has no closing quote"),
        ("a: \"\\q\"", "a.conf:1:5: unknown escape: use \\\\ \\\" \\n \\r \\t \\xHH or \\uHHHH"),
        ("a: [1, 2", "a.conf:1:4: this list has no closing `]`"),
        ("a { b: 1", "a.conf:1:9: the file ends inside a block: a `}` is missing"),
        ("a: 1 }", "a.conf:1:6: unexpected `}`: no block is open here"),
        ("a: 1 b: 2", "a.conf:1:6: expected a line end, `,` or `}` after the value"),
        ("a: [1 2]", "a.conf:1:7: expected a line end, `,` or `]` after the value"),
        ("a: 99999999999999999999", "a.conf:1:4: this number is too large"),
        (": 1", "a.conf:1:1: a name is missing here"),
        ("a: (x", "a.conf:1:4: this block string has no line with only `)` at its end"),
    ] {
        assert_eq!(refused(text), error, "{text:?}");
    }
}

#[test]
fn depth_and_repetition_are_bounded() {
    assert!(refused(&"a{".repeat(10_000)).contains("nested too deeply"));
    assert!(refused(&format!("a: {}", "[".repeat(10_000))).contains("nested too deeply"));
    let doubling: String = (0..40).map(|n| format!("a{} = [$a{n}, $a{n}]\n", n + 1)).collect();
    assert!(refused(&format!("a0 = [1]\n{doubling}")).contains("too large"));
    let deeper: String = (0..100).map(|n| format!("a{} = {{ x: $a{n} }}\n", n + 1)).collect();
    assert!(refused(&format!("a0 = 1\n{deeper}")).contains("nested too deeply"));
}

#[test]
fn many_keys_are_read_in_time() {
    let text: String = (0..100_000).map(|n| format!("k{n}: $k{}\n", n / 2)).collect();
    let started = Instant::now();
    read(&format!("k0: 1\n{}", text.split_once('\n').unwrap().1)).unwrap();
    assert!(started.elapsed() < Duration::from_secs(10));
}

/// Texts with everything in them, to mutate.
const SEEDS: [&str; 4] = [
    "listen: 127.0.0.1:-1\nauthorization { users = [ {user: a, password: \"$2a$11$x\", permissions { publish: [\"a\", 'b.>'], sub {deny: $X}}} ] timeout: 2.5 }",
    "X = { a: [1, 2, {b: c}] }\ny: $X\ninclude b.conf\nz: \"\\u00e9\\x41\\n\" // end\nsize: 64MB; dur: 2s, neg = -1",
    "{\"accounts\": {\"A\": {\"jetstream\": true, \"users\": [{\"nkey\": \"U\"}]}}, \"t\": (\nblock\n)\n}",
    "\u{feff}# c\nleafnodes { listen: 127.0.0.1:-1 }\nserver_tags [ id:1, 'x y' ]\n",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_mutated_text_panics_or_hangs(seed in 0..SEEDS.len(), edits in prop::collection::vec((any::<prop::sample::Index>(), 0..4u8, "[\\PC\\n\"'{}\\[\\]()$\\\\,;:=#/-]{0,3}"), 1..12)) {
        let mut text: Vec<char> = SEEDS[seed].chars().collect();
        for (at, kind, new) in edits {
            let at = at.index(text.len() + 1);
            match kind {
                0 => { text.splice(at..at, new.chars()); }
                1 => { text.drain(at..(at + new.chars().count()).min(text.len())); }
                2 => text.truncate(at.max(1)),
                _ => { let tail: Vec<char> = text[at..].to_vec(); text.extend(tail); }
            }
        }
        let text: String = text.into_iter().take(20_000).collect();
        let fake = Fake { files: [("b.conf", "q: 1\ninclude b.conf".to_owned())].into(), variables: [("X", "$X")].into() };
        let started = Instant::now();
        if let Err(error) = parse(Path::new(""), &text, &fake) {
            prop_assert!(error.at.line >= 1 && error.at.column >= 1);
        }
        prop_assert!(started.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn any_text_at_all_is_read_or_refused(text in "\\PC*") {
        let _ = read(&text);
    }

    #[test]
    fn quoted_strings_come_back_as_they_were(text in "\\PC{0,40}") {
        let quoted: String = text.chars().flat_map(|c| if matches!(c, '"' | '\\') { vec!['\\', c] } else { vec![c] }).collect();
        prop_assert_eq!(shown(&format!("a: \"{quoted}\"")), format!("{{a:{text:?}}}"));
    }
}
