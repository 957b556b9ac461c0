//! Making, changing and removing consumers.

use std::sync::PoisonError;

use serde::Deserialize;
use serde_json::json;

use super::super::api::{self, Call, Verb};
use super::super::clock::{SECOND, Timestamp};
use super::super::consumer::Consumer;
use super::super::consumer_check::{check, check_update, set_defaults};
use super::super::consumer_config::{AckPolicy, ConsumerConfig, DeliverPolicy};
use super::super::consumer_request::{Action, read};
use super::super::errors::{self, ApiError};
use super::super::ids;
use super::super::info::{ConsumerDoc, Page};
use super::super::json as documents;
use super::super::stream_check::MAX_NAME;
use super::super::stream_config::Retention;
use super::Stream;
use super::active::Active;
use super::commit::Reply;
use super::persist::consumer_key;
use crate::store::Op;

const DEFAULT_INACTIVE: i64 = 5 * SECOND;
const NAMES: usize = 1024;
const LIST: usize = 256;

impl Stream {
    pub(super) fn find_consumer(&self, name: &str) -> Result<u64, ApiError> {
        self.handle.consumer(name).ok_or(errors::CONSUMER_NOT_FOUND)
    }

    /// Makes a consumer or changes the one of that name.
    pub(super) fn create_consumer(&mut self, call: &Call) -> Result<(), ApiError> {
        let request = read(call)?;
        let mut config = request.config;
        let (limits, server) = (self.host.limits(), &self.host.server.limits);
        set_defaults(&mut config, &self.config, server, &limits, request.pedantic)?;
        check(&config, &self.config, server, &limits)?;
        if config.is_durable() {
            config.name.clone_from(&config.durable_name);
        }
        if config.name.len() > MAX_NAME {
            return Err(errors::consumer_name_too_long(MAX_NAME));
        }
        if !config.is_durable() && config.inactive_threshold == 0 {
            config.inactive_threshold = DEFAULT_INACTIVE;
        }
        match self.handle.consumer(&config.name) {
            Some(id) if !config.name.is_empty() => self.update_consumer(id, config, request.action, call),
            _ if request.action == Action::Update => Err(errors::CONSUMER_DOES_NOT_EXIST),
            _ => self.add_new_consumer(config, limits.max_consumers, call),
        }
    }

    fn add_new_consumer(&mut self, mut config: ConsumerConfig, limit: i64, call: &Call) -> Result<(), ApiError> {
        if !config.direct && !config.sourcing {
            let limit = match (self.config.max_consumers, limit) {
                (own, account) if own <= 0 || account > 0 && account < own => account,
                (own, _) => own,
            };
            let there = self.consumers.values().filter(|other| !other.config.direct && !other.config.sourcing).count();
            if limit > 0 && there as i64 >= limit {
                return Err(errors::MAX_CONSUMERS);
            }
            self.check_work_queue(&config, there)?;
        }
        while config.name.is_empty() {
            config.name = Some(ids::consumer()).filter(|name| self.handle.consumer(name).is_none()).unwrap_or_default();
        }
        config.set_static_metadata();
        let state = Consumer::start(&config, &self.index, self.config.max_msgs_per_subject == 1);
        let last = self.index.last_seq();
        let active = Active::new(&self.handle.name, config, Timestamp(self.now), state, last, self.now);
        let stored = active.persistent && self.is_durable();
        let id = self.add_consumer(active);
        self.attend_push(id);
        self.advise_consumer(id, "CREATED", "create");
        let answer = self.consumer_answer(Verb::ConsumerCreate, id);
        self.changed = true;
        if stored {
            let to = call.reply.clone();
            self.replies.push(Reply { to, verb: Some(Verb::ConsumerCreate), answer, undo: Some(id) });
        } else {
            self.publish_state();
            self.host.send(&call.reply, &answer);
        }
        Ok(())
    }

