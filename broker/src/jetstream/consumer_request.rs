//! The request to make or change a consumer: three forms of subject, one document.

use serde::Deserialize;

use super::api::{Call, Verb};
use super::consumer_config::ConsumerConfig;
use super::errors::{self, ApiError};
use super::json;

/// What the creator expects to be the case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Anything goes.
    #[default]
    #[serde(rename = "")]
    Any,
    /// It is not there yet.
    Create,
    /// It is there.
    Update,
}

/// The request.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CreateRequest {
    stream_name: String,
    /// The configuration, its name filled in from the subject.
    pub config: ConsumerConfig,
    /// What is expected.
    pub action: Action,
    /// Refuse instead of filling in.
    pub pedantic: bool,
}

/// Reads a request and checks it against its subject.
pub fn read(call: &Call) -> Result<CreateRequest, ApiError> {
    let mut request: CreateRequest = json::request(&call.body)?;
    let durable_form = call.verb == Verb::ConsumerDurableCreate;
    if durable_form && (call.consumer.is_empty() || call.consumer.contains('.')) {
        return Err(errors::CONSUMER_DURABLE_NOT_IN_SUBJECT);
    }
    if call.stream != request.stream_name {
        return Err(errors::STREAM_MISMATCH);
    }
    if call.consumer.contains(['\\', '/']) {
        return Err(errors::CONSUMER_NAME_PATH);
    }
    let config = &mut request.config;
    if durable_form {
        if config.durable_name.is_empty() {
            return Err(errors::CONSUMER_DURABLE_NOT_SET);
        }
        if config.durable_name != call.consumer {
            return Err(errors::CONSUMER_DURABLE_MISMATCH);
        }
        config.name.clone_from(&call.consumer);
    } else if !call.consumer.is_empty() {
        if !config.durable_name.is_empty() && config.durable_name != call.consumer {
            return Err(errors::CONSUMER_DURABLE_MISMATCH);
        }
        config.name.clone_from(&call.consumer);
    } else if !config.durable_name.is_empty() {
        return Err(errors::CONSUMER_EPHEMERAL_WITH_DURABLE);
    }
    if !call.rest.is_empty() {
        if !config.filter_subjects.is_empty() {
            return Err(errors::CONSUMER_MULTIPLE_FILTERS);
        }
        if config.filter_subject != call.rest {
            return Err(errors::CONSUMER_FILTER_MISMATCH);
        }
    }
    if config.num_replicas > 1 {
        return Err(errors::REPLICAS_NOT_SUPPORTED);
    }
    Ok(request)
}

/// What can be said before the stream is asked.
pub fn precheck(call: &Call) -> Result<(), ApiError> {
    read(call).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(verb: Verb, consumer: &str, rest: &str, body: &str) -> Call {
        Call {
            verb,
            stream: "S".into(),
            consumer: consumer.into(),
            rest: rest.into(),
            reply: String::new(),
            body: body.to_owned().into(),
            too_new: false,
        }
    }

    #[test]
    fn subject_and_document_must_agree() {
        let code = |verb, consumer, rest, body| read(&call(verb, consumer, rest, body)).unwrap_err().err_code;
        use Verb::{ConsumerCreate as New, ConsumerDurableCreate as Durable};
        assert_eq!(code(New, "c", "", r#"{"stream_name":"T"}"#), 10056);
        assert_eq!(code(New, "c", "", r#"{"stream_name":"S","config":{"durable_name":"d"}}"#), 10017);
        assert_eq!(code(New, "", "", r#"{"stream_name":"S","config":{"durable_name":"d"}}"#), 10020);
        assert_eq!(code(Durable, "d", "", r#"{"stream_name":"S","config":{}}"#), 10018);
        assert_eq!(code(New, "c", "a.b", r#"{"stream_name":"S","config":{"filter_subject":"x"}}"#), 10131);
        assert_eq!(code(New, "c", "a.b", r#"{"stream_name":"S","config":{"filter_subjects":["a"]}}"#), 10137);
        assert_eq!(code(New, "c", "", r#"{"stream_name":"S","config":{"nope":1}}"#), 10025);
        assert_eq!(code(New, "c", "", r#"{"stream_name":"S","config":{"num_replicas":3}}"#), 10074);
        let request =
            read(&call(New, "c", "a", r#"{"stream_name":"S","config":{"filter_subject":"a"},"action":"create"}"#));
        let request = request.unwrap();
        assert_eq!((request.config.name.as_str(), request.action), ("c", Action::Create));
    }
}
