//! The rules a stream configuration must keep: defaults, limits, and what an update may change.

use natsune_protocol::subject;

use super::clock::{MILLISECOND, SECOND, format_duration};
use super::errors::{self, ApiError};
use super::limits::{AccountLimits, check_max_bytes};
use super::stream_config::{Discard, MAX_SEQUENCE, PersistMode, Retention, Storage, StreamConfig};

/// Longest name of a stream or consumer.
pub const MAX_NAME: usize = 255;
/// Longest description.
pub const MAX_DESCRIPTION: usize = 4 * 1024;
/// Largest metadata, keys and values together.
pub const MAX_METADATA: usize = 128 * 1024;
const DEFAULT_DUPLICATE_WINDOW: i64 = 120 * SECOND;

/// Whether a name can be part of subjects and paths.
pub fn is_asset_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || matches!(c, '.' | '*' | '>' | '\\' | '/' | '\0'))
}

/// Checks a configuration and fills in the defaults.
pub fn check(
    mut config: StreamConfig,
    limits: &AccountLimits,
    duplicate_limit: i64,
    pedantic: bool,
) -> Result<StreamConfig, ApiError> {
    let invalid = errors::stream_invalid;
    if !is_asset_name(&config.name) {
        return Err(invalid("stream name is required and can not contain '.', '*', '>', '\\', '/'"));
    }
    if config.name.len() > MAX_NAME {
        return Err(errors::stream_invalid(format!("stream name is too long, maximum allowed is {MAX_NAME}")));
    }
    if config.description.len() > MAX_DESCRIPTION {
        return Err(errors::stream_invalid(format!(
            "stream description is too long, maximum allowed is {MAX_DESCRIPTION}"
        )));
    }
    if config.metadata.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>() > MAX_METADATA {
        return Err(errors::stream_invalid(format!("stream metadata exceeds maximum size of {MAX_METADATA} bytes")));
    }
    if config.num_replicas == 0 {
        config.num_replicas = 1;
    }
    if config.num_replicas > 5 {
        return Err(invalid("maximum replicas is 5"));
    }
    if config.num_replicas < 0 {
        return Err(errors::REPLICAS_NEGATIVE);
    }
    for (value, name) in [
        (&mut config.max_msgs, "max_msgs"),
        (&mut config.max_msgs_per_subject, "max_msgs_per_subject"),
        (&mut config.max_bytes, "max_bytes"),
        (&mut config.max_msg_size, "max_msg_size"),
        (&mut config.max_consumers, "max_consumers"),
    ] {
        if *value == 0 || *value < -1 {
            if pedantic && *value < -1 {
                return Err(errors::pedantic(&format!("{name} must be set to -1")));
            }
            *value = -1;
        }
    }
    if config.first_seq > MAX_SEQUENCE {
        return Err(invalid("first sequence is too large"));
    }
    check_ages(&mut config, duplicate_limit, pedantic)?;
    check_features(&mut config, pedantic)?;
    check_unserved(&config)?;
    check_subjects(&mut config)?;
    check_max_bytes(&config, limits)?;
    check_transform(&config)?;
    check_republish(&mut config, pedantic)?;
    if config.placement.as_ref().is_some_and(|p| p == &Default::default()) {
        config.placement = None;
    }
    if config.placement.as_ref().is_some_and(|p| !p.preferred.is_empty()) {
        return Err(invalid("preferred server not permitted in placement"));
    }
    Ok(config)
}