    /// In a work queue every message has one consumer.
    fn check_work_queue(&self, config: &ConsumerConfig, others: usize) -> Result<(), ApiError> {
        if self.config.retention != Retention::WorkQueue {
            return Ok(());
        }
        if config.ack_policy != AckPolicy::Explicit {
            return Err(errors::CONSUMER_WQ_REQUIRES_EXPLICIT_ACK);
        }
        if config.deliver_policy != DeliverPolicy::All {
            return Err(errors::CONSUMER_WQ_NOT_DELIVER_ALL);
        }
        if others > 0 && config.filters().is_empty() {
            return Err(errors::CONSUMER_WQ_MULTIPLE_UNFILTERED);
        }
        self.check_partition(config)
    }

    fn check_partition(&self, config: &ConsumerConfig) -> Result<(), ApiError> {
        let others = self
            .consumers
            .values()
            .filter(|other| other.name != config.name && !other.config.direct && !other.config.sourcing);
        for other in others {
            let theirs = other.config.filters();
            let overlaps = |mine: &&str| {
                theirs.is_empty() || theirs.iter().any(|filter| natsune_protocol::subject::overlaps(mine, filter))
            };
            if config.filters().iter().any(overlaps) {
                return Err(errors::CONSUMER_WQ_NOT_UNIQUE);
            }
        }
        Ok(())
    }

    fn update_consumer(
        &mut self,
        id: u64,
        mut new: ConsumerConfig,
        action: Action,
        call: &Call,
    ) -> Result<(), ApiError> {
        let Some(active) = self.consumers.get(&id) else { return Err(errors::CONSUMER_NOT_FOUND) };
        let old = active.config.clone();
        // A pause is ended by a call of its own.
        new.pause_until = old.pause_until;
        new.set_static_metadata();
        if action == Action::Create && !new.same_as(&old) {
            return Err(errors::CONSUMER_ALREADY_EXISTS);
        }
        if self.config.retention == Retention::WorkQueue {
            self.check_partition(&new)?;
        }
        check_update(&old, &new, old.is_push() && self.host.account.has_interest(&old.deliver_subject))?;
        if new == old {
            let answer = self.consumer_answer(Verb::ConsumerCreate, id);
            // Its creation may still be on the way to the disk.
            self.reply_when_stored(Verb::ConsumerCreate, call.reply.clone(), answer);
            return Ok(());
        }
        self.reconfigure(id, new);
        let answer = self.consumer_answer(Verb::ConsumerCreate, id);
        self.reply_when_stored(Verb::ConsumerCreate, call.reply.clone(), answer);
        Ok(())
    }

    fn reconfigure(&mut self, id: u64, new: ConsumerConfig) {
        let Some(mut active) = self.consumers.remove(&id) else { return };
        let moved = new.deliver_subject != active.config.deliver_subject;
        if moved {
            self.unwatch(&mut active);
        }
        let active = self.consumers.entry(id).or_insert(active);
        let refiltered = new.filters() != active.config.filters();
        active.config = new;
        active.state.update(&active.config, &self.index);
        active.waiting.configure(&active.config);
        if moved {
            let mut events = Vec::new();
            active.push = Some(super::push::Push::new(self.now));
            active.state.expire_all(&self.index, &mut events);
            self.events.extend(events.into_iter().map(|event| (id, event)));
            self.watch(id);
        }
        self.attend_push(id);
        self.touch(id);
        if refiltered {
            self.release_all_unneeded();
        }
    }

    /// Registers a consumer.
    pub(super) fn add_consumer(&mut self, active: Active) -> u64 {
        let id = self.next_consumer;
        self.next_consumer += 1;
        self.handle.consumers.write().unwrap_or_else(PoisonError::into_inner).insert(active.name.clone(), id);
        self.consumers.insert(id, active);
        self.watch(id);
        self.touch(id);
        id
    }

    /// Takes a consumer away from everywhere but the store.
    pub(super) fn drop_consumer(&mut self, id: u64) -> Option<Active> {
        let mut active = self.consumers.remove(&id)?;
        self.changed = true;
        self.handle.consumers.write().unwrap_or_else(PoisonError::into_inner).remove(&active.name);
        if let Some(due) = active.due.take() {
            self.agenda.remove(&(due, id));
        }
        active.waiting.end_all("409 Consumer Deleted", &mut self.answers);
        self.unwatch(&mut active);
        Some(active)
    }

