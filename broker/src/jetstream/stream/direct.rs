//! Direct gets: messages as they are, without JSON; single ones, batches, and the last of many subjects.

use natsune_protocol::encode::number;

use super::super::api::Call;
use super::super::clock::Timestamp;
use super::super::filter::Filter;
use super::super::headers;
use super::super::json as documents;
use super::Stream;
use super::admin::GetRequest;
use crate::router::Delivery;
use crate::store::Stored;

/// Subjects one request may ask the last message of.
const MULTI: usize = 1024;
/// Bytes of one batch when the request says nothing.
const BYTES: usize = 64 << 20;

impl Stream {
    pub(super) fn direct_get(&mut self, call: &Call) {
        if let Err(line) = self.try_direct_get(call) {
            self.host.send_head(&call.reply, &format!("NATS/1.0 {line}\r\n\r\n"));
        }
    }

    fn try_direct_get(&mut self, call: &Call) -> Result<(), &'static str> {
        if call.too_new {
            return Err("412 Required Api Level");
        }
        let mut request = if call.body.is_empty() {
            GetRequest::default()
        } else {
            documents::request(&call.body).map_err(|_| "408 Malformed Request")?
        };
        let nothing = request.seq == 0
            && request.last_by_subj.is_empty()
            && request.next_by_subj.is_empty()
            && request.multi_last.is_empty()
            && request.start_time.is_none();
        if !call.rest.is_empty() {
            if !nothing || request.batch != 0 || request.up_to_seq != 0 || request.up_to_time.is_some() {
                return Err("408 Bad Request");
            }
            request.last_by_subj.clone_from(&call.rest);
        } else if nothing {
            return Err("408 Empty Request");
        }
        let (seq, time) = (request.seq > 0, request.start_time.is_some());
        let (last, next) = (!request.last_by_subj.is_empty(), !request.next_by_subj.is_empty());
        let multi = !request.multi_last.is_empty();
        if last && (seq || time || next || multi || request.batch > 0)
            || seq && time
            || next && multi
            || request.up_to_seq > 0 && request.up_to_time.is_some()
        {
            return Err("408 Bad Request");
        }
        if multi {
            return self.direct_multi(call, &request);
        }
        if request.batch > 0 {
            return self.direct_batch(call, &request);
        }
        let seq = request.start_time.map_or(request.seq, |time| self.index.seq_at(time.0));
        let found = if next {
            self.index.next_for(&request.next_by_subj, seq)
        } else if last {
            self.index.last_for(&request.last_by_subj)
        } else {
            Some(seq)
        };
        let stored = self.load(found).map_err(|_| "500 Message Not Readable")?.ok_or("404 Message Not Found")?;
        self.send_direct(&call.reply, &stored, None, request.no_hdr);
        Ok(())
    }

    /// Sends one message; `batch` tells how many are to come and which one was before.
    fn send_direct(&self, to: &str, stored: &Stored, batch: Option<(u64, u64)>, bare: bool) {
        let head = (!bare).then(|| {
            let (seq, time) = (stored.seq.to_string(), Timestamp(stored.ts).to_string());
            let (pending, last) = batch.map(|(p, l)| (p.to_string(), l.to_string())).unwrap_or_default();
            let mut lines = vec![
                ("Nats-Stream", self.handle.name.as_str()),
                ("Nats-Subject", std::str::from_utf8(&stored.subject).unwrap_or_default()),
                ("Nats-Sequence", &seq),
                ("Nats-Time-Stamp", &time),
            ];
            if batch.is_some() {
                lines.extend([("Nats-Num-Pending", pending.as_str()), ("Nats-Last-Sequence", last.as_str())]);
            }
            headers::extend(&stored.headers, lines)
        });
        self.host.account.publish(&Delivery {
            subject: to,
            reply: None,
            headers: head.as_deref(),
            payload: &stored.payload,
            origin: 0,
        });
    }

    fn direct_batch(&mut self, call: &Call, request: &GetRequest) -> Result<(), &'static str> {
        let mut seq = request.start_time.map_or(request.seq, |time| self.index.seq_at(time.0));
        let filter = match request.next_by_subj.as_str() {
            "" => Filter::default(),
            pattern => Filter::new([pattern]),
        };
        let mut pending = self.index.count_matching(&filter, seq);
        let limit = usize::try_from(request.max_bytes).ok().filter(|bytes| *bytes > 0).unwrap_or(BYTES);
        let (mut last, mut bytes) = (0, 0);
        for sent in 0..request.batch {
            let next = match request.next_by_subj.as_str() {
                "" => self.index.next(seq).map(|(seq, _)| seq),
                pattern => self.index.next_for(pattern, seq),
            };
            let Some(stored) = next.and_then(|seq| self.read(seq)) else {
                if sent == 0 {
                    return Err("404 Message Not Found");
                }
                break;
            };
            pending = pending.saturating_sub(1);
            self.send_direct(&call.reply, &stored, Some((pending, last)), request.no_hdr);
            (last, seq) = (stored.seq, stored.seq + 1);
            bytes += stored.subject.len() + stored.headers.len() + stored.payload.len();
            if bytes >= limit {
                break;
            }
        }
        self.end_batch(&call.reply, pending, last, None);
        Ok(())
    }

    fn direct_multi(&mut self, call: &Call, request: &GetRequest) -> Result<(), &'static str> {
        let mut until = request.up_to_seq;
        if let Some(time) = request.up_to_time {
            let after = self.index.seq_at(time.0);
            if after <= self.index.first_seq() {
                return Err("404 No Results");
            }
            until = after - 1;
        }
        if until == 0 {
            until = self.index.last_seq();
        }
        let mut ids: Vec<u32> =
            request.multi_last.iter().flat_map(|pattern| self.index.subjects.matching(pattern)).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut seqs: Vec<u64> = ids.iter().filter_map(|id| self.index.subjects.last_until(*id, until)).collect();
        seqs.retain(|seq| *seq >= request.seq);
        seqs.sort_unstable();
        if seqs.len() > MULTI {
            return Err("413 Too Many Results");
        }
        if seqs.is_empty() {
            return Err("404 No Results");
        }
        let limit = usize::try_from(request.max_bytes).ok().filter(|bytes| *bytes > 0).unwrap_or(BYTES);
        let most = usize::try_from(request.batch).ok().filter(|most| *most > 0).unwrap_or(usize::MAX);
        let (mut last, mut bytes, mut pending) = (0, 0, seqs.len() as u64);
        for seq in seqs.into_iter().take(most) {
            let Some(stored) = self.read(seq) else { return Err("404 Message Not Found") };
            pending -= 1;
            self.send_direct(&call.reply, &stored, Some((pending, last)), request.no_hdr);
            last = seq;
            bytes += stored.subject.len() + stored.headers.len() + stored.payload.len();
            if bytes >= limit {
                break;
            }
        }
        self.end_batch(&call.reply, pending, last, Some(until));
        Ok(())
    }

    fn end_batch(&self, to: &str, pending: u64, last: u64, until: Option<u64>) {
        let mut head = b"NATS/1.0 204 EOB\r\nNats-Num-Pending: ".to_vec();
        number(&mut head, pending);
        head.extend_from_slice(b"\r\nNats-Last-Sequence: ");
        number(&mut head, last);
        if let Some(until) = until {
            head.extend_from_slice(b"\r\nNats-UpTo-Sequence: ");
            number(&mut head, until);
        }
        head.extend_from_slice(b"\r\n\r\n");
        self.host.send_head(to, std::str::from_utf8(&head).unwrap_or_default());
    }
}