fn check_ages(config: &mut StreamConfig, duplicate_limit: i64, pedantic: bool) -> Result<(), ApiError> {
    let invalid = |text: &str| Err(errors::stream_invalid(text));
    if config.max_age < 0 {
        return invalid("max age can not be negative");
    }
    if config.max_age != 0 && config.max_age < 100 * MILLISECOND {
        return invalid("max age needs to be >= 100ms");
    }
    if config.duplicate_window == 0 {
        let mut window = DEFAULT_DUPLICATE_WINDOW;
        if duplicate_limit > 0 && window > duplicate_limit {
            if pedantic {
                return Err(errors::pedantic("duplicate window limits are higher than current limits"));
            }
            window = duplicate_limit;
        }
        if config.max_age != 0 && config.max_age < window {
            if pedantic {
                return Err(errors::pedantic("duplicate window cannot be bigger than max age"));
            }
            window = config.max_age;
        }
        config.duplicate_window = window;
    }
    if config.duplicate_window < 0 {
        return invalid("duplicates window can not be negative");
    }
    if config.max_age != 0 && config.duplicate_window > config.max_age {
        return invalid("duplicates window can not be larger then max age");
    }
    if duplicate_limit > 0 && config.duplicate_window > duplicate_limit {
        return Err(errors::stream_invalid(format!(
            "duplicates window can not be larger then server limit of {}",
            format_duration(duplicate_limit)
        )));
    }
    if config.duplicate_window > 0 && config.duplicate_window < 100 * MILLISECOND {
        return invalid("duplicates window needs to be >= 100ms");
    }
    Ok(())
}

fn check_features(config: &mut StreamConfig, pedantic: bool) -> Result<(), ApiError> {
    let invalid = |text: &str| Err(errors::stream_invalid(text));
    if config.deny_purge && config.allow_rollup_hdrs {
        return invalid("roll-ups require the purge permission");
    }
    if config.allow_msg_counter {
        if config.discard == Discard::New {
            return invalid("counter stream cannot use discard new");
        }
        if config.allow_msg_ttl {
            return invalid("counter stream cannot use message TTLs");
        }
        if config.allow_msg_schedules {
            return invalid("counter stream cannot use message schedules");
        }
        if config.retention != Retention::Limits {
            return invalid("counter stream can only use limits retention");
        }
    }
    check_discard_new_per_subject(config)?;
    if config.subject_delete_marker_ttl > 0 {
        if config.subject_delete_marker_ttl < SECOND {
            return invalid("subject delete marker TTL must be at least 1 second");
        }
        if !config.allow_msg_ttl {
            if pedantic {
                return invalid("subject delete marker cannot be set if message TTLs are disabled");
            }
            config.allow_msg_ttl = true;
        }
        if !config.allow_rollup_hdrs {
            if pedantic {
                return invalid("subject delete marker cannot be set if roll-ups are disabled");
            }
            config.allow_rollup_hdrs = true;
            config.deny_purge = false;
        }
    } else if config.subject_delete_marker_ttl < 0 {
        return invalid("subject delete marker TTL must not be negative");
    }
    if config.persist_mode == PersistMode::Async {
        if config.storage != Storage::File {
            return invalid("async persist mode is only supported on file storage");
        }
        if config.allow_atomic {
            return invalid("async persist mode is not supported with atomic batch publish");
        }
    }
    Ok(())
}

fn check_discard_new_per_subject(config: &StreamConfig) -> Result<(), ApiError> {
    if config.discard_new_per_subject {
        if config.discard != Discard::New {
            return Err(errors::stream_invalid("discard new per subject requires discard new policy to be set"));
        }
        if config.max_msgs_per_subject <= 0 {
            return Err(errors::stream_invalid("discard new per subject requires max msgs per subject > 0"));
        }
    }
    Ok(())
}

/// Refuses, in words, what this server does not serve: silence or a wrong stream would be worse.
fn check_unserved(config: &StreamConfig) -> Result<(), ApiError> {
    if let Some(mirror) = &config.mirror {
        if config.first_seq > 0 {
            return Err(errors::MIRROR_WITH_FIRST_SEQ);
        }
        if !config.subjects.is_empty() {
            return Err(errors::MIRROR_WITH_SUBJECTS);
        }
        if !config.sources.is_empty() {
            return Err(errors::MIRROR_WITH_SOURCES);
        }
        if mirror.external.is_none() && !is_asset_name(&mirror.name) {
            return Err(errors::MIRROR_INVALID_NAME);
        }
    }
    for source in &config.sources {
        if !is_asset_name(&source.name) {
            return Err(errors::SOURCE_INVALID_NAME);
        }
        if config.sources.iter().filter(|other| *other == source).count() > 1 {
            return Err(errors::SOURCE_DUPLICATE);
        }
    }
    let unserved = [
        (config.mirror.is_some(), "mirrors"),
        (!config.sources.is_empty(), "sources"),
        (config.allow_batched, "batch publishing"),
        (config.allow_msg_schedules, "message schedules"),
    ];
    match unserved.iter().find(|(asked, _)| *asked) {
        Some((_, what)) => Err(errors::stream_invalid(format!("{what} are not supported by this server"))),
        None => Ok(()),
    }
}

