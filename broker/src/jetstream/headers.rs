//! The headers JetStream reads and writes, on raw blocks: parsed once, changed rarely.

use natsune_protocol::header_lines;

/// What a publish asks for in its headers.
#[derive(Debug, Default, Clone, Copy)]
#[allow(missing_docs)] // named like the headers, without `Nats-`
pub struct Marks<'a> {
    pub msg_id: Option<&'a str>,
    pub expected_stream: Option<&'a str>,
    pub expected_last_sequence: Option<&'a str>,
    pub expected_last_subject_sequence: Option<&'a str>,
    pub expected_last_subject_sequence_subject: Option<&'a str>,
    pub expected_last_msg_id: Option<&'a str>,
    pub rollup: Option<&'a str>,
    pub ttl: Option<&'a str>,
    pub incr: Option<&'a str>,
    pub batch_id: Option<&'a str>,
    pub schedule: Option<&'a str>,
    pub stream_source: Option<&'a str>,
}

impl<'a> Marks<'a> {
    /// Reads a block in one pass; the first value of a header counts, an empty one does not.
    pub fn read(block: &'a [u8]) -> Marks<'a> {
        let mut marks = Marks::default();
        if block.is_empty() {
            return marks;
        }
        for (name, value) in header_lines(block) {
            let Some(name) = name.strip_prefix(b"Nats-") else { continue };
            let slot = match name {
                b"Msg-Id" => &mut marks.msg_id,
                b"Expected-Stream" => &mut marks.expected_stream,
                b"Expected-Last-Sequence" => &mut marks.expected_last_sequence,
                b"Expected-Last-Subject-Sequence" => &mut marks.expected_last_subject_sequence,
                b"Expected-Last-Subject-Sequence-Subject" => &mut marks.expected_last_subject_sequence_subject,
                b"Expected-Last-Msg-Id" => &mut marks.expected_last_msg_id,
                b"Rollup" => &mut marks.rollup,
                b"TTL" => &mut marks.ttl,
                b"Incr" => &mut marks.incr,
                b"Batch-Id" => &mut marks.batch_id,
                b"Schedule" => &mut marks.schedule,
                b"Stream-Source" => &mut marks.stream_source,
                _ => continue,
            };
            if slot.is_none() {
                *slot = std::str::from_utf8(value).ok().map(str::trim_end).filter(|value| !value.is_empty());
            }
        }
        marks
    }
}

/// The block with lines added; an empty block begins a new one.
pub fn extend<'v>(block: &[u8], lines: impl IntoIterator<Item = (&'v str, &'v str)>) -> Vec<u8> {
    let open = block.strip_suffix(b"\r\n").unwrap_or(b"NATS/1.0\r\n");
    let mut out = Vec::with_capacity(open.len() + 128);
    out.extend_from_slice(open);
    for (name, value) in lines {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// The block with one header set to a value.
pub fn replace(block: &[u8], name: &str, value: &str) -> Vec<u8> {
    let kept: Vec<(&str, &str)> = header_lines(block)
        .filter(|(have, _)| *have != name.as_bytes())
        .filter_map(|(name, value)| Some((std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?)))
        .collect();
    extend(b"", kept.into_iter().chain([(name, value)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_in_one_pass() {
        let block = b"NATS/1.0\r\nNats-Msg-Id: a\r\nX: y\r\nNats-Expected-Last-Sequence: 7\r\nNats-Msg-Id: b\r\nNats-Rollup: \r\n\r\n";
        let marks = Marks::read(block);
        assert_eq!((marks.msg_id, marks.expected_last_sequence, marks.rollup), (Some("a"), Some("7"), None));
        assert!(Marks::read(b"").msg_id.is_none());
    }

    #[test]
    fn blocks_grow_and_change() {
        assert_eq!(extend(b"", [("A", "1")]), b"NATS/1.0\r\nA: 1\r\n\r\n");
        assert_eq!(extend(b"NATS/1.0\r\nB: 2\r\n\r\n", [("A", "1")]), b"NATS/1.0\r\nB: 2\r\nA: 1\r\n\r\n");
        assert_eq!(replace(b"NATS/1.0\r\nA: 1\r\nB: 2\r\n\r\n", "A", "3"), b"NATS/1.0\r\nB: 2\r\nA: 3\r\n\r\n");
    }
}