    /// Removes a consumer.
    pub(super) fn delete_consumer(&mut self, id: u64) {
        self.advise_consumer(id, "DELETED", "delete");
        let Some(active) = self.drop_consumer(id) else { return };
        if active.persistent && self.is_durable() {
            self.ops.push(Op::Delete { key: consumer_key(self.handle.id, &active.name) });
        }
        self.release_all_unneeded();
    }

    fn advise_consumer(&self, id: u64, what: &str, action: &str) {
        let Some(active) = self.consumers.get(&id) else { return };
        let (stream, consumer) = (self.handle.name.as_str(), active.name.as_str());
        let subject = format!("$JS.EVENT.ADVISORY.CONSUMER.{what}.{stream}.{consumer}");
        self.host.advise(
            &subject,
            "consumer_action",
            || json!({"stream": stream, "consumer": consumer, "action": action}),
        );
    }

    fn consumer_doc(&mut self, id: u64) -> Option<ConsumerDoc> {
        let active = self.consumers.get_mut(&id)?;
        let account = &self.host.account;
        active.waiting.tidy(false, self.now, |reply| account.has_interest(reply), &mut self.answers);
        let bound = active.config.is_push() && account.has_interest(&active.config.deliver_subject);
        Some(active.info(&self.handle.name, self.now, bound))
    }

    /// Lists show the configuration as it is stored.
    fn listed_doc(&mut self, id: u64) -> Option<ConsumerDoc> {
        let document = self.consumer_doc(id)?;
        let config = self.consumers.get(&id)?.config.clone();
        Some(ConsumerDoc { config, ..document })
    }

    fn consumer_answer(&mut self, verb: Verb, id: u64) -> Vec<u8> {
        self.consumer_doc(id).map(|document| api::success(verb, &document)).unwrap_or_default()
    }

    /// The calls about one consumer or all.
    pub(super) fn consumer_call(&mut self, call: &Call) -> Result<Option<Vec<u8>>, ApiError> {
        match call.verb {
            Verb::ConsumerInfo => {
                let id = self.find_consumer(&call.consumer)?;
                Ok(Some(self.consumer_answer(call.verb, id)))
            }
            Verb::ConsumerNames | Verb::ConsumerList => self.list_consumers(call).map(Some),
            Verb::ConsumerDelete => {
                if !documents::is_empty_request(&call.body) {
                    return Err(errors::NOT_EMPTY_REQUEST);
                }
                let id = self.find_consumer(&call.consumer)?;
                self.delete_consumer(id);
                self.reply_when_stored(call.verb, call.reply.clone(), api::done(call.verb));
                Ok(None)
            }
            Verb::ConsumerPause => self.pause_consumer(call),
            Verb::ConsumerReset => self.reset_consumer(call),
            Verb::ConsumerUnpin => self.unpin_consumer(call).map(Some),
            _ => self.create_consumer(call).map(|()| None),
        }
    }