fn check_subjects(config: &mut StreamConfig) -> Result<(), ApiError> {
    let invalid = |text: &str| Err(errors::stream_invalid(text));
    if config.subjects.is_empty() {
        config.subjects.push(config.name.clone());
        return Ok(());
    }
    for (i, this) in config.subjects.iter().enumerate() {
        if !subject::is_valid_filter(this) {
            return invalid("invalid subject");
        }
        let rest = config.subjects.get(i + 1..).unwrap_or_default();
        if this == ">" && !config.no_ack {
            return invalid("capturing all subjects requires no-ack to be true");
        }
        if !config.no_ack {
            let api = ["$JS.>", "$JSC.>", "$NRG.>"].iter().any(|space| subject::overlaps(this, space));
            if api && !subject::is_subset(this, "$JS.EVENT.>") {
                return invalid("subjects that overlap with jetstream api require no-ack to be true");
            }
            if subject::overlaps(this, "$SYS.>") && !subject::is_subset(this, "$SYS.ACCOUNT.>") {
                return invalid("subjects that overlap with system api require no-ack to be true");
            }
        }
        if let Some(other) = rest.iter().find(|other| subject::overlaps(other, this)) {
            return Err(errors::stream_invalid(format!("subject \"{this}\" overlaps with \"{other}\"")));
        }
    }
    Ok(())
}

fn check_transform(config: &StreamConfig) -> Result<(), ApiError> {
    let Some(transform) = &config.subject_transform else { return Ok(()) };
    if !transform.src.is_empty() && !subject::is_valid_filter(&transform.src) {
        return Err(errors::transform_invalid(false, format_args!("invalid subject {}", transform.src)));
    }
    if super::transform::Transform::new(&transform.src, &transform.dest).is_none() {
        return Err(errors::transform_invalid(true, format_args!("invalid mapping destination: {}", transform.dest)));
    }
    Ok(())
}

fn check_republish(config: &mut StreamConfig, pedantic: bool) -> Result<(), ApiError> {
    let Some(republish) = &mut config.republish else { return Ok(()) };
    if republish.src.is_empty() {
        if pedantic {
            return Err(errors::pedantic("republish source can not be empty"));
        }
        republish.src = ">".into();
    }
    if config.subjects.iter().any(|s| subject::overlaps(&republish.dest, s)) {
        return Err(errors::stream_invalid("stream configuration for republish destination forms a cycle"));
    }
    if super::transform::Transform::new(&republish.src, &republish.dest).is_none() {
        return Err(errors::stream_invalid(format!(
            "stream configuration for republish with transform from '{}' to '{}' not valid",
            republish.src, republish.dest
        )));
    }
    Ok(())
}

