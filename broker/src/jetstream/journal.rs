//! How a consumer's state is kept in the store: a snapshot, and small deltas since, runs of neighbours folded into one.

/// Appends an unsigned number, seven bits a byte.
pub fn push(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed number.
pub fn push_signed(out: &mut Vec<u8>, value: i64) {
    push(out, (value as u64) << 1 ^ (value >> 63) as u64);
}

/// Reads numbers back; `None` at the end or when the bytes make no sense.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(pub &'a [u8]);

impl Reader<'_> {
    /// An unsigned number.
    pub fn number(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A signed number.
    pub fn signed(&mut self) -> Option<i64> {
        let value = self.number()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// One byte.
    pub fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    /// A length and that many bytes.
    pub fn bytes(&mut self) -> Option<&[u8]> {
        let len = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }
}

/// One change of a consumer's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delta {
    /// `run` messages from `seq` on were delivered, with consumer sequences from `dseq` on.
    Delivered {
        /// First consumer sequence.
        dseq: u64,
        /// First stream sequence.
        seq: u64,
        /// How many neighbours.
        run: u64,
        /// The how-manieth delivery of each.
        count: u64,
        /// When.
        ts: i64,
    },
    /// `run` messages from `seq` on are done.
    Done {
        /// First stream sequence.
        seq: u64,
        /// How many neighbours.
        run: u64,
    },
    /// Everything up to this is done.
    DoneUpTo {
        /// Stream sequence.
        seq: u64,
        /// Consumer sequence.
        dseq: u64,
    },
    /// The message is due again at another time.
    Due {
        /// Stream sequence.
        seq: u64,
        /// When.
        at: i64,
    },
    /// The message was delivered as often as allowed.
    Exhausted {
        /// Stream sequence.
        seq: u64,
    },
}

/// The deltas since the last note was taken.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    bytes: Vec<u8>,
    open: Option<Delta>,
}

impl Journal {
    /// Adds a change; neighbours are folded.
    pub fn push(&mut self, delta: Delta) {
        match (&mut self.open, delta) {
            (
                Some(Delta::Delivered { dseq, seq, run, count: 1, ts }),
                Delta::Delivered { dseq: d, seq: s, run: 1, count: 1, ts: t },
            ) if *dseq + *run == d && *seq + *run == s && *ts == t => *run += 1,
            (Some(Delta::Done { seq, run }), Delta::Done { seq: s, run: 1 }) if *seq + *run == s => *run += 1,
            _ => {
                self.flush();
                self.open = Some(delta);
            }
        }
    }

    fn flush(&mut self) {
        let Some(delta) = self.open.take() else { return };
        let out = &mut self.bytes;
        match delta {
            Delta::Delivered { dseq, seq, run, count, ts } => {
                out.push(1);
                [dseq, seq, run, count].into_iter().for_each(|value| push(out, value));
                push_signed(out, ts);
            }
            Delta::Done { seq, run } => {
                out.push(2);
                [seq, run].into_iter().for_each(|value| push(out, value));
            }
            Delta::DoneUpTo { seq, dseq } => {
                out.push(3);
                [seq, dseq].into_iter().for_each(|value| push(out, value));
            }
            Delta::Due { seq, at } => {
                out.push(4);
                push(out, seq);
                push_signed(out, at);
            }
            Delta::Exhausted { seq } => {
                out.push(5);
                push(out, seq);
            }
        }
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.open.is_none()
    }

    /// Takes what changed, ready to be stored.
    pub fn take(&mut self) -> Vec<u8> {
        self.flush();
        std::mem::take(&mut self.bytes)
    }

    /// Forgets what changed: a snapshot says it all.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.open = None;
    }
}

/// Reads the deltas of one note; stops where they make no sense.
pub fn deltas(note: &[u8]) -> impl Iterator<Item = Delta> {
    let mut reader = Reader(note);
    std::iter::from_fn(move || {
        Some(match reader.byte()? {
            1 => Delta::Delivered {
                dseq: reader.number()?,
                seq: reader.number()?,
                run: reader.number()?,
                count: reader.number()?,
                ts: reader.signed()?,
            },
            2 => Delta::Done { seq: reader.number()?, run: reader.number()? },
            3 => Delta::DoneUpTo { seq: reader.number()?, dseq: reader.number()? },
            4 => Delta::Due { seq: reader.number()?, at: reader.signed()? },
            5 => Delta::Exhausted { seq: reader.number()? },
            _ => return None,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_folded_and_read_back() {
        let mut journal = Journal::default();
        for i in 0..100 {
            journal.push(Delta::Delivered { dseq: 1 + i, seq: 10 + i, run: 1, count: 1, ts: 77 });
        }
        journal.push(Delta::Delivered { dseq: 101, seq: 10, run: 1, count: 2, ts: 78 });
        for i in 0..50 {
            journal.push(Delta::Done { seq: 10 + i, run: 1 });
        }
        journal.push(Delta::DoneUpTo { seq: 100, dseq: 90 });
        journal.push(Delta::Due { seq: 105, at: -5 });
        journal.push(Delta::Exhausted { seq: 106 });
        let note = journal.take();
        assert!(note.len() < 40, "{}", note.len());
        assert!(journal.is_empty());
        let read: Vec<Delta> = deltas(&note).collect();
        assert_eq!(
            read,
            [
                Delta::Delivered { dseq: 1, seq: 10, run: 100, count: 1, ts: 77 },
                Delta::Delivered { dseq: 101, seq: 10, run: 1, count: 2, ts: 78 },
                Delta::Done { seq: 10, run: 50 },
                Delta::DoneUpTo { seq: 100, dseq: 90 },
                Delta::Due { seq: 105, at: -5 },
                Delta::Exhausted { seq: 106 },
            ]
        );
        assert_eq!(deltas(&note[..note.len() - 1]).count(), 5);
        assert_eq!(deltas(&[200]).count(), 0);
    }

    proptest::proptest! {
        #[test]
        fn numbers_round_trip(value: u64, signed: i64) {
            let mut out = Vec::new();
            push(&mut out, value);
            push_signed(&mut out, signed);
            let mut reader = Reader(&out);
            proptest::prop_assert_eq!(reader.number(), Some(value));
            proptest::prop_assert_eq!(reader.signed(), Some(signed));
            proptest::prop_assert_eq!(reader.number(), None);
        }
    }
}