    fn list_consumers(&mut self, call: &Call) -> Result<Vec<u8>, ApiError> {
        #[derive(Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct Paged {
            offset: i64,
        }
        let asked: Paged = documents::request(&call.body)?;
        let mut all: Vec<(String, u64)> =
            self.consumers.iter().filter(|(_, a)| !a.config.direct).map(|(id, a)| (a.name.clone(), *id)).collect();
        all.sort_unstable();
        let limit = if call.verb == Verb::ConsumerNames { NAMES } else { LIST };
        let offset = usize::try_from(asked.offset).unwrap_or(0).min(all.len());
        let page = Page { total: all.len(), offset, limit };
        let shown: Vec<(String, u64)> = all.into_iter().skip(offset).take(limit).collect();
        let mut answer = serde_json::to_value(&page).unwrap_or_default();
        let consumers = if call.verb == Verb::ConsumerNames {
            json!(shown.into_iter().map(|(name, _)| name).collect::<Vec<_>>())
        } else {
            json!(shown.into_iter().filter_map(|(_, id)| self.listed_doc(id)).collect::<Vec<_>>())
        };
        if let Some(map) = answer.as_object_mut() {
            map.insert("consumers".into(), consumers);
        }
        Ok(api::success(call.verb, &answer))
    }

    fn pause_consumer(&mut self, call: &Call) -> Result<Option<Vec<u8>>, ApiError> {
        #[derive(Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct Pause {
            pause_until: Option<Timestamp>,
        }
        let asked: Pause =
            if documents::looks_like_document(&call.body) { documents::request(&call.body)? } else { Pause::default() };
        let id = self.find_consumer(&call.consumer)?;
        let Some(active) = self.consumers.get(&id) else { return Err(errors::CONSUMER_NOT_FOUND) };
        let until = asked.pause_until.filter(|until| !until.is_zero());
        let mut config = active.config.clone();
        config.pause_until = until;
        config.set_static_metadata();
        self.reconfigure(id, config);
        let paused = until.is_some_and(|until| until.0 > self.now);
        let shown = until.unwrap_or(Timestamp::ZERO);
        let mut answer = json!({"paused": paused, "pause_until": shown});
        if let (true, Some(map)) = (paused, answer.as_object_mut()) {
            map.insert("pause_remaining".into(), json!(shown.0 - self.now));
        }
        let (stream, consumer) = (self.handle.name.as_str(), call.consumer.as_str());
        self.host.advise(
            &format!("$JS.EVENT.ADVISORY.CONSUMER.PAUSE.{stream}.{consumer}"),
            "consumer_pause",
            || json!({"stream": stream, "consumer": consumer, "paused": paused, "pause_until": shown}),
        );
        self.reply_when_stored(call.verb, call.reply.clone(), api::success(call.verb, &answer));
        Ok(None)
    }

    fn reset_consumer(&mut self, call: &Call) -> Result<Option<Vec<u8>>, ApiError> {
        #[derive(Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct Reset {
            seq: u64,
        }
        let asked: Reset = documents::request(&call.body)?;
        let id = self.find_consumer(&call.consumer)?;
        let Some(active) = self.consumers.get_mut(&id) else { return Err(errors::CONSUMER_NOT_FOUND) };
        let seq = match (asked.seq, active.config.deliver_policy) {
            (0, _) => active.state.ack_floor().stream + 1,
            (seq, DeliverPolicy::All) => seq,
            (seq, DeliverPolicy::ByStartSequence) if seq >= active.config.opt_start_seq => seq,
            (_, DeliverPolicy::ByStartSequence) => return Err(errors::invalid_reset("below start seq")),
            (seq, DeliverPolicy::ByStartTime) => {
                let first = self.index.seq_at(active.config.opt_start_time.map_or(i64::MIN, |time| time.0));
                if seq < first {
                    return Err(errors::invalid_reset("below start time"));
                }
                seq
            }
            _ => return Err(errors::invalid_reset("not allowed")),
        };
        active.state.reset(seq, &self.index);
        self.touch(id);
        self.release_all_unneeded();
        let mut answer = serde_json::to_value(self.consumer_doc(id)).unwrap_or_default();
        if let Some(map) = answer.as_object_mut() {
            map.insert("reset_seq".into(), json!(seq));
        }
        self.reply_when_stored(call.verb, call.reply.clone(), api::success(call.verb, &answer));
        Ok(None)
    }

    fn unpin_consumer(&mut self, call: &Call) -> Result<Vec<u8>, ApiError> {
        #[derive(Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct Unpin {
            group: String,
        }
        let asked: Unpin = documents::request(&call.body)?;
        if asked.group.is_empty() {
            return Err(errors::CONSUMER_INVALID_PRIORITY_GROUP);
        }
        let id = self.find_consumer(&call.consumer)?;
        let Some(active) = self.consumers.get_mut(&id) else { return Err(errors::CONSUMER_NOT_FOUND) };
        if !active.config.priority_groups.contains(&asked.group) {
            return Err(errors::CONSUMER_INVALID_PRIORITY_GROUP);
        }
        active.waiting.unpin("admin");
        active.advise_pins(&self.host, &self.handle.name);
        self.touch(id);
        Ok(api::success(call.verb, &json!({})))
    }
}