/// Checks what an update may change; `new` has passed [`check`].
pub fn check_update(old: &StreamConfig, mut new: StreamConfig) -> Result<StreamConfig, ApiError> {
    let invalid = |text: &str| Err(errors::stream_invalid(text));
    if new.name != old.name {
        return invalid("stream configuration name must match original");
    }
    if new.num_replicas > 1 {
        return Err(errors::REPLICAS_NOT_SUPPORTED);
    }
    if new.storage != old.storage {
        return invalid("stream configuration update can not change storage type");
    }
    if new.retention != old.retention
        && (old.retention == Retention::WorkQueue || new.retention == Retention::WorkQueue)
    {
        return invalid("stream configuration update can not change retention policy to/from workqueue");
    }
    if !new.sealed && old.sealed {
        return invalid("stream configuration update can not unseal a sealed stream");
    }
    if !new.deny_delete && old.deny_delete {
        return invalid("stream configuration update can not cancel deny message deletes");
    }
    if !new.deny_purge && old.deny_purge {
        return invalid("stream configuration update can not cancel deny purge");
    }
    if new.mirror.is_some() && new.mirror != old.mirror {
        return Err(errors::MIRROR_NOT_UPDATABLE);
    }
    check_discard_new_per_subject(&new)?;
    if old.allow_msg_ttl && !new.allow_msg_ttl {
        return invalid("message TTL status can not be disabled");
    }
    if new.allow_msg_counter != old.allow_msg_counter {
        return invalid("stream configuration update can not change message counter setting");
    }
    if old.allow_msg_schedules && !new.allow_msg_schedules {
        return invalid("message schedules can not be disabled");
    }
    if old.persist_mode != new.persist_mode {
        return invalid("stream configuration update can not change persist mode");
    }
    if new.sealed {
        new.max_age = 0;
        new.discard = Discard::New;
        new.deny_delete = true;
        new.deny_purge = true;
        new.allow_rollup_hdrs = false;
    }
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> StreamConfig {
        StreamConfig { name: name.into(), ..Default::default() }
    }

    fn checked(config: StreamConfig) -> Result<StreamConfig, ApiError> {
        check(config, &AccountLimits::default(), 0, false)
    }

    fn refused(config: StreamConfig) -> String {
        checked(config).unwrap_err().description.into_owned()
    }

    #[test]
    fn defaults_are_filled_in() {
        let config = checked(named("ORDERS")).unwrap();
        assert_eq!(config.subjects, ["ORDERS"]);
        assert_eq!((config.max_msgs, config.max_bytes, config.max_msgs_per_subject), (-1, -1, -1));
        assert_eq!((config.max_consumers, config.max_msg_size, config.num_replicas), (-1, -1, 1));
        assert_eq!(config.duplicate_window, 120 * SECOND);
        let short = checked(StreamConfig { max_age: SECOND, ..named("A") }).unwrap();
        assert_eq!(short.duplicate_window, SECOND);
    }

    #[test]
    fn broken_rules_are_named() {
        assert_eq!(refused(named("a.b")), "stream name is required and can not contain '.', '*', '>', '\\', '/'");
        assert_eq!(refused(StreamConfig { max_age: 1, ..named("A") }), "max age needs to be >= 100ms");
        assert_eq!(
            refused(StreamConfig { subjects: vec!["a.*".into(), "a.b".into()], ..named("A") }),
            "subject \"a.*\" overlaps with \"a.b\""
        );
        assert_eq!(
            refused(StreamConfig { subjects: vec![">".into()], ..named("A") }),
            "capturing all subjects requires no-ack to be true"
        );
        assert_eq!(
            refused(StreamConfig { subjects: vec!["$JS.API.x".into()], ..named("A") }),
            "subjects that overlap with jetstream api require no-ack to be true"
        );
        assert_eq!(
            refused(StreamConfig { mirror: Some(Default::default()), ..named("A") }),
            "mirrored stream name is invalid"
        );
        assert_eq!(
            refused(StreamConfig { allow_msg_schedules: true, ..named("A") }),
            "message schedules are not supported by this server"
        );
        assert_eq!(
            refused(StreamConfig { discard_new_per_subject: true, ..named("A") }),
            "discard new per subject requires discard new policy to be set"
        );
    }

    #[test]
    fn updates_keep_what_can_not_change() {
        let old = checked(StreamConfig { deny_delete: true, ..named("A") }).unwrap();
        let update = |change: &dyn Fn(&mut StreamConfig)| {
            let mut new = old.clone();
            change(&mut new);
            check_update(&old, new)
        };
        assert!(update(&|c| c.max_msgs = 7).is_ok());
        for change in [
            &(|c: &mut StreamConfig| c.storage = Storage::Memory) as &dyn Fn(&mut StreamConfig),
            &|c| c.retention = Retention::WorkQueue,
            &|c| c.deny_delete = false,
            &|c| c.persist_mode = PersistMode::Async,
        ] {
            assert_eq!(update(change).unwrap_err().err_code, 10052);
        }
        assert_eq!(update(&|c| c.num_replicas = 3).unwrap_err(), errors::REPLICAS_NOT_SUPPORTED);
        let sealed = update(&|c| c.sealed = true).unwrap();
        assert!(sealed.deny_purge && sealed.discard == Discard::New);
    }
}
