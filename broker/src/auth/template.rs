//! Permissions of scoped signing keys may speak of the user: `{{name()}}`, `{{subject()}}`, `{{tag(x)}}` and the same of the account.

use natsune_credentials::jwt::{AccountClaims, Permission, UserClaims, UserRights};
use natsune_protocol::subject;

/// Subjects one template may become through tags with several values.
const MAX_SUBJECTS: usize = 1024;

/// The rights of a scope, filled in for this user. `None`: a denied subject could not be filled in, so nothing can be granted.
pub(super) fn fill(template: &UserRights, user: &UserClaims, account: &AccountClaims) -> Option<UserRights> {
    let mut rights = template.clone();
    for side in [&mut rights.publish, &mut rights.subscribe] {
        side.deny = side.deny.iter().map(|text| expand(text, user, account)).collect::<Option<Vec<_>>>()?.concat();
        let spoken = !side.allow.is_empty();
        side.allow = side.allow.iter().filter_map(|text| expand(text, user, account)).flatten().collect();
        if spoken && side.allow.is_empty() {
            // No list of allowed subjects would allow all.
            *side = Permission { allow: Vec::new(), deny: vec![">".to_owned()] };
        }
    }
    Some(rights)
}

/// All subjects a text stands for; `None` when one of its functions has no value, or the result is no subject.
fn expand(text: &str, user: &UserClaims, account: &AccountClaims) -> Option<Vec<String>> {
    let mut done: Vec<String> = vec![String::new()];
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (call, tail) = after.split_once("}}")?;
        let values = values(call.trim(), user, account)?;
        let mut next = Vec::new();
        for start in &done {
            for value in &values {
                next.push(format!("{start}{before}{value}"));
            }
        }
        if next.is_empty() || next.len() > MAX_SUBJECTS {
            return None;
        }
        done = next;
        rest = tail;
    }
    for start in &mut done {
        start.push_str(rest);
    }
    let valid = |entry: &String| {
        let mut words = entry.split(' ');
        words.next().is_some_and(subject::is_valid_filter)
            && words.next().is_none_or(subject::is_valid_queue)
            && words.next().is_none()
    };
    done.iter().all(valid).then_some(done)
}

fn values(call: &str, user: &UserClaims, account: &AccountClaims) -> Option<Vec<String>> {
    let (name, argument) = call.strip_suffix(')')?.split_once('(')?;
    let argument = argument.trim();
    let tags = |tags: &[String]| -> Vec<String> {
        let prefix = format!("{}:", argument.to_ascii_lowercase());
        tags.iter()
            .filter_map(|tag| tag.to_ascii_lowercase().starts_with(&prefix).then(|| tag.get(prefix.len()..)).flatten())
            .map(str::to_owned)
            .collect()
    };
    let found = match (name.trim().to_ascii_lowercase().as_str(), argument.is_empty()) {
        ("name", true) => vec![user.claims.name.clone()],
        ("subject", true) => vec![user.claims.sub.clone()],
        ("account-name", true) => vec![account.claims.name.clone()],
        ("account-subject", true) => vec![account.claims.sub.clone()],
        ("tag", false) => tags(&user.nats.tags),
        ("account-tag", false) => tags(&account.nats.tags),
        _ => return None,
    };
    // A value with wildcards would widen what the template says.
    let plain =
        |value: &String| !value.is_empty() && !value.contains(['*', '>', ' ']) && subject::is_valid_publish(value);
    (!found.is_empty() && found.iter().all(plain)).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, tags: &[&str]) -> UserClaims {
        let mut user = UserClaims::scoped("U1");
        user.claims.name = name.to_owned();
        user.nats.tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        user
    }

    fn allow(texts: &[&str]) -> UserRights {
        let mut rights = UserRights::unlimited();
        rights.publish.allow = texts.iter().map(|text| (*text).to_owned()).collect();
        rights
    }

    #[test]
    fn functions_are_filled_in() {
        let mut account = AccountClaims::new("A1");
        account.claims.name = "acc".to_owned();
        account.nats.tags = vec!["env:prod".to_owned()];
        let user = user("bob", &["dept:a", "Dept:b"]);
        let filled = fill(
            &allow(&[
                "u.{{name()}}.{{ subject() }}",
                "{{account-name()}}.{{account-subject()}}.{{account-tag(env)}}",
                "d.{{tag(dept)}}.>",
            ]),
            &user,
            &account,
        )
        .unwrap();
        assert_eq!(filled.publish.allow, ["u.bob.U1", "acc.A1.prod", "d.a.>", "d.b.>"]);
    }

    #[test]
    fn what_cannot_be_filled_in_allows_nothing() {
        let account = AccountClaims::new("A1");
        for (name, text) in [
            ("bob", "x.{{tag(none)}}"),
            ("*", "x.{{name()}}"),
            (">", "{{name()}}"),
            ("", "{{name()}}"),
            ("bob", "{{else()}}"),
            ("bob", "{{name(}}"),
            ("a b", "x.{{name()}}"),
        ] {
            let filled = fill(&allow(&[text]), &user(name, &[]), &account).unwrap();
            assert_eq!((filled.publish.allow.len(), filled.publish.deny), (0, vec![">".to_owned()]), "{text}");
        }
        let mut rights = UserRights::unlimited();
        rights.subscribe.deny = vec!["x.{{tag(none)}}".to_owned()];
        assert!(fill(&rights, &user("bob", &[]), &account).is_none());
    }

    #[test]
    fn tags_cannot_multiply_without_end() {
        let tags: Vec<String> = (0..100).map(|n| format!("t:{n}")).collect();
        let user = user("bob", &tags.iter().map(String::as_str).collect::<Vec<_>>());
        let filled =
            fill(&allow(&["{{tag(t)}}.{{tag(t)}}.{{tag(t)}}", "a"]), &user, &AccountClaims::new("A1")).unwrap();
        assert_eq!(filled.publish.allow, ["a"]);
    }
}
